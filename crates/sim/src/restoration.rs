//! The facts of all groups are backed up; later every node's disk is gone, and each is restored from that backup.

use std::collections::BTreeMap;

use dwcp_roles::node::restored;
use dwcp_state::{FEDERATION_GROUP, Facts, Restoration};
use dwcp_types::{GroupId, HostId, NodeId, Wall};

use crate::disk::Disk;
use crate::faults::Fault;
use crate::world::{Event, World};

/// A backup is tried again after this while no point is found for it, µs.
const AGAIN_US: u64 = 200_000;

/// The facts of all groups at one point.
#[derive(Clone)]
pub struct Backup {
    at: Wall,
    groups: BTreeMap<GroupId, Vec<u8>>,
}

/// Everything that the hosts had is adopted, and nothing of what came late waits.
pub fn settled(world: &World) -> Result<(), String> {
    let nodes = world.present().filter_map(|(_, slot)| slot.node.as_ref());
    let Some(newest) = nodes.max_by_key(|node| node.facts().revision(FEDERATION_GROUP)) else {
        return Ok(());
    };
    for (region, facts) in &newest.facts().regions {
        let Some(adoption) = &facts.adoption else { continue };
        if facts.is_adopting() {
            let awaited: Vec<&str> = facts.awaited().map(HostId::as_str).collect();
            return Err(format!("{region} has not adopted what its hosts have; awaited: {awaited:?}"));
        }
        if !adoption.late.is_empty() {
            return Err(format!("what hosts of {region} said that came late is not decided"));
        }
    }
    Ok(())
}

impl World {
    /// The facts of all groups as the newest replica of each has them. Whatever shows in one was caused by what some node had
    /// applied by then; so with every node alive no cause is missing.
    pub(crate) fn back_up(&mut self) {
        let all_alive = self.present().all(|(_, slot)| slot.node.is_some());
        if !all_alive || self.groups().len() == 1 {
            self.schedule(AGAIN_US, Event::Fault(Fault::BackUp));
            return;
        }
        let mut groups = BTreeMap::new();
        for group in self.groups() {
            let nodes = self.present().filter_map(|(_, slot)| slot.node.as_ref());
            let newest = nodes.max_by_key(|node| node.facts().revision(group));
            groups.extend(newest.map(|node| (group, node.facts().snapshot(group))));
        }
        self.backup = Some(Backup { at: self.wall(), groups });
        self.note("everything is backed up".to_string());
    }

    /// Every node dies, and all disks are gone; each is started from the backup. One may come back with the disk that it had.
    pub(crate) fn restore_all(&mut self, but: Option<NodeId>) {
        let Some(backup) = self.backup.clone() else {
            self.note("there is no backup: the disks are spared".to_string());
            return;
        };
        let restoration =
            Restoration { id: self.wall().0, backup: 1, taken_at: backup.at, ..Restoration::default() };
        let read = |(group, bytes): (&GroupId, &Vec<u8>)| {
            let facts = Facts::of_snapshot(*group == FEDERATION_GROUP, bytes).expect("a node's own snapshot");
            (*group, facts)
        };
        let facts = backup.groups.iter().map(read).collect();
        let batch = restored(facts, &restoration).expect("a backup of all groups");
        self.checkers.restored();
        let nodes: Vec<NodeId> = self.present().map(|(node, _)| node).collect();
        for node in nodes {
            self.kill_node(node);
            if Some(node) != but {
                let Some(slot) = self.nodes.get_mut(&node) else { continue };
                slot.disk = Disk::holding(slot.disk.fsync_us, batch.clone());
                (slot.lost, slot.joins) = (false, false);
            }
            self.start_node(node);
        }
        self.old = but;
    }

    /// An operator finds the node that takes no part.
    pub(crate) fn put_old_aside(&mut self) {
        if let Some(node) = self.old {
            self.put_aside(node);
        }
    }

    pub(crate) fn put_aside(&mut self, node: NodeId) {
        self.old = None;
        self.kill_node(node);
        if let Some(slot) = self.nodes.get_mut(&node) {
            slot.disk = Disk::new(slot.disk.fsync_us);
            slot.lost = true;
        }
        self.start_node(node);
    }
}
