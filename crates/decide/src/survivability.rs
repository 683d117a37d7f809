//! What the loss of a region, or of two at once, would leave without a place.

use std::collections::BTreeSet;

use dwcp_state::{Federation, Standing, Vm};
use dwcp_types::{Amount, HostId, Priority, RegionId, VmId};

use crate::planner::{Nowhere, Planner, alive};
use crate::workers::map;
use crate::{Measured, PlaceIndex, PlaceRequest, Reservations, Serial, Workers, place};

/// Regions named in the reason why a VM has no place.
const REGIONS_NAMED: usize = 3;
/// VMs named in a warning.
const VMS_NAMED: usize = 3;

/// Which losses are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Losses {
    /// Of each region.
    #[default]
    OfOne,
    /// And of each pair of regions at once.
    OfTwo,
}

/// A VM that would have no place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unplaced {
    /// Which.
    pub vm: VmId,
    /// Its name.
    pub name: String,
    /// Where it lives.
    pub region: RegionId,
    /// How much it matters.
    pub priority: Priority,
    /// What it needs.
    pub size: Amount,
    /// A region that its rules allow only lacks room; otherwise its rules leave no region.
    pub lacks_room: bool,
    /// Why, by region.
    pub why: String,
}

/// What a loss would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// The regions that are lost, in order.
    pub regions: Vec<RegionId>,
    /// VMs that live there, without those being deleted.
    pub vms: usize,
    /// Of those, VMs that stay by their own rule.
    pub stay: usize,
    /// VMs without a place elsewhere, most important first; those that stay are not among them.
    pub unplaced: Vec<Unplaced>,
    /// What those take that would have a place if there were more room.
    pub missing: Amount,
}

impl Loss {
    /// VMs without a place because their rules leave no region, however much room there is.
    pub fn by_rules(&self) -> usize {
        self.unplaced.iter().filter(|vm| !vm.lacks_room).count()
    }

    /// "us-east-1", "us-east-1 and eu-west-1".
    pub fn name(&self) -> String {
        self.regions.iter().map(RegionId::as_str).collect::<Vec<_>>().join(" and ")
    }
}

/// What each loss would leave without a place: every region that is not lost already, then every pair of them, in order.
///
/// Each loss is planned as its failover would be: the same rules, the same order by priority, then size, then id (of two
/// regions lost together in one order), each VM taking the room that the next one finds gone. Losses do not depend on each
/// other, so they are pieces of work for `workers`.
pub fn survivability(
    view: &Federation,
    measured: &Measured,
    losses: Losses,
    workers: &dyn Workers,
) -> Vec<Loss> {
    let there = |region: &&dwcp_state::Region| region.standing != Standing::Lost;
    let regions: Vec<RegionId> =
        view.core.regions.values().filter(there).map(|region| region.id.clone()).collect();
    let mut lost: Vec<Vec<RegionId>> = regions.iter().map(|region| vec![region.clone()]).collect();
    if losses == Losses::OfTwo {
        for (at, first) in regions.iter().enumerate() {
            lost.extend(regions[at + 1..].iter().map(|second| vec![first.clone(), second.clone()]));
        }
    }
    map(workers, lost.len(), |at| loss_of(view, measured, &lost[at]))
}

fn loss_of(view: &Federation, measured: &Measured, regions: &[RegionId]) -> Loss {
    let mut loss = Loss { regions: regions.to_vec(), ..Loss::default() };
    let mut planner = Planner::new(view, measured, regions, None);
    let homes: Vec<&dwcp_state::RegionFacts> =
        regions.iter().filter_map(|region| view.regions.get(region)).collect();
    for vm in alive(homes.iter().flat_map(|facts| facts.vms.values()).filter(|vm| vm.drill.is_none())) {
        loss.vms += 1;
        if vm.rules.stay_on_loss {
            loss.stay += 1;
            continue;
        }
        let of =
            |region: &RegionId| view.regions.get(region).is_some_and(|facts| facts.vms.contains_key(&vm.id));
        let from = if regions.len() == 1 { 0 } else { regions.iter().position(of).unwrap_or(0) };
        // A VM that is being moved goes where it may run already.
        let moving = view.regions.get(&regions[from]).and_then(|facts| facts.moving(vm.id));
        if moving.is_some_and(|migration| !regions.contains(&migration.to)) {
            continue;
        }
        // One with a copy of its disk goes there or waits.
        match planner.at_replica(vm, None) {
            Some(Ok(_)) => {}
            Some(Err((lacks_room, why))) => loss.add(&regions[from], vm, lacks_room, why),
            None => {
                if let Err(nowhere) = planner.elsewhere(from, vm, None) {
                    let lacks_room = nowhere.iter().any(|of| of.lacks_room);
                    loss.add(&regions[from], vm, lacks_room, why(&nowhere));
                }
            }
        }
    }
    loss
}

