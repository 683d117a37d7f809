//! Evens out how full hosts or regions are by moving VMs, within a budget and without moving to and fro.
//!
//! After every move the fuller of the two places that it is between is less full, by at least [`GAIN_PERMILLE`], than the one it
//! left was: the loads, listed from the fullest to the emptiest, come earlier in the order of such lists with each, so that moves
//! can't go in circles. Once the fullest and the emptiest lie within [`SPREAD_PERMILLE`] nothing moves any more. VMs that are
//! moving count where they go to.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Federation, HostStanding, Migration, Vm, Want};
use dwcp_types::{Amount, HostId, RegionId, VmId};

use crate::{Measured, PlaceIndex, PlaceRequest, Reservations, Serial, place};

/// Loads that lie closer together than this are even.
const SPREAD_PERMILLE: u64 = 150;
/// A move that lowers the load by less is not worth it.
const GAIN_PERMILLE: u64 = 30;
/// Targets tried for a VM, the emptiest first.
const TARGETS: usize = 8;

/// What is to be evened out, and at what price.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalance {
    /// The hosts of this region; none: the regions.
    pub within: Option<RegionId>,
    /// Most VMs to move.
    pub max_moves: usize,
    /// Most memory and disk to move together, MiB.
    pub max_mib: u64,
    /// VMs that have moved a moment ago and are left alone.
    pub rested: BTreeSet<VmId>,
}

/// A VM that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebalanceMove {
    /// Which.
    pub vm: VmId,
    /// The region it leaves.
    pub from: RegionId,
    /// The region it goes to.
    pub to: RegionId,
    /// The host it goes to.
    pub host: HostId,
    /// What becomes of the loads of both places.
    pub reason: String,
}

/// What is to move, and what it brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebalancePlan {
    /// In their order.
    pub moves: Vec<RebalanceMove>,
    /// Loads of the emptiest and of the fullest place, 1000 for all of their room: as they are.
    pub before: (u64, u64),
    /// And when all have moved.
    pub after: (u64, u64),
    /// Memory and disk of what moves, MiB.
    pub mib: u64,
    /// Why no more moves.
    pub end: String,
}

type Place = (RegionId, Option<HostId>);

#[derive(Clone, Copy, Default)]
struct Load {
    limit: Amount,
    used: Amount,
}

impl Load {
    /// Of processors or of memory, whichever is fuller.
    fn permille(self) -> u64 {
        let share = |used: u64, limit: u64| used * 1_000 / limit.max(1);
        share(self.used.vcpus.into(), self.limit.vcpus.into())
            .max(share(self.used.memory_mib, self.limit.memory_mib))
    }

    fn with(self, size: Amount) -> Load {
        Load { used: self.used.plus(size), ..self }
    }

    fn without(self, size: Amount) -> Load {
        Load { used: self.used.minus(size), ..self }
    }
}

/// What moving a VM costs, MiB.
fn mib(vm: &Vm) -> u64 {
    vm.spec.size.memory_mib + vm.spec.size.disk_gib * 1_024
}

/// Plans it.
pub fn plan_rebalance(view: &Federation, measured: &Measured, asked: &Rebalance) -> RebalancePlan {
    let mut planner = Planner {
        view,
        measured,
        asked,
        loads: loads(view, asked),
        index: PlaceIndex::default(),
        reserved: Reservations::default(),
        gone: BTreeSet::new(),
    };
    let mut plan = RebalancePlan { before: planner.ends(), ..RebalancePlan::default() };
    plan.end = loop {
        let (least, most) = planner.ends();
        plan.after = (least, most);
        if most - least <= SPREAD_PERMILLE {
            break format!("loads lie within {} %", SPREAD_PERMILLE / 10);
        }
        if plan.moves.len() >= asked.max_moves {
            break format!("{} VMs are the most that may move", asked.max_moves);
        }
        match planner.next(asked.max_mib - plan.mib) {
            Ok((step, mib)) => {
                plan.mib += mib;
                plan.moves.push(step);
            }
            Err(why) => break why,
        }
    };
    plan
}

struct Planner<'a> {
    view: &'a Federation,
    measured: &'a Measured,
    asked: &'a Rebalance,
    loads: BTreeMap<Place, Load>,
    index: PlaceIndex,
    reserved: Reservations,
    gone: BTreeSet<VmId>,
}

/// The load of every place that takes VMs; what is on its way counts where it goes to.
fn loads(view: &Federation, asked: &Rebalance) -> BTreeMap<Place, Load> {
    let mut loads: BTreeMap<Place, Load> = BTreeMap::new();
    for (name, facts) in &view.regions {
        let inside = asked.within.as_ref().is_none_or(|within| within == name);
        if !inside || !view.region(name).is_some_and(|region| region.takes_placements()) {
            continue;
        }
        let (cpu, memory) = facts.limits();
        for (id, host) in &facts.hosts {
            if host.standing == HostStanding::Up && host.placement {
                let load = loads.entry(place_of(asked, name, id)).or_default();
                load.limit = load.limit.plus(host.room(cpu, memory));
                load.used = load.used.plus(host.used);
            }
        }
    }
    for (name, facts) in &view.regions {
        for migration in facts.migrations.values() {
            let Some(vm) = facts.vms.get(&migration.vm) else { continue };
            let size = vm.spec.size;
            if let Some(load) = loads.get_mut(&place_of(asked, name, &vm.host)) {
                *load = load.without(size);
            }
            let coming = still_to_take_room(view, migration);
            let target = coming.and_then(|host| loads.get_mut(&place_of(asked, &migration.to, &host)));
            if let Some(load) = target {
                *load = load.with(size);
            }
        }
    }
    loads
}

