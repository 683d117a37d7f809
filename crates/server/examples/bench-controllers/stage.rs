//! A region with its node, in a federation whose other regions are facts and beats, and controllers as processes.

use std::path::{Path, PathBuf};
use std::process::{self, Child, Stdio};
use std::time::{Duration, Instant};

use dwcp_config::region::{Listen, Peer as Known, Pki, RegionConfig};
use dwcp_consensus::{Batch, Beginning};
use dwcp_mesh::{AgentEvent, AgentLink, AgentLinkConfig, AgentLinkHandle, Ca, Identity, Peer, PeerId, San};
use dwcp_roles::node::{Asked, Beat, Input, LinkReading, MeshMessage, Reply, Request};
use dwcp_roles::protocol::{AgentMessage, Hello, Renew, renewal_seq};
use dwcp_server::handle::NodeHandle;
use dwcp_server::log::Log;
use dwcp_server::region::{Options, Region};
use dwcp_server::store::Store;
use dwcp_state::{Command, FEDERATION_GROUP, Federation, HostFacts};
use dwcp_types::{NodeId, Revision, VERSION, Wall, encode};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::share::Shares;

#[path = "../../../decide/examples/bench-place/fleet.rs"]
#[allow(dead_code)]
mod fleet;

const HOST: &str = "bench-host";
const DAY: Duration = Duration::from_secs(86_400);
/// Between two beats of each other region.
const BEAT: Duration = Duration::from_millis(250);
/// Controllers are there, and know everything, by then.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// All of it; what runs ends with it.
pub struct Stage {
    pub regions: usize,
    pub hosts: usize,
    folder: PathBuf,
    config: RegionConfig,
    region: Region,
    agent: AgentLinkHandle,
    beats: AbortHandle,
    controllers: Vec<Child>,
    // The last: its groups are empty when it is dropped.
    shares: Shares,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end_controllers();
        self.beats.abort();
        // What is left behind is only a temporary folder.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Stage {
    pub async fn start(regions: usize, hosts: usize, percent: u32) -> Result<Stage, String> {
        let mut shares = Shares::of(percent);
        shares.give(process::id())?;
        let folder = std::env::temp_dir().join(format!("dwcp-bench-controllers-{}", std::process::id()));
        let name = fleet::region_name(0).as_str().to_owned();
        let config = settings(&folder, &name)?;
        let mut facts = fleet::build(regions, hosts, fleet::HOST, 400).0;
        facts.core.name = "bench".to_owned();
        facts.core.revision = Revision(1);
        // Hosts that nobody hears would be lost: the own region has the one whose agent is here.
        facts.close_group(1);
        facts.open_group(1, &fleet::region_name(0));
        let own = HostFacts {
            id: HOST.into(),
            zone: "a".into(),
            capacity: fleet::HOST,
            incarnation: 1,
            ..HostFacts::default()
        };
        fleet::apply(&mut facts, &fleet::region_name(0), Command::RegisterHost(own));
        let mut store = Store::open(&folder.join("data/store")).map_err(|e| e.to_string())?.store;
        store.write(&[beginning(&facts)]).map_err(|e| e.to_string())?;
        let options = Options {
            log: Log::silent(&name),
            state_lost: false,
            recorder: None,
            switch: mpsc::unbounded_channel().0,
            trial: false,
            joins: Box::new(|| Ok(())),
            failed: Box::new(|error| panic!("the store: {error}")),
        };
        let region = Region::start_on(&config, options, store)?;
        let agent = agent(&folder, &config)?;
        let beats = tokio::spawn(beat(region.node.clone(), regions as NodeId)).abort_handle();
        let hosts = hosts * (regions - 1) + 1;
        let stage =
            Stage { regions, hosts, folder, config, region, agent, beats, controllers: Vec::new(), shares };
        let all = regions;
        stage
            .until("the federation is known and heard", move |node| {
                let facts = node.facts();
                let known = facts.regions.len() == all && facts.core.regions.len() == all;
                let own = facts.regions.get(&fleet::region_name(0)).is_some_and(|own| !own.hosts.is_empty());
                let healthy = facts.regions.keys().all(|region| node.region_health(region).score >= Some(60));
                known && own && healthy && node.leads(FEDERATION_GROUP)
            })
            .await?;
        Ok(stage)
    }

