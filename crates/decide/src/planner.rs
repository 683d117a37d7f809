//! Places many VMs one after the other, on tables of its own from which it takes the room as it goes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Federation, HostStanding, Migration, Region, Standing, Vm, Want, Weights};
use dwcp_types::{Amount, HostId, Mono, RegionId, VmId, ZoneId};

use crate::index::{RegionTable, RowState, dims};
use crate::place::{Ask, counts_text};
use crate::relations::Bounds;
use crate::score::{Context, weighted};
use crate::search::Search;
use crate::seen::Seen;
use crate::{Measured, ReasonKind, Reservations};

/// The place of a VM's copy, or what keeps the VM from starting there.
type AtReplica = Result<(RegionId, HostId, String), (bool, String)>;

/// A place found, or why no region has one: each with whether it only lacks room, and its reason.
pub(crate) type Found<'a> = Result<(RegionId, HostId, String), Vec<Nowhere<'a>>>;

/// Why a region takes a VM not.
pub(crate) struct Nowhere<'a> {
    pub region: &'a RegionId,
    /// A host would take it if it had more room.
    pub lacks_room: bool,
    pub text: String,
}

/// Why there is no place at all, in one line.
pub(crate) fn nowhere_text(regions: &[Nowhere<'_>]) -> String {
    if regions.is_empty() {
        return "there is no other region".to_string();
    }
    regions.iter().map(|of| format!("{}: {}", of.region, of.text)).collect::<Vec<_>>().join("; ")
}

pub(crate) struct Planner<'a> {
    view: &'a Federation,
    measured: &'a Measured,
    nothing: Reservations,
    tables: BTreeMap<RegionId, RegionTable>,
    weights: Weights,
    /// For each region that VMs leave: every region that stays, with what is known of it from there, in order.
    targets: Vec<Vec<(&'a Region, Seen<'a>)>>,
    /// Where VMs of the plan went.
    planned: BTreeMap<VmId, (RegionId, HostId)>,
    /// The regions that VMs leave, and those of the only one's hosts that are lost; none of them: all.
    leaving: &'a [RegionId],
    lost: Option<&'a BTreeSet<HostId>>,
}

