//! One running region: store, node, mesh and what connects them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dwcp_config::region::RegionConfig;
use dwcp_mesh::{Identity, Mesh, MeshEvent, MeshHandle};
use dwcp_roles::node::{Input, Node, SwitchOrder};
use dwcp_state::FEDERATION_GROUP;
use tokio::sync::mpsc;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;

use crate::api_socket::Joins;
use crate::handle::{NodeHandle, View};
use crate::hands::Hands;
use crate::inspect::Inspector;
use crate::issuer::Issuer;
use crate::log::Log;
use crate::node_loop::{self, AbortOnPanic, Outlets};
use crate::placement_times::PlacementTimes;
use crate::program::Programs;
use crate::program::fetch::{self, Incoming, Keeper};
use crate::record::Recorder;
use crate::store::{SetAside, Store, StoreError};
use crate::telemetry::hosts::{Frame, Hosts};
use crate::telemetry::regions::Regions as Measured;
use crate::telemetry::{Instruments, Kept, Traces};
use crate::writer::{CommitTimes, Writer};
use crate::{clock, links, setup};

/// Events of the mesh that may wait; more slow the senders down.
const EVENTS: usize = 4_096;
/// A certificate that was renewed on disk is used within this long.
const RELOAD_EVERY: Duration = Duration::from_secs(60);

/// What comes in, and the doors to whom it is passed on.
type Passed = (Receiver<MeshEvent>, links::Doors);
/// Behind the doors: of inspectors, of metrics and logs, of hosts.
type Heard = (UnboundedReceiver<Incoming>, UnboundedReceiver<Incoming>, UnboundedReceiver<Frame>);

/// How to start.
pub struct Options {
    /// Where log lines go.
    pub log: Log,
    /// This node's disk was replaced: what it once promised is gone, and comes back from its peers.
    pub state_lost: bool,
    /// Write down what the node begins from and every input.
    pub recorder: Option<Recorder>,
    /// Where orders to go over to another program go.
    pub switch: UnboundedSender<SwitchOrder>,
    /// The program is on trial.
    pub trial: bool,
    /// Called once, when all that is kept was read and just before the node joins its groups.
    pub joins: Joins,
    /// Called once when the store fails: nothing is acknowledged from then on.
    pub failed: Box<dyn FnOnce(StoreError) + Send>,
}

/// A running region.
pub struct Region {
    /// The door to its node.
    pub node: NodeHandle,
    /// Its links.
    pub mesh: MeshHandle,
    /// Its certificate.
    pub identity: Identity,
    /// How long its commits take.
    pub times: CommitTimes,
    /// What its process and others' say of themselves.
    pub inspector: Inspector,
    /// What its process counts.
    pub instruments: Instruments,
    /// What requests and failovers went through.
    pub traces: Traces,
    /// What every region measured and said.
    pub measured: Measured,
    /// What its hosts measure.
    pub hosts: Hosts,
    thread: JoinHandle<()>,
    tasks: Vec<AbortHandle>,
}

impl Region {
    /// Opens the store and starts the node, the mesh and what goes between. Call inside a tokio runtime.
    ///
    /// # Errors
    /// Says what can't be used: the certificate, the store, the settings or an address.
    pub fn start(config: &RegionConfig, options: Options) -> Result<Region, String> {
        let (store, lost) = open_store(config, &options.log)?;
        let options = Options { state_lost: options.state_lost || lost, ..options };
        Region::start_on(config, options, store)
    }

    /// The same on a store that is open already.
    ///
    /// # Errors
    /// As [`Region::start`].
    pub fn start_on(config: &RegionConfig, options: Options, store: Store) -> Result<Region, String> {
        let Options { log, state_lost, mut recorder, switch, trial, joins, failed } = options;
        let identity = setup::identity(config)?;
        let kept = Kept::open(config, &log);
        let seed = setup::random_seed()?;
        let node = open_node(config, (seed, state_lost, trial), &mut recorder, &store)?;

        let (events, from_mesh) = mpsc::channel(EVENTS);
        let mesh = setup::mesh_config(config, identity.clone(), seed)?;
        let (listen, configured) = (mesh.listen, mesh.peers.clone());
        joins()?;
        let mesh = Mesh::start(mesh, events).map_err(|e| format!("the mesh at {listen}: {e}"))?;
        let (door, inbox) = NodeHandle::new();
        let (instruments, traces) = counted(config, &log);
        let (times, placements) = (CommitTimes::counted(instruments.clone()), PlacementTimes::default());
        let told = door.clone();
        let durable = move |seq| told.tell(Input::Persisted { seq });
        let started = |what: &'static str| move |e: io::Error| format!("{what}: {e}");
        let writer =
            Writer::start(store, times.clone(), durable, failed).map_err(started("the store's thread"))?;
        let outlets = Outlets {
            mesh: mesh.clone(),
            configured,
            writer,
            times: times.clone(),
            door: door.clone(),
            log: log.clone(),
            recorder,
            issuer: Issuer::new(config),
            placements: placements.clone(),
            instruments: instruments.clone(),
            traces: traces.clone(),
            switch,
            wan: config.wan.as_ref().filter(|_| config.dev).map(Into::into),
        };
        let thread = node_loop::start(node, inbox, outlets).map_err(started("the node's thread"))?;
        let (program_frames, incoming) = fetch::door();
        let (asking, asked) = fetch::door();
        let inspector = Inspector::new(config, identity.clone(), mesh.clone());
        let (querying, queried) = fetch::door();
        let measured = kept.regions(config.number, &mesh);
        let (hosts, from_hosts) = Hosts::new(Some(mesh.clone()), log.clone(), instruments.clone());
        let keeper = Keeper {
            programs: Programs::in_folder(Path::new(&config.data_dir)),
            keys: config.upgrade_keys.clone(),
            node: door.clone(),
            mesh: mesh.clone(),
            log: log.clone(),
            trial,
        };
        let mut region = Region {
            node: door,
            mesh,
            identity,
            times,
            inspector,
            instruments,
            traces,
            measured,
            hosts,
            thread,
            tasks: Vec::new(),
        };
        let passed = (from_mesh, (program_frames, asking, querying));
        let heard = (asked, queried, from_hosts);
        region.tend(config, &log, (passed, heard), (keeper, incoming, placements));
        Ok(region)
    }

