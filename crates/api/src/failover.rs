//! Failover of a region.

use crate::operation::Operation;
use crate::vm_spec::Priority;
use crate::{Freshness, Page};

endpoint! {
    #[doc = "Moves a region's VMs to others; the same call twice joins the running failover."]
    FailoverStart: Post "/v1/failovers", Operate, FailoverRequest => FailoverStarted;
    #[doc = "Lists failovers, newest first."]
    FailoverList: Get "/v1/failovers", Read, FailoverListRequest => Page<Failover>;
    #[doc = "One failover, or the newest with `latest`."]
    FailoverRead: Get "/v1/failovers/{failover}", Read, FailoverReadRequest => FailoverAnswer, watch;
}

request! {
    /// A failover to begin.
    pub struct FailoverRequest {
        pub from: String,
        /// Regions to go to, best first; empty: all that are healthy.
        #[serde(default)]
        pub to: Vec<String>,
        /// How urgent it is against other work; all VMs move whatever it says, the most important first.
        #[serde(default)]
        pub priority: Priority,
        /// The RTO asked for: refused when the plan predicts more. `null`: no bound.
        pub max_time_ms: Option<u64>,
        /// Which refusals to set aside: `capacity` (move what fits), `residency`, `affinity`, `max_time`.
        #[serde(default)]
        pub relax: Vec<String>,
        pub reason: Option<String>,
        /// Only plan.
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which failovers to list.
    pub struct FailoverListRequest {
        pub region: Option<String>,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
    }

    /// Which failover: `failover-001`, or `latest`.
    pub struct FailoverReadRequest {
        pub failover: String,
        #[serde(default)]
        pub watch: bool,
    }
}

wire! {
    /// Who began it.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum Trigger { Automatic, Manual }

    /// Phases in their order.
    #[derive(Copy, Eq, PartialOrd, Ord)]
    #[serde(rename_all = "snake_case")]
    pub enum PhaseName { Detect, Agree, Fence, Plan, Restart, Verify }

    /// One phase.
    #[derive(Eq)]
    pub struct Phase {
        pub name: PhaseName,
        /// Milliseconds since 1970 (UTC); `null`: not begun.
        pub started_at_ms: Option<u64>,
        /// Milliseconds since 1970 (UTC); `null`: not ended.
        pub ended_at_ms: Option<u64>,
        pub took_ms: Option<u64>,
    }

    /// Where one VM of a failover is.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum FailoverVmState { Waiting, Starting, Running, Verified, Failed, Left }

    /// One VM of a failover.
    #[derive(Eq)]
    pub struct FailoverVm {
        pub vm: String,
        pub name: String,
        pub from_host: Option<String>,
        pub to_region: Option<String>,
        pub to_host: Option<String>,
        pub state: FailoverVmState,
        /// Why there, or why it is left.
        pub reason: String,
        pub took_ms: Option<u64>,
        /// What it lost of its disk, as far as it is proven: `0 (…)`, `at most … s`, `none: …`, `unknown`.
        #[serde(default)]
        pub rpo: String,
    }

    /// Where a failover is.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum FailoverState {
        /// Only a plan.
        Planned,
        Running, Done,
        /// Ended with VMs left.
        Partly,
        Failed, Cancelled,
    }

    /// What is proven about acknowledged writes.
    #[derive(Eq)]
    pub struct Rpo {
        /// `null`: not proven.
        pub acknowledged_writes_lost: Option<u64>,
        /// What proves it.
        pub evidence: String,
    }

    /// A failover.
    #[derive(Eq)]
    pub struct Failover {
        /// `failover-001`; `failover-plan` in a dry run.
        pub failover: String,
        pub operation: Option<String>,
        pub from: String,
        pub to: Vec<String>,
        pub trigger: Trigger,
        pub state: FailoverState,
        pub phases: Vec<Phase>,
        pub vms: Vec<FailoverVm>,
        pub total: u64,
        pub done: u64,
        pub left: u64,
        pub failed: u64,
        /// From the loss to the last verified VM; while it runs: so far. `null`: not known.
        pub rto_ms: Option<u64>,
        /// The plan's prediction; `null`: none was made.
        pub predicted_rto_ms: Option<u64>,
        /// Whether `rto_ms` will not change any more.
        pub rto_final: bool,
        pub rpo: Rpo,
        /// What moving changes a month, in US cents; `null`: not known.
        pub cost_change_usd_cents_month: Option<i64>,
        pub started_at_ms: u64,
        pub ended_at_ms: Option<u64>,
        pub by: String,
    }

    /// A failover begun, joined or planned.
    #[derive(Eq)]
    pub struct FailoverStarted {
        pub failover: Failover,
        /// `null` in a dry run.
        pub operation: Option<Operation>,
        pub as_of: Vec<Freshness>,
    }

    /// One failover, with how old the answer is.
    #[derive(Eq)]
    pub struct FailoverAnswer {
        pub failover: Failover,
        pub as_of: Vec<Freshness>,
    }
}
