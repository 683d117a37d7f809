//! Settings of one node and of one group.

use dwcp_types::{GroupId, NodeId};

/// Settings of the consensus of one node, the same for all its groups. Times are in ticks of `tick_us`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node; never 0.
    pub node: NodeId,
    /// Staggers elections. The same seed and the same inputs give the same outputs, byte by byte.
    pub seed: u64,
    /// Length of a tick, microseconds.
    pub tick_us: u64,
    /// A leader sends heartbeats this often, ticks.
    pub heartbeat_ticks: u32,
    /// The soonest a follower campaigns after it last heard its leader, ticks. Also how long a leader may go without
    /// a quorum before it steps down, and how long a follower that hears its leader refuses to vote.
    pub election_ticks: u32,
    /// A snapshot is asked for when this many entries were applied since the last one.
    pub snapshot_every_entries: u64,
    /// Entries kept behind a snapshot, so that a follower slightly behind gets entries instead of the snapshot.
    pub keep_entries: u64,
    /// Append messages under way to one follower.
    pub max_inflight_messages: u32,
    /// Bytes of proposals that are appended but not committed; more are dropped with `TooMany`.
    pub max_inflight_bytes: u64,
    /// Bytes of entries in one append message.
    pub max_message_bytes: u64,
    /// Bytes of one proposal; larger ones are dropped with `BadSize`.
    pub max_proposal_bytes: u64,
    /// A read index that is not confirmed after this is dropped with `Timeout`, ticks.
    pub read_timeout_ticks: u32,
    /// A read index forwarded to the leader is sent again this often, ticks.
    pub read_retry_ticks: u32,
    /// A snapshot that the receiver has not acknowledged after this is sent again, ticks.
    pub snapshot_retry_ticks: u32,
    /// A damaged replica asks its peers this often, ticks.
    pub repair_ticks: u32,
    /// The first back-off after leadership was handed home, ticks; doubles each time home did not keep it.
    pub home_backoff_ticks: u32,
    /// Replicas tell each other what they have persisted, so that each concludes the commit itself (see
    /// `docs/decisions/2026-11-23-acknowledgement-broadcast.md`).
    pub ack_broadcast: bool,
    /// A leader answers reads (`Input::Read`) without a round while no other can have been elected (see
    /// `docs/decisions/2026-11-24-lease-reads.md`).
    pub lease_reads: bool,
    /// A deliberate fault.
    #[cfg(feature = "mutations")]
    pub mutation: Option<Mutation>,
}

/// Deliberate faults that break a promise of this package.
#[cfg(feature = "mutations")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Treats every `Persist` as persisted at once: acknowledges what a crash then loses.
    AckBeforeFsync,
    /// Relies on its lease for reads twice as long as allowed.
    LongLease,
}

// Tag 6 was the stagger, which follows from the election time now.
dwcp_types::wire_struct!(Config {
    1 node, 2 seed, 3 tick_us, 4 heartbeat_ticks, 5 election_ticks, 7 snapshot_every_entries,
    8 keep_entries, 9 max_inflight_messages, 10 max_inflight_bytes, 11 max_message_bytes, 12 max_proposal_bytes,
    13 read_timeout_ticks, 14 read_retry_ticks, 15 snapshot_retry_ticks, 16 repair_ticks, 17 home_backoff_ticks,
    18 ack_broadcast, 19 lease_reads
});

impl Default for Config {
    /// The product's settings; the node has no number yet and can open no group.
    fn default() -> Self {
        Config::new(0, 0)
    }
}

impl Config {
    /// Settings for links with round trips up to 309 ms: tick 50 ms, heartbeat 150 ms, elections after 1.2 to 2.4 s.
    pub fn new(node: NodeId, seed: u64) -> Self {
        Self {
            node,
            seed,
            tick_us: 50_000,
            heartbeat_ticks: 3,
            election_ticks: 24,
            snapshot_every_entries: 10_000,
            keep_entries: 2_000,
            max_inflight_messages: 256,
            max_inflight_bytes: 16 << 20,
            max_message_bytes: 256 << 10,
            max_proposal_bytes: 4 << 20,
            read_timeout_ticks: 60,
            read_retry_ticks: 8,
            snapshot_retry_ticks: 200,
            repair_ticks: 10,
            home_backoff_ticks: 100,
            ack_broadcast: true,
            lease_reads: true,
            #[cfg(feature = "mutations")]
            mutation: None,
        }
    }

    /// Each rank in the order of succession campaigns this much later than the rank before it, ticks. About the longest round
    /// trip: a rank that campaigns before it can have heard the one before splits the votes.
    pub fn stagger_ticks(&self) -> u32 {
        (self.election_ticks / 4).max(1)
    }

    /// The length of the lease for reads, µs, given the right one.
    pub(crate) fn mutated_lease_us(&self, lease_us: u64) -> u64 {
        #[cfg(feature = "mutations")]
        if self.mutation == Some(Mutation::LongLease) {
            return 2 * lease_us;
        }
        lease_us
    }

    pub(crate) fn acks_before_fsync(&self) -> bool {
        #[cfg(feature = "mutations")]
        return self.mutation == Some(Mutation::AckBeforeFsync);
        #[cfg(not(feature = "mutations"))]
        false
    }
}

/// What a node must know of a group to open its replica of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSetup {
    /// The group.
    pub group: GroupId,
    /// Founding voters. Every founding member must be given the same founding lists. Only used when the disk holds
    /// nothing of the group. A node that is in neither list starts empty and waits until the group's leader has added
    /// it by `ChangeMembers` and sent it a snapshot: that is how members join later.
    pub voters: Vec<NodeId>,
    /// Founding learners: they receive everything and do not vote.
    pub learners: Vec<NodeId>,
    /// Nodes besides those that may belong to the group: a damaged replica asks them too who does.
    pub others: Vec<NodeId>,
    /// The node that should lead when it is alive and caught up.
    pub home: Option<NodeId>,
    /// The caller knows that this replica held state and that all of it is gone (a replaced disk). The replica then
    /// starts as damaged and not as a founding member, which could vote twice in a term.
    pub lost: bool,
}
