//! The peer: scores every host of every region for each VM, straight from the facts.

use dwcp_decide::Measured;
use dwcp_state::{Federation, HostStanding, Vm};
use dwcp_types::{Amount, HostId, RegionId};

/// The same weights as `balanced`, one pass over everything.
pub fn place(
    view: &Federation,
    measured: &Measured,
    users: &RegionId,
    vm: &Vm,
) -> Option<(RegionId, HostId)> {
    let size = vm.spec.size;
    let cheapest = view.core.regions.values().map(|region| region.monthly_cost_millis(size)).min()?;
    let mut best: Option<(f64, &RegionId, &HostId)> = None;
    for (name, facts) in &view.regions {
        let region = &view.core.regions[name];
        if !region.takes_placements() {
            continue;
        }
        let (cpu, memory) = facts.limits();
        let latency = measured.rtt(users, name).map_or(0.0, |ms| 1.0 - ms.min(400) as f64 / 400.0);
        let cost = cheapest as f64 / region.monthly_cost_millis(size).max(1) as f64;
        let health = f64::from(measured.health_of(name).unwrap_or(0)) / 100.0;
        let fixed = 0.30 * latency + 0.25 * cost + 0.15 * health + 0.10 * f64::from(region.priority) / 100.0;
        for (id, host) in &facts.hosts {
            let room = host.room(cpu, memory);
            let free = room.minus(host.used);
            if host.standing != HostStanding::Up || !host.placement || !size.fits(free) {
                continue;
            }
            let score = fixed + 0.20 * left(free.minus(size), room);
            if best.is_none_or(|(most, ..)| score > most) {
                best = Some((score, name, id));
            }
        }
    }
    best.map(|(_, region, host)| (region.clone(), host.clone()))
}

fn left(free: Amount, room: Amount) -> f64 {
    let share = |free: u64, room: u64| free as f64 / room.max(1) as f64;
    share(free.vcpus.into(), room.vcpus.into())
        .min(share(free.memory_mib, room.memory_mib))
        .min(share(free.disk_gib, room.disk_gib))
}
