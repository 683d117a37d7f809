//! Hosts.

use std::collections::BTreeMap;

use crate::maintenance::InMaintenance;
use crate::region::Usage;
use crate::{Freshness, Page};

endpoint! {
    #[doc = "Lists hosts."]
    HostList: Get "/v1/hosts", Read, HostListRequest => Page<Host>, watch;
    #[doc = "One host."]
    HostRead: Get "/v1/hosts/{host}", Read, HostReadRequest => HostAnswer;
}

request! {
    /// Which hosts to list.
    pub struct HostListRequest {
        pub region: Option<String>,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
        #[serde(default)]
        pub watch: bool,
    }

    /// Which host: id, or `region/name`.
    pub struct HostReadRequest {
        pub host: String,
    }
}

wire! {
    /// State of a host.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum HostState { Up, Draining, Silent, Fenced, Retired, Unknown }

    /// A host.
    pub struct Host {
        pub host: String,
        pub region: String,
        pub zone: Option<String>,
        pub state: HostState,
        pub labels: BTreeMap<String, String>,
        /// What a lease of this host still has to run; negative: over; `null`: not known here.
        pub lease_left_ms: Option<i64>,
        pub cpu: Usage,
        pub memory: Usage,
        pub storage: Usage,
        pub vms: u64,
        pub version: Option<String>,
        /// Milliseconds since it was last heard of; `null`: not known.
        pub silent_ms: Option<u64>,
        /// The maintenance window that the host is in; `null`: none.
        #[serde(default)]
        pub maintenance: Option<InMaintenance>,
        /// When the record last changed by intent: for `expected_revision`; only rises.
        pub revision: u64,
    }

    /// One host, with how old the answer is.
    pub struct HostAnswer {
        pub host: Host,
        /// VMs on it, ids.
        pub vms: Vec<String>,
        pub as_of: Vec<Freshness>,
    }
}
