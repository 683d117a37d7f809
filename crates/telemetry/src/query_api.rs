//! Answers of the HTTP API of Prometheus, and of programs that answer as it does, read back (prometheus.io, *HTTP API*).
//!
//! Of native histograms only their count and sum are read: the API tells buckets by their bounds, not by what they are.

use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::model::{Histogram, Labels, Sample, Series, Value};
use crate::promql::{Answer, AnswerValue};

/// Longest reason that is told, characters.
const LONGEST_REASON: usize = 500;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// The query is refused: what is said of it.
    Refused(String),
    /// It could not be answered now: what is said of it.
    Failed(String),
    /// What came is no such answer.
    Malformed(String),
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApiError::Refused(why) | ApiError::Failed(why) => f.write_str(why),
            ApiError::Malformed(what) => write!(f, "not an answer of Prometheus' API: {what}"),
        }
    }
}

impl std::error::Error for ApiError {}

fn malformed(what: &str) -> ApiError {
    ApiError::Malformed(what.to_owned())
}

/// The `data` of a body, and its warnings.
///
/// # Errors
/// See [`ApiError`].
pub fn data(body: &[u8]) -> Result<(Json, Vec<String>), ApiError> {
    let mut json: Json = serde_json::from_slice(body).map_err(|e| ApiError::Malformed(e.to_string()))?;
    let warnings = json["warnings"].as_array().into_iter().flatten();
    let warnings = warnings.filter_map(|warning| warning.as_str().map(str::to_owned)).collect();
    match json["status"].as_str() {
        Some("success") => Ok((json["data"].take(), warnings)),
        Some("error") => {
            let why: String =
                json["error"].as_str().unwrap_or("no reason given").chars().take(LONGEST_REASON).collect();
            // Prometheus' words for what would be so again; VictoriaMetrics has the status instead.
            match json["errorType"].as_str() {
                Some("bad_data" | "execution" | "400" | "422") => Err(ApiError::Refused(why)),
                _ => Err(ApiError::Failed(why)),
            }
        }
        _ => Err(malformed("its status is neither success nor error")),
    }
}

/// What `query` or `query_range` answered.
///
/// # Errors
/// See [`ApiError`].
pub fn answer(body: &[u8]) -> Result<Answer, ApiError> {
    let (data, warnings) = data(body)?;
    let rows = || data["result"].as_array().ok_or_else(|| malformed("its result is no list"));
    let mut samples = 0;
    let value = match data["resultType"].as_str() {
        Some("scalar") => match point(&data["result"])? {
            Sample { value: Value::Float(value), .. } => AnswerValue::Scalar(value),
            _ => return Err(malformed("a scalar that is no number")),
        },
        Some("string") => {
            let text = data["result"][1].as_str().ok_or_else(|| malformed("a string that is none"))?;
            AnswerValue::String(text.to_owned())
        }
        Some("vector") => {
            let row = |row: &Json| {
                let found = if row["value"].is_null() {
                    histogram_point(&row["histogram"])
                } else {
                    point(&row["value"])
                };
                Ok((labels(&row["metric"])?, found?.value))
            };
            let rows: Vec<(Labels, Value)> = rows()?.iter().map(row).collect::<Result<_, ApiError>>()?;
            samples = rows.len() as u64;
            AnswerValue::Vector(rows)
        }
        Some("matrix") => {
            let all: Vec<Series> = rows()?.iter().map(series).collect::<Result<_, ApiError>>()?;
            samples = all.iter().map(|of| of.samples.len() as u64).sum();
            AnswerValue::Matrix(all)
        }
        _ => return Err(malformed("its resultType is not known")),
    };
    Ok(Answer { value, warnings, samples })
}

/// What `labels` or `label/…/values` answered.
///
/// # Errors
/// See [`ApiError`].
pub fn texts(body: &[u8]) -> Result<(Vec<String>, Vec<String>), ApiError> {
    let (data, warnings) = data(body)?;
    let all = data.as_array().ok_or_else(|| malformed("it is no list"))?;
    let texts = all.iter().map(|text| text.as_str().map(str::to_owned));
    Ok((texts.collect::<Option<_>>().ok_or_else(|| malformed("it is no list of texts"))?, warnings))
}

fn labels(json: &Json) -> Result<Labels, ApiError> {
    let all = json.as_object().ok_or_else(|| malformed("a series without labels"))?;
    let pairs = all.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let pairs = pairs.collect::<Option<Vec<_>>>().ok_or_else(|| malformed("a label that is no text"))?;
    Ok(Labels::new(pairs))
}

