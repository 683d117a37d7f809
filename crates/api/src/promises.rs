//! Which promised times the federation could not keep, as it is now.

use crate::Freshness;

endpoint! {
    #[doc = "Whether the promised recovery time and point could be kept if a region died now, and why not."]
    PromisesRead: Get "/v1/promises", Read, PromisesReadRequest => PromisesReport;
}

request! {
    /// Which regions to judge.
    pub struct PromisesReadRequest {
        /// Only this one; `null`: all.
        pub region: Option<String>,
    }
}

wire! {
    /// One step from the death of a region until its VMs answer elsewhere.
    #[derive(Eq)]
    pub struct PromiseStep {
        /// `detect`, `agree`, `fence`, `hand over`, `boot`.
        pub step: String,
        /// The longest it takes on top of the steps before it.
        pub at_most_ms: u64,
        /// What it is made of, with numbers.
        pub from: String,
    }

    /// What holds if one region dies now.
    #[derive(Eq)]
    pub struct RegionPromise {
        pub region: String,
        /// VMs to run that would move.
        pub vms: u64,
        /// Until the last of them answers; `null`: nothing would move, or not by itself.
        pub rto_ms: Option<u64>,
        pub steps: Vec<PromiseStep>,
        /// Acknowledged changes of the region that would be lost, by time; `null`: no majority is left to tell.
        pub rpo_ms: Option<u64>,
        /// By how much the oldest copy of a VM's disk is behind; `null`: no VM has a copy to start from.
        pub disk_rpo_ms: Option<u64>,
        /// VMs that would move with a disk that nobody asked to be copied: its content is on their host alone.
        pub unprotected: u64,
        pub kept: bool,
        /// What keeps the promise from being kept, with numbers.
        pub broken: Vec<String>,
        /// What would help.
        pub helps: Vec<String>,
        /// The boot time that was counted with.
        pub boot_ms: u64,
        /// The creations it was measured on; 0: it is assumed.
        pub boots_measured: u64,
    }

    /// Which promises hold.
    #[derive(Eq)]
    pub struct PromisesReport {
        pub rto_target_ms: u64,
        pub regions: Vec<RegionPromise>,
        /// What was not measured and is assumed.
        pub assumed: Vec<String>,
        pub kept: bool,
        pub as_of: Vec<Freshness>,
    }
}
