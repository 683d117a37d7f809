//! What programs made for Prometheus ask for: `/metrics` of this process and of hosts, and Prometheus' HTTP API over every region under
//! `/api/v1` (prometheus.io, *HTTP API*).

mod json;
mod rules;
mod targets;
pub mod write;

use std::collections::BTreeSet;
use std::sync::Arc;

use dwcp_api::Problem;
use dwcp_config::units;
use dwcp_telemetry::exposition::{self, Format, Kind};
use dwcp_telemetry::model::Matcher;
use dwcp_telemetry::promql::{Query, QueryError, read_duration};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::metrics::{blocking, bounded, reader};
use super::routes::unescape;
use super::{Api, call};
use crate::clock;
use crate::monitor::alerts;
use crate::outbound::Said;
use crate::telemetry::prometheus::Prometheus;
use crate::telemetry::reader::{Reader, engine};
use crate::telemetry::regions::Federated;

/// Most values of one row.
const MOST_POINTS: i64 = 11_000;
/// Most selectors of a request.
const MOST_SELECTORS: usize = 32;
/// The past that is looked at for names where no time is given, ms.
const LATELY_MS: i64 = 24 * 3_600_000;

/// An answer in the words of whoever asked.
pub struct Answered {
    pub status: StatusCode,
    pub media: &'static str,
    pub body: Vec<u8>,
}

/// Why there is no answer.
struct Refused {
    status: StatusCode,
    /// One of Prometheus' words for it.
    kind: &'static str,
    why: String,
}

/// Whether a path is one of these.
pub fn is_mine(path: &str) -> bool {
    path == "/metrics" || path.starts_with("/metrics/") || path.starts_with("/api/v1/")
}

/// Answers a request whose caller may read. `fields`: those of the query and of a form.
pub async fn answer(api: &Arc<Api>, path: &str, accept: &str, fields: &str) -> Result<Answered, Problem> {
    if path == "/metrics" {
        return metrics(api, accept).await;
    }
    if let Some(rest) = path.strip_prefix("/metrics/") {
        return targets::answer(api, rest, accept).await;
    }
    let asked = path.strip_prefix("/api/v1/").unwrap_or_default().to_owned();
    let form = fields.to_owned();
    let fields = Fields::of(fields);
    let done = match asked.as_str() {
        "metadata" => Ok(json!({ "status": "success", "data": metadata(api).await?, "warnings": [] })),
        "status/buildinfo" => {
            let version = dwcp_types::VERSION.to_string();
            Ok(json!({ "status": "success", "data": { "version": version, "application": "DWCP" } }))
        }
        "format_query" => format_query(&fields),
        "rules" | "alerts" => alerting(api, &asked, &fields).await?,
        _ => match reader(api).await? {
            Reader::Regions(federated) => blocking(move || Ok(read(&federated, &asked, &fields))).await?,
            Reader::Prometheus(prometheus) => {
                match blocking(move || Ok(passed_on(&prometheus, &asked, &form))).await? {
                    Ok(answered) => return Ok(answered),
                    Err(refused) => Err(refused),
                }
            }
        },
    };
    let (status, body) = match done {
        Ok(body) => (StatusCode::OK, body),
        Err(Refused { status, kind, why }) => {
            (status, json!({ "status": "error", "errorType": kind, "error": why }))
        }
    };
    Ok(Answered { status, media: "application/json", body: body.to_string().into_bytes() })
}

/// Rules in force, or alerts that are pending or fire.
async fn alerting(api: &Api, asked: &str, fields: &Fields) -> Result<Result<Value, Refused>, Problem> {
    let seen = alerts::look(api.monitor()).await.map_err(|refusal| Problem::from(&refusal))?;
    let data = match asked {
        "alerts" => Ok(rules::alerts(&seen)),
        _ => rules::rules(&api.monitor().rules.in_force(), &seen, fields),
    };
    Ok(data.map(|data| json!({ "status": "success", "data": data })))
}

