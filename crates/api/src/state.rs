//! Replication of state: who is how far behind whom, whether all hold the same, and what makes them.

use crate::Freshness;
use crate::operation::Operation;

endpoint! {
    #[doc = "Per ordered pair of regions: entries and milliseconds behind."]
    LagMatrixRead: Get "/v1/state/lag-matrix", Read, crate::page::Nothing => LagMatrix;
    #[doc = "Per peer: entries and bytes waiting to be sent."]
    QueueDepthRead: Get "/v1/state/queue-depth", Read, crate::page::Nothing => QueueDepth;
    #[doc = "How state is replicated: as it is set, and as each region does it."]
    ReplicationRead: Get "/v1/state/replication", Read, crate::page::Nothing => Replication;
    #[doc = "Sets how state is replicated, in every region, live."]
    ReplicationConfigure: Put "/v1/state/replication", Operate, ReplicationConfigureRequest => Replication;
    #[doc = "Compares every region's replicas at one place of each log, and reads the stores back from the disks."]
    SyncVerify: Post "/v1/state/verify-sync", Read, SyncVerifyRequest => SyncVerdict;
    #[doc = "Rebuilds regions' replicas from another region's."]
    SyncForce: Post "/v1/state/force-sync", Operate, SyncForceRequest => SyncForced;
}

request! {
    /// What to change; what is `null` stays.
    pub struct ReplicationConfigureRequest {
        /// 1 to 64: each has up to 32 append messages under way to each replica.
        pub replication_workers: Option<u32>,
        /// Frames between regions are compressed (zstd) where that makes them shorter.
        pub compression: Option<bool>,
        /// Between two tellings of soft state; from the beat to 60000. Commands are not soft state.
        pub sync_interval_ms: Option<u64>,
        /// Refuse when the record's `revision` is another by now.
        pub expected_revision: Option<u64>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// What to verify.
    pub struct SyncVerifyRequest {
        /// Only this region's replicas, against the majority's; without it, all.
        pub region: Option<String>,
        /// What is not there by then is reported as missing, ms; without it 25000.
        pub timeout_ms: Option<u64>,
    }

    /// Which replicas to rebuild, and from whose.
    pub struct SyncForceRequest {
        /// The region that the others are made equal to.
        pub source: String,
        /// The regions to rebuild; empty: all others.
        #[serde(default)]
        pub targets: Vec<String>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// How a region replicates, as its node said last.
    #[derive(Eq)]
    pub struct RegionReplication {
        pub region: String,
        /// Append messages that may be under way to each replica; `null`: not known.
        pub append_messages: Option<u32>,
        pub compression: Option<bool>,
        /// Bytes of frames to other regions since its process began, before they were compressed.
        pub framed_bytes: Option<u64>,
        /// The same as they were sent.
        pub sent_bytes: Option<u64>,
        /// How old its soft state is here; `null`: nothing was heard.
        pub soft_state_age_ms: Option<u64>,
    }

    /// How state is replicated.
    #[derive(Eq)]
    pub struct Replication {
        pub replication_workers: u32,
        pub compression: bool,
        /// Of soft state: links, load, usage and times, as regions tell them each other.
        pub sync_interval_ms: u64,
        pub regions: Vec<RegionReplication>,
        /// When the record last changed by intent: for `expected_revision`; only rises.
        pub revision: u64,
        pub as_of: Vec<Freshness>,
    }

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

    /// How a region's replicas are.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum SyncState {
        /// All that was compared is equal, and its store is as it was written.
        Equal,
        /// It differs from the majority.
        Differs,
        /// Its store is not as it was written.
        Damaged,
        /// Some of it could not be compared or read back.
        Unverified,
        /// It does not answer.
        Unreachable,
    }

    /// Something of a store that is not as it was written.
    #[derive(Eq)]
    pub struct StoreFlaw {
        /// `federation` or the region whose replica it is of; `null`: the whole file.
        pub group: Option<String>,
        pub what: String,
    }

    /// A store that was read back from the disk, past every cache.
    #[derive(Eq)]
    pub struct StoreVerdict {
        pub flaws: Vec<StoreFlaw>,
        /// Why it could not be read; `null`: it was.
        pub unread: Option<String>,
        /// Records compared with their checksums.
        pub records: u64,
        /// Bytes read.
        pub bytes: u64,
        /// Bytes of the file.
        pub file_bytes: u64,
        pub took_ms: u64,
        /// How long commits were held up to begin, microseconds.
        pub held_us: u64,
        /// The longest commit while it was read, microseconds; 0: there was none.
        pub longest_commit_us: u64,
    }

    /// A replica that could not be compared.
    #[derive(Eq)]
    pub struct LeftOut {
        /// `federation` or the region whose group it is.
        pub group: String,
        pub why: String,
    }

    /// What was found of one region.
    #[derive(Eq)]
    pub struct RegionSync {
        pub region: String,
        pub state: SyncState,
        /// How long it has been silent; `null`: it answers.
        pub silent_ms: Option<u64>,
        /// Groups compared, of so many.
        pub groups: u64,
        pub of_groups: u64,
        /// Records of those; `null`: nothing was compared.
        pub records: Option<u64>,
        /// Stands for all of them, 32 hexadecimal digits; `null`: nothing was compared.
        pub digest: Option<String>,
        /// Groups that differ from the majority.
        pub differs: Vec<String>,
        pub left_out: Vec<LeftOut>,
        /// `null`: it was not read back.
        pub store: Option<StoreVerdict>,
    }

    /// A record that is not the same everywhere.
    #[derive(Eq)]
    pub struct RecordDifference {
        pub kind: String,
        pub record: String,
        /// Regions that differ from the majority; all that were compared when there is none.
        pub regions: Vec<String>,
        /// Of those, the regions that lack it.
        pub missing: Vec<String>,
    }

    /// What was found of one group.
    #[derive(Eq)]
    pub struct GroupSync {
        /// `federation` or the region.
        pub group: String,
        /// The place of its log at which it was compared; `null`: it could not be.
        pub index: Option<u64>,
        /// Replicas compared.
        pub compared: u64,
        /// The digest that more than half of them have.
        pub digest: Option<String>,
        pub differences: Vec<RecordDifference>,
        /// More records differ than these.
        pub more: bool,
    }

    /// Whether all regions hold the same, and still have it.
    #[derive(Eq)]
    pub struct SyncVerdict {
        /// The worst of all.
        pub state: SyncState,
        pub regions: Vec<RegionSync>,
        pub groups: Vec<GroupSync>,
        pub took_ms: u64,
        pub as_of: Vec<Freshness>,
    }

    /// One step of a rebuild as it would be done.
    #[derive(Eq)]
    pub struct RebuildStep {
        pub region: String,
        /// `federation` or the region whose group it is; `null`: the store file.
        pub group: Option<String>,
        /// Bytes of the snapshot; of the file, of all of them.
        pub bytes: u64,
        /// Entries of the log that come behind it.
        pub entries: u64,
        /// Whether its replica votes.
        pub votes: bool,
        /// Voters that are left meanwhile, and how many must be.
        pub voters_left: u64,
        pub voters_needed: u64,
        /// Whether it differs from the source now.
        pub differs: bool,
    }

    /// A rebuild that has begun; with `dry_run`, what it would do.
    #[derive(Eq)]
    pub struct SyncForced {
        pub operation: Option<Operation>,
        pub steps: Vec<RebuildStep>,
        pub as_of: Vec<Freshness>,
    }
}
