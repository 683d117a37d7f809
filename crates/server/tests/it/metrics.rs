//! Metrics: what a process shows, what is kept of it, and what all regions together answer.

use std::time::{Duration, Instant};

use dwcp_api::metrics::{MetricsExport, MetricsExportRequest, MetricsQuery, MetricsQueryRequest};
use dwcp_server::telemetry::regions::{Federated, Others};
use dwcp_telemetry::model::{Labels, Matcher, NAME, Select, Source, Value};
use dwcp_telemetry::store::{Row, SeriesRef};
use tokio::runtime::Handle;

use crate::http_node::{ADMIN, REGION, Served, VIEWER};
use crate::regions::Regions;
use crate::scratch::Scratch;

fn asked(served: &Served, expression: &str) -> Option<f64> {
    let request = MetricsQueryRequest { expression: expression.to_owned(), ..Default::default() };
    let answer = served.call::<MetricsQuery>(&request).expect("an answer");
    assert_eq!((answer.missing, answer.regions), (vec![], vec![REGION.to_owned()]));
    answer.rows.first()?.points.first()?.value.parse().ok()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_process_shows_what_it_measures_keeps_it_and_answers_queries() {
    let scratch = Scratch::new("metrics");
    let served = Served::start_measuring("metrics", &scratch.path().join("metrics"));
    assert_eq!(served.send("GET", "/metrics", &[], b"").status, 401, "not for everybody");
    let shown = served.get("/metrics", VIEWER);
    assert_eq!(shown.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = || String::from_utf8(served.get("/metrics", VIEWER).body).expect("text");
    // What was gathered just before is shown for half a second.
    let up = format!("dwcp_federation_host_up{{host=\"h1\",region=\"{REGION}\"}} 1");
    until("its host is shown", || text().contains(&up));
    let text = text();
    assert!(text.contains("# TYPE dwcp_api_request_duration_seconds histogram"), "{text}");

    until("it is kept", || asked(&served, "up").is_some());
    let hosts = format!("sum(dwcp_federation_host_up{{region=\"{REGION}\"}})");
    until("the host is there", || asked(&served, &hosts) == Some(1.0));
    let answered = || asked(&served, "histogram_quantile(0.5, dwcp_api_request_duration_seconds)");
    until("requests were answered and that is kept", || answered().is_some_and(f64::is_finite));

    let bad = MetricsQueryRequest { expression: "sum(up".to_owned(), ..Default::default() };
    let problem = served.call::<MetricsQuery>(&bad).expect_err("it is none");
    assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("DWCP-R0003", Some("expression")));
    assert!(problem.cause.iter().any(|cause| cause.ends_with('^')), "{problem:?}");
}

#[test]
fn programs_made_for_prometheus_are_answered() {
    let scratch = Scratch::new("prometheus");
    let served = Served::start_measuring("prometheus", &scratch.path().join("metrics"));
    until("it is kept", || asked(&served, "up{job=\"dwcpd\"}").is_some());
    until("the host was asked", || asked(&served, "up{job=\"dwcp-agentd\"}") == Some(0.0));
    let json = |target: &str| {
        let answer = served.get(target, ADMIN);
        (answer.status, answer.json())
    };
    let (status, found) = json("/api/v1/query?query=up%7Bjob=%22dwcpd%22%7D%2B1");
    assert_eq!((status, &found["status"]), (200, &"success".into()));
    assert_eq!(found["data"]["result"][0]["value"][1], "2");
    let (_, found) = json("/api/v1/query_range?query=up&start=0&end=1&step=1");
    assert_eq!(found["data"]["resultType"], "matrix");
    let form = [("authorization", &*format!("Bearer {ADMIN}"))];
    let found = served.send("POST", "/api/v1/series", &form, b"match[]=up").json();
    let jobs =
        found["data"].as_array().map(|all| all.iter().map(|one| one["job"].clone()).collect::<Vec<_>>());
    assert_eq!(jobs, Some(vec!["dwcp-agentd".into(), "dwcpd".into()]));
    let (_, found) = json("/api/v1/label/__name__/values");
    assert!(found["data"].as_array().is_some_and(|all| all.contains(&"up".into())), "{found}");
    let (_, found) = json("/api/v1/labels?match[]=up");
    assert_eq!(found["data"], serde_json::json!(["__name__", "host", "instance", "job", "region"]));
    let (_, found) = json("/api/v1/targets");
    let health = |job: &str| {
        let all = found["data"]["activeTargets"].as_array().expect("targets");
        all.iter().find(|target| target["labels"]["job"] == job).map(|target| target["health"].clone())
    };
    assert_eq!((health("dwcpd"), health("dwcp-agentd")), (Some("up".into()), Some("down".into())));
    let (_, found) = json("/metrics/targets");
    assert_eq!(found[1]["labels"]["__metrics_path__"], "/metrics/hosts/h1");
    let (status, found) = json("/metrics/hosts/h1");
    assert_eq!(status, 503, "nobody is linked: {found}");
    assert_eq!((json("/metrics/hosts/h9").0, json("/metrics/nothing").0), (404, 404));
    let (_, found) = json("/api/v1/metadata");
    assert_eq!(found["data"]["dwcp_federation_host_up"][0]["type"], "gauge");
    let (_, found) = json("/api/v1/format_query?query=sum(up)by(job)");
    assert_eq!(found["data"], "sum by (job) (up)");
    for (target, status, kind) in [
        ("/api/v1/query?query=sum(", 400, "bad_data"),
        ("/api/v1/query", 400, "bad_data"),
        ("/api/v1/query_range?query=up&start=0&end=9999999&step=1", 400, "bad_data"),
        ("/api/v1/series", 400, "bad_data"),
        ("/api/v1/nothing", 404, "not_found"),
    ] {
        let (found, body) = json(target);
        assert_eq!((found, &body["errorType"]), (status, &kind.into()), "{target}: {body}");
    }
}

#[test]
fn figures_a_day_have_only_days_that_are_known() {
    let scratch = Scratch::new("export");
    let served = Served::start_measuring("export", &scratch.path().join("metrics"));
    until("it is kept", || asked(&served, "dwcp_federation_active_vms").is_some());
    let request = |metrics: &str| MetricsExportRequest {
        metrics: metrics.to_owned(),
        range_ms: 90 * 86_400_000,
        region: None,
    };
    until("a step has it", || {
        let found =
            served.call::<MetricsExport>(&request("vm_count,dwcp_federation_host_up")).expect("figures");
        assert!(found.days.len() <= 2 && found.days.iter().all(|day| day.day >= 89), "{found:?}");
        found.days.last().is_some_and(|day| day.values == [Some(0.0), Some(1.0)])
    });
    assert_eq!(served.call::<MetricsExport>(&request("no such")).expect_err("no figure").code, "DWCP-R0003");
}

/// What the regions that are asked have of a metric: of which region, and its value.
async fn of_all(regions: &Regions, others: Others) -> (Vec<(String, f64)>, Vec<String>) {
    let measured = regions.region(1).measured.clone();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let federated = Federated::new(measured, others, runtime);
        let matchers = vec![Matcher::regex(NAME, "test_.*", false).expect("a pattern")];
        let wanted = Select { matchers, start_ms: 0, end_ms: i64::MAX, step_ms: 0, max_samples: 1_000 };
        let found = federated.select(&wanted).expect("selected");
        let values = federated.label_values("region", &wanted.matchers, (0, i64::MAX)).expect("values");
        let rows: Vec<(String, f64)> = found
            .series
            .iter()
            .map(|series| {
                let Value::Float(value) = series.samples[0].value else { panic!("no number") };
                (series.labels.get("region").to_owned(), value)
            })
            .collect();
        assert_eq!(values.len(), rows.len());
        (rows, federated.missing().into_keys().collect())
    })
    .await
    .expect("asked")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_region_answers_for_itself_and_who_does_not_is_named() {
    let mut regions = Regions::new("measured", 7);
    regions.start_all().await;
    regions.until("all are linked", |node| node.peers().values().all(|peer| peer.beat.is_some())).await;
    let now_ms = i64::try_from(dwcp_server::clock::wall().0).expect("a time");
    let mut others: Others = Vec::new();
    for number in 1..=5u64 {
        let region = regions.config(number as usize).region.clone();
        let measured = regions.region(number as usize).measured.clone();
        let series = SeriesRef::new(Labels::new([(NAME, "test_number"), ("region", &region)]));
        let row = Row { series: &series, at_ms: now_ms, value: Value::Float(number as f64) };
        measured.store().expect("a store").append(&[row], now_ms).expect("kept");
        others.push((number, region, true));
    }
    let (mut found, missing) = of_all(&regions, others.clone()).await;
    found.sort_by(|a, b| a.1.total_cmp(&b.1));
    assert_eq!(found.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0, 5.0]);
    assert!(missing.is_empty(), "{missing:?}");
    regions.stop(3).await;
    others[2].2 = false;
    let (found, missing) = of_all(&regions, others.clone()).await;
    assert_eq!((found.len(), missing), (4, vec![others[2].1.clone()]));
    regions.stop(1).await;
}
