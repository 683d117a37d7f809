//! Another program that keeps the metrics in place of the embedded store: Prometheus, or one that answers as it does.

use std::time::Duration;

use dwcp_config::region::Remote;
use dwcp_telemetry::Value;
use dwcp_telemetry::promql::observed::{Bare, Observed};
use dwcp_telemetry::promql::{Answer, AnswerValue, Engine, Query, QueryError};
use dwcp_telemetry::query_api::{self, ApiError};

use crate::outbound::{Caller, Said};

/// How long an answer may take: longer than queries may take here.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// Longest answer, bytes.
const LONGEST_ANSWER: u64 = 64 << 20;
const FORM: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded")];

/// Whoever answers queries. Its calls block.
pub struct Prometheus {
    caller: Caller,
}

impl Prometheus {
    /// The one of the settings. It is not asked yet.
    ///
    /// # Errors
    /// The file of its authority can't be used.
    pub fn new(remote: &Remote) -> Result<Prometheus, String> {
        Ok(Prometheus { caller: Caller::new(remote, ANSWERS_WITHIN, LONGEST_ANSWER)? })
    }

    /// What it answers to a form, as it answers it: `query`, `query_range`, `series`, `labels`.
    ///
    /// # Errors
    /// It does not answer, and which one that is.
    pub fn post(&self, asked: &str, form: &str) -> Result<Said, String> {
        let said = self.caller.post(&format!("/api/v1/{asked}"), &FORM, form.as_bytes());
        said.map_err(|why| self.silent(&why))
    }

    /// The same of what takes no form: `label/NAME/values`, `metadata`.
    ///
    /// # Errors
    /// As [`Prometheus::post`].
    pub fn get(&self, asked: &str, fields: &str) -> Result<Said, String> {
        let said = self.caller.get(&format!("/api/v1/{asked}?{fields}"));
        said.map_err(|why| self.silent(&why))
    }

    fn silent(&self, why: &str) -> String {
        format!("{} does not answer: {why}", self.caller.place())
    }

    /// The value of an expression at a moment, ms since 1970.
    ///
    /// # Errors
    /// It does not answer, or refuses the query.
    pub fn instant(&self, text: &str, at_ms: i64) -> Result<Answer, QueryError> {
        self.asked("query", &[("query", text), ("time", &seconds(at_ms))])
    }

    /// The values of an expression from one moment to another, every `step_ms`.
    ///
    /// # Errors
    /// As [`Prometheus::instant`].
    pub fn range(
        &self,
        text: &str,
        (start_ms, end_ms): (i64, i64),
        step_ms: i64,
    ) -> Result<Answer, QueryError> {
        let times = [start_ms, end_ms, step_ms].map(seconds);
        self.asked(
            "query_range",
            &[("query", text), ("start", &times[0]), ("end", &times[1]), ("step", &times[2])],
        )
    }

    /// The values of a label that series have in a span of time.
    ///
    /// # Errors
    /// As [`Prometheus::instant`].
    pub fn label_values(
        &self,
        label: &str,
        (start_ms, end_ms): (i64, i64),
    ) -> Result<Vec<String>, QueryError> {
        let fields = form(&[("start", &seconds(start_ms)), ("end", &seconds(end_ms))]);
        let said = self.get(&format!("label/{label}/values"), &fields).map_err(QueryError::Source)?;
        query_api::texts(&said.body).map(|(texts, _)| texts).map_err(|error| self.refused(&error, &said))
    }

