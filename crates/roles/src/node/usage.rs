//! What hosts really use, as their agents say it: of single hosts where their group is led, and summed up everywhere.

use std::collections::BTreeMap;

use dwcp_types::{GroupId, HostId, RegionId};

use super::{Beat, Node};
use crate::protocol::Usage;

/// A host as the leader of its group knows it at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostNow {
    /// How long ago its agent was last heard, ms.
    pub heard_ms: u64,
    /// What is left of the lease granted last, ms; none: none was granted, or it is over.
    pub lease_left_ms: Option<u64>,
    /// What it uses; none: its agent has not said.
    pub usage: Option<Usage>,
}

impl Node {
    /// A host as it is now; none where this node does not lead its group or has not heard of it.
    pub fn host_now(&self, group: GroupId, host: &HostId) -> Option<HostNow> {
        if !self.leads(group) {
            return None;
        }
        let key = (group, host.clone());
        let session = self.leases.hosts.get(&key)?;
        let lease_ms = self.config.lease_ms;
        let since_grant = self.leases.granted_at(&key).map(|at| self.now.mono.ms_since(at));
        Some(HostNow {
            heard_ms: self.now.mono.ms_since(session.heard),
            lease_left_ms: since_grant.and_then(|ms| lease_ms.checked_sub(ms)),
            usage: session.usage,
        })
    }

    /// What the hosts of a region use together and how old the newest word of it is in ms; none: nobody has said.
    pub fn region_usage(&self, region: &RegionId) -> Option<(Usage, u64)> {
        if let Some(usage) = self.facts.group_of(region).and_then(|group| self.led_usage(group)) {
            return Some((usage, 0));
        }
        let said = |beat: &Beat| beat.usage.get(region).copied();
        let views = self.peers().values();
        views
            .filter_map(|view| Some((said(view.beat.as_ref()?)?, self.now.mono.ms_since(view.heard))))
            .min_by_key(|(_, age_ms)| *age_ms)
    }

    /// Usage of every region whose group this node leads.
    pub(super) fn led_usages(&self) -> BTreeMap<RegionId, Usage> {
        let regions = self.config.regions.iter();
        regions.filter_map(|(group, region)| Some((region.clone(), self.led_usage(*group)?))).collect()
    }

    fn led_usage(&self, group: GroupId) -> Option<Usage> {
        if !self.leads(group) {
            return None;
        }
        let hosts = self.leases.hosts.iter().filter(|((of, _), _)| *of == group);
        let heard =
            hosts.filter(|(_, session)| self.now.mono.ms_since(session.heard) < self.config.host_loss_ms);
        sum(heard.filter_map(|(_, session)| session.usage))
    }
}

/// Sums; processor time is the mean over the hosts.
fn sum(usages: impl Iterator<Item = Usage>) -> Option<Usage> {
    let mut count = 0;
    let mut sum = Usage::default();
    for usage in usages {
        count += 1;
        sum.cpu_percent = sum.cpu_percent.saturating_add(usage.cpu_percent);
        sum.memory_used_mib = sum.memory_used_mib.saturating_add(usage.memory_used_mib);
        sum.memory_total_mib = sum.memory_total_mib.saturating_add(usage.memory_total_mib);
        sum.disk_used_gib = sum.disk_used_gib.saturating_add(usage.disk_used_gib);
        sum.disk_total_gib = sum.disk_total_gib.saturating_add(usage.disk_total_gib);
    }
    sum.cpu_percent /= count.max(1);
    (count > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_added_up_and_processor_time_is_the_mean() {
        let of = |cpu_percent, memory_used_mib| Usage { cpu_percent, memory_used_mib, ..Usage::default() };
        let both = sum([of(10, 100), of(30, 50)].into_iter()).expect("two hosts");
        assert_eq!((both.cpu_percent, both.memory_used_mib), (20, 150));
        assert_eq!(sum(std::iter::empty()), None);
    }
}
