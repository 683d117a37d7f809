//! The node: everything one region's control plane decides, as one machine.
//!
//! A node holds a replica of every group and plays three parts. As *state-manager* it drives the consensus and applies what is
//! committed. As *monitor* it tells the others each beat what it hears and measures. As *controller* it serves requests and, for
//! every group it leads, brings the world closer to the facts: it grants leases, takes VMs of lost hosts over, evacuates a lost
//! region and admits what comes from one. Whatever it does next is computed from facts, so any node that comes to lead a group
//! goes on where the last one stopped.
//!
//! [`Node::step`] takes one input and the time and appends effects, which the shell carries out in order.

mod adopt;
mod agents;
mod backups;
mod beats;
mod compare;
mod config;
mod create;
mod drain;
mod drill;
mod drill_copies;
mod ends;
mod failover;
mod force_sync;
mod foresee;
mod fresh;
mod groups;
mod handoff;
mod hosting;
mod hosts;
mod images;
mod in_touch;
mod intents;
mod leases;
mod leaving;
mod maintenance;
mod measures;
mod members;
mod migrate;
mod move_requests;
mod observe;
mod operations;
mod parts;
mod pool_checks;
mod progress;
mod proposals;
mod protect;
mod questions;
mod rebuild;
mod replicas;
mod requests;
mod restored;
mod self_report;
mod steady;
mod store_checks;
mod sync;
mod traced;
mod upgrade;
mod usage;
mod verify;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dwcp_consensus::{Disk, MultiRaft, OpenError};
use dwcp_decide::{PlaceIndex, Reservations, Serial, Workers};
use dwcp_state::{FEDERATION_GROUP, Federation};
use dwcp_types::{GroupId, Mono, NodeId, Now, RegionId, Rng};

use crate::protocol::{Endpoint, ReplicaSaid, ReplicaTold};

pub use beats::{Beat, GroupBeat, LinkReading, PeerView};
pub use compare::Difference;
#[cfg(feature = "mutations")]
pub use config::Mutation;
pub use config::NodeConfig;
pub use drain::DrainStep;
pub use force_sync::PlannedStep;
pub use hosting::{CertifiedFor, CertifyFor, PoolHost, node_phase};
pub use hosts::HostSession;
pub use images::ImageOffer;
pub use measures::Measures;
pub use pool_checks::{PoolCheck, clock_ahead};
pub use proposals::Proposal;
pub use questions::{Observation, RegionCheck};
pub use replicas::{ControllersBeat, Decisions, ReplicaView};
pub use requests::{Asked, Change, CreateVm, FailoverRequest, MigrateRequest, Reply, Request};
pub use restored::restored;
pub use self_report::{SelfAsk, SelfTell};
pub use store_checks::StoreCheck;
pub use sync::{SyncReading, Times};
pub use traced::{Stage, Work, Written};
pub use upgrade::{Program, SwitchOrder, UpgradeRequest};
pub use usage::{HostNow, HostWord};
pub use verify::{GroupVerdict, RegionVerdict, VerifyReport};
pub use wire::{Class, MeshMessage, Opaque, ProgramAsk, ProgramPart};

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The time that [`Node::wake_at`] named has come.
    Wake,
    /// A frame from another node; the transport vouches for the sender.
    Mesh {
        /// The sender.
        from: NodeId,
        /// As sent.
        bytes: Vec<u8>,
    },
    /// Every batch up to this one is durable.
    Persisted {
        /// The newest durable batch.
        seq: u64,
    },
    /// What the transport measured on the links to the other nodes.
    Links(Vec<LinkReading>),
    /// What the shell measured of this process and machine.
    Measures(Measures),
    /// An agent connected; its certificate says who it is.
    AgentUp {
        /// The transport's name for the connection.
        session: u64,
        /// The host's region.
        region: RegionId,
        /// The host.
        host: dwcp_types::HostId,
    },
    /// An agent said something.
    AgentFrame {
        /// Over which connection.
        session: u64,
        /// As sent.
        bytes: Vec<u8>,
    },
    /// An agent's connection is gone.
    AgentDown {
        /// Which connection.
        session: u64,
    },
    /// Somebody asks for something.
    Request {
        /// Comes back in the reply.
        ticket: u64,
        /// What.
        request: Box<Request>,
    },
    /// The store was read back.
    StoreChecked(StoreCheck),
    /// What came of [`Effect::Issue`].
    Issued(Box<CertifiedFor>),
    /// What this process says of its program from now on.
    Program(Box<Program>),
    /// A controller replica connected; its certificate says which host it is on.
    ReplicaUp {
        /// The transport's name for the connection.
        session: u64,
        /// The host's region.
        region: RegionId,
        /// The host.
        host: dwcp_types::HostId,
        /// Its number among that host's.
        slot: u8,
    },
    /// A replica said something.
    ReplicaSaid {
        /// Over which connection.
        session: u64,
        /// What.
        said: Box<ReplicaSaid>,
    },
    /// A replica's connection is gone.
    ReplicaDown {
        /// Which connection.
        session: u64,
    },
    /// This process stops soon: leadership goes to others while it can still be handed over.
    HandOver,
}

