//! What nodes send each other. A packet is a version byte and then frames; a frame is a length and a body; a body is
//! the group, the kind and the rest. All groups' messages to one node share packets.
//!
//! The Raft crate's own encoding is not used: its decoder recurses on unknown fields, and bytes from the network must
//! not decide how deep.

use crate::codec::{Reader, Writer};
use crate::guard::members_sound;
use crate::records::{read_entry, read_members, write_entry, write_members};
use dwcp_types::{GroupId, NodeId};
use raft::eraftpb::{ConfState, Message, MessageType, Snapshot};

const VERSION: u8 = 1;
/// Terms, indexes and nodes at or above this are nonsense; below it sums cannot overflow.
pub(crate) const NUMBER_LIMIT: u64 = 1 << 60;
/// An index that no log reaches: said by a replica that must know its term before it takes anything.
pub(crate) const TAKES_NOTHING: u64 = NUMBER_LIMIT - 1;

/// One message about one group.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    /// Of the Raft protocol; boxed as it is large.
    Raft(Box<Message>),
    /// A damaged replica asks for repair. `have` is the last index that it holds durably (0: it needs a snapshot;
    /// [`TAKES_NOTHING`]: it takes neither snapshot nor entries yet), `boot` makes an answer belong to this opening.
    RepairAsk { boot: u64, have: u64 },
    /// The answer of any replica that knows its term: its term, and when it leads (in that term) the last index of its log.
    RepairTell { boot: u64, term: u64, target: Option<u64> },
    /// The answer of a replica that lost its vote, and thus does not know its term.
    RepairLost { boot: u64 },
    /// Sent before the answer of a replica that knows its term: who belonged to the group at the index that it has applied.
    RepairMembers { boot: u64, index: u64, voters: Vec<NodeId>, learners: Vec<NodeId> },
    /// The sender holds the log of the leader of `term` durably up to `index`.
    Holds { term: u64, index: u64 },
}

const RAFT: u8 = 0;
const REPAIR_ASK: u8 = 1;
const REPAIR_TELL: u8 = 2;
const HOLDS: u8 = 3;
const REPAIR_LOST: u8 = 4;
const REPAIR_MEMBERS: u8 = 5;

const TYPES: [MessageType; 12] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

/// Collects frames to one node.
pub(crate) struct Packet {
    writer: Writer,
}

impl Packet {
    pub fn new() -> Self {
        Self { writer: Writer { out: vec![VERSION] } }
    }

    pub fn len(&self) -> usize {
        self.writer.out.len()
    }

    pub fn push(&mut self, body: &[u8]) {
        self.writer.bytes(body);
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.writer.out
    }
}

pub(crate) fn encode_body(group: GroupId, frame: &Frame) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.number(group);
    match frame {
        Frame::Raft(message) => {
            writer.byte(RAFT);
            write_message(&mut writer, message);
        }
        Frame::RepairAsk { boot, have } => {
            writer.byte(REPAIR_ASK);
            writer.number(*boot);
            writer.number(*have);
        }
        Frame::RepairTell { boot, term, target } => {
            writer.byte(REPAIR_TELL);
            writer.number(*boot);
            writer.number(*term);
            writer.flag(target.is_some());
            writer.number(target.unwrap_or_default());
        }
        Frame::RepairLost { boot } => {
            writer.byte(REPAIR_LOST);
            writer.number(*boot);
        }
        Frame::RepairMembers { boot, index, voters, learners } => {
            writer.byte(REPAIR_MEMBERS);
            writer.number(*boot);
            writer.number(*index);
            let mut members = ConfState::default();
            members.voters = voters.clone();
            members.learners = learners.clone();
            write_members(&mut writer, &members);
        }
        Frame::Holds { term, index } => {
            writer.byte(HOLDS);
            writer.number(*term);
            writer.number(*index);
        }
    }
    writer.out
}

