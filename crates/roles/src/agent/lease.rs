//! The lease: how long VMs may run, and how it is kept when no leader is there.

use std::collections::BTreeMap;

use dwcp_types::{CLOCK_DRIFT_PERCENT, NodeId};

use super::{Agent, Effect, Seen};
use crate::protocol::{Grant, Welcome};

/// Grants that may be under way at once; older renewals are forgotten.
const SENT_MAX: usize = 64;
/// Between two questions to the voters, ms. Two rounds must fit into what is left of the lease, also when each takes the
/// 400 ms it may take.
const ASK_INTERVAL_MS: u64 = 400;
/// The voters are asked when less than this share of the lease is left, in percent.
const ASK_BELOW_PERCENT: u64 = 60;

/// What is known of a voter of the region's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoterState {
    /// Its host refuses the connection: the process does not run.
    Dead,
    /// It answers that it does not lead the group.
    NotLeader {
        /// How long ago its process first knew a leader, ms, rounded up; 0 when it has known none, [`u64::MAX`] when it does
        /// not say. What it says towards a takeover never reaches back further.
        led_ms: u64,
    },
    /// It answers that it leads the group.
    Leader {
        /// As for [`VoterState::NotLeader`]: it has led for no longer than this.
        led_ms: u64,
    },
    /// Nothing, or nothing that can be understood, came in time. Accounts for nothing.
    Silent,
}

#[derive(Clone, Debug)]
pub(super) struct Lease {
    until_us: u64,
    /// VMs are held still since the lease ran out.
    fenced: bool,
    killed: bool,
    sent_us: BTreeMap<u64, u64>,
    /// A grant that waits for intents as new as its pair: pair, end, length.
    pending: Option<((u64, u64), u64, u64)>,
    next_ask_us: u64,
    /// The newest round of questions in which every voter was dead or did not lead: since when at most a majority has known any
    /// leader, and when it ended.
    proof_us: Option<(u64, u64)>,
}

impl Lease {
    pub(super) fn new(until_us: u64) -> Lease {
        Lease {
            until_us,
            fenced: false,
            killed: false,
            sent_us: BTreeMap::new(),
            pending: None,
            next_ask_us: 0,
            proof_us: None,
        }
    }

    pub(super) fn until_us(&self) -> u64 {
        self.until_us
    }

    pub(super) fn holds(&self, now_us: u64) -> bool {
        !self.fenced && now_us < self.until_us
    }

    /// True until the end of the lease was noticed.
    pub(super) fn is_usable(&self) -> bool {
        !self.fenced
    }

    pub(super) fn renewal_sent(&mut self, seq: u64, now_us: u64) {
        self.sent_us.insert(seq, now_us);
        while self.sent_us.len() > SENT_MAX {
            self.sent_us.pop_first();
        }
    }

    /// How long the oldest renewal that may still be answered has waited.
    pub(super) fn unanswered_for_us(&self, now_us: u64) -> u64 {
        self.sent_us.values().next().map_or(0, |sent_us| now_us.saturating_sub(*sent_us))
    }

    /// When the voters are to be asked, by what a leader has told of them; never when none has.
    fn asks_from_us(&self, seen: &Seen) -> u64 {
        if seen.voters.is_empty() {
            return u64::MAX;
        }
        let low_us = seen.lease_ms.saturating_mul(10 * ASK_BELOW_PERCENT);
        self.until_us.saturating_sub(low_us).max(self.next_ask_us)
    }

    pub(super) fn wake_at_us(&self, seen: &Seen, kill_after_ms: u64, any_process: bool) -> Option<u64> {
        if !self.fenced {
            return Some(self.until_us.min(self.asks_from_us(seen)));
        }
        (any_process && !self.killed).then(|| self.until_us.saturating_add(kill_after_ms * 1_000))
    }
}

impl Agent {
    /// Fences at the end of the lease, kills some time later, and asks the voters before either.
    pub(super) fn keep_lease(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        if !self.lease.fenced && now_us >= self.lease.until_us {
            self.lease.fenced = true;
            self.lease.killed = false;
            self.vms.values_mut().filter(|vm| vm.process).for_each(|vm| vm.hold());
            self.changed = true;
            out.push(Effect::FenceNow);
        }
        let kill_at_us = self.lease.until_us.saturating_add(self.config.kill_after_ms * 1_000);
        if self.lease.fenced && !self.lease.killed && now_us >= kill_at_us {
            self.lease.killed = true;
            for (vm, local) in self.vms.iter().filter(|(_, local)| local.process) {
                out.push(Effect::Kill { vm: *vm, generation: local.generation });
            }
        }
        if !self.lease.fenced && now_us >= self.lease.asks_from_us(&self.seen) {
            self.lease.next_ask_us = now_us + ASK_INTERVAL_MS * 1_000;
            let nodes = self.seen.voters.iter().chain(&self.seen.joining).copied().collect();
            out.push(Effect::AskVoters { nodes });
        }
    }

