//! The functions of templates: what they take, and what they give.

use regex::Regex;

use super::number;
use super::value::{Kind, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Humanize,
    Humanize1024,
    HumanizeDuration,
    HumanizePercentage,
    HumanizeTimestamp,
    Printf,
    Title,
    ToUpper,
    ToLower,
    Match,
    ReReplaceAll,
    First,
    Label,
    Value,
    StrValue,
    Query,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
    Not,
}

use Function as F;

/// By name, in the order of the documentation.
pub(super) const FUNCTIONS: [(&str, Function); 25] = [
    ("humanize", F::Humanize),
    ("humanize1024", F::Humanize1024),
    ("humanizeDuration", F::HumanizeDuration),
    ("humanizePercentage", F::HumanizePercentage),
    ("humanizeTimestamp", F::HumanizeTimestamp),
    ("printf", F::Printf),
    ("title", F::Title),
    ("toUpper", F::ToUpper),
    ("toLower", F::ToLower),
    ("match", F::Match),
    ("reReplaceAll", F::ReReplaceAll),
    ("first", F::First),
    ("label", F::Label),
    ("value", F::Value),
    ("strvalue", F::StrValue),
    ("query", F::Query),
    ("eq", F::Eq),
    ("ne", F::Ne),
    ("lt", F::Lt),
    ("le", F::Le),
    ("gt", F::Gt),
    ("ge", F::Ge),
    ("and", F::And),
    ("or", F::Or),
    ("not", F::Not),
];

impl Function {
    /// The type of what it gives for arguments of these types.
    ///
    /// # Errors
    /// It does not take them: too few, too many, or of another type.
    pub fn check(self, given: &[Kind]) -> Result<Kind, String> {
        match self {
            F::Humanize
            | F::Humanize1024
            | F::HumanizeDuration
            | F::HumanizePercentage
            | F::HumanizeTimestamp => {
                count(given, 1, 1)?;
                let number = matches!(given[0], Kind::Any | Kind::Float | Kind::Int | Kind::Text);
                if number {
                    Ok(Kind::Text)
                } else {
                    Err(format!("it takes a number, not {}", given[0].show()))
                }
            }
            F::Printf => {
                count(given, 1, usize::MAX)?;
                takes(&given[..1], &[Kind::Text])?;
                Ok(Kind::Text)
            }
            F::Title | F::ToUpper | F::ToLower => takes(given, &[Kind::Text]).map(|()| Kind::Text),
            F::Match => takes(given, &[Kind::Text, Kind::Text]).map(|()| Kind::Bool),
            F::ReReplaceAll => takes(given, &[Kind::Text, Kind::Text, Kind::Text]).map(|()| Kind::Text),
            F::First => takes(given, &[Kind::Vector]).map(|()| Kind::Sample),
            F::Label => takes(given, &[Kind::Text, Kind::Sample]).map(|()| Kind::Text),
            F::Value => takes(given, &[Kind::Sample]).map(|()| Kind::Float),
            F::StrValue => takes(given, &[Kind::Sample]).map(|()| Kind::Text),
            F::Query => takes(given, &[Kind::Text]).map(|()| Kind::Vector),
            F::Eq => {
                count(given, 2, usize::MAX)?;
                given[1..].iter().try_for_each(|other| comparable(given[0], *other, false))?;
                Ok(Kind::Bool)
            }
            F::Ne => {
                count(given, 2, 2)?;
                comparable(given[0], given[1], false).map(|()| Kind::Bool)
            }
            F::Lt | F::Le | F::Gt | F::Ge => {
                count(given, 2, 2)?;
                comparable(given[0], given[1], true).map(|()| Kind::Bool)
            }
            F::And | F::Or => {
                count(given, 1, usize::MAX)?;
                Ok(given.iter().skip(1).fold(given[0], |all, one| all.or(*one)))
            }
            F::Not => count(given, 1, 1).map(|()| Kind::Bool),
        }
    }

    /// Computes it. `and`, `or`, `printf`, the patterns and `query` are computed where they are called.
    pub fn call(self, given: &[Value]) -> Result<Value, String> {
        let kinds: Vec<Kind> = given.iter().map(Value::kind).collect();
        self.check(&kinds)?;
        Ok(match (self, given) {
            (F::Humanize, [v]) => Value::Text(humanize(as_number(v)?)),
            (F::Humanize1024, [v]) => Value::Text(humanize1024(as_number(v)?)),
            (F::HumanizeDuration, [v]) => Value::Text(humanize_duration(as_number(v)?)),
            (F::HumanizePercentage, [v]) => Value::Text(format!("{}%", four(as_number(v)? * 100.0))),
            (F::HumanizeTimestamp, [v]) => Value::Text(humanize_timestamp(as_number(v)?)?),
            (F::Title, [Value::Text(text)]) => Value::Text(title(text)),
            (F::ToUpper, [Value::Text(text)]) => Value::Text(text.to_uppercase()),
            (F::ToLower, [Value::Text(text)]) => Value::Text(text.to_lowercase()),
            (F::First, [Value::Vector(samples)]) => {
                let first = samples.first().ok_or("'first' of a query that found nothing")?;
                Value::Sample(first.clone())
            }
            (F::Label, [Value::Text(name), Value::Sample(sample)]) => {
                Value::Text(sample.labels.get(name).to_owned())
            }
            (F::Value, [Value::Sample(sample)]) => Value::Float(sample.value),
            (F::StrValue, [Value::Sample(sample)]) => Value::Text(sample.labels.get("__value__").to_owned()),
            (F::Eq, [first, others @ ..]) => Value::Bool(others.iter().any(|other| same(first, other))),
            (F::Ne, [a, b]) => Value::Bool(!same(a, b)),
            (F::Lt, [a, b]) => Value::Bool(order(a, b).is_some_and(|order| order.is_lt())),
            (F::Le, [a, b]) => Value::Bool(order(a, b).is_some_and(|order| order.is_le())),
            (F::Gt, [a, b]) => Value::Bool(order(a, b).is_some_and(|order| order.is_gt())),
            (F::Ge, [a, b]) => Value::Bool(order(a, b).is_some_and(|order| order.is_ge())),
            (F::Not, [v]) => Value::Bool(!v.holds()),
            _ => return Err("this can't be computed".to_owned()),
        })
    }
}

