//! A drill: a region's failure rehearsed on copies of its VMs, or made real on a development federation, with what was
//! measured of it.

use std::collections::BTreeMap;

use dwcp_types::{DrillId, FailoverId, Generation, HostId, Priority, RegionId, VmId, Wall};

/// What a drill loses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DrillMode {
    /// Copies of the region's VMs; what people run goes on untouched.
    #[default]
    Isolated,
    /// The region itself: its links are cut.
    Live,
}

impl std::fmt::Display for DrillMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DrillMode::Isolated => "isolated",
            DrillMode::Live => "live",
        })
    }
}

/// How far a drill is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DrillState {
    /// Something is still to be measured.
    #[default]
    Running,
    /// Measured; what it made is still there.
    Done,
    /// What it made is gone.
    Restored,
    /// Nothing could be measured; what it made is gone.
    Failed,
}

/// A moment of a drill, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrillMoment {
    /// The failure.
    #[default]
    Cut,
    /// The failure counts as one.
    Detected,
    /// A majority of regions has taken note.
    Agreed,
    /// Nothing of what was lost can still run.
    Fenced,
    /// Each VM has a place elsewhere, or none.
    Planned,
    /// Each runs there.
    Restarted,
    /// Each answers there.
    Verified,
}

/// When a moment came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrillTime {
    /// Which moment.
    pub moment: DrillMoment,
    /// When.
    pub at: Wall,
    /// What it waited for, or how it is known.
    pub note: String,
}

/// What became of one VM of a drill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrillVmState {
    /// Its copy does not answer yet.
    #[default]
    Waiting,
    /// It answers, and is to be lost.
    Ready,
    /// It was lost.
    Lost,
    /// It has a place elsewhere.
    Moving,
    /// It answers elsewhere.
    Verified,
    /// There is no place for it.
    Left,
    /// It did not answer.
    Failed,
}

/// One VM of a drill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrillVm {
    /// The VM that people run.
    pub of: VmId,
    /// Its copy; in a live drill the VM itself.
    pub vm: VmId,
    /// The name of the copy.
    pub name: String,
    /// How much it matters.
    pub priority: Priority,
    /// Where it was lost.
    pub from_host: HostId,
    /// Where it goes.
    pub to_region: Option<RegionId>,
    /// The host there.
    pub to_host: Option<HostId>,
    /// Its generation there.
    pub generation: Generation,
    /// What became of it.
    pub state: DrillVmState,
    /// Why it went there, or why it did not.
    pub reason: String,
    /// It ran when the failure came: it counts in the success rate.
    pub lost: bool,
    /// When it answered there.
    pub answered_at: Option<Wall>,
    /// It has a disk that could lose something.
    pub disk: bool,
    /// Records that it acknowledged before the failure; none: nobody counted.
    pub written: Option<u64>,
    /// Of those, what it had afterwards; none: nobody has read them.
    pub kept: Option<u64>,
}

impl DrillVm {
    /// False for an older word: a state never goes back.
    fn is_followed_by(&self, new: &DrillVm) -> bool {
        new.state >= self.state
    }

    /// True once nothing more will become of it.
    pub fn is_settled(&self) -> bool {
        self.state >= DrillVmState::Verified
    }
}

/// What a drill may have lost of what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrillLoss {
    /// No VM of it has a disk: there was nothing to lose.
    NoDisk,
    /// Acknowledged records that were missing afterwards.
    Records(u64),
    /// Not measured.
    Unknown,
}

/// A drill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drill {
    /// Its number.
    pub id: DrillId,
    /// The region that fails.
    pub region: RegionId,
    /// What is lost.
    pub mode: DrillMode,
    /// Who asked.
    pub by: String,
    /// When it was asked for.
    pub started_at: Wall,
    /// Its VMs, most important first.
    pub vms: Vec<DrillVm>,
    /// VMs that run in the region and were left out because a drill takes so many at most.
    pub left_out: u64,
    /// What happened when, in order.
    pub times: Vec<DrillTime>,
    /// How far it is.
    pub state: DrillState,
    /// When everything was measured.
    pub measured_at: Option<Wall>,
    /// Somebody has ended it, or its time was up: what it made goes away.
    pub restoring_since: Option<Wall>,
    /// When nothing of it was left.
    pub ended_at: Option<Wall>,
    /// How it ended, in one line.
    pub result: String,
    /// The region's own failover, in a live drill.
    pub failover: Option<FailoverId>,
    /// Nobody has ended it so long after it began: then it ends by itself, ms; 0: [`Drill::UNATTENDED_MS`].
    pub limit_ms: u64,
}

