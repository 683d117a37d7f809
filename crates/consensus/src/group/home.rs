//! Who should lead: the home node first, then the others in an order that the seed decides.

use super::Group;
use crate::config::Config;
use crate::turn::Turn;
use crate::{GroupId, NodeId};
use raft::ProgressState;
use std::collections::{BTreeSet, VecDeque};

/// Entries that home may lack when leadership is handed to it. The hand-over waits for them.
const LAG_LIMIT: u64 = 64;
/// Home has on its drive what the log held this part of an election time ago: a slow one would campaign for too long.
const KEEPS_UP: u32 = 2;
/// The back-off doubles this often.
const DOUBLINGS: u32 = 6;

pub(super) struct Home {
    node: Option<NodeId>,
    first_backoff: u64,
    backoff: u64,
    not_before: u64,
    /// Since when home leads, in ticks.
    leads_since: Option<u64>,
    /// Where the log of this leader ended at some ticks, the oldest first: one that is [`KEEPS_UP`] old, and those since.
    ended: VecDeque<(u64, u64)>,
    /// Since when leadership is being handed over, in ticks.
    hands_over_since: Option<u64>,
}

impl Home {
    pub fn new(config: &Config, node: Option<NodeId>) -> Self {
        let first_backoff = u64::from(config.home_backoff_ticks);
        Self {
            node,
            first_backoff,
            backoff: first_backoff,
            not_before: 0,
            leads_since: None,
            ended: VecDeque::new(),
            hands_over_since: None,
        }
    }

    pub fn became_leader(&mut self, ticks: u64) {
        self.not_before = ticks + self.backoff;
        self.ended.clear();
    }

    /// Notes where the log ends, and says where it ended `ago` ticks ago; at its beginning when that is not known.
    fn ended_at(&mut self, ticks: u64, last: u64, ago: u64) -> u64 {
        if self.ended.back().is_none_or(|(_, index)| *index != last) {
            self.ended.push_back((ticks, last));
        }
        while self.ended.get(1).is_some_and(|(tick, _)| tick + ago <= ticks) {
            self.ended.pop_front();
        }
        self.ended.front().map_or(0, |(_, index)| *index)
    }
}

fn could(could_lead: Option<&BTreeSet<NodeId>>, node: NodeId) -> bool {
    could_lead.is_none_or(|nodes| nodes.contains(&node))
}

