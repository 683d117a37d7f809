//! Which promised times the federation could not keep, as it is, and why.
//!
//! A promise is checked against a region that dies now without a word: each step until its VMs answer elsewhere gets the
//! longest time that it may take, from the policy, the measured round trips, the length of a lease, and the boots that
//! each host has to make. What each VM's disk would have lost is compared with how it is to be kept.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{
    DiskProof, Federation, Freeze, OperationKind, OperationState, ProtectionMode, RegionFacts, Standing, Vm,
    Want,
};
use dwcp_types::{HostId, RegionId, Wall};

use crate::failover::BOOT_MS;
use crate::{FailoverLimits, FailoverPlan, Measured, plan_failover};

/// Newest creations that the boot time is taken from, a region.
const BOOTS_LOOKED_AT: usize = 100;
/// A round trip that was not measured counts as this, ms: the longest of the links that the product is made for.
const UNMEASURED_RTT_MS: u64 = 309;
/// Decisions that follow each other between the fence and the first boot: planned, left, admitted.
const HAND_OVERS: u64 = 3;

/// Times that a controller works with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Between two beats, ms.
    pub beat_ms: u64,
    /// Between two looks at the facts, ms.
    pub look_ms: u64,
    /// From the last renewal that a dead leader may have confirmed until no lease of its hosts can hold, ms: the lease, the
    /// worst drift of clocks, and slack.
    pub fence_ms: u64,
    /// The latest that the last in the order of succession stands for election, ms.
    pub election_ms: u64,
    /// Regions whose replicas vote.
    pub voters: Vec<RegionId>,
    /// Those of them that are heard now.
    pub heard: BTreeSet<RegionId>,
    /// For the hourly cap.
    pub now: Wall,
}

/// How long a VM takes from when it is asked for until it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootTime {
    /// The median, ms.
    pub ms: u64,
    /// Of so many creations; 0: nothing was measured, and the time is assumed.
    pub measured: usize,
}

/// Boot times by region: of VMs that were created one at a time, from the request until each answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootTimes(BTreeMap<RegionId, Vec<u64>>);

impl BootTimes {
    /// Reads them from the operations of every region.
    pub fn of(view: &Federation) -> BootTimes {
        BootTimes(view.regions.iter().map(|(name, facts)| (name.clone(), boots(facts))).collect())
    }

    /// The median over all regions but one.
    fn without(&self, lost: &RegionId) -> BootTime {
        let others = self.0.iter().filter(|(region, _)| *region != lost);
        let mut all: Vec<u64> = others.flat_map(|(_, times)| times.iter().copied()).collect();
        all.sort_unstable();
        match all.get(all.len() / 2) {
            Some(ms) => BootTime { ms: *ms, measured: all.len() },
            None => BootTime { ms: BOOT_MS, measured: 0 },
        }
    }
}

fn boots(facts: &RegionFacts) -> Vec<u64> {
    let one = |kind: &OperationKind| matches!(kind, OperationKind::CreateVms(vms) if vms.len() == 1);
    let mut ended: Vec<(Wall, u64)> = facts
        .operations
        .values()
        .filter(|operation| operation.state == OperationState::Done && one(&operation.kind))
        .filter_map(|operation| Some((operation.ended_at?, operation.started_at)))
        .map(|(ended, started)| (ended, ended.ms_since(started)))
        .collect();
    ended.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(at.0));
    ended.into_iter().take(BOOTS_LOOKED_AT).map(|(_, ms)| ms).collect()
}

/// One step until VMs answer elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// `detect`, `agree`, `fence`, `hand over`, `boot`.
    pub name: &'static str,
    /// The longest it takes, ms, on top of the steps before it.
    pub ms: u64,
    /// What it is made of, with numbers.
    pub from: String,
}

