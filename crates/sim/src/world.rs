//! The simulated world: an ordered list of things to come, and what each does.

use std::collections::BTreeMap;

use dwcp_roles::agent::AgentConfig;
use dwcp_roles::node::{Effect, Input, Node, NodeConfig, Request};
use dwcp_roles::protocol::TransferTo;
use dwcp_state::Core;
use dwcp_types::{GroupId, HostId, Mono, NodeId, Now, RegionId, Rng, Wall};

use crate::checkers::Checkers;
use crate::client::Client;
use crate::copies::Copies;
use crate::disk::{Disk, READ_BACK_US};
use crate::faults::Fault;
use crate::founding::bootstrap;
use crate::host::Host;
use crate::net::Net;
use crate::options::{Mutation, Options};
use crate::upgrades::{Installed, Programs};

pub use crate::founding::{further_region, genesis};

/// The regions, by number from 1.
pub const REGIONS: [&str; 6] =
    ["us-east-1", "eu-west-1", "ap-south-1", "sa-east-1", "au-southeast-1", "eu-central-1"];

/// Wall time at the beginning of a run, ms since the epoch: 2026-11-23 00:00 UTC.
pub(crate) const EPOCH_MS: u64 = 1_795_392_000_000;

/// Something to come.
#[derive(Clone, Debug)]
pub enum Event {
    /// A node asked to be woken.
    WakeNode(NodeId),
    /// A frame arrives.
    Frame { from: NodeId, to: NodeId, life: u64, bytes: Vec<u8> },
    /// A node's disk has been read back.
    ReadBack { node: NodeId, life: u64 },
    /// A node that was told to go over to another program has ended.
    GoOver { node: NodeId, life: u64, order: dwcp_roles::node::SwitchOrder },
    /// A launcher looks at what it tries.
    Trial(NodeId),
    /// A batch is durable.
    Durable { node: NodeId, life: u64, seq: u64 },
    /// An agent's frame arrives at a node.
    AgentFrame { node: NodeId, life: u64, session: u64, bytes: Vec<u8> },
    /// A node's frame arrives at an agent.
    ToAgent { host: usize, session: u64, bytes: Vec<u8> },
    /// A node hears that a connection is there, or gone.
    Session { node: NodeId, life: u64, host: usize, session: u64, up: bool },
    /// An agent gets an input from its host.
    Agent { host: usize, incarnation: u64, input: Box<dwcp_roles::agent::Input> },
    /// An agent asked to be woken.
    WakeAgent(usize),
    /// The watchdog looks at the lease.
    Watchdog(usize),
    /// The agent's transport looks at its connection.
    Connect(usize),
    /// A process has powered down.
    PoweredDown { host: usize, vm: dwcp_types::VmId, generation: u64 },
    /// What voters answered to an agent is read.
    Voters { host: usize, incarnation: u64, asked_at_us: u64, nodes: Vec<NodeId> },
    /// A VM's memory has been copied to another host, or could not be.
    Copied(Box<crate::moves::Copy>),
    /// A source has waited long enough for the word that everything of a VM is noted at its target.
    NotNoted(Box<crate::moves::Copy>),
    /// A host says that it has released a VM, and says so again while nobody hears it.
    Released { host: usize, incarnation: u64, vm: dwcp_types::VmId, to: TransferTo, tries: u32 },
    /// Something happens between a node and a controller replica.
    Replica(Box<crate::replicas::Happening>),
    /// A disk that is copied is looked at.
    Copying { host: usize, vm: dwcp_types::VmId },
    /// An image has come to a host, or not.
    ImageCame(Box<crate::images::Coming>),
    /// Misfortune.
    Fault(Fault),
    /// The client does something.
    Client,
    /// The operator looks which regions are to come and to go.
    Operator,
    /// Tokens are looked at, again and again.
    Tokens,
}

/// A node's place.
pub struct NodeSlot {
    /// The machine; none while its process is dead.
    pub node: Option<Node>,
    /// Its disk.
    pub disk: Disk,
    /// Raised by each start.
    pub life: u64,
    /// Stands still until then, µs.
    pub paused_until_us: u64,
    /// Its disk takes nothing more.
    pub disk_full: bool,
    /// Its disk was replaced, and whoever starts it knows.
    pub lost: bool,
    /// It takes no agents any more.
    pub turned_away: bool,
    /// Its region came in after the federation was founded.
    pub joins: bool,
    /// Its region has left: nothing of it comes back.
    pub gone: bool,
    /// Its wall clock is off by so much, ms.
    pub wall_offset_ms: i64,
    /// Its clock runs faster by so much; two nodes differ by less than 5 %.
    pub drift_ppm: i64,
    /// Its programs.
    pub installed: Installed,
    wake_at_us: u64,
}

