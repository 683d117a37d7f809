//! PromQL: what is read, what is refused, and what it evaluates to.

#[path = "promql/aggregations.rs"]
mod aggregations;
#[path = "promql/histograms.rs"]
mod histograms;
#[path = "promql/labels.rs"]
mod labels;
#[path = "promql/limits.rs"]
mod limits;
#[path = "promql/operators.rs"]
mod operators;
#[path = "promql/parsing.rs"]
mod parsing;
#[path = "promql/ranges.rs"]
mod ranges;
#[path = "promql/values.rs"]
mod values;

use dwcp_telemetry::model::{Labels, Sample, Value};
use dwcp_telemetry::promql::{AnswerValue, Dialect, Engine, Memory, Query, QueryError};

/// The first sample of a notation is taken here, ms; the others follow each minute.
const MINUTE: i64 = 60_000;

fn memory(series: &str) -> Memory {
    Memory::parse(series, 0, MINUTE).expect("series")
}

fn engine(dialect: Dialect) -> Engine {
    Engine { dialect, ..Engine::default() }
}

fn show(value: &Value) -> String {
    match value {
        Value::Float(number) => format!("{number}"),
        Value::Histogram(histogram) => {
            let buckets = |side: &[dwcp_telemetry::model::Bucket]| {
                side.iter()
                    .map(|bucket| format!("{}:{}", bucket.index, bucket.count))
                    .collect::<Vec<_>>()
                    .join("/")
            };
            let (positive, negative) = (buckets(&histogram.positive), buckets(&histogram.negative));
            format!("h({} {} {} {positive} {negative})", histogram.schema, histogram.count, histogram.sum)
        }
    }
}

fn show_sample(labels: &Labels, values: &str) -> String {
    if labels.is_empty() { values.to_owned() } else { format!("{labels} {values}") }
}

/// An answer as text: an element a line, `labels value`; a series as its values, and those of no step as `_`.
fn text(value: &AnswerValue) -> Vec<String> {
    match value {
        AnswerValue::Scalar(number) => vec![format!("scalar {number}")],
        AnswerValue::String(text) => vec![format!("string {text}")],
        AnswerValue::Vector(elements) => {
            elements.iter().map(|(labels, value)| show_sample(labels, &show(value))).collect()
        }
        AnswerValue::Matrix(series) => {
            let values = |samples: &[Sample]| {
                let value = |sample: &Sample| format!("{}@{}", show(&sample.value), sample.at_ms / 1000);
                samples.iter().map(value).collect::<Vec<_>>().join(" ")
            };
            series.iter().map(|series| show_sample(&series.labels, &values(&series.samples))).collect()
        }
    }
}

fn ask_as(
    dialect: Dialect,
    memory: &Memory,
    expression: &str,
    at_ms: i64,
) -> Result<Vec<String>, QueryError> {
    let query = Query::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    engine(dialect).instant(memory, &query, at_ms).map(|answer| text(&answer.value))
}

fn ask(memory: &Memory, expression: &str, at_ms: i64) -> Result<Vec<String>, QueryError> {
    ask_as(Dialect::default(), memory, expression, at_ms)
}

/// Each expression at a moment, with its elements in any order, parted by `; `.
fn check(memory: &Memory, at_ms: i64, table: &[(&str, &str)]) {
    for (expression, expected) in table {
        let mut found =
            ask(memory, expression, at_ms).unwrap_or_else(|error| panic!("{expression}: {error}"));
        let mut expected: Vec<&str> = expected.split("; ").filter(|line| !line.is_empty()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{expression}");
    }
}

/// The only number of an answer.
fn number(memory: &Memory, expression: &str, at_ms: i64) -> f64 {
    let found = ask(memory, expression, at_ms).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let [only] = &found[..] else { panic!("{expression}: {found:?}") };
    only.rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{expression}: {only}"))
}

/// Each expression at a moment is this number, but for rounding.
fn check_numbers(memory: &Memory, at_ms: i64, table: &[(&str, f64)]) {
    for (expression, expected) in table {
        let found = number(memory, expression, at_ms);
        let near = found == *expected || (found - expected).abs() <= 1e-9 * expected.abs().max(1e-3);
        assert!(near || found.is_nan() && expected.is_nan(), "{expression}: {found}, not {expected}");
    }
}

/// Each expression is refused when it is evaluated, for a reason with these words.
fn check_refused(memory: &Memory, at_ms: i64, table: &[(&str, &str)]) {
    for (expression, words) in table {
        match ask(memory, expression, at_ms) {
            Err(error) => assert!(error.to_string().contains(words), "{expression}: {error}"),
            Ok(found) => panic!("{expression}: {found:?}"),
        }
    }
}
