//! Aggregations over time.

use std::sync::Arc;

use super::Window;
use crate::model::{Histogram, Value};
use crate::promql::histogram;
use crate::promql::sum::{Mean, Sum, Variance, quantile as quantile_of};

fn float(number: f64) -> Option<Value> {
    Some(Value::Float(number))
}

/// The numbers, unless there are none.
fn numbers(window: &Window) -> Option<Vec<f64>> {
    let numbers: Vec<f64> = window.floats().map(|(_, number)| number).collect();
    (!numbers.is_empty()).then_some(numbers)
}

/// The sum of histograms, and how many there are.
fn histogram_sum(window: &Window, whose: &str) -> Option<(Histogram, usize)> {
    let all = window.histograms(whose)?;
    let mut sum = (*all.first()?).clone();
    for next in &all[1..] {
        let Some(next) = histogram::add(&sum, next) else {
            window.budget.warn(format!("{whose}: histograms whose bounds don't go together were left out"));
            return None;
        };
        sum = next;
    }
    Some((sum, all.len()))
}

pub fn sum(window: &Window) -> Option<Value> {
    if let Some((sum, _)) = histogram_sum(window, "sum_over_time") {
        return Some(Value::Histogram(Arc::new(sum)));
    }
    if window.is_mixed() {
        return None;
    }
    float(numbers(window)?.into_iter().collect::<Sum>().value())
}

pub fn avg(window: &Window) -> Option<Value> {
    if let Some((sum, count)) = histogram_sum(window, "avg_over_time") {
        return Some(Value::Histogram(Arc::new(histogram::divide(&sum, count as f64))));
    }
    if window.is_mixed() {
        return None;
    }
    let mut mean = Mean::default();
    numbers(window)?.into_iter().for_each(|number| mean.add(number));
    float(mean.value())
}

pub fn min(window: &Window) -> Option<Value> {
    let smaller = |best: f64, next: f64| if next < best || best.is_nan() { next } else { best };
    window.floats().map(|(_, number)| number).reduce(smaller).map(Value::Float)
}

pub fn max(window: &Window) -> Option<Value> {
    let larger = |best: f64, next: f64| if next > best || best.is_nan() { next } else { best };
    window.floats().map(|(_, number)| number).reduce(larger).map(Value::Float)
}

pub fn count(window: &Window) -> Option<Value> {
    float(window.samples.len() as f64)
}

pub fn present(_: &Window) -> Option<Value> {
    float(1.0)
}

pub fn last(window: &Window) -> Option<Value> {
    window.samples.last().map(|sample| sample.value.clone())
}

pub fn first(window: &Window) -> Option<Value> {
    window.samples.first().map(|sample| sample.value.clone())
}

pub fn variance(window: &Window) -> Option<Value> {
    let mut variance = Variance::default();
    numbers(window)?.into_iter().for_each(|number| variance.add(number));
    float(variance.value())
}

pub fn deviation(window: &Window) -> Option<Value> {
    match variance(window)? {
        Value::Float(variance) => float(variance.sqrt()),
        Value::Histogram(_) => None,
    }
}

pub fn quantile(window: &Window) -> Option<Value> {
    let q = window.parameter(0);
    if !(0.0..=1.0).contains(&q) {
        window.budget.warn(format!("quantile_over_time: a quantile lies between 0 and 1, not at {q}"));
    }
    float(quantile_of(q, &mut numbers(window)?))
}

/// The median distance from the median.
pub fn mad(window: &Window) -> Option<Value> {
    let mut numbers = numbers(window)?;
    let median = quantile_of(0.5, &mut numbers);
    let mut distances: Vec<f64> = numbers.iter().map(|number| (number - median).abs()).collect();
    float(quantile_of(0.5, &mut distances))
}

/// When the sample was taken that `best` prefers, s; of several the last.
fn time_of(window: &Window, better: impl Fn(f64, f64) -> bool) -> Option<Value> {
    let prefer = |best: (i64, f64), next: (i64, f64)| {
        if better(next.1, best.1) || next.1 == best.1 || best.1.is_nan() { next } else { best }
    };
    window.floats().reduce(prefer).map(|(at_ms, _)| Value::Float(at_ms as f64 / 1000.0))
}

pub fn time_of_min(window: &Window) -> Option<Value> {
    time_of(window, |next, best| next < best)
}

pub fn time_of_max(window: &Window) -> Option<Value> {
    time_of(window, |next, best| next > best)
}

pub fn time_of_first(window: &Window) -> Option<Value> {
    window.samples.first().map(|sample| Value::Float(sample.at_ms as f64 / 1000.0))
}

pub fn time_of_last(window: &Window) -> Option<Value> {
    window.samples.last().map(|sample| Value::Float(sample.at_ms as f64 / 1000.0))
}