/// News of a drill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrillNews {
    /// Of which.
    pub drill: DrillId,
    /// What became of these.
    pub vms: Vec<DrillVm>,
    /// What happened since.
    pub times: Vec<DrillTime>,
    /// The region's own failover.
    pub failover: Option<FailoverId>,
}

/// Marks a VM that was made for a drill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrillMark {
    /// For which.
    pub drill: DrillId,
    /// It is lost under this generation since then: its host kills it.
    pub lost: Option<(Generation, Wall)>,
}

impl Drill {
    /// A drill that nobody ends is ended then unless it was begun with another limit, ms.
    pub const UNATTENDED_MS: u64 = 1_800_000;

    /// When it ends by itself at the latest.
    pub fn ends_at(&self) -> Wall {
        let limit_ms = if self.limit_ms == 0 { Self::UNATTENDED_MS } else { self.limit_ms };
        Wall(self.started_at.0.saturating_add(limit_ms))
    }

    /// True until nothing of it is left.
    pub fn is_open(&self) -> bool {
        matches!(self.state, DrillState::Running | DrillState::Done)
    }

    /// When a moment came.
    pub fn time(&self, moment: DrillMoment) -> Option<Wall> {
        self.times.iter().find(|time| time.moment == moment).map(|time| time.at)
    }

    /// VMs that were lost.
    pub fn lost(&self) -> impl Iterator<Item = &DrillVm> {
        self.vms.iter().filter(|vm| vm.lost)
    }

    /// VMs that answer elsewhere.
    pub fn verified(&self) -> usize {
        self.lost().filter(|vm| vm.state == DrillVmState::Verified).count()
    }

    /// From the failure to the last answer elsewhere, ms; none: not measured, or not yet.
    pub fn rto_ms(&self) -> Option<u64> {
        self.measured_at?;
        let last = self.lost().filter_map(|vm| vm.answered_at).max()?;
        Some(last.ms_since(self.time(DrillMoment::Cut)?))
    }

    /// What is known of lost records.
    pub fn loss(&self) -> DrillLoss {
        if self.measured_at.is_none() || self.lost().next().is_none() {
            return DrillLoss::Unknown;
        }
        let mut missing = Some(0u64);
        let mut disks = false;
        for vm in self.lost().filter(|vm| vm.disk) {
            disks = true;
            let of = vm.written.zip(vm.kept).map(|(written, kept)| written.saturating_sub(kept));
            missing = missing.zip(of).map(|(all, more)| all + more);
        }
        match (disks, missing) {
            (false, _) => DrillLoss::NoDisk,
            (true, Some(records)) => DrillLoss::Records(records),
            (true, None) => DrillLoss::Unknown,
        }
    }

    /// Takes news over; an older word that comes later changes nothing.
    pub(crate) fn take(&mut self, news: &DrillNews) {
        let mut told: BTreeMap<VmId, &DrillVm> = news.vms.iter().map(|vm| (vm.vm, vm)).collect();
        for vm in &mut self.vms {
            let Some(new) = told.remove(&vm.vm).filter(|new| vm.is_followed_by(new)) else { continue };
            let (written, kept) = (vm.written, vm.kept);
            *vm = new.clone();
            vm.written = written.or(new.written);
            vm.kept = kept.or(new.kept);
        }
        if self.mode == DrillMode::Live {
            self.vms.extend(told.into_values().cloned());
        }
        for time in &news.times {
            if self.times.iter().all(|known| known.moment < time.moment) {
                self.times.push(time.clone());
            }
        }
        self.failover = self.failover.or(news.failover);
    }
}
