//! Nothing is moved to and fro: no VM moves more often than its disaster accounts for, and after healing only what was
//! decided before it.
//!
//! A move is a new place (region and host) under a further generation, in the facts of the group that has the VM. Every
//! revision is looked at once, when the first replica comes to it.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Failover, FailoverState, Federation, Host, HostStanding, PhaseName, Standing, Trigger};
use dwcp_types::{GroupId, HostId, RegionId, VmId, Wall};

use crate::world::World;

/// Wall clocks are off by at most, ms.
const CLOCKS_MS: u64 = 200;
/// The first word over a link that has healed is heard after at most, ms: a beat, the longest way, its jitter.
const REACH_MS: u64 = 500;

/// Where a VM is, and under which generation.
type Place = (u64, RegionId, HostId);

/// Where VMs are, and how often each has moved.
#[derive(Default)]
pub struct SettledMoves {
    places: BTreeMap<VmId, Place>,
    /// Moves since the disaster began.
    moves: BTreeMap<VmId, Vec<String>>,
    looked_at: BTreeMap<GroupId, u64>,
    disaster: Option<Disaster>,
}

struct Disaster {
    /// Moves that one VM may make.
    most: usize,
    /// Since healing.
    healed: Option<Healed>,
}

struct Healed {
    at_us: u64,
    /// The same by the wall clock.
    wall: Wall,
    /// VMs whose move was decided before.
    decided: BTreeSet<VmId>,
    /// Regions whose loss was decided before, though it may have been recorded later.
    regions: BTreeSet<RegionId>,
}

impl Healed {
    /// True for what was concluded before anybody could hear that everything had healed, from a silence that had only then
    /// become long enough: what could have been decided long before was not decided because of the disaster.
    fn was_decided(&self, failover: &Failover, loss_after_ms: u64) -> bool {
        let Some(detected) = failover.phases.iter().find(|span| span.name == PhaseName::Detect) else {
            return failover.trigger == Trigger::Manual;
        };
        let at_ms = detected.ended_at.0.saturating_sub(self.wall.0);
        let silent_ms = detected.ended_at.ms_since(failover.first_missed_at);
        at_ms <= CLOCKS_MS || (at_ms <= CLOCKS_MS + REACH_MS && silent_ms <= loss_after_ms + REACH_MS)
    }
}

impl SettledMoves {
    /// A disaster strikes that accounts for so many moves of each VM.
    pub fn begins(&mut self, most: usize) {
        self.moves.clear();
        self.disaster = Some(Disaster { most, healed: None });
    }

    /// Everything has healed, and these moves were decided before.
    pub fn heals(&mut self, at_us: u64, wall: Wall, decided: BTreeSet<VmId>) {
        if let Some(disaster) = &mut self.disaster {
            disaster.healed = Some(Healed { at_us, wall, decided, regions: BTreeSet::new() });
        }
    }

    /// VMs that have moved since the disaster began.
    pub fn moved(&self) -> usize {
        self.moves.len()
    }

    /// A record gives a VM a place; the reason why that may not be, if it may not.
    pub fn placed(
        &mut self,
        now_us: u64,
        vm: VmId,
        generation: u64,
        at: (&RegionId, &HostId),
    ) -> Option<String> {
        let known = self.places.get(&vm);
        if known.is_some_and(|(newest, ..)| generation <= *newest) {
            return None;
        }
        let before = self.places.insert(vm, (generation, at.0.clone(), at.1.clone()));
        let (_, region, host) = before.filter(|(_, region, host)| (region, host) != at)?;
        let disaster = self.disaster.as_ref()?;
        let seconds = now_us as f64 / 1e6;
        let step = format!("{host} ({region}) to {} ({}) at {seconds:.1} s", at.1, at.0);
        let moves = self.moves.entry(vm).or_default();
        moves.push(step.clone());
        if moves.len() > disaster.most {
            return Some(format!(
                "{vm} moved {} times in one disaster, {} allowed: {}",
                moves.len(),
                disaster.most,
                moves.join("; ")
            ));
        }
        let healed = disaster.healed.as_ref()?;
        if healed.decided.contains(&vm) || healed.regions.contains(&region) {
            return None;
        }
        let after_ms = now_us.saturating_sub(healed.at_us) / 1_000;
        let what = "after everything healed, which nothing had decided before";
        Some(format!("{vm} moved {after_ms} ms {what}: {step}"))
    }

    /// Looks at revisions that no replica had come to before.
    pub(super) fn look(&mut self, now_us: u64, facts: &Federation) -> Option<String> {
        let mut found = None;
        self.note_decided(facts);
        for (name, region) in &facts.regions {
            let newest = self.looked_at.entry(region.number).or_default();
            if region.revision.0 <= *newest {
                continue;
            }
            *newest = region.revision.0;
            for vm in region.vms.values() {
                let text = self.placed(now_us, vm.id, vm.generation.0, (name, &vm.host));
                found = found.or(text);
            }
        }
        found
    }

    /// Notes what was decided before healing and is recorded only now.
    fn note_decided(&mut self, facts: &Federation) {
        let Some(healed) = self.disaster.as_mut().and_then(|disaster| disaster.healed.as_mut()) else {
            return;
        };
        let loss_after_ms = facts.core.policy.loss_after_ms;
        let running =
            facts.core.failovers.values().filter(|failover| failover.state == FailoverState::Running);
        for failover in running {
            if healed.was_decided(failover, loss_after_ms) {
                healed.regions.insert(failover.from.clone());
            }
        }
        let until = healed.wall.0 + CLOCKS_MS + REACH_MS;
        for region in facts.regions.values() {
            let lost = |host: &Host| host.standing == HostStanding::Lost && host.standing_since.0 <= until;
            let on_lost = region.vms.values().filter(|vm| region.hosts.get(&vm.host).is_some_and(lost));
            healed.decided.extend(on_lost.map(|vm| vm.id));
        }
    }
}

impl World {
    /// A disaster strikes that accounts for so many moves of each VM.
    pub fn disaster_begins(&mut self, most: usize) {
        self.checkers.moves.begins(most);
    }

    /// Everything has healed: from now on only what is decided may move.
    pub fn disaster_ends(&mut self) {
        let decided = self.decided();
        self.checkers.moves.heals(self.now_us, self.wall(), decided);
    }

    /// VMs that are to move by what is recorded: those of lost regions and lost hosts, those that a running failover names,
    /// and those on their way.
    fn decided(&self) -> BTreeSet<VmId> {
        let mut decided = BTreeSet::new();
        for slot in self.nodes.values() {
            let Some(facts) = slot.node.as_ref().map(|node| node.facts()) else { continue };
            let running = facts.core.failovers.values().filter(|f| f.state == FailoverState::Running);
            decided.extend(running.flat_map(|failover| &failover.vms).map(|vm| vm.vm));
            for (name, region) in &facts.regions {
                decided.extend(region.departures.keys());
                let lost = facts.region(name).is_some_and(|record| record.standing == Standing::Lost);
                let doomed = region.vms.values().filter(|vm| {
                    let host = region.hosts.get(&vm.host);
                    lost || region.evacuation.is_some()
                        || host.is_some_and(|host| host.standing == HostStanding::Lost)
                });
                decided.extend(doomed.map(|vm| vm.id));
            }
        }
        decided
    }
}
