//! Copies of simulated disks. A disk is a count of the writes that its guest was told are done; a copy holds such a count.
//!
//! A guest that is told so writes when its host is looked at, again and again. With a copy that is kept up to date, both counts
//! rise together, or none does while the copy can't be reached. A copy in points in time holds the count of a moment, and its
//! guest waits for nothing. A VM that starts from a copy must find in it what the facts promised when they let it start there:
//! all of it, or all that was written before the point that they name.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_roles::agent::{Input, Kept};
use dwcp_roles::protocol::{GuardPhase, GuardReport, NEVER_MS, ProtectTo};
use dwcp_state::{DiskProof, MigrationState};
use dwcp_types::{NodeId, VmId};

use crate::world::{Event, World};

/// Between two looks at a disk that is copied, µs.
const LOOK_US: u64 = 400_000;
/// How long a first copy takes, µs.
const COPY_US: u64 = 1_500_000;
/// An agent says that a copy is lost when it was out of reach for so long, µs.
const LOST_US: u64 = 3_000_000;

/// A disk that is copied.
#[derive(Clone, Debug)]
struct Guarded {
    generation: u64,
    to: ProtectTo,
    begun_us: u64,
    reached_us: u64,
    told: Option<GuardPhase>,
    /// It was whole once: from then on a guest waits for it.
    whole: bool,
    /// The moment of the newest point that is whole over there, µs.
    point_us: Option<u64>,
    /// A point on its way: its moment, and the writes in it.
    making: Option<(u64, u64)>,
}

/// Disks and their copies.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    /// What each host's agent was told to keep.
    kept: BTreeMap<usize, Kept>,
    guarded: BTreeMap<(usize, VmId), Guarded>,
    /// Writes that each VM's guest was told are done, ever.
    written: BTreeMap<VmId, u64>,
    /// When each of them was, of disks that are kept in points in time, µs.
    moments: BTreeMap<VmId, Vec<u64>>,
    /// By host and VM: the epoch of the copy and the writes in it.
    copied: BTreeMap<(usize, VmId), (u64, u64)>,
    /// Copies that became disks: host, VM, epoch.
    promoted: BTreeSet<(usize, VmId, u64)>,
}

impl World {
    /// The agent of a host says where a disk is to be copied.
    pub(crate) fn guard(&mut self, host: usize, vm: VmId, generation: u64, to: Option<ProtectTo>) {
        let now_us = self.now_us;
        let Some(to) = to else {
            self.copies.guarded.remove(&(host, vm));
            return;
        };
        match self.copies.guarded.get_mut(&(host, vm)) {
            Some(known) if known.to.epoch == to.epoch && known.generation == generation => known.to = to,
            _ => {
                let guarded = Guarded {
                    generation,
                    to,
                    begun_us: now_us,
                    reached_us: now_us,
                    told: None,
                    whole: false,
                    point_us: None,
                    making: None,
                };
                if self.copies.guarded.insert((host, vm), guarded).is_none() {
                    self.schedule(LOOK_US, Event::Copying { host, vm });
                }
            }
        }
    }

    /// The agent of a host is told which copies to keep.
    pub(crate) fn keep_copies(&mut self, host: usize, kept: Kept) {
        let stays =
            |vm: &VmId| kept.serve.iter().any(|of| of.vm == *vm) || kept.hold.iter().any(|(of, _)| of == vm);
        self.copies.copied.retain(|(at, vm), _| *at != host || stays(vm));
        self.copies.kept.insert(host, kept);
    }

    /// The process of a VM starts from a copy on its host.
    pub(crate) fn boot_from(&mut self, host: usize, vm: VmId, epoch: u64) {
        if !self.copies.promoted.insert((host, vm, epoch)) {
            return;
        }
        let name = self.hosts[host].name.clone();
        let written = self.copies.written.get(&vm).copied().unwrap_or(0);
        match self.copies.copied.get(&(host, vm)).copied() {
            // A point stays one when another epoch goes on from it.
            Some((of, there)) if of == epoch || (of < epoch && self.copies.moments.contains_key(&vm)) => {
                self.note(format!("host {name}: {vm} starts from its copy of epoch {of}"));
                let promised = self.promised(vm, written);
                if there < promised {
                    let text = format!(
                        "{vm} starts on {name} with {there} of {written} acknowledged writes; {promised} were promised"
                    );
                    self.checkers.object(text);
                }
                self.copies.written.insert(vm, there);
                if let Some(moments) = self.copies.moments.get_mut(&vm) {
                    moments.truncate(there as usize);
                }
            }
            found => {
                self.checkers.object(format!("{vm} starts on {name} from epoch {epoch}; there is {found:?}"))
            }
        }
    }

    /// How many of the VM's writes the newest failover that names it says are not lost, or a move since: all of them.
    fn promised(&self, vm: VmId, written: u64) -> u64 {
        let nodes = self.nodes.values().filter_map(|slot| slot.node.as_ref());
        let Some(newest) = nodes.max_by_key(|node| node.facts().revision(0)) else { return 0 };
        let of_now = newest.facts().vm(vm).map(|(_, vm)| vm.generation);
        let mut moved = newest.facts().regions.values().flat_map(|facts| &facts.migrated);
        if moved.any(|of| of.vm == vm && of.state == MigrationState::Done && Some(of.generation) == of_now) {
            return written;
        }
        let mut named = newest.facts().core.failovers.values().rev().flat_map(|failover| &failover.vms);
        match named.find(|of| of.vm == vm).map(|of| of.disk) {
            Some(DiskProof::Zero) => written,
            Some(DiskProof::Point(point)) => {
                let before_us = point.0.saturating_sub(crate::world::EPOCH_MS) * 1_000;
                let moments = self.copies.moments.get(&vm);
                moments.map_or(0, |moments| moments.partition_point(|at_us| *at_us < before_us) as u64)
            }
            _ => 0,
        }
    }