impl NodeSlot {
    /// Its own clock, µs.
    fn clock_us(&self, sim_us: u64) -> u64 {
        1 + sim_us.saturating_add_signed((i128::from(sim_us) * i128::from(self.drift_ppm) / 1_000_000) as i64)
    }

    /// The first simulated moment at which its own clock has come this far, µs.
    fn sim_us(&self, clock_us: u64) -> u64 {
        (i128::from(clock_us) * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm))) as u64 + 1
    }
}

/// The world.
pub struct World {
    /// What kind of run it is.
    pub options: Options,
    /// Simulated time, µs.
    pub now_us: u64,
    /// Randomness of everything around the machines.
    pub rng: Rng,
    /// The network.
    pub net: Net,
    /// Nodes.
    pub nodes: BTreeMap<NodeId, NodeSlot>,
    /// Hosts.
    pub hosts: Vec<Host>,
    /// People.
    pub client: Client,
    /// What must hold.
    pub checkers: Checkers,
    /// Disks and their copies.
    pub copies: Copies,
    /// Agents look at their hosts' images: some host has one that matters.
    pub(crate) images_told: bool,
    /// Controller replicas.
    pub replicas: crate::replicas::Replicas,
    /// Copies of which everything is at the target, until the source has heard that it is noted there.
    pub(crate) whole_copies: BTreeMap<(dwcp_types::VmId, u64), crate::moves::Copy>,
    /// Programs that nodes can go over to.
    pub programs: Programs,
    /// What happened, a line each.
    pub log: Vec<String>,
    queue: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    next_session: u64,
    digest: u64,
    /// Regions that the federation was founded with.
    founding: usize,
    /// The newest backup of all groups.
    pub(crate) backup: Option<crate::restoration::Backup>,
    /// The node that came back with its old disk.
    pub(crate) old: Option<NodeId>,
    /// Who takes regions in and lets them go.
    pub operator: crate::members::Operator,
}

impl World {
    /// A world at its beginning: every node and host started.
    pub fn new(options: Options) -> World {
        let mut rng = Rng::new(options.seed);
        let mut world = World {
            client: Client::new(rng.split()),
            net: Net::default(),
            nodes: BTreeMap::new(),
            hosts: Vec::new(),
            checkers: Checkers::default(),
            copies: Copies::default(),
            images_told: false,
            whole_copies: BTreeMap::new(),
            replicas: crate::replicas::Replicas::new(options.seed),
            programs: Programs::new(),
            log: Vec::new(),
            queue: BTreeMap::new(),
            now_us: 0,
            next_event: 0,
            next_session: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            founding: options.regions,
            backup: None,
            old: None,
            operator: crate::members::Operator::new(options.seed),
            rng,
            options,
        };
        if let Some(proof) = &world.options.proof {
            world.net.delays_us.clone_from(&proof.layout.delays_us);
        }
        if world.options.members.is_some() {
            world.schedule(0, Event::Operator);
        }
        if world.options.replicas {
            world.schedule(0, Event::Replica(Box::new(crate::replicas::Happening::Look)));
        }
        if world.options.revocations {
            world.schedule(0, Event::Tokens);
        }
        for number in 1..=world.options.regions as NodeId {
            world.add_region(number, false);
        }
        world
    }

    /// The machines of a region start. One that joins finds a federation that runs.
    pub(crate) fn add_region(&mut self, number: NodeId, joins: bool) {
        let disk = Disk::new(self.options.fsync_us);
        let wall_offset_ms = self.rng.below(400) as i64 - 200;
        // Stories tell times, so their clocks are right.
        let drift_ppm = if self.options.drifting { self.rng.below(48_000) as i64 - 24_000 } else { 0 };
        let slot = NodeSlot {
            node: None,
            disk,
            life: 0,
            paused_until_us: 0,
            disk_full: false,
            lost: false,
            turned_away: false,
            joins,
            gone: false,
            wall_offset_ms,
            drift_ppm,
            installed: Installed::of_level(self.options.level),
            wake_at_us: u64::MAX,
        };
        self.nodes.insert(number, slot);
        self.start_node(number);
        self.add_hosts(number);
    }

