//! Proposals on their way: to the log here, or by way of the leader elsewhere, until their outcome is known.

use std::collections::BTreeMap;

use std::fmt::Write as _;

use dwcp_consensus::{DropReason, Input as RaftInput};
use dwcp_state::{Command, Envelope, Outcome};
use dwcp_types::{
    Code, GroupId, Mono, NodeId, PROPOSER_LEVEL, Refusal, RegionId, Revision, Wall, decode, encode,
};

use super::wire::{Opaque, Propose, Proposed};
use super::{Class, Level, MeshMessage, Node, NodeConfig};

/// Resent to the leader when nothing was heard for so long, ms.
const RESEND_MS: u64 = 1_000;
/// Dropped proposals are logged at most so often, ms.
const DROPS_TOLD_MS: u64 = 1_000;
/// Who proposes what DWCP concludes by itself.
const OWN: &str = "dwcp";

/// What to do with the outcome.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Purpose {
    /// Nobody waits.
    Quiet,
    /// Answer a request.
    Answer(u64),
    /// Tell the node that asked.
    Elsewhere { node: NodeId, id: u64 },
    /// Go on with the creation of a VM.
    Create(u64),
}

/// A proposal whose outcome is not known yet.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub(super) group: GroupId,
    envelope: Envelope,
    pub(super) purpose: Purpose,
    began: Mono,
    deadline: Mono,
    sent: Option<Mono>,
    place: Option<(u64, u64)>,
    /// When it got its place.
    appended: Mono,
}

/// An outcome that waits until this node has applied what it speaks of.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    group: GroupId,
    revision: u64,
    deadline: Mono,
    purpose: Purpose,
    outcome: Outcome,
}

/// All of them.
pub(super) struct Proposals {
    open: BTreeMap<u64, Proposal>,
    places: BTreeMap<(GroupId, u64), u64>,
    next: u64,
    incarnation: u64,
    /// Conclusions that the consensus has not taken or dropped yet: what kind, and how many bytes.
    concluding: BTreeMap<u64, (String, usize)>,
    drops: Drops,
}

/// Proposals of DWCP itself that were dropped since the log last said so.
#[derive(Default)]
struct Drops {
    count: u64,
    newest: String,
}

impl Proposals {
    pub(super) fn new(config: &NodeConfig) -> Proposals {
        Proposals {
            open: BTreeMap::new(),
            places: BTreeMap::new(),
            next: config.first_number(),
            incarnation: config.seed,
            concluding: BTreeMap::new(),
            drops: Drops::default(),
        }
    }

    /// A leader changed: what waits for one may be sent at once.
    pub(super) fn retry_soon(&mut self, group: GroupId) {
        for proposal in self.open.values_mut().filter(|p| p.group == group && p.place.is_none()) {
            proposal.sent = None;
        }
    }
}

impl Node {
    /// Proposes on somebody's behalf, here or by way of the leader; repeated until the outcome is known or time is up. A
    /// request without a key gets one, so that repeating is safe.
    pub(super) fn propose(&mut self, group: GroupId, mut envelope: Envelope, purpose: Purpose) {
        let id = self.proposals.next;
        self.proposals.next += 1;
        if envelope.request.is_empty() {
            envelope.request = format!("n{}-{:x}-{id}", self.config.me, self.proposals.incarnation);
        }
        let began = self.now.mono;
        let deadline = began.plus_ms(self.config.commit_timeout_ms);
        let (sent, place, appended) = (None, None, began);
        let proposal = Proposal { group, envelope, purpose, began, deadline, sent, place, appended };
        self.proposals.open.insert(id, proposal);
        self.try_proposal(id);
    }

    /// Proposes for the group this node leads, once and only here: what a later leader would not want is never repeated.
    pub(super) fn conclude(&mut self, group: GroupId, command: Command) {
        self.conclude_from(group, command, Vec::new());
    }

