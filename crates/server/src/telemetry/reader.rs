//! Where queries are answered: every region for itself, or another program in place of their stores.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dwcp_telemetry::model::{Labels, Source, Value};
use dwcp_telemetry::promql::observed::{Bare, Observed};
use dwcp_telemetry::promql::{Answer, AnswerValue, Engine, Query, QueryError};

use super::prometheus::Prometheus;
use super::regions::Federated;

/// Samples that one query may hold.
const MOST_SAMPLES: u64 = 5_000_000;
/// Longest query.
const LONGEST: Duration = Duration::from_secs(25);

/// How expressions are evaluated here.
pub fn engine() -> Engine {
    Engine { max_samples: MOST_SAMPLES, timeout: LONGEST, ..Engine::default() }
}

/// Whom queries are asked. What it does blocks.
pub enum Reader {
    Regions(Federated),
    Prometheus(Arc<Prometheus>),
}

impl Reader {
    /// The value of an expression at a moment, ms since 1970.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn instant(&self, engine: &Engine, query: &Query, at_ms: i64) -> Result<Answer, QueryError> {
        match self {
            Reader::Regions(regions) => engine.instant(regions, query, at_ms),
            Reader::Prometheus(prometheus) => prometheus.instant(query.text(), at_ms),
        }
    }

    /// The values of an expression from one moment to another, both included, every `step_ms`.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn range(
        &self,
        engine: &Engine,
        query: &Query,
        (start_ms, end_ms): (i64, i64),
        step_ms: i64,
    ) -> Result<Answer, QueryError> {
        match self {
            Reader::Regions(regions) => engine.range(regions, query, start_ms, end_ms, step_ms),
            Reader::Prometheus(prometheus) => prometheus.range(query.text(), (start_ms, end_ms), step_ms),
        }
    }

    /// The quantile that `histogram_quantile(Q, NAME)` with a bare name stands for: of what was observed in the window that ends at
    /// `at_ms`, or ever without one.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn observed(
        &self,
        engine: &Engine,
        (bare, query): (&Bare, &Query),
        window_ms: Option<i64>,
        at_ms: i64,
    ) -> Result<Observed, QueryError> {
        match self {
            Reader::Regions(regions) => {
                let span = (window_ms.map(|window| at_ms - window), at_ms);
                bare.quantile(regions, span, engine.lookback_ms, engine.max_samples)
            }
            Reader::Prometheus(prometheus) => prometheus.observed(bare, query, window_ms, at_ms),
        }
    }

    /// The values of a label that series have in a span of time.
    ///
    /// # Errors
    /// What is kept can't be read.
    pub fn label_values(&self, label: &str, span: (i64, i64)) -> Result<Vec<String>, QueryError> {
        match self {
            Reader::Regions(regions) => {
                regions.label_values(label, &[], span).map_err(|error| QueryError::Source(error.to_string()))
            }
            Reader::Prometheus(prometheus) => prometheus.label_values(label, span),
        }
    }

    /// The names of the regions that are asked; none where another program is.
    pub fn regions(&self) -> Vec<String> {
        match self {
            Reader::Regions(regions) => regions.regions(),
            Reader::Prometheus(_) => Vec::new(),
        }
    }

    /// Which regions did not answer, and why.
    pub fn missing(&self) -> BTreeMap<String, String> {
        match self {
            Reader::Regions(regions) => regions.missing(),
            Reader::Prometheus(_) => BTreeMap::new(),
        }
    }

    /// What a rule's expression gives at a moment, ms since 1970; a single number as a series without labels.
    ///
    /// # Errors
    /// It is no expression, gives no instant vector, or has no answer.
    pub fn evaluate(&self, text: &str, at_ms: i64) -> Result<Vec<(Labels, Value)>, String> {
        match self {
            Reader::Regions(regions) => instant(regions, &engine(), text, at_ms),
            Reader::Prometheus(prometheus) => {
                vector(prometheus.instant(text, at_ms).map_err(|error| error.to_string())?)
            }
        }
    }
}

/// What an expression gives at a moment over a source.
///
/// # Errors
/// As [`Reader::evaluate`].
pub fn instant(
    source: &dyn Source,
    engine: &Engine,
    text: &str,
    at_ms: i64,
) -> Result<Vec<(Labels, Value)>, String> {
    let query = Query::parse(text).map_err(|error| error.to_string())?;
    vector(engine.instant(source, &query, at_ms).map_err(|error| error.to_string())?)
}

fn vector(answer: Answer) -> Result<Vec<(Labels, Value)>, String> {
    match answer.value {
        AnswerValue::Vector(rows) => Ok(rows),
        AnswerValue::Scalar(value) => Ok(vec![(Labels::default(), Value::Float(value))]),
        AnswerValue::String(_) | AnswerValue::Matrix(_) => Err("it gives no instant vector".to_owned()),
    }
}