    /// The quantile of what all series of a bare name observed, in a window or ever: of native histograms, and where there are
    /// none of classic buckets.
    ///
    /// # Errors
    /// As [`Prometheus::instant`].
    pub fn observed(
        &self,
        bare: &Bare,
        query: &Query,
        window_ms: Option<i64>,
        at_ms: i64,
    ) -> Result<Observed, QueryError> {
        let mut warnings = Vec::new();
        for text in observed_as(bare.quantile, selector(query), window_ms) {
            let answer = self.instant(&text, at_ms)?;
            warnings.extend(answer.warnings);
            let AnswerValue::Vector(rows) = answer.value else { continue };
            let quantile = rows.iter().find_map(|(_, value)| match value {
                Value::Float(value) if !value.is_nan() => Some(*value),
                _ => None,
            });
            if quantile.is_some() {
                return Ok(Observed { quantile, warnings });
            }
        }
        Ok(Observed { quantile: None, warnings })
    }

    fn asked(&self, asked: &str, fields: &[(&str, &str)]) -> Result<Answer, QueryError> {
        let said = self.post(asked, &form(fields)).map_err(QueryError::Source)?;
        query_api::answer(&said.body).map_err(|error| self.refused(&error, &said))
    }

    fn refused(&self, error: &ApiError, said: &Said) -> QueryError {
        match error {
            ApiError::Refused(why) => QueryError::Invalid(why.clone()),
            ApiError::Failed(why) => QueryError::Source(format!("{}: {why}", self.caller.place())),
            // A proxy, a page for people, a server that does not let us in.
            ApiError::Malformed(_) => QueryError::Source(format!("{}: {}", self.caller.place(), said.word())),
        }
    }
}

/// A moment or a length as the API takes it: seconds with three decimals.
fn seconds(ms: i64) -> String {
    format!("{}{}.{:03}", if ms < 0 { "-" } else { "" }, ms.unsigned_abs() / 1_000, ms.unsigned_abs() % 1_000)
}

/// Names and values in a form (RFC 3986, 2.1).
fn form(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| {
        let byte = |byte: u8| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect::<String>()
    };
    fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&")
}

/// The text of an expression's first selector.
fn selector(query: &Query) -> &str {
    let selectors = query.selectors(&Engine::default(), 0, 0);
    let span = selectors.first().map(|selector| selector.span);
    span.and_then(|span| query.text().get(span.from..span.to)).unwrap_or_default()
}

/// How a quantile over all series of a selector is asked for, of native histograms and then of classic buckets.
fn observed_as(quantile: f64, selector: &str, window_ms: Option<i64>) -> Vec<String> {
    let within = |selector: &str| match window_ms {
        None => selector.to_owned(),
        Some(ms) => format!("increase({selector}[{ms}ms])"),
    };
    let name_to =
        selector.find(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c)).unwrap_or(selector.len());
    let (name, rest) = selector.split_at(name_to);
    let mut all = vec![format!("histogram_quantile({quantile}, sum({}))", within(selector))];
    if !name.is_empty() {
        let buckets = within(&format!("{name}_bucket{rest}"));
        all.push(format!("histogram_quantile({quantile}, sum by (le) ({buckets}))"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_forms_are_written_as_the_api_takes_them() {
        assert_eq!([1_500, 0, -20].map(seconds), ["1.500", "0.000", "-0.020"]);
        assert_eq!(
            form(&[("query", "a{b=\"ü\"} + 1"), ("time", "1.5")]),
            "query=a%7Bb%3D%22%C3%BC%22%7D%20%2B%201&time=1.5"
        );
    }

    #[test]
    fn a_bare_name_is_asked_for_as_native_and_as_classic_histogram() {
        let query = Query::parse("histogram_quantile( 0.9, h{a=\"b\"} )").expect("an expression");
        assert_eq!(
            observed_as(0.9, selector(&query), Some(60_000)),
            [
                "histogram_quantile(0.9, sum(increase(h{a=\"b\"}[60000ms])))",
                "histogram_quantile(0.9, sum by (le) (increase(h_bucket{a=\"b\"}[60000ms])))",
            ]
        );
        assert_eq!(
            observed_as(0.5, "{__name__=\"h\"}", None),
            ["histogram_quantile(0.5, sum({__name__=\"h\"}))"]
        );
    }
}
