//! Logs of every region, merged by time.

use dwcp_api::Problem;
use dwcp_api::log::{LogLine, LogLines, LogQuery, LogQueryRequest};
use dwcp_telemetry::logs::{Page, Record};
use dwcp_types::{Code, Refusal};

use super::call::{Call, bad_value};
use super::metrics::{blocking, federated};
use super::names;
use super::routes::Serve;
use crate::clock;
use crate::telemetry::logs::query;

impl Serve for LogQuery {
    async fn answer(call: &Call, request: LogQueryRequest) -> Result<LogLines, Problem> {
        let now_ms = clock::wall().0;
        let wanted = query(&request, now_ms).map_err(|(field, why)| bad_value(field, why))?;
        if let Some(region) = request.region.clone() {
            call.find(move |view| names::region(view, &region).map(drop)).await?;
        }
        let federated = federated(&call.api).await?;
        let text = serde_json::to_string(&request).map_err(|e| bad_value("request", e.to_string()))?;
        blocking(move || {
            let (pages, mut warnings) = federated.lines(&wanted, text, now_ms).map_err(|why| {
                Problem::from(&Refusal::new(Code::NotReady, "the logs can't be read").because(why))
            })?;
            let missing = federated.missing();
            warnings.extend(missing.iter().map(|(region, why)| format!("{region}: {why}")));
            Ok(lines(Page::merged(pages, &wanted), warnings, missing.into_keys().collect()))
        })
        .await
    }
}

fn lines(page: Page, mut warnings: Vec<String>, missing: Vec<String>) -> LogLines {
    warnings.extend(page.faults.iter().map(ToString::to_string));
    warnings.sort();
    warnings.dedup();
    LogLines {
        lines: page.records.iter().map(line).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
        follow_cursor: page.follow.map(|cursor| cursor.to_string()),
        truncated: page.truncated,
        warnings,
        missing,
    }
}

fn line(record: &Record) -> LogLine {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let entry = &record.entry;
    LogLine {
        at_ms: entry.at_ms.max(0) as u64,
        region: record.region().to_owned(),
        component: entry.component.to_string(),
        level: entry.level.name().to_owned(),
        text: entry.message.clone(),
        request_id: some(&entry.request_id),
        operation_id: some(&entry.operation_id),
        fields: entry.fields.iter().cloned().collect(),
        cut_bytes: entry.cut_bytes,
    }
}
