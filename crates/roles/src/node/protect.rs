//! Protection of VMs' disks, from both ends: the group of a VM's region chooses where its copy is kept and concludes how far
//! it is; the group of the copy's region gives it room and takes that back. Each step is computed from facts, but for what
//! hosts report.

use std::collections::BTreeSet;

use dwcp_state::{
    Command, Freeze, Guard, GuardNews, GuardState, HostStanding, ProtectionChange, ProtectionMode,
    RegionFacts, Replica, ReplicaChoice, ReplicaLocation, Standing, Vm, Want,
};
use dwcp_types::{Code, GroupId, HostId, Refusal, RegionId, Revision, VmId, Wall};

use super::proposals::Purpose;
use super::{Asked, Level, Node};
use crate::protocol::{GuardPhase, GuardReport, NEVER_MS};

/// Between two looks at every protected VM, ms.
const LOOK_MS: u64 = 300;
/// What was proposed about one VM is not proposed again before, ms.
const AGAIN_MS: u64 = 1_500;
/// A copy that could not be written is begun anew so long after, ms: what was lost for a moment is often lost again.
const ANEW_AFTER_MS: u64 = 3_000;
/// And at another place, if its host has not come back so long after, ms.
const ELSEWHERE_AFTER_MS: u64 = 30_000;
/// Between two copies of one VM that are begun by themselves, ms.
const ANEW_EVERY_MS: u64 = 10_000;
/// What a host says of a point's age may have been on its way for so long, ms: the point is taken for so much older.
const ON_ITS_WAY_MS: u64 = 1_000;
/// A region that refused to keep a copy is asked again so long after, ms.
const ASK_AGAIN_MS: u64 = 10_000;

/// What is next for the copy of a VM.
enum Next {
    Choose { same_place: bool },
    Locate(ReplicaLocation),
}

impl Node {
    pub(super) fn protect_vm(&mut self, ticket: u64, asked: &Asked, change: ProtectionChange) {
        if self.facts.core.freeze == Freeze::Frozen {
            let refusal = Refusal::new(Code::Frozen, "no VM is changed: the federation is frozen");
            return self.refuse(ticket, refusal.try_this("dwcp-cli federation freeze active"));
        }
        let Some((region, vm)) = self.facts.vm(change.vm) else {
            let refusal = Refusal::new(Code::UnknownVm, format!("no VM {}", change.vm));
            return self.refuse(ticket, refusal.try_this("dwcp-cli vm list"));
        };
        let (region, vm) = (region.clone(), vm.clone());
        if change.mode != ProtectionMode::None && vm.spec.size.disk_gib > 0 {
            let wanted = wanted(&vm, &change);
            let none = BTreeSet::new();
            let found = dwcp_decide::place_replica(&self.facts, &self.measured(), &wanted, &region, &none).0;
            if let Err(refusal) = found {
                return self.refuse(ticket, refusal);
            }
        }
        let Some(group) = self.facts.group_of(&region) else { return };
        let envelope = self.envelope(asked, Command::SetProtection(change));
        self.propose(group, envelope, Purpose::Answer(ticket));
    }

    /// Chooses where copies are made, and learns who takes their writes.
    pub(super) fn keep_guards(&mut self, group: GroupId) {
        if !self.due(format!("guards {group}"), LOOK_MS) {
            return;
        }
        let Some(here) = self.facts.region_of(group).cloned() else { return };
        let facts = &self.facts.regions[&here];
        let lost = self.facts.region(&here).is_none_or(|region| region.standing == Standing::Lost);
        if lost || facts.evacuation.is_some() {
            return;
        }
        let open: Vec<(VmId, Next)> = facts
            .vms
            .values()
            .filter(|vm| vm.is_protected() && vm.want != Want::Deleted)
            .filter_map(|vm| Some((vm.id, self.next_for(group, facts, vm)?)))
            .collect();
        for (vm, next) in open {
            match next {
                Next::Choose { same_place } => self.choose_replica(group, &here, vm, same_place),
                Next::Locate(location) => {
                    if self.due(format!("locate {vm} {}", location.epoch), AGAIN_MS) {
                        self.conclude(group, Command::LocateReplica(location));
                    }
                }
            }
        }
    }

