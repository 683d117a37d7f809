//! Calls of functions.

mod labels;
mod quantile;
mod sort;

use super::Dialect;
use super::QueryError;
use super::ast::{Condition, Expr, Kind, Selector, Type};
use super::eval::{Evaluated, Evaluator, Grid, Row, Same, Set, merge, nameless};
use super::functions::{Calendar, Function, Name, Special, What};
use crate::model::{self, Labels, Value};

impl Evaluator<'_> {
    pub fn call(&self, function: &Function, args: &[Expr], grid: Grid) -> Evaluated<Set> {
        match function.what {
            What::Number(with) => self.numbers(args, grid, |number| Some(with(number))),
            What::Calendar(with) => {
                let with = |seconds: f64| with(Calendar::of(seconds)) as f64;
                if args.is_empty() {
                    let points =
                        self.times(grid).into_iter().map(|now| Some(Value::Float(with(now)))).collect();
                    return Ok(Set::Rows(vec![Row { labels: Labels::default(), points }]));
                }
                self.numbers(args, grid, |number| Some(with(number)))
            }
            What::Histogram(with) => self.each(args, grid, |_, value| match value {
                Value::Histogram(histogram) => Some(Value::Float(with(histogram))),
                Value::Float(_) => None,
            }),
            What::Window(with, name) => self.window_call(function, args, grid, with, name),
            What::Special(special) => self.special(special, args, grid),
        }
    }

    /// A function of the samples in a range, with scalars beside it.
    fn window_call(
        &self,
        function: &Function,
        args: &[Expr],
        grid: Grid,
        with: fn(&super::window::Window) -> Option<Value>,
        name: Name,
    ) -> Evaluated<Set> {
        let scalars = args.iter().filter(|arg| arg.kind_type() == Type::Scalar);
        let parameters = scalars.map(|arg| self.scalar(arg, grid)).collect::<Evaluated<Vec<_>>>()?;
        let Some(range) = args.iter().find(|arg| arg.kind_type() == Type::Matrix) else {
            return Err(QueryError::Invalid(format!("{} needs a range vector", function.name)));
        };
        if ["holt_winters", "double_exponential_smoothing"].contains(&function.name) {
            for (factor, what) in parameters.iter().zip(["smoothing", "trend"]) {
                if let Some(bad) = factor.iter().find(|factor| !(**factor > 0.0 && **factor < 1.0)) {
                    let message =
                        format!("{}: the {what} factor lies between 0 and 1, not at {bad}", function.name);
                    return Err(QueryError::Invalid(message));
                }
            }
        }
        let windows = self.windows(range, grid)?;
        let mut rows = self.over_windows(&windows, grid, &parameters, with)?;
        let kept =
            name == Name::Kept || name == Name::KeptLater && self.engine.dialect == Dialect::Prometheus3;
        if !kept {
            rows.iter_mut().for_each(|row| row.labels = nameless(&row.labels));
        }
        merge(rows, Same::Refused).map(Set::Rows)
    }

    fn special(&self, special: Special, args: &[Expr], grid: Grid) -> Evaluated<Set> {
        match special {
            Special::Pi => Ok(Set::Scalar(vec![std::f64::consts::PI; grid.steps])),
            Special::Time => Ok(Set::Scalar(self.times(grid))),
            Special::Scalar => self.to_scalar(&args[0], grid),
            Special::Vector => {
                let points =
                    self.scalar(&args[0], grid)?.into_iter().map(|number| Some(Value::Float(number)));
                Ok(Set::Rows(vec![Row { labels: Labels::default(), points: points.collect() }]))
            }
            Special::Timestamp => self.timestamp(&args[0], grid),
            Special::Absent | Special::AbsentOverTime => self.absent(&args[0], grid),
            Special::Clamp | Special::ClampMax | Special::ClampMin => self.clamp(special, args, grid),
            Special::Round => self.round(args, grid),
            Special::HistogramQuantile => self.histogram_quantile(args, grid),
            Special::HistogramFraction => self.histogram_fraction(args, grid),
            Special::LabelReplace => self.label_replace(args, grid),
            Special::LabelJoin => self.label_join(args, grid),
            Special::Sort { descending } => self.sort(&args[0], grid, descending),
            Special::SortByLabel { descending } => self.sort_by_label(args, grid, descending),
        }
    }

    /// The moments of the steps, s.
    fn times(&self, grid: Grid) -> Vec<f64> {
        (0..grid.steps).map(|step| grid.at(step) as f64 / 1000.0).collect()
    }

    /// Something to each number of the first argument.
    fn numbers(&self, args: &[Expr], grid: Grid, with: impl Fn(f64) -> Option<f64>) -> Evaluated<Set> {
        self.each(args, grid, |_, value| match value {
            Value::Float(number) => with(*number).map(Value::Float),
            Value::Histogram(_) => None,
        })
    }

    /// Something to each value of the first argument, with the step it is of.
    fn each(
        &self,
        args: &[Expr],
        grid: Grid,
        with: impl Fn(usize, &Value) -> Option<Value>,
    ) -> Evaluated<Set> {
        let mut rows = self.rows(&args[0], grid)?;
        for row in &mut rows {
            self.budget.tick()?;
            row.labels = nameless(&row.labels);
            for (step, point) in row.points.iter_mut().enumerate() {
                *point = point.as_ref().and_then(|value| with(step, value));
            }
        }
        merge(rows, Same::Joined).map(Set::Rows)
    }

    /// The only number of a vector, NaN when there is none or more than one.
    fn to_scalar(&self, arg: &Expr, grid: Grid) -> Evaluated<Set> {
        let rows = self.rows(arg, grid)?;
        let number = |step: usize| {
            let mut found = rows.iter().filter_map(|row| match &row.points[step] {
                Some(Value::Float(number)) => Some(*number),
                _ => None,
            });
            match (found.next(), found.next()) {
                (Some(number), None) => number,
                _ => f64::NAN,
            }
        };
        Ok(Set::Scalar((0..grid.steps).map(number).collect()))
    }

    /// When a selector's samples were taken; of other expressions, the moments of the steps.
    fn timestamp(&self, arg: &Expr, grid: Grid) -> Evaluated<Set> {
        let Kind::Vector(selector) = &arg.unwrapped().kind else {
            return self.each(std::slice::from_ref(arg), grid, |step, _| {
                Some(Value::Float(grid.at(step) as f64 / 1000.0))
            });
        };
        let taken = |sample: &model::Sample| Value::Float(sample.at_ms as f64 / 1000.0);
        let mut rows = self.instant_rows(selector, grid, taken)?;
        rows.iter_mut().for_each(|row| row.labels = nameless(&row.labels));
        merge(rows, Same::Joined).map(Set::Rows)
    }

    /// 1 at each step at which there is nothing, with the labels that a selector's equalities say.
    fn absent(&self, arg: &Expr, grid: Grid) -> Evaluated<Set> {
        let mut there = vec![false; grid.steps];
        let rows = if arg.kind_type() == Type::Matrix {
            let windows = self.windows(arg, grid)?;
            self.over_windows(&windows, grid, &[], |_| Some(Value::Float(1.0)))?
        } else {
            self.rows(arg, grid)?
        };
        for row in &rows {
            for (there, point) in there.iter_mut().zip(&row.points) {
                *there |= point.is_some();
            }
        }
        let labels = match &arg.kind {
            Kind::Vector(selector) | Kind::Matrix { selector, .. } => absent_labels(selector),
            _ => Labels::default(),
        };
        let points = there.into_iter().map(|there| (!there).then_some(Value::Float(1.0))).collect();
        merge(vec![Row { labels, points }], Same::Joined).map(Set::Rows)
    }

    fn clamp(&self, special: Special, args: &[Expr], grid: Grid) -> Evaluated<Set> {
        let bounds = args[1..].iter().map(|arg| self.scalar(arg, grid)).collect::<Evaluated<Vec<_>>>()?;
        let bound = |number: usize, step: usize| {
            bounds.get(number).and_then(|bounds| bounds.get(step)).copied().unwrap_or(f64::NAN)
        };
        self.each(args, grid, |step, value| {
            let Value::Float(number) = value else { return None };
            let (first, second) = (bound(0, step), bound(1, step));
            let clamped = match special {
                Special::ClampMin => larger(first, *number),
                Special::ClampMax => smaller(first, *number),
                _ if second < first => return None,
                _ => larger(first, smaller(second, *number)),
            };
            Some(Value::Float(clamped))
        })
    }

    /// To the nearest multiple, 1 unless said; halves up.
    fn round(&self, args: &[Expr], grid: Grid) -> Evaluated<Set> {
        let nearest = match args.get(1) {
            Some(arg) => self.scalar(arg, grid)?,
            None => vec![1.0; grid.steps],
        };
        self.each(args, grid, |step, value| match value {
            Value::Float(number) => {
                // By the inverse: 1 / 0.1 is exact where 0.1 is not.
                let inverse = 1.0 / nearest[step];
                Some(Value::Float((number * inverse + 0.5).floor() / inverse))
            }
            Value::Histogram(_) => None,
        })
    }
}

/// The larger of two; NaN if either is, unless the other is infinite that way.
fn larger(one: f64, two: f64) -> f64 {
    let most = one == f64::INFINITY || two == f64::INFINITY;
    if !most && (one.is_nan() || two.is_nan()) { f64::NAN } else { one.max(two) }
}

/// The smaller of two; NaN if either is, unless the other is infinite that way.
fn smaller(one: f64, two: f64) -> f64 {
    let least = one == f64::NEG_INFINITY || two == f64::NEG_INFINITY;
    if !least && (one.is_nan() || two.is_nan()) { f64::NAN } else { one.min(two) }
}

/// What a selector says by `=` alone, and once.
fn absent_labels(selector: &Selector) -> Labels {
    let conditions = &selector.conditions;
    let once = |one: &&Condition| {
        one.op == "="
            && one.label != model::labels::NAME
            && conditions.iter().filter(|other| other.label == one.label).count() == 1
    };
    Labels::new(conditions.iter().filter(once).map(|one| (one.label.as_str(), one.value.as_str())))
}