/// What the program that keeps the metrics says to that, word by word.
fn passed_on(prometheus: &Prometheus, asked: &str, form: &str) -> Result<Answered, Refused> {
    let label = asked.strip_prefix("label/").and_then(|rest| rest.strip_suffix("/values"));
    let is_name =
        |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty();
    let said = match (asked, label) {
        ("query" | "query_range" | "series" | "labels", _) => prometheus.post(asked, form),
        (_, Some(label)) if is_name(label) => prometheus.get(asked, form.trim_matches('&')),
        _ => return Err(not_here(asked)),
    };
    let Said { status, body, .. } =
        said.map_err(|why| Refused { status: StatusCode::SERVICE_UNAVAILABLE, kind: "unavailable", why })?;
    // That it does not let this process in is nothing that the caller could help with a token.
    let status = if matches!(status, 401 | 403) { 502 } else { status };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    Ok(Answered { status, media: "application/json", body })
}

async fn metrics(api: &Arc<Api>, accept: &str) -> Result<Answered, Problem> {
    let gathered = api.gather().await.ok_or_else(call::stopping)?;
    let format = Format::accepted(accept);
    let body = exposition::encode(format, &gathered.families);
    Ok(Answered { status: StatusCode::OK, media: format.content_type(), body })
}

async fn metadata(api: &Arc<Api>) -> Result<Value, Problem> {
    let gathered = api.gather().await.ok_or_else(call::stopping)?;
    let kind = |kind: Kind| kind.name();
    let family = |of: &exposition::Family| {
        let said = json!([{ "type": kind(of.kind()), "help": of.help, "unit": of.unit() }]);
        (of.name.clone(), said)
    };
    Ok(Value::Object(gathered.families.iter().map(family).collect()))
}

/// Names and values of a form.
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Of a query or a form.
    pub fn of(text: &str) -> Fields {
        let plain = |text: &str| unescape(&text.replace('+', " ")).unwrap_or_default();
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Fields(pairs.map(|(name, value)| (plain(name), plain(value))).collect())
    }

    /// The first of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, Refused> {
        self.get(name).ok_or_else(|| bad(format!("{name} is missing")))
    }

    /// All of a name, in their order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn time(&self, name: &str, otherwise: i64) -> Result<i64, Refused> {
        self.get(name).map_or(Ok(otherwise), |text| time(name, text))
    }

    /// The conditions of each `match[]`; none given: one that everything fulfils.
    fn selectors(&self) -> Result<Vec<Vec<Matcher>>, Refused> {
        if self.all("match[]").count() > MOST_SELECTORS {
            return Err(bad(format!("match[]: at most {MOST_SELECTORS}")));
        }
        let mut all = Vec::new();
        for text in self.all("match[]") {
            let query = Query::parse(text).map_err(|error| bad(error.to_string()))?;
            let mut selectors = query.selectors(&engine(), 0, 0);
            match (selectors.pop(), selectors.is_empty()) {
                (Some(selector), true) => all.push(selector.matchers),
                _ => return Err(bad(format!("match[]: '{text}' is no selector of series"))),
            }
        }
        Ok(all)
    }
}

fn bad(why: impl Into<String>) -> Refused {
    Refused { status: StatusCode::BAD_REQUEST, kind: "bad_data", why: why.into() }
}

fn unanswered(error: &QueryError) -> Refused {
    let (status, kind) = match error {
        QueryError::Timeout(_) => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
        QueryError::Source(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        QueryError::TooMuch { .. } | QueryError::Invalid(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "execution")
        }
    };
    Refused { status, kind, why: error.to_string() }
}

fn failed(error: impl ToString) -> Refused {
    Refused { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "internal", why: error.to_string() }
}

/// A moment: seconds since 1970, or RFC 3339.
fn time(name: &str, text: &str) -> Result<i64, Refused> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1e3).round();
        if ms.is_finite() && ms.abs() < 9e15 {
            return Ok(ms as i64);
        }
    }
    match units::moment(text) {
        Ok(units::Moment::At(ms)) => Ok(clock::ms(ms)),
        _ => Err(bad(format!("{name}: '{text}' is no time such as 1795862400 or 2026-11-29T02:00:00Z"))),
    }
}

/// A length of time: seconds, or as PromQL writes it.
fn duration(name: &str, text: &str) -> Result<i64, Refused> {
    let ms = match text.parse::<f64>() {
        Ok(seconds) => (seconds * 1e3).round() as i64,
        Err(_) => read_duration(text).map_err(|why| bad(format!("{name}: '{text}': {why}")))?,
    };
    if ms > 0 { Ok(ms) } else { Err(bad(format!("{name}: more than 0"))) }
}

