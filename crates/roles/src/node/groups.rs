//! Drives the consensus: hands it inputs, carries its outputs out, applies what is committed.

use dwcp_consensus::{Input as RaftInput, Output};
use dwcp_state::{Envelope, FEDERATION_GROUP, Outcome};
use dwcp_types::{GroupId, NodeId, Revision, decode};

use super::members::MEMBERS_TICKET;
use super::wire::Opaque;
use super::{CertifyFor, Class, Effect, Level, MeshMessage, Node};

impl Node {
    /// Gives the consensus everything that waits for it until nothing more comes of it.
    pub(super) fn drive(&mut self) {
        let mut out = Vec::new();
        loop {
            let inputs: Vec<RaftInput> =
                std::iter::once(RaftInput::Wake).chain(std::mem::take(&mut self.inbox)).collect();
            self.raft.step_all(self.now.mono.0, inputs, &mut out);
            for output in out.drain(..) {
                self.carry_out(output);
            }
            if self.inbox.is_empty() {
                break;
            }
        }
        self.answer_waiting();
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { to, bytes } => {
                self.send(to, Class::Consensus, &MeshMessage::Raft(Opaque(bytes)));
            }
            Output::Persist { seq, batch } => {
                self.before_batch(seq);
                self.out.push(Effect::Persist { seq, batch });
            }
            Output::Apply { group, index, term, data } => self.apply(group, index, term, &data),
            // What becomes of it shows in the members.
            Output::Proposed { ticket: MEMBERS_TICKET, .. }
            | Output::ProposalDropped { ticket: MEMBERS_TICKET, .. } => {}
            Output::Proposed { group, ticket, index, term } => {
                self.sync.appended(group, index, self.now.mono);
                self.appended(group, ticket, index, term);
            }
            Output::ProposalDropped { group, ticket, reason } => self.dropped(group, ticket, reason),
            Output::ReadReady { group, ticket, as_leader, .. } => self.read_ready(group, ticket, as_leader),
            Output::ReadDropped { group, ticket, .. } => self.read_dropped(group, ticket),
            Output::Leader { group, leader, term } => self.leader_changed(group, leader, term),
            Output::WantSnapshot { group, index } => {
                let data = self.facts.snapshot(group);
                self.inbox.push_back(RaftInput::Snapshot { group, index, data });
            }
            Output::InstallSnapshot { group, index, data, .. } => self.install(group, index, &data),
            Output::MembersChanged { group, voters, .. } => self.members_changed(group, voters),
            Output::Repaired { group } => {
                self.rebuild_is_whole(group);
                self.log(
                    "state-manager",
                    Level::Warning,
                    format!("the replica of group {group} was repaired from a peer"),
                );
            }
        }
    }

    fn apply(&mut self, group: GroupId, index: u64, term: u64, data: &[u8]) {
        // An entry that can't be read was written by a version that is more than one step ahead. Going on without it would
        // let this replica differ from the others, so it stops here.
        let envelope: Envelope = match decode(data) {
            Ok(envelope) => envelope,
            Err(error) => {
                panic!("group {group}, entry {index}: {error}; this version is too old for this federation")
            }
        };
        let outcome = self.facts.apply(group, Revision(index), &envelope);
        self.feed_applied(group, index, data, &envelope);
        self.note_digest(group, index, &envelope);
        self.note_refused(group, &envelope, &outcome);
        self.note_shown(group, index);
        self.note_applied(group, index, &envelope, &outcome);
        self.applied(group, index, term, &outcome);
        self.facts_changed(group, Revision(index), &envelope);
        if group == FEDERATION_GROUP {
            self.check_level(self.facts.core.level);
            self.follow_regions();
        }
    }

    /// What the controllers concluded and the facts refused is decided again; a person who wonders why finds it here.
    fn note_refused(&mut self, group: GroupId, envelope: &Envelope, outcome: &Outcome) {
        if let Outcome::Refused(refusal) = outcome {
            if envelope.by == "dwcp" && self.leads(group) {
                self.log("federation-controller", Level::Info, format!("group {group}: {refusal}"));
            }
        }
    }

    fn install(&mut self, group: GroupId, index: u64, data: &[u8]) {
        if let Err(error) = self.facts.restore(group, data) {
            panic!("group {group}: the snapshot at {index} can't be read: {error}");
        }
        // The facts may be of an earlier place than those before, and other ones.
        self.index.forget();
        self.feed_again(group);
        self.rebuild_got_snapshot(group, index, data.len());
        self.log("state-manager", Level::Info, format!("group {group}: snapshot at {index} installed"));
        self.lost_track(group);
        if group == FEDERATION_GROUP {
            self.check_level(self.facts.core.level);
            self.follow_regions();
        }
    }

    fn leader_changed(&mut self, group: GroupId, leader: Option<NodeId>, term: u64) {
        if leader == Some(self.config.me) {
            self.log("state-manager", Level::Info, format!("leads group {group} in term {term}"));
        }
        self.joining_ends(group);
        self.sync.leader_changed(group);
        self.leases.leader_changed(group, self.now.mono);
        self.reintroduce_agents(group, leader);
        self.proposals.retry_soon(group);
    }

    /// Gives every group led here to whoever is next in its order of succession.
    pub(super) fn hand_over(&mut self) {
        let groups: Vec<GroupId> = self.raft.groups().filter(|group| self.leads(*group)).collect();
        for group in groups {
            if let Some(to) = self.raft.successor(group) {
                self.inbox.push_back(RaftInput::TransferLeader { group, to });
            }
        }
    }

    pub(super) fn send(&mut self, to: NodeId, class: Class, message: &MeshMessage) {
        if to == self.config.me {
            return;
        }
        self.out.push(Effect::Send { to, class, bytes: self.sealed(message) });
    }

    pub(super) fn hear_mesh(&mut self, from: NodeId, bytes: &[u8]) {
        if !self.regions.contains_key(&from) {
            return;
        }
        let message = match decode::<MeshMessage>(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.log(
                    "state-manager",
                    Level::Warning,
                    format!("a frame of node {from} can't be read: {error}"),
                );
                return;
            }
        };
        let Some(message) = self.of_ours(from, message) else { return };
        match message {
            MeshMessage::Restored(_) => {}
            MeshMessage::Raft(bytes) => self.inbox.push_back(RaftInput::Message { from, bytes: bytes.0 }),
            MeshMessage::Beat(beat) => self.hear_beat(from, *beat),
            MeshMessage::Propose(propose) => self.propose_for(from, propose),
            MeshMessage::Proposed(proposed) => self.proposed_elsewhere(proposed),
            MeshMessage::FromAgent(relayed) => self.hear_agent(from, relayed),
            MeshMessage::ToAgent(relayed) => self.pass_to_agent(relayed.session, relayed.bytes.0),
            MeshMessage::AskHost(ask) => self.ask_host_for(from, ask),
            MeshMessage::AskRouter(ask) => self.ask_router_for(from, *ask),
            MeshMessage::RouterAnswer(answer) => self.router_told(*answer),
            MeshMessage::AskPool(ask) => self.ask_pool_for(from, ask),
            MeshMessage::HostAnswer(answer) => self.host_answered(answer),
            MeshMessage::PingFor(ping) => self.ping_for(ping),
            MeshMessage::Ping(ping) => self.send(from, Class::Operations, &MeshMessage::Pong(ping)),
            MeshMessage::Pong(ping) => self.pong(ping),
            MeshMessage::PingReport(report) => self.ping_report(from, report),
            MeshMessage::DigestAsk(ask) => self.digest_asked(from, &ask),
            MeshMessage::DigestTell(tell) => self.digest_told(from, tell),
            MeshMessage::StoreAsk(number) => {
                if let Some(check) = self.store_asked(from, number) {
                    self.send(from, Class::Operations, &MeshMessage::StoreTell((number, check)));
                }
            }
            MeshMessage::StoreTell((number, check)) => self.store_told(from, number, check),
            MeshMessage::RebuildAsk(ask) => self.rebuild_asked(from, &ask),
            MeshMessage::RebuildTell(tell) => self.rebuild_told(from, tell),
            MeshMessage::Yield((group, to)) => self.yield_to(group, to),
            MeshMessage::Certify(asked) => self.issue(CertifyFor { asker: from, ..*asked }),
            MeshMessage::Certified(certified) => self.pass_certificate(*certified),
            MeshMessage::Switch(order) => self.switch_ordered(&order),
            // The shells' own.
            MeshMessage::ProgramAsk(_)
            | MeshMessage::ProgramPart(_)
            | MeshMessage::SelfAsk(_)
            | MeshMessage::SelfTell(_) => {}
        }
    }
}
