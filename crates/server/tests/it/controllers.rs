//! Controllers beside a region's node, as real processes.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dwcp_api::controllers::{
    ControllersRead, ControllersRequest, ControllersScale, ControllersScaleRequest, RegionControllers,
};
use dwcp_mesh::{AgentEvent, AgentLink, AgentLinkConfig, AgentLinkHandle, Ca, Identity, Peer, PeerId};
use dwcp_roles::node::{Asked, CreateVm, Decisions, Node, ReplicaView, Reply, Request};
use dwcp_roles::protocol::{AgentMessage, ControllerMessage, Hello, Renew, renewal_seq};
use dwcp_state::Vm;
use dwcp_types::{Amount, decode, encode};
use tokio::sync::mpsc;

use crate::http_node::{REGION as SERVED, Served};
use crate::regions::Regions;

const HOST: &str = "h1";
const REGION: &str = "us-east-1";
const DAY: Duration = Duration::from_secs(86_400);

/// A process that ends with its test.
struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host of the first region: its agent's link, without VMs.
async fn host(regions: &Regions) -> AgentLinkHandle {
    let config = &regions.config(1);
    let pki = regions.pki();
    let identity = Identity::load(&pki, HOST).expect("the host's certificate");
    let address = config.listen.mesh.parse().expect("an address");
    let server = Peer { node: 1, region: REGION.to_owned(), address };
    let (events, mut heard) = mpsc::channel(256);
    let agent = AgentLink::start(AgentLinkConfig::new(identity, vec![server], 5), events).expect("an agent");
    let hello = Hello {
        host: HOST.into(),
        region: REGION.into(),
        zone: "a".into(),
        vcpus: 64,
        memory_mib: 65_536,
        disk_gib: 1_000,
        incarnation: 1,
        ..Hello::default()
    };
    let door = agent.clone();
    tokio::spawn(async move {
        let mut count = 0;
        let mut acted = (0, 0);
        loop {
            match tokio::time::timeout(Duration::from_millis(400), heard.recv()).await {
                Ok(None) => return,
                Ok(Some(AgentEvent::Up { .. })) => {
                    door.send(encode(&AgentMessage::Hello(hello.clone())));
                }
                Ok(Some(AgentEvent::Frame { bytes })) => {
                    if let Ok(ControllerMessage::Intents(intents)) = decode(&bytes) {
                        acted = (intents.term, intents.revision);
                    }
                }
                Ok(Some(_)) => {}
                Err(_) => {
                    count += 1;
                    let (term, revision) = acted;
                    let seq = renewal_seq(1, count);
                    door.send(encode(&AgentMessage::Renew(Renew {
                        seq,
                        term,
                        revision,
                        ..Renew::default()
                    })));
                }
            }
        }
    });
    agent
}

fn controller(regions: &Regions, slot: u8) -> Controller {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dwcpd"));
    command.arg("controller").arg("--pki").arg(regions.pki()).args(["--name", HOST, "--node", "1"]);
    command.args([
        "--mesh",
        &regions.config(1).listen.mesh,
        "--slot",
        &slot.to_string(),
        "--until-stdin-ends",
    ]);
    Controller(command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("dwcpd controller"))
}

async fn replicas(regions: &Regions) -> Vec<ReplicaView> {
    regions.region(1).node.look(|view| view.node.replicas()).await.expect("the node runs")
}

async fn decisions(regions: &Regions) -> Decisions {
    regions.region(1).node.look(|view| view.node.decisions().clone()).await.expect("the node runs")
}

