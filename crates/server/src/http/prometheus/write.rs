//! Remote write, received: what other programs measured, kept in this region's store beside its own (prometheus.io, *Remote-Write
//! 1.0* and *2.0* specifications).
//!
//! Series of DWCP are its own to tell: nobody else writes names with `dwcp_` in them (rules record `region:dwcp_…`) or the jobs of its
//! processes, so that what rules, figures and dashboards read can't be made up by whoever may write.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use dwcp_api::{Permission, Problem};
use dwcp_telemetry::exposition::Limits;
use dwcp_telemetry::model::{Labels, Sample, Series, Value};
use dwcp_telemetry::remote_write::{self, Version, WriteError};
use dwcp_telemetry::store::{Reason, Room, SeriesRef, StoreError};
use dwcp_types::{Code, Refusal};
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderName,
    HeaderValue, RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::super::body::{self, Outgoing};
use super::super::{Api, auth, call};
use crate::clock;
use crate::telemetry::intake::Intake;
use crate::telemetry::{hosts, keeper};

pub const PATH: &str = "/api/v1/write";

/// Largest body, bytes: as it comes, and inflated.
const LARGEST_BYTES: usize = 8 << 20;
const INFLATED_BYTES: usize = 32 << 20;
/// Most samples of a request, its series and metadata counted too.
const MOST_SAMPLES: usize = 200_000;
/// For how many series there is room: that are new with a request, and in memory. The store takes more, which are the region's own.
const ROOM: Room = Room { new: 20_000, series: 1_000_000 };
/// Requests that are read and kept at once, that may wait, and for how long.
const AT_ONCE: usize = 4;
const MAY_WAIT: usize = 64;
const WAITS: Duration = Duration::from_secs(5);
/// When to come back, s.
const COME_BACK: u64 = 5;
/// Jobs of DWCP's own processes.
const OWN_JOBS: [&str; 2] = [keeper::JOB, hosts::JOB];
/// Refused samples that an answer shows.
const SHOWN: usize = 3;
/// Longest series that an answer shows, characters.
const LONGEST_SHOWN: usize = 200;

const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
static QUEUE: Semaphore = Semaphore::const_new(MAY_WAIT);

/// What became of a request.
struct Done {
    status: StatusCode,
    why: String,
    /// Floats and histograms that are kept.
    written: (u64, u64),
    /// Refused samples, by why.
    refused: Vec<(&'static str, u64)>,
}

/// Answers a request to write. Only its caller and its path are checked by problems of the API; all else is told in a line of text,
/// which is what senders log.
///
/// # Errors
/// The caller may not write, or the process is stopping.
pub async fn answer(
    api: &Arc<Api>,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Response<Outgoing>, Problem> {
    let secret = auth::bearer(parts.headers.get(AUTHORIZATION))?;
    let caller = auth::authenticate(api, secret).await?;
    auth::permit(&caller, Permission::Operate)?;
    let Some(intake) = api.measured.as_ref().map(|measured| measured.intake().clone()) else {
        return Err(keeps_nothing());
    };
    if intake.store.is_none() {
        return Err(keeps_nothing());
    }
    let version = match version(&parts.headers) {
        Ok(version) => version,
        Err(why) => return Ok(told(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)),
    };
    if let Some(refused) = refused_unread(&parts.headers) {
        return Ok(refused);
    }
    let Ok(_waits) = QUEUE.try_acquire() else { return Ok(busy()) };
    let Ok(Ok(_turn)) = timeout(WAITS, TURNS.acquire()).await else { return Ok(busy()) };
    let body = match body::read_within(incoming, LARGEST_BYTES).await {
        Ok(body) => body,
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
            return Ok(told(status, problem.cause.first().cloned().unwrap_or(problem.title)));
        }
    };
    let done = tokio::task::spawn_blocking(move || write(&intake, version, &body)).await;
    let done = done.map_err(|_| call::stopping())?;
    api.instruments.written(done.written.0 + done.written.1);
    done.refused.iter().for_each(|(reason, count)| api.instruments.unwritten(reason, *count));
    Ok(shown(done, version))
}

fn keeps_nothing() -> Problem {
    let refusal = Refusal::new(Code::NotPossibleHere, "this process keeps no metrics")
        .because("its store can't be used, or metrics.engine is prometheus: then write to that server");
    Problem::from(&refusal)
}

/// The version of the message that the headers name.
fn version(headers: &HeaderMap) -> Result<Version, String> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or("");
    let encoding = text(CONTENT_ENCODING);
    if !encoding.eq_ignore_ascii_case("snappy") {
        return Err(format!("Content-Encoding is '{}', and only snappy is taken", cut(encoding)));
    }
    let media = text(CONTENT_TYPE);
    Version::of_content_type(media).ok_or_else(|| {
        format!(
            "Content-Type is '{}', and only application/x-protobuf is taken, of remote write 1.0 or 2.0",
            cut(media)
        )
    })
}

