//! What a node knows of a group.

use dwcp_types::NodeId;

/// The part a replica plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Follows, or waits for a leader.
    #[default]
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// A follower as its leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStatus {
    /// The follower.
    pub node: NodeId,
    /// The newest index that it is known to hold durably.
    pub matched: u64,
    /// The next index to send.
    pub next: u64,
    /// Entries it is behind.
    pub lag: u64,
    /// Heard of since the last quorum check.
    pub active: bool,
    /// A snapshot is under way to it.
    pub snapshot: bool,
    /// It asked for repair a short while ago.
    pub repairing: bool,
}

/// A replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// The leader of `term`, when known.
    pub leader: Option<NodeId>,
    /// The newest term that this node knows.
    pub term: u64,
    /// What this node does.
    pub role: Role,
    /// The newest index known to be committed.
    pub commit: u64,
    /// The newest index applied (entries that are not the caller's included).
    pub applied: u64,
    /// The newest index in the log.
    pub last: u64,
    /// The newest index durable here.
    pub persisted: u64,
    /// The oldest index still in the log.
    pub first: u64,
    /// The index of the newest snapshot.
    pub snapshot: u64,
    /// Voters.
    pub voters: Vec<NodeId>,
    /// Learners.
    pub learners: Vec<NodeId>,
    /// In the middle of a joint change of members.
    pub joint: bool,
    /// Followers; only on the leader.
    pub peers: Vec<PeerStatus>,
    /// The replica lost records and is not yet repaired.
    pub damaged: bool,
    /// Messages ignored because they made no sense.
    pub ignored_messages: u64,
}
