//! What became of a VM that left for another region, as that region's facts tell.

use dwcp_types::{Generation, VmId};

use crate::RegionFacts;

/// What a region has decided about a VM that left for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing yet, as far as these facts go.
    Open,
    /// It was taken, whatever became of it since.
    Admitted,
    /// It will never be taken at that generation.
    Declined,
}

impl RegionFacts {
    /// What became here of a VM that left for here and has `generation` on its way.
    ///
    /// These facts may show many decisions at once, and later refusals of the same VM among them: as long as the sender
    /// keeps the departure, the VM can have a further generation only by having been taken here. So every sign of that comes
    /// first, and only the refusal of this very generation counts as one.
    pub fn fate(&self, vm: VmId, generation: Generation) -> Fate {
        let lives = self.vms.get(&vm).is_some_and(|vm| vm.generation >= generation);
        let moved_on = self.departures.get(&vm).is_some_and(|next| next.vm.generation > generation);
        let was_here = self.tombstones.get(&vm).is_some_and(|gone| *gone >= generation);
        if lives || moved_on || was_here {
            return Fate::Admitted;
        }
        match self.declined.get(&vm) {
            Some((declined, _)) if *declined == generation => Fate::Declined,
            _ => Fate::Open,
        }
    }
}
