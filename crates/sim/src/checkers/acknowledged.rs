//! Nothing acknowledged is lost, and no request is carried out twice.

use std::collections::BTreeMap;

use dwcp_state::Want;
use dwcp_types::VmId;

use crate::world::World;

/// What the client knows.
#[derive(Default)]
pub struct Acknowledged {
    /// VMs whose creation was acknowledged, by name.
    pub created: BTreeMap<String, VmId>,
    /// VMs whose deletion was asked for, acknowledged or not.
    pub deleted: BTreeMap<VmId, bool>,
    /// What was last acknowledged to be wanted of a VM; none while a request is open.
    pub wanted: BTreeMap<VmId, Option<Want>>,
    /// Names whose creation was asked for.
    pub asked: BTreeMap<String, u64>,
    /// The control plane came back from a backup: a VM that it did not know may have another name.
    pub restored: bool,
}

impl Acknowledged {
    pub(super) fn check(&self, world: &World) -> Result<(), String> {
        let Some(node) = world.nodes.values().find_map(|slot| slot.node.as_ref()) else { return Ok(()) };
        let facts = node.facts();
        for (name, vm) in &self.created {
            let found = facts.vm(*vm);
            let deletion = self.deleted.get(vm);
            match (found, deletion) {
                (None, None) => return Err(format!("{name} ({vm}) was acknowledged and is gone")),
                (Some((region, _)), Some(true)) => {
                    return Err(format!(
                        "the deletion of {name} ({vm}) was acknowledged, and it is in {region}"
                    ));
                }
                _ => {}
            }
            if let (Some((_, record)), Some(Some(want))) = (found, self.wanted.get(vm)) {
                if record.want != *want {
                    return Err(format!(
                        "{name} ({vm}) was acknowledged to be {want:?} and is {:?}",
                        record.want
                    ));
                }
            }
        }
        let mut names: BTreeMap<&str, VmId> = BTreeMap::new();
        for (_, vm) in facts.vms() {
            if let Some(other) = names.insert(&vm.name, vm.id) {
                return Err(format!("{} was created twice: {other} and {}", vm.name, vm.id));
            }
            if !self.restored && !self.asked.contains_key(&vm.name) {
                return Err(format!("{} was never asked for", vm.name));
            }
        }
        Ok(())
    }
}