    /// The nodes that are there or come back, with their slots.
    pub fn present(&self) -> impl Iterator<Item = (NodeId, &NodeSlot)> {
        self.nodes.iter().filter(|(_, slot)| !slot.gone).map(|(number, slot)| (*number, slot))
    }

    /// Every group that there is, as the newest node knows it.
    pub fn groups(&self) -> Vec<GroupId> {
        let nodes = self.present().filter_map(|(_, slot)| slot.node.as_ref());
        let newest = nodes.max_by_key(|node| node.facts().revision(0));
        let regions = newest.map(|node| &node.facts().core.regions).filter(|regions| !regions.is_empty());
        let mut groups: Vec<GroupId> = match regions {
            Some(regions) => regions.values().map(|region| region.number).collect(),
            None => (1..=self.options.regions as GroupId).collect(),
        };
        groups.push(0);
        groups.sort_unstable();
        groups
    }

    /// The hosts of a region: those of the configuration that is run, or so many alike ones.
    fn add_hosts(&mut self, number: NodeId) {
        let region = self.options.region(number);
        let config = |index: usize| AgentConfig {
            addresses: (0..32).map(|slot| format!("127.77.{number}.{}", (index + 1) * 32 + slot)).collect(),
            ..AgentConfig::default()
        };
        let hosts: Vec<Host> = match &self.options.proof {
            None => (0..self.options.hosts)
                .map(|index| {
                    let zone = if index.is_multiple_of(2) { "a" } else { "b" };
                    let name = format!("{region}-{zone}{}", index / 2 + 1);
                    Host::new(region.clone(), number, HostId::from(name.as_str()), zone, config(index))
                })
                .collect(),
            Some(proof) => proof
                .layout
                .hosts
                .iter()
                .filter(|laid| laid.node == number)
                .enumerate()
                .map(|(index, laid)| Host::laid(region.clone(), laid, config(index)))
                .collect(),
        };
        hosts.into_iter().for_each(|host| self.add_host(host));
    }

    fn add_host(&mut self, mut host: Host) {
        host.drift_ppm = self.rng.below(20_000) as i64 - 10_000;
        host.clock_offset_us = self.rng.below(1_000_000_000);
        host.start_agent(self.now_us);
        self.mutate_agent(&mut host);
        self.hosts.push(host);
        let id = self.hosts.len() - 1;
        self.schedule(0, Event::Connect(id));
        self.schedule(0, Event::WakeAgent(id));
    }

    pub(crate) fn mutate_agent(&self, host: &mut Host) {
        if self.options.mutation == Some(Mutation::IgnoreGeneration) {
            if let Some(agent) = &mut host.agent {
                agent.mutate(dwcp_roles::agent::Mutation::IgnoreGeneration);
            }
        }
    }

    /// Adds something to come, `in_us` from now.
    pub fn schedule(&mut self, in_us: u64, event: Event) {
        self.next_event += 1;
        self.queue.insert((self.now_us + in_us, self.next_event), event);
    }

