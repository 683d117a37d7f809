//! What is handed on to an OpenTelemetry collector: bodies of OTLP/HTTP requests to `/v1/logs`, `/v1/traces` and
//! `/v1/metrics`.
//!
//! They are made as the JSON mapping of Protocol Buffers has them, with the exceptions of the OTLP specification
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids in hexadecimal digits, enumerations as
//! numbers, 64-bit whole numbers as text. [`Body::protobuf`] writes the same in the binary form.

mod answer;
mod metrics;
mod protobuf;
mod queue;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::logs::{Level, Record, Span};

pub use answer::{Verdict, rejected, verdict};
pub use metrics::metrics;
pub use queue::{Queue, Waiting};

/// The body of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Body(Value);

impl Body {
    /// For `Content-Type: application/json`.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// For `Content-Type: application/x-protobuf`.
    pub fn protobuf(&self) -> Vec<u8> {
        protobuf::encode(&self.0)
    }
}

/// The instrumentation scope of everything that is handed on.
const SCOPE: &str = "dwcp";
/// SPAN_KIND_INTERNAL and STATUS_CODE_ERROR of the trace protocol.
const INTERNAL: u8 = 1;
const STATUS_ERROR: u8 = 2;

/// The body of a request to `/v1/logs` with those of the records that are lines.
pub fn logs(records: &[Record]) -> Body {
    let lines = records.iter().filter(|record| record.entry.span.is_none());
    body("resourceLogs", "scopeLogs", "logRecords", lines, line)
}

/// The body of a request to `/v1/traces` with those of the records that are spans.
pub fn spans(records: &[Record]) -> Body {
    let spans = records.iter().filter(|record| record.entry.span.is_some());
    body("resourceSpans", "scopeSpans", "spans", spans, span)
}

/// Records grouped by who wrote them, in the order given.
fn body<'a>(
    resources: &str,
    scopes: &str,
    name: &str,
    records: impl Iterator<Item = &'a Record>,
    write: fn(&Record) -> Value,
) -> Body {
    let mut groups: BTreeMap<(&str, &str), Vec<Value>> = BTreeMap::new();
    for record in records {
        groups.entry((record.origin.as_str(), &record.entry.component)).or_default().push(write(record));
    }
    let groups = groups.into_iter().map(|((origin, component), records)| {
        let region = origin.split('@').next().unwrap_or(origin);
        let resource = [
            ("service.namespace", SCOPE),
            ("service.name", component),
            ("service.instance.id", origin),
            ("cloud.region", region),
        ];
        let resource: Vec<Value> = resource.iter().map(|(name, value)| attribute(name, value)).collect();
        json!({ "resource": { "attributes": resource }, scopes: [{ "scope": { "name": SCOPE }, name: records }] })
    });
    Body(json!({ resources: groups.collect::<Vec<Value>>() }))
}