    /// Like `conclude`, for what was decided on facts of other regions at these revisions.
    pub(super) fn conclude_from(
        &mut self,
        group: GroupId,
        command: Command,
        looked_at: Vec<(RegionId, Revision)>,
    ) {
        let envelope = Envelope { looked_at, ..self.own_envelope("", command) };
        let ticket = self.proposals.next;
        self.proposals.next += 1;
        let data = encode(&envelope);
        self.proposals.concluding.insert(ticket, (kind(&envelope.command), data.len()));
        self.inbox.push_back(RaftInput::Propose { group, ticket, data });
    }

    /// Proposes a controller's own command for another group under a key that is the same whoever proposes it.
    pub(super) fn tell(&mut self, group: GroupId, key: String, command: Command) {
        let envelope = self.own_envelope(&key, command);
        self.propose(group, envelope, Purpose::Quiet);
    }

    /// Proposes a controller's own command for another group, to be applied however often it is told.
    pub(super) fn tell_again(&mut self, group: GroupId, command: Command) {
        self.tell(group, String::new(), command);
    }

    /// True while a command told from here is on its way.
    pub(super) fn is_telling(&self, which: impl Fn(&Command) -> bool) -> bool {
        self.proposals.open.values().any(|proposal| which(&proposal.envelope.command))
    }

    fn own_envelope(&self, key: &str, command: Command) -> Envelope {
        Envelope {
            request: key.to_string(),
            by: OWN.to_string(),
            at: self.now.wall,
            command,
            proposer: self.proposer(),
            ..Envelope::default()
        }
    }

    fn try_proposal(&mut self, id: u64) {
        let Some(proposal) = self.proposals.open.get_mut(&id) else { return };
        let group = proposal.group;
        let status = self.raft.status(group);
        let leader = status.and_then(|status| status.leader);
        match leader {
            None => {}
            Some(node) if node == self.config.me => {
                proposal.sent = Some(self.now.mono);
                let data = encode(&proposal.envelope);
                self.inbox.push_back(RaftInput::Propose { group, ticket: id, data });
            }
            Some(node) => {
                // One node passes a proposal on at most once: otherwise two that disagree would pass it to and fro.
                if matches!(proposal.purpose, Purpose::Elsewhere { .. }) {
                    return;
                }
                proposal.sent = Some(self.now.mono);
                let propose = Propose { id, group, envelope: Opaque(encode(&proposal.envelope)) };
                self.send(node, Class::State, &MeshMessage::Propose(propose));
            }
        }
    }

    pub(super) fn propose_for(&mut self, from: NodeId, propose: Propose) {
        let Ok(envelope) = decode::<Envelope>(&propose.envelope.0) else { return };
        if !self.leads(propose.group) {
            let proposed = Proposed { id: propose.id, group: propose.group, outcome: None };
            self.send(from, Class::State, &MeshMessage::Proposed(proposed));
            return;
        }
        self.propose(propose.group, envelope, Purpose::Elsewhere { node: from, id: propose.id });
    }

    pub(super) fn appended(&mut self, group: GroupId, ticket: u64, index: u64, term: u64) {
        self.proposals.concluding.remove(&ticket);
        if let Some(proposal) = self.proposals.open.get_mut(&ticket) {
            proposal.place = Some((index, term));
            proposal.appended = self.now.mono;
            self.proposals.places.insert((group, index), ticket);
        }
    }

    /// A proposal was not taken. What was concluded here is concluded again from the facts, and what was asked for or told
    /// is sent again, unless it can never be taken.
    pub(super) fn dropped(&mut self, group: GroupId, ticket: u64, reason: DropReason) {
        if let Some((kind, bytes)) = self.proposals.concluding.remove(&ticket) {
            self.note_drop(group, &kind, bytes, reason);
            return;
        }
        let Some(proposal) = self.proposals.open.get_mut(&ticket) else { return };
        proposal.place = None;
        let own = proposal.envelope.by == OWN;
        if own || reason == DropReason::BadSize {
            let (kind, bytes) = (kind(&proposal.envelope.command), encode(&proposal.envelope).len());
            if own {
                self.note_drop(group, &kind, bytes, reason);
            }
            if reason == DropReason::BadSize {
                self.refuse_size(ticket, bytes);
            }
        }
    }