async fn until_ready(regions: &Regions, count: usize) -> Vec<ReplicaView> {
    let began = Instant::now();
    loop {
        let all = replicas(regions).await;
        if all.len() == count && all.iter().all(|replica| replica.ready) {
            return all;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{count} are not ready: {all:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Creates a VM whose rules make the decision a long one.
async fn create(regions: &Regions, name: String) {
    let mut template = Vm { name, ..Vm::default() };
    template.spec.size = Amount { vcpus: 1, memory_mib: 64, disk_gib: 1 };
    template.rules.hosts = [HOST.into()].into();
    let asked = Asked { by: "test".into(), ..Asked::default() };
    let create = Box::new(CreateVm { template, ..CreateVm::default() });
    match regions.region(1).node.ask(Request::CreateVm(asked, create)).await {
        Reply::Placed { created: Some(_), placement: Some(place), .. } => {
            assert_eq!(place.host.as_str(), HOST)
        }
        other => panic!("{other:?}"),
    }
}

async fn scale(regions: &Regions, count: u64) {
    let asked = Asked { by: "test".into(), ..Asked::default() };
    let reply = regions.region(1).node.ask(Request::SetControllers(asked, REGION.into(), count)).await;
    assert!(matches!(reply, Reply::Done(0, _)), "{reply:?}");
}

fn healthy(node: &Node) -> bool {
    let groups = (0..=5).all(|group| node.group(group).is_some_and(|status| status.leader.is_some()));
    groups && node.facts().core.regions.len() == 5
}

fn has_host(node: &Node) -> bool {
    node.facts().regions.get(&REGION.into()).is_some_and(|facts| !facts.hosts.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_controllers_share_the_decisions_and_one_that_is_killed_is_not_waited_for() {
    let mut regions = Regions::new("controllers", 5);
    let ca = Ca::load(&regions.pki()).expect("the authority");
    let peer = PeerId::Host { region: REGION.to_owned(), host: HOST.to_owned() };
    ca.issue(&peer, &[], DAY).expect("issued").store(&regions.pki(), HOST).expect("stored");
    regions.start_all().await;
    regions.until("the federation is founded", healthy).await;
    let agent = host(&regions).await;
    regions.until("the host is known", has_host).await;

    let first = controller(&regions, 0);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(replicas(&regions).await.is_empty(), "nobody has asked for one");
    drop(first);
    scale(&regions, 3).await;
    let (mut first, second) = (controller(&regions, 0), controller(&regions, 1));
    let ready = until_ready(&regions, 2).await;
    assert_eq!(ready.iter().map(|replica| replica.pid).collect::<Vec<_>>(), [first.0.id(), second.0.id()]);

    for number in 0..10 {
        create(&regions, format!("vm-{number}")).await;
    }
    let counted = decisions(&regions).await;
    assert_eq!((counted.by_replicas, counted.late, counted.not_held), (10, 0, 0), "{counted:?}");
    assert!(replicas(&regions).await.iter().all(|replica| replica.decided >= 4), "they share them");

    first.0.kill().expect("killed");
    let began = Instant::now();
    for number in 10..20 {
        create(&regions, format!("vm-{number}")).await;
    }
    assert!(began.elapsed() < Duration::from_secs(8), "each waits for the one that was killed");
    let left = until_ready(&regions, 1).await;
    assert_eq!(left[0].pid, second.0.id());
    let made = |node: &Node| node.facts().vms().count() == 20;
    regions.until("every VM is there once", made).await;

    scale(&regions, 1).await;
    until_ready(&regions, 0).await;
    let mut second = second;
    let began = Instant::now();
    while second.0.try_wait().expect("a child").is_none() {
        assert!(began.elapsed() < Duration::from_secs(10), "a controller that is let go of ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    agent.shutdown().await;
    regions.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_ends_with_whoever_started_it() {
    let regions = Regions::new("controller-ends", 6);
    let ca = Ca::load(&regions.pki()).expect("the authority");
    let peer = PeerId::Host { region: REGION.to_owned(), host: HOST.to_owned() };
    ca.issue(&peer, &[], DAY).expect("issued").store(&regions.pki(), HOST).expect("stored");
    let mut controller = controller(&regions, 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(controller.0.try_wait().expect("a child").is_none(), "it waits for its node");
    drop(controller.0.stdin.take());
    let began = Instant::now();
    while controller.0.try_wait().expect("a child").is_none() {
        assert!(began.elapsed() < Duration::from_secs(10), "it goes on alone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn controllers(served: &Served) -> RegionControllers {
    let answer = served.call::<ControllersRead>(&ControllersRequest::default()).expect("controllers");
    answer.regions.into_iter().next().expect("a region")
}

#[test]
fn a_region_is_scaled_within_what_its_hosts_run_and_what_is_refused_changes_nothing() {
    let served = Served::start("scaled");
    let began = Instant::now();
    while controllers(&served).most != Some(5) {
        assert!(began.elapsed() < Duration::from_secs(20), "its host runs four: {:?}", controllers(&served));
        std::thread::sleep(Duration::from_millis(50));
    }
    let scale = |component: &str, region: Option<&str>, count, change| {
        let (component, region) = (component.to_owned(), region.map(str::to_owned));
        let request = ControllersScaleRequest { component, region, count, change, ..Default::default() };
        served.call::<ControllersScale>(&request)
    };
    let refused = [
        (scale("state-manager", None, Some(3), None), 409),
        (scale("router", None, Some(3), None), 409),
        (scale("database", None, Some(3), None), 400),
        (scale("controller", None, None, None), 400),
        (scale("controller", Some("mars"), Some(3), None), 404),
        (scale("controller", Some(SERVED), Some(0), None), 409),
        (scale("controller", None, None, Some(-1)), 409),
        (scale("controller", Some(SERVED), Some(6), None), 409),
        (scale("controller", None, Some(u64::MAX), None), 409),
    ];
    for (at, (answer, status)) in refused.into_iter().enumerate() {
        let problem = answer.expect_err("refused");
        assert_eq!(problem.status, status, "case {at}: {problem:?}");
    }
    assert_eq!((controllers(&served).wanted, controllers(&served).up), (1, Some(1)));
    let dry = ControllersScaleRequest {
        component: "controller".to_owned(),
        change: Some(2),
        dry_run: true,
        ..Default::default()
    };
    let would = served.call::<ControllersScale>(&dry).expect("a plan");
    assert_eq!((would.regions[0].before, would.regions[0].after), (1, 3));
    assert_eq!(controllers(&served).wanted, 1);

    let scaled = scale("controller", None, None, Some(2)).expect("scaled");
    assert_eq!((scaled.regions[0].before, scaled.regions[0].after), (1, 3));
    assert!(scaled.left_out.is_empty());
    let now = controllers(&served);
    assert_eq!((now.wanted, now.up, now.replicas.len()), (3, Some(1), 0), "nobody has started one here");
    assert_eq!(scale("controller", Some(SERVED), Some(1), None).expect("scaled").regions[0].before, 3);
    assert_eq!(controllers(&served).wanted, 1);
}
