//! What kind of run it is.

use std::sync::Arc;

use dwcp_types::{NodeId, RegionId};

use crate::layout::Layout;
use crate::partitions::Partition;
use crate::run::Schedule;
use crate::world::REGIONS;

/// A deliberate break of a rule, to prove that a checker finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Takes VMs over without waiting for the old lease to run out.
    SkipLeaseWait,
    /// Acknowledges what a crash then loses.
    AckBeforeFsync,
    /// Agents act on intents and generations older than the newest seen.
    IgnoreGeneration,
    /// A hypervisor lets a VM go on as soon as all of its memory is there, whoever it is of.
    GoOnUnasked,
}

impl Mutation {
    /// Those that a swarm finds, by the names of the command line.
    pub const NAMED: [(&'static str, Mutation); 3] = [
        ("skip-lease-wait", Mutation::SkipLeaseWait),
        ("ack-before-fsync", Mutation::AckBeforeFsync),
        ("ignore-generation", Mutation::IgnoreGeneration),
    ];
}

/// A configuration to run, and what fails.
#[derive(Clone, Debug)]
pub struct Proof {
    /// What is run.
    pub layout: Arc<Layout>,
    /// What fails.
    pub schedule: Schedule,
}

/// Which kinds of misfortune happen, each with its own weight; 0: never in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultMix {
    /// A node's process is killed, and started again.
    pub node_crash: u64,
    /// A node stands still for a while.
    pub node_pause: u64,
    /// A host dies with its agent and VMs.
    pub host_crash: u64,
    /// An agent's process is killed, its VMs go on.
    pub agent_crash: u64,
    /// An agent stands still, its VMs and its watchdog go on.
    pub agent_pause: u64,
    /// A VM's process dies.
    pub vm_crash: u64,
    /// A region is cut off in both directions.
    pub region_cut: u64,
    /// One direction of one link is cut.
    pub one_way_cut: u64,
    /// Everything of a region dies.
    pub region_kill: u64,
    /// Frames are lost here and there.
    pub loss: u64,
    /// A disk is slow.
    pub slow_disk: u64,
    /// A record on the disk of a node that is down is flipped.
    pub bit_rot: u64,
    /// A node's disk is full: its process ends.
    pub disk_full: u64,
    /// Every node dies at once.
    pub blackout: u64,
    /// The disks of two nodes are replaced at once.
    pub disks_lost: u64,
}

/// The product's own number of entries between two snapshots: no run writes so many.
pub const SNAPSHOT_EVERY: u64 = 10_000;

/// A run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// The level of commands and facts in force from the beginning. 0, that before levels, where nothing is about them: what a
    /// seed does depends on every byte that is written.
    pub level: u64,
    /// Regions.
    pub regions: usize,
    /// Hosts in each.
    pub hosts: usize,
    /// VMs that a drill creates before the region is killed.
    pub vms: usize,
    /// How long faults happen, ms of simulated time.
    pub faults_ms: u64,
    /// How long the system may take to settle after everything healed, ms.
    pub settle_ms: u64,
    /// Time a disk takes to make a batch durable, µs.
    pub fsync_us: u64,
    /// What happens.
    pub mix: FaultMix,
    /// Between two faults on average, ms.
    pub every_ms: u64,
    /// Instead of all that: one region is killed, and the return of its VMs is timed.
    pub drill: bool,
    /// VMs of a drill have rules of placement; without them each must find room, whatever the failover says.
    pub ruled: bool,
    /// Instead of all that: links between regions break.
    pub partition: Option<Partition>,
    /// Instead of all that, and of the simulator's own regions: a configuration that was read.
    pub proof: Option<Proof>,
    /// A replica's log is cut behind a snapshot after so many entries.
    pub snapshot_every: u64,
    /// People make tokens and revoke them.
    pub revocations: bool,
    /// VMs are moved between hosts while they run, hosts are emptied, and moves are called off.
    pub moves: bool,
    /// A region comes in, and one may leave.
    pub members: Option<crate::members::Plan>,
    /// Everything is backed up, and later every node's disk is gone: so long after faults begin, and then so long after that, µs.
    /// A node may come back with the disk that it had.
    pub restoration: Option<(u64, u64, Option<NodeId>)>,
    /// Controller replicas decide as well, badly.
    pub replicas: bool,
    /// The nodes' clocks run at rates that differ by up to 5 %.
    pub drifting: bool,
    /// A rule broken on purpose.
    pub mutation: Option<Mutation>,
    /// Bytes of one proposal; none: the product's.
    pub max_proposal_bytes: Option<u64>,
    /// Keep every log line.
    pub verbose: bool,
}

