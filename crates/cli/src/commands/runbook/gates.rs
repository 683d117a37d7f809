//! What must not get worse while a runbook goes on: other regions' health, and every VM.

use std::collections::BTreeMap;

use dwcp_api::protection::ProtectionState;
use dwcp_api::region::{Health, HealthState, RegionList, RegionListRequest};
use dwcp_api::vm::{Vm, VmList, VmListRequest, VmState};

use crate::commands::all_pages;
use crate::failure::Failure;
use crate::session::Session;

/// A score that falls by more is worse.
const POINTS: u32 = 10;

/// How a VM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmLook {
    pub name: String,
    pub state: VmState,
    pub wanted_running: bool,
    /// None: nobody wants its disk protected.
    pub protection: Option<ProtectionState>,
}

/// How everything is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// By region.
    pub health: BTreeMap<String, Health>,
    /// By id.
    pub vms: BTreeMap<String, VmLook>,
}

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worse {
    /// Worse than before.
    pub is: Vec<String>,
    /// On its way: VMs that move or start, copies that are being made.
    pub on_its_way: Vec<String>,
}

/// Asks the federation.
pub fn look(session: &Session) -> Result<Look, Failure> {
    let regions = all_pages::<RegionList, _>(session, None, |cursor| RegionListRequest {
        cursor,
        ..RegionListRequest::default()
    })?;
    let vms =
        all_pages::<VmList, _>(session, None, |cursor| VmListRequest { cursor, ..VmListRequest::default() })?;
    let one = |vm: Vm| {
        let protection = vm.protection.map(|of| of.state);
        let look = VmLook { name: vm.name, state: vm.state, wanted_running: vm.wanted_running, protection };
        (vm.vm, look)
    };
    Ok(Look {
        health: regions.items.into_iter().map(|of| (of.region, of.health)).collect(),
        vms: vms.items.into_iter().map(one).collect(),
    })
}

fn rank(state: HealthState) -> u8 {
    match state {
        HealthState::Healthy => 0,
        HealthState::Degraded => 1,
        HealthState::Unhealthy => 2,
        HealthState::Unknown => 3,
    }
}

fn text(health: &Health) -> String {
    let state = crate::show::words::name(&health.state);
    let score = health.score.map_or_else(|| "score unknown".to_owned(), |score| format!("score {score}"));
    let causes: Vec<&str> = health.deductions.iter().map(|of| of.cause.as_str()).collect();
    match causes.is_empty() {
        true => format!("{state}, {score}"),
        false => format!("{state}, {score} ({})", causes.join("; ")),
    }
}

/// Compares now with then. `of` is the region that the runbook is about: it is not held against how it was; `in_service` says
/// whether it must be well.
pub fn compare(then: &Look, now: &Look, of: &str, in_service: bool) -> Worse {
    let mut worse = Worse::default();
    for (region, before) in then.health.iter().filter(|(region, _)| *region != of) {
        match now.health.get(region) {
            None => worse.is.push(format!("{region} is not in the federation any more")),
            Some(after) => {
                let fell = before.score.zip(after.score).is_some_and(|(then, now)| now + POINTS < then);
                if rank(after.state) > rank(before.state) || fell {
                    worse.is.push(format!("{region} is {}; it was {}", text(after), text(before)));
                }
            }
        }
    }
    if in_service {
        match now.health.get(of) {
            Some(health) if rank(health.state) < rank(HealthState::Unhealthy) => {}
            Some(health) => worse.is.push(format!("{of} is {}", text(health))),
            None => worse.is.push(format!("{of} is not in the list of regions")),
        }
    }
    for (id, before) in &then.vms {
        if let Some(after) = now.vms.get(id) {
            compare_vm(before, after, &mut worse);
        }
    }
    worse
}