impl<'a> Planner<'a> {
    /// For VMs that leave these regions, or the lost hosts of one.
    pub fn new(
        view: &'a Federation,
        measured: &'a Measured,
        leaving: &'a [RegionId],
        lost: Option<&'a BTreeSet<HostId>>,
    ) -> Planner<'a> {
        let mut tables: BTreeMap<RegionId, RegionTable> = BTreeMap::new();
        for (region, facts) in &view.regions {
            tables.insert(region.clone(), RegionTable::build(facts, Mono(0)));
        }
        if let (Some(lost), [from]) = (lost, leaving) {
            if let Some(table) = tables.get_mut(from) {
                table.close(|host| lost.contains(host), RowState::Lost);
            }
        }
        let policy = &view.core.policy;
        let look = |from: &RegionId, region: &'a Region| Seen {
            facts: view.regions.get(&region.id),
            rtt_ms: measured.rtt(from, &region.id),
            health: measured.health_of(&region.id),
            ..Seen::default()
        };
        let stays = |region: &&Region| !leaving.contains(&region.id);
        let targets = |from: &RegionId| {
            view.core.regions.values().filter(stays).map(|region| (region, look(from, region))).collect()
        };
        Planner {
            weights: policy.profile.weights(policy.weights),
            targets: leaving.iter().map(targets).collect(),
            view,
            measured,
            nothing: Reservations::default(),
            tables,
            planned: BTreeMap::new(),
            leaving,
            lost,
        }
    }

    /// VMs to place, most important first: by priority, then size, then id.
    pub fn order(vms: &mut [&Vm]) {
        vms.sort_unstable_by_key(|vm| {
            let size = vm.spec.size;
            (Reverse(vm.priority), Reverse((size.memory_mib, size.vcpus, size.disk_gib)), vm.id)
        });
    }

    /// What the relations of a VM ask, with VMs of the plan where they went and without those not placed yet.
    fn bounds(&self, vm: &Vm) -> Bounds {
        let stays = |region: &RegionId, other: &Vm| {
            !self.leaving.contains(region) || self.lost.is_some_and(|lost| !lost.contains(&other.host))
        };
        let mut bounds = Bounds::of(self.view, &self.nothing, vm, None, stays);
        for facts in self.leaving.iter().filter_map(|from| self.view.regions.get(from)) {
            for other in facts.relatives(vm) {
                if let Some((region, host)) = self.planned.get(&other.id) {
                    bounds.add(self.view, region, host, vm, other);
                }
            }
        }
        bounds
    }

    /// The migration that a VM lost its host in.
    pub fn lost_in_mid_copy(&self, vm: &Vm) -> Option<&'a Migration> {
        self.leaving.iter().find_map(|from| self.view.regions.get(from)?.lost_in_mid_copy(vm))
    }

    /// Finds a host within the region that a VM's host was lost in: in the same zone if one will do.
    pub fn within(&mut self, from: &RegionId, vm: &Vm, zone: Option<&ZoneId>) -> Result<HostId, String> {
        let bounds = self.bounds(vm);
        if let Some(reason) = bounds.excludes_region(from) {
            return Err(reason.text);
        }
        let Some(table) = self.tables.get(from) else { return Err("unknown region".into()) };
        let mut search = Search {
            region: from,
            table,
            facts: self.view.regions.get(from),
            rules: &vm.rules,
            bounds: &bounds,
            need: vm.spec.size,
            only_zone: zone,
            pack: self.weights.pack,
            reserved: Vec::new(),
            excluded: BTreeSet::new(),
        };
        let mut found = search.run(true);
        if found.best.is_none() && zone.is_some() {
            search.only_zone = None;
            found = search.run(true);
        }
        let Some((row, _)) = found.best else { return Err(counts_text(&found.excluded)) };
        Ok(self.take(from, row, vm))
    }

    /// The place of a VM's copy, or what keeps the VM from starting there; none when there is no copy to start from. A VM with
    /// a copy that can't be reached, or whose host lacks room, waits: elsewhere it would start without its disk.
    pub fn at_replica(&mut self, vm: &Vm, only: Option<&BTreeSet<RegionId>>) -> Option<AtReplica> {
        let (region, host) = vm.usable_replica()?;
        let place = format!("its copy is on {host} in {region}");
        if only.is_some_and(|only| !only.contains(region)) {
            return Some(Err((false, format!("{place}, where this request does not let it go"))));
        }
        let waits = |(lacks_room, why)| (lacks_room, format!("{place}{why}: it waits"));
        Some(self.promote(vm, region, host).map_err(waits))
    }

    /// The row of the host that keeps a VM's copy, and what the VM needs there on top of it: its room is the VM's own.
    fn row_of_copy(&self, vm: &Vm, region: &RegionId) -> Result<(usize, Amount), String> {
        let standing = self.view.core.regions.get(region).map(|record| record.standing);
        if standing != Some(Standing::Present) {
            return Err(", which is not there".to_string());
        }
        if self.lost.is_none() && self.leaving.contains(region) {
            return Err(", which is lost as well".to_string());
        }
        let facts = self.view.regions.get(region).filter(|facts| facts.evacuation.is_none());
        let facts = facts.ok_or(", which is being evacuated")?;
        let replica = facts.replica_for(vm).ok_or(", whose facts do not show it")?;
        if facts.hosts.get(&replica.host).is_none_or(|host| host.standing != HostStanding::Up) {
            return Err(", and that host is lost".to_string());
        }
        let table = self.tables.get(region).ok_or(", which has no hosts")?;
        let at = table.row_of(&replica.host).ok_or(", which does not know that host")?;
        let size = vm.spec.size;
        Ok((at, Amount { disk_gib: size.disk_gib.saturating_sub(replica.disk_gib), ..size }))
    }

    fn promote(&mut self, vm: &Vm, region: &RegionId, host: &HostId) -> AtReplica {
        let (at, need) = self.row_of_copy(vm, region).map_err(|why| (false, why))?;
        if self.tables[region].rows[at].left(dims(need)).is_none() {
            let (vcpus, memory_mib) = (need.vcpus, need.memory_mib);
            return Err((
                true,
                format!(", which lacks the room to run it ({vcpus} vCPUs, {memory_mib} MiB)"),
            ));
        }
        let keeper = self.take_of(region, at, vm, need);
        Ok((region.clone(), keeper, format!("its copy is on {host} in {region}")))
    }

    /// Finds a place in a region that stays, for a VM of the leaving region at this position.
    pub fn elsewhere(&mut self, from: usize, vm: &Vm, only: Option<&BTreeSet<RegionId>>) -> Found<'a> {
        let (no_regions, no_hosts) = (BTreeSet::new(), BTreeSet::new());
        let ask = Ask {
            vm,
            users_in: Some(&self.leaving[from]),
            only_regions: only,
            exclude_regions: &no_regions,
            exclude_hosts: &no_hosts,
            for_failover: true,
            arrives_at: None,
            opened: None,
        };
        let context = Context::new(self.view, self.measured, self.bounds(vm), ask);
        let targets = &self.targets[from];
        let (mut ranked, mut why) = (Vec::with_capacity(targets.len()), Vec::new());
        for (at, (region, seen)) in targets.iter().enumerate() {
            if let Some(reason) = context.excluded(region, seen) {
                why.push(Nowhere { region: &region.id, lacks_room: false, text: reason.text });
                continue;
            }
            let seen = Seen { table: self.tables.get(&region.id), ..*seen };
            let parts = context.parts(region, &seen, region.monthly_cost_millis(vm.spec.size));
            // A VM that goes where links come and go soon has to go again.
            let shaky = self.measured.shaky.contains(&region.id);
            ranked.push((shaky, Reverse(weighted(&self.weights, &parts)), Reverse(region.priority), at));
        }
        ranked.sort_unstable();
        for (shaky, Reverse(score), _, at) in ranked {
            let (region, seen) = targets[at];
            let Some(table) = self.tables.get(&region.id) else { continue };
            let search = Search {
                region: &region.id,
                table,
                facts: seen.facts,
                rules: &vm.rules,
                bounds: &context.bounds,
                need: vm.spec.size,
                only_zone: None,
                pack: self.weights.pack,
                reserved: Vec::new(),
                excluded: BTreeSet::new(),
            };
            let found = search.run(true);
            let Some((row, _)) = found.best else {
                let lacks_room = found.excluded.contains_key(&ReasonKind::Capacity);
                why.push(Nowhere { region: &region.id, lacks_room, text: counts_text(&found.excluded) });
                continue;
            };
            let far = seen.rtt_ms.map_or("unknown distance".to_string(), |ms| format!("{ms} ms away"));
            let host = self.take(&region.id, row, vm);
            let shaky = if shaky { ", silent a short while ago, no other has a place" } else { "" };
            return Ok((region.id.clone(), host, format!("score {score}, {far}{shaky}")));
        }
        Err(why)
    }

    fn take(&mut self, region: &RegionId, row: usize, vm: &Vm) -> HostId {
        self.take_of(region, row, vm, vm.spec.size)
    }

    fn take_of(&mut self, region: &RegionId, row: usize, vm: &Vm, need: Amount) -> HostId {
        let table = self.tables.get_mut(region).expect("a table that was searched is there");
        table.take(row, need);
        let host = table.hosts[row].0.clone();
        self.planned.insert(vm.id, (region.clone(), host.clone()));
        host
    }
}

/// VMs that are to be kept, most important first.
pub(crate) fn alive<'a>(vms: impl Iterator<Item = &'a Vm>) -> Vec<&'a Vm> {
    let mut list: Vec<&Vm> = vms.filter(|vm| vm.want != Want::Deleted).collect();
    Planner::order(&mut list);
    list
}
