//! A host: a machine that runs VMs under a lease.

use std::collections::BTreeMap;

use dwcp_types::{Amount, HostId, Revision, Wall, ZoneId};

/// Whether leases are granted to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostStanding {
    /// Registered and leased.
    #[default]
    Up,
    /// Silent: no lease is granted until it registers again. Its VMs may be taken over once the old lease has run out.
    Lost,
}

/// What a host says of itself when it registers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Its name.
    pub id: HostId,
    /// Its zone.
    pub zone: ZoneId,
    /// What it has for VMs, before overcommit.
    pub capacity: Amount,
    /// Free labels, which VM rules may require.
    pub labels: BTreeMap<String, String>,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// Version of its agent.
    pub version: String,
    /// Differs each time its agent (watchdog) starts anew.
    pub incarnation: u64,
    /// Where its agent takes VMs that move here and disks of other hosts, `ip:port`; empty: it does not.
    pub transfer: String,
}

/// A host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// What it said of itself.
    pub facts: HostFacts,
    /// Whether leases are granted to it.
    pub standing: HostStanding,
    /// Since when.
    pub standing_since: Wall,
    /// Whether new VMs may be placed on it.
    pub placement: bool,
    /// What the VMs placed on it take, and those that left it and may come back; kept by `apply`.
    pub used: Amount,
    /// The revision at which it last changed by intent; 0: an earlier version wrote it.
    pub revision: Revision,
}

impl Host {
    /// What may be placed on it in all, given overcommit in percent (150: 1.5 virtual CPUs for each real one).
    pub fn room(&self, cpu_overcommit_percent: u32, memory_overcommit_percent: u32) -> Amount {
        let capacity = self.facts.capacity;
        Amount {
            vcpus: (u64::from(capacity.vcpus) * u64::from(cpu_overcommit_percent) / 100) as u32,
            memory_mib: capacity.memory_mib * u64::from(memory_overcommit_percent) / 100,
            disk_gib: capacity.disk_gib,
        }
    }
}
