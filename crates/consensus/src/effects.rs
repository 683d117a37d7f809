//! What goes into the consensus and what comes out of it.

use std::collections::BTreeSet;

use dwcp_types::{GroupId, NodeId};

/// The caller's name for one of its requests. Unique among the requests of a process that are not yet answered.
pub type Ticket = u64;

/// Ordered keys of the local store, read only while a group is opened.
pub trait Disk {
    /// Pairs with `from <= key < to`, in ascending order of keys.
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_>;
}

/// Writes that become durable together or not at all. Order: first `delete_ranges`, then `deletes`, then `puts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Key and value.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys.
    pub deletes: Vec<Vec<u8>>,
    /// Half-open ranges of keys: `from <= key < to`.
    pub delete_ranges: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Batch {
    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty() && self.delete_ranges.is_empty()
    }
}

/// What happened outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has come to `wake_at_us`.
    Wake,
    /// Bytes that node `from` put into an `Output::Send`. The transport vouches for `from`.
    Message {
        /// The authenticated sender.
        from: NodeId,
        /// As sent.
        bytes: Vec<u8>,
    },
    /// Append `data` to the group's log. Only the leader accepts; answered by `Proposed` or `ProposalDropped`.
    Propose {
        /// The group.
        group: GroupId,
        /// Comes back in the answer.
        ticket: Ticket,
        /// Not empty.
        data: Vec<u8>,
    },
    /// Asks for an index such that applying up to it shows everything that was committed before this request.
    /// Answered by `ReadReady` or `ReadDropped`.
    ReadIndex {
        /// The group.
        group: GroupId,
        /// Comes back in the answer.
        ticket: Ticket,
    },
    /// As `ReadIndex`, but a leader that knows by the clock that nobody else leads answers without asking the others. For
    /// reads only: a promise to others that must outlast this leadership needs `ReadIndex`.
    Read {
        /// The group.
        group: GroupId,
        /// Comes back in the answer.
        ticket: Ticket,
    },
    /// All batches up to and including `seq` are durable.
    Persisted {
        /// The number of the newest durable batch.
        seq: u64,
    },
    /// The state machine's content at `index`, as asked for by `WantSnapshot`.
    Snapshot {
        /// The group.
        group: GroupId,
        /// All entries up to this one are in `data`, and no later one.
        index: u64,
        /// The caller's encoding.
        data: Vec<u8>,
    },
    /// Changes the members to exactly these, through a joint configuration when more than one changes. Answered by
    /// `Proposed` (then `MembersChanged`) or `ProposalDropped`.
    ChangeMembers {
        /// The group.
        group: GroupId,
        /// Comes back in the answer.
        ticket: Ticket,
        /// All voters afterwards; not empty.
        voters: Vec<NodeId>,
        /// All learners afterwards.
        learners: Vec<NodeId>,
    },
    /// Hands leadership to a voter; ignored when this node does not lead.
    TransferLeader {
        /// The group.
        group: GroupId,
        /// The voter.
        to: NodeId,
    },
    /// Drops what this node holds of the group but its term and vote, and gets it anew from the leader's snapshot: the replica
    /// is damaged until `Output::Repaired`. Ignored when this node leads the group, is damaged already or is alone in it.
    Rebuild {
        /// The group.
        group: GroupId,
    },
    /// The next `Persist` holds every record of every group, so that it can be the first of another store.
    Rewrite,
    /// Nodes that hear a majority of the voters and are heard by it. By itself leadership goes to no other, for that one could
    /// not lead. Before the first word of it every node counts as one.
    CouldLead {
        /// All of them.
        nodes: BTreeSet<NodeId>,
    },
    /// So many append messages may be under way to each follower from now on, instead of what the settings said.
    AppendMessages {
        /// At least 1 counts.
        most: u32,
    },
    /// The transport could not deliver to this node lately.
    Unreachable {
        /// The node.
        node: NodeId,
    },
}

