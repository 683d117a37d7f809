//! Whose is what: from what all hosts said that they have, and the records of the backup, to what each region does.
//!
//! The highest generation wins: a start, a move or a takeover raised it, and only after the run before it had ended for good.
//! A VM that was being copied is its target's only if its host has let go of it (then the host does not name it any more),
//! or is not waited for and everything of it is at the target.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use dwcp_types::{Generation, HostId, RegionId, VmId};

use crate::{AdoptedAs, AdoptedVm, Adopting, Adoption, Federation, Held, Observed, RegionFacts, Vm, Want};

/// A VM that a host has.
#[derive(Clone, Copy)]
struct Claim<'a> {
    region: &'a RegionId,
    host: &'a HostId,
    held: &'a Held,
}

/// Where a VM is in the backup.
type Records<'a> = BTreeMap<VmId, (&'a RegionId, &'a Vm)>;

fn claims(federation: &Federation) -> BTreeMap<VmId, Vec<Claim<'_>>> {
    let mut claims: BTreeMap<VmId, Vec<Claim<'_>>> = BTreeMap::new();
    for (region, facts) in &federation.regions {
        let found = facts.adoption.iter().flat_map(|adoption| &adoption.found);
        for (host, held) in found {
            for held in held {
                claims.entry(held.vm.id).or_default().push(Claim { region, host, held });
            }
        }
    }
    claims
}

/// Who has a VM's record, and who had it.
fn records(federation: &Federation) -> Records<'_> {
    let mut records = owners(federation);
    for (region, facts) in &federation.regions {
        for vm in facts.adoption.iter().flat_map(|adoption| adoption.given.values()) {
            records.entry(vm.id).or_insert((region, vm));
        }
    }
    records
}

fn owners(federation: &Federation) -> Records<'_> {
    let mut records = Records::new();
    for (region, facts) in &federation.regions {
        let missing = facts.adoption.iter().flat_map(|adoption| adoption.missing.values());
        let leaving = facts.departures.values().map(|departure| &departure.vm);
        for vm in facts.vms.values().chain(leaving).chain(missing) {
            records.entry(vm.id).or_insert((region, vm));
        }
    }
    records
}

/// The claim that counts.
fn winner<'a>(claims: &[Claim<'a>]) -> Option<Claim<'a>> {
    let counts = |claim: &&Claim<'a>| match &claim.held.arriving {
        None => true,
        Some(arriving) => {
            // Which host it comes from may not be known any more: then anybody's claim may be that one's.
            let kept = claims.iter().filter(|other| other.held.arriving.is_none()).any(|other| {
                arriving.host.as_str().is_empty()
                    || (other.region, other.host) == (&arriving.from, &arriving.host)
            });
            arriving.whole && !kept
        }
    };
    claims.iter().filter(counts).copied().max_by_key(|claim| {
        (claim.held.vm.generation, !claim.held.left, claim.held.runs, Reverse((claim.region, claim.host)))
    })
}

/// What is wanted of a VM: what its host was told is newer than the backup, but for a deletion.
fn wanted(record: &Vm, held: &Held) -> Want {
    match (record.want, held.want) {
        (Want::Deleted, _) => Want::Deleted,
        (_, Some(want)) => want,
        (want, None) => want,
    }
}

/// The record of an adopted VM: its settings, where it is, and generations above any that were given out.
fn adopted(record: &Vm, want: Want, claim: Claim<'_>, adoption: &Adoption) -> Vm {
    let promised = record.promised.max(Generation(adoption.restoration));
    // Only what runs goes on as it is. What does not may have run elsewhere since it ran here, and starts above that.
    let starts = want == Want::Running && !claim.held.runs && claim.held.arriving.is_none();
    let generation = if starts { promised.next() } else { claim.held.vm.generation };
    Vm {
        host: claim.host.clone(),
        generation,
        promised,
        want,
        observed: Observed::default(),
        ..record.clone()
    }
}

fn how(known: Option<(&RegionId, &Vm)>, vm: &Vm, region: &RegionId) -> AdoptedAs {
    let Some((was_in, was)) = known else { return AdoptedAs::Unknown };
    let mut changes = Vec::new();
    if was_in != region {
        changes.push(format!("moved from {was_in}"));
    }
    if was.host != vm.host {
        changes.push(format!("moved from host {} to {}", was.host, vm.host));
    }
    if vm.generation > vm.promised {
        changes.push("starts again".to_string());
    } else if was.generation != vm.generation {
        changes.push(format!("generation {} instead of {}", vm.generation.0, was.generation.0));
    }
    if was.want != vm.want {
        changes.push(format!("wanted {:?} instead of {:?}", vm.want, was.want).to_lowercase());
    }
    if changes.is_empty() { AdoptedAs::Unchanged } else { AdoptedAs::Changed(changes.join(", ")) }
}

/// The name of a VM; with its id when another one has it.
fn name_beside<'a>(vm: &Vm, mut others: impl Iterator<Item = &'a Vm>) -> String {
    let has = |other: &Vm| other.id != vm.id && other.name == vm.name && other.want != Want::Deleted;
    if others.any(has) { format!("{}-{:08x}", vm.name, vm.id.0 as u32) } else { vm.name.clone() }
}

fn place(vm: Vm, how: AdoptedAs) -> Adopting {
    Adopting::Place(Box::new(AdoptedVm { vm, how }))
}