    fn refuse_size(&mut self, ticket: u64, bytes: usize) {
        let Some(proposal) = self.proposals.open.remove(&ticket) else { return };
        let limit = self.config.consensus.max_proposal_bytes;
        let refusal = Refusal::new(Code::TooLarge, "the change is too large")
            .because(format!("it takes {bytes} bytes; {limit} may be agreed at once"));
        self.conclude_proposal(proposal.group, 0, proposal.purpose, Outcome::Refused(refusal));
    }

    fn note_drop(&mut self, group: GroupId, kind: &str, bytes: usize, reason: DropReason) {
        let drops = &mut self.proposals.drops;
        drops.count += 1;
        drops.newest = format!("{kind} ({bytes} bytes) for group {group}: {reason:?}");
        self.tell_drops();
    }

    /// Says at most once a second which proposals of DWCP itself were dropped.
    pub(super) fn tell_drops(&mut self) {
        if self.proposals.drops.count == 0 || !self.due("tell drops", DROPS_TOLD_MS) {
            return;
        }
        let Drops { count, newest } = std::mem::take(&mut self.proposals.drops);
        let text = format!(
            "{count} of DWCP's own proposals were dropped and are decided again; the newest: {newest}"
        );
        self.log("federation-controller", Level::Warning, text);
    }

    pub(super) fn applied(&mut self, group: GroupId, index: u64, term: u64, outcome: &Outcome) {
        let Some(id) = self.proposals.places.remove(&(group, index)) else { return };
        let Some(proposal) = self.proposals.open.get_mut(&id) else { return };
        if proposal.place != Some((index, term)) {
            // Another leader's entry took its place: it is lost and may be proposed again.
            proposal.place = None;
            proposal.sent = None;
            return;
        }
        let proposal = self.proposals.open.remove(&id).expect("looked up above");
        self.note_committed(group, &proposal.envelope, proposal.appended, (index, term));
        if !matches!(proposal.purpose, Purpose::Elsewhere { .. }) {
            self.note_proposed(group, &proposal.envelope, proposal.began, Some(outcome));
        }
        self.conclude_proposal(group, index, proposal.purpose, outcome.clone());
    }

    /// After a snapshot was installed nobody can say what became of what was appended before: ask again.
    pub(super) fn lost_track(&mut self, group: GroupId) {
        self.proposals.places.retain(|(of, _), _| *of != group);
        for proposal in self.proposals.open.values_mut().filter(|p| p.group == group) {
            proposal.place = None;
            proposal.sent = None;
        }
    }

    pub(super) fn proposed_elsewhere(&mut self, proposed: Proposed) {
        let asked = self.proposals.open.get_mut(&proposed.id);
        let Some(proposal) = asked.filter(|proposal| proposal.group == proposed.group) else { return };
        match proposed.outcome {
            None => proposal.sent = Some(self.now.mono),
            Some((revision, outcome)) => {
                let proposal = self.proposals.open.remove(&proposed.id).expect("looked up above");
                self.note_proposed(proposed.group, &proposal.envelope, proposal.began, Some(&outcome));
                self.conclude_proposal(proposed.group, revision, proposal.purpose, outcome);
            }
        }
    }

    fn conclude_proposal(&mut self, group: GroupId, revision: u64, purpose: Purpose, outcome: Outcome) {
        if let Purpose::Elsewhere { node, id } = purpose {
            let proposed = Proposed { id, group, outcome: Some((revision, outcome)) };
            self.send(node, Class::State, &MeshMessage::Proposed(proposed));
            return;
        }
        let deadline = self.now.mono.plus_ms(self.config.commit_timeout_ms);
        self.waiting.push(Waiting { group, revision, deadline, purpose, outcome });
    }

