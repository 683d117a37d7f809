//! Aggregations: many series become few.

mod choose;

use std::collections::HashMap;
use std::sync::Arc;

use super::ast::{Aggregate, AggregateOp};
use super::eval::{Evaluated, Evaluator, Grid, Row, Same, merge};
use super::histogram::quantile::ranges;
use super::print::number as text_of;
use super::sum::{Mean, Sum, Variance, quantile};
use super::{Dialect, QueryError, histogram};
use crate::model::{Histogram, Labels, Value, labels};

/// The series that are aggregated to one.
pub(super) struct Grouped {
    pub labels: Labels,
    /// In the order in which they came.
    pub members: Vec<usize>,
}

/// Groups in the order of their first members. `new`: a label that tells none of them apart, as it will get another value.
fn group(rows: &[Row], aggregate: &Aggregate, new: Option<&str>) -> Vec<Grouped> {
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Grouped> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let labels = row.labels.filtered(|name| {
            let named = aggregate.labels.iter().any(|label| label == name);
            Some(name) != new && if aggregate.without { !named && name != labels::NAME } else { named }
        });
        let found = *known.entry(labels.clone()).or_insert_with(|| {
            groups.push(Grouped { labels, members: Vec::new() });
            groups.len() - 1
        });
        groups[found].members.push(at);
    }
    groups
}

/// What the members of a group have at one step.
#[derive(Default)]
struct Column<'a> {
    numbers: Vec<f64>,
    histograms: Vec<&'a Arc<Histogram>>,
}

impl<'a> Column<'a> {
    fn fill(&mut self, rows: &'a [Row], members: &[usize], step: usize) {
        self.numbers.clear();
        self.histograms.clear();
        for &member in members {
            match &rows[member].points[step] {
                Some(Value::Float(number)) => self.numbers.push(*number),
                Some(Value::Histogram(histogram)) => self.histograms.push(histogram),
                None => {}
            }
        }
    }

    fn len(&self) -> usize {
        self.numbers.len() + self.histograms.len()
    }
}

