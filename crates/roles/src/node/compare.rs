//! The replicas of one group, compared by their digest trees: only children of what differs are asked for.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Children, Digest, Tree};
use dwcp_types::NodeId;

/// Where in a tree: the names from the root on.
pub(super) type Path = Vec<String>;

/// Differing children of one part that are looked into; of more it is only said that there are more.
const LOOKED_INTO: usize = 16;

/// A record that is not the same everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Its kind, such as `vms`.
    pub kind: String,
    /// Its id within the kind.
    pub record: String,
    /// Where it differs from the majority; everywhere when there is none.
    pub at: Vec<NodeId>,
    /// Of those, where it is missing.
    pub missing: Vec<NodeId>,
}

/// A comparison under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    /// Whose replicas are compared.
    nodes: BTreeSet<NodeId>,
    /// Parts that are asked for, with what was told by now.
    open: BTreeMap<Path, BTreeMap<NodeId, Children>>,
    /// The root of each.
    pub roots: BTreeMap<NodeId, Digest>,
    /// What was found.
    pub differences: Vec<Difference>,
    /// More differs than was looked into.
    pub more: bool,
}

impl Comparison {
    pub fn new(nodes: impl IntoIterator<Item = NodeId>) -> Comparison {
        let open = BTreeMap::from([(Path::new(), BTreeMap::new())]);
        Comparison { nodes: nodes.into_iter().collect(), open, ..Comparison::default() }
    }

    /// Whose answers are missing to which part.
    pub fn wanted(&self) -> Vec<(NodeId, Path)> {
        let missing = |(path, told): (&Path, &BTreeMap<NodeId, Children>)| {
            let silent: Vec<NodeId> =
                self.nodes.iter().copied().filter(|node| !told.contains_key(node)).collect();
            silent.into_iter().map(|node| (node, path.clone())).collect::<Vec<_>>()
        };
        self.open.iter().flat_map(missing).collect()
    }

    /// Whose replicas are compared.
    pub fn nodes(&self) -> &BTreeSet<NodeId> {
        &self.nodes
    }

    /// True when there is nothing left to ask for.
    pub fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// A node told what a part of its tree is made of; empty: it has no such part.
    pub fn hear(&mut self, node: NodeId, path: &Path, children: Children) {
        if !self.nodes.contains(&node) {
            return;
        }
        if let Some(told) = self.open.get_mut(path) {
            if path.is_empty() {
                let root = Digest::of_children(children.iter().map(|(name, of)| (name.as_str(), *of)));
                self.roots.insert(node, root);
            }
            told.insert(node, children);
        }
        self.go_on();
    }

    /// A node can't be asked any more.
    pub fn leave_out(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.roots.remove(&node);
        self.open.values_mut().for_each(|told| {
            told.remove(&node);
        });
        self.go_on();
    }

    fn go_on(&mut self) {
        let complete = |told: &BTreeMap<NodeId, Children>| told.len() == self.nodes.len();
        let ready: Vec<Path> =
            self.open.iter().filter(|(_, told)| complete(told)).map(|(path, _)| path.clone()).collect();
        for path in ready {
            let Some(told) = self.open.remove(&path) else { continue };
            self.compare(&path, &told);
        }
    }

    fn compare(&mut self, path: &Path, told: &BTreeMap<NodeId, Children>) {
        let mut by_name: BTreeMap<&String, BTreeMap<NodeId, Digest>> = BTreeMap::new();
        for (node, children) in told {
            for (name, digest) in children {
                by_name.entry(name).or_default().insert(*node, *digest);
            }
        }
        let mut looked_into = 0;
        for (name, digests) in by_name {
            let of = |node: &NodeId| digests.get(node).copied();
            let (at, agreed) = outliers(told.keys().map(|node| (*node, of(node))));
            if at.is_empty() {
                continue;
            }
            looked_into += 1;
            if looked_into > LOOKED_INTO {
                self.more = true;
                break;
            }
            let deeper: Path = path.iter().chain([name]).cloned().collect();
            if deeper.len() < Tree::DEPTH {
                self.open.insert(deeper, BTreeMap::new());
                continue;
            }
            let lacks = |node: &&NodeId| of(node).is_none() && agreed != Some(None);
            self.differences.push(Difference {
                kind: path[0].clone(),
                record: name.clone(),
                missing: at.iter().filter(lacks).copied().collect(),
                at,
            });
        }
    }

    /// The root that more than half of the replicas compared have; none when there is none.
    pub fn majority_root(&self) -> Option<Digest> {
        let roots = self.roots.iter().map(|(node, root)| (*node, Some(*root)));
        outliers(roots).1.flatten()
    }
}

