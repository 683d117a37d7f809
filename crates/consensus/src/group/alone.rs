//! One node of a group of three, whose peers say what a test lets them say.

use crate::wire::{Frame, Packet, decode_packet, encode_body};
use crate::{Batch, Config, Disk, GroupId, GroupSetup, Input, MultiRaft, NodeId, Output};
use raft::eraftpb::{Message, MessageType};

const GROUP: GroupId = 5;

struct Empty;

impl Disk for Empty {
    fn range(&self, _: &[u8], _: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        Box::new(std::iter::empty())
    }
}

/// Node 1 of three, with a disk that is always done.
pub(super) struct Alone {
    pub raft: MultiRaft,
    now_us: u64,
    /// What it sent to node 2.
    sent: Vec<Frame>,
}

impl Alone {
    pub fn new(lost: bool) -> Self {
        let mut raft = MultiRaft::new(Config::new(1, 7));
        let setup = GroupSetup { group: GROUP, voters: vec![1, 2, 3], lost, ..GroupSetup::default() };
        raft.open(0, setup, &Empty).expect("it opens");
        Self { raft, now_us: 0, sent: Vec::new() }
    }

    pub fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.raft.step(self.now_us, input, &mut out);
        for output in out {
            match output {
                Output::Send { to: 2, bytes } => {
                    let frames = decode_packet(1, &bytes).into_iter().flatten();
                    self.sent.extend(frames.map(|(_, frame)| frame));
                }
                Output::Persist { seq, batch: Batch { .. } } => self.give(Input::Persisted { seq }),
                _ => {}
            }
        }
    }

    /// A peer says something.
    pub fn hear(&mut self, from: NodeId, frame: &Frame) {
        let mut packet = Packet::new();
        packet.push(&encode_body(GROUP, frame));
        self.give(Input::Message { from, bytes: packet.into_bytes() });
    }

    /// Waits until node 2 is sent a frame of which `which` makes something.
    pub fn says<T>(&mut self, which: impl Fn(&Frame) -> Option<T>) -> T {
        for _ in 0..200 {
            if let Some(found) = self.sent.iter().rev().find_map(&which) {
                return found;
            }
            self.now_us += 50_000;
            self.give(Input::Wake);
        }
        panic!("it never says that");
    }

    /// Lets time pass.
    pub fn pass_ms(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now_us += 50_000;
            self.give(Input::Wake);
        }
    }

    /// Whether it has sent node 2 such a Raft message.
    pub fn said(&self, which: impl Fn(&Message) -> bool) -> bool {
        self.sent.iter().any(|frame| matches!(frame, Frame::Raft(message) if which(message)))
    }

    /// A peer sends a Raft message of a kind and a term.
    pub fn hear_raft(&mut self, from: NodeId, kind: MessageType, term: u64, reject: bool) {
        let mut message = Message::default();
        (message.msg_type, message.from, message.to) = (kind, from, 1);
        (message.term, message.reject) = (term, reject);
        if kind == MessageType::MsgRequestVote {
            // A log that is longer than this node's.
            (message.index, message.log_term) = (100, 5);
        }
        self.hear(from, &Frame::Raft(Box::new(message)));
    }

    /// Waits for a Raft message of a kind to node 2.
    pub fn asks(&mut self, kind: MessageType) -> Message {
        self.says(|frame| match frame {
            Frame::Raft(message) if message.msg_type == kind => Some((**message).clone()),
            _ => None,
        })
    }

    pub fn grant(&mut self, from: NodeId, asked: &Message, kind: MessageType, name: u64) {
        let mut message = Message::default();
        (message.msg_type, message.to, message.term) = (kind, 1, asked.term);
        message.reject_hint = name;
        self.hear(from, &Frame::Raft(Box::new(message)));
    }

    pub fn leads(&self) -> bool {
        self.raft.leader_since_us(GROUP).is_some()
    }

    /// Its term, and whom it follows.
    pub fn follows(&self) -> (u64, Option<NodeId>) {
        let status = self.raft.status(GROUP).expect("it holds the group");
        (status.term, status.leader)
    }
}
