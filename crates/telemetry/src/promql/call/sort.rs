//! Functions that put the elements of an instant vector in order. Over a range the order of labels stands.

use std::cmp::Ordering;

use crate::model::{Labels, Value};
use crate::promql::ast::Expr;
use crate::promql::eval::{Evaluated, Evaluator, Grid, Row, Set};

impl Evaluator<'_> {
    /// By value, NaN last either way; histograms are left out.
    pub(super) fn sort(&self, arg: &Expr, grid: Grid, descending: bool) -> Evaluated<Set> {
        let mut rows = self.rows(arg, grid)?;
        if grid.steps != 1 {
            return Ok(Set::Rows(rows));
        }
        let number = |row: &Row| match row.points[0] {
            Some(Value::Float(number)) => Some(number),
            _ => None,
        };
        rows.retain(|row| number(row).is_some());
        rows.sort_by(|one, two| {
            let (one, two) = (number(one).unwrap_or(f64::NAN), number(two).unwrap_or(f64::NAN));
            let order = one.partial_cmp(&two).unwrap_or(Ordering::Equal);
            one.is_nan().cmp(&two.is_nan()).then(if descending { order.reverse() } else { order })
        });
        Ok(Set::Rows(rows))
    }

    /// By the values of labels, the first that differs; then by all labels.
    pub(super) fn sort_by_label(&self, args: &[Expr], grid: Grid, descending: bool) -> Evaluated<Set> {
        let names = args[1..].iter().map(|arg| self.text(arg, grid)).collect::<Evaluated<Vec<_>>>()?;
        let mut rows = self.rows(&args[0], grid)?;
        let by_names = |one: &Labels, two: &Labels| {
            let orders = names.iter().map(|name| natural(one.get(name), two.get(name)));
            orders.fold(Ordering::Equal, Ordering::then).then_with(|| one.cmp(two))
        };
        rows.sort_by(|one, two| {
            let order = by_names(&one.labels, &two.labels);
            if descending { order.reverse() } else { order }
        });
        Ok(Set::Rows(rows))
    }
}

/// Numbers in texts by their size: `node2` before `node10`.
fn natural(one: &str, two: &str) -> Ordering {
    let (mut one, mut two) = (one, two);
    while !one.is_empty() && !two.is_empty() {
        let ((first, one_rest), (second, two_rest)) = (split(one), split(two));
        let digits = first.as_bytes()[0].is_ascii_digit() && second.as_bytes()[0].is_ascii_digit();
        let order = if digits {
            let (first, second) = (first.trim_start_matches('0'), second.trim_start_matches('0'));
            first.len().cmp(&second.len()).then(first.cmp(second))
        } else {
            first.cmp(second)
        };
        if order.is_ne() {
            return order;
        }
        (one, two) = (one_rest, two_rest);
    }
    one.len().cmp(&two.len())
}

/// The digits, or what is none, at the beginning; and the rest.
fn split(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_labels_are_compared_by_their_size() {
        for (smaller, larger) in [("node2", "node10"), ("a", "b"), ("a1b2", "a1b10"), ("", "a"), ("x", "x1")]
        {
            assert_eq!(natural(smaller, larger), Ordering::Less, "{smaller} {larger}");
        }
        assert_eq!(natural("node02", "node2"), Ordering::Equal);
    }
}
