//! Everything that operators have set, in one document: what a backup of the configuration holds.

use std::collections::BTreeMap;

use crate::Freshness;
use crate::freeze::FreezeState;
use crate::protection::ProtectionWanted;

endpoint! {
    #[doc = "Everything that operators have set: regions, policies, backups, images, windows, protections; no secret and no state."]
    SettingsRead: Get "/v1/settings", Read, crate::page::Nothing => Settings;
}

wire! {
    /// Where operators have put a region.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum RegionPut { Active, Disabled, Joining, Leaving }

    /// A region as it is set.
    pub struct RegionSet {
        pub region: String,
        pub state: RegionPut,
        /// New VMs may be placed; what a maintenance window holds closed for its time counts as open.
        pub placement: bool,
        pub traffic_percent: u8,
        pub priority: u8,
        /// For people; empty: none.
        pub display_name: String,
        pub zones: Vec<String>,
        /// Degrees, north above 0; `null`: nobody said.
        pub latitude: Option<f64>,
        /// Degrees, east above 0.
        pub longitude: Option<f64>,
        /// 0: as many as fit.
        pub max_vms: u64,
        pub compliance: Vec<String>,
        pub jurisdiction: String,
        pub vcpu_usd_hour: f64,
        pub memory_gib_usd_hour: f64,
        pub disk_gib_usd_hour: f64,
        /// `ip:port`.
        pub endpoints: Vec<String>,
        /// Milliseconds since 1970 (UTC); `null`: its end is not announced.
        pub decommission_at_ms: Option<u64>,
        /// How many decide about its placements, its node's own among them; `null`: nothing is said of it.
        #[serde(default)]
        pub controllers: Option<u64>,
        /// How many routers serve its users, the one of its own settings among them; `null`: nothing is said of it.
        #[serde(default)]
        pub routers: Option<u64>,
    }

    /// A host as its own settings declare it.
    #[derive(Eq)]
    pub struct HostSet {
        pub host: String,
        pub region: String,
        pub zone: String,
        pub labels: BTreeMap<String, String>,
        /// For VMs, before overcommitment.
        pub vcpus: u32,
        pub memory_mib: u64,
        pub disk_gib: u64,
    }

    /// Policies.
    #[derive(Eq)]
    pub struct PolicySet {
        pub auto_failover: bool,
        pub loss_after_ms: u64,
        pub return_after_ms: u64,
        pub failovers_per_hour: u32,
        pub cpu_overcommit_percent: u32,
        pub memory_overcommit_percent: u32,
        pub rto_target_ms: u64,
    }

    /// Controllers.
    #[derive(Eq)]
    pub struct ControllerSet {
        pub placement_cache_ttl_ms: u64,
        pub parallel_scoring: bool,
        pub profile: String,
        /// Those of the profile `custom`, in use or not.
        pub weights: BTreeMap<String, u32>,
    }

    /// How state is replicated.
    #[derive(Eq)]
    pub struct ReplicationSet {
        pub replication_workers: u32,
        pub compression: bool,
        /// Of soft state.
        pub sync_interval_ms: u64,
    }

    /// How backups are made by themselves; the key is not here.
    #[derive(Eq)]
    pub struct BackupsSet {
        pub destination: String,
        pub interval_ms: u64,
        /// `null`: the newest `keep_last`.
        pub keep_within_ms: Option<u64>,
        pub keep_last: u32,
        /// `null`: as each server's dwcpd.yaml says.
        pub key_file: Option<String>,
    }

    /// An image of the catalogue.
    #[derive(Eq)]
    pub struct ImageSet {
        pub image: String,
        pub digest: String,
    }

    /// A maintenance window that is not over.
    #[derive(Eq)]
    pub struct WindowSet {
        /// `window-001`; empty in a backup, as one that is planned again has another number.
        #[serde(default)]
        pub window: String,
        pub region: String,
        /// `null`: the whole region.
        pub host: Option<String>,
        /// Milliseconds since 1970 (UTC).
        pub starts_at_ms: u64,
        pub ends_at_ms: u64,
        pub reason: String,
        pub no_placement: bool,
    }

    /// A VM whose disk is protected.
    #[derive(Eq)]
    pub struct VmProtectionSet {
        pub vm: String,
        pub protection: ProtectionWanted,
    }

    /// All of it.
    pub struct Settings {
        pub federation: String,
        pub regions: Vec<RegionSet>,
        pub hosts: Vec<HostSet>,
        pub policies: PolicySet,
        pub controller: ControllerSet,
        /// `null`: an older region answers.
        #[serde(default)]
        pub replication: Option<ReplicationSet>,
        pub freeze: FreezeState,
        /// `null`: none are made.
        pub backups: Option<BackupsSet>,
        pub images: Vec<ImageSet>,
        pub windows: Vec<WindowSet>,
        pub protections: Vec<VmProtectionSet>,
        pub as_of: Vec<Freshness>,
    }
}
