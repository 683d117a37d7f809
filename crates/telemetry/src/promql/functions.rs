//! Which functions there are, what they take, and what they do.

mod calendar;
mod math;

use super::ast::Type;
use super::histogram::quantile;
use super::window::{Window, over_time, rate, trend};
use crate::model::{Histogram, Value};

pub use calendar::Calendar;

/// A function of PromQL.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub args: &'static [Type],
    /// How many of the last arguments may be left out.
    pub optional: usize,
    /// Whether the last argument may stand several times.
    pub repeats: bool,
    pub returns: Type,
    /// Whether its value depends on the moment of the step even when its arguments don't.
    pub timed: bool,
    /// Why it is not there, when Prometheus has it.
    pub refusal: Option<&'static str>,
    pub what: What,
}

/// What a function does.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// To each number of a vector; histograms are left out.
    Number(fn(f64) -> f64),
    /// To each number of a vector, taken as seconds since 1970; without an argument to the moment of the step.
    Calendar(fn(Calendar) -> i64),
    /// To each histogram of a vector; numbers are left out.
    Histogram(fn(&Histogram) -> f64),
    /// To the samples of each series of a range vector. The name is kept or not.
    Window(fn(&Window) -> Option<Value>, Name),
    Special(Special),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Kept,
    Dropped,
    /// Kept by version 3 of Prometheus only.
    KeptLater,
}

/// What is done to more than one value at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    Absent,
    AbsentOverTime,
    Clamp,
    ClampMax,
    ClampMin,
    HistogramFraction,
    HistogramQuantile,
    LabelJoin,
    LabelReplace,
    Pi,
    Round,
    Scalar,
    Sort { descending: bool },
    SortByLabel { descending: bool },
    Time,
    Timestamp,
    Vector,
}

/// A function by its name.
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The function whose name looks most like one that is none.
pub fn nearest(name: &str) -> Option<&'static str> {
    let distance = |known: &str| edits(name, known);
    let best = FUNCTIONS.iter().filter(|f| f.refusal.is_none()).min_by_key(|f| distance(f.name))?;
    (distance(best.name) <= 1 + name.len() / 5).then_some(best.name)
}

/// How many characters must be added, removed or changed to make one of the other (Levenshtein).
fn edits(one: &str, two: &str) -> usize {
    // What is far longer than any name is like none.
    if one.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (at, from) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (at, to) in two.bytes().enumerate() {
            let cost = (diagonal + usize::from(from != to)).min(row[at] + 1).min(row[at + 1] + 1);
            diagonal = row[at + 1];
            row[at + 1] = cost;
        }
    }
    row[two.len()]
}

const fn function(name: &'static str, args: &'static [Type], returns: Type, what: What) -> Function {
    Function { name, args, optional: 0, repeats: false, returns, timed: false, refusal: None, what }
}

const fn number(name: &'static str, with: fn(f64) -> f64) -> Function {
    function(name, &[Type::Vector], Type::Vector, What::Number(with))
}

const fn calendar(name: &'static str, with: fn(Calendar) -> i64) -> Function {
    Function {
        optional: 1,
        timed: true,
        ..function(name, &[Type::Vector], Type::Vector, What::Calendar(with))
    }
}

const fn histogram(name: &'static str, with: fn(&Histogram) -> f64) -> Function {
    function(name, &[Type::Vector], Type::Vector, What::Histogram(with))
}

const fn window(name: &'static str, with: fn(&Window) -> Option<Value>) -> Function {
    function(name, &[Type::Matrix], Type::Vector, What::Window(with, Name::Dropped))
}

const fn special(name: &'static str, args: &'static [Type], what: Special) -> Function {
    function(name, args, Type::Vector, What::Special(what))
}

const fn scalar(name: &'static str, args: &'static [Type], what: Special) -> Function {
    function(name, args, Type::Scalar, What::Special(what))
}

const fn refused(name: &'static str, why: &'static str) -> Function {
    Function { refusal: Some(why), ..scalar(name, &[], Special::Pi) }
}

const V: Type = Type::Vector;
const M: Type = Type::Matrix;
const N: Type = Type::Scalar;
const S: Type = Type::String;