    fn next_for(&self, group: GroupId, facts: &RegionFacts, vm: &Vm) -> Option<Next> {
        let guard = &vm.protection.guard;
        let Some(region) = &guard.region else { return Some(Next::Choose { same_place: false }) };
        let there = self.facts.regions.get(region)?;
        if there.replicas_declined.get(&vm.id).is_some_and(|(epoch, _)| *epoch == guard.epoch) {
            return Some(Next::Choose { same_place: false });
        }
        if let Some(location) = location(vm, &facts.name, guard, there) {
            return Some(Next::Locate(location));
        }
        // What a copy holds is given up only for a VM that is there to make it anew.
        let points = matches!(vm.protection.mode, ProtectionMode::Async(_));
        let behind = guard.released || (points && guard.state == GuardState::Degraded);
        if !behind || !self.is_served(group, facts, &vm.host) {
            return None;
        }
        let behind_ms = self.now.wall.ms_since(guard.since);
        let present = self.facts.region(region).is_some_and(|record| record.standing == Standing::Present);
        let up = there.hosts.get(&guard.host).is_some_and(|host| host.standing == HostStanding::Up);
        match (present && up, behind_ms) {
            // Points go on by themselves once their host is reached again.
            (true, _) if points => None,
            (true, ANEW_AFTER_MS..) => Some(Next::Choose { same_place: true }),
            (false, ELSEWHERE_AFTER_MS..) => Some(Next::Choose { same_place: false }),
            _ => None,
        }
    }

    /// True when the host's agent was heard a moment ago and gets leases.
    fn is_served(&self, group: GroupId, facts: &RegionFacts, host: &HostId) -> bool {
        let up = facts.hosts.get(host).is_some_and(|host| host.standing == HostStanding::Up);
        let heard = self.leases.hosts.get(&(group, host.clone())).map(|session| session.heard);
        up && heard.is_some_and(|heard| self.now.mono.ms_since(heard) < self.config.host_loss_ms)
    }

    fn choose_replica(&mut self, group: GroupId, here: &RegionId, id: VmId, same_place: bool) {
        let Some(vm) = self.facts.regions[here].vms.get(&id).cloned() else { return };
        let guard = &vm.protection.guard;
        let every_ms = if guard.region.is_some() { ANEW_EVERY_MS } else { AGAIN_MS };
        if !self.due(format!("copy {id} {}", guard.region.is_some()), every_ms) {
            return;
        }
        if let (true, Some(region)) = (same_place, guard.region.clone()) {
            let (host, reason) = (guard.host.clone(), "made anew where it was".to_string());
            let choice = ReplicaChoice { vm: id, epoch: guard.epoch, region, host, reason };
            return self.conclude(group, Command::ChooseReplica(choice));
        }
        let avoid: BTreeSet<RegionId> = guard.region.iter().cloned().collect();
        let (mut found, _) = dwcp_decide::place_replica(&self.facts, &self.measured(), &vm, here, &avoid);
        if found.is_err() && !avoid.is_empty() && self.due(format!("ask again {id}"), ASK_AGAIN_MS) {
            found = dwcp_decide::place_replica(&self.facts, &self.measured(), &vm, here, &BTreeSet::new()).0;
        }
        match found {
            Ok(place) => {
                let (region, host, reason) = (place.region, place.host, place.reason);
                let choice = ReplicaChoice { vm: id, epoch: guard.epoch, region, host, reason };
                self.conclude(group, Command::ChooseReplica(choice));
            }
            Err(refusal) => {
                if self.due(format!("no copy {id}"), 60_000) {
                    self.log("federation-controller", Level::Warning, refusal.to_string());
                }
            }
        }
    }