fn mix(seed: u64, group: GroupId, node: NodeId) -> u64 {
    let mut hash = seed ^ group.rotate_left(24) ^ node.rotate_left(48);
    for _ in 0..2 {
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    hash
}

/// A node's place in the order of succession: of two voters that see a leader fall silent, the lower campaigns first.
fn order(seed: u64, group: GroupId, home: Option<NodeId>, node: NodeId) -> (bool, u64, NodeId) {
    (home != Some(node), mix(seed, group, node), node)
}

/// The election timeout given to the Raft crate: longer than any that is used here.
pub(super) fn crate_timeout(config: &Config) -> usize {
    (config.election_ticks + 1_000 * config.stagger_ticks()) as usize
}

/// When this replica campaigns.
#[derive(Default)]
pub(super) struct Pace {
    /// Campaigns since a leader was last known.
    attempts: u64,
    /// Another candidate was given a chance; wait until this tick for its success.
    give_way_until: u64,
    /// No leader can have been heard before this opening, so none is waited for as long.
    restored: bool,
}

impl Pace {
    pub fn of(restored: bool) -> Self {
        Self { restored, ..Self::default() }
    }
}

impl Group {
    /// Makes the Raft crate campaign with its next tick when it is time. The first campaign after a leader fell silent
    /// goes by rank. Later ones come soon and are spread by the seed: two candidates that keep the same distance in time
    /// would split the votes for ever. Why these times: `docs/decisions/2026-11-28-elections.md`.
    pub(super) fn pace_elections(&mut self, config: &Config, now_us: u64) {
        let election = u64::from(config.election_ticks);
        if self.leader().is_some() {
            self.pace = Pace { give_way_until: self.pace.give_way_until, ..Pace::default() };
        }
        let silence = if self.pace.restored { election / 2 } else { election };
        let wait = match self.pace.attempts {
            0 => silence + u64::from(self.rank * config.stagger_ticks()),
            attempt => {
                election / 4
                    + mix(config.seed ^ attempt.rotate_left(8), self.id, self.me) % (election / 2).max(1)
            }
        };
        let due = self.raft.raft.election_elapsed as u64 + 1 >= wait;
        if self.leads() || !due || self.ticks < self.pace.give_way_until || self.lease.promised(now_us) {
            return;
        }
        if self.raft.raft.promotable() {
            self.pace.attempts += 1;
            self.raft.raft.election_elapsed = crate_timeout(config);
        }
    }

    /// How many of the voters go before this replica.
    pub(super) fn find_rank(&mut self, seed: u64) {
        let place = |node: NodeId| order(seed, self.id, self.home.node, node);
        let before = self.voters.iter().filter(|node| place(**node) < place(self.me));
        self.rank = before.count() as u32;
    }

    /// This replica said that it would vote for another: a campaign of its own would only split the votes.
    pub(super) fn give_way(&mut self, config: &Config) {
        self.pace.give_way_until = self.ticks + u64::from(config.election_ticks / 3);
    }

    /// Who would lead next by the order of succession: the first of the other voters that are alive and could lead. None on a
    /// follower.
    pub fn successor(&self, config: &Config, could_lead: Option<&BTreeSet<NodeId>>) -> Option<NodeId> {
        let status = self.status();
        let able = status
            .peers
            .iter()
            .filter(|peer| peer.active && status.voters.contains(&peer.node) && could(could_lead, peer.node));
        able.map(|peer| peer.node).min_by_key(|node| order(config.seed, self.id, self.home.node, *node))
    }

    /// A transfer that is under way takes no proposals, and must not be given up while the one that it goes to may campaign: with
    /// proposals that came since, nobody would vote for it, and nobody would lead for an election time and more. The Raft crate gives
    /// it up after one election time, which a slow drive takes. Here it lasts as long as the other one is heard, and three times that
    /// at most.
    pub(super) fn keep_hand_over(&mut self, config: &Config) {
        let election = u64::from(config.election_ticks);
        let Some(to) = self.raft.raft.lead_transferee.filter(|_| self.leads()) else {
            self.home.hands_over_since = None;
            return;
        };
        let since = *self.home.hands_over_since.get_or_insert(self.ticks);
        let heard = self.heard.get(&to).is_some_and(|heard| heard + election > self.ticks);
        if heard && self.ticks < since + 3 * election {
            self.raft.raft.election_elapsed = 0;
        }
    }

    /// A leader that is not home hands over when home is alive, keeps up and could lead. Home that could not keep leadership
    /// gets it again only after a growing pause.
    pub(super) fn tick_home(&mut self, turn: &Turn) {
        let Some(home) = self.home.node else { return };
        if self.leader() == Some(home) {
            let since = *self.home.leads_since.get_or_insert(self.ticks);
            if self.ticks - since > 20 * self.home.first_backoff {
                self.home.backoff = self.home.first_backoff;
            }
            return;
        }
        self.home.leads_since = None;
        if !self.leads() {
            return;
        }
        // Also while the back-off lasts: what is noted now says later whether home keeps up.
        let last = self.raft.raft.raft_log.last_index();
        let ago = u64::from(turn.config.election_ticks / KEEPS_UP);
        let ended = self.home.ended_at(self.ticks, last, ago);
        if self.ticks < self.home.not_before || self.repairing.contains_key(&home) {
            return;
        }
        // One that answers this leader and not enough of the others would be elected by nobody, and then nobody leads for a
        // while: long enough for leases to run out.
        if !could(turn.could_lead, home) {
            return;
        }
        let raft = &self.raft.raft;
        let ready = raft.prs().get(home).is_some_and(|progress| {
            progress.recent_active
                && progress.state == ProgressState::Replicate
                && progress.matched + LAG_LIMIT >= last
                && progress.matched >= ended
        });
        let joint = !self.members().voters_outgoing.is_empty();
        if !ready || joint || !raft.prs().conf().voters().contains(home) || raft.lead_transferee.is_some() {
            return;
        }
        self.home.not_before = self.ticks + self.home.backoff;
        let longest = self.home.first_backoff << DOUBLINGS;
        self.home.backoff = (self.home.backoff * 2).min(longest);
        self.raft.transfer_leader(home);
    }
}
