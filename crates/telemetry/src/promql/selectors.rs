//! Selectors and subqueries: what is read, and which of it each step sees.

use std::sync::Arc;

use super::ast::{Expr, Kind, Moment, Selector, Type};
use super::eval::{Evaluated, Evaluator, Grid, Row, samples};
use super::window::Window;
use super::{Dialect, QueryError};
use crate::model::{CounterReset, Sample, Select, Series, SourceError, Value};

/// The samples of a range vector, for all steps.
pub struct Windows {
    /// Without staleness markers.
    pub series: Vec<Series>,
    /// Where the range ends for each step: `(moment, steps)`.
    ends: Vec<i64>,
    range_ms: i64,
    /// Whether a sample at the very beginning of the range belongs to it.
    closed: bool,
}

impl Windows {
    /// Of one step: its samples.
    pub fn into_samples(self) -> Vec<Series> {
        let Some(&end_ms) = self.ends.first() else { return Vec::new() };
        let (range_ms, closed) = (self.range_ms, self.closed);
        let mut series = self.series;
        for one in &mut series {
            one.samples.retain(|sample| is_inside(sample.at_ms, end_ms, range_ms, closed));
        }
        series.retain(|series| !series.samples.is_empty());
        series
    }

    /// What `with` makes of the samples of one series at each step; `None` where there are none.
    pub fn points<'a>(
        &'a self,
        series: &'a Series,
        grid: Grid,
        mut with: impl FnMut(usize, &'a [Sample], i64) -> Option<Value>,
    ) -> Vec<Option<Value>> {
        let samples = &series.samples;
        let (mut from, mut to) = (0, 0);
        let mut point = |step: usize| {
            let end_ms = self.ends[step];
            while samples.get(to).is_some_and(|sample| sample.at_ms <= end_ms) {
                to += 1;
            }
            while from < to && !is_inside(samples[from].at_ms, end_ms, self.range_ms, self.closed) {
                from += 1;
            }
            if from == to { None } else { with(step, &samples[from..to], end_ms) }
        };
        (0..grid.steps).map(&mut point).collect()
    }
}

/// What a histogram says of a reset is said of the sample before it, which is another one at the steps of a subquery: whether
/// there was one is found by comparing.
fn without_hints(mut row: Row) -> Row {
    for point in row.points.iter_mut().flatten() {
        if let Value::Histogram(histogram) = point
            && matches!(histogram.reset, CounterReset::Reset | CounterReset::NotReset)
        {
            Arc::make_mut(histogram).reset = CounterReset::Unknown;
        }
    }
    row
}

fn is_inside(at_ms: i64, end_ms: i64, range_ms: i64, closed: bool) -> bool {
    let start_ms = end_ms - range_ms;
    at_ms <= end_ms && (at_ms > start_ms || closed && at_ms == start_ms)
}

impl<'a> Evaluator<'a> {
    fn closed(&self) -> bool {
        self.engine.dialect == Dialect::Prometheus2
    }