static FUNCTIONS: &[Function] = &[
    number("abs", f64::abs),
    special("absent", &[V], Special::Absent),
    special("absent_over_time", &[M], Special::AbsentOverTime),
    number("acos", f64::acos),
    number("acosh", f64::acosh),
    number("asin", f64::asin),
    number("asinh", math::asinh),
    number("atan", f64::atan),
    number("atanh", f64::atanh),
    window("avg_over_time", over_time::avg),
    number("ceil", f64::ceil),
    window("changes", rate::changes),
    special("clamp", &[V, N, N], Special::Clamp),
    special("clamp_max", &[V, N], Special::ClampMax),
    special("clamp_min", &[V, N], Special::ClampMin),
    number("cos", f64::cos),
    number("cosh", f64::cosh),
    window("count_over_time", over_time::count),
    calendar("day_of_month", |moment| moment.day),
    calendar("day_of_week", |moment| moment.weekday),
    calendar("day_of_year", |moment| moment.day_of_year),
    calendar("days_in_month", |moment| moment.days_in_month),
    number("deg", |angle| angle * 180.0 / std::f64::consts::PI),
    window("delta", rate::delta),
    window("deriv", trend::deriv),
    Function { args: &[M, N, N], ..window("double_exponential_smoothing", trend::smooth) },
    number("exp", f64::exp),
    Function {
        what: What::Window(over_time::first, Name::KeptLater),
        ..window("first_over_time", over_time::first)
    },
    number("floor", f64::floor),
    histogram("histogram_avg", |histogram| histogram.sum / histogram.count),
    histogram("histogram_count", |histogram| histogram.count),
    special("histogram_fraction", &[N, N, V], Special::HistogramFraction),
    special("histogram_quantile", &[N, V], Special::HistogramQuantile),
    histogram("histogram_stddev", |histogram| quantile::variance(histogram).sqrt()),
    histogram("histogram_stdvar", quantile::variance),
    histogram("histogram_sum", |histogram| histogram.sum),
    Function { args: &[M, N, N], ..window("holt_winters", trend::smooth) },
    calendar("hour", |moment| moment.hour),
    window("idelta", rate::idelta),
    window("increase", rate::increase),
    refused("info", "info() is not there: join with the info metric instead, * on (…) group_left (…)"),
    window("irate", rate::irate),
    Function { repeats: true, optional: 1, ..special("label_join", &[V, S, S, S], Special::LabelJoin) },
    special("label_replace", &[V, S, S, S, S], Special::LabelReplace),
    Function { what: What::Window(over_time::last, Name::Kept), ..window("last_over_time", over_time::last) },
    number("ln", f64::ln),
    number("log10", f64::log10),
    number("log2", f64::log2),
    window("mad_over_time", over_time::mad),
    window("max_over_time", over_time::max),
    window("min_over_time", over_time::min),
    calendar("minute", |moment| moment.minute),
    calendar("month", |moment| moment.month),
    scalar("pi", &[], Special::Pi),
    Function { args: &[M, N], timed: true, ..window("predict_linear", trend::predict_linear) },
    window("present_over_time", over_time::present),
    Function { args: &[N, M], ..window("quantile_over_time", over_time::quantile) },
    number("rad", |angle| angle * std::f64::consts::PI / 180.0),
    window("rate", rate::rate),
    window("resets", rate::resets),
    Function { optional: 1, ..special("round", &[V, N], Special::Round) },
    scalar("scalar", &[V], Special::Scalar),
    number("sgn", math::sign),
    number("sin", f64::sin),
    number("sinh", f64::sinh),
    special("sort", &[V], Special::Sort { descending: false }),
    Function {
        repeats: true,
        optional: 1,
        ..special("sort_by_label", &[V, S], Special::SortByLabel { descending: false })
    },
    Function {
        repeats: true,
        optional: 1,
        ..special("sort_by_label_desc", &[V, S], Special::SortByLabel { descending: true })
    },
    special("sort_desc", &[V], Special::Sort { descending: true }),
    number("sqrt", f64::sqrt),
    window("stddev_over_time", over_time::deviation),
    window("stdvar_over_time", over_time::variance),
    window("sum_over_time", over_time::sum),
    number("tan", f64::tan),
    number("tanh", f64::tanh),
    Function { timed: true, ..scalar("time", &[], Special::Time) },
    Function { timed: true, ..special("timestamp", &[V], Special::Timestamp) },
    window("ts_of_first_over_time", over_time::time_of_first),
    window("ts_of_last_over_time", over_time::time_of_last),
    window("ts_of_max_over_time", over_time::time_of_max),
    window("ts_of_min_over_time", over_time::time_of_min),
    special("vector", &[N], Special::Vector),
    calendar("year", |moment| moment.year),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_listed_once_each_in_the_order_of_their_names() {
        assert!(FUNCTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn a_mistyped_name_finds_the_one_that_was_meant() {
        assert_eq!(nearest("rste"), Some("rate"));
        assert_eq!(nearest("histogram_quantil"), Some("histogram_quantile"));
        assert_eq!(nearest("something_else"), None);
        assert_eq!(nearest(&"a".repeat(10_000)), None);
    }
}
