//! A recording: everything a node began from and everything that went into it, so that it can be run again.
//!
//! A node is a machine: the same settings, the same disk and the same inputs at the same times give the same effects. The
//! shell writes them down as they come ([`open`], then [`Record::Step`] with its inputs before the step and
//! [`Record::Decided`] after it), and [`Replay`](replay::Replay) builds the same node and compares.
//!
//! The bytes: [`MAGIC`], then records. A record is the length of its body (4 bytes, little endian), the same inverted (a
//! damaged length is not taken for a cut), the body, and the body's digest (8 bytes). The body is of the tagged codec.

mod coding;
pub mod replay;

use std::borrow::Cow;
use std::cell::RefCell;

use dwcp_consensus::{Disk, OpenError};
use dwcp_types::codec::{Reader, Writer};
use dwcp_types::{DecodeError, Mono, NodeId, Now, Wall, Wire, decode, encode};

use crate::node::{Class, Effect, Input, Level, Node, NodeConfig};

/// What a recording begins with; the number is the format's.
pub const MAGIC: &[u8] = b"dwcpd recording 1\n";
/// Bytes of the length and its inverse.
const HEAD: usize = 8;
/// Bytes of the digest.
const TAIL: usize = 8;
/// No record is longer, bytes: the largest is a snapshot of one group.
const BODY_MAX: u32 = 1 << 30;

/// One record. They come in this order: `Begin`, every `Kept`, `Opened`; then for each step `Step`, its inputs, `Decided`.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // One lives at a time.
pub enum Record<'a> {
    /// The settings of the node.
    Begin(Cow<'a, NodeConfig>),
    /// A key and its value, as the disk held them when the node was opened.
    Kept(Cow<'a, [u8]>, Cow<'a, [u8]>),
    /// The node was opened at this time.
    Opened(Now),
    /// A step begins at this time, with so many inputs.
    Step(Now, u64),
    /// One of the step's inputs.
    Input(Cow<'a, Input>),
    /// The step has ended.
    Decided(Decided),
}

/// What a step decided, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// Stands for every effect with all its bytes, and for when the node wants to be woken.
    pub digest: u64,
    /// How many effects there were.
    pub effects: u64,
}
dwcp_types::wire_struct!(Decided { 1 digest, 2 effects });

impl Decided {
    /// What these effects of a step amount to.
    pub fn of(effects: &[Effect], wake_at: Mono) -> Decided {
        let mut sum = Digest::default();
        effects.iter().for_each(|effect| sum.effect(effect));
        sum.number(wake_at.0);
        Decided { digest: sum.0, effects: effects.len() as u64 }
    }
}

impl Record<'_> {
    /// The record as it is written.
    pub fn frame(&self) -> Vec<u8> {
        let body = encode(self);
        let length = body.len() as u32;
        let mut sum = Digest::default();
        sum.bytes(&body);
        [&length.to_le_bytes()[..], &(!length).to_le_bytes(), &body, &sum.0.to_le_bytes()].concat()
    }
}

/// Opens a node and gives everything it begins from to `write`: [`MAGIC`] and the first records.
///
/// # Errors
/// The node can't be opened.
pub fn open(config: NodeConfig, now: Now, disk: &dyn Disk, write: Write<'_>) -> Result<Node, OpenError> {
    write(MAGIC);
    write(&Record::Begin(Cow::Borrowed(&config)).frame());
    let watched = Watched { disk, write: RefCell::new(write) };
    let node = Node::open(config, now, &watched)?;
    watched.tell(&Record::Opened(now));
    Ok(node)
}

/// Where a recording goes.
type Write<'a> = &'a mut dyn FnMut(&[u8]);

/// A disk whose every pair that is read is written down.
struct Watched<'a> {
    disk: &'a dyn Disk,
    write: RefCell<Write<'a>>,
}

impl Watched<'_> {
    fn tell(&self, record: &Record<'_>) {
        (self.write.borrow_mut())(&record.frame());
    }
}

impl Disk for Watched<'_> {
    fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
        Box::new(self.disk.range(from, to).inspect(|(key, value)| {
            self.tell(&Record::Kept(Cow::Borrowed(key), Cow::Borrowed(value)));
        }))
    }
}

