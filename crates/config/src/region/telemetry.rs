//! Where what the server measures and says is handed on to, besides its own stores.

use crate::Fields;

const SECOND_MS: u64 = 1_000;

/// Who else is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// An OpenTelemetry collector; without it, nobody.
    pub otlp: Option<Otlp>,
}

/// An OpenTelemetry collector that takes OTLP over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Otlp {
    /// `https://host:port[/path]`; `/v1/logs`, `/v1/metrics` and `/v1/traces` are put behind it.
    pub endpoint: String,
    /// File with headers of every request, `Name: value` a line: for a token.
    pub headers_file: Option<String>,
    /// PEM file of the authority that the collector's certificate is checked with; the system's without it.
    pub ca: Option<String>,
    /// Hand lines of the log on.
    pub logs: bool,
    /// Hand metrics on.
    pub metrics: bool,
    /// Hand traces on.
    pub traces: bool,
    /// Between two requests of a kind, milliseconds.
    pub interval_ms: u64,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Telemetry {
    Telemetry { otlp: fields.map("otlp", otlp) }
}

fn otlp(fields: &mut Fields<'_>) -> Otlp {
    Otlp {
        endpoint: fields.required("endpoint", |text| check_endpoint(text).map(|()| text.to_owned())),
        headers_file: fields.optional_text("headers_file"),
        ca: fields.optional_text("ca"),
        logs: fields.flag("logs", true),
        metrics: fields.flag("metrics", true),
        traces: fields.flag("traces", true),
        interval_ms: fields.duration_ms("interval", SECOND_MS..=600 * SECOND_MS, 15 * SECOND_MS),
    }
}

fn check_endpoint(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !rest.contains([' ', '?', '#', '@']) => {
            Ok(())
        }
        _ => Err(format!("'{text}' is not an endpoint such as https://collector.example.com:4318")),
    }
}
