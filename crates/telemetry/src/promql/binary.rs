//! Operators between two operands.

mod matching;

use std::sync::Arc;

use super::ast::{Binary, BinaryOp, Matching};
use super::eval::{Evaluated, Evaluator, Grid, Row, Same, Set, merge, nameless};
use super::{Dialect, QueryError, histogram};
use crate::model::Value;

/// Which operand a vector is, when the other one is a scalar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// An operator that makes a new value. `None`: it has no meaning for these.
pub fn arithmetic(op: BinaryOp, left: &Value, right: &Value) -> Option<Value> {
    let made = match (left, right) {
        (Value::Float(left), Value::Float(right)) => return Some(Value::Float(number(op, *left, *right))),
        (Value::Histogram(left), Value::Histogram(right)) => match op {
            BinaryOp::Add => histogram::add(left, right)?,
            BinaryOp::Sub => histogram::subtract(left, right)?,
            _ => return None,
        },
        (Value::Histogram(histogram), Value::Float(number)) => match op {
            BinaryOp::Mul => histogram::scale(histogram, *number),
            BinaryOp::Div => histogram::divide(histogram, *number),
            _ => return None,
        },
        (Value::Float(number), Value::Histogram(histogram)) => match op {
            BinaryOp::Mul => histogram::scale(histogram, *number),
            _ => return None,
        },
    };
    Some(Value::Histogram(Arc::new(made)))
}

fn number(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => f64::from(u8::from(holds(op, left, right))),
    }
}

fn holds(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Less => left < right,
        BinaryOp::LessEqual => left <= right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterEqual => left >= right,
        _ => false,
    }
}

/// Whether a comparison holds. `None`: it has no meaning for these.
fn compare(op: BinaryOp, left: &Value, right: &Value) -> Option<bool> {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => Some(holds(op, *left, *right)),
        (Value::Histogram(left), Value::Histogram(right)) => match op {
            BinaryOp::Equal => Some(histogram::is_equal(left, right)),
            BinaryOp::NotEqual => Some(!histogram::is_equal(left, right)),
            _ => None,
        },
        _ => None,
    }
}

impl Evaluator<'_> {
    pub fn binary(&self, binary: &Binary, grid: Grid) -> Evaluated<Set> {
        let (left, right) = (self.eval(&binary.left, grid)?, self.eval(&binary.right, grid)?);
        let rows = match (left, right) {
            (Set::Scalar(mut left), Set::Scalar(right)) => {
                for (left, right) in left.iter_mut().zip(right) {
                    *left = number(binary.op, *left, right);
                }
                return Ok(Set::Scalar(left));
            }
            (Set::Rows(rows), Set::Scalar(scalar)) => self.with_scalar(binary, rows, &scalar, Side::Left)?,
            (Set::Scalar(scalar), Set::Rows(rows)) => self.with_scalar(binary, rows, &scalar, Side::Right)?,
            (Set::Rows(left), Set::Rows(right)) => {
                let all = Matching::default();
                let matching = binary.matching.as_ref().unwrap_or(&all);
                match binary.op.is_set() {
                    true => self.set_operator(binary.op, matching, left, right, grid)?,
                    false => self.matched(binary, matching, left, right, grid)?,
                }
            }
            _ => return Err(QueryError::Invalid("an operator does not go with a string".to_owned())),
        };
        Ok(Set::Rows(rows))
    }

    fn with_scalar(
        &self,
        binary: &Binary,
        mut rows: Vec<Row>,
        scalar: &[f64],
        side: Side,
    ) -> Evaluated<Vec<Row>> {
        let renamed = !self.keeps_name(binary);
        for row in &mut rows {
            self.budget.tick()?;
            for (point, number) in row.points.iter_mut().zip(scalar) {
                let Some(value) = point.take() else { continue };
                let number = Value::Float(*number);
                let (left, right) = if side == Side::Left { (&value, &number) } else { (&number, &value) };
                *point = match self.operate(binary, left, right)? {
                    Outcome::Made(made) => Some(made),
                    // The vector's value is kept, on whichever side it is.
                    Outcome::Kept => Some(value),
                    Outcome::Gone => None,
                };
            }
            if renamed {
                row.labels = nameless(&row.labels);
            }
        }
        merge(rows, Same::Joined)
    }

    /// Whether what it makes is still called what its operand is.
    fn keeps_name(&self, binary: &Binary) -> bool {
        // An oversight of version 2.
        let odd = binary.op == BinaryOp::Atan2 && self.engine.dialect == Dialect::Prometheus2;
        odd || binary.op.is_comparison() && !binary.bool
    }

    /// What becomes of two values that have found each other.
    fn operate(&self, binary: &Binary, left: &Value, right: &Value) -> Evaluated<Outcome> {
        let op = binary.op;
        if !op.is_comparison() {
            return Ok(self.outcome(op, arithmetic(op, left, right).map(Outcome::Made)));
        }
        let outcome = compare(op, left, right).map(|holds| match (binary.bool, holds) {
            (true, holds) => Outcome::Made(Value::Float(f64::from(u8::from(holds)))),
            (false, true) => Outcome::Kept,
            (false, false) => Outcome::Gone,
        });
        Ok(self.outcome(op, outcome))
    }

    fn outcome(&self, op: BinaryOp, outcome: Option<Outcome>) -> Outcome {
        outcome.unwrap_or_else(|| {
            let text = op.text();
            self.budget.warn(format!("{text}: values between which it has no meaning, such as a histogram and a number, were left out"));
            Outcome::Gone
        })
    }
}

enum Outcome {
    Made(Value),
    /// The value of the vector, or of the left one of two.
    Kept,
    Gone,
}