    /// Takes what a host says about copies of its VMs; only what changed enters the log.
    pub(super) fn conclude_guards(&mut self, group: GroupId, host: &HostId) {
        let Some(region) = self.facts.region_of(group) else { return };
        let facts = &self.facts.regions[region];
        let Some(session) = self.leases.hosts.get(&(group, host.clone())) else { return };
        let now = self.now.wall;
        let (mut news, mut anew) = (Vec::new(), Vec::new());
        for vm in facts.vms_on(host).filter(|vm| vm.is_protected()) {
            let Some(report) = session.reports.get(&vm.id) else { continue };
            let of_now = report.generation == vm.generation.0;
            let guard = &vm.protection.guard;
            let Some(seen) = report.guard.as_ref().filter(|seen| of_now && seen.epoch == guard.epoch) else {
                continue;
            };
            if seen.phase == GuardPhase::Ended {
                anew.push(ReplicaChoice {
                    vm: vm.id,
                    epoch: guard.epoch,
                    region: guard.region.clone().unwrap_or_default(),
                    host: guard.host.clone(),
                    reason: "the VM's process starts anew".to_string(),
                });
            }
            news.extend(concluded(vm, seen, now));
        }
        for choice in anew {
            if self.due(format!("anew {} {}", choice.vm, choice.epoch), AGAIN_MS) {
                self.conclude(group, Command::ChooseReplica(choice));
            }
        }
        news.retain(|of| {
            self.due(format!("guard {} {} {:?} {}", of.vm, of.epoch, of.state, of.point.0 / 1_000), AGAIN_MS)
        });
        for part in self.parts(news) {
            self.conclude(group, Command::Guarded((host.clone(), part)));
        }
    }

    /// Gives room to the copies that other regions ask for, and takes back that of copies nobody refers to.
    pub(super) fn keep_replicas(&mut self, group: GroupId) {
        if !self.due(format!("replicas {group}"), LOOK_MS) {
            return;
        }
        let Some(here) = self.facts.region_of(group).cloned() else { return };
        let facts = &self.facts.regions[&here];
        if facts.evacuation.is_some() {
            return;
        }
        let mut commands: Vec<(VmId, u64, Command)> = Vec::new();
        for (from, other) in self.facts.regions.iter().filter(|(name, _)| **name != here) {
            for vm in other.vms.values().filter(|vm| is_asked(vm, &here)) {
                let epoch = vm.protection.guard.epoch;
                let known = facts.replicas.get(&vm.id).is_some_and(|known| known.epoch >= epoch);
                let declined = facts.replicas_declined.get(&vm.id).is_some_and(|(of, _)| *of >= epoch);
                if !known && !declined && !facts.vms.contains_key(&vm.id) {
                    commands.push((vm.id, epoch, take(facts, from, other.revision, vm)));
                }
            }
        }
        for replica in facts.replicas.values().filter(|replica| !self.is_referred_to(&here, replica)) {
            commands.push((replica.vm, replica.epoch, Command::DropReplica((replica.vm, replica.epoch))));
        }
        for (vm, epoch, command) in commands {
            if self.due(format!("replica {group} {vm} {epoch}"), AGAIN_MS) {
                self.conclude(group, command);
            }
        }
    }

    /// True while some region's facts name this copy, or are too old to say anything about it.
    fn is_referred_to(&self, here: &RegionId, replica: &Replica) -> bool {
        let old = self.facts.regions.get(&replica.from).is_none_or(|facts| facts.revision < replica.seen);
        let names = |vm: &Vm| is_asked(vm, here) && vm.protection.guard.epoch >= replica.epoch;
        old || self.facts.regions.values().any(|facts| {
            let departing = facts.departures.get(&replica.vm).map(|departure| &departure.vm);
            facts.vms.get(&replica.vm).into_iter().chain(departing).any(names)
        })
    }
}

