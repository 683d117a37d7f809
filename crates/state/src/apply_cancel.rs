//! Calls a failover off.

use dwcp_types::{Code, FailoverId, Refusal};

use crate::apply_region::{Applied, Stamp, end_operation};
use crate::command::Receipt;
use crate::{Core, FailoverState, OperationState, Region, Severity, Standing};

impl Core {
    /// Ends a failover that has given no VM a place, and takes its region back.
    ///
    /// A VM leaves its region only after this group has recorded its new place, so the order of this log decides: what is
    /// called off here never moves anything, and what was recorded before is not called off.
    pub(crate) fn cancel_failover(&mut self, id: FailoverId, stamp: &Stamp<'_>) -> Applied {
        let failover = self.open_failover(id)?;
        if failover.has_places() {
            return Err(placed(failover));
        }
        failover.state = FailoverState::Cancelled;
        failover.ended_at = Some(stamp.envelope.at);
        let (operation, from) = (failover.operation, failover.from.clone());
        let before = failover.before.clone();
        if let Some(region) = self.regions.get_mut(&from) {
            take_back(region, before, stamp);
        }
        let result = format!("cancelled by {}; no VM has left", stamp.envelope.by);
        end_operation(self.operations.get_mut(&operation), OperationState::Cancelled, &result, stamp)?;
        let lost = self.regions.get(&from).is_some_and(|region| region.standing == Standing::Lost);
        let then = if lost { "it was lost before and still is" } else { "its VMs go on where they are" };
        let text = format!("{id} of {from} is cancelled: {then}");
        self.ledger.note(stamp.event(Severity::Warning, "failover.cancelled", &from, text));
        Ok(Receipt { failover: Some(id), operation: Some(operation), ..Receipt::default() })
    }
}

/// The region is as it was before it was lost, unless people have changed it since: then it only is no longer lost.
fn take_back(region: &mut Region, before: Option<Region>, stamp: &Stamp<'_>) {
    if region.standing != Standing::Lost {
        return;
    }
    *region = match before {
        Some(before) if before.revision == region.revision => Region { epoch: region.epoch, ..before },
        Some(before) => Region { standing: before.standing, ..region.clone() },
        None => Region { standing: Standing::Returned, ..region.clone() },
    };
    region.revision = stamp.revision;
}

fn placed(failover: &crate::Failover) -> Refusal {
    let count = failover.vms.iter().filter(|vm| vm.to_region.is_some()).count();
    Refusal::new(
        Code::WrongState,
        format!("{} of {} can't be cancelled any more", failover.id, failover.from),
    )
    .because(format!("{count} VMs have been given places in other regions: they leave, or have left"))
    .then("it goes on; the freeze switch stops moves that were not decided yet")
    .try_this(format!("dwcp-cli federation failover status --failover-id {}", failover.id))
    .try_this("dwcp-cli federation freeze no-moves")
}
