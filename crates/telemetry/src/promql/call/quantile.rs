//! Quantiles and shares, over native histograms and over series that are buckets (label `le`).

use std::collections::HashMap;

use crate::model::{Histogram, Labels, Value};
use crate::promql::ast::Expr;
use crate::promql::eval::{Evaluated, Evaluator, Grid, Row, Same, Set, merge, nameless};
use crate::promql::histogram::quantile;

/// The label with a bucket's upper bound.
const BOUND: &str = "le";

/// What is one histogram: a native one, or the buckets of a classic one.
#[derive(Default)]
struct Family {
    native: Vec<usize>,
    /// Rows with their upper bounds.
    buckets: Vec<(usize, f64)>,
}

/// Rows by their labels without the bound. A number without a bound that is one belongs to nothing.
fn families(rows: &[Row]) -> Vec<(Labels, Family)> {
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut families: Vec<(Labels, Family)> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let bound = read_bound(row.labels.get(BOUND));
        let native = row.points.iter().flatten().any(|point| matches!(point, Value::Histogram(_)));
        if !native && bound.is_none() {
            continue;
        }
        let labels = if native { row.labels.clone() } else { row.labels.filtered(|name| name != BOUND) };
        let next = families.len();
        let family = *known.entry(labels.clone()).or_insert(next);
        if family == next {
            families.push((labels, Family::default()));
        }
        match (native, bound) {
            (true, _) => families[family].1.native.push(at),
            (false, Some(bound)) => families[family].1.buckets.push((at, bound)),
            (false, None) => {}
        }
    }
    families
}

fn read_bound(text: &str) -> Option<f64> {
    // Rust reads more spellings of infinity than are used, but none of them is another number.
    text.parse().ok().filter(|bound: &f64| !bound.is_nan())
}

impl Evaluator<'_> {
    pub(super) fn histogram_quantile(&self, args: &[Expr], grid: Grid) -> Evaluated<Set> {
        let q = self.scalar(&args[0], grid)?;
        if let Some(bad) = q.iter().find(|q| !(0.0..=1.0).contains(*q)) {
            self.budget.warn(format!("histogram_quantile: a quantile lies between 0 and 1, not at {bad}"));
        }
        let dialect = self.engine.dialect;
        self.over_families(
            &args[1],
            grid,
            |step, histogram| quantile::quantile(q[step], histogram, dialect),
            |step, buckets| quantile::classic(q[step], buckets),
        )
    }

    pub(super) fn histogram_fraction(&self, args: &[Expr], grid: Grid) -> Evaluated<Set> {
        let (lower, upper) = (self.scalar(&args[0], grid)?, self.scalar(&args[1], grid)?);
        let dialect = self.engine.dialect;
        self.over_families(
            &args[2],
            grid,
            |step, histogram| quantile::fraction(lower[step], upper[step], histogram, dialect),
            |step, buckets| quantile::classic_fraction(lower[step], upper[step], buckets),
        )
    }

    /// One number for each histogram and step.
    fn over_families(
        &self,
        arg: &Expr,
        grid: Grid,
        native: impl Fn(usize, &Histogram) -> f64,
        classic: impl Fn(usize, &mut Vec<(f64, f64)>) -> f64,
    ) -> Evaluated<Set> {
        let rows = self.rows(arg, grid)?;
        let mut result = Vec::new();
        let mut buckets = Vec::new();
        for (labels, family) in families(&rows) {
            let mut points = Vec::with_capacity(grid.steps);
            for step in 0..grid.steps {
                self.budget.tick()?;
                buckets.clear();
                buckets.extend(family.buckets.iter().filter_map(|(at, bound)| {
                    match rows[*at].points[step] {
                        Some(Value::Float(count)) => Some((*bound, count)),
                        _ => None,
                    }
                }));
                let histogram = family.native.iter().find_map(|at| match &rows[*at].points[step] {
                    Some(Value::Histogram(histogram)) => Some(histogram),
                    _ => None,
                });
                let number = match (histogram, buckets.is_empty()) {
                    (None, true) => None,
                    (None, false) => Some(classic(step, &mut buckets)),
                    (Some(histogram), true) => Some(native(step, histogram)),
                    (Some(_), false) => {
                        self.budget.warn(format!(
                            "{labels} is a native histogram and buckets as well, and was left out"
                        ));
                        None
                    }
                };
                points.push(number.map(Value::Float));
            }
            result.push(Row { labels: nameless(&labels), points });
        }
        merge(result, Same::Joined).map(Set::Rows)
    }
}
