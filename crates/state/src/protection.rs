//! Protection of a VM's disk: a copy in another region that is kept up to date while the VM runs.
//!
//! Two groups take part. The group of the VM's region holds, in the VM's record, what people want ([`Protection`]) and what
//! was concluded of the copy ([`Guard`]). The group of the copy's region holds that the copy is there and takes room
//! ([`Replica`]). Both name the same *epoch*: it rises each time a copy is begun anew, and a copy of another epoch is never
//! written by this VM nor started from.

use dwcp_types::{Code, HostId, Refusal, RegionId, Revision, VmId, Wall};

use crate::{Mode, Vm};

/// How a VM's disk is kept in another region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtectionMode {
    /// It is not.
    #[default]
    None,
    /// A copy of the disk as it was at a point in time, made anew each so many milliseconds.
    Async(u64),
    /// Every write is on the copy before the guest hears that it is done.
    Sync,
}

impl std::fmt::Display for ProtectionMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProtectionMode::None => f.write_str("none"),
            ProtectionMode::Async(interval_ms) => write!(f, "async:{}s", interval_ms / 1_000),
            ProtectionMode::Sync => f.write_str("sync"),
        }
    }
}

/// What a synchronously protected VM does when its copy can't be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReplicaLoss {
    /// Its writes wait until the copy is back.
    #[default]
    Stop,
    /// It goes on without protection once that is committed.
    GoOn,
}

/// What people want, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// How the disk is kept in another region.
    pub mode: ProtectionMode,
    /// What happens when the copy can't be written.
    pub on_loss: OnReplicaLoss,
    /// Only in this region; none: the one that placement chooses.
    pub region: Option<RegionId>,
    /// The copy.
    pub guard: Guard,
    /// The epoch of the copy that the disk on this host was made from; 0: none.
    pub boot: u64,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardState {
    /// It is being made: not of use yet.
    #[default]
    Syncing,
    /// It holds everything that the guest was told is written (sync), or a whole point in time (async).
    Protected,
    /// It is behind.
    Degraded,
}

/// What was concluded of a VM's copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Rises each time a copy is begun anew; 0: none was begun yet.
    pub epoch: u64,
    /// The region that keeps it; none: no place was chosen yet.
    pub region: Option<RegionId>,
    /// The host that keeps it.
    pub host: HostId,
    /// Where that host's agent takes the writes, `ip:port`; empty: not known yet.
    pub endpoint: String,
    /// How far it is.
    pub state: GuardState,
    /// Since when.
    pub since: Wall,
    /// Up to when it certainly holds everything that the guest was told is written; 0: never yet. A copy that is
    /// synchronous and `Protected` holds everything whatever this says.
    pub point: Wall,
    /// Why it is behind.
    pub reason: String,
    /// The guest was allowed to go on without this copy: it never counts as protected again under this epoch.
    pub released: bool,
}

/// What a VM that starts from its copy would have of what its guest was told is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskProof {
    /// Not known: an earlier version wrote it, or nothing was decided.
    #[default]
    Unknown,
    /// It has no disk.
    NoDisk,
    /// Its disk is not protected, or no copy is whole: it starts with a new disk.
    Unprotected,
    /// Everything: its copy was synchronous and protected until the end.
    Zero,
    /// Everything up to this moment.
    Point(Wall),
}

impl DiskProof {
    /// In words; `end` is when the VM was lost.
    pub fn text(&self, end: Wall) -> String {
        match self {
            DiskProof::Unknown => "unknown".to_string(),
            DiskProof::NoDisk => "no disk".to_string(),
            DiskProof::Unprotected => "none: its disk is not protected".to_string(),
            DiskProof::Zero => "0 (sync, protected until the end)".to_string(),
            DiskProof::Point(point) => {
                format!(
                    "at most {} s (its copy is of {} s before)",
                    end.ms_since(*point).div_ceil(1_000),
                    end.ms_since(*point) / 1_000
                )
            }
        }
    }
}