/// Why there is no further record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It does not begin as a recording of this format does.
    NoRecording,
    /// It ends inside the record at this byte: who wrote it was killed, or its disk was full.
    CutOff(u64),
    /// The record at this byte is not as it was written; says why.
    Damaged(u64, String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::NoRecording => {
                f.write_str("it does not begin as a recording of `dwcpd run --record` does")
            }
            Trouble::CutOff(at) => write!(f, "cut off inside the record at byte {at}"),
            Trouble::Damaged(at, why) => write!(f, "the record at byte {at} is damaged: {why}"),
        }
    }
}

/// Reads records one after the other; holds one at a time.
pub struct Records<S> {
    source: S,
    at: u64,
}

impl<S: FnMut(usize) -> Vec<u8>> Records<S> {
    /// `source` gives the next so many bytes, fewer only at the end.
    ///
    /// # Errors
    /// [`Trouble::NoRecording`].
    pub fn new(mut source: S) -> Result<Records<S>, Trouble> {
        if source(MAGIC.len()) != MAGIC {
            return Err(Trouble::NoRecording);
        }
        Ok(Records { source, at: MAGIC.len() as u64 })
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// It is cut off or damaged. What follows can't be trusted.
    pub fn next_record(&mut self) -> Result<Option<Record<'static>>, Trouble> {
        let at = self.at;
        let head = (self.source)(HEAD);
        if head.is_empty() {
            return Ok(None);
        }
        let damaged = |why: &str| Trouble::Damaged(at, why.to_string());
        let length = length(&head).ok_or(Trouble::CutOff(at))?.map_err(damaged)?;
        let whole = length as usize + TAIL;
        let rest = (self.source)(whole);
        let Some((body, tail)) = rest.split_last_chunk::<TAIL>().filter(|_| rest.len() == whole) else {
            return Err(Trouble::CutOff(at));
        };
        let mut sum = Digest::default();
        sum.bytes(body);
        if sum.0 != u64::from_le_bytes(*tail) {
            return Err(damaged("its bytes do not give its digest"));
        }
        self.at += (HEAD + whole) as u64;
        let record = decode(body).map_err(|error| Trouble::Damaged(at, error.to_string()))?;
        Ok(Some(record))
    }
}

/// The length in a head; none when the head is cut off.
fn length(head: &[u8]) -> Option<Result<u32, &'static str>> {
    let (length, rest) = head.split_first_chunk::<4>()?;
    let (inverse, _) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length);
    if length != !u32::from_le_bytes(*inverse) {
        return Some(Err("its length contradicts itself"));
    }
    Some(if length > BODY_MAX { Err("its length is beyond the limit") } else { Ok(length) })
}

/// The bytes of a recording in memory, for [`Records::new`].
pub fn from_memory(mut bytes: &[u8]) -> impl FnMut(usize) -> Vec<u8> {
    move |count| {
        let (head, rest) = bytes.split_at(count.min(bytes.len()));
        bytes = rest;
        head.to_vec()
    }
}

impl Wire for Record<'_> {
    fn put(&self, w: &mut Writer) {
        match self {
            Record::Begin(config) => w.field(1, |w| config.as_ref().put(w)),
            Record::Kept(key, value) => w.field(2, |w| {
                w.bytes(key);
                w.bytes(value);
            }),
            Record::Opened(now) => w.field(3, |w| put_now(*now, w)),
            Record::Step(now, inputs) => w.field(4, |w| {
                put_now(*now, w);
                inputs.put(w);
            }),
            Record::Input(input) => w.field(5, |w| input.as_ref().put(w)),
            Record::Decided(decided) => w.field(6, |w| decided.put(w)),
        }
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = r.varint()?;
        let mut r = r.inner()?;
        Ok(match tag {
            1 => Record::Begin(Cow::Owned(NodeConfig::get(&mut r)?)),
            2 => Record::Kept(Cow::Owned(r.bytes()?.to_vec()), Cow::Owned(r.bytes()?.to_vec())),
            3 => Record::Opened(get_now(&mut r)?),
            4 => Record::Step(get_now(&mut r)?, r.varint()?),
            5 => Record::Input(Cow::Owned(Input::get(&mut r)?)),
            6 => Record::Decided(Decided::get(&mut r)?),
            other => return Err(DecodeError::UnknownTag("a record", other)),
        })
    }
}

fn put_now(now: Now, w: &mut Writer) {
    now.mono.put(w);
    now.wall.put(w);
}

fn get_now(r: &mut Reader<'_>) -> Result<Now, DecodeError> {
    Ok(Now { mono: Mono::get(r)?, wall: Wall::get(r)? })
}