impl Federation {
    /// What a region has still to do when all have heard their hosts; none before. It follows from what none of them changes any
    /// more, so all decide alike, whenever each looks. A region that nobody has founded yet has no hosts to hear.
    pub fn adoption(&self, region: &RegionId) -> Option<Vec<Adopting>> {
        let facts = self.regions.get(region)?;
        let adoption = facts.adoption.as_ref().filter(|adoption| adoption.done_at.is_none())?;
        let closed = |of: &RegionFacts| of.adoption.as_ref().is_some_and(|adoption| adoption.closed);
        let founded = |name: &RegionId| self.core.regions.get(name).is_none_or(|region| !region.unfounded);
        if !self.regions.iter().all(|(name, of)| closed(of) || !founded(name)) {
            return None;
        }
        let (claims, records) = (claims(self), records(self));
        let winners: BTreeMap<VmId, Claim<'_>> =
            claims.iter().filter_map(|(vm, claims)| Some((*vm, winner(claims)?))).collect();
        let mut decided = Vec::new();
        let here = winners.iter().filter(|(_, claim)| claim.region == region);
        for (id, claim) in here.filter(|(id, _)| !adoption.adopted.contains_key(id)) {
            let known = records.get(id).copied();
            let record = known.map_or(&claim.held.vm, |(_, vm)| vm);
            let mut vm = adopted(record, wanted(record, claim.held), *claim, adoption);
            if known.is_none() {
                vm.name = self.free_name(&vm, &winners, &records);
                vm.home = region.clone();
            }
            let how = how(known, &vm, region);
            decided.push(place(vm, how));
        }
        for (id, vm) in &facts.vms {
            match winners.get(id) {
                Some(claim) if claim.region == region => {}
                Some(claim) => decided.push(Adopting::Give((*id, claim.region.clone()))),
                None if adoption.found.contains_key(&vm.host) => decided.push(Adopting::Miss(*id)),
                None if adoption.adopted.contains_key(id) => {}
                // It is on a host that nobody waits for, as far as anybody knows.
                None => {
                    let promised = vm.promised.max(Generation(adoption.restoration));
                    decided.push(place(Vm { promised, ..vm.clone() }, AdoptedAs::WithLostHost));
                }
            }
        }
        Some(decided)
    }

    /// The name of a VM that the backup does not have; with its id when another VM has it.
    fn free_name(&self, vm: &Vm, winners: &BTreeMap<VmId, Claim<'_>>, records: &Records<'_>) -> String {
        let known = winners.keys().filter_map(|id| records.get(id)).map(|(_, other)| *other);
        let unknown = winners.iter().filter(|(id, _)| !records.contains_key(id));
        let earlier = unknown.map(|(_, claim)| &claim.held.vm).filter(|other| other.id < vm.id);
        name_beside(vm, known.chain(earlier))
    }

    /// What a region does about hosts that came when everything else was decided, and those of them about which there is nothing
    /// more to do. A VM that another region misses is that one's until it has let go of it: so it is never decided twice.
    pub fn late_adoption(&self, region: &RegionId) -> (Vec<Adopting>, Vec<HostId>) {
        let nothing = (Vec::new(), Vec::new());
        let Some(facts) = self.regions.get(region) else { return nothing };
        let Some(adoption) = facts.adoption.as_ref().filter(|adoption| adoption.done_at.is_some()) else {
            return nothing;
        };
        if self.regions.values().any(RegionFacts::is_adopting) {
            return nothing;
        }
        let (owners, records) = (owners(self), records(self));
        // What was decided once and is nobody's any more was deleted since.
        let decided_once = |id| {
            let mut adoptions = self.regions.values().filter_map(|facts| facts.adoption.as_ref());
            adoptions.any(|adoption| adoption.adopted.contains_key(&id))
        };
        let (mut decided, mut settled) = (Vec::new(), Vec::new());
        let mut placed = BTreeSet::new();
        for (host, held) in &adoption.late {
            let (before, mut waits) = (decided.len(), false);
            for held in held.iter().filter(|held| held.arriving.is_none()) {
                let claim = Claim { region, host, held };
                let id = held.vm.id;
                match owners.get(&id) {
                    Some((of, _)) if *of != region => {
                        let other = self.regions[*of].adoption.as_ref();
                        waits |= other.is_some_and(|other| other.missing.contains_key(&id));
                        continue;
                    }
                    None if decided_once(id) => continue,
                    _ => {}
                }
                let known = records.get(&id).copied();
                let here = facts.vms.get(&id);
                let newer = here.is_none_or(|vm| vm.host == *host && held.vm.generation > vm.generation);
                if newer && placed.insert(id) {
                    let record = known.map_or(&held.vm, |(_, vm)| vm);
                    // A record that is here may have been changed since the restoration; a host that was away knows nothing of that.
                    let want = here.map_or_else(|| wanted(record, held), |vm| vm.want);
                    let mut vm = adopted(record, want, claim, adoption);
                    if known.is_none() {
                        vm.home = region.clone();
                    }
                    if here.is_none() {
                        vm.name = name_beside(&vm, owners.values().map(|(_, other)| *other));
                    }
                    let how = how(known, &vm, region);
                    decided.push(place(vm, how));
                }
            }
            if decided.len() == before && !waits {
                settled.push(host.clone());
            }
        }
        for (other, of) in self.regions.iter().filter(|(other, _)| *other != region) {
            let late = of.adoption.iter().flat_map(|adoption| adoption.late.values().flatten());
            for held in late.filter(|held| held.arriving.is_none()) {
                if adoption.missing.contains_key(&held.vm.id) && placed.insert(held.vm.id) {
                    decided.push(Adopting::Give((held.vm.id, other.clone())));
                }
            }
        }
        (decided, settled)
    }
}