    /// Begins what goes on beside the node until the region stops.
    fn tend(
        &mut self,
        config: &RegionConfig,
        log: &Log,
        ((from_mesh, doors), (asked, queried, from_hosts)): (Passed, Heard),
        (keeper, incoming, placements): (Keeper, UnboundedReceiver<Incoming>, PlacementTimes),
    ) {
        let (mesh, node, hosts) = (self.mesh.clone(), self.node.clone(), self.hosts.clone());
        let passing =
            links::pass_events(from_mesh, mesh.clone(), node.clone(), doors, hosts.clone(), log.clone());
        self.tasks = vec![
            vital(passing, log),
            vital(self.inspector.clone().keep(asked), log),
            vital(self.measured.clone().keep(queried, node.clone()), log),
            vital(hosts.hear(from_hosts), log),
            vital(keeper.keep(incoming), log),
            vital(links::measure(mesh, node, self.times.clone(), placements), log),
            vital(reload(config.clone(), self.identity.clone(), log.clone()), log),
        ];
    }

    /// Hands leadership of every group over, so that nobody waits for an election; waits up to `limit` for it.
    pub async fn hand_over(&self, limit: Duration) {
        self.node.tell(Input::HandOver);
        let gone = async {
            let leads = |view: &View<'_>| {
                let regions = view.node.regions().keys();
                regions.chain([&FEDERATION_GROUP]).any(|group| view.node.leads(*group))
            };
            while self.node.look(leads).await == Some(true) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // Without a majority there is nobody to hand anything to.
        let _ = tokio::time::timeout(limit, gone).await;
    }

    /// Stops everything; all that was acknowledged is on the disk afterwards.
    pub async fn stop(self) {
        self.node.stop();
        let thread = self.thread;
        // Joining waits for the last commit.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        self.mesh.shutdown().await;
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// What the region's process counts, and where what requests went through is noted.
fn counted(config: &RegionConfig, log: &Log) -> (Instruments, Traces) {
    let instruments = Instruments::new(&config.region);
    log.count_in(instruments.clone());
    let traces = Traces::new(&config.region, log.clone(), instruments.clone());
    (instruments, traces)
}

/// The node as its store has it, with threads to decide on.
fn open_node(
    config: &RegionConfig,
    (seed, lost, trial): (u64, bool, bool),
    recorder: &mut Option<Recorder>,
    store: &Store,
) -> Result<Node, String> {
    let mut config = setup::node_config(config, seed)?;
    config.lost = lost;
    config.program.trial = trial;
    let node = match recorder {
        Some(recorder) => recorder.open(config, clock::now(), store),
        None => Node::open(config, clock::now(), store),
    };
    let mut node = node.map_err(|e| e.to_string())?;
    node.set_workers(Arc::new(Hands::start().map_err(|e| format!("threads for decisions: {e}"))?));
    Ok(node)
}

/// Runs a part that the region can't do without: a panic in it ends the process.
fn vital(part: impl Future<Output = ()> + Send + 'static, log: &Log) -> AbortHandle {
    let guard = AbortOnPanic(log.clone());
    let task = tokio::spawn(async move {
        let _guard = guard;
        part.await;
    });
    task.abort_handle()
}

/// The store, and whether this node lost what it once promised.
pub(crate) fn open_store(config: &RegionConfig, log: &Log) -> Result<(Store, bool), String> {
    let folder = Path::new(&config.data_dir).join("store");
    let opened = match setup::etcd(config) {
        Some(place) => Store::open_etcd(&folder, &place, log),
        None => Store::open(&folder),
    };
    let opened = opened.map_err(|e| e.to_string())?;
    if let Some(SetAside { place, why }) = &opened.set_aside {
        log.error(
            "state-manager",
            format!("the store was damaged ({why}); it is set aside as {place}, and the state comes from the peers"),
        );
    }
    Ok((opened.store, opened.lost))
}

/// Uses a certificate that was renewed on disk.
async fn reload(config: RegionConfig, identity: Identity, log: Log) {
    let mut used = setup::pem_texts(&config).ok();
    loop {
        tokio::time::sleep(RELOAD_EVERY).await;
        let Ok(found) = setup::pem_texts(&config) else { continue };
        if used.as_ref() == Some(&found) {
            continue;
        }
        match identity.swap(&found.0, &found.1, &found.2) {
            Ok(()) => log.info("security", "the renewed certificate is in use"),
            Err(error) => log.warning("security", format!("the renewed certificate is not used: {error}")),
        }
        used = Some(found);
    }
}
