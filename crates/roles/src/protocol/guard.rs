//! What leader and agent say about copies of VMs' disks.

use dwcp_types::{HostId, RegionId, VmId, wire_enum, wire_struct};

/// Where the copy of a VM's disk is to be kept up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtectTo {
    /// Rises each time a copy is begun anew.
    pub epoch: u64,
    /// The region that keeps it.
    pub region: RegionId,
    /// The host that keeps it.
    pub host: HostId,
    /// Where its agent takes the writes, `ip:port`.
    pub endpoint: String,
    /// Between two points in time, ms; 0: every write.
    pub interval_ms: u64,
    /// Its region knows that the copy is behind: the guest goes on without it.
    pub go_on: bool,
}
wire_struct!(ProtectTo { 1 epoch, 2 region, 3 host, 4 endpoint, 5 interval_ms, 6 go_on });

/// A copy of another host's VM that is to be kept here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaIntent {
    /// The VM.
    pub vm: VmId,
    /// Only writes of this epoch are taken.
    pub epoch: u64,
    /// The region whose host writes.
    pub from_region: RegionId,
    /// The host that writes.
    pub from_host: HostId,
    /// Size of the disk, GiB.
    pub disk_gib: u64,
    /// Whether whole points in time are kept, and not every write.
    pub points: bool,
}
wire_struct!(ReplicaIntent { 1 vm, 2 epoch, 3 from_region, 4 from_host, 5 disk_gib, 6 points });

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardPhase {
    /// It is being made.
    #[default]
    Syncing,
    /// It holds everything that the guest was told is written, or a whole point in time that is not too old.
    Synced,
    /// It can't be written, and the guest's writes wait. Of points: the newest is older than two intervals; the guest goes on.
    Lost,
    /// The VM's process ended after the copy was whole: the next one writes only when its region knows.
    Ended,
    /// The guest goes on without it, as its region allowed.
    Released,
}
wire_enum!(GuardPhase { 1 Syncing, 2 Synced, 3 Lost, 4 Ended, 5 Released });

/// What an agent says about the copy of one VM's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardReport {
    /// The copy's epoch.
    pub epoch: u64,
    /// How far it is.
    pub phase: GuardPhase,
    /// How much of it is made, percent.
    pub percent: u32,
    /// Age of the newest moment that it certainly holds, ms; [`super::NEVER_MS`] when there is none.
    pub point_age_ms: u64,
    /// Why it is not written.
    pub reason: String,
}
wire_struct!(GuardReport { 1 epoch, 2 phase, 3 percent, 4 point_age_ms, 5 reason });