impl Evaluator<'_> {
    pub fn aggregate(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Vec<Row>> {
        let op = aggregate.op;
        if op == AggregateOp::CountValues {
            return self.count_values(aggregate, grid);
        }
        let parameter = match &aggregate.parameter {
            Some(parameter) => self.scalar(parameter, grid)?,
            None => Vec::new(),
        };
        let rows = self.rows(&aggregate.inner, grid)?;
        let groups = group(&rows, aggregate, None);
        use AggregateOp::{Bottomk, LimitRatio, Limitk, Topk};
        if matches!(op, Topk | Bottomk | Limitk | LimitRatio) {
            return self.choose(op, &parameter, rows, &groups, grid);
        }
        self.budget.hold(groups.len() as u64 * grid.steps as u64)?;
        let mut result = Vec::with_capacity(groups.len());
        let mut column = Column::default();
        for group in groups {
            let mut points = Vec::with_capacity(grid.steps);
            for step in 0..grid.steps {
                self.budget.tick()?;
                column.fill(&rows, &group.members, step);
                let parameter = parameter.get(step).copied().unwrap_or(f64::NAN);
                points.push(if column.len() == 0 { None } else { self.reduce(op, parameter, &mut column) });
            }
            result.push(Row { labels: group.labels, points });
        }
        merge(result, Same::Joined)
    }

    /// One value of the values of a group.
    fn reduce(&self, op: AggregateOp, parameter: f64, column: &mut Column) -> Option<Value> {
        let count = column.len() as f64;
        let number = match op {
            AggregateOp::Count => count,
            AggregateOp::Group => 1.0,
            AggregateOp::Sum | AggregateOp::Avg if !column.histograms.is_empty() => {
                return self.reduce_histograms(op, column);
            }
            _ => {
                if !column.histograms.is_empty() {
                    self.budget.warn(format!("{}: histograms were left out", op.text()));
                }
                if column.numbers.is_empty() {
                    return None;
                }
                self.reduce_numbers(op, parameter, &mut column.numbers)
            }
        };
        Some(Value::Float(number))
    }

    fn reduce_numbers(&self, op: AggregateOp, parameter: f64, numbers: &mut [f64]) -> f64 {
        let variance = |numbers: &[f64]| {
            let first = numbers.first().copied().filter(|_| self.engine.dialect == Dialect::Prometheus2);
            let mut variance = first.map_or_else(Variance::default, Variance::from_first);
            numbers[usize::from(first.is_some())..].iter().for_each(|number| variance.add(*number));
            variance.value()
        };
        let best = |numbers: &[f64], better: fn(f64, f64) -> bool| {
            let prefer = |best: f64, next: f64| if better(next, best) || best.is_nan() { next } else { best };
            numbers.iter().copied().reduce(prefer).unwrap_or(f64::NAN)
        };
        match op {
            AggregateOp::Sum => numbers.iter().copied().collect::<Sum>().value(),
            AggregateOp::Avg => {
                let mut mean = Mean::default();
                numbers.iter().for_each(|number| mean.add(*number));
                mean.value()
            }
            AggregateOp::Min => best(numbers, |next, best| next < best),
            AggregateOp::Max => best(numbers, |next, best| next > best),
            AggregateOp::Stdvar => variance(numbers),
            AggregateOp::Stddev => variance(numbers).sqrt(),
            AggregateOp::Quantile => {
                if !(0.0..=1.0).contains(&parameter) {
                    self.budget
                        .warn(format!("quantile: a quantile lies between 0 and 1, not at {parameter}"));
                }
                quantile(parameter, numbers)
            }
            _ => f64::NAN,
        }
    }

    fn reduce_histograms(&self, op: AggregateOp, column: &Column) -> Option<Value> {
        if !column.numbers.is_empty() {
            self.budget.warn(format!("{}: a group with numbers and histograms was left out", op.text()));
            return None;
        }
        let mut sum = Histogram::clone(column.histograms.first()?);
        for next in &column.histograms[1..] {
            let Some(next) = histogram::add(&sum, next) else {
                self.budget
                    .warn(format!("{}: histograms whose bounds don't go together were left out", op.text()));
                return None;
            };
            sum = next;
        }
        if op == AggregateOp::Avg {
            sum = histogram::divide(&sum, column.histograms.len() as f64);
        }
        Some(Value::Histogram(Arc::new(sum)))
    }

    fn count_values(&self, aggregate: &Aggregate, grid: Grid) -> Evaluated<Vec<Row>> {
        let Some(parameter) = &aggregate.parameter else { return Ok(Vec::new()) };
        let label = self.text(parameter, grid)?;
        if !is_label_name(&label) {
            return Err(QueryError::Invalid(format!("count_values: {label:?} is no name of a label")));
        }
        let rows = self.rows(&aggregate.inner, grid)?;
        let dropped = aggregate.without && aggregate.labels.contains(&label);
        let mut result: Vec<Row> = Vec::new();
        for group in group(&rows, aggregate, Some(&label)) {
            let mut known: HashMap<String, usize> = HashMap::new();
            for &member in &group.members {
                self.budget.tick()?;
                for (step, value) in rows[member].points.iter().enumerate() {
                    let Some(value) = value else { continue };
                    // A label that is not kept tells nothing apart.
                    let text = if dropped { String::new() } else { value_text(value) };
                    let at = match known.get(&text) {
                        Some(at) => *at,
                        None => {
                            self.budget.hold(grid.steps as u64)?;
                            let labels =
                                if dropped { group.labels.clone() } else { group.labels.with(&label, &text) };
                            result.push(Row { labels, points: vec![None; grid.steps] });
                            known.insert(text, result.len() - 1);
                            result.len() - 1
                        }
                    };
                    let before = match result[at].points[step] {
                        Some(Value::Float(before)) => before,
                        _ => 0.0,
                    };
                    result[at].points[step] = Some(Value::Float(before + 1.0));
                }
            }
        }
        merge(result, Same::Joined)
    }
}

/// Whether it may name a label.
pub(super) fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A value as a label's value; a histogram with its buckets, bounds that belong to them in square brackets.
fn value_text(value: &Value) -> String {
    let histogram = match value {
        Value::Float(number) => return text_of(*number),
        Value::Histogram(histogram) => histogram,
    };
    let mut text = format!("{{count:{}, sum:{}", text_of(histogram.count), text_of(histogram.sum));
    for range in ranges(histogram) {
        let (open, close) = match (range.lower < 0.0, range.upper > 0.0) {
            (true, true) => ('[', ']'),
            (true, false) => ('[', ')'),
            (false, _) => ('(', ']'),
        };
        let (lower, upper, count) = (text_of(range.lower), text_of(range.upper), text_of(range.count));
        text += &format!(", {open}{lower},{upper}{close}:{count}");
    }
    text + "}"
}
