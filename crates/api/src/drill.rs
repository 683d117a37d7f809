//! Drills: a region's failure rehearsed, and what was measured of it.

use crate::{Freshness, Page};

endpoint! {
    #[doc = "Rehearses the failure of a region on copies of its VMs; the same call twice joins the drill that runs."]
    DrillStart: Post "/v1/drills", Operate, DrillRequest => DrillAnswer;
    #[doc = "Lists drills, newest first."]
    DrillList: Get "/v1/drills", Read, DrillListRequest => Page<Drill>;
    #[doc = "One drill."]
    DrillRead: Get "/v1/drills/{drill}", Read, DrillReadRequest => DrillAnswer;
    #[doc = "Ends a drill: what it made is deleted; its results stay."]
    DrillRestore: Post "/v1/drills/{drill}/restore", Operate, DrillRestoreRequest => DrillAnswer;
}

request! {
    /// A drill to begin.
    pub struct DrillRequest {
        /// The region that fails.
        pub region: String,
        /// Record a real failure of the region, whose links the caller cuts: development federations only.
        #[serde(default)]
        pub live: bool,
        /// It ends by itself after so long, 30000 to 86400000; `null`: 1800000 (30 min).
        pub max_time_ms: Option<u64>,
        pub reason: Option<String>,
    }

    /// Which drills to list.
    pub struct DrillListRequest {
        pub region: Option<String>,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
    }

    /// Which drill: `drill-001`.
    pub struct DrillReadRequest {
        pub drill: String,
    }

    /// Which drill to end: `drill-001`.
    pub struct DrillRestoreRequest {
        pub drill: String,
        pub reason: Option<String>,
    }
}

wire! {
    /// What a drill loses.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum DrillMode {
        /// Copies of the region's VMs.
        Isolated,
        /// The region itself.
        Live,
    }

    /// Where a drill is.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum DrillState {
        /// Something is still to be measured.
        Running,
        /// Measured; what it made is still there.
        Done,
        /// What it made is gone.
        Restored,
        /// Nothing could be measured.
        Failed,
    }

    /// Moments in their order.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum DrillMoment { Cut, Detected, Agreed, Fenced, Planned, Restarted, Verified }

    /// When a moment came.
    #[derive(Eq)]
    pub struct DrillTime {
        pub moment: DrillMoment,
        pub at_ms: u64,
        /// From the failure, ms.
        pub after_ms: u64,
        /// What it waited for, or how it is known.
        pub note: String,
    }

    /// Where one VM of a drill is.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum DrillVmState {
        /// Its copy does not answer yet.
        Waiting,
        /// Its copy answers and is to be lost.
        Ready,
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
    #[derive(Eq)]
    pub struct DrillVm {
        /// The VM that people run.
        pub of: String,
        /// Its copy; in a live drill the VM itself.
        pub vm: String,
        pub name: String,
        pub from_host: Option<String>,
        pub to_region: Option<String>,
        pub to_host: Option<String>,
        pub state: DrillVmState,
        pub reason: String,
        /// It ran when the failure came.
        pub lost: bool,
        /// From the failure to its own answer elsewhere, ms.
        pub took_ms: Option<u64>,
        /// It has a disk that could lose something.
        pub disk: bool,
        /// Records that it acknowledged before the failure; `null`: nobody counted.
        pub records_written: Option<u64>,
        /// Of those, what it had afterwards; `null`: not read.
        pub records_kept: Option<u64>,
    }

    /// What was lost of what had been acknowledged.
    #[derive(Eq)]
    pub struct DrillRpo {
        /// `null`: not measured.
        pub records_lost: Option<u64>,
        /// How it is known, or why it is not.
        pub evidence: String,
    }

    /// A drill.
    #[derive(Eq)]
    pub struct Drill {
        /// `drill-001`.
        pub drill: String,
        pub region: String,
        pub mode: DrillMode,
        pub state: DrillState,
        pub by: String,
        pub started_at_ms: u64,
        /// When it ends by itself unless somebody ends it before.
        #[serde(default)]
        pub ends_by_ms: u64,
        /// When everything was measured.
        pub measured_at_ms: Option<u64>,
        pub ended_at_ms: Option<u64>,
        /// Somebody has ended it, or its time was up.
        pub restoring: bool,
        pub times: Vec<DrillTime>,
        pub vms: Vec<DrillVm>,
        /// VMs that were left out because a drill takes so many copies at most.
        pub left_out: u64,
        /// VMs that were lost.
        pub lost: u64,
        /// Of those, the ones that answer elsewhere.
        pub migrated: u64,
        /// `migrated` of `lost`, in percent, rounded down; `null`: nothing was measured.
        pub success_percent: Option<u32>,
        /// From the failure to the last answer elsewhere, as measured; `null`: not measured.
        pub rto_ms: Option<u64>,
        pub rpo: DrillRpo,
        /// How it ended.
        pub result: String,
        /// The region's own failover, in a live drill.
        pub failover: Option<String>,
    }

    /// One drill, with how old the answer is.
    #[derive(Eq)]
    pub struct DrillAnswer {
        pub drill: Drill,
        pub as_of: Vec<Freshness>,
    }
}
