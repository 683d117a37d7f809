//! State sync: how long after a home's leader took a command it is applied, and so readable, in each region.
//!
//! The leader measures on its own clock alone, so clocks need not agree: when it appended the command, and when a beat of
//! another node came that says which command that node applied last and how long before it sent the beat. Half the round
//! trip is taken off for the beat's way; where the two ways differ, the figure is wrong by half the difference. One sample a
//! group, node and beat at most.

use std::collections::{BTreeMap, VecDeque};

use dwcp_types::{GroupId, Mono, NodeId, wire_struct};

use super::{GroupBeat, Node};

/// Commands of a group whose beginning is kept.
const APPENDED_KEPT: usize = 1_024;
/// Times that nobody has taken yet.
const NOTED_KEPT: usize = 4_096;
/// When so many times are noted, each counts half: old ones fade.
const FADES_AT: u64 = 2_048;
/// Classes of times up to twice as long.
const CLASSES: u64 = 16;

/// Many times, by class: each class is a sixteenth of its least time wide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    counts: BTreeMap<u16, u64>,
}
wire_struct!(Times { 1 counts });

impl Times {
    /// Notes a time, µs.
    pub fn note(&mut self, us: u64) {
        let us = us.max(CLASSES);
        let doublings = u64::from(us.ilog2());
        let class = (us >> (doublings - 4)) & (CLASSES - 1);
        *self.counts.entry((doublings * CLASSES + class) as u16).or_default() += 1;
        if self.counts.values().sum::<u64>() >= FADES_AT {
            self.counts.values_mut().for_each(|count| *count /= 2);
            self.counts.retain(|_, count| *count > 0);
        }
    }

