//! How fast something grows.

use std::sync::Arc;

use super::Window;
use crate::model::{CounterReset, Histogram, Sample, Value};
use crate::promql::{Dialect, histogram};

pub fn rate(window: &Window) -> Option<Value> {
    extrapolated(window, true, true, "rate")
}

pub fn increase(window: &Window) -> Option<Value> {
    extrapolated(window, true, false, "increase")
}

pub fn delta(window: &Window) -> Option<Value> {
    extrapolated(window, false, false, "delta")
}

/// What was gained between the first and the last sample of the range, stretched to the whole range.
///
/// It is stretched up to an end of the range when the nearest sample is not much farther (1.1 times) from there than samples
/// are from each other, otherwise by half their distance; and a counter never to before it was zero.
fn extrapolated(window: &Window, counter: bool, per_second: bool, whose: &str) -> Option<Value> {
    let [first, .., last] = window.samples else { return None };
    if window.is_mixed() {
        window.warn_mixed(whose);
        return None;
    }
    let gained = match &first.value {
        Value::Float(_) => Value::Float(float_gain(window, counter)),
        Value::Histogram(_) => Value::Histogram(Arc::new(histogram_gain(window, counter, whose)?)),
    };
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let sampled = seconds(last.at_ms - first.at_ms);
    let distance = sampled / (window.samples.len() - 1) as f64;
    let near = distance * 1.1;
    let (mut before, mut behind) =
        (seconds(first.at_ms - window.start_ms), seconds(window.end_ms - last.at_ms));
    let from_zero = if counter { time_from_zero(&first.value, &gained, sampled) } else { None };
    if window.dialect == Dialect::Prometheus3 && before >= near {
        before = distance / 2.0;
    }
    before = from_zero.map_or(before, |time| before.min(time));
    if before >= near {
        before = distance / 2.0;
    }
    if behind >= near {
        behind = distance / 2.0;
    }
    let mut factor = (sampled + before + behind) / sampled;
    if per_second {
        factor /= seconds(window.end_ms - window.start_ms);
    }
    Some(match gained {
        Value::Float(gained) => Value::Float(gained * factor),
        Value::Histogram(gained) => Value::Histogram(Arc::new(histogram::scale(&gained, factor))),
    })
}

/// How long before its first sample a counter was zero, if it always grew as it does now, s. Of histograms it is not asked.
fn time_from_zero(first: &Value, gained: &Value, sampled: f64) -> Option<f64> {
    let (Value::Float(first), Value::Float(gained)) = (first, gained) else { return None };
    (*gained > 0.0 && *first >= 0.0).then(|| sampled * (first / gained))
}

fn float_gain(window: &Window, counter: bool) -> f64 {
    let mut numbers = window.floats().map(|(_, number)| number);
    let Some(first) = numbers.next() else { return f64::NAN };
    let (mut lost, mut last) = (0.0, first);
    for number in numbers {
        if counter && number < last {
            lost += last;
        }
        last = number;
    }
    last - first + lost
}

fn histogram_gain(window: &Window, counter: bool, whose: &str) -> Option<Histogram> {
    let all = window.histograms(whose)?;
    let (first, last) = (*all.first()?, *all.last()?);
    if counter && all.iter().any(|histogram| histogram.reset == CounterReset::Gauge) {
        window.budget.warn(format!("{whose}: a histogram is no counter but a gauge"));
    }
    // What was counted before a beginning anew does not matter, and may have had other bounds.
    let anew = counter && all.len() > 1 && histogram::is_reset(all[1], first);
    let gained = match anew {
        true => add_lost(last.clone(), &all[1..]),
        false => histogram::subtract(last, first).and_then(|gained| match counter {
            true => add_lost(gained, &all),
            false => Some(gained),
        }),
    };
    let Some(mut gained) = gained else {
        window.budget.warn(format!("{whose}: histograms whose bounds don't go together were left out"));
        return None;
    };
    gained.reset = CounterReset::Gauge;
    Some(gained)
}

/// With what was counted before each beginning anew, at the coarsest resolution of all.
fn add_lost(mut gained: Histogram, all: &[&Histogram]) -> Option<Histogram> {
    for pair in all.windows(2) {
        if histogram::is_reset(pair[1], pair[0]) {
            gained = histogram::add(&gained, pair[0])?;
        }
    }
    if all.iter().any(|histogram| histogram.custom != gained.custom) {
        return None;
    }
    let coarsest = all.iter().map(|histogram| histogram.schema).min().unwrap_or(gained.schema);
    histogram::reduce(&mut gained, coarsest);
    Some(gained)
}

pub fn irate(window: &Window) -> Option<Value> {
    instant(window, true, "irate")
}

pub fn idelta(window: &Window) -> Option<Value> {
    instant(window, false, "idelta")
}

/// The difference of the last two samples; of a counter, for each second between them.
fn instant(window: &Window, counter: bool, whose: &str) -> Option<Value> {
    let [.., before, last] = window.samples else { return None };
    let seconds = (last.at_ms - before.at_ms) as f64 / 1000.0;
    if seconds == 0.0 {
        return None;
    }
    let factor = if counter { 1.0 / seconds } else { 1.0 };
    match (&before.value, &last.value) {
        (Value::Float(before), Value::Float(last)) => {
            let gained = if counter && last < before { *last } else { last - before };
            Some(Value::Float(if counter { gained / seconds } else { gained }))
        }
        (Value::Histogram(before), Value::Histogram(last)) => {
            let reset = counter && histogram::is_reset(last, before);
            let mut gained = if reset { (**last).clone() } else { histogram::subtract(last, before)? };
            gained.reset = CounterReset::Gauge;
            Some(Value::Histogram(Arc::new(histogram::scale(&gained, factor))))
        }
        _ => {
            window.warn_mixed(whose);
            None
        }
    }
}

/// How often a counter began anew.
pub fn resets(window: &Window) -> Option<Value> {
    pairs(window, |before, now| match (before, now) {
        (Value::Float(before), Value::Float(now)) => now < before,
        (Value::Histogram(before), Value::Histogram(now)) => histogram::is_reset(now, before),
        _ => true,
    })
}

/// How often the value changed.
pub fn changes(window: &Window) -> Option<Value> {
    pairs(window, |before, now| match (before, now) {
        (Value::Float(before), Value::Float(now)) => now != before && !(now.is_nan() && before.is_nan()),
        (Value::Histogram(before), Value::Histogram(now)) => !histogram::is_equal(now, before),
        _ => true,
    })
}

fn pairs(window: &Window, counts: impl Fn(&Value, &Value) -> bool) -> Option<Value> {
    let counts = |pair: &&[Sample]| counts(&pair[0].value, &pair[1].value);
    Some(Value::Float(window.samples.windows(2).filter(counts).count() as f64))
}
