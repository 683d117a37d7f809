//! Linearizable reads: a request is answered when a quorum has confirmed the leader after the request was made and this
//! node has applied what was committed then.
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
use crate::{Config, DropReason, NodeId, Output, Ticket};
use raft::eraftpb::Message;
use std::collections::BTreeMap;

/// More waiting requests than this are refused.
const WAITING_LIMIT: usize = 16_384;

struct Round {
    tickets: Vec<Ticket>,
    began: u64,
    asked: Option<u64>,
    /// The term in which this node led when it asked itself.
    as_leader: Option<u64>,
    index: Option<u64>,
}

pub(super) struct Reads {
    node: NodeId,
    boot: u64,
    next: u64,
    gathering: Vec<Ticket>,
    rounds: BTreeMap<u64, Round>,
    waiting: usize,
}

impl Reads {
    pub fn new(node: NodeId, boot: u64) -> Self {
        Self { node, boot, next: 1, gathering: Vec::new(), rounds: BTreeMap::new(), waiting: 0 }
    }

    fn name(&self, round: u64) -> Vec<u8> {
        let mut name = Vec::with_capacity(READ_NAME_LEN);
        for part in [self.node, self.boot, round] {
            name.extend_from_slice(&part.to_be_bytes());
        }
        name
    }

    /// A quorum confirmed the round; it may also be nobody's, or answered already.
    pub fn confirmed(&mut self, context: &[u8], index: u64) {
        let Some((name, floor)) = context.split_last_chunk::<READ_FLOOR_LEN>() else { return };
        let Some((prefix, round)) = name.split_last_chunk::<8>() else { return };
        let mut mine = self.node.to_be_bytes().to_vec();
        mine.extend_from_slice(&self.boot.to_be_bytes());
        if prefix == mine
            && let Some(round) = self.rounds.get_mut(&u64::from_be_bytes(*round))
        {
            round.index.get_or_insert(index.max(u64::from_be_bytes(*floor)));
        }
    }
}

impl Group {
    pub fn read_index(&mut self, turn: &mut Turn, ticket: Ticket) {
        if self.reads.waiting >= WAITING_LIMIT {
            turn.out.push(Output::ReadDropped { group: self.id, ticket, reason: DropReason::TooMany });
            return;
        }
        self.reads.waiting += 1;
        self.reads.gathering.push(ticket);
    }

    /// Starts the round of what was gathered, asks for rounds that were not asked for yet or got no answer.
    pub(super) fn ask_reads(&mut self, config: &Config) {
        if !self.reads.gathering.is_empty() {
            let tickets = std::mem::take(&mut self.reads.gathering);
            let round = Round { tickets, began: self.ticks, asked: None, as_leader: None, index: None };
            self.reads.rounds.insert(self.reads.next, round);
            self.reads.next += 1;
        }
        if self.reads.rounds.is_empty() {
            return;
        }
        // A leader that has committed nothing in its term does not know yet what is committed.
        let leads = self.leads();
        let able = if leads { self.raft.raft.commit_to_current_term() } else { self.leader().is_some() };
        if !able {
            return;
        }
        let (ticks, retry) = (self.ticks, u64::from(config.read_retry_ticks));
        let mut names = Vec::new();
        let due = |round: &Round| match round.asked {
            None => true,
            // The leader's own heartbeats repeat its rounds.
            Some(asked) => round.as_leader.is_none() && round.index.is_none() && ticks >= asked + retry,
        };
        let numbers: Vec<u64> =
            self.reads.rounds.iter().filter(|(_, round)| due(round)).map(|(number, _)| *number).collect();
        let term = self.term();
        for number in numbers {
            names.push(self.reads.name(number));
            if let Some(round) = self.reads.rounds.get_mut(&number) {
                if leads && round.asked.is_none() {
                    round.as_leader = Some(term);
                }
                round.asked = Some(ticks);
            }
        }
        let floor = self.read_floor();
        for mut name in names {
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
