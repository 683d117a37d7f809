//! Evaluation of a tree over the steps of a query.

use std::collections::HashMap;

use super::ast::{At, BinaryOp, Expr, Kind, Moment, Type};
use super::budget::Budget;
use super::{Answer, AnswerValue, Engine, Query, QueryError};
use crate::model::{Labels, Sample, Series, Source, Value, labels};

/// The moments at which an expression is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub start_ms: i64,
    /// 0 when there is one moment only.
    pub step_ms: i64,
    pub steps: usize,
}

impl Grid {
    pub fn one(at_ms: i64) -> Grid {
        Grid { start_ms: at_ms, step_ms: 0, steps: 1 }
    }

    pub fn at(&self, step: usize) -> i64 {
        self.start_ms + step as i64 * self.step_ms
    }
}

/// A series with a value or none for each step.
#[derive(Clone, Debug)]
pub struct Row {
    pub labels: Labels,
    pub points: Vec<Option<Value>>,
}

/// What an expression evaluates to, for all steps.
#[derive(Clone, Debug)]
pub enum Set {
    Scalar(Vec<f64>),
    Text(String),
    Rows(Vec<Row>),
}

impl Set {
    /// How many values it holds, and how much for the budget.
    fn size(&self) -> u64 {
        match self {
            Set::Scalar(numbers) => numbers.len() as u64,
            Set::Text(_) => 1,
            Set::Rows(rows) => rows.iter().map(|row| row.points.len() as u64).sum(),
        }
    }

    /// The same at every step.
    fn spread(self, steps: usize) -> Set {
        match self {
            Set::Scalar(numbers) => Set::Scalar(vec![numbers.first().copied().unwrap_or(f64::NAN); steps]),
            Set::Text(text) => Set::Text(text),
            Set::Rows(mut rows) => {
                for row in &mut rows {
                    let point = row.points.pop().flatten();
                    row.points = vec![point; steps];
                }
                Set::Rows(rows)
            }
        }
    }
}

pub type Evaluated<T> = Result<T, QueryError>;

/// Times farther from 1970 than this are refused, so that none overflows.
const TIME_MAX: i64 = i64::MAX / 1000;

/// One evaluation.
pub struct Evaluator<'a> {
    pub engine: &'a Engine,
    pub source: &'a dyn Source,
    pub budget: &'a Budget<'a>,
    /// Where the query begins and ends: `@ start()`, `@ end()`.
    pub start_ms: i64,
    pub end_ms: i64,
}

pub fn instant(engine: &Engine, source: &dyn Source, query: &Query, at_ms: i64) -> Evaluated<Answer> {
    check_times(&[at_ms])?;
    let budget = Budget::new(engine);
    let evaluator = Evaluator { engine, source, budget: &budget, start_ms: at_ms, end_ms: at_ms };
    let grid = Grid::one(at_ms);
    let value = if query.returns() == Type::Matrix {
        AnswerValue::Matrix(evaluator.windows(query.expr().unwrapped(), grid)?.into_samples())
    } else {
        match evaluator.eval(query.expr(), grid)? {
            Set::Scalar(numbers) => AnswerValue::Scalar(numbers.first().copied().unwrap_or(f64::NAN)),
            Set::Text(text) => AnswerValue::String(text),
            Set::Rows(rows) => {
                let value = |mut row: Row| Some((row.labels, row.points.pop()??));
                AnswerValue::Vector(rows.into_iter().filter_map(value).collect())
            }
        }
    };
    Ok(Answer { value, warnings: budget.warnings(), samples: budget.loaded() })
}

