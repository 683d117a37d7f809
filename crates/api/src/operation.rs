//! Operations: long work with an id, steps and progress, which outlives every controller.

use crate::{Freshness, Page};

endpoint! {
    #[doc = "Lists operations, newest first."]
    OperationList: Get "/v1/operations", Read, OperationListRequest => Page<Operation>, watch;
    #[doc = "One operation; watched, a line a change until it ends."]
    OperationRead: Get "/v1/operations/{operation}", Read, OperationReadRequest => OperationAnswer, watch;
    #[doc = "Asks an operation to stop at its next safe point."]
    OperationCancel: Post "/v1/operations/{operation}/cancel", Operate, OperationCancelRequest => Operation;
}

request! {
    /// Which operations to list.
    pub struct OperationListRequest {
        pub state: Option<OperationState>,
        /// `failover`, `vm_create`, …
        pub kind: Option<String>,
        pub region: Option<String>,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
        #[serde(default)]
        pub watch: bool,
    }

    /// Which operation.
    pub struct OperationReadRequest {
        /// `op_…`, or the guide's id of the work it does (`failover-001`).
        pub operation: String,
        #[serde(default)]
        pub watch: bool,
    }

    /// Which operation to stop, and why.
    pub struct OperationCancelRequest {
        pub operation: String,
        pub reason: Option<String>,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// Where an operation is.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum OperationState {
        /// Accepted, not begun.
        Waiting,
        Running,
        /// Asked to stop, not yet stopped.
        Cancelling,
        /// All of it is done.
        Done,
        /// Ended with something left.
        Partly,
        Failed,
        Cancelled,
    }

    /// State of one step.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum StepState { Waiting, Running, Done, Failed, Skipped }

    /// One step of an operation.
    #[derive(Eq)]
    pub struct Step {
        pub name: String,
        pub state: StepState,
        /// How much of this step is done, of `total`.
        pub done: u64,
        /// `null`: not known before it runs.
        pub total: Option<u64>,
        /// Why it waits or failed; empty otherwise.
        pub note: String,
        /// Milliseconds; `null` until it ends.
        pub took_ms: Option<u64>,
    }

    /// Long work.
    #[derive(Eq)]
    pub struct Operation {
        /// `op_…`.
        pub operation: String,
        /// `failover`, `vm_create`, `vm_stop`, …
        pub kind: String,
        /// What it is done to: a region, a VM.
        pub subject: String,
        /// Id of the object that tells more (`failover-001`, `vm_…`); `null` where there is none.
        pub related: Option<String>,
        pub state: OperationState,
        pub steps: Vec<Step>,
        /// Items done, for a progress bar.
        pub done: u64,
        /// Items in all; `null`: not known.
        pub total: Option<u64>,
        /// Items that failed.
        pub failed: u64,
        /// What is left or went wrong, one line each.
        pub left: Vec<String>,
        /// Who asked.
        pub by: String,
        /// Milliseconds since 1970 (UTC).
        pub started_at_ms: u64,
        /// Milliseconds since 1970 (UTC); `null` while it runs.
        pub ended_at_ms: Option<u64>,
        /// The command joined this operation, which was running already.
        pub joined: bool,
        /// When the record last changed by intent: for `expected_revision`; only rises.
        pub revision: u64,
    }

    /// One operation, with how old the answer is.
    #[derive(Eq)]
    pub struct OperationAnswer {
        pub operation: Operation,
        pub as_of: Vec<Freshness>,
    }
}

impl OperationState {
    /// Whether nothing more will happen.
    pub fn ended(self) -> bool {
        matches!(
            self,
            OperationState::Done
                | OperationState::Partly
                | OperationState::Failed
                | OperationState::Cancelled
        )
    }
}
