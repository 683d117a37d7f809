//! Replicas at one revision are byte-identical; once settled, all are at one revision.

use crate::world::World;

pub(super) fn settled(world: &World) -> Result<(), String> {
    for group in 0..=world.options.regions as u64 {
        let mut newest = None;
        for (number, slot) in &world.nodes {
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
    for group in 0..=world.options.regions as u64 {
        let mut first = None;
        for (number, slot) in &world.nodes {
            let Some(node) = &slot.node else { continue };
            let (revision, bytes) = (node.facts().revision(group), node.facts().snapshot(group));
            match &first {
                None => first = Some((*number, revision, bytes)),
                Some((other, at, same)) if *at == revision && *same != bytes => {
                    return Err(format!("nodes {other} and {number} differ in group {group} at {}", at.0));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}