/// The refusal of a body that says that it is too large and waits for leave to come.
fn refused_unread(headers: &HeaderMap) -> Option<Response<Outgoing>> {
    let length: u64 = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    if length <= LARGEST_BYTES as u64 || !headers.contains_key(EXPECT) {
        return None;
    }
    let cause = body::too_large(LARGEST_BYTES).cause.concat();
    let mut response = told(StatusCode::PAYLOAD_TOO_LARGE, cause);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}

fn busy() -> Response<Outgoing> {
    let mut response =
        told(StatusCode::TOO_MANY_REQUESTS, "too many requests to write are under way".to_owned());
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(COME_BACK));
    response
}

fn told(status: StatusCode, why: String) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::whole(why));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn shown(done: Done, version: Version) -> Response<Outgoing> {
    let mut response = told(done.status, done.why);
    if version == Version::Two {
        for (name, count) in WRITTEN.into_iter().zip([done.written.0, done.written.1, 0]) {
            response.headers_mut().insert(name, HeaderValue::from(count));
        }
    }
    if done.status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(COME_BACK));
    }
    response
}

/// Reads and keeps a request. What of it is refused would be so again; all else is kept.
fn write(intake: &Intake, version: Version, body: &[u8]) -> Done {
    let limits = Limits { bytes: INFLATED_BYTES, samples: MOST_SAMPLES, ..Limits::default() };
    let failed = |status, why: String| Done { status, why, written: (0, 0), refused: vec![] };
    let request = match remote_write::decode(version, body, &limits) {
        Ok(request) => request,
        Err(error @ WriteError::TooLarge { .. }) => {
            return failed(StatusCode::PAYLOAD_TOO_LARGE, error.to_string());
        }
        Err(error) => return failed(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let (own, foreign): (Vec<Series>, Vec<Series>) =
        request.series.into_iter().partition(|series| is_reserved(&series.labels));
    let reserved: u64 = own.iter().map(|series| series.samples.len().max(1) as u64).sum();
    let samples: Vec<(SeriesRef, Sample)> = foreign.into_iter().flat_map(rows).collect();
    let appended = match intake.take(&samples, clock::wall_ms(), Some(ROOM)) {
        Ok(appended) => appended,
        Err(error @ (StoreError::MemoryFull { .. } | StoreError::NoSpace { .. })) => {
            return failed(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
        }
        Err(error) => return failed(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let mut examples: Vec<String> =
        own.iter().take(SHOWN).map(|series| reserved_why(&series.labels)).collect();
    let mut refused = vec![("reserved", reserved)];
    let mut kept = vec![true; samples.len()];
    for (number, reason) in &appended.refused {
        kept[*number] = false;
        match refused.iter_mut().find(|(name, _)| *name == reason.name()) {
            Some((_, count)) => *count += 1,
            None => refused.push((reason.name(), 1)),
        }
        if examples.len() < SHOWN {
            examples.push(refused_why(samples[*number].0.labels(), *reason));
        }
    }
    refused.retain(|(_, count)| *count > 0);
    let kept = samples.iter().zip(kept).filter(|(_, kept)| *kept);
    let is_float = |sample: &Sample| matches!(sample.value, Value::Float(_));
    let (floats, histograms): (Vec<_>, Vec<_>) = kept.partition(|((_, sample), _)| is_float(sample));
    let written = (floats.len() as u64, histograms.len() as u64);
    let status = if refused.is_empty() { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST };
    Done { status, why: why(&refused, &examples, written), written, refused }
}

/// The samples of a series, which share one reference's labels.
fn rows(series: Series) -> impl Iterator<Item = (SeriesRef, Sample)> {
    let Series { labels, samples } = series;
    samples.into_iter().map(move |sample| (SeriesRef::new(labels.clone()), sample))
}

/// Whether a series is told by DWCP alone.
fn is_reserved(labels: &Labels) -> bool {
    labels.name().contains("dwcp_") || OWN_JOBS.contains(&labels.get("job"))
}

fn reserved_why(labels: &Labels) -> String {
    let jobs = OWN_JOBS.join(" and ");
    format!("{}: names with dwcp_ in them and the jobs {jobs} are DWCP's own", cut(&labels.to_string()))
}

fn refused_why(labels: &Labels, reason: Reason) -> String {
    let limit = match reason {
        Reason::TooManySeries => format!(" ({} in memory, {} new in a request)", ROOM.series, ROOM.new),
        _ => String::new(),
    };
    format!("{}: {reason}{limit}", cut(&labels.to_string()))
}

/// One line: how many were refused and why, some of them, and how many are kept.
fn why(refused: &[(&'static str, u64)], examples: &[String], written: (u64, u64)) -> String {
    let mut why = String::new();
    if refused.is_empty() {
        return why;
    }
    let counts: Vec<String> = refused.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let kept = written.0 + written.1;
    let _ = write!(why, "refused: {}; kept: {kept}; such as {}", counts.join(", "), examples.join("; "));
    why
}

/// The beginning of a text, without control characters.
fn cut(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dwcp_tells_nobody_else_tells() {
        let is = |pairs: &[(&str, &str)]| is_reserved(&Labels::new(pairs.iter().copied()));
        assert!(is(&[("__name__", "dwcp_federation_active_vms"), ("job", "x")]));
        assert!(is(&[("__name__", "up"), ("job", "dwcpd"), ("instance", "us-east-1")]));
        assert!(is(&[("__name__", "up"), ("job", "dwcp-agentd"), ("host", "h1")]));
        assert!(is(&[("__name__", "region:dwcp_federation_cpu_utilization:avg")]));
        assert!(!is(&[("__name__", "up"), ("job", "node"), ("region", "us-east-1")]));
    }

    #[test]
    fn headers_say_which_message_it_is() {
        let of = |media: &str, encoding: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [(CONTENT_TYPE, media), (CONTENT_ENCODING, encoding)] {
                headers.insert(name, HeaderValue::from_str(value).expect("a header"));
            }
            version(&headers)
        };
        assert_eq!(of("application/x-protobuf", "snappy"), Ok(Version::One));
        assert_eq!(
            of("application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy"),
            Ok(Version::Two)
        );
        assert!(of("application/x-protobuf", "gzip").is_err() && of("application/json", "snappy").is_err());
        assert!(of("application/x-protobuf;proto=else", "snappy").is_err());
        assert!(version(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_refusal_is_one_line_of_bounded_length() {
        let labels = Labels::new([("__name__", "a\nb".to_owned()), ("x", "y".repeat(4_000))]);
        let why = why(&[("too_old", 7)], &[refused_why(&labels, Reason::TooOld)], (3, 1));
        assert!(why.starts_with("refused: 7 too_old; kept: 4; such as a b"), "{why}");
        assert!(why.lines().count() == 1 && why.len() < 400, "{why}");
    }
}
