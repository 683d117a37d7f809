//! What nodes say to each other.

use dwcp_state::Children;
use dwcp_types::{GroupId, HostId, NodeId, OperationId, RegionId, wire_enum, wire_struct};

use super::{Beat, CertifiedFor, CertifyFor, SelfAsk, SelfTell, StoreCheck, SwitchOrder};
use crate::protocol::RouterAsk;

/// How urgent a frame between nodes is; a frame never waits behind one of a lower class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Consensus, leases, beats.
    Consensus,
    /// Proposals and their outcomes.
    State,
    /// Questions and answers.
    Operations,
}

/// A message between two nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum MeshMessage {
    /// Of the consensus.
    Raft(Opaque),
    /// What the sender hears and measures.
    Beat(Box<Beat>),
    /// Please propose this; you lead the group.
    Propose(Propose),
    /// What became of a proposal.
    Proposed(Proposed),
    /// From an agent connected to the sender, for the leader of its group.
    FromAgent(Relayed),
    /// For an agent connected to the receiver.
    ToAgent(Relayed),
    /// Ask a host something; the receiver leads its region's group.
    AskHost(AskHost),
    /// A host's answer.
    HostAnswer(HostAnswer),
    /// Please ping this node and tell me.
    PingFor(PingFor),
    /// Answer at once.
    Ping(PingFor),
    /// The answer.
    Pong(PingFor),
    /// How a ping went.
    PingReport(PingReport),
    /// What is your digest of this part?
    DigestAsk(DigestAsk),
    /// That.
    DigestTell(DigestTell),
    /// Read your store back, and tell me under this number.
    StoreAsk(u64),
    /// What came of it.
    StoreTell((u64, StoreCheck)),
    /// Rebuild this of yours, and tell me how far it is.
    RebuildAsk(RebuildAsk),
    /// That.
    RebuildTell(RebuildTell),
    /// Hand the leadership of this group to that node.
    Yield((GroupId, NodeId)),
    /// Please issue this certificate; you can.
    Certify(Box<CertifyFor>),
    /// What came of it.
    Certified(Box<CertifiedFor>),
    /// Go over to another program.
    Switch(Box<SwitchOrder>),
    /// Please give me a piece of a program. Between shells, in the class of bulk.
    ProgramAsk(ProgramAsk),
    /// That; empty: the sender does not have it.
    ProgramPart(ProgramPart),
    /// Ask a host that waits for its region, and that is connected to the receiver, something.
    AskPool(AskHost),
    /// Asks a router of the receiver's region something.
    AskRouter(Box<RouterAsk>),
    /// Answers [`MeshMessage::AskRouter`]; an empty one: there is no router.
    RouterAnswer(Box<RouterAsk>),
    /// What is your process like? Between shells, in the class of bulk.
    SelfAsk(Box<SelfAsk>),
    /// That.
    SelfTell(Box<SelfTell>),
    /// A message of a node whose facts were restored from a backup, and the restoration.
    Restored((u64, Opaque)),
}
wire_enum!(MeshMessage {
    1 Raft(m), 2 Beat(m), 3 Propose(m), 4 Proposed(m), 5 FromAgent(m), 6 ToAgent(m), 7 AskHost(m), 8 HostAnswer(m),
    9 PingFor(m), 10 Ping(m), 11 Pong(m), 12 PingReport(m), 30 DigestAsk(m), 31 DigestTell(m),
    32 StoreAsk(m), 33 StoreTell(m), 34 RebuildAsk(m), 35 RebuildTell(m), 36 Yield(m), 160 Certify(m), 161 Certified(m),
    180 Switch(m), 181 ProgramAsk(m), 182 ProgramPart(m), 190 AskPool(m), 170 Restored(m),
    220 SelfAsk(m), 221 SelfTell(m), 240 AskRouter(m), 241 RouterAnswer(m)
});

impl MeshMessage {
    /// The packet of the consensus in an encoded message, without reading the rest; none in a message of another kind.
    pub fn packet(bytes: &[u8]) -> Option<&[u8]> {
        let mut message = dwcp_types::codec::Reader::new(bytes);
        match message.varint() {
            Ok(1) => message.inner().ok()?.bytes().ok(),
            Ok(170) => {
                let mut sealed = message.inner().ok()?;
                sealed.varint().ok()?;
                MeshMessage::packet(sealed.bytes().ok()?)
            }
            _ => None,
        }
    }
}

/// Bytes of another protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opaque(pub Vec<u8>);

impl dwcp_types::Wire for Opaque {
    fn put(&self, w: &mut dwcp_types::codec::Writer) {
        w.bytes(&self.0);
    }
    fn get(r: &mut dwcp_types::codec::Reader<'_>) -> Result<Self, dwcp_types::DecodeError> {
        Ok(Opaque(r.bytes()?.to_vec()))
    }
}

