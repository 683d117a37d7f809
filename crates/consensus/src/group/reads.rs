//! Linearizable reads: a request is answered when a quorum has confirmed the leader after the request was made and this
//! node has applied what was committed then.
//!
//! Requests that may be answered from the leader's lease (see `lease`) are, when it holds; else they take part in a round.
//!
//! All requests of one call share a round. A round's name is never used twice, also not after a restart: the leader
//! remembers names of rounds, and an old name would get the old, too low index.
//!
//! The leader adds to each name the last index of its log, the floor, and the answer is at least that. The commit index
//! alone is too low: with the acknowledgement broadcast a follower may know, and have shown, a commit that the leader
//! does not know yet. Whatever any replica has shown as committed before the request is in the leader's log.

use super::Group;
use crate::guard::{READ_FLOOR_LEN, READ_NAME_LEN};
use crate::turn::Turn;
use crate::{DropReason, NodeId, Output, Ticket};
use raft::eraftpb::Message;
use std::collections::BTreeMap;

/// More waiting requests than this are refused.
const WAITING_LIMIT: usize = 16_384;
/// In the number of a round, as its name carries it: the leader may answer it from its lease.
const LEASED: u64 = 1 << 63;

struct Round {
    tickets: Vec<Ticket>,
    /// May be answered from the leader's lease.
    leased: bool,
    began: u64,
    asked: Option<u64>,
    /// When this node asked itself, µs.
    asked_us: u64,
    /// The term in which this node led when it asked itself.
    as_leader: Option<u64>,
    index: Option<u64>,
}

pub(super) struct Reads {
    node: NodeId,
    boot: u64,
    next: u64,
    gathering: Vec<Ticket>,
    gathering_leased: Vec<Ticket>,
    rounds: BTreeMap<u64, Round>,
    waiting: usize,
}

impl Reads {
    pub fn new(node: NodeId, boot: u64) -> Self {
        let (gathering, gathering_leased) = (Vec::new(), Vec::new());
        Self { node, boot, next: 1, gathering, gathering_leased, rounds: BTreeMap::new(), waiting: 0 }
    }

    fn begin(&mut self, tickets: Vec<Ticket>, leased: bool, ticks: u64) {
        let round =
            Round { tickets, leased, began: ticks, asked: None, asked_us: 0, as_leader: None, index: None };
        self.rounds.insert(self.next, round);
        self.next += 1;
    }

    fn name(&self, round: u64, leased: bool) -> Vec<u8> {
        let mut name = Vec::with_capacity(READ_NAME_LEN);
        for part in [self.node, self.boot, round | if leased { LEASED } else { 0 }] {
            name.extend_from_slice(&part.to_be_bytes());
        }
        name
    }

    /// The round is confirmed; it may also be nobody's, or answered already. When this node began it as a leader: in which
    /// term, and when.
    pub fn confirmed(&mut self, context: &[u8], index: u64) -> Option<(u64, u64)> {
        let (name, floor) = context.split_last_chunk::<READ_FLOOR_LEN>()?;
        let (prefix, round) = name.split_last_chunk::<8>()?;
        let mut mine = self.node.to_be_bytes().to_vec();
        mine.extend_from_slice(&self.boot.to_be_bytes());
        if prefix != mine {
            return None;
        }
        let round = self.rounds.get_mut(&(u64::from_be_bytes(*round) & !LEASED))?;
        round.index.get_or_insert(index.max(u64::from_be_bytes(*floor)));
        round.as_leader.map(|term| (term, round.asked_us))
    }
}

impl Group {
    pub fn read(&mut self, turn: &mut Turn, ticket: Ticket, leased: bool) {
        if self.reads.waiting >= WAITING_LIMIT {
            turn.out.push(Output::ReadDropped { group: self.id, ticket, reason: DropReason::TooMany });
            return;
        }
        self.reads.waiting += 1;
        match leased {
            true => self.reads.gathering_leased.push(ticket),
            false => self.reads.gathering.push(ticket),
        }
    }