    /// Adds what another noted.
    pub fn add(&mut self, other: &Times) {
        for (class, count) in &other.counts {
            let sum = self.counts.entry(*class).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// The time that so many percent do not exceed, µs, rounded up by less than 7 %; none without any.
    pub fn quantile_us(&self, percent: u64) -> Option<u64> {
        let total = self.counts.values().fold(0u128, |sum, count| sum + u128::from(*count));
        let rank = (total * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0u128;
        let (class, _) = self.counts.iter().find(|(_, count)| {
            seen += u128::from(**count);
            seen >= rank
        })?;
        let (doublings, class) = (u64::from(*class) / CLASSES, u64::from(*class) % CLASSES);
        // What another node sends may be no class of ours.
        let width = 1u64.checked_shl(u32::try_from(doublings.checked_sub(4)?).ok()?)?;
        Some((CLASSES + class + 1).saturating_mul(width) - 1)
    }
}

/// Times of one region's commands in another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncReading {
    /// The group whose commands they are.
    pub group: GroupId,
    /// Where they became readable.
    pub node: NodeId,
    /// How long it took.
    pub times: Times,
}
wire_struct!(SyncReading { 1 group, 2 node, 3 times });

/// What this node remembers of its commands; only of groups that it leads.
#[derive(Default)]
pub(super) struct Sync {
    appended: BTreeMap<GroupId, VecDeque<(u64, Mono)>>,
    /// The newest command applied here.
    shown: BTreeMap<GroupId, (u64, Mono)>,
    counted: BTreeMap<(GroupId, NodeId), u64>,
    times: BTreeMap<(GroupId, NodeId), Times>,
    /// What was noted since somebody looked: whose commands, where, how long, µs.
    noted: VecDeque<(GroupId, NodeId, u64)>,
}

impl Sync {
    pub(super) fn appended(&mut self, group: GroupId, index: u64, now: Mono) {
        let known = self.appended.entry(group).or_default();
        known.retain(|(old, _)| *old < index);
        known.push_back((index, now));
        if known.len() > APPENDED_KEPT {
            known.pop_front();
        }
    }

    /// A node applied a command at this moment of our clock.
    fn readable(&mut self, group: GroupId, node: NodeId, index: u64, at: Mono) {
        let counted = self.counted.entry((group, node)).or_default();
        if index <= *counted {
            return;
        }
        *counted = index;
        let known = self.appended.get(&group).and_then(|all| all.iter().find(|(of, _)| *of == index));
        if let Some((_, began)) = known {
            let took_us = at.0.saturating_sub(began.0);
            self.times.entry((group, node)).or_default().note(took_us);
            if self.noted.len() == NOTED_KEPT {
                self.noted.pop_front();
            }
            self.noted.push_back((group, node, took_us));
        }
    }

    /// The newest command applied here, and how long ago, µs.
    pub(super) fn shown(&self, group: GroupId, now: Mono) -> (u64, u64) {
        self.shown.get(&group).map_or((0, 0), |(index, at)| (*index, now.0.saturating_sub(at.0)))
    }

    /// Another node may lead now: what was begun under another term says nothing.
    pub(super) fn leader_changed(&mut self, group: GroupId) {
        self.appended.remove(&group);
        self.counted.retain(|(of, _), _| *of != group);
        self.times.retain(|(of, _), _| *of != group);
    }

    pub(super) fn readings(&self) -> Vec<SyncReading> {
        let reading = |((group, node), times): (&(GroupId, NodeId), &Times)| SyncReading {
            group: *group,
            node: *node,
            times: times.clone(),
        };
        self.times.iter().map(reading).collect()
    }
}

impl Node {
    /// How long commands took until they were readable, since this was called last: whose group, in which region, µs. What nobody
    /// takes is forgotten in the end.
    pub fn take_sync_times(&mut self) -> Vec<(GroupId, NodeId, u64)> {
        self.sync.noted.drain(..).collect()
    }

    /// A command was applied here.
    pub(super) fn note_shown(&mut self, group: GroupId, index: u64) {
        let now = self.now.mono;
        self.sync.shown.insert(group, (index, now));
        if self.leads(group) {
            self.sync.readable(group, self.config.me, index, now);
        }
    }

    /// What a beat says of a group that this node leads.
    pub(super) fn note_shown_at(&mut self, from: NodeId, beat: &GroupBeat) {
        let term = self.raft.status(beat.group).map_or(0, |status| status.term);
        let follows = self.leads(beat.group) && (beat.leader, beat.term) == (self.config.me, term);
        let link = self.beats.links.iter().find(|link| link.node == from && link.rtt_p50_us > 0);
        if let (true, true, Some(link)) = (follows, beat.shown_index > 0, link) {
            let sent = self.now.mono.0.saturating_sub(link.rtt_p50_us / 2);
            let at = Mono(sent.saturating_sub(beat.shown_age_us));
            self.sync.readable(beat.group, from, beat.shown_index, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_sixteenth() {
        let mut times = Times::default();
        assert_eq!(times.quantile_us(50), None);
        (1..=100).for_each(|ms| times.note(ms * 1_000));
        for (percent, ms) in [(50, 50), (95, 95), (99, 99)] {
            let us = times.quantile_us(percent).expect("times");
            assert!((ms * 1_000..ms * 1_068).contains(&us), "P{percent}: {us} us");
        }
        let mut both = times.clone();
        both.add(&times);
        assert_eq!(both.quantile_us(99), times.quantile_us(99));
    }

    #[test]
    fn old_times_fade_and_memory_is_bounded() {
        let mut times = Times::default();
        (0..10_000).for_each(|_| times.note(900_000));
        (0..10_000).for_each(|_| times.note(1_000));
        assert!(times.quantile_us(99).expect("times") < 1_100);
        assert!(times.counts.values().sum::<u64>() < FADES_AT);
        let mut sync = Sync::default();
        (1..10_000).for_each(|index| sync.appended(1, index, Mono(index)));
        assert_eq!(sync.appended[&1].len(), APPENDED_KEPT);
    }

    #[test]
    fn classes_that_nobody_has_are_passed_over() {
        for class in [0, 63, 1_023, u16::MAX] {
            let mut times = Times::default();
            times.add(&Times { counts: BTreeMap::from([(class, u64::MAX)]) });
            times.add(&Times { counts: BTreeMap::from([(class, u64::MAX)]) });
            let _ = times.quantile_us(99);
        }
    }

    #[test]
    fn a_command_counts_once_a_node_from_when_it_was_appended_and_not_under_another_leader() {
        let mut sync = Sync::default();
        sync.appended(1, 7, Mono(1_000_000));
        sync.readable(1, 2, 7, Mono(1_150_000));
        sync.readable(1, 2, 7, Mono(1_400_000));
        sync.readable(1, 2, 6, Mono(1_500_000));
        sync.readable(1, 3, 9, Mono(1_500_000));
        let readings = sync.readings();
        assert_eq!(readings.len(), 1, "{readings:?}");
        let us = readings[0].times.quantile_us(99).expect("one");
        assert_eq!((readings[0].group, readings[0].node), (1, 2));
        assert!((150_000..160_000).contains(&us), "{us}");
        sync.appended(1, 7, Mono(2_000_000));
        assert_eq!(sync.appended[&1], [(7, Mono(2_000_000))], "another entry took its place");
        sync.leader_changed(1);
        assert_eq!(sync.readings(), vec![]);
    }
}