fn place_of(asked: &Rebalance, region: &RegionId, host: &HostId) -> Place {
    (region.clone(), asked.within.is_some().then(|| host.clone()))
}

/// The host that a migration goes to when no room has been taken there yet.
fn still_to_take_room(view: &Federation, migration: &Migration) -> Option<HostId> {
    let there = view.regions.get(&migration.to)?.arrivals.contains_key(&migration.vm);
    if there { None } else { Some(migration.host.clone().unwrap_or_default()) }
}

impl<'a> Planner<'a> {
    /// The smallest and the largest load.
    fn ends(&self) -> (u64, u64) {
        let loads = self.loads.values().map(|load| load.permille());
        (loads.clone().min().unwrap_or(0), loads.max().unwrap_or(0))
    }

    /// The best move from the fullest place that has one: the most that is gained for each MiB that is moved.
    fn next(&mut self, most_mib: u64) -> Result<(RebalanceMove, u64), String> {
        let mut order: Vec<(u64, Place)> =
            self.loads.iter().map(|(place, load)| (load.permille(), place.clone())).collect();
        order.sort();
        let least = order.first().map_or(0, |(load, _)| *load);
        let mut poor = false;
        for (load, source) in order.iter().rev() {
            if load - least <= SPREAD_PERMILLE {
                break;
            }
            for vm in self.candidates(source) {
                if mib(vm) > most_mib {
                    poor = true;
                    continue;
                }
                if let Some(step) = self.target(source, vm, &order) {
                    return Ok((step, mib(vm)));
                }
            }
        }
        Err(if poor {
            format!("{} GiB are the most that may move", self.asked.max_mib / 1_024)
        } else {
            "no other move is allowed by the VMs' rules and gains enough".to_string()
        })
    }

    /// VMs that may leave a place, those first that free the most of it for each MiB.
    fn candidates(&self, source: &Place) -> Vec<&'a Vm> {
        let view = self.view;
        let (Some(facts), Some(load)) = (view.regions.get(&source.0), self.loads.get(source)) else {
            return Vec::new();
        };
        let may = |vm: &&Vm| {
            vm.want == Want::Running
                && vm.drill.is_none()
                && !vm.is_protected()
                && source.1.as_ref().is_none_or(|host| *host == vm.host)
                && !facts.migrations.contains_key(&vm.id)
                && !self.asked.rested.contains(&vm.id)
                && !self.gone.contains(&vm.id)
        };
        let freed = |vm: &Vm| load.permille() - load.without(vm.spec.size).permille();
        let mut found: Vec<&Vm> = facts.vms.values().filter(may).collect();
        found.sort_by_cached_key(|vm| (Reverse(freed(vm) * (1 << 20) / mib(vm).max(1)), vm.id));
        found
    }

    /// Where a VM goes: the emptiest place that it may go to and that gains enough.
    fn target(&mut self, source: &Place, vm: &Vm, order: &[(u64, Place)]) -> Option<RebalanceMove> {
        let (size, from) = (vm.spec.size, self.loads[source]);
        for (_, target) in order.iter().filter(|(_, place)| place != source).take(TARGETS) {
            let to = self.loads[target];
            let after = (from.without(size).permille(), to.with(size).permille());
            if after.0.max(after.1) + GAIN_PERMILLE > from.permille() {
                continue;
            }
            let Some(host) = self.host_in(target, vm) else { continue };
            self.reserved.add_coming(&target.0, &host, vm);
            self.gone.insert(vm.id);
            self.loads.insert(source.clone(), from.without(size));
            self.loads.insert(target.clone(), to.with(size));
            let name = |place: &Place| place.1.as_ref().map_or(place.0.to_string(), HostId::to_string);
            let reason = format!(
                "{}: {} % -> {} %, {}: {} % -> {} %",
                name(source),
                from.permille() / 10,
                after.0 / 10,
                name(target),
                to.permille() / 10,
                after.1 / 10
            );
            return Some(RebalanceMove {
                vm: vm.id,
                from: source.0.clone(),
                to: target.0.clone(),
                host,
                reason,
            });
        }
        None
    }

    /// A host of a place that takes a VM by its rules.
    fn host_in(&mut self, target: &Place, vm: &Vm) -> Option<HostId> {
        let mut vm = vm.clone();
        if let Some(host) = &target.1 {
            if !vm.rules.hosts.is_empty() && !vm.rules.hosts.contains(host) {
                return None;
            }
            vm.rules.hosts = [host.clone()].into();
        }
        let request =
            PlaceRequest { vm, only_regions: Some([target.0.clone()].into()), ..PlaceRequest::default() };
        let (view, measured) = (self.view, self.measured);
        let found = place(view, &mut self.index, measured, &self.reserved, &request, false, &Serial).0;
        found.ok().map(|placement| placement.host)
    }
}