/// What holds if one region dies now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionPromise {
    /// Which.
    pub region: RegionId,
    /// VMs to run that would move.
    pub vms: usize,
    /// Until the last of them answers, ms; none: they don't come back by themselves.
    pub rto_ms: Option<u64>,
    /// What that is made of, in order; empty when nothing would move.
    pub steps: Vec<Step>,
    /// What keeps the promise from being kept, with numbers; empty: it is kept.
    pub broken: Vec<String>,
    /// What would help, to type or to do; as many lines as there is something to say.
    pub helps: Vec<String>,
    /// Acknowledged changes of the region that would be lost, by time, ms: 0 while a majority of the voters is left without
    /// it; none: that is not so.
    pub rpo_ms: Option<u64>,
    /// VMs that would move with a disk that nobody asked to be copied: what they wrote is on their host alone.
    pub unprotected: usize,
    /// Of the VMs whose disk is to be copied and that have a copy to start from: by how much the oldest copy is behind, ms.
    pub disk_rpo_ms: Option<u64>,
    /// The boot time that was counted with.
    pub boot: BootTime,
}

/// Which promises hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    /// Promised from the cut to the last answer, ms.
    pub rto_target_ms: u64,
    /// Each region that is not lost already.
    pub regions: Vec<RegionPromise>,
    /// What was not measured and is assumed.
    pub assumed: Vec<String>,
}

/// Judges every promise, for the loss of each region that is not lost already.
pub fn promises(view: &Federation, measured: &Measured, timings: &Timings, boots: &BootTimes) -> Promises {
    let mut found = Promises { rto_target_ms: view.core.policy.rto_target_ms, ..Promises::default() };
    for region in view.core.regions.values().filter(|region| region.standing != Standing::Lost) {
        let case = Case { view, measured, timings, lost: &region.id };
        found.regions.push(case.judge(boots.without(&region.id)));
    }
    if found.regions.iter().any(|region| region.boot.measured == 0) {
        found.assumed.push(format!("a boot takes {}: no VM was created one at a time lately", secs(BOOT_MS)));
    }
    let missing = unmeasured(measured, timings);
    if !missing.is_empty() {
        found.assumed.push(format!(
            "{UNMEASURED_RTT_MS} ms of round trip where none was measured: {}",
            missing.join(", ")
        ));
    }
    found
}

fn unmeasured(measured: &Measured, timings: &Timings) -> Vec<String> {
    let mut missing = Vec::new();
    for (at, from) in timings.voters.iter().enumerate() {
        for to in &timings.voters[at + 1..] {
            if measured.rtt(from, to).is_none() {
                missing.push(format!("{from} to {to}"));
            }
        }
    }
    missing
}

/// One region's death.
struct Case<'a> {
    view: &'a Federation,
    measured: &'a Measured,
    timings: &'a Timings,
    lost: &'a RegionId,
}

