//! Protection of VMs' disks: copies in other regions.

use crate::Freshness;
use crate::vm::VmChanged;

endpoint! {
    #[doc = "Says how a VM's disk is to be kept in another region."]
    VmProtect: Put "/v1/vms/{vm}/protection", Operate, VmProtectRequest => VmChanged;
    #[doc = "Every protected VM: where its copy is, how far it is, what would be lost."]
    ProtectionRead: Get "/v1/protection", Read, ProtectionReadRequest => ProtectionStatus;
}

request! {
    /// How a VM's disk is to be protected.
    pub struct VmProtectRequest {
        /// Id or name.
        pub vm: String,
        #[serde(default)]
        pub protection: ProtectionWanted,
        /// Give up a copy that is behind and make one anew, wherever there is a place.
        #[serde(default)]
        pub again: bool,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which protected VMs.
    pub struct ProtectionReadRequest {
        /// Only VMs that live in this region.
        pub region: Option<String>,
    }
}

wire! {
    /// How a disk is kept in another region.
    #[derive(Copy, Eq, Default)]
    #[serde(rename_all = "snake_case")]
    pub enum ProtectionMode {
        /// It is not.
        #[default]
        None,
        /// A point in time, made anew each `interval_ms`.
        Async,
        /// Every write is there before the guest hears that it is done.
        Sync,
    }

    /// What a synchronously protected VM does when its copy can't be written.
    #[derive(Copy, Eq, Default)]
    #[serde(rename_all = "snake_case")]
    pub enum OnReplicaLoss {
        /// Its writes wait until the copy is back.
        #[default]
        Stop,
        /// It goes on unprotected once that is committed.
        GoOn,
    }

    /// What is wanted.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields, default)]
    pub struct ProtectionWanted {
        pub mode: ProtectionMode,
        /// Between two points in time, 5000 to 86400000; `null`: 30000. Only with `async`.
        pub interval_ms: Option<u64>,
        pub on_replica_loss: OnReplicaLoss,
        /// Only in this region; `null`: the nearest that its rules allow.
        pub region: Option<String>,
    }

    /// How far a copy is.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum ProtectionState {
        /// No place was found for it yet.
        Waiting,
        /// It is being made.
        Syncing,
        /// A start from it would lose nothing that was acknowledged (sync), or what came after its point (async).
        Protected,
        /// It is behind.
        Degraded,
    }

    /// A VM's protection.
    #[derive(Eq)]
    pub struct Protection {
        pub wanted: ProtectionWanted,
        pub state: ProtectionState,
        /// Milliseconds since 1970 (UTC).
        pub since_at_ms: u64,
        /// Where the copy is; `null`: not chosen yet.
        pub region: Option<String>,
        pub host: Option<String>,
        /// Rises each time a copy is begun anew.
        pub epoch: u64,
        /// Up to when a copy that is behind holds everything, or the newest point in time; `null`: there is none.
        pub point_at_ms: Option<u64>,
        /// What a start from the copy would lose now, in milliseconds of acknowledged writes; `null`: the whole disk.
        pub would_lose_ms: Option<u64>,
        /// Why it is behind.
        pub reason: String,
    }

    /// A protected VM.
    #[derive(Eq)]
    pub struct ProtectedVm {
        pub vm: String,
        pub name: String,
        /// The region it lives in.
        pub region: String,
        pub protection: Protection,
    }

    /// Every protected VM.
    #[derive(Eq)]
    pub struct ProtectionStatus {
        pub vms: Vec<ProtectedVm>,
        pub protected: u64,
        pub syncing: u64,
        pub degraded: u64,
        pub waiting: u64,
        pub as_of: Vec<Freshness>,
    }
}
