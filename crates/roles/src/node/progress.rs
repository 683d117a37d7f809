//! What has become of one VM of a failover, by the facts that this node has, which of some regions may be old.

use dwcp_state::{Failover, FailoverVm, Fate, Federation, MoveState};

use super::failover::is_as_wanted;

/// What has become of a VM since it was planned.
pub(super) fn became(facts: &Federation, failover: &Failover, planned: &FailoverVm) -> FailoverVm {
    let mut vm = planned.clone();
    if vm.state == MoveState::Verified {
        return vm;
    }
    let departing = facts.regions.values().any(|region| region.departures.contains_key(&planned.vm));
    match facts.vm(planned.vm) {
        Some((region, found)) if *region != failover.from => {
            vm.to_region = Some(region.clone());
            vm.to_host = Some(found.host.clone());
            vm.generation = found.generation;
            if is_as_wanted(found) {
                vm.state = MoveState::Verified;
                vm.verified_at = Some(found.observed.at);
            } else {
                vm.state = MoveState::Waiting;
            }
        }
        Some(_) if !departing => {}
        None if !departing && was_deleted(facts, failover, planned) => {
            vm.state = MoveState::Verified;
            vm.reason = "deleted meanwhile".to_string();
        }
        // A record that is nowhere has left, and the facts of where it went are not here yet.
        Some(_) | None => vm.state = MoveState::Waiting,
    }
    vm
}

/// True when a VM that is nowhere was deleted, and not only taken by a region whose facts here are from before.
fn was_deleted(facts: &Federation, failover: &Failover, planned: &FailoverVm) -> bool {
    let let_go = |region: &dwcp_state::RegionFacts| region.tombstones.get(&planned.vm).copied();
    // Not only where it is recorded to go: a plan that was made at the same time may have sent it elsewhere.
    let others =
        || facts.regions.iter().filter(|(name, _)| **name != failover.from).map(|(_, region)| region);
    let taken_and_gone = others().any(|region| region.fate(planned.vm, planned.generation) == Fate::Admitted);
    let Some(gone) = facts.regions.get(&failover.from).and_then(let_go) else { return taken_and_gone };
    // Once it is known to be taken, the region lets go of the generation that it left with. What it lets go of before that
    // was deleted where it was, and what it lets go of after a refusal was deleted when it came back.
    let never_left = gone.next() == planned.generation;
    let mut refusals = others().filter_map(|region| region.declined.get(&planned.vm));
    let refused = refusals.any(|(generation, _)| *generation >= planned.generation);
    taken_and_gone || never_left || (refused && gone == planned.generation.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dwcp_state::{Departure, Vm};
    use dwcp_types::{Generation, RegionId, VmId};

    const VM: VmId = VmId(7);

    fn region(name: &str) -> RegionId {
        RegionId::from(name)
    }

    /// A VM that was to go from `r` to `t` with generation 5; what `change` makes of the facts, and what became of it then.
    fn state(change: impl FnOnce(&mut Federation)) -> MoveState {
        let mut facts = Federation::default();
        facts.open_group(1, &region("r"));
        facts.open_group(2, &region("t"));
        facts.open_group(3, &region("u"));
        change(&mut facts);
        let failover = Failover { from: region("r"), ..Failover::default() };
        let planned = FailoverVm {
            vm: VM,
            to_region: Some(region("t")),
            generation: Generation(5),
            state: MoveState::Waiting,
            ..FailoverVm::default()
        };
        became(&facts, &failover, &planned).state
    }

    fn let_go(facts: &mut Federation, of: &str, generation: u64) {
        let of = facts.regions.get_mut(&region(of)).expect("the region is there");
        of.tombstones.insert(VM, Generation(generation));
    }

    #[test]
    fn a_vm_whose_arrival_is_not_known_here_yet_is_waited_for() {
        assert_eq!(state(|_| {}), MoveState::Waiting);
        // Its region knows that it was taken and has forgotten it; the other's facts are from before.
        assert_eq!(state(|facts| let_go(facts, "r", 5)), MoveState::Waiting);
        let older = |facts: &mut Federation| {
            let_go(facts, "r", 5);
            let_go(facts, "t", 3);
        };
        assert_eq!(state(older), MoveState::Waiting, "it was in that region once before");
    }

    #[test]
    fn a_vm_on_its_way_is_waited_for_although_its_region_let_go_of_it() {
        let leaves = |facts: &mut Federation| {
            let_go(facts, "r", 4);
            let vm = Vm { id: VM, generation: Generation(5), ..Vm::default() };
            let departure = Departure { vm, to: region("t"), ..Departure::default() };
            let of = facts.regions.get_mut(&region("r")).expect("the region is there");
            of.departures.insert(VM, departure);
        };
        assert_eq!(state(leaves), MoveState::Waiting);
    }

    #[test]
    fn a_vm_that_was_deleted_where_it_was_or_where_it_went_is_done_with() {
        assert_eq!(state(|facts| let_go(facts, "r", 4)), MoveState::Verified);
        assert_eq!(state(|facts| let_go(facts, "t", 5)), MoveState::Verified);
        assert_eq!(state(|facts| let_go(facts, "t", 6)), MoveState::Verified);
    }

    #[test]
    fn a_vm_that_was_deleted_where_another_plan_had_sent_it_is_done_with() {
        let elsewhere = |gone: u64| {
            state(|facts| {
                let_go(facts, "r", 5);
                let_go(facts, "u", gone);
            })
        };
        assert_eq!(elsewhere(5), MoveState::Verified);
        assert_eq!(elsewhere(4), MoveState::Waiting, "it was there once before");
    }

    #[test]
    fn a_vm_that_was_refused_and_deleted_when_it_came_back_is_done_with() {
        let refused = |gone: u64| {
            state(|facts| {
                let_go(facts, "r", gone);
                let of = facts.regions.get_mut(&region("t")).expect("the region is there");
                of.declined.insert(VM, (Generation(5), "it is being deleted".to_string()));
            })
        };
        assert_eq!(refused(6), MoveState::Verified);
        assert_eq!(refused(7), MoveState::Waiting, "it left again, which is not recorded here yet");
        assert_eq!(state(|facts| let_go(facts, "r", 6)), MoveState::Waiting, "nobody refused it");
    }
}
