//! No host acts on an older generation than any host has launched.

use std::collections::BTreeMap;

use dwcp_types::{HostId, VmId};

#[derive(Default)]
pub(super) struct Generations {
    newest: BTreeMap<VmId, (u64, HostId)>,
}

impl Generations {
    pub(super) fn launched(&mut self, host: &HostId, vm: VmId, generation: u64) -> Option<String> {
        if let Some((newest, by)) = self.newest.get(&vm) {
            if generation < *newest || (generation == *newest && by != host) {
                return Some(format!(
                    "{host} launched generation {generation} of {vm} after {by} had launched generation {newest}"
                ));
            }
        }
        self.newest.insert(vm, (generation, host.clone()));
        None
    }
}
