//! What ends by a date: regions that are to be decommissioned are reminded of, VMs that were made for a while are deleted. What is
//! next follows from the facts and the wall clock, so whoever comes to lead goes on, and nothing is told twice.

use dwcp_state::{Command, FEDERATION_GROUP, Freeze, OperationKind, Reminder, Vm, Want};
use dwcp_types::{GroupId, RegionId, VmId};

use super::{Asked, Node};

/// What was proposed is not proposed again before, ms.
const AGAIN_MS: u64 = 1_500;
/// Between two looks for VMs that have expired, ms.
const LOOK_MS: u64 = 5_000;
/// Who deletes them, in events and operations.
const BY: &str = "dwcp";

impl Node {
    /// Tells what is due of announced ends. For the leader of the federation's group.
    pub(super) fn remind_of_ends(&mut self) {
        let now = self.now.wall;
        let regions = self.facts.core.regions.values();
        let due: Vec<(RegionId, Reminder)> = regions
            .filter_map(|region| Some((region.id.clone(), region.decommission.as_ref()?.due(now)?)))
            .collect();
        for (region, reminder) in due {
            if self.due(format!("remind of {region} {reminder:?}"), AGAIN_MS) {
                self.conclude(FEDERATION_GROUP, Command::NoteDecommission((region, reminder)));
            }
        }
    }

    /// Deletes VMs whose time is over. For the leader of a region's group. One that moves is deleted where it arrives.
    pub(super) fn expire_vms(&mut self, group: GroupId) {
        if self.facts.core.freeze == Freeze::Frozen || !self.due(format!("expire {group}"), LOOK_MS) {
            return;
        }
        let now = self.now.wall;
        let Some(region) = self.facts.region_of(group).cloned() else { return };
        let over = |vm: &&Vm| vm.expires_at.0 > 0 && vm.expires_at <= now && vm.want != Want::Deleted;
        let vms: Vec<(VmId, String)> = self.facts.regions[&region]
            .vms
            .values()
            .filter(over)
            .map(|vm| (vm.id, vm.name.clone()))
            .collect();
        for (vm, name) in vms {
            let asked = Asked { by: BY.to_string(), ..Asked::default() };
            let title = format!("delete VM {name}, which has expired");
            let operation = self.operation(&asked, OperationKind::ChangeVms(vec![vm]), title, &region);
            self.conclude(group, Command::SetWant((vm, (Want::Deleted, operation))));
        }
    }
}
