//! The federation as it is configured now, in one document: what a simulator needs to run it.

use std::collections::BTreeMap;

use crate::Freshness;
use crate::policy::Policies;
use crate::vm::Vm;

endpoint! {
    #[doc = "Regions, hosts, VMs with their rules, policies and measured round trips, as one document."]
    ConfigurationRead: Get "/v1/configuration", Read, crate::page::Nothing => Configuration;
}

wire! {
    /// A region as it is set.
    #[derive(Eq)]
    pub struct ConfiguredRegion {
        pub region: String,
        /// From 1; the first five vote in every group.
        pub number: u64,
        /// In service: enabled, and there.
        pub active: bool,
        /// New VMs may be placed.
        pub placement: bool,
        /// 0 to 100.
        pub priority: u32,
        pub compliance: Vec<String>,
        pub jurisdiction: String,
        /// Millionths of a US dollar an hour.
        pub vcpu_micros: u64,
        pub memory_gib_micros: u64,
        pub disk_gib_micros: u64,
    }

    /// A host as it is there.
    #[derive(Eq)]
    pub struct ConfiguredHost {
        pub host: String,
        pub region: String,
        pub zone: String,
        pub labels: BTreeMap<String, String>,
        /// What the machine has, before overcommitment.
        pub vcpus: u32,
        pub memory_mib: u64,
        pub disk_gib: u64,
        /// It is heard and takes VMs.
        pub up: bool,
    }

    /// A way between two regions.
    #[derive(Eq)]
    pub struct Way {
        pub from: String,
        pub to: String,
        /// Median as measured, rounded up.
        pub rtt_ms: u64,
    }

    /// All of it.
    pub struct Configuration {
        pub federation: String,
        pub regions: Vec<ConfiguredRegion>,
        pub hosts: Vec<ConfiguredHost>,
        /// VMs that are wanted, without copies of drills.
        pub vms: Vec<Vm>,
        pub policies: Policies,
        /// Ways that were measured.
        pub ways: Vec<Way>,
        pub as_of: Vec<Freshness>,
    }
}