/// The VM as it is to be protected.
fn wanted(vm: &Vm, change: &ProtectionChange) -> Vm {
    let mut wanted = vm.clone();
    wanted.protection.mode = change.mode;
    wanted.protection.region = change.region.clone();
    wanted
}

fn is_asked(vm: &Vm, here: &RegionId) -> bool {
    vm.is_protected() && vm.want != Want::Deleted && vm.protection.guard.region.as_ref() == Some(here)
}

/// Who takes the writes of a copy, when that is news.
fn location(vm: &Vm, from: &RegionId, guard: &Guard, there: &RegionFacts) -> Option<ReplicaLocation> {
    let replica = there.replicas.get(&vm.id)?;
    if replica.epoch != guard.epoch || replica.from != *from || replica.from_host != vm.host {
        return None;
    }
    let endpoint = there.hosts.get(&replica.host)?.facts.transfer.clone();
    let news = !endpoint.is_empty() && (endpoint != guard.endpoint || replica.host != guard.host);
    news.then(|| ReplicaLocation { vm: vm.id, epoch: guard.epoch, host: replica.host.clone(), endpoint })
}

/// What a host's word about a copy says that the facts do not.
fn concluded(vm: &Vm, seen: &GuardReport, now: Wall) -> Option<GuardNews> {
    let guard = &vm.protection.guard;
    let on_its_way_ms = match vm.protection.mode {
        ProtectionMode::Async(_) => ON_ITS_WAY_MS,
        _ => 0,
    };
    let point = match seen.point_age_ms {
        NEVER_MS => Wall(0),
        age_ms => Wall(now.0.saturating_sub(age_ms).saturating_sub(on_its_way_ms)),
    };
    let state = match seen.phase {
        GuardPhase::Synced => GuardState::Protected,
        GuardPhase::Lost => GuardState::Degraded,
        GuardPhase::Syncing | GuardPhase::Ended | GuardPhase::Released => return None,
    };
    let newer = match vm.protection.mode {
        ProtectionMode::Async(interval_ms) => point.0 >= guard.point.0 + (interval_ms / 2).max(1_000),
        _ => false,
    };
    if guard.released || (guard.state == state && !newer) {
        return None;
    }
    let (epoch, reason) = (seen.epoch, seen.reason.clone());
    Some(GuardNews { vm: vm.id, generation: vm.generation, epoch, state, point, reason })
}

/// The command that keeps a copy of a VM of `from`, or says that it can't be kept.
fn take(facts: &RegionFacts, from: &RegionId, seen: Revision, vm: &Vm) -> Command {
    let (guard, disk_gib) = (&vm.protection.guard, vm.spec.size.disk_gib);
    let (cpu, memory) = facts.limits();
    let kept = facts.replicas.get(&vm.id);
    let fits = |id: &HostId| {
        let own_gib = kept.filter(|kept| kept.host == *id).map_or(0, |kept| kept.disk_gib);
        facts.hosts.get(id).is_some_and(|host| {
            let free_gib = host.room(cpu, memory).minus(host.used).disk_gib + own_gib;
            host.standing == HostStanding::Up && free_gib >= disk_gib
        })
    };
    let same = kept.map(|kept| &kept.host).into_iter().chain([&guard.host]).find(|id| fits(id)).cloned();
    let host = match same.map_or_else(|| dwcp_decide::replica_host(facts, vm), Ok) {
        Ok(host) => host,
        Err(reason) => return Command::DeclineReplica((vm.id, (guard.epoch, reason))),
    };
    Command::TakeReplica(Box::new(Replica {
        vm: vm.id,
        name: vm.name.clone(),
        host,
        from: from.clone(),
        from_host: vm.host.clone(),
        epoch: guard.epoch,
        disk_gib,
        points: matches!(vm.protection.mode, ProtectionMode::Async(_)),
        seen,
        since: Wall(0),
    }))
}
