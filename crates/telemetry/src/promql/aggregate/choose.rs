//! Aggregations that keep some of the series as they are: the largest, the smallest, or any.

use std::cmp::Ordering;

use super::Grouped;
use crate::model::{Labels, Value};
use crate::promql::QueryError;
use crate::promql::ast::AggregateOp;
use crate::promql::eval::{Evaluated, Evaluator, Grid, Row};

impl Evaluator<'_> {
    /// For each group and step the members that are chosen; a row keeps its values at those steps.
    pub(super) fn choose(
        &self,
        op: AggregateOp,
        parameter: &[f64],
        mut rows: Vec<Row>,
        groups: &[Grouped],
        grid: Grid,
    ) -> Evaluated<Vec<Row>> {
        let mut order = Vec::with_capacity(rows.len());
        let shares: Vec<f64> = match op {
            AggregateOp::LimitRatio => rows.iter().map(|row| share(&row.labels)).collect(),
            _ => Vec::new(),
        };
        let mut is_chosen = vec![false; rows.len()];
        for group in groups {
            let mut chosen: Vec<usize> = Vec::new();
            for step in 0..grid.steps {
                self.budget.tick()?;
                chosen.clear();
                chosen.extend(group.members.iter().filter(|at| rows[**at].points[step].is_some()));
                let parameter = parameter.get(step).copied().unwrap_or(f64::NAN);
                match op {
                    AggregateOp::LimitRatio => {
                        let ratio = self.ratio(parameter)?;
                        chosen.retain(|at| is_in_ratio(shares[*at], ratio));
                    }
                    AggregateOp::Limitk => chosen.truncate(limit(op, parameter)?),
                    _ => chosen = self.best(op, &rows, step, &chosen, limit(op, parameter)?),
                }
                chosen.iter().for_each(|at| is_chosen[*at] = true);
                for at in &group.members {
                    if !std::mem::take(&mut is_chosen[*at]) {
                        rows[*at].points[step] = None;
                    }
                }
            }
            // Of one moment, the best comes first.
            match grid.steps {
                1 => order.append(&mut chosen),
                _ => order.extend(&group.members),
            }
        }
        let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
        let ordered = order.into_iter().filter_map(|at| rows[at].take());
        Ok(ordered.filter(|row| row.points.iter().any(Option::is_some)).collect())
    }

    /// The best of those that have a value at a step, the best first. NaN is the worst either way.
    fn best(&self, op: AggregateOp, rows: &[Row], step: usize, from: &[usize], limit: usize) -> Vec<usize> {
        let number = |at: usize| match rows[at].points[step] {
            Some(Value::Float(number)) => Some(if op == AggregateOp::Topk { number } else { -number }),
            _ => None,
        };
        let mut best = Best { limit, heap: Vec::with_capacity(limit.min(from.len())) };
        for at in from {
            match number(*at) {
                Some(number) => best.offer(*at, number),
                None => self.budget.warn(format!("{}: histograms were left out", op.text())),
            }
        }
        best.heap.sort_by(|(_, one), (_, two)| {
            one.is_nan().cmp(&two.is_nan()).then(two.partial_cmp(one).unwrap_or(Ordering::Equal))
        });
        best.heap.into_iter().map(|(at, _)| at).collect()
    }

    fn ratio(&self, ratio: f64) -> Evaluated<f64> {
        if ratio.is_nan() {
            return Err(QueryError::Invalid("limit_ratio: the ratio is NaN".to_owned()));
        }
        if ratio.abs() > 1.0 {
            self.budget.warn(format!("limit_ratio: a ratio lies between -1 and 1, not at {ratio}"));
        }
        Ok(ratio.clamp(-1.0, 1.0))
    }
}

/// The largest of some numbers, in a binary heap with the smallest on top. Which of equal ones stay is not said anywhere; it is
/// that of Prometheus, as its heap moves them alike.
struct Best {
    limit: usize,
    heap: Vec<(usize, f64)>,
}

impl Best {
    fn offer(&mut self, at: usize, number: f64) {
        if self.heap.len() == self.limit {
            match self.heap.first() {
                Some(top) if top.1 < number || top.1.is_nan() => drop(self.heap.swap_remove(0)),
                _ => return,
            }
            self.sink();
        }
        self.heap.push((at, number));
        self.rise(self.heap.len() - 1);
    }

    fn is_less(&self, one: usize, two: usize) -> bool {
        self.heap[one].1.is_nan() || self.heap[one].1 < self.heap[two].1
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.is_less(at, (at - 1) / 2) {
            self.heap.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sink(&mut self) {
        let mut at = 0;
        while 2 * at + 1 < self.heap.len() {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let child = if right < self.heap.len() && self.is_less(right, left) { right } else { left };
            if !self.is_less(child, at) {
                return;
            }
            self.heap.swap(at, child);
            at = child;
        }
    }
}

/// How many are chosen.
fn limit(op: AggregateOp, parameter: f64) -> Evaluated<usize> {
    // Where a number of 64 bits ends.
    if parameter.is_nan() || parameter.abs() > i64::MAX as f64 {
        return Err(QueryError::Invalid(format!("{}: {parameter} is no number of series", op.text())));
    }
    Ok(parameter.max(0.0) as usize)
}

/// Whether a series is among those of a ratio. A negative ratio has just those that are missing from the positive one that
/// adds up with it to 1.
fn is_in_ratio(share: f64, ratio: f64) -> bool {
    if ratio >= 0.0 { share < ratio } else { share >= 1.0 + ratio }
}

/// Where a series lies between 0 and 1: always at the same place, and evenly (FNV-1a, its bits mixed once more).
fn share(labels: &Labels) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for (name, value) in labels.iter() {
        for byte in name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> 11) as f64 / (1u64 << 53) as f64
}
