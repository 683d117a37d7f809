//! `metrics.engine: prometheus`: another program keeps the metrics and answers for them.

use std::sync::Arc;

use dwcp_api::metrics::{MetricsExport, MetricsExportRequest, MetricsQuery, MetricsQueryRequest};
use dwcp_config::region::Remote;
use dwcp_server::log::Log;
use dwcp_server::telemetry::prometheus::Prometheus as Asked;
use dwcp_server::telemetry::regions::Regions;
use dwcp_server::telemetry::sender::Receiver;

use crate::http_node::{ADMIN, Served};
use crate::prometheus_process::{Prometheus, installed};
use crate::scratch::Scratch;

fn asking(url: String, receivers: Vec<Arc<Receiver>>) -> Regions {
    let asked = Asked::new(&Remote { url, ..Remote::default() }).expect("settings");
    Regions::new(1, None, None).with_receivers(Arc::new(receivers)).asking(Some(Arc::new(asked)))
}

#[test]
fn one_that_does_not_answer_is_named() {
    // Nobody listens on a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let served =
        Served::start_with("silent", Some(asking(format!("http://{free}"), vec![])), Log::silent("us"));
    let answer = served.get("/api/v1/query?query=up", ADMIN);
    let json = answer.json();
    assert_eq!((answer.status, &json["errorType"]), (503, &"unavailable".into()), "{json}");
    assert!(json["error"].as_str().is_some_and(|why| why.contains(&free.to_string())), "{json}");
    let request = MetricsQueryRequest { expression: "up".to_owned(), ..Default::default() };
    let problem = served.call::<MetricsQuery>(&request).expect_err("nobody answers");
    assert!(problem.cause.iter().any(|cause| cause.contains(&free.to_string())), "{problem:?}");
    // What this process knows by itself is shown all the same, and nothing is written into a store that is not there.
    assert_eq!(served.get("/metrics", ADMIN).status, 200);
    let bearer = format!("Bearer {ADMIN}");
    let written = served.send("POST", "/api/v1/write", &[("authorization", &bearer)], b"");
    assert!(written.problem().cause[0].contains("metrics.engine"));
}

#[test]
fn a_real_prometheus_gets_what_is_measured_and_answers_for_it() {
    if !installed() {
        return;
    }
    let scratch = Scratch::new("elsewhere");
    let prometheus = Prometheus::start("elsewhere", "global: {scrape_interval: 1h}\n");
    let url = format!("http://{}", prometheus.address);
    let remote = Remote { url: format!("{url}/api/v1/write"), ..Remote::default() };
    let receiver = Receiver::new(&remote, scratch.path(), false).expect("a receiver");
    let served =
        Served::start_with("elsewhere", Some(asking(url, vec![Arc::new(receiver)])), Log::silent("us"));
    prometheus.rows("dwcp_federation_host_up");
    prometheus.rows("histogram_count(dwcp_api_request_duration_seconds) > 1");

    let asked = |expression: &str, range_ms: Option<u64>, step_ms: Option<u64>| {
        let request =
            MetricsQueryRequest { expression: expression.to_owned(), range_ms, step_ms, at_ms: None };
        served.call::<MetricsQuery>(&request)
    };
    let first = |expression: &str, range_ms| {
        let answer = asked(expression, range_ms, None).expect("an answer");
        answer.rows.first().and_then(|row| row.points.first()?.value.parse::<f64>().ok())
    };
    assert_eq!(first("sum(dwcp_federation_host_up)", None), Some(1.0));
    assert!(
        first("histogram_quantile(0.99, dwcp_api_request_duration_seconds)", None)
            .is_some_and(f64::is_finite)
    );
    assert!(
        first("histogram_quantile(0.99, dwcp_api_request_duration_seconds)", Some(60_000))
            .is_some_and(f64::is_finite)
    );
    let globs = asked("sum(dwcp_federation_host_*)", None, None).expect("an answer");
    assert_eq!(globs.rows[0].labels["__name__"], "dwcp_federation_host_up");
    let matrix = asked("up", Some(60_000), Some(1_000)).expect("an answer");
    assert!(matrix.kind == "matrix" && !matrix.rows[0].points.is_empty());
    let refused = asked("sum(up", None, None).expect_err("it is none");
    assert_eq!(refused.field.as_deref(), Some("expression"));
    let export = MetricsExportRequest { metrics: "vm_count".to_owned(), range_ms: 86_400_000, region: None };
    assert!(served.call::<MetricsExport>(&export).expect("figures").days.len() <= 1);

    let json = |target: &str| served.get(target, ADMIN).json();
    assert_eq!(
        json("/api/v1/query?query=sum(dwcp_federation_host_up)")["data"]["result"][0]["value"][1],
        "1"
    );
    let names = json("/api/v1/label/__name__/values?match[]=up");
    assert_eq!(names["data"], serde_json::json!(["up"]));
    let series = json("/api/v1/series?match[]=up%7Bjob%3D%22dwcpd%22%7D");
    assert_eq!(series["data"][0]["job"], "dwcpd");
    assert_eq!(json("/api/v1/query?query=sum(")["errorType"], "bad_data");
    assert_eq!(json("/api/v1/admin/tsdb/snapshot")["errorType"], "not_found", "nothing else is passed on");
}
