//! The freeze switch.

use crate::Freshness;

endpoint! {
    #[doc = "Where the freeze switch stands."]
    FreezeRead: Get "/v1/freeze", Read, crate::page::Nothing => Freeze;
    #[doc = "Sets the freeze switch; with `local` it works without a quorum, in this region only."]
    FreezeSet: Put "/v1/freeze", Operate, FreezeSetRequest => Freeze;
}

request! {
    /// Where to set the switch.
    pub struct FreezeSetRequest {
        pub state: FreezeState,
        pub reason: Option<String>,
        /// Only the answering region, without asking the others.
        #[serde(default)]
        pub local: bool,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// What DWCP may do by itself.
    #[derive(Copy, Eq, Default)]
    #[serde(rename_all = "kebab-case")]
    pub enum FreezeState {
        /// Everything.
        #[default]
        Active,
        /// VMs start and stop, but none moves.
        NoMoves,
        /// Nothing changes.
        Frozen,
    }

    /// The switch.
    #[derive(Eq)]
    pub struct Freeze {
        pub state: FreezeState,
        /// State set by hand in the answering region only; `null`: none.
        pub local: Option<FreezeState>,
        pub since_at_ms: Option<u64>,
        pub by: Option<String>,
        pub reason: String,
        /// When the record last changed by intent: for `expected_revision`; only rises.
        pub revision: u64,
        pub as_of: Vec<Freshness>,
    }
}
