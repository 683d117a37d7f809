//! Replicas at one revision are byte-identical, at every sixteenth revision and at the end; once settled, all are at one
//! revision.

use std::collections::BTreeMap;

use dwcp_roles::node::Node;
use dwcp_types::{GroupId, NodeId};

use crate::world::World;

/// Revisions between two comparisons.
const EVERY: u64 = 16;

/// What the first replica that came to a revision held there.
#[derive(Default)]
pub(super) struct Identical {
    seen: BTreeMap<(GroupId, u64), (NodeId, Vec<u8>)>,
    /// Where each replica was compared last.
    compared: BTreeMap<(NodeId, GroupId), u64>,
}

impl Identical {
    /// Compares the replicas of a node that have come to a revision that is compared.
    pub(super) fn compare(&mut self, number: NodeId, node: &Node, groups: u64) -> Option<String> {
        (0..=groups).find_map(|group| {
            let revision = node.facts().revision(group).0;
            let last = self.compared.insert((number, group), revision);
            if revision == 0 || !revision.is_multiple_of(EVERY) || last == Some(revision) {
                return None;
            }
            let bytes = node.facts().snapshot(group);
            let (first, same) = self.seen.entry((group, revision)).or_insert((number, bytes.clone()));
            (*same != bytes)
                .then(|| format!("nodes {first} and {number} differ in group {group} at {revision}"))
        })
    }
}

pub(super) fn settled(world: &World) -> Result<(), String> {
    for group in world.groups() {
        let mut newest = None;
        for (number, slot) in world.present() {
            let Some(node) = &slot.node else { return Err(format!("node {number} is dead")) };
            let Some(status) = node.group(group) else {
                return Err(format!("node {number} lacks group {group}"));
            };
            if status.damaged {
                return Err(format!("node {number}'s replica of group {group} is damaged"));
            }
            let applied = node.facts().revision(group);
            let first = *newest.get_or_insert(applied);
            if applied != first {
                return Err(format!(
                    "node {number} is at {} of group {group}, another at {}",
                    applied.0, first.0
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn check(world: &World) -> Result<(), String> {
    for group in world.groups() {
        let mut first = None;
        for (number, slot) in world.present() {
            let Some(node) = slot.node.as_ref().filter(|node| node.group(group).is_some()) else { continue };
            let (revision, bytes) = (node.facts().revision(group), node.facts().snapshot(group));
            match &first {
                None => first = Some((number, revision, bytes)),
                Some((other, at, same)) if *at == revision && *same != bytes => {
                    return Err(format!("nodes {other} and {number} differ in group {group} at {}", at.0));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}