pub fn range(
    engine: &Engine,
    source: &dyn Source,
    query: &Query,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
) -> Evaluated<Answer> {
    check_times(&[start_ms, end_ms])?;
    if step_ms <= 0 {
        return Err(QueryError::Invalid("the step must be longer than 0".to_owned()));
    }
    if end_ms < start_ms {
        return Err(QueryError::Invalid("the end lies before the start".to_owned()));
    }
    if !matches!(query.returns(), Type::Scalar | Type::Vector) {
        let message = format!(
            "over a range only a scalar or an instant vector is evaluated, not a {}",
            query.returns()
        );
        return Err(QueryError::Invalid(message));
    }
    let budget = Budget::new(engine);
    let evaluator = Evaluator { engine, source, budget: &budget, start_ms, end_ms };
    let grid = evaluator.grid(start_ms, end_ms, step_ms)?;
    let rows = match evaluator.eval(query.expr(), grid)? {
        Set::Scalar(numbers) => {
            let points = numbers.into_iter().map(|number| Some(Value::Float(number))).collect();
            vec![Row { labels: Labels::default(), points }]
        }
        Set::Rows(rows) => rows,
        Set::Text(_) => Vec::new(),
    };
    let mut series: Vec<Series> = rows.into_iter().map(|row| samples(row, grid)).collect();
    series.retain(|series| !series.samples.is_empty());
    series.sort_by(|one, two| one.labels.cmp(&two.labels));
    Ok(Answer { value: AnswerValue::Matrix(series), warnings: budget.warnings(), samples: budget.loaded() })
}

fn check_times(times: &[i64]) -> Evaluated<()> {
    match times.iter().find(|time| time.unsigned_abs() > TIME_MAX as u64) {
        Some(time) => Err(QueryError::Invalid(format!("the time {time} ms is out of range"))),
        None => Ok(()),
    }
}

/// The values of steps as samples.
pub fn samples(row: Row, grid: Grid) -> Series {
    let sample = |(step, point): (usize, Option<Value>)| Some(Sample { at_ms: grid.at(step), value: point? });
    Series { labels: row.labels, samples: row.points.into_iter().enumerate().filter_map(sample).collect() }
}

/// Whether two series that get the same labels may become one when they have no value at the same step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Same {
    Joined,
    Refused,
}

/// Makes one row of those with the same labels.
///
/// # Errors
/// Two of them have a value at the same step, or may not be joined.
pub fn merge(rows: Vec<Row>, same: Same) -> Evaluated<Vec<Row>> {
    let mut known: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        if row.points.iter().all(Option::is_none) {
            continue;
        }
        let Some(&at) = known.get(&row.labels) else {
            known.insert(row.labels.clone(), merged.len());
            merged.push(row);
            continue;
        };
        let into = &mut merged[at];
        for (point, kept) in row.points.into_iter().zip(&mut into.points) {
            if point.is_some() && (kept.is_some() || same == Same::Refused) {
                let message = format!(
                    "several series end up with the same labels {}: aggregate them, or keep a label that tells them apart",
                    into.labels
                );
                return Err(QueryError::Invalid(message));
            }
            if point.is_some() {
                *kept = point;
            }
        }
    }
    Ok(merged)
}

/// Labels without the metric's name.
pub fn nameless(labels: &Labels) -> Labels {
    if labels.name().is_empty() { labels.clone() } else { labels.filtered(|name| name != labels::NAME) }
}

