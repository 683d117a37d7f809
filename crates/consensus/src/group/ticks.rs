//! What time brings.

use super::Group;
use crate::turn::Turn;
use crate::{Config, NodeId};
use raft::{ProgressState, SnapshotStatus};

impl Group {
    pub fn tick(&mut self, turn: &mut Turn) {
        self.ticks += 1;
        self.note_reign(turn.now_us);
        // No elections while the disk owes something (see `message`) or while records are missing.
        if self.leads() || !(self.unsettled() || self.is_damaged()) {
            self.pace_elections(turn.config, turn.now_us);
            self.raft.tick();
        }
        self.make_room_when_stuck(turn.config);
        self.make_room_when_alone(turn.config);
        self.keep_window(turn.config);
        self.keep_hand_over(turn.config);
        self.tick_home(turn);
        self.tick_joint();
        self.tick_snapshots(turn);
        self.tick_repair(turn);
    }

    /// What may be under way to each follower. A follower that has just come has what the crate was opened with until the next
    /// tick.
    pub fn keep_window(&mut self, config: &Config) {
        if self.leads() {
            for peer in self.peers() {
                self.raft.raft.adjust_max_inflight_msgs(peer, config.max_inflight_messages as usize);
            }
        }
    }

    /// A leader whose disk does not answer applies nothing and so answers nobody, yet its heartbeats keep others from
    /// taking over.
    fn make_room_when_stuck(&mut self, config: &Config) {
        let patience = 3 * u64::from(config.election_ticks);
        let stuck = self.held.front().is_some_and(|held| self.ticks > held.since + patience);
        if stuck && self.leads() {
            let term = self.term();
            self.raft.raft.become_follower(term, 0);
        }
    }

    /// A leader that no majority answered for an election time is none. The Raft crate looks once in that time whether it
    /// was answered since the last look, so it takes up to twice as long; but hosts ask whether anybody leads before they
    /// keep their leases, and those end.
    fn make_room_when_alone(&mut self, config: &Config) {
        if !self.leads() {
            return;
        }
        let oldest = self.ticks.saturating_sub(u64::from(config.election_ticks));
        let heard =
            |node: &NodeId| *node == self.me || *self.heard.get(node).unwrap_or(&self.reign_began) >= oldest;
        let members = self.members();
        let majority =
            |voters: &[NodeId]| voters.iter().filter(|node| heard(node)).count() * 2 > voters.len();
        let joint = !members.voters_outgoing.is_empty();
        if !majority(&members.voters) || (joint && !majority(&members.voters_outgoing)) {
            let term = self.term();
            self.raft.raft.become_follower(term, 0);
        }
    }

    /// The Raft crate waits for ever for the receiver of a snapshot; the snapshot may be lost.
    fn tick_snapshots(&mut self, turn: &Turn) {
        let patience = u64::from(turn.config.snapshot_retry_ticks);
        let ticks = self.ticks;
        self.repairing.retain(|_, asked| ticks < *asked + 100);
        if !self.leads() {
            self.snapshot_sent.clear();
            return;
        }
        let under_way: Vec<_> = self
            .peers()
            .into_iter()
            .filter(|peer| {
                let progress = self.raft.raft.prs().get(*peer);
                progress.is_some_and(|progress| progress.state == ProgressState::Snapshot)
            })
            .collect();
        self.snapshot_sent.retain(|peer, _| under_way.contains(peer));
        for peer in under_way {
            let sent = *self.snapshot_sent.entry(peer).or_insert(ticks);
            if ticks >= sent + patience {
                self.snapshot_sent.remove(&peer);
                self.raft.report_snapshot(peer, SnapshotStatus::Failure);
            }
        }
    }
}
