//! Which elements of two vectors belong together.

use std::collections::HashMap;

use super::{Outcome, merge, nameless};
use crate::model::{Labels, Value, labels};
use crate::promql::QueryError;
use crate::promql::ast::{Binary, BinaryOp, Group, Matching};
use crate::promql::eval::{Evaluated, Evaluator, Grid, Row, Same};

/// The labels by which elements are matched.
fn key(labels: &Labels, matching: &Matching) -> Labels {
    labels.filtered(|name| {
        let named = matching.labels.iter().any(|label| label == name);
        if matching.on { named } else { !named && name != labels::NAME }
    })
}

/// Rows by what they are matched by: the same number for the same labels.
struct Keys {
    left: Vec<usize>,
    right: Vec<usize>,
    count: usize,
}

fn keys(left: &[Row], right: &[Row], matching: &Matching) -> Keys {
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut number = |row: &Row| {
        let next = known.len();
        *known.entry(key(&row.labels, matching)).or_insert(next)
    };
    let left = left.iter().map(&mut number).collect();
    let right = right.iter().map(&mut number).collect();
    Keys { left, right, count: known.len() }
}

/// The labels of what two elements make.
fn result_labels(many: &Labels, one: &Labels, keeps_name: bool, matching: &Matching) -> Labels {
    let named = |name: &str| matching.labels.iter().any(|label| label == name);
    let mut result = match matching.group {
        Group::None if matching.on => many.filtered(named),
        Group::None => many.filtered(|name| !named(name)),
        _ => many.clone(),
    };
    if !keeps_name {
        result = nameless(&result);
    }
    for label in &matching.include {
        result = result.with(label, one.get(label));
    }
    result
}

impl Evaluator<'_> {
    /// Arithmetic and comparisons between vectors.
    pub(super) fn matched(
        &self,
        binary: &Binary,
        matching: &Matching,
        left: Vec<Row>,
        right: Vec<Row>,
        grid: Grid,
    ) -> Evaluated<Vec<Row>> {
        let swapped = matching.group == Group::Right;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let keys = keys(&many, &one, matching);
        let keeps_name = self.keeps_name(binary);
        let mut pairs =
            Pairs { keeps_name, matching, known: HashMap::new(), rows: Vec::new(), steps: grid.steps };
        let mut ones: Vec<Option<usize>> = vec![None; keys.count];
        let mut taken: Vec<bool> = vec![false; keys.count];
        for step in 0..grid.steps {
            self.budget.tick()?;
            let any = |rows: &[Row]| rows.iter().any(|row| row.points[step].is_some());
            if !any(&many) || !any(&one) {
                continue;
            }
            ones.fill(None);
            taken.fill(false);
            for (at, row) in one.iter().enumerate().filter(|(_, row)| row.points[step].is_some()) {
                if let Some(other) = ones[keys.right[at]].replace(at) {
                    return Err(ambiguous(&one[other].labels, &row.labels, matching));
                }
            }
            for (at, row) in many.iter().enumerate() {
                let (Some(value), Some(found)) = (&row.points[step], ones[keys.left[at]]) else { continue };
                let Some(other) = &one[found].points[step] else { continue };
                let (left, right) = if swapped { (other, value) } else { (value, other) };
                let made = match self.operate(binary, left, right)? {
                    Outcome::Made(made) => made,
                    Outcome::Kept => left.clone(),
                    Outcome::Gone => continue,
                };
                if matching.group == Group::None && std::mem::replace(&mut taken[keys.left[at]], true) {
                    return Err(many_to_one(&row.labels));
                }
                pairs.put((at, row), (found, &one[found]), step, made);
            }
        }
        merge(pairs.rows, Same::Joined)
    }

    /// `and`, `or`, `unless`.
    pub(super) fn set_operator(
        &self,
        op: BinaryOp,
        matching: &Matching,
        mut left: Vec<Row>,
        mut right: Vec<Row>,
        grid: Grid,
    ) -> Evaluated<Vec<Row>> {
        let keys = keys(&left, &right, matching);
        let (deciding, deciding_keys, filtered, filtered_keys) = match op {
            BinaryOp::Or => (&left, &keys.left, &mut right, &keys.right),
            _ => (&right, &keys.right, &mut left, &keys.left),
        };
        let mut there = vec![false; keys.count];
        for step in 0..grid.steps {
            self.budget.tick()?;
            there.fill(false);
            for (row, key) in deciding.iter().zip(deciding_keys) {
                there[*key] |= row.points[step].is_some();
            }
            for (row, key) in filtered.iter_mut().zip(filtered_keys) {
                if there[*key] != (op == BinaryOp::And) {
                    row.points[step] = None;
                }
            }
        }
        if op == BinaryOp::Or {
            left.append(&mut right);
        }
        merge(left, Same::Joined)
    }
}

/// The rows that pairs of rows make.
struct Pairs<'a> {
    keeps_name: bool,
    matching: &'a Matching,
    /// By the row on the side of the many and, when labels are taken from it, that on the side of the one.
    known: HashMap<(usize, usize), usize>,
    rows: Vec<Row>,
    steps: usize,
}

impl Pairs<'_> {
    fn put(&mut self, many: (usize, &Row), one: (usize, &Row), step: usize, value: Value) {
        let from_one = if self.matching.include.is_empty() { 0 } else { one.0 };
        let at = *self.known.entry((many.0, from_one)).or_insert_with(|| {
            let labels = result_labels(&many.1.labels, &one.1.labels, self.keeps_name, self.matching);
            self.rows.push(Row { labels, points: vec![None; self.steps] });
            self.rows.len() - 1
        });
        self.rows[at].points[step] = Some(value);
    }
}

fn ambiguous(first: &Labels, second: &Labels, matching: &Matching) -> QueryError {
    let side = if matching.group == Group::Right { "left" } else { "right" };
    QueryError::Invalid(format!(
        "{first} and {second} on the {side} side match the same elements ({}): many-to-many matching is not allowed, labels of \
         on or ignoring must tell the elements of one side apart",
        key(first, matching)
    ))
}

fn many_to_one(labels: &Labels) -> QueryError {
    QueryError::Invalid(format!(
        "{labels} and another element match the same one: matching many to one must be asked for by group_left or group_right"
    ))
}
