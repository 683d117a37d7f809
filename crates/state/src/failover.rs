//! A region's failover: who decided, what phases it went through, what became of each VM.

use std::collections::BTreeMap;

use dwcp_types::{FailoverId, Generation, HostId, OperationId, Priority, RegionId, VmId, Wall};

use crate::{DiskProof, Region};

/// Who decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trigger {
    /// A majority of regions could not hear the region.
    #[default]
    Automatic,
    /// An operator.
    Manual,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailoverState {
    /// Going on.
    #[default]
    Running,
    /// Every VM serves elsewhere.
    Done,
    /// Ended with VMs left.
    Partial,
    /// Stopped by an operator.
    Cancelled,
}

/// A phase's name, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PhaseName {
    /// From the first missed heartbeat to the proposal.
    #[default]
    Detect,
    /// Until a majority of regions has agreed.
    Agree,
    /// Until every lease of the region must have run out.
    Fence,
    /// Until each VM has a place.
    Plan,
    /// Until each VM runs.
    Restart,
    /// Until each VM answers.
    Verify,
}

/// A phase with its times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhaseSpan {
    /// Which.
    pub name: PhaseName,
    /// When it began.
    pub started_at: Wall,
    /// When it ended.
    pub ended_at: Wall,
}

/// What became of one VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MoveState {
    /// Planned; not admitted yet.
    #[default]
    Waiting,
    /// It serves in its new place.
    Verified,
    /// It has no place: it stays on the lost region's books.
    Left,
    /// It was given a place and does not serve.
    Failed,
}

/// One VM of a failover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailoverVm {
    /// Which.
    pub vm: VmId,
    /// Its name.
    pub name: String,
    /// How much it matters.
    pub priority: Priority,
    /// Where it was.
    pub from_host: HostId,
    /// Where it goes; none when nothing fits.
    pub to_region: Option<RegionId>,
    /// The host planned; the region may choose another when it has changed.
    pub to_host: Option<HostId>,
    /// Its generation there.
    pub generation: Generation,
    /// What became of it.
    pub state: MoveState,
    /// Why it went there, or nowhere.
    pub reason: String,
    /// When it was verified.
    pub verified_at: Option<Wall>,
    /// What it has of its disk there.
    pub disk: DiskProof,
}

impl FailoverVm {
    /// False for an older word: one that has served elsewhere has, a generation never falls, and a place that was given
    /// under a generation is not taken back under the same.
    fn is_followed_by(&self, new: &FailoverVm) -> bool {
        let unplaces = self.to_region.is_some() && new.to_region.is_none();
        self.state != MoveState::Verified
            && (new.generation > self.generation || (new.generation == self.generation && !unplaces))
    }
}

/// A failover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failover {
    /// Its number.
    pub id: FailoverId,
    /// The operation that stands for it.
    pub operation: OperationId,
    /// The region that fails over.
    pub from: RegionId,
    /// Only to these, when not empty.
    pub to: Vec<RegionId>,
    /// Who decided.
    pub trigger: Trigger,
    /// The regions that could not hear it.
    pub witnesses: Vec<RegionId>,
    /// Only VMs of at least this priority.
    pub min_priority: Priority,
    /// Give up waiting after so long, in milliseconds.
    pub max_time_ms: Option<u64>,
    /// Move what fits even when not everything does.
    pub partial: bool,
    /// Who asked.
    pub by: String,
    /// The first missed heartbeat, or the moment of the request.
    pub first_missed_at: Wall,
    /// Phases that have ended.
    pub phases: Vec<PhaseSpan>,
    /// Its VMs, most important first.
    pub vms: Vec<FailoverVm>,
    /// How far it is.
    pub state: FailoverState,
    /// When it ended.
    pub ended_at: Option<Wall>,
    /// The region's record before, with the revision that the loss gave it; none: an earlier version wrote it.
    pub before: Option<Region>,
}

impl Failover {
    /// True once some VM was given a place: it leaves as soon as its region's group knows, or has left.
    pub fn has_places(&self) -> bool {
        self.vms.iter().any(|vm| vm.to_region.is_some())
    }

    /// Takes over what has become of some VMs; an older word that comes later changes nothing.
    pub(crate) fn record(&mut self, news: &[FailoverVm]) {
        let mut news: BTreeMap<VmId, &FailoverVm> = news.iter().map(|vm| (vm.vm, vm)).collect();
        for vm in &mut self.vms {
            if let Some(new) = news.remove(&vm.vm) {
                if vm.is_followed_by(new) {
                    *vm = new.clone();
                }
            }
        }
        self.vms.extend(news.into_values().cloned());
        self.vms.sort_by_key(|vm| (std::cmp::Reverse(vm.priority), vm.vm));
    }

    /// The end of the newest phase that has ended.
    pub fn last_phase_end(&self) -> Wall {
        self.phases.last().map_or(self.first_missed_at, |phase| phase.ended_at)
    }

    /// Recovery time so far or in all, in milliseconds: from the first missed heartbeat to the last VM's own answer.
    pub fn rto_ms(&self, now: Wall) -> u64 {
        self.ended_at.unwrap_or(now).ms_since(self.first_missed_at)
    }
}
