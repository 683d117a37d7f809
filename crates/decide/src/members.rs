//! Who holds a group: at most five voters, the group's home among them, every other region a learner; one step at a time.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_types::NodeId;

/// Voters a group has when there are enough regions: two may be lost.
pub const VOTERS: usize = 5;

/// Voters that a group needs before anything rests on it, when there are enough regions: one may be lost.
pub const FEWEST: usize = 3;

/// The members of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who gets everything and does not vote.
    pub learners: BTreeSet<NodeId>,
}

/// What a group's leader knows when it decides who is to hold it.
#[derive(Clone, Debug, Default)]
pub struct MembersView {
    /// The leader.
    pub me: NodeId,
    /// Who should lead; none for the federation's group.
    pub home: Option<NodeId>,
    /// No lease rests on the group, so several voters may come at once: a group that has just been founded by one node has
    /// as many as it should from one step to the next, and never two, of which none may be lost.
    pub unleased: bool,
    /// The regions that are to hold replicas.
    pub stay: BTreeSet<NodeId>,
    /// Members that answer and lack next to nothing, the leader among them.
    pub ready: BTreeSet<NodeId>,
    /// Round trips from the leader, ms.
    pub rtt_ms: BTreeMap<NodeId, u64>,
}

/// The next thing to do to the members of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembersStep {
    /// They become these. Where leases rest on the group at most one node's part changes, so that any majority of the voters
    /// before and any of those after have one in common.
    Become(Members),
    /// The leader is to leave, so another one leads first.
    HandOver(NodeId),
}

impl Members {
    fn with_learner(&self, node: NodeId) -> MembersStep {
        let mut next = self.clone();
        next.voters.remove(&node);
        next.learners.insert(node);
        MembersStep::Become(next)
    }

    fn with_voter(&self, node: NodeId) -> MembersStep {
        let mut next = self.clone();
        next.learners.remove(&node);
        next.voters.insert(node);
        MembersStep::Become(next)
    }

    fn without(&self, node: NodeId) -> MembersStep {
        let mut next = self.clone();
        next.voters.remove(&node);
        next.learners.remove(&node);
        MembersStep::Become(next)
    }
}

/// The next step from `now` towards what the group should have; none: there it is, or nothing can be done yet.
///
/// First everybody learns. Then the home region votes, and as many others as there should be, the nearest first; who votes
/// goes on voting while it stays. Then those that leave stop voting, and then those that are too many. A voter goes only
/// while a majority of those left is ready.
pub fn next_members(now: &Members, view: &MembersView) -> Option<MembersStep> {
    let known = |node: &NodeId| now.voters.contains(node) || now.learners.contains(node);
    if let Some(node) = view.stay.iter().find(|node| !known(node)) {
        return Some(now.with_learner(*node));
    }
    let want = VOTERS.min(view.stay.len());
    let staying: BTreeSet<NodeId> = now.voters.intersection(&view.stay).copied().collect();
    let may_vote =
        |node: &NodeId| now.learners.contains(node) && view.stay.contains(node) && view.ready.contains(node);
    if view.unleased && staying.len() < want {
        return at_once(now, view, want);
    }
    if let Some(home) = view.home.filter(may_vote) {
        return Some(now.with_voter(home));
    }
    let far = |node: &NodeId| (view.rtt_ms.get(node).copied().unwrap_or(u64::MAX), *node);
    if staying.len() < want {
        if let Some(node) = now.learners.iter().filter(|node| may_vote(node)).min_by_key(|node| far(node)) {
            return Some(now.with_voter(*node));
        }
    }
    let leaving = now.voters.iter().find(|node| !view.stay.contains(node)).copied();
    if let Some(node) = leaving.filter(|node| can_go(now, view, *node)) {
        if node == view.me {
            let next = staying.iter().filter(|node| view.ready.contains(node)).min_by_key(|node| far(node));
            return next.map(|node| MembersStep::HandOver(*node));
        }
        return Some(now.without(node));
    }
    if staying.len() > want {
        let others = staying.iter().filter(|node| Some(**node) != view.home && **node != view.me);
        let node = others.filter(|node| can_go(now, view, **node)).max_by_key(|node| far(node));
        return node.map(|node| now.with_learner(*node));
    }
    now.learners.iter().find(|node| !view.stay.contains(node)).map(|node| now.without(*node))
}

/// Everybody votes who is to and is ready, if that makes a group that survives the loss of one.
fn at_once(now: &Members, view: &MembersView, want: usize) -> Option<MembersStep> {
    let mut next = now.clone();
    let far =
        |node: &NodeId| (Some(*node) != view.home, view.rtt_ms.get(node).copied().unwrap_or(u64::MAX), *node);
    let mut ready: Vec<NodeId> =
        now.learners.intersection(&view.stay).copied().filter(|node| view.ready.contains(node)).collect();
    ready.sort_by_key(far);
    for node in ready {
        let staying = next.voters.intersection(&view.stay).count();
        if staying < want {
            next.learners.remove(&node);
            next.voters.insert(node);
        }
    }
    let staying = next.voters.intersection(&view.stay).count();
    (staying >= FEWEST.min(want)).then_some(MembersStep::Become(next))
}

