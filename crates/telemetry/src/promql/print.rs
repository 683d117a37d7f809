//! Trees as text, in the form in which expressions are usually written.

use super::ast::{Aggregate, At, Binary, Expr, Group, Kind, Matching, Moment, Selector};
use super::lex::UNITS;
use crate::model::labels;

/// A line longer than this is split.
const LINE_MAX: usize = 100;

/// Over several lines where one would be too long.
pub fn pretty(expr: &Expr) -> String {
    split(expr, 0)
}

fn split(expr: &Expr, level: usize) -> String {
    let indent = "  ".repeat(level);
    let line = one_line(expr);
    if indent.len() + line.len() <= LINE_MAX {
        return indent + &line;
    }
    let list = |args: &[&Expr]| args.iter().map(|arg| split(arg, level + 1)).collect::<Vec<_>>().join(",\n");
    match &expr.kind {
        Kind::Paren(inner) => format!("{indent}(\n{}\n{indent})", split(inner, level + 1)),
        Kind::Binary(binary) => format!(
            "{}\n{indent}{}\n{}",
            split(&binary.left, level + 1),
            operator(binary),
            split(&binary.right, level + 1)
        ),
        Kind::Aggregate(aggregate) => {
            let args: Vec<&Expr> = aggregate.parameter.iter().chain([&aggregate.inner]).collect();
            format!("{indent}{}(\n{}\n{indent})", aggregate_head(aggregate), list(&args))
        }
        Kind::Call { function, args } if !args.is_empty() => {
            let args: Vec<&Expr> = args.iter().collect();
            format!("{indent}{}(\n{}\n{indent})", function.name, list(&args))
        }
        Kind::Subquery { inner, range_ms, step_ms, moment } => {
            format!("{}{}", split(inner, level), subquery_tail(*range_ms, *step_ms, moment))
        }
        Kind::Unary { negative, inner } => {
            format!("{indent}{}{}", sign(*negative), split(inner, level).trim_start())
        }
        _ => indent + &line,
    }
}

/// On one line.
pub fn one_line(expr: &Expr) -> String {
    match &expr.kind {
        Kind::Number(value) => number(*value),
        Kind::Text(text) => quoted(text),
        Kind::Vector(selector) => format!("{}{}", series(selector), moment(&selector.moment)),
        Kind::Matrix { selector, range_ms } => {
            format!("{}[{}]{}", series(selector), duration(*range_ms), moment(&selector.moment))
        }
        Kind::Subquery { inner, range_ms, step_ms, moment } => {
            format!("{}{}", one_line(inner), subquery_tail(*range_ms, *step_ms, moment))
        }
        Kind::Paren(inner) => format!("({})", one_line(inner)),
        Kind::Unary { negative, inner } => format!("{}{}", sign(*negative), one_line(inner)),
        Kind::Binary(binary) => {
            format!("{} {} {}", one_line(&binary.left), operator(binary), one_line(&binary.right))
        }
        Kind::Aggregate(aggregate) => {
            let args = aggregate.parameter.iter().chain([&aggregate.inner]).map(one_line);
            format!("{}({})", aggregate_head(aggregate), args.collect::<Vec<_>>().join(", "))
        }
        Kind::Call { function, args } => {
            format!("{}({})", function.name, args.iter().map(one_line).collect::<Vec<_>>().join(", "))
        }
    }
}

fn sign(negative: bool) -> char {
    if negative { '-' } else { '+' }
}

fn aggregate_head(aggregate: &Aggregate) -> String {
    let word = if aggregate.without { "without" } else { "by" };
    match aggregate.labels.is_empty() && !aggregate.without {
        true => aggregate.op.text().to_owned(),
        false => format!("{} {word} ({}) ", aggregate.op.text(), names(&aggregate.labels)),
    }
}

fn operator(binary: &Binary) -> String {
    let mut text = binary.op.text().to_owned();
    if binary.bool {
        text += " bool";
    }
    if let Some(Matching { on, labels, group, include }) = &binary.matching {
        let word = if *on { "on" } else { "ignoring" };
        text += &format!(" {word} ({})", names(labels));
        match group {
            Group::None => {}
            Group::Left => text += &format!(" group_left ({})", names(include)),
            Group::Right => text += &format!(" group_right ({})", names(include)),
        }
    }
    text
}

fn names(labels: &[String]) -> String {
    labels.iter().map(|label| name(label)).collect::<Vec<_>>().join(", ")
}

/// A label's name, in quotes where it would not be one without.
fn name(label: &str) -> String {
    if super::aggregate::is_label_name(label) { label.to_owned() } else { quoted(label) }
}

fn series(selector: &Selector) -> String {
    let mut conditions: Vec<String> = Vec::new();
    let mut before = "";
    if let Some(metric) = &selector.name {
        let first = metric.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
        if first && metric.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
            before = metric;
        } else {
            conditions.push(quoted(metric));
        }
    }
    let rest = selector.conditions.iter().map(|one| {
        let label = if one.label == labels::NAME { labels::NAME.to_owned() } else { name(&one.label) };
        format!("{label}{}{}", one.op, quoted(&one.value))
    });
    conditions.extend(rest);
    match conditions.is_empty() {
        true => before.to_owned(),
        false => format!("{before}{{{}}}", conditions.join(",")),
    }
}

fn moment(moment: &Moment) -> String {
    let mut text = match moment.at {
        None => String::new(),
        Some(At::Start) => " @ start()".to_owned(),
        Some(At::End) => " @ end()".to_owned(),
        Some(At::Ms(ms)) => {
            let minus = if ms < 0 { "-" } else { "" };
            format!(" @ {minus}{}.{:03}", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)
        }
    };
    match moment.offset_ms {
        0 => {}
        later @ ..0 => text += &format!(" offset -{}", duration(-later)),
        earlier => text += &format!(" offset {}", duration(earlier)),
    }
    text
}

fn subquery_tail(range_ms: i64, step_ms: Option<i64>, when: &Moment) -> String {
    let step = step_ms.map_or(String::new(), duration);
    format!("[{}:{step}]{}", duration(range_ms), moment(when))
}

/// In the units that fit; days and longer only when nothing is left over.
fn duration(ms: i64) -> String {
    let (mut left, mut text) = (ms, String::new());
    for (unit, length) in UNITS {
        let whole = left % length == 0;
        if left >= length && (whole || length < 86_400_000) {
            text += &format!("{}{unit}", left / length);
            left %= length;
        }
    }
    text
}

/// A number as it is read again.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

/// In quotes, with the escapes that are read again.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