impl Evaluator<'_> {
    /// # Errors
    /// More steps than values may be held.
    pub fn grid(&self, start_ms: i64, end_ms: i64, step_ms: i64) -> Evaluated<Grid> {
        let steps = if end_ms < start_ms { 0 } else { (end_ms - start_ms) as u64 / step_ms as u64 + 1 };
        if steps > self.engine.max_samples {
            return Err(QueryError::TooMuch { samples: steps, limit: self.engine.max_samples });
        }
        Ok(Grid { start_ms, step_ms, steps: steps as usize })
    }

    /// The moment that is looked at from a step.
    pub fn moment(&self, moment: Moment, at_ms: i64) -> i64 {
        let at = match moment.at {
            None => at_ms,
            Some(At::Ms(ms)) => ms,
            Some(At::Start) => self.start_ms,
            Some(At::End) => self.end_ms,
        };
        at - moment.offset_ms
    }

    /// An expression of any type but a range vector.
    pub fn eval(&self, expr: &Expr, grid: Grid) -> Evaluated<Set> {
        self.budget.tick()?;
        let held = self.budget.held();
        let set = if grid.steps > 1 && is_fixed(expr) {
            let set = self.node(expr, Grid::one(grid.start_ms))?;
            self.budget.hold(set.size().saturating_mul(grid.steps as u64))?;
            set.spread(grid.steps)
        } else {
            self.node(expr, grid)?
        };
        self.budget.set_held(held);
        self.budget.hold(set.size())?;
        Ok(set)
    }

    /// An instant vector.
    pub fn rows(&self, expr: &Expr, grid: Grid) -> Evaluated<Vec<Row>> {
        match self.eval(expr, grid)? {
            Set::Rows(rows) => Ok(rows),
            _ => Err(wrong_type(Type::Vector)),
        }
    }

    /// A scalar.
    pub fn scalar(&self, expr: &Expr, grid: Grid) -> Evaluated<Vec<f64>> {
        match self.eval(expr, grid)? {
            Set::Scalar(numbers) => Ok(numbers),
            _ => Err(wrong_type(Type::Scalar)),
        }
    }

    /// A string.
    pub fn text(&self, expr: &Expr, grid: Grid) -> Evaluated<String> {
        match self.eval(expr, grid)? {
            Set::Text(text) => Ok(text),
            _ => Err(wrong_type(Type::String)),
        }
    }

    fn node(&self, expr: &Expr, grid: Grid) -> Evaluated<Set> {
        match &expr.kind {
            Kind::Number(number) => Ok(Set::Scalar(vec![*number; grid.steps])),
            Kind::Text(text) => Ok(Set::Text(text.clone())),
            Kind::Vector(selector) => {
                self.instant_rows(selector, grid, |sample| sample.value.clone()).map(Set::Rows)
            }
            Kind::Matrix { .. } | Kind::Subquery { .. } => Err(wrong_type(Type::Vector)),
            Kind::Paren(inner) => self.eval(inner, grid),
            Kind::Unary { negative, inner } => self.unary(*negative, inner, grid),
            Kind::Binary(binary) => self.binary(binary, grid),
            Kind::Aggregate(aggregate) => self.aggregate(aggregate, grid).map(Set::Rows),
            Kind::Call { function, args } => self.call(function, args, grid),
        }
    }

    fn unary(&self, negative: bool, inner: &Expr, grid: Grid) -> Evaluated<Set> {
        let set = self.eval(inner, grid)?;
        if !negative {
            return Ok(set);
        }
        match set {
            Set::Scalar(numbers) => Ok(Set::Scalar(numbers.into_iter().map(|number| -number).collect())),
            Set::Rows(mut rows) => {
                let minus_one = Value::Float(-1.0);
                for row in &mut rows {
                    row.labels = nameless(&row.labels);
                    for point in row.points.iter_mut().flatten() {
                        if let Some(value) = super::binary::arithmetic(BinaryOp::Mul, point, &minus_one) {
                            *point = value;
                        }
                    }
                }
                merge(rows, Same::Refused).map(Set::Rows)
            }
            Set::Text(_) => Err(wrong_type(Type::Scalar)),
        }
    }
}

/// What the check at parsing rules out.
fn wrong_type(wanted: Type) -> QueryError {
    QueryError::Invalid(format!("an operand is no {wanted}"))
}

/// Whether it evaluates to the same at every step: each of its selectors says with `@` when.
fn is_fixed(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => true,
        Kind::Vector(selector) | Kind::Matrix { selector, .. } => selector.moment.at.is_some(),
        Kind::Subquery { moment, .. } => moment.at.is_some(),
        Kind::Call { function, args } => !function.timed && args.iter().all(is_fixed),
        _ => expr.children().into_iter().all(is_fixed),
    }
}
