//! A federation as it is configured somewhere, made small enough to be run many times: its regions with their distances, hosts,
//! VMs with their rules, and its policy.

use std::collections::BTreeMap;

use dwcp_api::configuration::{Configuration, ConfiguredHost, ConfiguredRegion};
use dwcp_api::protection::{OnReplicaLoss as ApiOnLoss, ProtectionMode as ApiMode};
use dwcp_api::vm::Vm as ApiVm;
use dwcp_api::vm_spec::{Affinity, OnRegionLoss, Scope as ApiScope};
use dwcp_state::{
    Core, Lifecycle, OnReplicaLoss, Policy, Prices, Profile, Protection, ProtectionMode, Region, Relation,
    Rules, Scope, Target, Vm, Want,
};
use dwcp_types::{Amount, NodeId, Priority, RegionId};

/// Most regions that are run.
pub const REGIONS: usize = 8;
/// Most hosts of one region that are run.
pub const HOSTS: usize = 3;
/// Most VMs that are run, of all regions.
pub const VMS: usize = 40;
/// Between two regions whose way was not measured, ms.
const UNKNOWN_RTT_MS: u64 = 150;

/// A host to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaidHost {
    /// Its region's node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What the machine has.
    pub capacity: Amount,
}

/// What is run.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// The facts that it is founded with.
    pub core: Core,
    /// The regions by number, from 1.
    pub regions: Vec<RegionId>,
    /// Hosts.
    pub hosts: Vec<LaidHost>,
    /// VMs, and the node of the region that each is in.
    pub vms: Vec<(NodeId, Vm)>,
    /// One way between two regions, µs.
    pub delays_us: BTreeMap<(NodeId, NodeId), u64>,
    /// In what it is not the federation that was read, a line each.
    pub notes: Vec<String>,
}

impl Layout {
    /// Reads a configuration as `GET /v1/configuration` answers it.
    ///
    /// # Errors
    /// It can't be read, or has no region or no host to run.
    pub fn read(text: &str) -> Result<Layout, String> {
        let read: Configuration =
            dwcp_config::tree::read_as(text).map_err(|complaints| complaints.to_string())?;
        let mut layout = Layout::default();
        layout.core.name = read.federation.clone();
        layout.take_regions(&read)?;
        layout.core.policy = policy(&read);
        let kept = layout.take_hosts(&read)?;
        layout.take_vms(&read, &kept);
        Ok(layout)
    }

    /// The number of a region.
    pub fn node(&self, region: &str) -> Option<NodeId> {
        self.regions.iter().position(|name| name.as_str() == region).map(|at| at as NodeId + 1)
    }

    fn take_regions(&mut self, read: &Configuration) -> Result<(), String> {
        let mut all: Vec<&ConfiguredRegion> = read.regions.iter().collect();
        all.sort_by_key(|region| region.number);
        if all.len() > REGIONS {
            self.notes.push(format!("{REGIONS} of {} regions are run, the first by number", all.len()));
            all.truncate(REGIONS);
        }
        if all.is_empty() {
            return Err("the configuration has no region".to_string());
        }
        for (region, number) in all.into_iter().zip(1..) {
            let record = record(region, number);
            self.regions.push(record.id.clone());
            if !region.active {
                self.notes.push(format!("{} is not in service; it is run as disabled", region.region));
            }
            self.core.regions.insert(record.id.clone(), record);
        }
        let numbers: Vec<NodeId> = (1..=self.regions.len() as NodeId).collect();
        let mut unknown = 0;
        for (from, to) in numbers.iter().flat_map(|from| numbers.iter().map(move |to| (*from, *to))) {
            if from == to {
                continue;
            }
            let named = |way: &&dwcp_api::configuration::Way, from, to| {
                self.node(&way.from) == Some(from) && self.node(&way.to) == Some(to)
            };
            let found = read.ways.iter().find(|way| named(way, from, to));
            let found = found.or_else(|| read.ways.iter().find(|way| named(way, to, from)));
            unknown += usize::from(found.is_none());
            let rtt_ms = found.map_or(UNKNOWN_RTT_MS, |way| way.rtt_ms.max(1));
            self.delays_us.insert((from, to), rtt_ms * 500);
        }
        if unknown > 0 {
            self.notes
                .push(format!("{unknown} ways were not measured; {UNKNOWN_RTT_MS} ms are taken for them"));
        }
        Ok(())
    }