    /// Runs until a moment of simulated time, or until a checker objects.
    pub fn run_until(&mut self, until_us: u64) -> Result<(), String> {
        while let Some((&(at, number), _)) = self.queue.first_key_value() {
            if at > until_us {
                break;
            }
            let Some(event) = self.queue.remove(&(at, number)) else { break };
            self.now_us = at;
            self.happen(event);
            if let Some(violation) = self.checkers.violation() {
                return Err(violation);
            }
        }
        self.now_us = self.now_us.max(until_us);
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::WakeNode(node) => self.wake_node(node),
            Event::Frame { from, to, life, bytes } => {
                if self.nodes[&to].life == life {
                    self.step_node(to, Input::Mesh { from, bytes });
                }
            }
            Event::Durable { node, life, seq } => self.durable(node, life, seq),
            Event::AgentFrame { node, life, session, bytes } => {
                if self.nodes[&node].life == life {
                    self.step_node(node, Input::AgentFrame { session, bytes });
                }
            }
            Event::Session { node, life, host, session, up } => {
                if self.nodes[&node].life == life {
                    let (region, host) = (self.hosts[host].region.clone(), self.hosts[host].name.clone());
                    let input = if up {
                        Input::AgentUp { session, region, host }
                    } else {
                        Input::AgentDown { session }
                    };
                    self.step_node(node, input);
                }
            }
            Event::ReadBack { node, life } => self.read_back(node, life),
            Event::GoOver { node, life, order } => self.go_over(node, life, &order),
            Event::Trial(node) => self.look_at_trial(node),
            Event::Fault(fault) => self.suffer(fault),
            Event::Client => crate::client::act(self),
            Event::Operator => crate::members::act(self),
            Event::Replica(happening) => self.replica_happens(*happening),
            Event::Tokens => {
                self.schedule(500_000, Event::Tokens);
                self.check_tokens();
            }
            other => self.happen_on_host(other),
        }
    }

    /// The true wall time.
    pub fn wall(&self) -> Wall {
        Wall(EPOCH_MS + self.now_us / 1_000)
    }

    /// The time as a node sees it.
    pub fn now_of(&self, node: NodeId) -> Now {
        let slot = &self.nodes[&node];
        let wall_ms = (EPOCH_MS + self.now_us / 1_000).saturating_add_signed(slot.wall_offset_ms);
        Now { mono: Mono(slot.clock_us(self.now_us)), wall: Wall(wall_ms) }
    }

    /// Starts a node's process from what its disk holds.
    pub fn start_node(&mut self, number: NodeId) {
        let Some(slot) = self.nodes.get(&number).filter(|slot| !slot.gone) else { return };
        // What is configured when a region comes in: the others of then, and itself.
        let joins = slot.joins;
        let known = if joins { number } else { self.founding as NodeId };
        let mut regions: BTreeMap<NodeId, RegionId> =
            (1..=known).map(|n| (n, self.options.region(n))).collect();
        if slot.lost {
            // Whoever replaces a disk writes down who there is now.
            regions = self.present().map(|(node, _)| (node, self.options.region(node))).collect();
        }
        let seed = self.rng.next_u64();
        let founded = match &self.options.proof {
            Some(proof) => Core { tokens: bootstrap(), ..proof.layout.core.clone() },
            None => genesis(self.founding),
        };
        let mut founded = Core { level: self.options.level, ..founded };
        if self.options.replicas {
            founded.regions.values_mut().for_each(|region| region.controllers = crate::replicas::CONTROLLERS);
        }
        let mut config = NodeConfig::new(number, regions, founded, seed);
        config.mutation = (self.options.mutation == Some(Mutation::SkipLeaseWait))
            .then_some(dwcp_roles::node::Mutation::SkipLeaseWait);
        config.consensus.snapshot_every_entries = self.options.snapshot_every;
        config.consensus.keep_entries = self.options.snapshot_every / 5;
        if self.options.mutation == Some(Mutation::AckBeforeFsync) {
            config.consensus.mutation = Some(dwcp_consensus::Mutation::AckBeforeFsync);
        }
        if let Some(bytes) = self.options.max_proposal_bytes {
            config.consensus.max_proposal_bytes = bytes;
        }
        config.lost = self.nodes[&number].lost;
        config.joins = joins;
        config.program.clone_from(&self.nodes[&number].installed.program);
        let now = self.now_of(number);
        let Some(slot) = self.nodes.get_mut(&number) else { return };
        slot.life += 1;
        slot.paused_until_us = 0;
        match Node::open(config, now, &slot.disk) {
            Ok(node) => slot.node = Some(node),
            Err(error) => panic!("node {number} can't be opened: {error:?}"),
        }
        slot.wake_at_us = self.now_us;
        self.schedule(0, Event::WakeNode(number));
        self.note(format!("node {number} starts"));
    }

    /// Kills a node's process.
    pub fn kill_node(&mut self, number: NodeId) {
        let Some(slot) = self.nodes.get_mut(&number) else { return };
        if slot.node.take().is_some() {
            slot.life += 1;
            slot.disk.crash(&mut self.rng);
            self.client.node_died(number);
            self.note(format!("node {number} dies"));
        }
    }

    fn wake_node(&mut self, number: NodeId) {
        if self.now_us >= self.nodes[&number].wake_at_us {
            self.step_node(number, Input::Wake);
        }
    }

    /// Gives a node an input and carries its effects out.
    pub fn step_node(&mut self, number: NodeId, input: Input) {
        let now = self.now_of(number);
        let Some(slot) = self.nodes.get_mut(&number) else { return };
        if self.now_us < slot.paused_until_us {
            let wait_us = slot.paused_until_us - self.now_us;
            let event = match input {
                Input::Mesh { from, bytes } => Event::Frame { from, to: number, life: slot.life, bytes },
                Input::AgentFrame { session, bytes } => {
                    Event::AgentFrame { node: number, life: slot.life, session, bytes }
                }
                Input::Persisted { seq } => Event::Durable { node: number, life: slot.life, seq },
                Input::StoreChecked(_) => Event::ReadBack { node: number, life: slot.life },
                Input::AgentUp { session, host, .. } => {
                    let at = self.hosts.iter().position(|of| of.name == host);
                    let Some(host) = at else { return };
                    Event::Session { node: number, life: slot.life, host, session, up: true }
                }
                Input::AgentDown { session } => {
                    Event::Session { node: number, life: slot.life, host: 0, session, up: false }
                }
                _ => Event::WakeNode(number),
            };
            self.schedule(wait_us, event);
            return;
        }
        let Some(node) = &mut slot.node else { return };
        let mut effects = Vec::new();
        node.step(now, input, &mut effects);
        let wake_at = node.wake_at().0;
        let wake_us = slot.sim_us(wake_at).max(self.now_us + 1);
        slot.wake_at_us = wake_us;
        self.schedule(wake_us - self.now_us, Event::WakeNode(number));
        for effect in effects {
            self.carry_out(number, effect);
        }
        self.check_node(number);
    }

    fn carry_out(&mut self, number: NodeId, effect: Effect) {
        match effect {
            Effect::Send { to, bytes, .. } => {
                self.mix(&bytes);
                self.check_word(number, &bytes);
                let Some(due) = self.net.arrival_us(self.now_us, number, to, &mut self.rng) else { return };
                // Its machines are not there yet.
                let Some(life) = self.nodes.get(&to).map(|slot| slot.life) else { return };
                self.schedule(due - self.now_us, Event::Frame { from: number, to, life, bytes });
            }
            Effect::Persist { seq, batch } => {
                let Some(slot) = self.nodes.get_mut(&number) else { return };
                if slot.disk_full {
                    // The process ends rather than acknowledge what it can't keep.
                    self.note(format!("node {number}: the disk is full"));
                    self.kill_node(number);
                    return;
                }
                slot.disk.hand_over(seq, batch);
                let (life, fsync_us) = (slot.life, slot.disk.fsync_us);
                self.schedule(fsync_us, Event::Durable { node: number, life, seq });
            }
            Effect::SendAgent { session, bytes } => self.send_to_agent(number, session, bytes),
            Effect::Reply { ticket, reply } => {
                let lines = crate::client::hear(self, number, ticket, reply);
                lines.into_iter().for_each(|line| self.note(line));
            }
            // Everybody reaches everybody here; a node answers only those that it knows.
            Effect::Peers(_) | Effect::Issue(_) => {}
            replica @ (Effect::TellReplica { .. } | Effect::EndReplica { .. }) => {
                self.carry_out_replica(number, replica);
            }
            Effect::Switch(order) => self.goes_over(number, order),
            Effect::MendLinks { region } => {
                let all = 1..=self.options.regions as NodeId;
                for node in all.filter(|node| self.options.region(*node) == region).collect::<Vec<_>>() {
                    self.strike(Fault::HealRegion(node));
                }
            }
            Effect::CheckStore => {
                let life = self.nodes[&number].life;
                self.schedule(READ_BACK_US, Event::ReadBack { node: number, life });
            }
            Effect::RenewStore => {
                if let Some(slot) = self.nodes.get_mut(&number) {
                    slot.disk.renew();
                }
            }
            Effect::TurnAgentsAway(reason) => {
                self.note(format!("node {number} turns its agents away: {reason}"));
                if let Some(slot) = self.nodes.get_mut(&number) {
                    slot.turned_away = true;
                }
            }
            Effect::Log { component, text, .. } => {
                if self.options.verbose {
                    self.note(format!("node {number} {component}: {text}"));
                }
            }
        }
    }

    /// Asks a node for something.
    pub fn ask(&mut self, number: NodeId, ticket: u64, request: Request) {
        self.step_node(number, Input::Request { ticket, request: Box::new(request) });
    }

    /// A new name for a connection.
    pub fn new_session(&mut self) -> u64 {
        self.next_session += 1;
        self.next_session
    }

    /// Writes a line.
    pub fn note(&mut self, text: String) {
        let line = format!("{:>9.3} {text}", self.now_us as f64 / 1e6);
        self.mix(line.as_bytes());
        self.log.push(line);
    }

    fn mix(&mut self, bytes: &[u8]) {
        let start = self.digest ^ self.now_us;
        self.digest =
            bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }

    /// A number that stands for everything that was said so far.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Nodes whose process is alive.
    pub fn alive(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, slot)| slot.node.is_some()).map(|(number, _)| *number).collect()
    }
}
