//! Together and apart: what the relations of a VM, and relations that name it, allow.

use std::collections::BTreeSet;

use dwcp_state::{Federation, Relation, Scope, Vm};
use dwcp_types::{HostId, RegionId, ZoneId};

use crate::{Reason, ReasonKind, Reservations};

/// What relations ask of places, drawn from every VM that is related to the one to place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    together: Vec<(Scope, Spot)>,
    apart: Vec<(Scope, Spot)>,
}

/// Where a related VM lives, and its name.
#[derive(Clone, Debug)]
struct Spot {
    region: RegionId,
    zone: Option<ZoneId>,
    host: HostId,
    name: String,
}

impl Bounds {
    /// True when no relation concerns the VM.
    pub fn is_empty(&self) -> bool {
        self.together.is_empty() && self.apart.is_empty()
    }

    /// Gathers the bounds of `vm` over placed VMs for which `counts`, and over departing and reserved ones.
    ///
    /// For a VM that arrives `at` a region, others on their way there keep no place from it: they have none yet. Otherwise
    /// two that left for one place at once would refuse it to each other, be taken back, and leave for it again.
    pub fn of(
        view: &Federation,
        reserved: &Reservations,
        vm: &Vm,
        at: Option<&RegionId>,
        counts: impl Fn(&RegionId, &Vm) -> bool,
    ) -> Bounds {
        let mut bounds = Bounds::default();
        let mut coming = Bounds::default();
        for (region, facts) in &view.regions {
            for other in facts.relatives(vm).into_iter().filter(|other| counts(region, other)) {
                bounds.add(view, region, &other.host, vm, other);
            }
            for departure in facts.departing_relatives(vm) {
                let host = departure.host.clone().unwrap_or_default();
                let with = if at == Some(&departure.to) { &mut coming } else { &mut bounds };
                with.add(view, &departure.to, &host, vm, &departure.vm);
            }
        }
        bounds.together.append(&mut coming.together);
        for (region, other) in reserved.vms().filter(|(_, other)| vm.is_related_to(other)) {
            let applied = view.regions.get(region).is_some_and(|facts| facts.vms.contains_key(&other.id));
            if other.id != vm.id && !applied {
                bounds.add(view, region, &other.host, vm, other);
            }
        }
        bounds.compact();
        bounds
    }

    /// Adds what `vm` and a VM that lives on a host ask of each other.
    pub fn add(&mut self, view: &Federation, region: &RegionId, host: &HostId, vm: &Vm, other: &Vm) {
        let named = |list: &[Relation], whom: &Vm| -> Vec<Scope> {
            list.iter().filter(|r| whom.is_named_by(&r.target)).map(|r| r.scope).collect()
        };
        let mut together = named(&vm.rules.affinity, other);
        together.extend(named(&other.rules.affinity, vm));
        let mut apart = named(&vm.rules.anti_affinity, other);
        apart.extend(named(&other.rules.anti_affinity, vm));
        let spot = Spot {
            region: region.clone(),
            zone: zone_of(view, region, host),
            host: host.clone(),
            name: other.name.clone(),
        };
        self.together.extend(together.into_iter().map(|scope| (scope, spot.clone())));
        self.apart.extend(apart.into_iter().map(|scope| (scope, spot.clone())));
    }

    /// Whether a region is out as a whole.
    pub fn excludes_region(&self, region: &RegionId) -> Option<Reason> {
        if let Some((_, spot)) = self.together.iter().find(|(_, spot)| spot.region != *region) {
            let text = format!("it must be with {}, which lives in {}", spot.name, spot.region);
            return Some(Reason::new(ReasonKind::Affinity, text));
        }
        let apart = |(scope, spot): &&(Scope, Spot)| *scope == Scope::Region && spot.region == *region;
        let (_, spot) = self.apart.iter().find(apart)?;
        Some(Reason::new(ReasonKind::AntiAffinity, format!("{} lives there", spot.name)))
    }

    /// Whether a host of a region that is not out is out, and because of which VM.
    pub fn excludes_host(
        &self,
        region: &RegionId,
        host: &HostId,
        zone: &ZoneId,
    ) -> Option<(ReasonKind, &str)> {
        let beside = |scope: Scope, spot: &Spot| match scope {
            Scope::Host => spot.region == *region && spot.host == *host,
            Scope::Zone => spot.region == *region && spot.zone.as_ref() == Some(zone),
            Scope::Region => spot.region == *region,
        };
        if let Some((_, spot)) = self.together.iter().find(|(scope, spot)| !beside(*scope, spot)) {
            return Some((ReasonKind::Affinity, &spot.name));
        }
        let (_, spot) = self.apart.iter().find(|(scope, spot)| beside(*scope, spot))?;
        Some((ReasonKind::AntiAffinity, &spot.name))
    }

    /// Zones and hosts repeat among many relatives: keeps one of each.
    fn compact(&mut self) {
        for list in [&mut self.together, &mut self.apart] {
            let mut seen: BTreeSet<(Scope, RegionId, Option<ZoneId>, HostId)> = BTreeSet::new();
            list.retain(|(scope, spot)| {
                let host = if *scope == Scope::Host { spot.host.clone() } else { HostId::default() };
                let zone = if *scope == Scope::Region { None } else { spot.zone.clone() };
                seen.insert((*scope, spot.region.clone(), zone, host))
            });
        }
    }
}

pub(crate) fn zone_of(view: &Federation, region: &RegionId, host: &HostId) -> Option<ZoneId> {
    view.regions.get(region)?.hosts.get(host).map(|host| host.facts.zone.clone())
}
