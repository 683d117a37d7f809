//! When this node last acknowledged a leader that is no longer the one it knows.
//!
//! Who relies on it: a new leader that wants to take over what an older leader may have promised. An older leader
//! promises only after a quorum acknowledged it (read index), so every majority of voters holds a node that
//! acknowledged it at or after the moment the promise was asked for. When a majority of voters say that their last
//! acknowledgement of an older leader is longer ago than the promise lasts, no such promise is in force any more.
//!
//! A node counts from the first leader that it knew since the group was opened, at most. Until it knew one, whoever asks can be
//! sure that what it will say counts from later on.

use crate::NodeId;

/// A leadership: term and leader.
pub(crate) type Reign = (u64, NodeId);

pub(super) struct Fence {
    /// When a leader was first known since the opening.
    first_us: Option<u64>,
    newest: Reign,
    newest_ack_us: u64,
    older_ack_us: u64,
}

impl Fence {
    /// Before the opening this process may have acknowledged anybody, up to the moment it ended.
    pub fn new(now_us: u64) -> Self {
        Self { first_us: None, newest: (0, 0), newest_ack_us: now_us, older_ack_us: now_us }
    }

    /// An acknowledgement was decided on or leaves now. Both moments count: the first, as it may be asked for while
    /// the answer waits for the disk; the second, as that is the latest it can be.
    pub fn acknowledge(&mut self, now_us: u64, reign: Reign) {
        self.first_us.get_or_insert(now_us);
        if reign == self.newest {
            self.newest_ack_us = self.newest_ack_us.max(now_us);
        } else if reign.0 > self.newest.0 {
            self.older_ack_us = self.older_ack_us.max(self.newest_ack_us);
            self.newest = reign;
            self.newest_ack_us = now_us;
        } else {
            self.older_ack_us = self.older_ack_us.max(now_us);
        }
    }

    /// An answer leaves. One to a node that does not lead its term (raft answers a leader of an older term in the newer
    /// one, so that it steps down) acknowledges nobody; a term has one leader, and the first answer to it was decided on
    /// when it was known.
    pub fn answer(&mut self, now_us: u64, reign: Reign, leader: NodeId) {
        let to_leader = if reign.0 == self.newest.0 { reign == self.newest } else { reign.1 == leader };
        if reign.0 < self.newest.0 || to_leader {
            self.acknowledge(now_us, reign);
        }
    }

    /// How long ago the first leader since the opening was known; 0 when none was.
    pub fn first_age_us(&self, now_us: u64) -> u64 {
        self.first_us.map_or(0, |first_us| now_us.saturating_sub(first_us))
    }

    /// How long ago another leader than the known one was acknowledged; never longer than [`Fence::first_age_us`].
    pub fn age_us(&self, now_us: u64, known: Reign) -> u64 {
        let mut last = self.first_us.unwrap_or(now_us).max(self.older_ack_us);
        if known != self.newest {
            last = last.max(self.newest_ack_us);
        }
        now_us.saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_never_more_than_the_time_since_a_leader_was_known() {
        let mut fence = Fence::new(100);
        assert_eq!((fence.age_us(350, (4, 2)), fence.first_age_us(350)), (0, 0));
        fence.acknowledge(400, (4, 2));
        assert_eq!((fence.age_us(450, (4, 2)), fence.first_age_us(450)), (50, 50));
        fence.acknowledge(500, (4, 2));
        fence.acknowledge(600, (5, 3));
        assert_eq!((fence.age_us(700, (5, 3)), fence.first_age_us(700)), (200, 300));
    }

    #[test]
    fn acknowledging_the_known_leader_does_not_make_an_older_one_younger() {
        let mut fence = Fence::new(0);
        fence.acknowledge(10, (1, 1));
        fence.acknowledge(20, (2, 2));
        fence.acknowledge(90, (2, 2));
        assert_eq!(fence.age_us(100, (2, 2)), 90);
        assert_eq!(fence.age_us(100, (3, 0)), 10);
    }

    #[test]
    fn telling_a_deposed_leader_of_the_new_term_acknowledges_nobody() {
        let mut fence = Fence::new(0);
        fence.acknowledge(10, (5, 4));
        fence.answer(20, (6, 4), 0);
        fence.acknowledge(30, (6, 3));
        fence.answer(90, (6, 3), 3);
        fence.answer(95, (6, 4), 3);
        assert_eq!(fence.age_us(100, (6, 3)), 90);
    }

    #[test]
    fn a_late_answer_to_an_older_leader_counts_when_it_leaves() {
        let mut fence = Fence::new(0);
        fence.acknowledge(20, (2, 2));
        fence.acknowledge(70, (1, 1));
        assert_eq!(fence.age_us(100, (2, 2)), 30);
    }
}