/// A VM that somebody deletes, or wants stopped, is their matter.
fn compare_vm(before: &VmLook, after: &VmLook, worse: &mut Worse) {
    if before.state == VmState::Running && after.wanted_running {
        match after.state {
            VmState::Running | VmState::Deleting => {}
            VmState::Moving | VmState::Starting => worse.on_its_way.push(format!("VM {} moves", after.name)),
            state => {
                let state = crate::show::words::name(&state);
                worse.is.push(format!("VM {} ran and is {state}", after.name));
            }
        }
    }
    if before.protection == Some(ProtectionState::Protected) {
        match after.protection {
            None | Some(ProtectionState::Protected) => {}
            Some(ProtectionState::Syncing) => {
                worse.on_its_way.push(format!("the copy of VM {} is being made", after.name));
            }
            Some(ProtectionState::Waiting | ProtectionState::Degraded) => {
                worse.is.push(format!("VM {} was protected and is not", after.name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(state: HealthState, score: Option<u32>) -> Health {
        Health { score, state, deductions: Vec::new(), maintenance: None }
    }

    fn look(
        regions: &[(&str, HealthState, Option<u32>)],
        vms: &[(&str, VmState, Option<ProtectionState>)],
    ) -> Look {
        let health = regions.iter().map(|(name, state, score)| ((*name).to_owned(), health(*state, *score)));
        let vm = |(name, state, protection): &(&str, VmState, Option<ProtectionState>)| {
            let look = VmLook {
                name: (*name).to_owned(),
                state: *state,
                wanted_running: true,
                protection: *protection,
            };
            ((*name).to_owned(), look)
        };
        Look { health: health.collect(), vms: vms.iter().map(vm).collect() }
    }

    use HealthState::{Degraded, Healthy, Unhealthy, Unknown};
    use ProtectionState::{Protected, Syncing, Waiting};

    #[test]
    fn another_region_must_not_be_worse_than_before() {
        let then = look(&[("a", Healthy, Some(97)), ("b", Degraded, Some(70))], &[]);
        let is = |regions: &[(&str, HealthState, Option<u32>)]| {
            compare(&then, &look(regions, &[]), "r", false).is.len()
        };
        assert_eq!(is(&[("a", Healthy, Some(87)), ("b", Degraded, Some(70))]), 0, "ten points are noise");
        assert_eq!(is(&[("a", Healthy, Some(86)), ("b", Degraded, Some(99))]), 1);
        assert_eq!(is(&[("a", Degraded, Some(90)), ("b", Healthy, Some(90))]), 1);
        assert_eq!(is(&[("a", Unknown, None), ("b", Unhealthy, Some(30))]), 2, "not known is not well");
        assert_eq!(is(&[("b", Degraded, Some(70))]), 1, "one that is gone is worse");
    }

    #[test]
    fn the_region_itself_counts_only_while_it_serves() {
        let then = look(&[("r", Healthy, Some(97))], &[]);
        let of = |now: &Look, in_service| compare(&then, now, "r", in_service).is.len();
        assert_eq!(of(&look(&[("r", Unhealthy, Some(10))], &[]), false), 0);
        assert_eq!(of(&look(&[("r", Unhealthy, Some(10))], &[]), true), 1);
        assert_eq!(of(&look(&[("r", Unknown, None)], &[]), true), 1);
        assert_eq!(of(&look(&[], &[]), true), 1);
        assert_eq!(of(&look(&[("r", Degraded, Some(70))], &[]), true), 0);
    }

    #[test]
    fn no_vm_is_stopped_or_unprotected_by_a_runbook() {
        let then = look(&[], &[("ran", VmState::Running, Some(Protected)), ("off", VmState::Stopped, None)]);
        let of = |state, protection| {
            let mut now = look(&[], &[("ran", state, protection), ("off", VmState::Failed, None)]);
            let worse = compare(&then, &now, "r", false);
            now.vms.get_mut("ran").unwrap().wanted_running = false;
            let unwanted = compare(&then, &now, "r", false);
            (worse.is.len(), worse.on_its_way.len(), unwanted.is.len())
        };
        assert_eq!(of(VmState::Running, Some(Protected)), (0, 0, 0));
        assert_eq!(of(VmState::Moving, Some(Protected)), (0, 1, 0));
        assert_eq!(of(VmState::Paused, Some(Protected)), (1, 0, 0), "stopped by people is no harm");
        assert_eq!(of(VmState::Running, Some(Syncing)), (0, 1, 0));
        assert_eq!(of(VmState::Running, Some(Waiting)), (1, 0, 1));
        assert_eq!(of(VmState::Running, None), (0, 0, 0), "nobody wants it protected any more");
        assert!(compare(&then, &Look::default(), "r", false).is.is_empty(), "deleted by people");
    }
}
