//! A host: its agent, its watchdog and its hypervisor.
//!
//! The agent is the real one. The watchdog holds every VM when the lease has run out on the host's own clock and kills them
//! some time later, whatever the agent does. The hypervisor's VMs boot, answer, are held and die.

use std::collections::BTreeMap;

use dwcp_roles::agent::{Adopted, Agent, AgentConfig, Seen};
use dwcp_roles::protocol::{Hello, ImageHere, VmSpec};
use dwcp_types::{HostId, NodeId, RegionId, VmId};

use crate::layout::LaidHost;

/// A VM's process.
#[derive(Clone, Debug)]
pub struct Process {
    /// The generation it was started with.
    pub generation: u64,
    /// As what.
    pub spec: VmSpec,
    /// Index of its address.
    pub slot: usize,
    /// Its boot id.
    pub boot_id: String,
    /// When its guest answers, µs of simulated time.
    pub booted_at_us: u64,
    /// Held still.
    pub held: bool,
    /// Its guest does not run: it waits for a VM's memory, or its memory was copied elsewhere.
    pub idle: bool,
    /// The migration that it was started for; 0: it was started to boot.
    pub incoming: u64,
    /// Everything of the VM it waits for is here.
    pub complete: bool,
}

impl Process {
    /// True while its guest runs.
    pub fn runs(&self) -> bool {
        !self.held && !self.idle
    }
}

/// A connection to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The node.
    pub node: NodeId,
    /// The node's name for it.
    pub session: u64,
    /// Which life of the node.
    pub life: u64,
}

/// A host.
pub struct Host {
    /// Its region.
    pub region: RegionId,
    /// Its region's node.
    pub home: NodeId,
    /// Its region has left: it never comes back.
    pub gone: bool,
    /// Its name.
    pub name: HostId,
    /// What its agent is told at its start.
    pub config: AgentConfig,
    /// The agent; none while its process is dead.
    pub agent: Option<Agent>,
    /// Raised each time the agent starts.
    pub incarnation: u64,
    /// The machine is on.
    pub alive: bool,
    /// The agent stands still until then, µs.
    pub paused_until_us: u64,
    /// What the agent made durable.
    pub seen: Seen,
    /// VM processes.
    pub processes: BTreeMap<VmId, Process>,
    /// VMs with a disk here: the generation of their last process, what it was, its address.
    pub disks: BTreeMap<VmId, (u64, VmSpec, usize)>,
    /// The lease's end on the host's clock, as the watchdog knows it, µs.
    pub lease_until_us: u64,
    /// The connection, if any.
    pub connection: Option<Connection>,
    /// The connection was found broken then, µs.
    pub broken_since_us: Option<u64>,
    /// The host's clock runs so much faster, millionths; may be negative.
    pub drift_ppm: i64,
    /// What its clock showed when the simulation began, µs.
    pub clock_offset_us: u64,
    /// When the agent wants to be woken, µs of simulated time.
    pub wake_at_us: u64,
    /// Images of its image folder, and copies, which have no name.
    pub images: Vec<ImageHere>,
    /// The fetch of an image that is going on.
    pub fetch: Option<u64>,
}

impl Host {
    /// A host that is on, its agent not started yet.
    pub fn new(region: RegionId, home: NodeId, name: HostId, zone: &str, config: AgentConfig) -> Host {
        let hello = Hello {
            host: name.clone(),
            region: region.clone(),
            zone: zone.into(),
            vcpus: 8,
            memory_mib: 4_096,
            disk_gib: 64,
            version: "0.1.0".to_string(),
            transfer: "simulated".to_string(),
            ..Hello::default()
        };
        Host {
            region,
            home,
            name,
            gone: false,
            config: AgentConfig { hello, ..config },
            agent: None,
            incarnation: 0,
            alive: true,
            paused_until_us: 0,
            seen: Seen::default(),
            processes: BTreeMap::new(),
            disks: BTreeMap::new(),
            lease_until_us: 0,
            connection: None,
            broken_since_us: None,
            drift_ppm: 0,
            clock_offset_us: 0,
            wake_at_us: 0,
            images: Vec::new(),
            fetch: None,
        }
    }

    /// A host of a configuration that was read.
    pub fn laid(region: RegionId, laid: &LaidHost, config: AgentConfig) -> Host {
        let mut host =
            Host::new(region, laid.node, HostId::from(laid.name.as_str()), laid.zone.as_str(), config);
        let hello = &mut host.config.hello;
        (hello.vcpus, hello.memory_mib) = (laid.capacity.vcpus, laid.capacity.memory_mib);
        hello.disk_gib = laid.capacity.disk_gib;
        hello.labels.clone_from(&laid.labels);
        host
    }

    /// The host's monotonic clock at a moment of simulated time, µs.
    pub fn clock_us(&self, sim_us: u64) -> u64 {
        let drift = (sim_us as i128 * i128::from(self.drift_ppm) / 1_000_000) as i64;
        self.clock_offset_us + sim_us.saturating_add_signed(drift)
    }

    /// The moment of simulated time at which the host's clock shows `clock_us`, µs; never too early.
    pub fn sim_us(&self, clock_us: u64) -> u64 {
        let since = clock_us.saturating_sub(self.clock_offset_us) as i128;
        (since * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm))) as u64 + 2
    }

    /// Starts the agent's process: it finds the VMs that are there.
    pub fn start_agent(&mut self, sim_us: u64) {
        self.incarnation += 1;
        self.config.hello.incarnation = self.incarnation;
        let adopted = self.processes.iter().map(|(vm, process)| Adopted {
            vm: *vm,
            generation: process.generation,
            spec: process.spec.clone(),
            slot: process.slot,
            boot_id: process.boot_id.clone(),
            process: true,
            paused: process.held,
            incoming: process.incoming,
            copied: process.idle && process.incoming == 0,
        });
        let only_disks = self.disks.iter().filter(|(vm, _)| !self.processes.contains_key(vm));
        let only_disks = only_disks.map(|(vm, (generation, spec, slot))| Adopted {
            vm: *vm,
            generation: *generation,
            spec: spec.clone(),
            slot: *slot,
            boot_id: String::new(),
            process: false,
            paused: false,
            incoming: 0,
            copied: false,
        });
        let adopted = adopted.chain(only_disks).collect();
        let now_us = self.clock_us(sim_us);
        self.agent =
            Some(Agent::new(self.config.clone(), self.seen.clone(), adopted, self.lease_until_us, now_us));
        self.wake_at_us = sim_us;
        self.connection = None;
        self.broken_since_us = None;
        self.fetch = None;
    }

    /// The machine loses power: VMs, agent and watchdog are gone.
    pub fn crash(&mut self) {
        self.alive = false;
        self.agent = None;
        self.processes.clear();
        self.connection = None;
        self.lease_until_us = 0;
    }

    /// The VMs that answer at a moment of simulated time.
    pub fn answering(&self, sim_us: u64) -> impl Iterator<Item = (VmId, &Process)> {
        self.processes
            .iter()
            .filter(move |(_, process)| process.runs() && sim_us >= process.booted_at_us)
            .map(|(vm, process)| (*vm, process))
    }
}