fn format_query(fields: &Fields) -> Result<Value, Refused> {
    let query = Query::parse(fields.required("query")?).map_err(|error| bad(error.to_string()))?;
    Ok(json!({ "status": "success", "data": query.format() }))
}

/// What needs what was measured. Blocks.
fn read(source: &Federated, asked: &str, fields: &Fields) -> Result<Value, Refused> {
    let now = clock::wall_ms();
    let (data, mut warnings) = match asked {
        "query" => {
            let query = Query::parse(fields.required("query")?).map_err(|error| bad(error.to_string()))?;
            let at = fields.time("time", now)?;
            let answer = engine().instant(source, &query, at).and_then(bounded);
            let answer = answer.map_err(|error| unanswered(&error))?;
            (json::answer(&answer.value, at), answer.warnings)
        }
        "query_range" => {
            let query = Query::parse(fields.required("query")?).map_err(|error| bad(error.to_string()))?;
            let start = time("start", fields.required("start")?)?;
            let end = time("end", fields.required("end")?)?;
            let step = duration("step", fields.required("step")?)?;
            if end < start {
                return Err(bad("end: it lies before the start"));
            }
            if (end - start) / step > MOST_POINTS {
                return Err(bad(format!("step: more than {MOST_POINTS} values a row; take a longer one")));
            }
            let answer = engine().range(source, &query, start, end, step).and_then(bounded);
            let answer = answer.map_err(|error| unanswered(&error))?;
            (json::answer(&answer.value, end), answer.warnings)
        }
        _ => (listed(source, asked, fields, now)?, vec![]),
    };
    warnings.extend(source.missing().iter().map(|(region, why)| format!("{region} is missing: {why}")));
    Ok(json!({ "status": "success", "data": data, "warnings": warnings }))
}

/// Series, names and values.
fn listed(source: &Federated, asked: &str, fields: &Fields, now: i64) -> Result<Value, Refused> {
    let span = (fields.time("start", now - LATELY_MS)?, fields.time("end", now)?);
    let selectors = fields.selectors()?;
    let label = asked.strip_prefix("label/").and_then(|rest| rest.strip_suffix("/values"));
    if asked == "labels" || label.is_some() {
        let list = |matchers: &[Matcher]| match label {
            None => source.label_names(matchers, span).map_err(failed),
            Some(label) => source.label_values(label, matchers, span).map_err(failed),
        };
        let mut all = BTreeSet::new();
        if selectors.is_empty() {
            all.extend(list(&[])?);
        }
        for matchers in &selectors {
            all.extend(list(matchers)?);
        }
        return Ok(json!(all));
    }
    if asked == "series" {
        if selectors.is_empty() {
            return Err(bad("match[] is missing"));
        }
        let mut all = BTreeSet::new();
        for matchers in &selectors {
            all.extend(source.series(matchers, span).map_err(failed)?);
        }
        return Ok(Value::Array(all.iter().map(json::labels).collect()));
    }
    if asked == "targets" {
        return targets::all(source, now);
    }
    Err(not_here(asked))
}

fn not_here(asked: &str) -> Refused {
    Refused { status: StatusCode::NOT_FOUND, kind: "not_found", why: format!("there is no {asked} here") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_read_as_prometheus_does() {
        let ms = |text: &str| time("time", text).ok();
        assert_eq!((ms("1.5"), ms("1970-01-01T00:00:02Z"), ms("soon")), (Some(1_500), Some(2_000), None));
        let step = |text: &str| duration("step", text).ok();
        assert_eq!(
            (step("15"), step("1h"), step("0"), step("x")),
            (Some(15_000), Some(3_600_000), None, None)
        );
    }

    #[test]
    fn fields_come_from_the_query_and_the_form() {
        let fields = Fields::of("query=up%20%2B+1&match[]=a&match%5B%5D=b%7Bc%3D%22d%22%7D");
        assert_eq!(fields.get("query"), Some("up + 1"));
        assert_eq!(fields.selectors().map(|all| all.len()).unwrap_or(0), 2);
        assert!(Fields::of("match[]=sum(a)%2Bb").selectors().is_err());
    }
}