impl Loss {
    fn add(&mut self, region: &RegionId, vm: &Vm, lacks_room: bool, why: String) {
        if lacks_room {
            self.missing = self.missing.plus(vm.spec.size);
        }
        self.unplaced.push(Unplaced {
            vm: vm.id,
            name: vm.name.clone(),
            region: region.clone(),
            priority: vm.priority,
            size: vm.spec.size,
            lacks_room,
            why,
        });
    }
}

/// Where room would help comes first: it is what can be changed.
fn why(nowhere: &[Nowhere<'_>]) -> String {
    if nowhere.is_empty() {
        return "there is no other region".to_string();
    }
    let mut parts: Vec<String> = [true, false]
        .iter()
        .flat_map(|room| nowhere.iter().filter(move |of| of.lacks_room == *room))
        .take(REGIONS_NAMED)
        .map(|of| format!("{}: {}", of.region, of.text))
        .collect();
    if nowhere.len() > REGIONS_NAMED {
        parts.push(format!("and {} regions more", nowhere.len() - REGIONS_NAMED));
    }
    parts.join("; ")
}

/// A VM and where it is to live: the region, and the host when it is known.
pub type Goes = (VmId, RegionId, Option<HostId>);

/// Makes a copy of the facts such as they will be when these VMs have moved; a VM whose host is not known goes to the one that
/// scores best in its region, and one that has no place there stays.
pub fn relocate(view: &mut Federation, measured: &Measured, moves: &[Goes]) {
    let (mut index, mut reserved) = (PlaceIndex::default(), Reservations::default());
    let mut places = Vec::new();
    for (id, region, host) in moves {
        let Some((_, vm)) = view.vm(*id) else { continue };
        let only_regions = Some([region.clone()].into());
        let request =
            PlaceRequest { vm: vm.clone(), only_regions, for_failover: true, ..PlaceRequest::default() };
        let host = host.clone().or_else(|| {
            let found = place(view, &mut index, measured, &reserved, &request, false, &Serial).0;
            found.ok().map(|placement| placement.host)
        });
        if let Some(host) = host {
            reserved.add_coming(region, &host, vm);
            places.push((*id, region, host));
        }
    }
    places.into_iter().for_each(|(vm, region, host)| view.relocate(vm, region, &host));
}

/// What a change made worse, one line a region whose loss now leaves more VMs without a place than before.
pub fn warnings(before: &[Loss], after: &[Loss]) -> Vec<String> {
    after.iter().filter(|loss| loss.regions.len() == 1).filter_map(|loss| worse(before, loss)).collect()
}

fn worse(before: &[Loss], loss: &Loss) -> Option<String> {
    let was = before.iter().find(|was| was.regions == loss.regions);
    let before = was.map_or(0, |was| was.unplaced.len());
    let now = loss.unplaced.len();
    if now <= before {
        return None;
    }
    let old: BTreeSet<VmId> = was.iter().flat_map(|was| &was.unplaced).map(|vm| vm.vm).collect();
    let new: Vec<&Unplaced> = loss.unplaced.iter().filter(|vm| !old.contains(&vm.vm)).collect();
    let mut names: Vec<String> =
        new.iter().take(VMS_NAMED).map(|vm| format!("{} ({})", vm.name, vm.why)).collect();
    if new.len() > VMS_NAMED {
        names.push(format!("and {} more", new.len() - VMS_NAMED));
    }
    let vms = if now == 1 { "VM" } else { "VMs" };
    Some(format!(
        "survivability: {now} {vms} would not survive the loss of {} ({before} before this change): {}",
        loss.name(),
        names.join(", ")
    ))
}
