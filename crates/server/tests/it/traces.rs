//! Traces: one request, seen in every region and put together.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dwcp_api::trace::{Trace, TraceRead, TraceRequest, TraceSpan};
use dwcp_roles::node::{Asked, Reply, Request};
use dwcp_server::telemetry::regions::{Federated, Others};
use dwcp_server::telemetry::traces::query;
use dwcp_state::Freeze;
use dwcp_telemetry::logs::{Page, Span, trace_of};
use tokio::runtime::Handle;

use crate::http_node::{ADMIN, REGION, Served};
use crate::regions::Regions;
use crate::scratch::Scratch;

const ID: &str = "req_4bf92f3577b34da6a3ce929d0e0e4736";

/// The spans of a request, each with its region, asked at region 1; and who did not answer.
async fn spans(regions: &Regions, others: Others) -> (Vec<(String, Span)>, Vec<String>) {
    let (measured, runtime) = (regions.region(1).measured.clone(), Handle::current());
    let asked = tokio::task::spawn_blocking(move || {
        let federated = Federated::new(measured, others, runtime);
        let (pages, warnings) = federated.spans(trace_of(ID)).expect("an answer");
        assert!(warnings.is_empty(), "{warnings:?}");
        let page = Page::merged(pages, &query(trace_of(ID)));
        let spans = page
            .records
            .iter()
            .map(|record| (record.region().to_owned(), Span::of(record).expect("only spans were asked for")));
        (spans.collect(), federated.missing().into_keys().collect())
    });
    asked.await.expect("asked")
}

/// What was done with the command.
fn named<'a>(found: &'a [(String, Span)], work: &str) -> Vec<&'a (String, Span)> {
    found.iter().filter(|(_, span)| span.name == format!("{work} SetFreeze")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_is_seen_in_every_region_that_applied_it() {
    let mut regions = Regions::new("traced", 8);
    regions.start_all().await;
    regions.until("all are linked", |node| node.peers().values().all(|peer| peer.beat.is_some())).await;
    regions.until("it is founded", |node| !node.facts().core.regions.is_empty()).await;
    let known = |number: u64| (number, regions.config(number as usize).region.clone(), true);
    let mut others: Others = (1..=5).map(known).collect();
    let asked = Asked { by: "admin".into(), request_id: ID.into(), ..Asked::default() };
    let reply = regions.region(2).node.ask(Request::SetFreeze(asked, Freeze::NoMoves)).await;
    assert!(matches!(reply, Reply::Done(..)), "{reply:?}");

    let began = Instant::now();
    let found = loop {
        let (found, missing) = spans(&regions, others.clone()).await;
        assert!(missing.is_empty(), "{missing:?}");
        let regions = named(&found, "apply").into_iter().map(|(region, _)| region.as_str());
        let everywhere = regions.collect::<BTreeSet<&str>>().len() == 5;
        if everywhere && !named(&found, "commit").is_empty() && !named(&found, "propose").is_empty() {
            break found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never complete: {found:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let (proposed, committed, applied) =
        (named(&found, "propose"), named(&found, "commit"), named(&found, "apply"));
    // What was not answered soon was proposed again, and committed twice.
    assert_eq!(1 + committed.len() + applied.len(), found.len(), "{found:?}");
    assert_eq!((proposed.len(), &proposed[0].0), (1, &others[1].1));
    for (_, part) in committed.iter().chain(&applied) {
        assert_eq!((part.trace, part.parent), (trace_of(ID), Some(proposed[0].1.id)));
    }
    // Whoever proposes waits for the commit; the two need not be the same region.
    assert!(proposed[0].1.duration_us >= committed[0].1.duration_us, "{found:?}");

    others[2].2 = false;
    assert_eq!(spans(&regions, others.clone()).await.1, [others[2].1.clone()]);
    regions.stop_all().await;
}

fn shown(served: &Served, id: &str) -> Trace {
    let began = Instant::now();
    loop {
        let trace = served.call::<TraceRead>(&TraceRequest { id: id.to_owned() }).expect("an answer");
        if !trace.spans.is_empty() {
            return trace;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never kept");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_clients_trace_goes_on_here_and_is_found_by_the_answers_request_id() {
    let scratch = Scratch::new("traced-api");
    let served = Served::start_measuring("traced-api", &scratch.path().join("metrics"));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let authorization = format!("Bearer {ADMIN}");
    let headers = [("authorization", authorization.as_str()), ("traceparent", &parent)];
    let answer = served.send("PUT", "/v1/freeze", &headers, b"{\"state\":\"nonsense\"}");
    let id = answer.header("x-request-id").expect("an id").to_owned();
    assert!(id.starts_with(&format!("req_{trace}-")), "{id}");

    let found = shown(&served, &id);
    assert_eq!((found.trace_id.as_str(), found.missing, found.truncated), (trace, vec![], false));
    let span = &found.spans[0];
    assert_eq!((span.parent_id.as_deref(), span.region.as_str()), (Some("b7ad6b7169203331"), REGION));
    assert_eq!(span.request_id.as_deref(), Some(id.as_str()));
    assert_eq!(span.fields["http.response.status_code"], answer.status.to_string());
    let otlp = &found.otlp["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!((otlp["traceId"].as_str(), otlp["spanId"].as_str()), (Some(trace), Some(&*span.span_id)));

    // An id of the client's own leads to a trace of its own, which says where the client's is.
    let headers = [&headers[..], &[("x-request-id", "mine")]].concat();
    served.send("PUT", "/v1/freeze", &headers, b"{}");
    let found = shown(&served, "mine");
    assert_ne!(found.trace_id, trace);
    assert_eq!(found.spans[0].fields["dwcp.caller.traceparent"], parent);

    // Reads that are quick, and whoever may not come in, leave nothing.
    served.send("GET", "/v1/version", &[("x-request-id", "quick")], b"");
    served.send("PUT", "/v1/freeze", &[("x-request-id", "stranger")], b"{}");
    served.send("PUT", "/v1/freeze", &[headers[0], ("x-request-id", "last")], b"{}");
    shown(&served, "last");
    for id in ["quick", "stranger"] {
        let trace = served.call::<TraceRead>(&TraceRequest { id: id.to_owned() }).expect("an answer");
        let slow = |span: &TraceSpan| id == "quick" && span.duration_us >= 500_000;
        assert!(trace.spans.iter().all(slow), "{id}: {trace:?}");
    }
    let problem = served.call::<TraceRead>(&TraceRequest { id: "x".repeat(200) }).expect_err("too long");
    assert_eq!(problem.field.as_deref(), Some("id"));
}