/// Takes a packet apart. Frames that make no sense are None; so is everything behind a broken length.
pub(crate) fn decode_packet(from: NodeId, bytes: &[u8]) -> Vec<Option<(GroupId, Frame)>> {
    let mut reader = Reader::new(bytes);
    if reader.byte() != Some(VERSION) {
        return vec![None];
    }
    let mut frames = Vec::new();
    while !reader.is_empty() {
        let Some(body) = reader.bytes() else {
            frames.push(None);
            break;
        };
        frames.push(decode_body(from, body));
    }
    frames
}

fn decode_body(from: NodeId, body: &[u8]) -> Option<(GroupId, Frame)> {
    let mut reader = Reader::new(body);
    let group = reader.number()?;
    let frame = match reader.byte()? {
        RAFT => Frame::Raft(Box::new(read_message(from, &mut reader)?)),
        REPAIR_ASK => Frame::RepairAsk { boot: reader.number()?, have: small(&mut reader)? },
        REPAIR_TELL => {
            let boot = reader.number()?;
            let term = small(&mut reader)?;
            let leads = reader.flag()?;
            let target = small(&mut reader)?;
            Frame::RepairTell { boot, term, target: leads.then_some(target) }
        }
        REPAIR_LOST => Frame::RepairLost { boot: reader.number()? },
        REPAIR_MEMBERS => {
            let boot = reader.number()?;
            let index = small(&mut reader)?;
            let members = read_members(&mut reader)?;
            if !members_sound(&members) {
                return None;
            }
            Frame::RepairMembers { boot, index, voters: members.voters, learners: members.learners }
        }
        HOLDS => Frame::Holds { term: small(&mut reader)?, index: small(&mut reader)? },
        _ => return None,
    };
    reader.is_empty().then_some((group, frame))
}

fn small(reader: &mut Reader) -> Option<u64> {
    reader.number().filter(|number| *number < NUMBER_LIMIT)
}

fn write_message(writer: &mut Writer, message: &Message) {
    let kind = TYPES.iter().position(|kind| *kind == message.msg_type);
    writer.byte(kind.map_or(u8::MAX, |kind| kind as u8));
    for number in [
        message.to,
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.reject_hint,
        message.priority.max(0) as u64,
    ] {
        writer.number(number);
    }
    writer.flag(message.reject);
    writer.bytes(&message.context);
    writer.number(message.entries.len() as u64);
    for entry in message.entries.iter() {
        write_entry(writer, entry);
    }
    let snapshot = message.snapshot.as_ref();
    writer.flag(snapshot.is_some());
    if let Some(snapshot) = snapshot {
        writer.number(snapshot.get_metadata().index);
        writer.number(snapshot.get_metadata().term);
        write_members(writer, snapshot.get_metadata().get_conf_state());
        writer.bytes(&snapshot.data);
    }
}

fn read_message(from: NodeId, reader: &mut Reader) -> Option<Message> {
    let mut message = Message::default();
    message.msg_type = *TYPES.get(usize::from(reader.byte()?))?;
    message.from = from;
    message.to = small(reader)?;
    message.term = small(reader)?;
    message.log_term = small(reader)?;
    message.index = small(reader)?;
    message.commit = small(reader)?;
    message.commit_term = small(reader)?;
    message.reject_hint = small(reader)?;
    message.priority = small(reader)? as i64;
    message.reject = reader.flag()?;
    message.context = reader.bytes()?.to_vec().into();
    let count = reader.number()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let entry = read_entry(reader)?;
        if entry.index >= NUMBER_LIMIT || entry.term >= NUMBER_LIMIT {
            return None;
        }
        entries.push(entry);
    }
    message.set_entries(entries.into());
    if reader.flag()? {
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = small(reader)?;
        metadata.term = small(reader)?;
        metadata.set_conf_state(read_members(reader)?);
        snapshot.data = reader.bytes()?.to_vec().into();
        message.set_snapshot(snapshot);
    }
    Some(message)
}