/// What the shell must do, in this order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Give a frame to another node; it may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// How urgent.
        class: Class,
        /// Opaque.
        bytes: Vec<u8>,
    },
    /// Make a batch durable, then say [`Input::Persisted`].
    Persist {
        /// Its number.
        seq: u64,
        /// What to write.
        batch: dwcp_consensus::Batch,
    },
    /// Give a frame to an agent.
    SendAgent {
        /// Over which connection.
        session: u64,
        /// Opaque.
        bytes: Vec<u8>,
    },
    /// Answer a request.
    Reply {
        /// The request's.
        ticket: u64,
        /// The answer.
        reply: Reply,
    },
    /// Make every link of a region as it is without a drill: a live one of it is over. Nobody else's to do: what a drill cut
    /// must not outlive it, whoever began it.
    MendLinks {
        /// Whose.
        region: RegionId,
    },
    /// Read the whole store back from the disk past every cache, then say [`Input::StoreChecked`].
    CheckStore,
    /// The next batch holds everything: it is to be the first of a new store file, which takes the place of the old one once it
    /// is durable.
    RenewStore,
    /// The other regions' nodes are these from now on: links to others end.
    Peers(Vec<Endpoint>),
    /// Issue a certificate, then say [`Input::Issued`].
    Issue(Box<CertifyFor>),
    /// Go over to this program: end in order, and try it.
    Switch(SwitchOrder),
    /// No agent is connected here any more: this node takes no part, for this reason.
    TurnAgentsAway(String),
    /// Tell a controller replica something. What can't be told ends its connection: nothing may be missing of what follows.
    TellReplica {
        /// Over which connection.
        session: u64,
        /// What.
        told: Box<ReplicaTold>,
    },
    /// End a replica's connection.
    EndReplica {
        /// Which.
        session: u64,
        /// Why.
        reason: String,
    },
    /// Write a line into the log.
    Log {
        /// Which part speaks: `federation-controller`, `state-manager`, `monitor`.
        component: &'static str,
        /// How much it matters.
        level: Level,
        /// One line.
        text: String,
    },
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the record.
    Info,
    /// Somebody should look.
    Warning,
    /// Something failed.
    Error,
}

/// The machine.
pub struct Node {
    config: NodeConfig,
    regions: BTreeMap<NodeId, RegionId>,
    membership: members::Membership,
    raft: MultiRaft,
    facts: Federation,
    rng: Rng,
    now: Now,
    started: Mono,
    /// Outcomes wait until this node has applied what they speak of.
    waiting: Vec<proposals::Waiting>,
    proposals: proposals::Proposals,
    beats: beats::Beats,
    agents: agents::Agents,
    leases: leases::Leases,
    host_words: usage::HostWords,
    questions: questions::Questions,
    creates: create::Creates,
    index: PlaceIndex,
    reserved: Reservations,
    sync: sync::Sync,
    traced: traced::Traced,
    verifies: verify::Verifies,
    rebuilds: rebuild::Rebuilds,
    replicas: replicas::Replicas,
    program: Program,
    syncs: force_sync::Syncs,
    workers: Arc<dyn Workers>,
    /// When a thing was last tried, so that it is not tried again at every step.
    tried: BTreeMap<String, Mono>,
    /// What was tried long ago is forgotten when there is more than this.
    tried_kept: usize,
    reconcile_at: Mono,
    restorations: restored::Restorations,
    inbox: VecDeque<dwcp_consensus::Input>,
    out: Vec<Effect>,
}