    /// Takes hosts; returns how many of how many of each region.
    fn take_hosts(&mut self, read: &Configuration) -> Result<BTreeMap<NodeId, (usize, usize)>, String> {
        let mut kept = BTreeMap::new();
        for (region, node) in self.regions.clone().iter().zip(1..) {
            let of = |host: &&ConfiguredHost| host.region == region.as_str() && host.up;
            let mut all: Vec<&ConfiguredHost> = read.hosts.iter().filter(of).collect();
            all.sort_by(|a, b| a.host.cmp(&b.host));
            let count = all.len();
            // Zones in turn, so that what is kept spreads as what there is.
            let mut turn: BTreeMap<&str, usize> = BTreeMap::new();
            let mut turns: Vec<(usize, &ConfiguredHost)> = all
                .into_iter()
                .map(|host| {
                    let turn = turn.entry(&host.zone).or_default();
                    *turn += 1;
                    (*turn, host)
                })
                .collect();
            turns.sort_by_key(|(turn, _)| *turn);
            turns.truncate(HOSTS);
            kept.insert(node, (turns.len(), count));
            self.hosts.extend(turns.into_iter().map(|(_, host)| LaidHost {
                node,
                name: host.host.clone(),
                zone: host.zone.clone(),
                labels: host.labels.clone(),
                capacity: Amount { vcpus: host.vcpus, memory_mib: host.memory_mib, disk_gib: host.disk_gib },
            }));
        }
        let (run, all): (usize, usize) = kept.values().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        if run < all {
            self.notes.push(format!("{run} of {all} hosts are run, at most {HOSTS} a region, zones in turn"));
        }
        let absent = read.hosts.iter().filter(|host| !host.up).count();
        if absent > 0 {
            self.notes.push(format!("{absent} hosts are silent or closed and are not run"));
        }
        if self.hosts.is_empty() {
            Err("the configuration has no host that is up".to_string())
        } else {
            Ok(kept)
        }
    }

    /// Takes as large a share of a region's VMs as of its hosts, and of all of them what can be run.
    fn take_vms(&mut self, read: &Configuration, kept: &BTreeMap<NodeId, (usize, usize)>) {
        let mut chosen: Vec<(NodeId, &ApiVm)> = Vec::new();
        for (node, (run, all)) in kept {
            let region = &self.regions[*node as usize - 1];
            let of = |vm: &&ApiVm| vm.region == region.as_str();
            let mut there: Vec<&ApiVm> = read.vms.iter().filter(of).collect();
            there.sort_by(|a, b| {
                (std::cmp::Reverse(a.priority.0), &a.vm).cmp(&(std::cmp::Reverse(b.priority.0), &b.vm))
            });
            let share = if *all == 0 { 0 } else { (there.len() * run).div_ceil(*all) };
            chosen.extend(there.into_iter().take(share).map(|vm| (*node, vm)));
        }
        // Regions in turn, the most important first, so that none is left without.
        let mut place: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut ordered: Vec<(usize, NodeId, &ApiVm)> = chosen
            .into_iter()
            .map(|(node, vm)| {
                let place = place.entry(node).or_default();
                *place += 1;
                (*place, node, vm)
            })
            .collect();
        ordered.sort_by_key(|(place, node, _)| (*place, *node));
        ordered.truncate(VMS);
        if ordered.len() < read.vms.len() {
            self.notes.push(format!(
                "{} of {} VMs are run: each region's share of its hosts, at most {VMS}, the most important first",
                ordered.len(),
                read.vms.len()
            ));
        }
        let single = |of: &&Affinity| !of.to.contains('=');
        let related =
            |vm: &ApiVm| vm.policy.affinity.iter().chain(&vm.policy.anti_affinity).filter(single).count();
        let left_out: usize = ordered.iter().map(|(_, _, vm)| related(vm)).sum();
        if left_out > 0 {
            self.notes
                .push(format!("{left_out} rules that name a single VM are left out: it is another VM there"));
        }
        let later = |vm: &ApiVm| vm.protection.as_ref().is_some_and(|of| of.wanted.mode == ApiMode::Async);
        let later = ordered.iter().filter(|(_, _, vm)| later(vm)).count();
        if later > 0 {
            self.notes
                .push(format!("{later} disks that are copied from time to time are run without a copy"));
        }
        self.vms = ordered.into_iter().map(|(_, node, vm)| (node, template(vm))).collect();
    }
}

