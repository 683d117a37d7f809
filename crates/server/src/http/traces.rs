//! Spans of every region, as one trace.

use dwcp_api::Problem;
use dwcp_api::trace::{Trace, TraceRead, TraceRequest, TraceSpan};
use dwcp_telemetry::logs::{Page, Record, Span, trace_of};
use dwcp_telemetry::otlp;
use dwcp_types::{Code, Refusal};

use super::call::{Call, bad_value};
use super::metrics::{blocking, federated};
use super::routes::Serve;
use crate::telemetry::traces;

/// Longest id that is asked for, bytes.
const LONGEST_ID: usize = 128;

impl Serve for TraceRead {
    async fn answer(call: &Call, request: TraceRequest) -> Result<Trace, Problem> {
        if request.id.len() > LONGEST_ID || request.id.is_empty() {
            return Err(bad_value("id", format!("1 to {LONGEST_ID} bytes")));
        }
        let trace = trace_of(&request.id);
        let federated = federated(&call.api).await?;
        blocking(move || {
            let (pages, mut warnings) = federated.spans(trace).map_err(|why| {
                Problem::from(&Refusal::new(Code::NotReady, "the traces can't be read").because(why))
            })?;
            let missing = federated.missing();
            warnings.extend(missing.iter().map(|(region, why)| format!("{region}: {why}")));
            let page = Page::merged(pages, &traces::query(trace));
            warnings.extend(page.faults.iter().map(ToString::to_string));
            warnings.sort();
            warnings.dedup();
            Ok(Trace {
                trace_id: trace.to_string(),
                spans: page.records.iter().filter_map(span).collect(),
                truncated: page.truncated || page.next.is_some(),
                warnings,
                missing: missing.into_keys().collect(),
                otlp: otlp::spans(&page.records).json().clone(),
            })
        })
        .await
    }
}

fn span(record: &Record) -> Option<TraceSpan> {
    let span = Span::of(record)?;
    Some(TraceSpan {
        span_id: span.id.to_string(),
        parent_id: span.parent.map(|parent| parent.to_string()),
        name: span.name,
        region: record.region().to_owned(),
        component: span.component.to_string(),
        start_us: span.start_us,
        duration_us: span.duration_us,
        failed: span.failed,
        request_id: Some(span.request_id).filter(|id| !id.is_empty()),
        fields: span.fields.into_iter().collect(),
    })
}
