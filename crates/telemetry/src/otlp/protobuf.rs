//! Bodies of OTLP/HTTP requests as Protocol Buffers: the same messages, written by the numbers of their fields
//! (opentelemetry-proto 1, `common`, `resource`, `logs`, `trace`, `metrics`).

use serde_json::Value;

use crate::logs::{SpanId, TraceId};
use crate::protobuf::Writer;

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// An id in hexadecimal digits.
    Id,
    /// Enumerations and unsigned numbers.
    Varint,
    Bool,
    /// `fixed64`, and `sfixed64` of numbers that are not below 0.
    Fixed64,
    Double,
    /// `sint32`.
    Zigzag,
    /// Packed, as are the next two.
    Fixed64s,
    Doubles,
    Varints,
    One(Message),
    Many(Message),
}

/// The fields of a message: name, number, kind.
type Message = &'static [(&'static str, u64, Kind)];

const VALUE: Message = &[("stringValue", 1, Kind::Text), ("intValue", 3, Kind::Varint)];
const ATTRIBUTE: Message = &[("key", 1, Kind::Text), ("value", 2, Kind::One(VALUE))];
const RESOURCE: Message = &[("attributes", 1, Kind::Many(ATTRIBUTE))];
const SCOPE: Message = &[("name", 1, Kind::Text)];

const LINE: Message = &[
    ("timeUnixNano", 1, Kind::Fixed64),
    ("severityNumber", 2, Kind::Varint),
    ("severityText", 3, Kind::Text),
    ("body", 5, Kind::One(VALUE)),
    ("attributes", 6, Kind::Many(ATTRIBUTE)),
    ("traceId", 9, Kind::Id),
    ("spanId", 10, Kind::Id),
    ("observedTimeUnixNano", 11, Kind::Fixed64),
];
const LOGS: Message = &[(
    "resourceLogs",
    1,
    Kind::Many(&[
        ("resource", 1, Kind::One(RESOURCE)),
        ("scopeLogs", 2, Kind::Many(&[("scope", 1, Kind::One(SCOPE)), ("logRecords", 2, Kind::Many(LINE))])),
    ]),
)];

const SPAN: Message = &[
    ("traceId", 1, Kind::Id),
    ("spanId", 2, Kind::Id),
    ("parentSpanId", 4, Kind::Id),
    ("name", 5, Kind::Text),
    ("kind", 6, Kind::Varint),
    ("startTimeUnixNano", 7, Kind::Fixed64),
    ("endTimeUnixNano", 8, Kind::Fixed64),
    ("attributes", 9, Kind::Many(ATTRIBUTE)),
    ("status", 15, Kind::One(&[("code", 3, Kind::Varint)])),
];
const SPANS: Message = &[(
    "resourceSpans",
    1,
    Kind::Many(&[
        ("resource", 1, Kind::One(RESOURCE)),
        ("scopeSpans", 2, Kind::Many(&[("scope", 1, Kind::One(SCOPE)), ("spans", 2, Kind::Many(SPAN))])),
    ]),
)];