impl Options {
    /// The name of a region, by its number.
    pub fn region(&self, node: NodeId) -> RegionId {
        match &self.proof {
            Some(proof) => proof.layout.regions[node as usize - 1].clone(),
            None => RegionId::from(REGIONS[node as usize - 1]),
        }
    }

    /// A run whose shape follows from the seed: which faults happen, how often, how many VMs there are. Every fourth is a
    /// drill.
    pub fn swarm(seed: u64, mutation: Option<Mutation>) -> Options {
        let mut rng = dwcp_types::Rng::new(seed ^ 0x5a17);
        let mut on = |chance: u64| if rng.chance(chance, 100) { 1 + rng.below(5) } else { 0 };
        let mix = FaultMix {
            node_crash: on(60),
            node_pause: on(30),
            host_crash: on(40),
            agent_crash: on(40),
            agent_pause: on(30),
            vm_crash: on(30),
            region_cut: on(50),
            one_way_cut: on(40),
            region_kill: on(40),
            loss: on(30),
            slow_disk: on(30),
            bit_rot: on(20),
            disk_full: on(10),
            blackout: on(25),
            disks_lost: 0,
        };
        // Drawn apart, so that what else happens under a seed stays as it was.
        let mut apart = dwcp_types::Rng::new(seed ^ 0xd15c);
        let disks_lost = if apart.chance(25, 100) { 1 + apart.below(5) } else { 0 };
        let mut mix = FaultMix { disks_lost, ..mix };
        // Slow disks widen the moment between "written" and "durable", in which a crash must lose nothing acknowledged.
        let mut fsync_us = [1_000, 1_000, 10_000, 150_000][rng.below(4) as usize];
        if mutation == Some(Mutation::AckBeforeFsync) {
            // It shows only when most nodes die within that moment.
            fsync_us = 150_000;
            mix.blackout = 5;
        }
        Options {
            seed,
            level: 0,
            regions: 5,
            hosts: 2,
            vms: 4 + rng.below(8) as usize,
            faults_ms: 60_000,
            settle_ms: 120_000,
            fsync_us,
            mix,
            every_ms: 3_000 + rng.below(9_000),
            drill: seed % 4 == 3 && mutation.is_none(),
            ruled: seed % 8 == 3,
            partition: None,
            proof: None,
            snapshot_every: [SNAPSHOT_EVERY, 300, 60][rng.below(3) as usize],
            revocations: rng.chance(1, 2),
            moves: seed.is_multiple_of(2),
            members: (seed % 8 == 1 && mutation.is_none()).then(|| crate::members::Plan::draw(seed)),
            restoration: (seed % 8 == 5 && mutation.is_none()).then(|| restoration(seed)),
            replicas: seed % 8 == 2,
            drifting: true,
            mutation,
            max_proposal_bytes: None,
            verbose: false,
        }
    }

    /// Nothing goes wrong by itself: for scenarios.
    pub fn quiet(seed: u64) -> Options {
        Options {
            seed,
            level: 0,
            regions: 5,
            hosts: 2,
            vms: 0,
            faults_ms: 0,
            settle_ms: 120_000,
            fsync_us: 1_000,
            mix: FaultMix::default(),
            every_ms: 1_000,
            drill: false,
            ruled: true,
            partition: None,
            proof: None,
            snapshot_every: SNAPSHOT_EVERY,
            revocations: false,
            moves: false,
            members: None,
            restoration: None,
            replicas: false,
            drifting: false,
            mutation: None,
            max_proposal_bytes: None,
            verbose: false,
        }
    }
}

/// When everything is backed up and lost. Drawn apart, so that what else happens under a seed stays as it was.
fn restoration(seed: u64) -> (u64, u64, Option<NodeId>) {
    let mut rng = dwcp_types::Rng::new(seed ^ 0xbac0);
    let old_store = rng.chance(1, 3).then(|| 1 + rng.below(5));
    (2_000_000 + rng.below(20_000_000), rng.below(30_000_000), old_store)
}