    /// Starts the rounds of what was gathered, asks for rounds that were not asked for yet or got no answer.
    pub(super) fn ask_reads(&mut self, turn: &Turn) {
        for leased in [false, true] {
            let gathered = if leased { &mut self.reads.gathering_leased } else { &mut self.reads.gathering };
            if !gathered.is_empty() {
                let tickets = std::mem::take(gathered);
                self.reads.begin(tickets, leased, self.ticks);
            }
        }
        if self.leads() && self.raft.raft.commit_to_current_term() && self.lease_wants_round(turn.config) {
            self.reads.begin(Vec::new(), false, self.ticks);
        }
        if self.reads.rounds.is_empty() {
            return;
        }
        // A leader that has committed nothing in its term does not know yet what is committed.
        let leads = self.leads();
        let able = if leads { self.raft.raft.commit_to_current_term() } else { self.leader().is_some() };
        if able {
            self.ask_due_reads(turn, leads);
        }
    }

    fn ask_due_reads(&mut self, turn: &Turn, leads: bool) {
        let (ticks, retry) = (self.ticks, u64::from(turn.config.read_retry_ticks));
        let due = |round: &Round| match round.asked {
            None => true,
            // The leader's own heartbeats repeat its rounds.
            Some(asked) => round.as_leader.is_none() && round.index.is_none() && ticks >= asked + retry,
        };
        let rounds = self.reads.rounds.iter().filter(|(_, round)| due(round));
        let due: Vec<(u64, bool)> = rounds.map(|(number, round)| (*number, round.leased)).collect();
        let (term, floor) = (self.term(), self.read_floor());
        for (number, leased) in due {
            let at_once = leads && leased && self.may_read_leased(turn);
            let mut name = self.reads.name(number, leased);
            let Some(round) = self.reads.rounds.get_mut(&number) else { continue };
            if at_once {
                // Nobody need confirm it; what is under way must still be applied, as after a round.
                round.index = Some(u64::from_be_bytes(floor));
                round.asked = Some(ticks);
                continue;
            }
            if leads && round.asked.is_none() {
                round.as_leader = Some(term);
                round.asked_us = turn.now_us;
                self.lease.asked(ticks);
            }
            round.asked = Some(ticks);
            if leads {
                name.extend_from_slice(&floor);
            }
            self.raft.read_index(name);
        }
    }

    fn read_floor(&self) -> [u8; READ_FLOOR_LEN] {
        self.raft.raft.raft_log.last_index().to_be_bytes()
    }

    /// A follower asks this leader.
    pub(super) fn add_read_floor(&self, message: &mut Message) {
        let floor = self.read_floor();
        for entry in message.mut_entries().iter_mut() {
            let mut name = entry.data.to_vec();
            name.extend_from_slice(&floor);
            entry.data = name.into();
        }
    }

    /// Answers what can be answered, drops what is too old or was asked as a leader that this node no longer is.
    pub(super) fn answer_reads(&mut self, turn: &mut Turn) {
        if self.reads.rounds.is_empty() {
            return;
        }
        let (applied, ticks) = (self.applied(), self.ticks);
        let reign = self.leads().then(|| self.term());
        let leader = self.leader();
        let timeout = u64::from(turn.config.read_timeout_ticks);
        let mut rounds = std::mem::take(&mut self.reads.rounds);
        rounds.retain(|_, round| {
            let lost = round.as_leader.is_some() && round.as_leader != reign;
            let answer = match round.index {
                _ if lost => Err(DropReason::NotLeader { leader }),
                Some(index) if applied >= index => Ok(index),
                _ if ticks > round.began + timeout => Err(DropReason::Timeout),
                _ => return true,
            };
            for ticket in round.tickets.drain(..) {
                self.reads.waiting -= 1;
                turn.out.push(match answer {
                    Ok(index) => {
                        Output::ReadReady { group: self.id, ticket, index, as_leader: round.as_leader }
                    }
                    Err(reason) => Output::ReadDropped { group: self.id, ticket, reason },
                });
            }
            false
        });
        self.reads.rounds = rounds;
    }
}