impl Case<'_> {
    fn judge(&self, boot: BootTime) -> RegionPromise {
        let plan = plan_failover(self.view, self.measured, self.lost, &FailoverLimits::default());
        let mut promise = RegionPromise { region: self.lost.clone(), boot, ..RegionPromise::default() };
        let facts = self.view.regions.get(self.lost);
        let of = |vm| facts.and_then(|facts| facts.vms.get(vm));
        let moving: Vec<_> =
            plan.moves.iter().filter(|step| step.to.is_some()).filter_map(|step| of(&step.vm)).collect();
        promise.vms = moving.iter().filter(|vm| vm.want == Want::Running).count();
        promise.rpo_ms = (self.left() >= self.majority()).then_some(0);
        self.blocked(&mut promise);
        let blocked = !promise.broken.is_empty();
        self.without_a_place(&plan, &mut promise);
        self.disks(&moving, &mut promise);
        if promise.vms > 0 {
            self.walk(&plan, blocked, &mut promise);
        }
        promise
    }

    fn majority(&self) -> usize {
        self.timings.voters.len() / 2 + 1
    }

    /// Voters that are heard and stay.
    fn survivors(&self) -> Vec<&RegionId> {
        self.timings
            .voters
            .iter()
            .filter(|voter| *voter != self.lost && self.timings.heard.contains(*voter))
            .collect()
    }

    fn left(&self) -> usize {
        self.survivors().len()
    }

    /// What keeps anything from happening by itself.
    fn blocked(&self, promise: &mut RegionPromise) {
        let policy = &self.view.core.policy;
        let mut say = |broken: String, help: String| {
            promise.broken.push(broken);
            promise.helps.push(help);
        };
        if self.left() < self.majority() {
            say(
                format!(
                    "without it {} of {} voters are heard: {} are needed to declare it lost",
                    self.left(),
                    self.timings.voters.len(),
                    self.majority()
                ),
                "more regions that vote (at least three), or the silent ones back".to_string(),
            );
        }
        if !policy.auto_failover {
            say(
                "automatic failover is switched off: somebody has to start it".to_string(),
                "dwcp-cli federation policy set --auto-failover true".to_string(),
            );
        }
        if self.view.core.freeze != Freeze::Active {
            say(
                format!("the freeze switch is {}: nothing is failed over", self.view.core.freeze),
                "dwcp-cli federation freeze active".to_string(),
            );
        }
        let begun = self.view.core.automatic_failovers_in_hour(self.timings.now);
        if begun >= policy.failovers_per_hour as usize {
            say(
                format!(
                    "{begun} regions were failed over within the hour, {} are allowed",
                    policy.failovers_per_hour
                ),
                format!("dwcp-cli federation policy set --failovers-per-hour {}", begun + 1),
            );
        }
    }

    fn without_a_place(&self, plan: &FailoverPlan, promise: &mut RegionPromise) {
        let left = plan.left - plan.stay;
        if left > 0 {
            promise.broken.push(format!("{left} of its {} VMs have no place elsewhere", plan.moves.len()));
            promise.helps.push(format!("dwcp-cli federation survivability --region {}", self.lost));
        }
    }

    /// What each VM's disk would have lost, against how it is to be kept.
    fn disks(&self, moving: &[&Vm], promise: &mut RegionPromise) {
        let mut short = Vec::new();
        for vm in moving {
            let behind_ms = match vm.disk_proof() {
                DiskProof::Zero => Some(0),
                DiskProof::Point(point) => Some(self.timings.now.ms_since(point)),
                DiskProof::Unprotected if vm.is_protected() => None,
                DiskProof::Unprotected => {
                    promise.unprotected += 1;
                    continue;
                }
                DiskProof::Unknown | DiskProof::NoDisk => continue,
            };
            promise.disk_rpo_ms = promise.disk_rpo_ms.max(behind_ms);
            // A copy is made anew each interval, and takes at most as long to be made.
            let may_ms = match vm.protection.mode {
                ProtectionMode::Async(interval_ms) => 2 * interval_ms,
                _ => 0,
            };
            if behind_ms.is_none_or(|ms| ms > may_ms) {
                let now = behind_ms.map_or("everything".to_string(), |ms| format!("{} of writes", secs(ms)));
                short.push(format!("{} ({}, would lose {now})", vm.name, vm.protection.mode));
            }
        }
        if !short.is_empty() {
            let count = short.len();
            short.truncate(3);
            promise.broken.push(format!("{count} disks are kept worse than asked for: {}", short.join(", ")));
            promise.helps.push("dwcp-cli federation protection status".to_string());
        }
    }

    /// A round trip between two regions, ms.
    fn rtt(&self, from: &RegionId, to: &RegionId) -> u64 {
        self.measured.rtt(from, to).unwrap_or(UNMEASURED_RTT_MS)
    }

    /// From the survivor from which it takes longest: a round trip to the nearest majority, and to the farthest survivor, ms.
    fn round_trips(&self) -> (u64, u64) {
        let survivors = self.survivors();
        let (mut quorum, mut farthest) = (0, 0);
        for leader in &survivors {
            let mut rtts: Vec<u64> = survivors.iter().map(|voter| self.rtt(leader, voter)).collect();
            rtts.sort_unstable();
            // Its own replica is the first, at no distance.
            quorum = quorum.max(rtts.get(self.majority() - 1).copied().unwrap_or(0));
            farthest = farthest.max(rtts.last().copied().unwrap_or(0));
        }
        (quorum, farthest)
    }

    fn walk(&self, plan: &FailoverPlan, blocked: bool, promise: &mut RegionPromise) {
        let Timings { beat_ms, look_ms, fence_ms, election_ms, .. } = *self.timings;
        let (quorum_ms, farthest_ms) = self.round_trips();
        let loss_after_ms = self.view.core.policy.loss_after_ms;
        let way_ms = farthest_ms.div_ceil(2);
        let mut steps = Vec::new();
        let silent_ms = (loss_after_ms + beat_ms + way_ms + look_ms).max(election_ms);
        steps.push(Step {
            name: "detect",
            ms: silent_ms,
            from: format!(
                "a majority hears nothing for {loss_after_ms} ms, says so within a beat of {beat_ms} ms, {way_ms} ms away; \
                 a new leader stands within {election_ms} ms meanwhile"
            ),
        });
        let agree_ms = 2 * (quorum_ms + look_ms) + way_ms;
        steps.push(Step {
            name: "agree",
            ms: agree_ms,
            from: format!(
                "two commits of {quorum_ms} ms each (the loss, the end of leases), {way_ms} ms between their leaders, \
                 two looks of {look_ms} ms"
            ),
        });
        steps.push(Step {
            name: "fence",
            ms: fence_ms.saturating_sub(silent_ms + agree_ms),
            from: format!("leases may hold until {fence_ms} ms after the cut"),
        });
        steps.push(Step {
            name: "hand over",
            ms: HAND_OVERS * (quorum_ms + look_ms) + farthest_ms,
            from: format!(
                "{HAND_OVERS} commits of {quorum_ms} ms each, {farthest_ms} ms between their leaders, as many looks"
            ),
        });
        let (step, busiest) = self.boot(plan, promise.boot);
        steps.push(step);
        let rto_ms = steps.iter().map(|step| step.ms).sum();
        promise.rto_ms = (!blocked).then_some(rto_ms);
        promise.steps = steps;
        self.compare(rto_ms, &busiest, promise);
    }

    /// Boots wait for each other where a host has more of them than processors.
    fn boot(&self, plan: &FailoverPlan, boot: BootTime) -> (Step, String) {
        let mut on_host: BTreeMap<&(RegionId, HostId), u64> = BTreeMap::new();
        let of = self.view.regions.get(self.lost);
        let runs = |vm| of.and_then(|facts| facts.vms.get(vm)).is_some_and(|vm| vm.want == Want::Running);
        for step in plan.moves.iter().filter(|step| runs(&step.vm)) {
            if let Some(place) = &step.to {
                *on_host.entry(place).or_default() += 1;
            }
        }
        let turns = |(place, boots): (&&(RegionId, HostId), &u64)| {
            let host = self.view.regions.get(&place.0).and_then(|facts| facts.hosts.get(&place.1));
            let processors = host.map_or(1, |host| u64::from(host.facts.capacity.vcpus)).max(1);
            (boots.div_ceil(processors), *boots, processors)
        };
        let busiest = on_host.iter().map(|entry| (turns(entry), *entry.0)).max();
        let Some(((turns, boots, processors), place)) = busiest else {
            return (Step { name: "boot", ..Step::default() }, String::new());
        };
        let where_from = match boot.measured {
            0 => "assumed".to_string(),
            count => format!("the median of {count} creations"),
        };
        let host = format!("{} in {}", place.1, place.0);
        let from = format!(
            "{boots} VMs boot on {host}, the busiest host, which has {processors} processors: {turns} turns of {} ms ({where_from})",
            boot.ms
        );
        (Step { name: "boot", ms: turns * boot.ms, from }, host)
    }

    fn compare(&self, rto_ms: u64, busiest: &str, promise: &mut RegionPromise) {
        let target_ms = self.view.core.policy.rto_target_ms;
        if rto_ms <= target_ms {
            return;
        }
        let parts: Vec<String> =
            promise.steps.iter().map(|step| format!("{} {}", step.name, secs(step.ms))).collect();
        promise.broken.push(format!(
            "its VMs answer after {}, {} over the target of {}: {}",
            secs(rto_ms),
            secs(rto_ms - target_ms),
            secs(target_ms),
            parts.join(", ")
        ));
        let longest = promise.steps.iter().max_by_key(|step| step.ms).map_or("", |step| step.name);
        promise.helps.push(match longest {
            "detect" => "dwcp-cli federation policy set --loss-after 2500ms".to_string(),
            "boot" => format!("more hosts or processors elsewhere: {busiest} has the most to boot"),
            _ => {
                "voters nearer to each other, or a longer target: dwcp-cli federation policy set --rto-target"
                    .to_string()
            }
        });
    }
}

fn secs(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}