fn attribute(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

/// ms since 1970 as ns; what is before 1970 has no such time.
fn nanos_of_ms(at_ms: i64) -> String {
    (u128::try_from(at_ms).unwrap_or(0) * 1_000_000).min(u64::MAX.into()).to_string()
}

/// Number and text of a severity: those of the same name in the log data model.
fn severity(level: Level) -> (u8, &'static str) {
    match level {
        Level::Info => (9, "INFO"),
        Level::Warning => (13, "WARN"),
        Level::Error => (17, "ERROR"),
    }
}

fn attributes(record: &Record) -> Vec<Value> {
    let entry = &record.entry;
    let uid = format!("{}#{}", record.origin, record.seq);
    let mut all = vec![attribute("log.record.uid", &uid)];
    for (name, id) in [("dwcp.request.id", &entry.request_id), ("dwcp.operation.id", &entry.operation_id)] {
        if !id.is_empty() {
            all.push(attribute(name, id));
        }
    }
    all.extend(entry.fields.iter().map(|(name, value)| attribute(name, value)));
    if entry.cut_bytes > 0 {
        all.push(json!({ "key": "dwcp.cut_bytes", "value": { "intValue": entry.cut_bytes.to_string() } }));
    }
    all
}

fn line(record: &Record) -> Value {
    let entry = &record.entry;
    let (number, text) = severity(entry.level);
    let mut line = json!({
        "timeUnixNano": nanos_of_ms(entry.at_ms),
        "observedTimeUnixNano": nanos_of_ms(entry.at_ms),
        "severityNumber": number,
        "severityText": text,
        "body": { "stringValue": entry.message },
        "attributes": attributes(record),
    });
    if let Some(place) = entry.trace {
        line["traceId"] = place.trace.to_string().into();
        line["spanId"] = place.span.to_string().into();
    }
    line
}

fn span(record: &Record) -> Value {
    // Only records that are spans are given.
    let Some(span) = Span::of(record) else { return Value::Null };
    let start = u128::try_from(span.start_us).unwrap_or(0) * 1_000;
    let end = start + u128::from(span.duration_us) * 1_000;
    let nanos = |at: u128| at.min(u64::MAX.into()).to_string();
    let mut written = json!({
        "traceId": span.trace.to_string(),
        "spanId": span.id.to_string(),
        "name": span.name,
        "kind": INTERNAL,
        "startTimeUnixNano": nanos(start),
        "endTimeUnixNano": nanos(end),
        "attributes": attributes(record),
    });
    if let Some(parent) = span.parent {
        written["parentSpanId"] = parent.to_string().into();
    }
    if span.failed {
        written["status"] = json!({ "code": STATUS_ERROR });
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{Entry, InTrace, Origin, SpanId, TraceId};

    fn record(entry: Entry) -> Record {
        Record { origin: Origin::parse("eu-west-1@3").expect("an origin"), seq: 7, entry }
    }

    fn read(body: Body) -> Value {
        body.0
    }

    #[test]
    fn a_line_is_written_with_its_severity_ids_and_resource() {
        let trace = TraceId::new([0xab; 16]).expect("an id");
        let span = SpanId::new([0xcd; 8]).expect("an id");
        let entry = Entry {
            at_ms: 1_764_412_092_345,
            component: "security".into(),
            level: Level::Warning,
            message: "refused\n".into(),
            operation_id: "op_1".into(),
            fields: vec![("vm".into(), "vm-1".into())],
            trace: Some(InTrace { trace, span }),
            ..Entry::default()
        };
        let written = read(logs(&[record(entry)]));
        let of = &written["resourceLogs"][0];
        let line = &of["scopeLogs"][0]["logRecords"][0];
        assert_eq!(of["resource"]["attributes"][1], attribute("service.name", "security"));
        assert_eq!(of["resource"]["attributes"][3], attribute("cloud.region", "eu-west-1"));
        assert_eq!(line["timeUnixNano"], "1764412092345000000");
        assert_eq!((&line["severityNumber"], &line["severityText"]), (&json!(13), &json!("WARN")));
        assert_eq!(line["body"], json!({ "stringValue": "refused\n" }));
        assert_eq!((&line["traceId"], &line["spanId"]), (&json!("ab".repeat(16)), &json!("cd".repeat(8))));
        let expected = ["eu-west-1@3#7", "op_1", "vm-1"].map(|value| json!({ "stringValue": value }));
        let values: Vec<&Value> =
            line["attributes"].as_array().expect("a list").iter().map(|a| &a["value"]).collect();
        assert_eq!(values, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn spans_and_lines_go_to_their_own_requests() {
        let id = SpanId::new([1; 8]).expect("an id");
        let span = Span {
            trace: TraceId::new([2; 16]).expect("an id"),
            id,
            parent: Some(id),
            name: "place".into(),
            component: "agent".into(),
            start_us: 1_500,
            duration_us: 2_500,
            failed: true,
            request_id: String::new(),
            operation_id: String::new(),
            fields: vec![],
        };
        let both = [record(span.entry()), record(Entry::default())];
        let written = read(spans(&both));
        let spans = written["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("a list").clone();
        assert_eq!(spans.len(), 1);
        assert_eq!(
            (&spans[0]["startTimeUnixNano"], &spans[0]["endTimeUnixNano"]),
            (&json!("1500000"), &json!("4000000"))
        );
        assert_eq!(
            (&spans[0]["parentSpanId"], &spans[0]["status"]["code"]),
            (&json!("01".repeat(8)), &json!(2))
        );
        let lines = read(logs(&both));
        assert_eq!(lines["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().map(Vec::len), Some(1));
        assert_eq!(read(logs(&[])), json!({ "resourceLogs": [] }));
    }
}
