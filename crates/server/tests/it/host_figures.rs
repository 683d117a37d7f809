//! What hosts measure and log reaches their region's stores, and a host that is silent is down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dwcp_mesh::{AgentEvent, AgentLink, AgentLinkConfig, Ca, Identity, Peer, PeerId};
use dwcp_roles::protocol::{
    AgentLine, AgentLines, AgentSaid, HostFigures, ServerAsked, VmFigures, is_of_figures,
};
use dwcp_server::log::Log;
use dwcp_server::telemetry::hosts;
use dwcp_telemetry::logs::Query;
use dwcp_telemetry::model::{Matcher, NAME, Select, Source, Value};
use dwcp_telemetry::store::Store;
use dwcp_types::{VmId, decode, encode};
use tokio::sync::mpsc;

use crate::regions::Regions;

const HOST: &str = "h1";
const DAY: Duration = Duration::from_secs(86_400);

/// What an agent was told, and whether it answers.
#[derive(Default)]
struct Agent {
    mute: AtomicBool,
    kept: AtomicU64,
}

/// An agent's link to the first region; it says what it measures and one line.
async fn link(regions: &Regions) -> Arc<Agent> {
    let (config, pki) = (regions.config(1), regions.pki());
    let peer = PeerId::Host { region: config.region.clone(), host: HOST.to_owned() };
    let ca = Ca::load(&pki).expect("authority");
    ca.issue(&peer, &[], DAY).expect("issued").store(&pki, HOST).expect("stored");
    let identity = Identity::load(&pki, HOST).expect("the host's certificate");
    let address = config.listen.mesh.parse().expect("an address");
    let server = Peer { node: 1, region: config.region.clone(), address };
    let (events, mut heard) = mpsc::channel(256);
    let link = AgentLink::start(AgentLinkConfig::new(identity, vec![server], 5), events).expect("an agent");
    let agent = Arc::new(Agent::default());
    let shared = agent.clone();
    tokio::spawn(async move {
        while let Some(event) = heard.recv().await {
            match event {
                AgentEvent::Up { .. } => {
                    link.send(encode(&AgentSaid::Measures));
                    let event = "NEEDLE".to_owned();
                    let line =
                        AgentLine { at_ms: dwcp_server::clock::wall().0, event, ..AgentLine::default() };
                    link.send(encode(&AgentSaid::Lines(AgentLines { through: 1, lines: vec![line] })));
                }
                AgentEvent::Frame { bytes } if is_of_figures(&bytes) => {
                    match decode(&bytes).expect("asked") {
                        ServerAsked::Measure(question) if !shared.mute.load(Ordering::SeqCst) => {
                            let figures = HostFigures {
                                question,
                                wall_ms: dwcp_server::clock::wall().0 + 90_000,
                                cores: 4,
                                network_mbps: Some(1_000),
                                network_basis_points: Some(2_500),
                                vms: vec![VmFigures { vm: VmId(7), ..VmFigures::default() }],
                                ..HostFigures::default()
                            };
                            link.send(encode(&AgentSaid::Figures(Box::new(figures))));
                        }
                        ServerAsked::Measure(_) => {}
                        ServerAsked::Kept(through) => shared.kept.store(through, Ordering::SeqCst),
                    }
                }
                _ => {}
            }
        }
    });
    agent
}

/// The last value of a metric of the host; none: it has none, or has ended.
fn last(store: &Store, name: &str) -> Option<f64> {
    let matchers = vec![Matcher::equal(NAME, name), Matcher::equal("host", HOST)];
    let wanted = Select { matchers, start_ms: 0, end_ms: i64::MAX, step_ms: 0, max_samples: 100_000 };
    let found = store.select(&wanted).expect("selected");
    let sample = found.series.first()?.samples.last()?;
    match sample.value {
        Value::Float(value) if !sample.value.is_stale() => Some(value),
        _ => None,
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hosts_measure_and_log_is_kept_and_a_silent_one_is_down() {
    let mut regions = Regions::new("host-figures", 7);
    regions.start(1).await;
    let region = regions.region(1);
    let (store, hosts) = (region.measured.store().expect("a store").clone(), region.hosts.clone());
    let agent = link(&regions).await;
    let every = Duration::from_millis(200);
    let intake = region.measured.intake().clone();
    tokio::spawn(hosts::keep(hosts.clone(), region.node.clone(), intake, every, Log::silent("us")));

    until("its figures are kept", || last(&store, "dwcp_host_cpus") == Some(4.0)).await;
    until("it is up", || last(&store, "up") == Some(1.0)).await;
    assert!(last(&store, "dwcp_vm_cpu_seconds_total").is_some(), "also those of its VMs");
    let ahead = last(&store, "dwcp_federation_clock_offset_seconds").expect("its clock was compared");
    assert!((80.0..=90.1).contains(&ahead), "{ahead}");
    let own = &regions.config(1).region;
    assert_eq!(hosts.network_utilization(own), Some(25.0));
    assert_eq!(hosts.network_utilization("elsewhere"), None);

    until("its line came", || agent.kept.load(Ordering::SeqCst) == 1).await;
    let kept = || {
        let query = Query { components: vec!["agent".to_owned()], limit: 10, ..Query::default() };
        let page = region.measured.logs().expect("a log").query(&query).expect("searched");
        page.records.iter().any(|record| record.entry.message == "host h1: NEEDLE")
    };
    until("its line is found", kept).await;

    agent.mute.store(true, Ordering::SeqCst);
    until("it is down", || last(&store, "up") == Some(0.0)).await;
    assert_eq!(last(&store, "dwcp_host_cpus"), None, "its series have ended");
    assert_eq!(hosts.network_utilization(own), None);
    let asked = hosts.last();
    let found = asked.get(&(own.clone(), HOST.to_owned())).expect("it was asked");
    assert!(found.error.contains("no answer"), "{found:?}");
    agent.mute.store(false, Ordering::SeqCst);
    until("it is up again", || last(&store, "up") == Some(1.0)).await;
    regions.stop(1).await;
}
