//! Which server answers: its version, and whether it leads a group.

endpoint! {
    #[doc = "What version answers, and where."]
    VersionRead: Get "/v1/version", Public, crate::page::Nothing => Version;
    #[doc = "Whether this node leads a group; agents ask it while their lease runs out."]
    LeaderRead: Get "/v1/leader", Public, LeaderQuery => Leader;
}

wire! {
    /// Version of the node that answers.
    #[derive(Eq)]
    pub struct Version {
        /// Semantic version of the node's program.
        pub version: String,
        /// Version of the API: `v1`.
        pub api: String,
        /// Version of the state format this node writes.
        pub state_format: u32,
        /// The federation's name.
        pub federation: String,
        /// The region that answers.
        pub region: String,
    }

    /// Whether the node that answers leads a group.
    #[derive(Eq)]
    pub struct Leader {
        /// 0 is the federation, n is region number n.
        pub group: u64,
        /// True only when the node believes itself leader now.
        pub leader: bool,
        /// The newest term the node has seen.
        pub term: u64,
        /// How long ago the node's process first knew a leader of the group, ms, rounded up; 0: none yet. What it says of older
        /// leaders never reaches back further.
        pub led_ms: u64,
    }
}

request! {
    /// Which group is asked about.
    pub struct LeaderQuery {
        /// 0 is the federation, n is region number n.
        pub group: u64,
    }
}
