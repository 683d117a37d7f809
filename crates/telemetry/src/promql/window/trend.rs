//! Where something is heading.

use super::Window;
use crate::model::Value;
use crate::promql::sum::Sum;

/// Slope (per second) and value at `at_ms` of the line through the numbers with the least squares.
fn regression(numbers: &[(i64, f64)], at_ms: i64) -> (f64, f64) {
    let first = numbers.first().map_or(f64::NAN, |(_, number)| *number);
    if numbers.iter().all(|(_, number)| *number == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let count = numbers.len() as f64;
    let seconds = |(at, _): &(i64, f64)| (at - at_ms) as f64 / 1000.0;
    let total = |of: &dyn Fn(&(i64, f64)) -> f64| numbers.iter().map(of).collect::<Sum>().value();
    let (x, y) = (total(&seconds), total(&|pair| pair.1));
    let (xy, xx) = (total(&|pair| seconds(pair) * pair.1), total(&|pair| seconds(pair).powi(2)));
    let slope = (xy - x * y / count) / (xx - x * x / count);
    (slope, y / count - slope * x / count)
}

pub fn deriv(window: &Window) -> Option<Value> {
    let numbers: Vec<_> = window.floats().collect();
    let [first, _, ..] = numbers[..] else { return None };
    Some(Value::Float(regression(&numbers, first.0).0))
}

pub fn predict_linear(window: &Window) -> Option<Value> {
    let numbers: Vec<_> = window.floats().collect();
    if numbers.len() < 2 {
        return None;
    }
    let (slope, now) = regression(&numbers, window.at_ms);
    Some(Value::Float(slope * window.parameter(0) + now))
}

/// Double exponential smoothing (Holt 1957): a level and a trend, each a mean weighted towards what was last.
pub fn smooth(window: &Window) -> Option<Value> {
    let numbers: Vec<f64> = window.floats().map(|(_, number)| number).collect();
    let [first, second, ..] = numbers[..] else { return None };
    let (for_level, for_trend) = (window.parameter(0), window.parameter(1));
    let (mut before, mut level, mut trend) = (0.0, first, second - first);
    for (number, value) in numbers[1..].iter().enumerate() {
        if number > 0 {
            trend = for_trend * (level - before) + (1.0 - for_trend) * trend;
        }
        let next = for_level * value + (1.0 - for_level) * (level + trend);
        (before, level) = (level, next);
    }
    Some(Value::Float(level))
}
