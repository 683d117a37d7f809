//! Replication of state: who is how far behind whom.

use crate::Freshness;

endpoint! {
    #[doc = "Per ordered pair of regions: entries and milliseconds behind."]
    LagMatrixRead: Get "/v1/state/lag-matrix", Read, crate::page::Nothing => LagMatrix;
    #[doc = "Per peer: entries and bytes waiting to be sent."]
    QueueDepthRead: Get "/v1/state/queue-depth", Read, crate::page::Nothing => QueueDepth;
}

wire! {
    /// How far `to`'s replica of `from`'s group is behind.
    #[derive(Eq)]
    pub struct Lag {
        /// Region whose log it is.
        pub from: String,
        /// Region that follows.
        pub to: String,
        /// Entries behind; `null`: not known.
        pub entries: Option<u64>,
        /// Milliseconds behind; `null`: not known.
        pub lag_ms: Option<u64>,
        /// Milliseconds from when `from`'s leader took a command until it was readable in `to`, the median of the latest
        /// commands; `null`: not known.
        #[serde(default)]
        pub sync_p50_ms: Option<u64>,
        /// The same, which one of a hundred exceeded.
        #[serde(default)]
        pub sync_p99_ms: Option<u64>,
    }

    /// Lag of every ordered pair.
    #[derive(Eq)]
    pub struct LagMatrix {
        pub regions: Vec<String>,
        pub pairs: Vec<Lag>,
        pub as_of: Vec<Freshness>,
    }

    /// What waits for one peer.
    #[derive(Eq)]
    pub struct Queue {
        /// Region that sends.
        pub from: String,
        /// Region that it is for.
        pub to: String,
        pub entries: Option<u64>,
        pub bytes: Option<u64>,
        /// How long the oldest has waited; `null`: nothing waits, or not known.
        pub oldest_ms: Option<u64>,
    }

    /// All queues.
    #[derive(Eq)]
    pub struct QueueDepth {
        pub queues: Vec<Queue>,
        pub as_of: Vec<Freshness>,
    }
}