    /// Looks at a disk that is copied: its guest writes, if it is told that it may.
    pub(crate) fn copying(&mut self, host: usize, vm: VmId) {
        let Some(mut of) = self.copies.guarded.get(&(host, vm)).cloned() else { return };
        let process =
            self.hosts[host].processes.get(&vm).filter(|process| process.generation == of.generation);
        let Some(runs) = process.map(|process| process.runs()) else {
            self.copies.guarded.remove(&(host, vm));
            return;
        };
        self.schedule(LOOK_US, Event::Copying { host, vm });
        let agent = self.hosts[host].alive && self.hosts[host].agent.is_some();
        let keeper = self.keeper_of(host, vm, &of.to).filter(|_| agent);
        let now_us = self.now_us;
        let whole = keeper.is_some() && now_us >= of.begun_us + COPY_US;
        if keeper.is_some() {
            of.reached_us = now_us;
        }
        if of.to.interval_ms > 0 {
            if runs {
                *self.copies.written.entry(vm).or_default() += 1;
                self.copies.moments.entry(vm).or_default().push(now_us);
            }
            self.keep_point(host, vm, &mut of, keeper.filter(|_| whole && runs), agent);
            self.copies.guarded.insert((host, vm), of);
            return;
        }
        let phase = match (of.to.go_on, whole, keeper.is_some()) {
            (true, ..) => GuardPhase::Released,
            (_, true, _) => GuardPhase::Synced,
            (_, _, true) => GuardPhase::Syncing,
            _ if now_us < of.reached_us + LOST_US => of.told.unwrap_or_default(),
            _ => GuardPhase::Lost,
        };
        let waits = keeper.is_none() && !of.to.go_on && of.whole;
        if runs && !waits {
            *self.copies.written.entry(vm).or_default() += 1;
        }
        if let Some(keeper) = keeper.filter(|_| whole && !of.to.go_on) {
            let written = self.copies.written.get(&vm).copied().unwrap_or(0);
            self.copies.copied.insert((keeper, vm), (of.to.epoch, written));
            of.whole = true;
        }
        if agent && of.told != Some(phase) {
            of.told = Some(phase);
            let point_age_ms = if of.whole { 0 } else { NEVER_MS };
            let reason = if phase == GuardPhase::Lost { "out of reach".to_string() } else { String::new() };
            let report = GuardReport { epoch: of.to.epoch, phase, percent: 100, point_age_ms, reason };
            self.later(host, 1_000, Input::Guarded { vm, generation: of.generation, report });
        }
        self.copies.guarded.insert((host, vm), of);
    }

    /// A point that is on its way arrives if the copy can be reached, else it is thrown away; the next one begins when it is due.
    fn keep_point(&mut self, host: usize, vm: VmId, of: &mut Guarded, keeper: Option<usize>, agent: bool) {
        let (now_us, interval_us) = (self.now_us, of.to.interval_ms * 1_000);
        let mut news = false;
        if let (Some((point_us, written)), Some(keeper)) = (of.making.take(), keeper) {
            self.copies.copied.insert((keeper, vm), (of.to.epoch, written));
            (of.point_us, news) = (Some(point_us), true);
        }
        if keeper.is_some() && of.point_us.is_none_or(|at_us| now_us >= at_us + interval_us) {
            of.making = Some((now_us, self.copies.written.get(&vm).copied().unwrap_or(0)));
        }
        let late = now_us > of.point_us.unwrap_or(of.begun_us) + 2 * interval_us;
        let phase = match (late, of.point_us) {
            (true, _) => GuardPhase::Lost,
            (_, Some(_)) => GuardPhase::Synced,
            (_, None) => GuardPhase::Syncing,
        };
        if agent && (news || of.told != Some(phase)) {
            of.told = Some(phase);
            let point_age_ms = of.point_us.map_or(NEVER_MS, |at_us| (now_us - at_us) / 1_000);
            let reason = if late { "out of reach".to_string() } else { String::new() };
            let report = GuardReport { epoch: of.to.epoch, phase, percent: 100, point_age_ms, reason };
            self.later(host, 1_000, Input::Guarded { vm, generation: of.generation, report });
        }
    }

    /// The host that takes the writes of a copy now; none while it can't be reached or does not take them.
    fn keeper_of(&self, host: usize, vm: VmId, to: &ProtectTo) -> Option<usize> {
        let keeper = self.hosts.iter().position(|of| of.region == to.region && of.name == to.host)?;
        let takes = self
            .copies
            .kept
            .get(&keeper)?
            .serve
            .iter()
            .any(|of| of.vm == vm && of.epoch == to.epoch && of.from_host == self.hosts[host].name);
        let home = |of: usize| -> NodeId { self.hosts[of].home };
        let cut = self.net.is_cut(home(host), home(keeper)) || self.net.is_cut(home(keeper), home(host));
        (takes && !cut && self.hosts[keeper].alive && self.hosts[keeper].agent.is_some()).then_some(keeper)
    }
}