/// Between two looks at the facts, ms.
const RECONCILE_MS: u64 = 100;
/// Things tried that are remembered before old ones are forgotten.
const TRIED_KEPT: usize = 100_000;

impl Node {
    /// A node whose groups are opened from `disk`; new ones when it holds nothing.
    pub fn open(config: NodeConfig, now: Now, disk: &dyn Disk) -> Result<Node, OpenError> {
        let mut node = Node {
            regions: config.regions.clone(),
            membership: members::Membership::default(),
            raft: MultiRaft::new(config.consensus.clone()),
            facts: Federation::default(),
            rng: Rng::new(config.seed ^ 0xd3c9),
            now,
            started: now.mono,
            waiting: Vec::new(),
            proposals: proposals::Proposals::new(&config),
            beats: beats::Beats::new(&config, now.mono),
            agents: agents::Agents::default(),
            leases: leases::Leases::default(),
            host_words: usage::HostWords::default(),
            questions: questions::Questions::new(&config),
            creates: create::Creates::default(),
            index: PlaceIndex::default(),
            reserved: Reservations::default(),
            sync: sync::Sync::default(),
            traced: traced::Traced::default(),
            verifies: verify::Verifies::new(&config),
            rebuilds: rebuild::Rebuilds::default(),
            replicas: replicas::Replicas::default(),
            program: config.program.clone(),
            syncs: force_sync::Syncs::default(),
            workers: Arc::new(Serial),
            tried: BTreeMap::new(),
            tried_kept: TRIED_KEPT,
            reconcile_at: now.mono,
            restorations: Default::default(),
            inbox: VecDeque::new(),
            out: Vec::new(),
            config,
        };
        node.open_groups(disk)?;
        Ok(node)
    }

    /// Says who runs the independent pieces of one decision; without a word they are run one after the other. What is
    /// decided is the same.
    pub fn set_workers(&mut self, workers: Arc<dyn Workers>) {
        self.workers = workers;
    }

