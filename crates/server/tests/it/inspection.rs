//! Processes and hosts that tell of themselves: over the API, and between regions.

use std::time::{Duration, Instant};

use dwcp_api::inspection::{InspectRequest, ProcessList, ProcessListRequest, RegionInspect};
use dwcp_api::preflight::{Check, CheckVerdict};
use dwcp_roles::node::SelfAsk;
use dwcp_roles::protocol::Endpoint;

use crate::http_node::{AGENT_PID, HOST, REGION, Served};
use crate::regions::Regions;

fn of<'a>(checks: &'a [Check], subject: &str, check: &str) -> &'a Check {
    let is = |of: &&Check| of.subject.as_deref() == Some(subject) && of.check == check;
    checks.iter().find(is).unwrap_or_else(|| panic!("{subject} {check}: {checks:#?}"))
}

#[test]
fn a_region_is_looked_at_through_its_node_and_its_hosts() {
    let served = Served::start("inspection");
    let request = InspectRequest { region: REGION.to_owned() };
    let found = served.call::<RegionInspect>(&request).expect("looked at");
    let node = of(&found.checks, REGION, "node");
    assert_eq!(node.verdict, CheckVerdict::Ok);
    assert!(node.measured.contains(&format!("process {}", std::process::id())), "{}", node.measured);
    assert_eq!(of(&found.checks, REGION, "clock").verdict, CheckVerdict::Ok);
    assert_eq!(of(&found.checks, HOST, "agent").verdict, CheckVerdict::Ok);
    assert_eq!(of(&found.checks, HOST, "fsync").verdict, CheckVerdict::Ok);
    assert!(of(&found.checks, HOST, "process dwcp-agentd").measured.starts_with("10 of 1024"));
    assert_eq!(of(&found.checks, HOST, "VM processes").measured, "0 of 0 run");
    let refused = served.call::<RegionInspect>(&InspectRequest { region: "mars".to_owned() });
    assert_eq!(refused.expect_err("no region").code, "DWCP-R0010");
}

#[test]
fn processes_of_a_component_tell_what_they_use() {
    let served = Served::start("processes");
    let ask = |component: &str, region: Option<&str>| {
        let region = region.map(str::to_owned);
        let request = ProcessListRequest { component: component.to_owned(), region, window_ms: Some(150) };
        served.call::<ProcessList>(&request)
    };
    let node = ask("controller", None).expect("asked").processes;
    assert_eq!(node.len(), 1);
    assert_eq!((node[0].process.as_str(), node[0].pid), ("dwcpd", Some(std::process::id())));
    assert!(
        node[0].window_ms >= 150 && node[0].threads > Some(1) && node[0].memory_mib > Some(1.0),
        "{node:?}"
    );
    let agent = ask("agent", Some(REGION)).expect("asked").processes;
    assert_eq!((agent[0].pid, agent[0].cpu_percent), (Some(AGENT_PID), Some(12.34)));
    assert_eq!(agent[0].host.as_deref(), Some(HOST));
    assert_eq!((agent[0].memory_mib, agent[0].threads), (None, None), "not known is not 0");
    assert!(ask("router", None).expect("nobody").processes.is_empty(), "none is heard");
    assert_eq!(ask("database", None).expect_err("there is none").code, "DWCP-R0003");
    assert_eq!(ask("agent", Some("mars")).expect_err("no region").code, "DWCP-R0010");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_is_asked_from_another_region_and_one_that_is_gone_does_not_answer() {
    let mut regions = Regions::new("inspect", 6);
    for number in 1..=3 {
        regions.start(number).await;
    }
    let ask = SelfAsk { window_ms: 100, measure: true, ..SelfAsk::default() };
    let began = Instant::now();
    let told = loop {
        // The links come up first.
        if let Some(told) = regions.region(2).inspector.ask(1, ask.clone()).await {
            break told;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it does not answer");
    };
    assert_eq!(told.process.pid, std::process::id());
    assert!(
        told.process.window_ms >= 100 && told.store == "embedded" && told.store_bytes > Some(0),
        "{told:?}"
    );
    assert!(told.certificate_left_s > Some(3_600) && told.disk.is_some_and(|disk| disk.count > 0));
    let nowhere =
        Endpoint { region: "x".into(), node: 9, mesh: String::new(), api: "https://127.0.0.1:9".into() };
    let dial = SelfAsk { dial: vec![nowhere], ..SelfAsk::default() };
    let told = regions.region(2).inspector.ask(1, dial).await.expect("it answers");
    assert!(
        told.disk.is_none() && told.dialed[0].rtt_us.is_none() && !told.dialed[0].error.is_empty(),
        "{told:?}"
    );
    regions.stop(1).await;
    let began = Instant::now();
    assert!(regions.region(2).inspector.ask(1, SelfAsk::default()).await.is_none());
    assert!(began.elapsed() < Duration::from_secs(20));
    regions.stop(2).await;
    regions.stop(3).await;
}
