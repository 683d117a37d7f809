//! Which regions to declare lost, and which to take back.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::{Core, Freeze, Region, Standing};
use dwcp_types::{Code, Refusal, RegionId, Wall};

/// Who hears whom, as gathered from the beats of all regions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LossView {
    /// Whose view it is.
    pub proposer: RegionId,
    /// The proposer's wall clock, for the hourly cap.
    pub now: Wall,
    /// By observer, then subject: for how long the observer has heard nothing of the subject, in milliseconds.
    pub hearing: BTreeMap<RegionId, BTreeMap<RegionId, u64>>,
    /// By observer, then subject: for how long it has heard it without a gap, in milliseconds. For returns, and to know how
    /// long the proposer has been in touch with whoever attests a silence.
    pub heard_for: BTreeMap<RegionId, BTreeMap<RegionId, u64>>,
    /// Hosts of a region that were heard of recently, by anybody, other than through the region's own control plane.
    pub hosts_heard: BTreeMap<RegionId, u64>,
    /// Regions in which VMs live; a returned region without any need not be lost again.
    pub populated: BTreeSet<RegionId>,
    /// The regions that vote.
    pub voters: Vec<RegionId>,
}

/// A region that a majority can't hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossVerdict {
    /// Which.
    pub region: RegionId,
    /// Its epoch, for the command.
    pub epoch: u64,
    /// Who can't hear it.
    pub witnesses: Vec<RegionId>,
    /// The shortest silence among the witnesses, in milliseconds.
    pub silent_ms: u64,
    /// Why it must not be declared lost all the same: frozen, or the hourly cap.
    pub refusal: Option<Refusal>,
}

/// A lost region that a majority hears again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnVerdict {
    /// Which.
    pub region: RegionId,
    /// Its epoch, for the command.
    pub epoch: u64,
    /// Who hears it.
    pub witnesses: Vec<RegionId>,
}

impl LossView {
    fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    fn silent_ms(&self, observer: &RegionId, subject: &RegionId) -> Option<u64> {
        self.hearing.get(observer)?.get(subject).copied()
    }

    /// True when the proposer has heard an observer for as long as the silence that it attests. Otherwise that silence may
    /// be from before a cut healed, and the word that it is over still on its way.
    fn is_in_touch(&self, observer: &RegionId, limit_ms: u64) -> bool {
        let heard_ms = || self.heard_for.get(&self.proposer).and_then(|heard| heard.get(observer)).copied();
        *observer == self.proposer || heard_ms().is_some_and(|ms| ms >= limit_ms)
    }

    /// True when an observer hears a majority of the voters, itself among them. One that doesn't is cut off: its silence
    /// says something about itself.
    fn is_connected(&self, observer: &RegionId, limit_ms: u64) -> bool {
        let hears = |voter: &&RegionId| {
            *voter == observer || self.silent_ms(observer, voter).is_some_and(|silent| silent < limit_ms)
        };
        self.voters.iter().filter(hears).count() >= self.majority()
    }
}

/// Regions that a majority of all voters has not heard of for the policy's time, and none of whose hosts was heard of.
///
/// A region can't witness its own silence, an observer that is cut off or was until just now is no witness, and what was not
/// reported is not silence. Nothing is returned while automatic failover is switched off.
pub fn regions_to_declare_lost(core: &Core, view: &LossView) -> Vec<LossVerdict> {
    let mut verdicts = Vec::new();
    if !core.policy.auto_failover {
        return verdicts;
    }
    let mut begun = core.automatic_failovers_in_hour(view.now);
    for region in core.regions.values().filter(|region| may_be_lost(core, view, region)) {
        let limit_ms = core.policy.loss_after_ms;
        let witnesses: Vec<RegionId> = view
            .voters
            .iter()
            .filter(|observer| **observer != region.id)
            .filter(|observer| view.silent_ms(observer, &region.id).is_some_and(|ms| ms >= limit_ms))
            .filter(|observer| view.is_connected(observer, limit_ms))
            .filter(|observer| view.is_in_touch(observer, limit_ms))
            .cloned()
            .collect();
        if view.voters.is_empty() || witnesses.len() < view.majority() {
            continue;
        }
        let silent_ms = witnesses.iter().filter_map(|observer| view.silent_ms(observer, &region.id)).min();
        let refusal = refusal(core, region, begun);
        if refusal.is_none() {
            begun += 1;
        }
        verdicts.push(LossVerdict {
            region: region.id.clone(),
            epoch: region.epoch,
            witnesses,
            silent_ms: silent_ms.unwrap_or(limit_ms),
            refusal,
        });
    }
    verdicts
}

fn may_be_lost(core: &Core, view: &LossView, region: &Region) -> bool {
    let standing = match region.standing {
        Standing::Present => true,
        Standing::Returned => view.populated.contains(&region.id),
        Standing::Lost => false,
    };
    // Hosts that are heard of run their VMs: the region is unreachable in part, not lost.
    let hosts_heard = view.hosts_heard.get(&region.id).copied().unwrap_or(0);
    standing && region.takes_part() && hosts_heard == 0 && core.running_failover(&region.id).is_none()
}

fn refusal(core: &Core, region: &Region, begun: usize) -> Option<Refusal> {
    if core.freeze != Freeze::Active {
        return Some(
            Refusal::new(Code::Frozen, format!("{} is silent and not failed over", region.id))
                .because(format!("the freeze switch is {:?}", core.freeze))
                .try_this("dwcp-cli federation freeze active"),
        );
    }
    let cap = core.policy.failovers_per_hour as usize;
    (begun >= cap).then(|| {
        Refusal::new(Code::HourlyCap, format!("{} is silent and not failed over", region.id))
            .because(format!("{begun} regions were failed over within the hour; {cap} are allowed"))
            .try_this(format!("dwcp-cli federation failover --from-region {}", region.id))
    })
}

/// Lost regions that a majority of all voters has heard without a gap for the policy's time, and whose failover has ended.
pub fn regions_to_return(core: &Core, view: &LossView) -> Vec<ReturnVerdict> {
    let lost = core.regions.values().filter(|region| region.standing == Standing::Lost);
    lost.filter(|region| core.running_failover(&region.id).is_none())
        .filter_map(|region| {
            let heard = |observer: &&RegionId| {
                let heard_ms = view.heard_for.get(*observer).and_then(|subjects| subjects.get(&region.id));
                **observer != region.id && heard_ms.is_some_and(|ms| *ms >= core.policy.return_after_ms)
            };
            let witnesses: Vec<RegionId> = view.voters.iter().filter(heard).cloned().collect();
            // The region can't witness its own return, so in a federation of two the other one has to do.
            let others = view.voters.iter().filter(|voter| **voter != region.id).count();
            let needed = view.majority().min(others).max(1);
            (witnesses.len() >= needed).then(|| ReturnVerdict {
                region: region.id.clone(),
                epoch: region.epoch,
                witnesses,
            })
        })
        .collect()
}
