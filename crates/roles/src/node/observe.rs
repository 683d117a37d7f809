//! Turns what agents report into conclusions: only what changed enters the log.

use dwcp_state::{Command, Health, Observation, Observed, Phase, Want};
use dwcp_types::{Generation, GroupId, HostId};

use super::Node;
use crate::protocol::{self, VmReport};

/// A conclusion that was proposed is not proposed again before, ms.
const REPEAT_MS: u64 = 2_000;

impl Node {
    pub(super) fn conclude_reports(&mut self, group: GroupId, host: &HostId) {
        let Some(region) = self.facts.region_of(group) else { return };
        let facts = &self.facts.regions[region];
        let key = (group, host.clone());
        let Some(session) = self.leases.hosts.get(&key) else { return };
        let acted_on_newest = self.leases.place_of(group, host).is_some_and(|place| session.acted >= place);
        let mut seen = Vec::new();
        for vm in facts.vms_on(host) {
            match session.reports.get(&vm.id) {
                Some(report) => {
                    let observed = observed(report, self.now.wall);
                    // What was released is no longer this host's to speak of.
                    let ours = report.phase != protocol::Phase::Moved;
                    let news = ours && report.generation == vm.generation.0 && !same(&observed, &vm.observed);
                    if news {
                        seen.push(Observation { vm: vm.id, observed, gone: false });
                    }
                }
                None if vm.want == Want::Deleted && acted_on_newest => {
                    seen.push(Observation { vm: vm.id, observed: Observed::default(), gone: true });
                }
                None => {}
            }
        }
        let now = self.now.mono;
        let concluded = &mut self.leases.concluded;
        seen.retain(|seen| {
            let repeated = concluded
                .get(&seen.vm)
                .is_some_and(|(last, at)| same(last, &seen.observed) && now < at.plus_ms(REPEAT_MS));
            if !repeated {
                concluded.insert(seen.vm, (seen.observed.clone(), now));
            }
            !repeated
        });
        self.conclude_observed(group, host, seen);
        if self.leases.concluded.len() > 200_000 {
            self.leases.concluded.retain(|_, (_, at)| now < at.plus_ms(60_000));
        }
    }

    pub(super) fn conclude_observed(&mut self, group: GroupId, host: &HostId, seen: Vec<Observation>) {
        for part in self.parts(seen) {
            self.conclude(group, Command::Observe((host.clone(), part)));
        }
    }
}

/// Equal but for the time.
fn same(a: &Observed, b: &Observed) -> bool {
    (a.generation, a.phase, a.health, &a.boot_id, &a.address, &a.reason)
        == (b.generation, b.phase, b.health, &b.boot_id, &b.address, &b.reason)
}

fn observed(report: &VmReport, at: dwcp_types::Wall) -> Observed {
    Observed {
        generation: Generation(report.generation),
        phase: match report.phase {
            protocol::Phase::Pending => Phase::Pending,
            protocol::Phase::Starting => Phase::Starting,
            protocol::Phase::Running => Phase::Running,
            protocol::Phase::Paused => Phase::Paused,
            protocol::Phase::Stopping => Phase::Stopping,
            protocol::Phase::Stopped => Phase::Stopped,
            protocol::Phase::Failed => Phase::Failed,
            protocol::Phase::Moved => Phase::Stopped,
            protocol::Phase::Arriving => Phase::Starting,
        },
        health: match report.healthy {
            protocol::Health::Unknown => Health::Unknown,
            protocol::Health::Healthy => Health::Healthy,
            protocol::Health::Unhealthy => Health::Unhealthy,
        },
        boot_id: report.boot_id.clone(),
        address: report.address.clone(),
        reason: report.reason.clone(),
        at,
    }
}