    /// Answers whatever this node itself has applied by now, so that who asked reads what was written.
    pub(super) fn answer_waiting(&mut self) {
        let now = self.now.mono;
        let (ready, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|w| self.facts.revision(w.group).0 >= w.revision || now >= w.deadline);
        self.waiting = waiting;
        for done in ready {
            self.deliver(done.purpose, Ok((done.group, done.outcome)));
        }
    }

    pub(super) fn retry_proposals(&mut self) {
        self.tell_drops();
        let now = self.now.mono;
        let late: Vec<u64> =
            self.proposals.open.iter().filter(|(_, p)| now >= p.deadline).map(|(id, _)| *id).collect();
        for id in late {
            let Some(proposal) = self.proposals.open.remove(&id) else { continue };
            if !matches!(proposal.purpose, Purpose::Elsewhere { .. }) {
                self.note_proposed(proposal.group, &proposal.envelope, proposal.began, None);
            }
            let refusal = no_outcome(proposal.group, proposal.sent.is_some(), self.config.commit_timeout_ms);
            self.deliver(proposal.purpose, Err(refusal));
        }
        let again: Vec<u64> = self
            .proposals
            .open
            .iter()
            .filter(|(_, p)| p.place.is_none() && p.sent.is_none_or(|sent| now >= sent.plus_ms(RESEND_MS)))
            .map(|(id, _)| *id)
            .collect();
        for id in again {
            self.try_proposal(id);
        }
        self.proposals.places.retain(|_, id| self.proposals.open.contains_key(id));
    }

    fn deliver(&mut self, purpose: Purpose, outcome: Result<(GroupId, Outcome), Refusal>) {
        match purpose {
            Purpose::Quiet | Purpose::Elsewhere { .. } => {}
            Purpose::Answer(ticket) => self.reply_outcome(ticket, outcome),
            Purpose::Create(id) => self.create_went_on(id, outcome),
        }
    }

    /// An envelope for a request.
    pub(super) fn envelope(&self, asked: &super::Asked, command: Command) -> Envelope {
        let request = asked.key.clone().unwrap_or_default();
        Envelope {
            request,
            digest: asked.digest,
            by: asked.by.clone(),
            at: self.wall(),
            command,
            request_id: asked.request_id.clone(),
            expected: asked.expected,
            looked_at: Vec::new(),
            reason: asked.reason.clone(),
            proposer: self.proposer(),
        }
    }

    /// This region, once every program knows where that is written.
    fn proposer(&self) -> RegionId {
        let known = self.facts.core.level >= PROPOSER_LEVEL;
        if known { self.config.region.clone() } else { RegionId::default() }
    }

    pub(super) fn wall(&self) -> Wall {
        self.now.wall
    }
}

/// The kind of a command: the first word of its debug form, of which no more is written.
pub(super) fn kind(command: &Command) -> String {
    struct FirstWord(String);
    impl std::fmt::Write for FirstWord {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let end = text.find(|c: char| !c.is_alphanumeric());
            self.0.push_str(&text[..end.unwrap_or(text.len())]);
            if end.is_some() { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let mut word = FirstWord(String::new());
    // The error only ends the writing.
    let _ = write!(word, "{command:?}");
    word.0
}

fn no_outcome(group: GroupId, sent: bool, after_ms: u64) -> Refusal {
    let whose = if group == 0 {
        "the federation's group".to_string()
    } else {
        format!("the group of region {group}")
    };
    if sent {
        Refusal::new(Code::TimedOut, "the write was not confirmed in time")
            .because(format!("{whose} did not confirm it within {after_ms} ms"))
            .then("it may still take effect; the same command sent again joins it")
    } else {
        Refusal::new(Code::NoLeader, "no write is possible now")
            .because(format!(
                "no leader of {whose} could be reached for {after_ms} ms: a majority of regions is missing"
            ))
            .then("reads and running VMs go on; writes go on when a majority is back")
            .try_this("dwcp-cli federation status --global")
    }
}