    /// Takes one input.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        self.step_all(now, [input], out);
    }

    /// Takes several inputs at once: what they write shares one batch.
    pub fn step_all(&mut self, now: Now, inputs: impl IntoIterator<Item = Input>, out: &mut Vec<Effect>) {
        self.now = now;
        for input in inputs {
            self.take(input);
        }
        self.drive();
        if now.mono >= self.reconcile_at {
            self.reconcile_at = now.mono.plus_ms(RECONCILE_MS);
            self.reconcile();
            self.drive();
        }
        out.append(&mut self.out);
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Wake => {}
            Input::Mesh { from, bytes } => self.hear_mesh(from, &bytes),
            Input::Persisted { seq } => {
                self.batch_is_durable(seq);
                self.inbox.push_back(dwcp_consensus::Input::Persisted { seq });
            }
            Input::Links(readings) => self.beats.links = readings,
            Input::Measures(measures) => self.beats.measures = measures,
            Input::AgentUp { session, region, host } => self.agent_up(session, region, host),
            Input::AgentFrame { session, bytes } => self.agent_frame(session, &bytes),
            Input::AgentDown { session } => self.agent_down(session),
            Input::Request { ticket, request } => self.take_request(ticket, *request),
            Input::StoreChecked(check) => self.store_checked(check),
            Input::Issued(certified) => self.certificate_issued(*certified),
            Input::Program(program) => self.program_changed(*program),
            Input::ReplicaUp { session, region, host, slot } => {
                self.replica_up(session, &region, host, slot);
            }
            Input::ReplicaSaid { session, said } => self.replica_said(session, *said),
            Input::ReplicaDown { session } => self.replica_down(session),
            Input::HandOver => self.hand_over(),
        }
    }

    /// What every node does, then what it does for the groups it leads.
    fn reconcile(&mut self) {
        self.beat();
        self.retry_proposals();
        self.expire_questions();
        self.run_replicas();
        self.run_verifies();
        self.run_sync_requests();
        self.clean_up();
        if self.leads(FEDERATION_GROUP) {
            self.lead_federation();
        } else {
            self.stop_driving_syncs();
        }
        let groups: Vec<GroupId> = self.regions.keys().copied().filter(|group| self.leads(*group)).collect();
        for group in groups {
            self.lead_region(group);
        }
    }

    fn lead_federation(&mut self) {
        self.found();
        self.keep_members(FEDERATION_GROUP);
        // What the hosts have is not known: nothing is lost, due or rehearsed meanwhile.
        if self.is_restoring() {
            return;
        }
        self.forget_left();
        self.watch_regions();
        self.keep_windows();
        self.remind_of_ends();
        self.run_drills();
        self.run_syncs();
        self.rebuild_here();
        self.keep_backups();
        self.raise_level();
        self.run_upgrade();
    }

    fn lead_region(&mut self, group: GroupId) {
        self.keep_members(group);
        if self.adopts(group) {
            return;
        }
        self.close_leaving(group);
        self.keep_limits(group);
        self.watch_hosts(group);
        self.evacuate(group);
        self.let_copies_leave(group);
        self.settle_departures(group);
        self.admit_arrivals(group);
        self.run_migrations(group);
        self.expect_arrivals(group);
        self.end_arrivals(group);
        self.keep_guards(group);
        self.keep_replicas(group);
        self.unbar(group);
        self.tell_images(group);
        self.tell_hosting(group);
        self.tell_helpers(group);
        self.close_operations(group);
        self.keep_windows_of(group);
        self.expire_vms(group);
    }

    /// When [`Node::step`] must be called at the latest.
    pub fn wake_at(&self) -> Mono {
        let raft = self.raft.wake_at_us().map_or(u64::MAX, |us| us);
        Mono(raft.min(self.reconcile_at.0))
    }

    /// The facts as this node knows them.
    pub fn facts(&self) -> &Federation {
        &self.facts
    }

    /// Makes the facts of a region's group here differ from everybody else's: one number of one VM, of the first host without any.
    #[cfg(feature = "mutations")]
    pub fn rot(&mut self, group: GroupId) {
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        let Some(facts) = self.facts.regions.get_mut(&region) else { return };
        match facts.vms.values_mut().next() {
            Some(vm) => {
                vm.labels.insert("rot".to_string(), "1".to_string());
            }
            None => facts.hosts.values_mut().take(1).for_each(|host| host.facts.incarnation ^= 1),
        }
    }

    /// The settings.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// When the node was opened.
    pub fn started(&self) -> Mono {
        self.started
    }

    /// What the consensus knows of a group.
    pub fn group(&self, group: GroupId) -> Option<dwcp_consensus::GroupStatus> {
        self.raft.status(group)
    }

    /// How the placement index does: for `cache-stats`.
    pub fn index(&self) -> &PlaceIndex {
        &self.index
    }

    /// How long ago this node first knew a leader of the group since its process started, ms, rounded up; 0 when it has known
    /// none. [`u64::MAX`] when it does not hold the group.
    pub fn led_for_ms(&self, group: GroupId, now: Mono) -> u64 {
        self.raft.led_for_us(group, now.0).map_or(u64::MAX, |us| us.div_ceil(1_000))
    }

    /// True while this node leads the group.
    pub fn leads(&self, group: GroupId) -> bool {
        self.raft.leader_since_us(group).is_some()
    }

    /// True at most once in `every_ms` for the same thing.
    fn due(&mut self, what: impl Into<String>, every_ms: u64) -> bool {
        let now = self.now.mono;
        let what = what.into();
        if self.tried.get(&what).is_some_and(|last| now < last.plus_ms(every_ms)) {
            return false;
        }
        if self.tried.len() > self.tried_kept {
            self.tried.retain(|_, last| now < last.plus_ms(60_000));
            // When all of it is recent, looking through it again for each further thing would take for ever.
            self.tried_kept = TRIED_KEPT.max(self.tried.len() * 2);
        }
        self.tried.insert(what, now);
        true
    }

    fn log(&mut self, component: &'static str, level: Level, text: impl Into<String>) {
        self.out.push(Effect::Log { component, level, text: text.into() });
    }
}
