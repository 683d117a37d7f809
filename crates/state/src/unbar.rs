//! Bars: what a region keeps of VMs that are gone from it, so that no late message brings one back, and when it is dropped.
//!
//! The argument is in `docs/decisions/2026-11-23-handoff-between-regions.md`. In short: a VM can come here only by an
//! admission decided on a departure that some facts of another region show. When the facts of every other region, each at
//! some revision, show no departure of it to here, older facts are of no use to decide on any more: from then on an
//! admission must rest on facts at least as new. What comes later comes under a further generation.

use dwcp_types::{Code, Generation, Refusal, Revision, VmId};

use crate::apply_region::{Applied, Stamp};
use crate::command::*;
use crate::{RegionFacts, Vm};

impl RegionFacts {
    /// A tombstone is not dropped before its VM was created so long ago, ms: by then nobody's clock is so late that a new
    /// request would carry an older time.
    pub const UNBAR_AFTER_MS: u64 = 3_600_000;

    /// Notes that a VM is gone from here up to a generation.
    pub(crate) fn bar(&mut self, vm: &Vm, generation: Generation) {
        self.tombstones.insert(vm.id, generation);
        self.born.insert(vm.id, vm.created_at);
    }

    /// The newest generation of a VM that may not be admitted here.
    pub fn barred(&self, vm: VmId) -> Generation {
        let declined = self.declined.get(&vm).map_or(Generation(0), |(generation, _)| *generation);
        declined.max(self.tombstones.get(&vm).copied().unwrap_or_default())
    }

    /// Refuses what was decided on facts of other regions that are older than those that were acted on.
    pub(crate) fn check_horizon(&self, stamp: &Stamp<'_>) -> Result<(), Refusal> {
        let seen = &stamp.envelope.looked_at;
        if seen.is_empty() && !self.horizons.is_empty() {
            return Err(Refusal::new(Code::StaleRevision, "it is not known which facts this was decided on"));
        }
        for (region, revision) in seen {
            let horizon = self.horizons.get(region).copied().unwrap_or_default();
            if *revision < horizon {
                return Err(Refusal::new(Code::StaleRevision, format!("the facts of {region} are too old"))
                    .because(format!("decided at revision {}, at least {} is needed", revision.0, horizon.0))
                    .then("it is decided again on newer facts"));
            }
        }
        Ok(())
    }

    /// Nothing older than what this was decided on counts any more. Arrivals and refusals raise the horizon too: a bar may
    /// go only on facts that are at least as new as those that it was made on, since older ones show no departure yet.
    pub(crate) fn raise_horizon(&mut self, stamp: &Stamp<'_>) {
        for (region, revision) in &stamp.envelope.looked_at {
            let horizon = self.horizons.entry(region.clone()).or_default();
            *horizon = (*horizon).max(*revision);
        }
    }

    /// Refuses to create what was asked for no later than a VM of which nothing is known any more: it may be that one.
    pub(crate) fn check_asked_lately(&self, stamp: &Stamp<'_>) -> Result<(), Refusal> {
        if self.unbarred_born.0 > 0 && stamp.envelope.at <= self.unbarred_born {
            let late_ms = self.unbarred_born.ms_since(stamp.envelope.at);
            return Err(Refusal::new(Code::TimedOut, "this request is too old to be carried out")
                .because(format!(
                    "it was made {late_ms} ms before the time up to which requests are forgotten"
                ))
                .then("nothing was changed; a clock that is hours late looks the same"));
        }
        Ok(())
    }

    /// Drops bars. The proposer has looked at every other region and found no such VM on its way to here; what was barred
    /// anew meanwhile stays.
    pub(crate) fn unbar(&mut self, vms: &[(VmId, Generation)], stamp: &Stamp<'_>) -> Applied {
        self.check_horizon(stamp)?;
        self.raise_horizon(stamp);
        for (id, generation) in vms {
            if self.barred(*id) != *generation {
                continue;
            }
            self.declined.remove(id);
            if !self.tombstones.contains_key(id) {
                continue;
            }
            // An earlier version did not note when the VM was created: its time begins now.
            let born = *self.born.entry(*id).or_insert(stamp.envelope.at);
            if stamp.envelope.at.ms_since(born) >= Self::UNBAR_AFTER_MS {
                self.tombstones.remove(id);
                self.born.remove(id);
                self.unbarred_born = self.unbarred_born.max(born);
            }
        }
        Ok(Receipt::default())
    }

    /// What may be dropped at `now`, given what is on its way to here in the facts of the other regions: at most `most`.
    pub fn unbarrable<'a>(
        &self,
        others: impl Iterator<Item = &'a RegionFacts> + Clone,
        now: dwcp_types::Wall,
        most: usize,
    ) -> Vec<(VmId, Generation)> {
        // A migration that has not ended yet asks what became of the generation that it promised.
        let coming = |id: VmId| {
            others.clone().any(|of| {
                of.departures.get(&id).is_some_and(|departure| departure.to == self.name)
                    || of.migrations.get(&id).is_some_and(|migration| migration.to == self.name)
            }) || self.migrations.contains_key(&id)
        };
        let old =
            |id: &VmId| self.born.get(id).is_none_or(|born| now.ms_since(*born) >= Self::UNBAR_AFTER_MS);
        let tombstones = self.tombstones.keys().filter(|id| old(id));
        let declined = self.declined.keys().filter(|id| !self.tombstones.contains_key(id) || old(id));
        let ids: std::collections::BTreeSet<VmId> = tombstones.chain(declined).copied().collect();
        ids.into_iter().filter(|id| !coming(*id)).take(most).map(|id| (id, self.barred(id))).collect()
    }
}

/// The revisions of facts that something was decided on.
pub fn looked_at<'a>(facts: impl Iterator<Item = &'a RegionFacts>) -> Vec<(dwcp_types::RegionId, Revision)> {
    facts.map(|of| (of.name.clone(), of.revision)).collect()
}