fn record(region: &ConfiguredRegion, number: NodeId) -> Region {
    Region {
        id: RegionId::from(region.region.as_str()),
        number,
        lifecycle: if region.active { Lifecycle::Active } else { Lifecycle::Disabled },
        placement: region.placement,
        traffic_percent: 100,
        priority: region.priority.min(100) as u8,
        prices: Prices {
            vcpu_micros: region.vcpu_micros,
            memory_gib_micros: region.memory_gib_micros,
            disk_gib_micros: region.disk_gib_micros,
        },
        compliance: region.compliance.iter().cloned().collect(),
        jurisdiction: region.jurisdiction.clone(),
        ..Region::default()
    }
}

fn policy(read: &Configuration) -> Policy {
    let of = &read.policies;
    Policy {
        auto_failover: of.auto_failover,
        loss_after_ms: of.loss_after_ms,
        return_after_ms: of.return_after_ms,
        failovers_per_hour: of.failovers_per_hour,
        cpu_overcommit_percent: of.cpu_overcommit_percent,
        memory_overcommit_percent: of.memory_overcommit_percent,
        profile: match of.scoring_profile.as_str() {
            "latency" => Profile::Latency,
            "cost" => Profile::Cost,
            "pack" => Profile::Pack,
            "spread" => Profile::Spread,
            _ => Profile::Balanced,
        },
        ..Policy::default()
    }
}

/// A VM as it is to be created.
fn template(vm: &ApiVm) -> Vm {
    let policy = &vm.policy;
    let names = |list: &[String]| list.iter().map(|name| RegionId::from(name.as_str())).collect();
    let relations = |list: &[Affinity]| list.iter().filter_map(relation).collect();
    Vm {
        name: vm.name.clone(),
        tenant: policy.tenant.clone().unwrap_or_default(),
        project: policy.project.clone().unwrap_or_default(),
        labels: vm.labels.clone(),
        spec: dwcp_state::VmSpec {
            image: vm.image.clone(),
            size: Amount { vcpus: vm.vcpus, memory_mib: vm.memory_mib, disk_gib: vm.disk_gib },
            ..dwcp_state::VmSpec::default()
        },
        rules: Rules {
            allowed_regions: names(&policy.regions_allow),
            denied_regions: names(&policy.regions_deny),
            zones: policy.zones.iter().cloned().collect(),
            host_labels: policy.host_labels.clone(),
            compliance: policy.compliance.iter().cloned().collect(),
            residency: policy.residency.iter().cloned().collect(),
            affinity: relations(&policy.affinity),
            anti_affinity: relations(&policy.anti_affinity),
            max_latency: policy
                .max_latency
                .iter()
                .map(|bound| (RegionId::from(bound.to.as_str()), bound.max_latency_ms.into()))
                .collect(),
            cost_limit_millis: policy.cost_limit_usd.map(|usd| (usd * 1_000.0).round() as u64),
            stay_on_loss: policy.failover == OnRegionLoss::Stay,
            ..Rules::default()
        },
        priority: Priority(vm.priority.0),
        want: Want::Running,
        protection: protection(vm),
        ..Vm::default()
    }
}

fn relation(of: &Affinity) -> Option<Relation> {
    let (key, value) = of.to.split_once('=')?;
    let target = Target::Label((key.to_string(), value.to_string()));
    let scope = match of.scope {
        ApiScope::Host => Scope::Host,
        ApiScope::Zone => Scope::Zone,
        ApiScope::Region => Scope::Region,
    };
    Some(Relation { target, scope })
}

fn protection(vm: &ApiVm) -> Protection {
    let Some(of) = &vm.protection else { return Protection::default() };
    Protection {
        mode: match of.wanted.mode {
            ApiMode::Sync => ProtectionMode::Sync,
            _ => ProtectionMode::None,
        },
        on_loss: match of.wanted.on_replica_loss {
            ApiOnLoss::GoOn => OnReplicaLoss::GoOn,
            ApiOnLoss::Stop => OnReplicaLoss::Stop,
        },
        region: of.wanted.region.as_deref().map(RegionId::from),
        ..Protection::default()
    }
}