/// FNV-1a of 64 bits: another byte anywhere gives another sum.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Digest(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// With its length: where one piece ends and the next begins counts too.
    fn piece(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes(bytes);
    }

    fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Send { to, class, bytes } => self.frame(1, *to, *class as u64, bytes),
            Effect::Persist { seq, batch } => {
                self.frame(2, *seq, batch.puts.len() as u64, &[]);
                for (first, second) in batch.puts.iter().chain(&batch.delete_ranges) {
                    self.piece(first);
                    self.piece(second);
                }
                batch.deletes.iter().for_each(|key| self.piece(key));
            }
            Effect::SendAgent { session, bytes } => self.frame(3, *session, 0, bytes),
            // Replies are made of names, numbers and texts in order; they have no byte form as they go to nobody else.
            Effect::Reply { ticket, reply } => self.frame(4, *ticket, 0, format!("{reply:?}").as_bytes()),
            Effect::MendLinks { region } => self.frame(6, 0, 0, region.as_str().as_bytes()),
            Effect::CheckStore => self.frame(7, 0, 0, &[]),
            Effect::RenewStore => self.frame(8, 0, 0, &[]),
            Effect::Peers(peers) => {
                self.frame(9, peers.len() as u64, 0, &[]);
                for peer in peers {
                    self.number(peer.node);
                    [peer.region.as_str(), &peer.mesh, &peer.api]
                        .iter()
                        .for_each(|text| self.piece(text.as_bytes()));
                }
            }
            Effect::Issue(asked) => self.frame(10, 0, 0, &dwcp_types::encode(&**asked)),
            Effect::Switch(order) => self.frame(11, 0, 0, &dwcp_types::encode(order)),
            Effect::TurnAgentsAway(reason) => self.frame(12, 0, 0, reason.as_bytes()),
            Effect::TellReplica { session, told } => {
                self.frame(13, *session, 0, &dwcp_types::encode(&**told));
            }
            Effect::EndReplica { session, reason } => self.frame(14, *session, 0, reason.as_bytes()),
            Effect::Log { component, level, text } => {
                self.frame(5, *level as u64, 0, component.as_bytes());
                self.piece(text.as_bytes());
            }
        }
    }

    fn frame(&mut self, kind: u64, first: NodeId, second: u64, bytes: &[u8]) {
        [kind, first, second].into_iter().for_each(|number| self.number(number));
        self.piece(bytes);
    }
}

/// The effect's kind, in plural, for counting.
pub fn kind_of_effect(effect: &Effect) -> &'static str {
    match effect {
        Effect::Send { class: Class::Consensus, .. } => "frames of the consensus and beats",
        Effect::Send { .. } => "other frames to nodes",
        Effect::Persist { .. } => "batches for the disk",
        Effect::SendAgent { .. } => "frames to agents",
        Effect::Reply { .. } => "replies",
        Effect::MendLinks { .. } => "orders to mend links",
        Effect::CheckStore => "orders to read the store back",
        Effect::RenewStore => "orders to begin a new store file",
        Effect::Peers(_) => "lists of peers",
        Effect::Issue(_) => "certificates to issue",
        Effect::Switch(_) => "orders to go over to another program",
        Effect::TurnAgentsAway(_) => "orders to turn agents away",
        Effect::TellReplica { .. } => "frames to controller replicas",
        Effect::EndReplica { .. } => "controller replicas turned away",
        Effect::Log { level: Level::Info, .. } => "log lines",
        Effect::Log { .. } => "warnings and errors",
    }
}

/// The input's kind, in plural, for counting.
pub fn kind_of_input(input: &Input) -> &'static str {
    match input {
        Input::Wake => "wake-ups",
        Input::Mesh { .. } => "frames of other nodes",
        Input::Persisted { .. } => "batches made durable",
        Input::Links(_) => "readings of links",
        Input::Measures(_) => "measures of the process",
        Input::AgentUp { .. } => "agents connected",
        Input::AgentFrame { .. } => "frames of agents",
        Input::AgentDown { .. } => "agents gone",
        Input::Request { .. } => "requests",
        Input::StoreChecked(_) => "stores read back",
        Input::Issued(_) => "certificates issued",
        Input::HandOver => "hand-overs",
        Input::Program(_) => "words on this program",
        Input::ReplicaUp { .. } => "controller replicas connected",
        Input::ReplicaSaid { .. } => "frames of controller replicas",
        Input::ReplicaDown { .. } => "controller replicas gone",
    }
}