    pub(super) fn welcome(&mut self, welcome: Welcome, out: &mut Vec<Effect>) {
        self.welcomed = true;
        self.learn(welcome.voters, welcome.joining, welcome.lease_ms, out);
    }

    /// Remembers what a leader says of its group, across restarts too: a guess would not be proof of anything. Without voters
    /// and without a length, those stay as they are.
    fn learn(&mut self, voters: Vec<NodeId>, joining: Vec<NodeId>, lease_ms: u64, out: &mut Vec<Effect>) {
        let lease_ms = if lease_ms == 0 { self.seen.lease_ms } else { lease_ms };
        let (voters, joining) = match voters.is_empty() {
            true => (self.seen.voters.clone(), self.seen.joining.clone()),
            false => (voters, joining),
        };
        let seen = &self.seen;
        if (&voters, &joining, lease_ms) == (&seen.voters, &seen.joining, seen.lease_ms) {
            return;
        }
        // What was found out about other voters proves nothing about these.
        self.lease.proof_us = None;
        self.seen.voters = voters;
        self.seen.joining = joining;
        self.seen.lease_ms = lease_ms;
        out.push(Effect::SaveSeen(self.seen.clone()));
    }

    /// Lets a lease that has not run out last as long as a grant would, whatever intents it was for: nobody else may run what
    /// this host runs until it has run out. One that has run out stays so.
    pub(super) fn prolong(&mut self, now_us: u64, grant: Grant, out: &mut Vec<Effect>) {
        let Some(&sent_us) = self.lease.sent_us.get(&grant.seq) else { return };
        self.lease.sent_us = self.lease.sent_us.split_off(&(grant.seq + 1));
        self.learn(grant.voters, grant.joining, grant.lease_ms, out);
        if self.lease.holds(now_us) {
            let until_us = sent_us.saturating_add(grant.lease_ms.saturating_mul(1_000));
            self.extend_lease(now_us, until_us, grant.lease_ms, out);
        }
    }

    pub(super) fn grant(&mut self, now_us: u64, grant: Grant, out: &mut Vec<Effect>) {
        // A grant to an unknown renewal can't be dated, so it is worth nothing.
        let Some(&sent_us) = self.lease.sent_us.get(&grant.seq) else { return };
        self.lease.sent_us = self.lease.sent_us.split_off(&(grant.seq + 1));
        let until_us = sent_us.saturating_add(grant.lease_ms.saturating_mul(1_000));
        self.learn(grant.voters, grant.joining, grant.lease_ms, out);
        let pair = (grant.term, grant.revision);
        if pair > self.seen.newest || (self.lease.fenced && self.intents.is_none() && !self.vms.is_empty()) {
            self.lease.pending = Some((pair, until_us, grant.lease_ms));
        } else {
            self.extend_lease(now_us, until_us, grant.lease_ms, out);
        }
    }

    /// New intents came: a grant that waited for them may count now.
    pub(super) fn use_pending_grant(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        let Some((pair, until_us, lease_ms)) = self.lease.pending else { return };
        if pair <= self.seen.newest {
            self.lease.pending = None;
            self.extend_lease(now_us, until_us, lease_ms, out);
        }
    }

    fn extend_lease(&mut self, now_us: u64, until_us: u64, lease_ms: u64, out: &mut Vec<Effect>) {
        self.learn(Vec::new(), Vec::new(), lease_ms, out);
        if until_us <= self.lease.until_us || until_us <= now_us {
            return;
        }
        self.lease.until_us = until_us;
        self.lease.fenced = false;
        self.lease.killed = false;
        out.push(Effect::SetLease { until_us });
    }

