//! Reads that the leader answers without asking anybody: no other node can have been elected since a majority last said,
//! after being asked, that it follows this leader. The argument is in `docs/decisions/2026-11-24-lease-reads.md`.
//!
//! Every replica that acknowledges a leader promises to help nobody to be elected for a while, on its own clock. The Raft
//! crate promises almost the same, but forgets it with its leader (a late answer of a higher term makes it forget) and with
//! the process, and counts in ticks; so the promise is kept here.

use super::Group;
use crate::guard::READ_NAME_LEN;
use crate::turn::Turn;
use crate::{Config, NodeId};
use dwcp_types::CLOCK_DRIFT_PERCENT;
use raft::CAMPAIGN_TRANSFER;
use raft::eraftpb::{Message, MessageType};

/// A promise is shorter than the silence after which elections begin, so that none waits for it, ticks.
const SHORTER_TICKS: u64 = 2;
/// After a read the leader keeps its lease up for so long, in election timeouts.
const WANTED_ELECTIONS: u64 = 16;

/// How long a replica that acknowledged a leader helps to elect nobody, µs of its clock.
fn promise_us(config: &Config) -> u64 {
    u64::from(config.election_ticks).saturating_sub(SHORTER_TICKS) * config.tick_us
}

/// How long a leader may rely on such promises, µs of its clock from before it asked.
fn lease_us(config: &Config) -> u64 {
    let lease_us = promise_us(config) * (100 - CLOCK_DRIFT_PERCENT) / 100;
    config.mutated_lease_us(lease_us.saturating_sub(config.tick_us))
}

pub(super) struct Lease {
    /// Until then this replica helps nobody to be elected.
    promised_until_us: u64,
    /// The newest round that a quorum confirmed: the term led, and when it was begun.
    confirmed: Option<(u64, u64)>,
    /// Rounds begun until then were confirmed by members that may no longer be those that elect.
    members_since_us: u64,
    /// In this term a transfer of leadership was begun. The order to campaign, which no promise holds back, may arrive
    /// much later, so there is no lease in it any more.
    void_term: u64,
    /// Until this tick the lease is kept up.
    wanted_until: u64,
    /// When the newest round was begun, in ticks.
    asked: u64,
}

impl Lease {
    /// A process that may have promised before it ended (`promised`) begins as if it had done so just now.
    pub fn new(config: &Config, now_us: u64, promised: bool) -> Self {
        Self {
            promised_until_us: if promised { now_us + promise_us(config) } else { 0 },
            confirmed: None,
            members_since_us: now_us,
            void_term: 0,
            wanted_until: 0,
            asked: 0,
        }
    }

    /// A leader is acknowledged now.
    pub fn promise(&mut self, config: &Config, now_us: u64) {
        self.promised_until_us = self.promised_until_us.max(now_us + promise_us(config));
    }

    /// Whether this replica may not help to elect a leader now.
    pub fn promised(&self, now_us: u64) -> bool {
        now_us < self.promised_until_us
    }

    /// A quorum confirmed a round that this node began at `began_us` as the leader of `term`.
    pub fn confirm(&mut self, term: u64, began_us: u64) {
        if began_us > self.members_since_us {
            self.confirmed = self.confirmed.max(Some((term, began_us)));
        }
    }

    /// Other members come into force: what the old ones said does not count.
    pub fn members_changed(&mut self, now_us: u64) {
        self.members_since_us = now_us;
        self.confirmed = None;
    }

    pub fn asked(&mut self, ticks: u64) {
        self.asked = ticks;
    }
}

impl Group {
    /// Notes a transfer of leadership; to be called before a lease is relied on, and after every step.
    pub(super) fn watch_transfer(&mut self) {
        if self.raft.raft.lead_transferee.is_some() {
            self.lease.void_term = self.term();
        }
    }

    /// Whether this node is certain, now, that nobody else leads.
    fn holds_lease(&mut self, turn: &Turn) -> bool {
        self.watch_transfer();
        let term = self.term();
        turn.config.lease_reads
            && self.leads()
            && self.lease.void_term != term
            && self.raft.raft.commit_to_current_term()
            && self.lease.confirmed.is_some_and(|(confirmed, began_us)| {
                confirmed == term && turn.now_us < began_us + lease_us(turn.config)
            })
    }

    /// Whether a read that came before now may be answered from the lease. From the first one on the lease is kept up.
    pub(super) fn may_read_leased(&mut self, turn: &Turn) -> bool {
        self.lease.wanted_until = self.ticks + WANTED_ELECTIONS * u64::from(turn.config.election_ticks);
        self.holds_lease(turn)
    }

    /// Whether a round should be begun only to keep the lease up.
    pub(super) fn lease_wants_round(&self, config: &Config) -> bool {
        let wanted = self.ticks < self.lease.wanted_until && self.lease.void_term != self.term();
        config.lease_reads && wanted && self.ticks >= self.lease.asked + u64::from(config.heartbeat_ticks)
    }

    /// Answers a follower's read from the lease. False: it must be confirmed by a round.
    pub(super) fn answer_from_lease(&mut self, turn: &Turn, message: &mut Message) -> bool {
        let leased = |name: &[u8]| name.get(READ_NAME_LEN - 8).is_some_and(|byte| byte & 0x80 != 0);
        let from: NodeId = message.from;
        if !message.entries.first().is_some_and(|entry| leased(&entry.data)) || !self.may_read_leased(turn) {
            return false;
        }
        self.add_read_floor(message);
        let mut answer = Message::default();
        answer.msg_type = MessageType::MsgReadIndexResp;
        answer.to = from;
        answer.from = self.me;
        answer.term = self.term();
        answer.index = self.raft.raft.raft_log.committed;
        answer.set_entries(message.take_entries());
        self.raft.raft.msgs.push(answer);
        true
    }

    /// Whether a message asks this replica to break its promise. A campaign that the leader itself ordered may be helped:
    /// that leader has given its lease up before.
    pub(super) fn asks_to_break_promise(&self, now_us: u64, message: &Message) -> bool {
        let asks_for_vote =
            matches!(message.msg_type, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        // Whatever the term is by now: what was promised is time, and a late refusal may have raised the term meanwhile.
        asks_for_vote && message.context != CAMPAIGN_TRANSFER && self.lease.promised(now_us)
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::MessageType;

    use super::super::alone::Alone;

    #[test]
    fn a_promise_outlives_the_term_it_was_made_in() {
        let mut alone = Alone::new(false);
        alone.hear_raft(3, MessageType::MsgHeartbeat, 5, false);
        assert_eq!(alone.follows(), (5, Some(3)));
        // A late refusal carries the next term, and the replica forgets whom it followed.
        alone.hear_raft(2, MessageType::MsgRequestPreVoteResponse, 6, true);
        assert_eq!(alone.follows(), (6, None));
        alone.hear_raft(2, MessageType::MsgRequestVote, 6, false);
        let voted = |alone: &Alone| {
            alone.said(|message| message.msg_type == MessageType::MsgRequestVoteResponse && !message.reject)
        };
        alone.pass_ms(100);
        assert!(!voted(&alone), "the leader of term 5 may still answer reads by itself");
        alone.pass_ms(1_300);
        alone.hear_raft(2, MessageType::MsgRequestVote, 7, false);
        alone.pass_ms(100);
        assert!(voted(&alone), "the promise has ended");
    }
}
