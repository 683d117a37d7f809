//! What the facts say of each VM that is to be up.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{
    Failover, Federation, Health, HostStanding, Migration, MigrationState, Mode, Phase, RegionFacts,
    Standing, Vm, Want, Window,
};
use dwcp_types::{FailoverId, Generation, HostId, RegionId, VmId, Wall};

use super::Times;

/// Longest cause, characters.
const CAUSE_MOST: usize = 120;
/// What moved a VM is looked for among what ended so long ago at most, ms.
const LATELY_MS: u64 = 3_600_000;

/// Whether it is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It serves since then, as far as the facts tell.
    Up { since: Wall },
    /// It has not served since then.
    Down { since: Wall, cause: String, failover: Option<FailoverId> },
    /// It runs, and nobody has asked it yet whether it serves.
    Untold,
}

/// A VM that is to be up. VMs that are to be stopped or gone, and those of drills, have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    pub vm: VmId,
    pub name: String,
    pub tenant: String,
    /// Where it is, or was until it was lost.
    pub region: RegionId,
    pub host: HostId,
    pub created_at: Wall,
    /// The guest's boot; empty when it is not known.
    pub boot_id: String,
    pub stand: Stand,
}

/// How long a guest stood still while it moved: down in the time before `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub vm: VmId,
    pub at: Wall,
    pub ms: u64,
}

/// Everything that an account is made from, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sights {
    pub vms: Vec<Sight>,
    pub pauses: Vec<Pause>,
    pub planned: Planned,
}

/// When work on regions and hosts was or is planned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned(BTreeMap<(RegionId, Option<HostId>), Times>);

impl Planned {
    /// Of windows that have begun or will.
    pub fn new<'a>(windows: impl IntoIterator<Item = &'a Window>) -> Planned {
        let mut all: BTreeMap<_, Vec<(Wall, Wall)>> = BTreeMap::new();
        for window in windows {
            let until = window.cancelled_at.map_or(window.ends_at, |at| at.min(window.ends_at));
            let of = (window.region.clone(), window.host.clone());
            all.entry(of).or_default().push((window.starts_at, until));
        }
        Planned(all.into_iter().map(|(of, times)| (of, Times::new(times))).collect())
    }

    /// When work on a host, or on its region, is planned.
    pub fn of(&self, region: &RegionId, host: &HostId) -> Times {
        if self.0.is_empty() {
            return Times::default();
        }
        let found = [None, Some(host.clone())].map(|host| self.0.get(&(region.clone(), host)));
        found.into_iter().flatten().fold(Times::default(), |all, times| all.or(times))
    }
}

/// What the facts say at `now`, with the pauses of moves that ended after `after`.
pub fn sights(facts: &Federation, after: Wall, now: Wall) -> Sights {
    let mut found: BTreeMap<VmId, (&RegionId, &Vm, bool)> = BTreeMap::new();
    for (name, of) in &facts.regions {
        let here = of.vms.values().map(|vm| (vm, false));
        let leaving = of.departures.values().map(|departure| (&departure.vm, true));
        for (vm, leaves) in here.chain(leaving) {
            // One that has arrived may still be on its way by the facts of where it came from.
            let newer =
                |known: &(&RegionId, &Vm, bool)| (known.1.generation, !known.2) >= (vm.generation, !leaves);
            if !found.get(&vm.id).is_some_and(newer) {
                found.insert(vm.id, (name, vm, leaves));
            }
        }
    }
    let wanted = found.into_values().filter(|(_, vm, _)| vm.want == Want::Running && vm.drill.is_none());
    let moves = Moves::new(facts, now);
    let vms = wanted.map(|(region, vm, leaves)| Sight {
        vm: vm.id,
        name: vm.name.clone(),
        tenant: vm.tenant.clone(),
        region: region.clone(),
        host: vm.host.clone(),
        created_at: vm.created_at,
        boot_id: vm.observed.boot_id.clone(),
        stand: stand(facts, &moves, &facts.regions[region], vm, leaves),
    });
    let ended = facts.regions.values().flat_map(|of| of.migrated.iter());
    let pause = |one: &Migration| {
        let at = one.ended_at.filter(|at| *at > after)?;
        let still = is_live(one) && one.took.downtime_ms > 0;
        still.then_some(Pause { vm: one.vm, at, ms: one.took.downtime_ms })
    };
    let planned = Planned::new(facts.core.windows.values());
    Sights { vms: vms.collect(), pauses: ended.filter_map(pause).collect(), planned }
}

