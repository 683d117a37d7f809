//! Functions that change labels.

use regex::Regex;

use crate::model::{Labels, labels};
use crate::promql::QueryError;
use crate::promql::aggregate::is_label_name;
use crate::promql::ast::Expr;
use crate::promql::eval::{Evaluated, Evaluator, Grid, Same, Set, merge};

impl Evaluator<'_> {
    /// `label_replace(vector, target, replacement, source, pattern)`.
    pub(super) fn label_replace(&self, args: &[Expr], grid: Grid) -> Evaluated<Set> {
        let [target, replacement, source, pattern] = self.texts(&args[1..], grid)?;
        let whole = Regex::new(&format!("^(?s:{pattern})$")).map_err(|error| {
            invalid(format!("label_replace: {pattern:?} is no regular expression: {error}"))
        })?;
        let target = check_target("label_replace", &target)?;
        self.relabel(&args[0], grid, |labels| {
            let captures = whole.captures(labels.get(&source))?;
            let mut value = String::new();
            captures.expand(&replacement, &mut value);
            Some(labels.with(target, &value))
        })
    }

    /// `label_join(vector, target, separator, source…)`.
    pub(super) fn label_join(&self, args: &[Expr], grid: Grid) -> Evaluated<Set> {
        let [target, separator] = self.texts(&args[1..3], grid)?;
        let sources = args[3..].iter().map(|arg| self.text(arg, grid)).collect::<Evaluated<Vec<_>>>()?;
        if let Some(bad) = sources.iter().find(|source| !is_label_name(source)) {
            return Err(invalid(format!("label_join: {bad:?} is no name of a label")));
        }
        let target = check_target("label_join", &target)?;
        self.relabel(&args[0], grid, |labels| {
            let values: Vec<&str> = sources.iter().map(|source| labels.get(source)).collect();
            Some(labels.with(target, &values.join(&separator)))
        })
    }

    fn texts<const COUNT: usize>(&self, args: &[Expr], grid: Grid) -> Evaluated<[String; COUNT]> {
        let texts = args.iter().map(|arg| self.text(arg, grid)).collect::<Evaluated<Vec<_>>>()?;
        texts.try_into().map_err(|_| invalid("the number of arguments is wrong".to_owned()))
    }

    fn relabel(&self, arg: &Expr, grid: Grid, with: impl Fn(&Labels) -> Option<Labels>) -> Evaluated<Set> {
        let mut rows = self.rows(arg, grid)?;
        for row in &mut rows {
            self.budget.tick()?;
            if let Some(labels) = with(&row.labels) {
                row.labels = labels;
            }
        }
        merge(rows, Same::Refused).map(Set::Rows)
    }
}

fn check_target<'a>(whose: &str, target: &'a str) -> Evaluated<&'a str> {
    if is_label_name(target) || target == labels::NAME {
        return Ok(target);
    }
    Err(invalid(format!("{whose}: {target:?} is no name of a label")))
}

fn invalid(message: String) -> QueryError {
    QueryError::Invalid(message)
}