    /// What a process gets, for people.
    pub fn share(&self) -> String {
        self.shares.to_string()
    }

    pub fn node(&self) -> NodeHandle {
        self.region.node.clone()
    }

    /// So many controllers beside the node, all of them ready.
    pub async fn scale(&mut self, beside: u8) -> Result<(), String> {
        let asked = Asked { by: "bench".into(), ..Asked::default() };
        let set = Request::SetControllers(asked, fleet::region_name(0), 1 + u64::from(beside));
        match self.region.node.ask(set).await {
            Reply::Done(..) => {}
            other => return Err(format!("{other:?}")),
        }
        for slot in self.controllers.len() as u8..beside {
            let controller = controller(&self.folder, &self.config, slot)?;
            let pid = controller.id();
            self.controllers.push(controller);
            self.shares.give(pid)?;
        }
        let count = usize::from(beside);
        self.until("controllers are ready", move |node| {
            let all = node.replicas();
            all.len() == count && all.iter().all(|replica| replica.ready)
        })
        .await
    }

    async fn until(
        &self,
        what: &str,
        holds: impl Fn(&dwcp_roles::node::Node) -> bool + Clone + Send + 'static,
    ) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let holds = holds.clone();
            match self.region.node.look(move |view| holds(view.node)).await {
                Some(true) => return Ok(()),
                None => return Err("the node has stopped".to_owned()),
                Some(false) if began.elapsed() > READY_WITHIN => {
                    let seen = self.region.node.look(|view| {
                        let regions = view.node.regions().values();
                        let scores: Vec<_> = regions.map(|region| view.node.region_health(region)).collect();
                        let (leads, facts) = (view.node.leads(FEDERATION_GROUP), view.node.facts());
                        let hosts = facts.regions.values().map(|own| own.hosts.len()).collect::<Vec<_>>();
                        format!("leads: {leads}, hosts: {hosts:?}, {scores:?}")
                    });
                    let seen = seen.await.unwrap_or_default();
                    return Err(format!("waited in vain until {what}; {seen}"));
                }
                Some(false) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn end_controllers(&mut self) {
        for mut controller in self.controllers.drain(..) {
            // It may have ended by itself.
            let _ = controller.kill();
            let _ = controller.wait();
        }
    }

    pub async fn stop(mut self) {
        self.end_controllers();
        self.agent.shutdown().await;
        self.region.node.stop();
        self.region.mesh.shutdown().await;
    }
}

/// What the store holds: the facts of every group, that of the federation and the own region's with the only voter here.
fn beginning(facts: &Federation) -> Batch {
    let mut all = Batch::default();
    let groups = std::iter::once(FEDERATION_GROUP).chain(facts.regions.values().map(|region| region.number));
    for group in groups {
        let (voters, learners) = if group < 2 { (vec![1], vec![]) } else { (vec![group], vec![1]) };
        let index = facts.revision(group).0.max(1);
        let beginning = Beginning { voters, learners, index, term: 1, data: facts.snapshot(group) };
        all.puts.extend(dwcp_consensus::restored(group, beginning).puts);
    }
    all
}

/// Keys, certificates and the region's settings.
fn settings(folder: &Path, name: &str) -> Result<RegionConfig, String> {
    let pki = folder.join("pki");
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let ca = Ca::create("bench", DAY).map_err(|e| e.to_string())?;
    ca.store(&pki).map_err(|e| e.to_string())?;
    let ip = "127.0.0.1".parse().map_err(|e| format!("{e}"))?;
    let peers = [
        (PeerId::Region { region: name.to_owned(), number: 1 }, name),
        (PeerId::Host { region: name.to_owned(), host: HOST.to_owned() }, HOST),
    ];
    for (peer, file) in &peers {
        let issued = ca.issue(peer, &[San::Ip(ip)], DAY).map_err(|e| e.to_string())?;
        issued.store(&pki, file).map_err(|e| e.to_string())?;
    }
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    let address = socket.local_addr().map_err(|e| e.to_string())?.to_string();
    let known = Known {
        region: name.to_owned(),
        number: 1,
        mesh: address.clone(),
        api: format!("https://{address}"),
    };
    Ok(RegionConfig {
        federation: "bench".to_owned(),
        region: name.to_owned(),
        number: 1,
        data_dir: text(folder.join("data")),
        listen: Listen { api: address.clone(), mesh: address },
        pki: Pki {
            ca: text(pki.join("ca.pem")),
            certificate: text(pki.join(format!("{name}.pem"))),
            key: text(pki.join(format!("{name}.key"))),
            ca_key: None,
        },
        peers: vec![known],
        voters: vec![name.to_owned()],
        ..RegionConfig::default()
    })
}

/// The agent of the region's only host: greets and asks for its lease.
fn agent(folder: &Path, config: &RegionConfig) -> Result<AgentLinkHandle, String> {
    let identity = Identity::load(&folder.join("pki"), HOST).map_err(|e| e.to_string())?;
    let address = config.listen.mesh.parse().map_err(|e| format!("{}: {e}", config.listen.mesh))?;
    let server = Peer { node: 1, region: config.region.clone(), address };
    let (events, mut heard) = mpsc::channel(256);
    let agent = AgentLink::start(AgentLinkConfig::new(identity, vec![server], 5), events)
        .map_err(|e| format!("the agent's link: {e}"))?;
    let hello = Hello {
        host: HOST.into(),
        region: config.region.as_str().into(),
        zone: "a".into(),
        vcpus: fleet::HOST.vcpus,
        memory_mib: fleet::HOST.memory_mib,
        disk_gib: fleet::HOST.disk_gib,
        incarnation: 1,
        ..Hello::default()
    };
    let door = agent.clone();
    tokio::spawn(async move {
        let mut count = 0;
        loop {
            match tokio::time::timeout(Duration::from_millis(400), heard.recv()).await {
                Ok(None) => return,
                Ok(Some(AgentEvent::Up { .. })) => {
                    door.send(encode(&AgentMessage::Hello(hello.clone())));
                }
                Ok(Some(_)) => {}
                Err(_) => {
                    count += 1;
                    let renew = Renew { seq: renewal_seq(1, count), ..Renew::default() };
                    door.send(encode(&AgentMessage::Renew(renew)));
                    if count % 5 == 0 {
                        door.send(encode(&AgentMessage::Hello(hello.clone())));
                    }
                }
            }
        }
    });
    Ok(agent)
}

/// The other regions' nodes are heard, each with its round trip to here.
async fn beat(node: NodeHandle, regions: NodeId) {
    let began = Instant::now();
    for seq in 1.. {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        for from in 2..=regions {
            let rtt_us = 10_000 + from * 37_000 % 290_000;
            let link = LinkReading {
                node: 1,
                up: true,
                rtt_p50_us: rtt_us,
                rtt_p99_us: rtt_us,
                ..LinkReading::default()
            };
            let beat = Beat {
                incarnation: from,
                seq,
                uptime_ms: began.elapsed().as_millis() as u64,
                wall: Wall(wall.as_millis() as u64),
                version: VERSION.to_owned(),
                heard_ms: [(1, began.elapsed().as_millis() as u64)].into(),
                links: vec![link],
                ..Beat::default()
            };
            node.tell(Input::Mesh { from, bytes: encode(&MeshMessage::Beat(Box::new(beat))) });
        }
        tokio::time::sleep(BEAT).await;
    }
}

/// The program beside the folder of examples.
fn controller(folder: &Path, config: &RegionConfig, slot: u8) -> Result<Child, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let program = own.parent().and_then(Path::parent).unwrap_or(Path::new(".")).join("dwcpd");
    let mut command = process::Command::new(&program);
    command.arg("controller").arg("--pki").arg(folder.join("pki")).args(["--name", HOST, "--node", "1"]);
    command.args(["--mesh", &config.listen.mesh, "--slot", &slot.to_string(), "--until-stdin-ends"]);
    command.stdin(Stdio::piped()).stderr(Stdio::null());
    command.spawn().map_err(|e| format!("{}: {e}", program.display()))
}
