//! PromQL: expressions over series, as Prometheus evaluates them.
//!
//! [`Query::parse`] reads and checks an expression, [`Engine::instant`] and [`Engine::range`] evaluate it over a [`Source`].
//! The meaning is that of the documentation of Prometheus (prometheus.io/docs/prometheus/latest/querying); where its versions 2
//! and 3 differ, [`Dialect`] says which is meant.
//!
//! An expression is evaluated for all its steps at once: a node of the tree gives each of its series a value or none for each
//! step, so that labels are matched once a series and not once a step.

mod aggregate;
mod ast;
mod binary;
mod budget;
mod call;
mod check;
mod eval;
mod functions;
mod glob;
mod histogram;
mod lex;
pub mod observed;
mod parse;
mod print;
mod query;
mod selectors;
mod series_notation;
mod sum;
mod window;

use std::fmt;
use std::time::Duration;

pub use ast::Type;
pub use glob::expand_globs;
pub use histogram::quantile::{Range, ranges};
pub use lex::read_duration;
pub use query::{Query, Selected, Span};
pub use series_notation::{Memory, NotationError};

use crate::model::{Labels, Series, Source, Value};

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where: so many bytes from the beginning.
    pub position: usize,
    /// The same as a line, from 1.
    pub line: usize,
    /// The same as a character of that line, from 1.
    pub column: usize,
    pub message: String,
}

impl ParseError {
    fn at(text: &str, position: usize, message: String) -> ParseError {
        let before = text.get(..position).unwrap_or(text);
        let line_from = before.rfind('\n').map_or(0, |at| at + 1);
        ParseError {
            position,
            line: before.matches('\n').count() + 1,
            column: before[line_from..].chars().count() + 1,
            message,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryError {
    /// It would load or hold more samples than it may.
    TooMuch { samples: u64, limit: u64 },
    /// It took longer than it may.
    Timeout(Duration),
    /// What it asks for has no meaning for these series or times, such as two series that end up with the same labels.
    Invalid(String),
    /// The source can't be read.
    Source(String),
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::TooMuch { samples, limit } => write!(
                f,
                "the query needs {samples} samples at once and may hold {limit}: narrow its selectors, shorten its time or \
                 widen its step"
            ),
            QueryError::Timeout(limit) => write!(f, "the query took longer than {} s", limit.as_secs_f64()),
            QueryError::Invalid(why) => f.write_str(why),
            QueryError::Source(why) => write!(f, "the samples can't be read: {why}"),
        }
    }
}

impl std::error::Error for QueryError {}

/// Whose meaning is taken where the versions of Prometheus differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Version 2, up to 2.42: a range and the lookback include the moment at which they begin, an extrapolated rate may reach
    /// back to where its counter was zero though no sample is near, and values lie evenly in a native histogram's bucket.
    #[default]
    Prometheus2,
    /// Version 3: they don't include it, extrapolation goes half a sample's distance at most when none is near, and values lie
    /// evenly in the logarithm of a bucket.
    Prometheus3,
}

/// How expressions are evaluated.
#[derive(Clone, Debug)]
pub struct Engine {
    /// How old a sample may be that still says what is now, ms.
    pub lookback_ms: i64,
    /// The step of a subquery that says none, ms.
    pub subquery_step_ms: i64,
    /// How many samples and values of steps a query may hold at once.
    pub max_samples: u64,
    /// How long a query may take.
    pub timeout: Duration,
    pub dialect: Dialect,
}

impl Default for Engine {
    /// As Prometheus has them: 5 min, 1 min, 50 million (of 16 to 24 bytes), 2 min.
    fn default() -> Engine {
        Engine {
            lookback_ms: 300_000,
            subquery_step_ms: 60_000,
            max_samples: 50_000_000,
            timeout: Duration::from_secs(120),
            dialect: Dialect::default(),
        }
    }
}

/// What a query evaluates to.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub value: AnswerValue,
    /// What is missing or doubtful and why, for people; each once.
    pub warnings: Vec<String>,
    /// How many samples were read for it.
    pub samples: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AnswerValue {
    Scalar(f64),
    String(String),
    /// In the order that `sort` and `topk` give; otherwise in none that means anything.
    Vector(Vec<(Labels, Value)>),
    /// Of a range query: a value for each step that has one, in ascending order of labels. Of an instant query for a range vector:
    /// the samples themselves.
    Matrix(Vec<Series>),
}

impl Engine {
    /// The value of an expression at one moment, ms since 1970.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn instant(&self, source: &dyn Source, query: &Query, at_ms: i64) -> Result<Answer, QueryError> {
        eval::instant(self, source, query, at_ms)
    }

    /// The values of an expression from one moment to another, both included, every `step_ms`: a matrix.
    ///
    /// # Errors
    /// See [`QueryError`]; also when the step is none, the end lies before the start, or the expression is no scalar and no
    /// instant vector.
    pub fn range(
        &self,
        source: &dyn Source,
        query: &Query,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Answer, QueryError> {
        eval::range(self, source, query, start_ms, end_ms, step_ms)
    }
}