/// Who does not have what more than half have, and what that is; everybody when there is no such thing and not all agree.
fn outliers(all: impl Iterator<Item = (NodeId, Option<Digest>)>) -> (Vec<NodeId>, Option<Option<Digest>>) {
    let all: Vec<_> = all.collect();
    let count = |wanted: &Option<Digest>| all.iter().filter(|(_, digest)| digest == wanted).count();
    let agreed = all.iter().map(|(_, digest)| *digest).find(|digest| count(digest) * 2 > all.len());
    let differs = |(_, digest): &&(NodeId, Option<Digest>)| Some(*digest) != agreed;
    (all.iter().filter(differs).map(|(node, _)| *node).collect(), agreed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dwcp_state::{Event, Federation, Region};
    use dwcp_types::RegionId;

    fn facts() -> Federation {
        let mut view = Federation::default();
        view.open_group(1, &"a".into());
        for number in 0..200 {
            let id = RegionId::from(format!("r{number}").as_str());
            view.core.regions.insert(id.clone(), Region { id, number, ..Region::default() });
        }
        view
    }

    /// Lets replicas answer until nothing is asked any more; counts the answers.
    fn compare(replicas: &BTreeMap<NodeId, Federation>) -> (Comparison, usize) {
        let trees: BTreeMap<NodeId, Tree> =
            replicas.iter().map(|(node, view)| (*node, view.digest_tree(0))).collect();
        let mut comparison = Comparison::new(replicas.keys().copied());
        let mut answers = 0;
        while !comparison.is_over() {
            for (node, path) in comparison.wanted() {
                answers += 1;
                comparison.hear(node, &path, trees[&node].children(&path).unwrap_or_default());
            }
        }
        (comparison, answers)
    }

    fn five() -> BTreeMap<NodeId, Federation> {
        (1..=5).map(|node| (node, facts())).collect()
    }

    #[test]
    fn equal_replicas_answer_once_each() {
        let (comparison, answers) = compare(&five());
        assert_eq!((comparison.differences, answers), (Vec::new(), 5));
        assert!(!comparison.more);
    }

    #[test]
    fn what_differs_is_named_down_to_the_record_with_few_questions() {
        let mut replicas = five();
        replicas.get_mut(&4).unwrap().core.regions.get_mut(&"r77".into()).unwrap().priority ^= 1;
        replicas.get_mut(&2).unwrap().core.regions.remove(&"r8".into());
        let (comparison, answers) = compare(&replicas);
        let of = |record: &str| comparison.differences.iter().find(|found| found.record == record).cloned();
        let at = |record: &str| of(record).map(|found| (found.kind, found.at, found.missing));
        assert_eq!(at("r77"), Some(("regions".to_string(), vec![4], vec![])));
        assert_eq!(at("r8"), Some(("regions".to_string(), vec![2], vec![2])));
        assert_eq!(comparison.differences.len(), 2);
        assert_eq!(answers, 5 * 4, "the root, the kind, a bucket each");
        let whole = comparison.majority_root().expect("three are equal");
        assert_ne!(comparison.roots[&4], whole);
        assert_eq!(comparison.roots[&1], whole);
    }

    #[test]
    fn a_record_that_only_one_has_is_extra_there_and_missing_nowhere() {
        let mut replicas = five();
        replicas.get_mut(&3).unwrap().core.regions.insert("new".into(), Region::default());
        let (comparison, _) = compare(&replicas);
        assert_eq!(comparison.differences.len(), 1);
        assert_eq!((&comparison.differences[0].at, &comparison.differences[0].missing), (&vec![3], &vec![]));
    }

    #[test]
    fn without_a_majority_all_differ() {
        let mut replicas: BTreeMap<NodeId, Federation> = (1..=2).map(|node| (node, facts())).collect();
        replicas.get_mut(&2).unwrap().core.name = "other".into();
        let (comparison, _) = compare(&replicas);
        assert!(comparison.differences.iter().all(|found| found.at == [1, 2]), "{comparison:?}");
        assert!(!comparison.differences.is_empty() && comparison.majority_root().is_none());
    }

    #[test]
    fn who_is_gone_is_left_out_and_the_others_are_compared() {
        let mut replicas = five();
        replicas.get_mut(&2).unwrap().core.name = "other".into();
        let mut comparison = Comparison::new([1, 2, 3]);
        for node in [1, 2] {
            let children = replicas[&node].digest_tree(0).children(&[]).unwrap();
            comparison.hear(node, &Path::new(), children);
        }
        assert!(comparison.wanted().contains(&(3, Path::new())));
        comparison.leave_out(3);
        assert!(!comparison.is_over(), "what differs between the two is looked into");
        assert!(comparison.wanted().iter().all(|(node, path)| *node != 3 && path.len() == 1));
    }

    #[test]
    fn a_replica_that_differs_in_everything_is_asked_for_a_bounded_part_of_it() {
        let mut replicas = five();
        replicas.get_mut(&5).unwrap().core.regions.values_mut().for_each(|region| region.epoch = 9);
        for number in 0..2_000 {
            let event = Event { revision: dwcp_types::Revision(number), ..Event::default() };
            replicas.get_mut(&5).unwrap().core.ledger.events.push_back(event);
        }
        let (comparison, answers) = compare(&replicas);
        assert!(comparison.more && answers < 5 * 60, "{answers} answers");
        assert!(comparison.differences.len() > 16 && comparison.differences.iter().all(|d| d.at == [5]));
    }
}