fn series(json: &Json) -> Result<Series, ApiError> {
    let list = |name: &str| json[name].as_array().into_iter().flatten();
    let floats = list("values").map(point);
    let histograms = list("histograms").map(histogram_point);
    let mut samples: Vec<Sample> = floats.chain(histograms).collect::<Result<_, ApiError>>()?;
    samples.sort_by_key(|sample| sample.at_ms);
    Ok(Series { labels: labels(&json["metric"])?, samples })
}

/// `[seconds, "number"]`
fn point(json: &Json) -> Result<Sample, ApiError> {
    Ok(Sample { at_ms: moment(&json[0])?, value: Value::Float(number(&json[1])?) })
}

/// `[seconds, {"count": "number", "sum": "number", …}]`
fn histogram_point(json: &Json) -> Result<Sample, ApiError> {
    let (count, sum) = (number(&json[1]["count"])?, number(&json[1]["sum"])?);
    let value = Value::Histogram(Arc::new(Histogram { count, sum, ..Histogram::default() }));
    Ok(Sample { at_ms: moment(&json[0])?, value })
}

fn moment(json: &Json) -> Result<i64, ApiError> {
    let ms = json.as_f64().map(|seconds| (seconds * 1e3).round());
    ms.filter(|ms| ms.abs() < 9e15).map(|ms| ms as i64).ok_or_else(|| malformed("a time that is none"))
}

fn number(json: &Json) -> Result<f64, ApiError> {
    let text = json.as_str().ok_or_else(|| malformed("a number that is no text"))?;
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        text => text.parse().map_err(|_| malformed("a text that is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(data: &str) -> Vec<u8> {
        format!("{{\"status\":\"success\",\"data\":{data},\"warnings\":[\"slow\"]}}").into_bytes()
    }

    #[test]
    fn values_of_every_kind_are_read() {
        let read = |data: &str| answer(&body(data)).expect(data);
        let scalar = read(r#"{"resultType":"scalar","result":[1.5,"-Inf"]}"#);
        assert_eq!(
            (scalar.value, scalar.warnings),
            (AnswerValue::Scalar(f64::NEG_INFINITY), vec!["slow".to_owned()])
        );
        let text = read(r#"{"resultType":"string","result":[1.5,"x"]}"#);
        assert_eq!(text.value, AnswerValue::String("x".to_owned()));
        let up = Labels::new([("__name__", "up")]);
        let vector = read(
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1.5,"2"]},
               {"metric":{},"histogram":[1.5,{"count":"3","sum":"4.5","buckets":[[0,"1","2","3"]]}]}]}"#,
        );
        let three = Value::Histogram(Arc::new(Histogram { count: 3.0, sum: 4.5, ..Histogram::default() }));
        let rows = vec![(up.clone(), Value::Float(2.0)), (Labels::default(), three.clone())];
        assert_eq!((vector.value, vector.samples), (AnswerValue::Vector(rows), 2));
        let matrix = read(
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1,"2"],[3,"+Inf"]],
               "histograms":[[2,{"count":"3","sum":"4.5"}]]}]}"#,
        );
        let sample = |at_ms, value| Sample { at_ms, value };
        let samples = vec![
            sample(1_000, Value::Float(2.0)),
            sample(2_000, three),
            sample(3_000, Value::Float(f64::INFINITY)),
        ];
        assert_eq!(matrix.value, AnswerValue::Matrix(vec![Series { labels: up, samples }]));
        assert_eq!(texts(&body(r#"["a","b"]"#)).expect("texts").0, ["a", "b"]);
    }

    #[test]
    fn refusals_and_failures_are_told_apart() {
        let of = |kind: &str| {
            let body = format!(r#"{{"status":"error","errorType":"{kind}","error":"why"}}"#);
            answer(body.as_bytes()).expect_err("an error")
        };
        assert_eq!(
            (of("bad_data"), of("422")),
            (ApiError::Refused("why".to_owned()), ApiError::Refused("why".to_owned()))
        );
        assert_eq!(of("timeout"), ApiError::Failed("why".to_owned()));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"status":"success"}"#,
            r#"{"status":"success","data":{"resultType":"vector"}}"#,
            r#"{"status":"success","data":{"resultType":"scalar","result":[1e300,"1"]}}"#,
            r#"{"status":"success","data":{"resultType":"scalar","result":[1,1]}}"#,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":1},"value":[1,"1"]}]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1]]}]}}"#,
        ] {
            assert!(matches!(answer(bad.as_bytes()), Err(ApiError::Malformed(_))), "{bad}");
        }
        assert!(texts(br#"{"status":"success","data":[1]}"#).is_err());
    }
}