    fn select(
        &self,
        selector: &Selector,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Evaluated<Vec<Series>> {
        let wanted = Select {
            matchers: selector.matchers.clone(),
            start_ms: if self.closed() { start_ms } else { start_ms + 1 },
            end_ms,
            step_ms,
            max_samples: self.budget.left(),
        };
        let selected = self.source.select(&wanted).map_err(|error| match error {
            SourceError::TooMuch { samples, .. } => QueryError::TooMuch {
                samples: samples.saturating_add(self.budget.held()),
                limit: self.engine.max_samples,
            },
            SourceError::Failed(why) => QueryError::Source(why),
        })?;
        selected.warnings.into_iter().for_each(|warning| self.budget.warn(warning));
        let count = selected.series.iter().map(|series| series.samples.len() as u64).sum();
        self.budget.count_loaded(count);
        self.budget.hold(count)?;
        Ok(selected.series)
    }

    /// For each step the newest sample that is not older than the lookback, as `pick` shows it.
    pub fn instant_rows(
        &self,
        selector: &Selector,
        grid: Grid,
        pick: impl Fn(&Sample) -> Value,
    ) -> Evaluated<Vec<Row>> {
        if grid.steps == 0 {
            return Ok(Vec::new());
        }
        let lookback_ms = self.engine.lookback_ms;
        let ends: Vec<i64> =
            (0..grid.steps).map(|step| self.moment(selector.moment, grid.at(step))).collect();
        let (first, last) = (ends[0], ends[grid.steps - 1]);
        // A coarser sample than this would not be seen at some steps.
        let step_ms = grid.step_ms.min(lookback_ms);
        let series = self.select(selector, first - lookback_ms, last, step_ms)?;
        self.budget.hold(series.len() as u64 * grid.steps as u64)?;
        let mut rows = Vec::with_capacity(series.len());
        for one in series {
            self.budget.tick()?;
            let (mut next, mut any) = (0, false);
            let mut points = Vec::with_capacity(grid.steps);
            for &end_ms in &ends {
                while one.samples.get(next).is_some_and(|sample| sample.at_ms <= end_ms) {
                    next += 1;
                }
                let newest = next.checked_sub(1).map(|at| &one.samples[at]);
                let seen = newest.filter(|sample| {
                    is_inside(sample.at_ms, end_ms, lookback_ms, self.closed()) && !sample.value.is_stale()
                });
                any |= seen.is_some();
                points.push(seen.map(&pick));
            }
            if any {
                rows.push(Row { labels: one.labels, points });
            }
        }
        Ok(rows)
    }

    /// A range vector.
    pub fn windows(&self, expr: &Expr, grid: Grid) -> Evaluated<Windows> {
        let ends = |moment: Moment| -> Vec<i64> {
            (0..grid.steps).map(|step| self.moment(moment, grid.at(step))).collect()
        };
        match &expr.unwrapped().kind {
            Kind::Matrix { selector, range_ms } => {
                let (ends, range_ms) = (ends(selector.moment), *range_ms);
                let mut series = match (ends.first(), ends.last()) {
                    // Coarser samples would leave too few in the range.
                    (Some(first), Some(last)) => {
                        self.select(selector, first - range_ms, *last, grid.step_ms.min(range_ms / 4))?
                    }
                    _ => Vec::new(),
                };
                for one in &mut series {
                    one.samples.retain(|sample| !sample.value.is_stale());
                }
                Ok(Windows { series, ends, range_ms, closed: self.closed() })
            }
            Kind::Subquery { inner, range_ms, step_ms, moment } => {
                let (ends, range_ms) = (ends(*moment), *range_ms);
                let step_ms = step_ms.unwrap_or(self.engine.subquery_step_ms).max(1);
                let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
                    return Ok(Windows { series: Vec::new(), ends, range_ms, closed: self.closed() });
                };
                // Its steps are multiples of their length, whenever the query is asked.
                let earliest = first - range_ms;
                let mut start_ms = step_ms * (earliest / step_ms);
                if start_ms < earliest || start_ms == earliest && !self.closed() {
                    start_ms += step_ms;
                }
                let inner_grid = self.grid(start_ms, *last, step_ms)?;
                let rows = match self.eval(inner, inner_grid)? {
                    super::eval::Set::Rows(rows) => rows,
                    _ => return Err(QueryError::Invalid(format!("a subquery needs an {}", Type::Vector))),
                };
                let series = rows.into_iter().map(|row| samples(without_hints(row), inner_grid)).collect();
                Ok(Windows { series, ends, range_ms, closed: self.closed() })
            }
            _ => Err(QueryError::Invalid(format!("an operand is no {}", Type::Matrix))),
        }
    }

    /// What a function of a range makes of each series.
    pub fn over_windows(
        &self,
        windows: &Windows,
        grid: Grid,
        parameters: &[Vec<f64>],
        function: fn(&Window) -> Option<Value>,
    ) -> Evaluated<Vec<Row>> {
        self.budget.hold(windows.series.len() as u64 * grid.steps as u64)?;
        let mut rows = Vec::with_capacity(windows.series.len());
        let mut at_step = vec![0.0; parameters.len()];
        for series in &windows.series {
            let mut late = Ok(());
            let points = windows.points(series, grid, |step, samples, end_ms| {
                if late.is_ok() {
                    late = self.budget.tick();
                }
                late.as_ref().ok()?;
                for (now, all) in at_step.iter_mut().zip(parameters) {
                    *now = all[step];
                }
                function(&Window {
                    samples,
                    start_ms: end_ms - windows.range_ms,
                    end_ms,
                    at_ms: grid.at(step),
                    parameters: &at_step,
                    dialect: self.engine.dialect,
                    budget: self.budget,
                })
            });
            late?;
            rows.push(Row { labels: series.labels.clone(), points });
        }
        Ok(rows)
    }
}