fn is_live(one: &Migration) -> bool {
    one.mode == Mode::Live && one.state == MigrationState::Done
}

fn down(since: Wall, cause: impl Into<String>) -> Stand {
    Stand::Down { since, cause: cause.into().chars().take(CAUSE_MOST).collect(), failover: None }
}

fn stand(facts: &Federation, moves: &Moves<'_>, of: &RegionFacts, vm: &Vm, leaves: bool) -> Stand {
    if let Some(lost) = lost_region(facts, of) {
        return lost;
    }
    if leaves || vm.observed.generation != vm.generation {
        return under_way(moves, of, vm);
    }
    let host = of.hosts.get(&vm.host).filter(|host| host.standing == HostStanding::Lost);
    if let Some(host) = host {
        return down(host.standing_since, format!("host {} was lost", vm.host));
    }
    let seen = &vm.observed;
    match (seen.phase, seen.health) {
        _ if vm.serves() => Stand::Up { since: seen.at },
        (Phase::Running, Health::Unhealthy) => down(seen.at, "it does not answer"),
        (Phase::Running, _) => Stand::Untold,
        (phase, _) if seen.reason.is_empty() => down(seen.at, format!("{phase:?}").to_lowercase()),
        (phase, _) => down(seen.at, format!("{}: {}", format!("{phase:?}").to_lowercase(), seen.reason)),
    }
}

/// Everything in a region that is lost is down since it was last heard.
fn lost_region(facts: &Federation, of: &RegionFacts) -> Option<Stand> {
    let record = facts.core.regions.get(&of.name).filter(|record| record.standing == Standing::Lost)?;
    let failover = facts.core.failovers.values().rev().find(|one| one.from == of.name);
    let failover = failover.filter(|one| one.ended_at.is_none_or(|at| at >= record.standing_since));
    let since = failover.map_or(record.standing_since, |one| one.first_missed_at.min(record.standing_since));
    Some(Stand::Down {
        since,
        cause: format!("region {} was lost", of.name),
        failover: failover.map(|one| one.id),
    })
}

/// What gave VMs the generation that they have, lately.
struct Moves<'a> {
    failovers: BTreeMap<(VmId, Generation), &'a Failover>,
    live: BTreeSet<(VmId, Generation)>,
}

impl Moves<'_> {
    fn new(facts: &Federation, now: Wall) -> Moves<'_> {
        let lately = |ended: Option<Wall>| ended.is_none_or(|at| now.ms_since(at) < LATELY_MS);
        let failovers = facts.core.failovers.values().filter(|one| lately(one.ended_at));
        let migrated = facts.regions.values().flat_map(|of| of.migrated.iter().rev());
        let live = migrated.filter(|one| is_live(one) && lately(one.ended_at));
        Moves {
            failovers: failovers
                .flat_map(|one| one.vms.iter().map(move |vm| ((vm.vm, vm.generation), one)))
                .collect(),
            live: live.map(|one| (one.vm, one.generation)).collect(),
        }
    }
}

/// It has a new place, or is to get one, and has not been seen there.
fn under_way(moves: &Moves<'_>, of: &RegionFacts, vm: &Vm) -> Stand {
    let move_of = (vm.id, vm.generation);
    if let Some(failover) = moves.failovers.get(&move_of) {
        return Stand::Down {
            since: failover.first_missed_at,
            cause: format!("failover of {}", failover.from),
            failover: Some(failover.id),
        };
    }
    if moves.live.contains(&move_of) {
        // It never stopped but for a moment, which its hypervisor measured.
        return Stand::Up { since: vm.placed_at };
    }
    let since = of.departures.get(&vm.id).map_or(vm.placed_at, |departure| departure.at);
    down(since, "it is being started in another place")
}