/// A pattern as `match` and `reReplaceAll` take it: found anywhere in the text.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|why| {
        let why = why.to_string();
        format!(
            "'{text}' is not a pattern: {}",
            why.lines().last().unwrap_or("").trim_start_matches("error: ")
        )
    })
}

fn count(given: &[Kind], least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&given.len()) {
        return Ok(());
    }
    let more = if most == usize::MAX { "at least " } else { "" };
    Err(format!("it takes {more}{least}, not {}", given.len()))
}

fn takes(given: &[Kind], wanted: &[Kind]) -> Result<(), String> {
    count(given, wanted.len(), wanted.len())?;
    for (given, wanted) in given.iter().zip(wanted) {
        if given != wanted && *given != Kind::Any {
            return Err(format!("it takes {}, not {}", wanted.show(), given.show()));
        }
    }
    Ok(())
}

fn comparable(a: Kind, b: Kind, ordered: bool) -> Result<(), String> {
    let basic = |kind| matches!(kind, Kind::Any | Kind::Text | Kind::Float | Kind::Int | Kind::Bool);
    let orders = !ordered || (a != Kind::Bool && b != Kind::Bool);
    if basic(a) && basic(b) && orders && (a == b || a == Kind::Any || b == Kind::Any) {
        return Ok(());
    }
    let hint = match (a, b) {
        (Kind::Float, Kind::Int) | (Kind::Int, Kind::Float) => ": write the number with a fraction, 80.0",
        _ => "",
    };
    Err(format!("{} can't be compared with {}{hint}", a.show(), b.show()))
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        _ => false,
    }
}

fn order(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn as_number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::Text(text) => text.parse().map_err(|_| format!("'{text}' is not a number")),
        other => Err(format!("{} is not a number", other.kind().show())),
    }
}

/// With four significant digits.
fn four(number: f64) -> String {
    number::general(number, Some(4))
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];
const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];

/// Up to below 1 with the prefixes of the SI, downwards only.
fn small(mut number: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for smaller in SMALL {
        if number.abs() >= 1.0 {
            break;
        }
        (prefix, number) = (smaller, number * 1000.0);
    }
    (number, prefix)
}

fn humanize(mut number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return four(number);
    }
    if number.abs() < 1.0 {
        let (number, prefix) = small(number);
        return four(number) + prefix;
    }
    let mut prefix = "";
    for larger in LARGE {
        if number.abs() < 1000.0 {
            break;
        }
        (prefix, number) = (larger, number / 1000.0);
    }
    four(number) + prefix
}

fn humanize1024(mut number: f64) -> String {
    let mut prefix = "";
    if number.abs() > 1.0 && number.is_finite() {
        for larger in ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] {
            if number.abs() < 1024.0 {
                break;
            }
            (prefix, number) = (larger, number / 1024.0);
        }
    }
    four(number) + prefix
}

fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return four(seconds);
    }
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds.abs() < 1.0 {
        let (number, prefix) = small(seconds);
        return format!("{}{prefix}s", four(number));
    }
    let (sign, seconds) = if seconds < 0.0 { ("-", -seconds) } else { ("", seconds) };
    let whole = seconds as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    let rest = whole % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four(seconds)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// Seconds since 1970 as a moment, as Go prints one: `2026-11-29 10:30:00.5 +0000 UTC`.
fn humanize_timestamp(seconds: f64) -> Result<String, String> {
    if !seconds.is_finite() {
        return Ok(four(seconds));
    }
    let ms = (seconds * 1000.0).round();
    let moment = jiff::Timestamp::from_millisecond(ms as i64)
        .map_err(|_| format!("{} is no moment of the calendar", four(seconds)))?;
    let text = moment.to_string();
    Ok(format!("{} +0000 UTC", text.trim_end_matches('Z').replace('T', " ")))
}

/// The first letter of every word in upper case.
fn title(text: &str) -> String {
    let mut before = ' ';
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        let inside = before.is_alphanumeric() || before == '_';
        if inside {
            titled.push(c)
        } else {
            titled.extend(c.to_uppercase())
        }
        before = c;
    }
    titled
}