/// A proposal on its way to the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Propose {
    /// The sender's number for it.
    pub id: u64,
    /// The group.
    pub group: GroupId,
    /// The encoded envelope.
    pub envelope: Opaque,
}
wire_struct!(Propose { 1 id, 2 group, 3 envelope });

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proposed {
    /// The sender's number for it.
    pub id: u64,
    /// The group.
    pub group: GroupId,
    /// Where it was applied and what came of it; none when the receiver could not propose it.
    pub outcome: Option<(u64, dwcp_state::Outcome)>,
}
wire_struct!(Proposed { 1 id, 2 group, 3 outcome });

/// A message of or for an agent, passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// The connection, in the number of the node it is to.
    pub session: u64,
    /// The agent's region.
    pub region: RegionId,
    /// The agent's host.
    pub host: HostId,
    /// As the agent sent it or is to get it.
    pub bytes: Opaque,
}
wire_struct!(Relayed { 1 session, 2 region, 3 host, 4 bytes });

/// A question for a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskHost {
    /// The asking node's number for it.
    pub id: u64,
    /// The host's region.
    pub region: RegionId,
    /// The host.
    pub host: HostId,
    /// The encoded question, whose own request number is replaced on the way.
    pub question: Opaque,
}
wire_struct!(AskHost { 1 id, 2 region, 3 host, 4 question });

/// A host's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAnswer {
    /// The asking node's number for it.
    pub id: u64,
    /// The encoded answer; none when the host is not connected anywhere.
    pub answer: Option<Opaque>,
}
wire_struct!(HostAnswer { 1 id, 2 answer });

/// A ping on behalf of another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PingFor {
    /// The asking node's number for it.
    pub id: u64,
    /// The node that wants to know.
    pub asker: NodeId,
    /// The node to ping.
    pub subject: NodeId,
    /// When the observer sent it, µs on the observer's clock.
    pub sent_us: u64,
}
wire_struct!(PingFor { 1 id, 2 asker, 3 subject, 4 sent_us });

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PingReport {
    /// The asking node's number for it.
    pub id: u64,
    /// The node that was pinged.
    pub subject: NodeId,
    /// The round trip, µs.
    pub rtt_us: u64,
}
wire_struct!(PingReport { 1 id, 2 subject, 3 rtt_us });

/// A question for the digest of a part of a group's facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestAsk {
    /// The asking node's number for the verification.
    pub verify: u64,
    /// The number of the entry at which the digests were taken.
    pub number: u64,
    /// The group.
    pub group: GroupId,
    /// The part.
    pub path: Vec<String>,
}
wire_struct!(DigestAsk { 1 verify, 2 number, 3 group, 4 path });

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestTell {
    /// As asked.
    pub verify: u64,
    /// As asked.
    pub number: u64,
    /// As asked.
    pub path: Vec<String>,
    /// The place of that entry in the log; 0: it was not applied here.
    pub index: u64,
    /// The newest index applied.
    pub applied: u64,
    /// The replica is being repaired.
    pub damaged: bool,
    /// Records of the group's facts.
    pub records: u64,
    /// What the part is made of; empty when there is no such part.
    pub children: Children,
}
wire_struct!(DigestTell {
    1 verify, 2 number, 3 path, 4 index, 5 applied, 6 damaged, 7 records, 8 children
});

/// An order to rebuild something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebuildAsk {
    /// Under which operation.
    pub operation: OperationId,
    /// The group; none: the store file.
    pub group: Option<GroupId>,
    /// Who may lead the group meanwhile, so that what is sent is sound; the first of them is the best.
    pub from: Vec<NodeId>,
}
wire_struct!(RebuildAsk { 1 operation, 2 group, 3 from });

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebuildProgress {
    /// Under way: what is being done.
    Working(String),
    /// Done: bytes, and entries or records.
    Whole((u64, u64)),
    /// It can't be done.
    Failed(String),
}
wire_enum!(RebuildProgress { 1 Working(what), 2 Whole(sizes), 3 Failed(why) });

impl Default for RebuildProgress {
    fn default() -> Self {
        RebuildProgress::Working(String::new())
    }
}

/// How far a rebuild is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebuildTell {
    /// As asked.
    pub operation: OperationId,
    /// As asked.
    pub group: Option<GroupId>,
    /// How far.
    pub progress: RebuildProgress,
}
wire_struct!(RebuildTell { 1 operation, 2 group, 3 progress });

/// A question for a piece of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramAsk {
    /// SHA-256 of the whole.
    pub sha256: String,
    /// Where the piece begins.
    pub offset: u64,
    /// Bytes wanted.
    pub bytes: u64,
}
wire_struct!(ProgramAsk { 1 sha256, 2 offset, 3 bytes });

/// A piece of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramPart {
    /// SHA-256 of the whole.
    pub sha256: String,
    /// Where the piece begins.
    pub offset: u64,
    /// The piece.
    pub bytes: Opaque,
}
wire_struct!(ProgramPart { 1 sha256, 2 offset, 3 bytes });