    /// Keeps the lease without a leader when it is proven, twice, that there is none.
    ///
    /// Why this can't let a VM run twice. A takeover is proposed by a leader of the region's group, and only when for a
    /// majority of voters a full lease (with drift and a margin) has passed since they last answered another leader or,
    /// if later, since their process first knew one; each of them said so after it knew this leader. Call E the end of the lease
    /// now: nobody proposes a takeover before E. Two rounds of questions were asked, the first from A1 to N1, the second
    /// from A2 to N2, with A1 <= N1 <= A2 <= N2 < E. In the first every voter was dead or did not lead. In the second every
    /// voter was dead, did not lead, or leads in a process that knew no leader, so did not lead, before N1. In the first,
    /// every voter of a majority D was dead, or its process had known no leader before S <= A1; the lease is to end at
    /// S + lease. Voters and `lease` are what a leader of the group has said, to this process or to an earlier one;
    /// before it has, nothing is kept. Take any leader L that proposes a takeover:
    /// * L was elected before the second round reached it, and no longer led then. So it proposed before N2, which is
    ///   before E: it did not.
    /// * L was elected after that, or led then and was elected after N1; in either case after N1. The majority it counts has
    ///   a voter of D, who speaks as a follower of L, so after N1, of a time since it first knew a leader. Either it was
    ///   dead, so its process started after A1; or it speaks as the process that was asked or as a later one, which knew no
    ///   leader before S. A lease later is after S + lease.
    ///
    /// The voters may have changed by one since they were told (`node/members`). Then any majority still has a voter of D. One
    /// who votes, and so may lead, only since then was told as one who joins, and was asked in both rounds too.
    ///
    /// One round is not enough: a voter could hear of the new term, say so, and die, all between A1 and its proof. For the same
    /// reason a round that met a leader is never a first one.
    /// Silence is no answer, and a lease that ran out is never brought back this way. Voters that had a leader for
    /// longer than a lease prove nothing: they elect the next one by themselves.
    pub(super) fn voter_answers(
        &mut self,
        now_us: u64,
        asked_at_us: u64,
        answers: &[(NodeId, VoterState)],
        out: &mut Vec<Effect>,
    ) {
        let Some(round) = Round::of(asked_at_us, &self.seen, answers) else {
            self.lease.proof_us = None;
            return;
        };
        if asked_at_us > now_us || !self.lease.holds(now_us) {
            return;
        }
        if let Some((since_us, ended_us)) = self.lease.proof_us {
            if asked_at_us < ended_us {
                return;
            }
            if round.leads_since_us.is_none_or(|leads_since_us| leads_since_us >= ended_us) {
                let lease_ms = self.seen.lease_ms;
                let until_us = since_us.saturating_add(lease_ms.saturating_mul(1_000));
                self.extend_lease(now_us, until_us, lease_ms, out);
            }
        }
        self.lease.proof_us = round.leads_since_us.is_none().then_some((round.led_since_us, now_us));
    }
}

/// What one round proves that accounted for every voter, and for every node that may be one soon.
struct Round {
    /// Some majority of the voters knew no leader before this moment, the latest that is proven, in the processes that they have
    /// from then on.
    led_since_us: u64,
    /// Who leads has led in its process since this moment at the earliest; none when nobody leads.
    leads_since_us: Option<u64>,
}

impl Round {
    /// `None` when somebody is silent.
    fn of(asked_at_us: u64, seen: &Seen, answers: &[(NodeId, VoterState)]) -> Option<Round> {
        let ago = |led_ms: u64| asked_at_us.saturating_sub(led_ms.saturating_mul(1_000));
        let (mut led_since_us, mut leads_since_us) = (Vec::with_capacity(seen.voters.len()), None);
        for node in seen.voters.iter().chain(&seen.joining) {
            let led_ms = match answers.iter().find(|(from, _)| from == node).map(|(_, state)| *state) {
                Some(VoterState::Dead) => 0,
                Some(VoterState::NotLeader { led_ms }) => led_ms,
                Some(VoterState::Leader { led_ms }) => {
                    // By its clock; by this one it may be longer ago.
                    let drift_ms = led_ms / 100 * CLOCK_DRIFT_PERCENT + CLOCK_DRIFT_PERCENT;
                    let since_us = ago(led_ms.saturating_add(drift_ms));
                    leads_since_us =
                        Some(leads_since_us.map_or(since_us, |earlier: u64| earlier.min(since_us)));
                    led_ms
                }
                Some(VoterState::Silent) | None => return None,
            };
            if seen.voters.contains(node) {
                led_since_us.push(ago(led_ms));
            }
        }
        led_since_us.sort_unstable_by(|a, b| b.cmp(a));
        let led_since_us = led_since_us.get(seen.voters.len() / 2).copied()?;
        Some(Round { led_since_us, leads_since_us })
    }
}
