//! No host acts on an older generation than any host has acted on: neither launches it nor lets it go on after it was held,
//! also when the newer one is dead by then.

use std::collections::BTreeMap;

use dwcp_types::{HostId, VmId};

#[derive(Default)]
pub(super) struct Generations {
    newest: BTreeMap<VmId, (u64, HostId)>,
}

impl Generations {
    /// A host `does` something with a VM: `launched` it or `let` it `go on`.
    pub(super) fn acted(&mut self, host: &HostId, does: &str, vm: VmId, generation: u64) -> Option<String> {
        if let Some((newest, by)) = self.newest.get(&vm) {
            if generation < *newest || (generation == *newest && by != host) {
                return Some(format!(
                    "{host} {does} generation {generation} of {vm} after {by} had acted on generation {newest}"
                ));
            }
        }
        self.newest.insert(vm, (generation, host.clone()));
        None
    }
}