const NUMBER: Message = &[
    ("timeUnixNano", 3, Kind::Fixed64),
    ("asDouble", 4, Kind::Double),
    ("attributes", 7, Kind::Many(ATTRIBUTE)),
    ("flags", 8, Kind::Varint),
];
const BOUNDS: Message = &[
    ("timeUnixNano", 3, Kind::Fixed64),
    ("count", 4, Kind::Fixed64),
    ("sum", 5, Kind::Double),
    ("bucketCounts", 6, Kind::Fixed64s),
    ("explicitBounds", 7, Kind::Doubles),
    ("attributes", 9, Kind::Many(ATTRIBUTE)),
    ("flags", 10, Kind::Varint),
];
const BUCKETS: Message = &[("offset", 1, Kind::Zigzag), ("bucketCounts", 2, Kind::Varints)];
const EXPONENTIAL: Message = &[
    ("attributes", 1, Kind::Many(ATTRIBUTE)),
    ("timeUnixNano", 3, Kind::Fixed64),
    ("count", 4, Kind::Fixed64),
    ("sum", 5, Kind::Double),
    ("scale", 6, Kind::Zigzag),
    ("zeroCount", 7, Kind::Fixed64),
    ("positive", 8, Kind::One(BUCKETS)),
    ("negative", 9, Kind::One(BUCKETS)),
    ("flags", 10, Kind::Varint),
    ("zeroThreshold", 14, Kind::Double),
];
const METRIC: Message = &[
    ("name", 1, Kind::Text),
    ("gauge", 5, Kind::One(&[("dataPoints", 1, Kind::Many(NUMBER))])),
    (
        "sum",
        7,
        Kind::One(&[
            ("dataPoints", 1, Kind::Many(NUMBER)),
            ("aggregationTemporality", 2, Kind::Varint),
            ("isMonotonic", 3, Kind::Bool),
        ]),
    ),
    (
        "histogram",
        9,
        Kind::One(&[("dataPoints", 1, Kind::Many(BOUNDS)), ("aggregationTemporality", 2, Kind::Varint)]),
    ),
    (
        "exponentialHistogram",
        10,
        Kind::One(&[("dataPoints", 1, Kind::Many(EXPONENTIAL)), ("aggregationTemporality", 2, Kind::Varint)]),
    ),
];
const METRICS: Message = &[(
    "resourceMetrics",
    1,
    Kind::Many(&[
        ("resource", 1, Kind::One(RESOURCE)),
        (
            "scopeMetrics",
            2,
            Kind::Many(&[("scope", 1, Kind::One(SCOPE)), ("metrics", 2, Kind::Many(METRIC))]),
        ),
    ]),
)];

/// The body of a request to `/v1/logs`, `/v1/traces` or `/v1/metrics`, from its JSON.
pub(super) fn encode(body: &Value) -> Vec<u8> {
    let mut writer = Writer::default();
    for message in [LOGS, SPANS, METRICS] {
        write(&mut writer, message, body);
    }
    writer.finish()
}

fn write(writer: &mut Writer, message: Message, value: &Value) {
    for (name, number, kind) in message {
        if let Some(value) = value.get(name) {
            field(writer, *number, *kind, value);
        }
    }
}

fn field(writer: &mut Writer, number: u64, kind: Kind, value: &Value) {
    match kind {
        Kind::Text => writer.text_or_empty(number, value.as_str().unwrap_or("")),
        Kind::Id => {
            let text = value.as_str().unwrap_or("");
            if let Some(id) = TraceId::parse(text) {
                writer.blob(number, &id.bytes());
            } else if let Some(id) = SpanId::parse(text) {
                writer.blob(number, &id.bytes());
            }
        }
        Kind::Varint | Kind::Bool => writer.uint(number, whole(value)),
        Kind::Fixed64 => writer.fixed64(number, whole(value)),
        Kind::Double => writer.double(number, double(value)),
        Kind::Zigzag => writer.sint(number, value.as_i64().unwrap_or(0)),
        Kind::Fixed64s => writer.packed_fixed64(number, &numbers(value, whole)),
        Kind::Doubles => writer.packed_doubles(number, &numbers(value, double)),
        Kind::Varints => writer.packed_uints(number, &numbers(value, whole)),
        Kind::One(message) => writer.message(number, |inner| write(inner, message, value)),
        Kind::Many(message) => {
            for value in value.as_array().into_iter().flatten() {
                writer.message(number, |inner| write(inner, message, value));
            }
        }
    }
}

fn numbers<T>(value: &Value, of: fn(&Value) -> T) -> Vec<T> {
    value.as_array().into_iter().flatten().map(of).collect()
}

/// A whole number of 64 bits: text in JSON; of a truth 1 or 0.
fn whole(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.parse().unwrap_or(0),
        Value::Bool(yes) => u64::from(*yes),
        value => value.as_u64().unwrap_or(0),
    }
}

fn double(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().unwrap_or(f64::NAN),
        value => value.as_f64().unwrap_or(0.0),
    }
}