fn can_go(now: &Members, view: &MembersView, node: NodeId) -> bool {
    let left = now.voters.iter().filter(|voter| **voter != node);
    let ready = left.clone().filter(|voter| view.ready.contains(voter)).count();
    ready * 2 > left.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(voters: &[NodeId], learners: &[NodeId]) -> Members {
        Members { voters: voters.iter().copied().collect(), learners: learners.iter().copied().collect() }
    }

    fn view(home: Option<NodeId>, stay: &[NodeId]) -> MembersView {
        let all = 1..=9;
        MembersView {
            me: 1,
            unleased: false,
            home,
            stay: stay.iter().copied().collect(),
            ready: all.clone().collect(),
            rtt_ms: all.map(|node| (node, node * 10)).collect(),
        }
    }

    /// Every state on the way to where nothing is left to do.
    fn way(from: Members, view: &MembersView) -> Vec<Members> {
        let mut way = vec![from];
        let mut view = view.clone();
        while let Some(step) = next_members(way.last().unwrap(), &view) {
            match step {
                MembersStep::Become(next) => way.push(next),
                MembersStep::HandOver(to) => view.me = to,
            }
            assert!(way.len() < 30, "{way:?}");
        }
        way
    }

    #[test]
    fn who_comes_learns_first_and_the_home_of_a_group_votes() {
        let way = way(members(&[1, 2, 3, 4, 5], &[]), &view(None, &[1, 2, 3, 4, 5, 6]));
        assert_eq!(way.last(), Some(&members(&[1, 2, 3, 4, 5], &[6])));
        let own = way_of_home();
        assert_eq!(own[1], members(&[1, 2, 3, 4, 5], &[6]));
        assert_eq!(own[2], members(&[1, 2, 3, 4, 5, 6], &[]));
        assert_eq!(own.last(), Some(&members(&[1, 2, 3, 4, 6], &[5])), "the farthest learns again");
    }

    fn way_of_home() -> Vec<Members> {
        way(members(&[1, 2, 3, 4, 5], &[]), &view(Some(6), &[1, 2, 3, 4, 5, 6]))
    }

    #[test]
    fn a_group_that_was_just_founded_has_all_its_voters_from_one_step_to_the_next() {
        let mut view = MembersView { unleased: true, ..view(Some(6), &[1, 2, 3, 4, 5, 6]) };
        let way = way(members(&[1], &[]), &view);
        assert_eq!(way[5], members(&[1], &[2, 3, 4, 5, 6]));
        assert_eq!(way[6], members(&[1, 2, 3, 4, 6], &[5]));
        assert_eq!(way.len(), 7);
        view.ready = [1, 2].into();
        assert_eq!(next_members(&way[5], &view), None, "two are worse than one");
        view.ready = [1, 2, 6].into();
        assert_eq!(next_members(&way[5], &view), Some(MembersStep::Become(members(&[1, 2, 6], &[3, 4, 5]))));
    }

    #[test]
    fn who_leaves_is_replaced_before_it_goes() {
        let way = way(members(&[1, 2, 3, 4, 5], &[6, 7]), &view(None, &[1, 2, 3, 4, 6, 7]));
        assert_eq!(way[1], members(&[1, 2, 3, 4, 5, 6], &[7]), "the nearest");
        assert_eq!(way.last(), Some(&members(&[1, 2, 3, 4, 6], &[7])));
    }

    #[test]
    fn a_leader_that_leaves_hands_over_first() {
        let way = way(members(&[1, 2, 3, 4, 5], &[]), &view(None, &[2, 3, 4, 5]));
        assert_eq!(way.last(), Some(&members(&[2, 3, 4, 5], &[])));
        let step = next_members(&way[0], &view(None, &[2, 3, 4, 5]));
        assert_eq!(step, Some(MembersStep::HandOver(2)));
    }

    #[test]
    fn nobody_stops_voting_while_the_rest_would_have_no_majority_that_answers() {
        let mut view = view(None, &[1, 2, 3, 4]);
        view.ready = [1, 2, 5].into();
        assert_eq!(next_members(&members(&[1, 2, 3, 4, 5], &[]), &view), None);
        view.ready = [1, 2, 3].into();
        assert!(
            next_members(&members(&[1, 2, 3, 4, 5], &[]), &view).is_some(),
            "the one that leaves is dead"
        );
    }

    #[test]
    fn a_learner_that_lags_does_not_vote() {
        let mut view = view(None, &[1, 2, 3, 4, 5]);
        view.ready.remove(&5);
        assert_eq!(next_members(&members(&[1, 2, 3, 4], &[5]), &view), None);
    }

    #[test]
    fn majorities_of_two_steps_in_a_row_always_meet() {
        for home in [None, Some(3), Some(6)] {
            for bits in 1u64..512 {
                let stay: Vec<NodeId> = (1..=9).filter(|node| bits >> (node - 1) & 1 == 1).collect();
                for (before, after) in way(members(&[1, 2, 3, 4, 5], &[6, 7]), &view(home, &stay))
                    .windows(2)
                    .map(|pair| (&pair[0], &pair[1]))
                {
                    let changed = before.voters.symmetric_difference(&after.voters).count();
                    assert!(changed <= 1, "{before:?} {after:?}");
                    assert!(!after.voters.is_empty());
                }
            }
        }
    }
}
