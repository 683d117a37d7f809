//! What hosts really use, as their agents say it: of single hosts where their group is led, and summed up everywhere.

use std::collections::BTreeMap;

use dwcp_state::Migration;
use dwcp_types::{GroupId, HostId, Mono, RegionId, VmId, wire_struct};

use super::{Beat, Node};
use crate::protocol::{ImageHere, TransferReport, Usage, VmReport};

/// Hosts that one beat speaks of: those of a large region take their turns.
const HOSTS_A_BEAT: usize = 32;

/// What the leader of a host's group says of it to the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostWord {
    /// Its group.
    pub group: GroupId,
    /// Which.
    pub host: HostId,
    /// How long ago its agent was heard, ms.
    pub heard_ms: u64,
    /// What is left of its lease, ms; none: no lease.
    pub lease_left_ms: Option<u64>,
    /// What it uses; none: its agent has not said.
    pub usage: Option<Usage>,
    /// VMs that are being copied from it to other hosts.
    pub transfers: Vec<(VmId, TransferReport)>,
    /// Every image on it.
    pub images: Vec<ImageHere>,
}
wire_struct!(HostWord { 1 group, 2 host, 3 heard_ms, 4 lease_left_ms, 5 usage, 6 transfers, 130 images });

/// What others said of their hosts, and whose turn it is to be spoken of here.
#[derive(Default)]
pub(super) struct HostWords {
    said: BTreeMap<(GroupId, HostId), (HostWord, Mono)>,
    spoken: Option<(GroupId, HostId)>,
}

/// A host as the leader of its group knows it, at this moment or when it said so last.
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
    /// A host as it is now; none where nobody who leads its group has said anything of it.
    pub fn host_now(&self, group: GroupId, host: &HostId) -> Option<HostNow> {
        let key = (group, host.clone());
        if !self.leads(group) {
            let (word, at) = self.host_words.said.get(&key)?;
            let age_ms = self.now.mono.ms_since(*at);
            return Some(HostNow {
                heard_ms: word.heard_ms.saturating_add(age_ms),
                lease_left_ms: word.lease_left_ms.and_then(|ms| ms.checked_sub(age_ms)),
                usage: word.usage,
            });
        }
        let session = self.leases.hosts.get(&key)?;
        let lease_ms = self.config.lease_ms;
        let since_grant = self.leases.granted_at(&key).map(|at| self.now.mono.ms_since(at));
        Some(HostNow {
            heard_ms: self.now.mono.ms_since(session.heard),
            lease_left_ms: since_grant.and_then(|ms| lease_ms.checked_sub(ms)),
            usage: session.usage,
        })
    }

    /// How far the copy of a VM of a group is, as its host said last; none where nobody has heard of it.
    pub fn transfer_of(&self, group: GroupId, migration: &Migration) -> Option<&TransferReport> {
        let key = (group, migration.from_host.clone());
        let transfer = if self.leads(group) {
            self.leases.hosts.get(&key)?.reports.get(&migration.vm)?.transfer.as_ref()
        } else {
            let (word, _) = self.host_words.said.get(&key)?;
            word.transfers.iter().find(|(vm, _)| *vm == migration.vm).map(|(_, report)| report)
        };
        transfer.filter(|transfer| transfer.migration == migration.id.0)
    }

    /// The images of a host, as it said last; none where nobody has heard of them.
    pub fn images_on(&self, group: GroupId, host: &HostId) -> &[ImageHere] {
        let key = (group, host.clone());
        if self.leads(group) {
            return self.leases.hosts.get(&key).and_then(|session| session.images.as_deref()).unwrap_or(&[]);
        }
        self.host_words.said.get(&key).map_or(&[], |(word, _)| word.images.as_slice())
    }

    /// Words on the next hosts in turn, of all that this node leads.
    pub(super) fn next_host_words(&mut self) -> Vec<HostWord> {
        use std::ops::Bound::{Excluded, Unbounded};
        let hosts = &self.leases.hosts;
        let after = self.host_words.spoken.take().map_or(Unbounded, Excluded);
        let behind = hosts.range((after.clone(), Unbounded));
        let turn = behind.chain(hosts.iter()).map(|(key, _)| key);
        let turn: Vec<_> = turn.take(HOSTS_A_BEAT.min(hosts.len())).cloned().collect();
        self.host_words.spoken = turn.last().cloned();
        let word = |(group, host): (GroupId, HostId)| {
            let HostNow { heard_ms, lease_left_ms, usage } = self.host_now(group, &host)?;
            let session = self.leases.hosts.get(&(group, host.clone()))?;
            let transfer = |(vm, report): (&VmId, &VmReport)| Some((*vm, report.transfer.clone()?));
            let transfers = session.reports.iter().filter_map(transfer).collect();
            let images = session.images.clone().unwrap_or_default();
            Some(HostWord { group, host, heard_ms, lease_left_ms, usage, transfers, images })
        };
        turn.into_iter().filter_map(word).collect()
    }

    /// Keeps what another node says of hosts that exist.
    pub(super) fn hear_host_words(&mut self, words: &[HostWord]) {
        let facts = &self.facts;
        let exists = |(group, host): &(GroupId, HostId)| {
            let region = facts.region_of(*group).and_then(|region| facts.regions.get(region));
            region.is_some_and(|region| region.hosts.contains_key(host))
        };
        for word in words {
            let key = (word.group, word.host.clone());
            if exists(&key) {
                self.host_words.said.insert(key, (word.clone(), self.now.mono));
            }
        }
        let hosts: usize = facts.regions.values().map(|region| region.hosts.len()).sum();
        if self.host_words.said.len() > hosts {
            self.host_words.said.retain(|key, _| exists(key));
        }
    }

    /// What the hosts of a region use together and how old the newest word of it is in ms; none: nobody has said.
    pub fn region_usage(&self, region: &RegionId) -> Option<(Usage, u64)> {
        if let Some(usage) = self.facts.group_of(region).and_then(|group| self.led_usage(group)) {
            return Some((usage, 0));
        }
        let said = |beat: &Beat| beat.usage.get(region).copied();
        let views = self.peers().values();
        views
            .filter_map(|view| Some((said(view.beat.as_ref()?)?, self.now.mono.ms_since(view.told))))
            .min_by_key(|(_, age_ms)| *age_ms)
    }

    /// Usage of every region whose group this node leads.
    pub(super) fn led_usages(&self) -> BTreeMap<RegionId, Usage> {
        let regions = self.regions.iter();
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