/// A copy of a VM of another region, kept on a host of this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    /// The VM.
    pub vm: VmId,
    /// Its name.
    pub name: String,
    /// The host here that keeps it.
    pub host: HostId,
    /// The region that the VM runs in.
    pub from: RegionId,
    /// The host that the VM runs on: only its agent may write.
    pub from_host: HostId,
    /// Only writes of this epoch are taken.
    pub epoch: u64,
    /// Size of the disk, and the room that is taken for it, GiB.
    pub disk_gib: u64,
    /// Whether whole points in time are kept, and not every write.
    pub points: bool,
    /// The revision of the other region's facts that this was decided on: older ones say nothing about it.
    pub seen: Revision,
    /// Since when it is here.
    pub since: Wall,
}

impl Vm {
    /// True when people want its disk kept in another region, and it has one that can be.
    pub fn is_protected(&self) -> bool {
        self.protection.mode != ProtectionMode::None && self.spec.size.disk_gib > 0
    }

    /// The region and host of the copy that it can start from, when there is one.
    pub fn usable_replica(&self) -> Option<(&RegionId, &HostId)> {
        let guard = &self.protection.guard;
        let whole = match guard.state {
            GuardState::Protected => true,
            GuardState::Degraded => guard.point > Wall(0),
            // A synchronous copy that is made anew is overwritten in place; of an asynchronous one the last point stays.
            GuardState::Syncing => {
                matches!(self.protection.mode, ProtectionMode::Async(_)) && guard.point > Wall(0)
            }
        };
        let region = guard.region.as_ref().filter(|_| self.is_protected() && whole)?;
        Some((region, &guard.host))
    }

    /// Refuses a move of a VM with a protected disk, unless it is stopped and starts on the host of its copy, from all of it; or is
    /// copied while it runs, and its disk is kept in points in time: those can wait for it.
    ///
    /// # Errors
    /// What is in the way, and what to type instead.
    pub fn check_protected_move(
        &self,
        mode: Mode,
        to: &RegionId,
        on: Option<&HostId>,
    ) -> Result<(), Refusal> {
        let points = matches!(self.protection.mode, ProtectionMode::Async(_));
        if !self.is_protected() || (points && mode == Mode::Live) {
            return Ok(());
        }
        let (name, kind) = (&self.name, self.protection.mode);
        if points {
            return Err(Refusal::new(Code::ProtectedDisk, format!("{name} can't be moved to {to} cold"))
                .because(format!(
                    "its disk is protected ({kind}): its copy is a point in time, behind its disk"
                ))
                .then("nothing was changed")
                .try_this(format!("dwcp-cli federation migrate --vm {name} --target {to}")));
        }
        let whole = self.usable_replica().filter(|_| self.disk_proof() == DiskProof::Zero);
        let there = whole.is_some_and(|(region, host)| region == to && on.is_none_or(|on| on == host));
        if there && mode == Mode::Cold {
            return Ok(());
        }
        let how = if mode == Mode::Live { " while it runs" } else { "" };
        let mut refusal = Refusal::new(Code::ProtectedDisk, format!("{name} can't be moved to {to}{how}"));
        refusal = match (&self.protection.guard.region, whole) {
            (_, Some((region, host))) => refusal
                .because(format!("its disk is protected ({kind}): its copy is whole on {host} in {region}, where it can start"))
                .try_this(format!("dwcp-cli federation migrate --vm {name} --cold --target {region}")),
            (Some(region), None) => {
                refusal.because(format!("its disk is protected ({kind}), and its copy in {region} is not whole"))
            }
            (None, None) => refusal.because(format!("its disk is protected ({kind}), and its copy has no place yet")),
        };
        Err(refusal
            .then(format!("nothing was changed; once it has moved: dwcp-cli vm protect {name} --mode {kind}"))
            .try_this(format!("dwcp-cli vm protect {name} --mode none")))
    }

    /// What it would have of its disk if it started from its copy now; without a usable copy, of a new disk.
    pub fn disk_proof(&self) -> DiskProof {
        let guard = &self.protection.guard;
        if self.spec.size.disk_gib == 0 {
            return DiskProof::NoDisk;
        }
        match self.usable_replica() {
            None => DiskProof::Unprotected,
            Some(_)
                if self.protection.mode == ProtectionMode::Sync && guard.state == GuardState::Protected =>
            {
                DiskProof::Zero
            }
            Some(_) => DiskProof::Point(guard.point),
        }
    }
}