/// What the caller must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Give `bytes` to node `to`. May be lost, repeated and reordered.
    Send {
        /// The receiver.
        to: NodeId,
        /// Opaque.
        bytes: Vec<u8>,
    },
    /// Write the batch; answer with `Input::Persisted` when it is durable. Batches are numbered 1, 2, 3, ... and become
    /// durable in that order; several may be written together.
    Persist {
        /// The number of the batch.
        seq: u64,
        /// What to write.
        batch: Batch,
    },
    /// Apply a committed entry to the state machine.
    Apply {
        /// The group.
        group: GroupId,
        /// Ascending in a group, with gaps where the log holds entries that are not the caller's.
        index: u64,
        /// Of the entry: `(index, term)` tells a proposal from another that took its place.
        term: u64,
        /// As proposed.
        data: Vec<u8>,
    },
    /// The proposal has this place in the leader's log. It is committed when `Apply` shows the same index and term;
    /// it is lost when `Apply` shows another term there.
    Proposed {
        /// The group.
        group: GroupId,
        /// Of the request.
        ticket: Ticket,
        /// Of the entry.
        index: u64,
        /// Of the entry.
        term: u64,
    },
    /// The proposal was not appended anywhere.
    ProposalDropped {
        /// The group.
        group: GroupId,
        /// Of the request.
        ticket: Ticket,
        /// Why.
        reason: DropReason,
    },
    /// The leader was certain to lead after the request was made, and this node has applied up to `index`.
    ReadReady {
        /// The group.
        group: GroupId,
        /// Of the request.
        ticket: Ticket,
        /// Everything committed before the request is at or below this index.
        index: u64,
        /// `Some(term)` when this node itself was, and still is, the leader that a quorum confirmed in a round.
        as_leader: Option<u64>,
    },
    /// The read index could not be had.
    ReadDropped {
        /// The group.
        group: GroupId,
        /// Of the request.
        ticket: Ticket,
        /// Why.
        reason: DropReason,
    },
    /// The leader or the term changed, as this node knows it.
    Leader {
        /// The group.
        group: GroupId,
        /// None while unknown.
        leader: Option<NodeId>,
        /// The node's term.
        term: u64,
    },
    /// Answer with `Input::Snapshot` of the state machine as it is, `index` being the newest applied entry.
    WantSnapshot {
        /// The group.
        group: GroupId,
        /// The newest applied index now.
        index: u64,
    },
    /// Replace the state machine's content.
    InstallSnapshot {
        /// The group.
        group: GroupId,
        /// Content as of this index; `Apply` goes on behind it.
        index: u64,
        /// Of the entry at `index`.
        term: u64,
        /// As given to `Input::Snapshot` by some node.
        data: Vec<u8>,
    },
    /// The configuration in force changed.
    MembersChanged {
        /// The group.
        group: GroupId,
        /// The entry that changed it.
        index: u64,
        /// Voters of the newer configuration.
        voters: Vec<NodeId>,
        /// Learners.
        learners: Vec<NodeId>,
        /// True between the two halves of a joint change, when majorities of both voter sets are needed.
        joint: bool,
    },
    /// A damaged replica is whole again.
    Repaired {
        /// The group.
        group: GroupId,
    },
}

/// Why a request was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// This node does not hold the group.
    UnknownGroup,
    /// Another node leads, or none that this node knows of.
    NotLeader {
        /// Whom to ask.
        leader: Option<NodeId>,
    },
    /// Too many bytes are not committed yet, or too many reads are waiting.
    TooMany,
    /// Empty or larger than `max_proposal_bytes`.
    BadSize,
    /// Leadership is being handed to another node; soon that one accepts.
    Transferring,
    /// Another change of members is under way.
    ChangePending,
    /// The members asked for are not a valid configuration, or nothing would change.
    BadMembers,
    /// No quorum confirmed it in time.
    Timeout,
}
