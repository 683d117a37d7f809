//! Regions come and go: hosts whose region is not there yet, and the steps by which a region comes in and leaves.

use crate::Freshness;
use crate::region::Lifecycle;

endpoint! {
    #[doc = "Lists hosts that are connected and whose region is not there."]
    PoolList: Get "/v1/pools", Read, PoolListRequest => Pools;
    #[doc = "Makes a region of a host pool: it gets a number, a group, and a node on one of the pool's hosts."]
    RegionDeploy: Post "/v1/regions/{region}/deploy", Administer, RegionDeployRequest => RegionDeployed;
    #[doc = "How far a region has come in, or has left."]
    MembershipRead: Get "/v1/regions/{region}/membership", Read, MembershipRequest => Membership;
    #[doc = "Gives a region replicas of every group."]
    RegionReplicate: Post "/v1/regions/{region}/replicate", Administer, RegionReplicateRequest => MembershipChanged;
    #[doc = "Lets a region go that is disabled and empty."]
    RegionRemove: Post "/v1/regions/{region}/remove", Administer, RegionRemoveRequest => MembershipChanged;
    #[doc = "Has the hosts of a region that has left stop its node and remove its keys and its state."]
    RegionCleanUp: Post "/v1/regions/{region}/clean-up", Administer, RegionCleanUpRequest => MembershipChanged;
}

request! {
    /// Which pools.
    pub struct PoolListRequest {
        /// Only hosts of this region; `null`: of all.
        pub region: Option<String>,
    }

    /// A region to deploy.
    pub struct RegionDeployRequest {
        pub region: String,
        /// Preferred in placement, 0 to 100; `null`: 50.
        pub priority: Option<u8>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which region.
    pub struct MembershipRequest {
        pub region: String,
    }

    /// A region that is to hold the state.
    pub struct RegionReplicateRequest {
        pub region: String,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// A region that has left.
    pub struct RegionCleanUpRequest {
        pub region: String,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// A region that is to go.
    pub struct RegionRemoveRequest {
        pub region: String,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// A host whose region is not there.
    #[derive(Eq)]
    pub struct PoolHost {
        /// The region that its certificate names.
        pub region: String,
        pub host: String,
        pub zone: String,
        pub vcpus: u64,
        pub memory_mib: u64,
        pub disk_gib: u64,
        /// `tcg` or `kvm`.
        pub accelerator: String,
        pub version: String,
        /// Where it would run its region's node, `ip:port`; `null`: it would not.
        pub control: Option<String>,
        /// How far it is with one: `nothing`, `certifying`, `running`, `waiting`, `stopping`.
        pub phase: String,
    }

    /// Every host that waits for its region.
    pub struct Pools {
        pub hosts: Vec<PoolHost>,
        pub as_of: Vec<Freshness>,
    }

    /// What a region was made of.
    #[derive(Eq)]
    pub struct RegionDeployed {
        pub region: String,
        /// Its number; `null` in a dry run.
        pub number: Option<u64>,
        /// The host that runs its node.
        pub host: String,
        /// Where the node listens.
        pub address: String,
        /// Hosts of its pool.
        pub hosts: u64,
        /// What they offer together.
        pub vcpus: u64,
        pub memory_mib: u64,
        pub disk_gib: u64,
    }

    /// One step on the way in.
    #[derive(Eq)]
    pub struct MembershipStep {
        /// `added`, `founded`, `node`, `replicas`, `enabled`.
        pub step: String,
        pub done: bool,
        pub detail: String,
    }

    /// How far a region is.
    #[derive(Eq)]
    pub struct Membership {
        pub region: String,
        pub number: u64,
        pub lifecycle: Lifecycle,
        /// It leaves, or is on its way to it.
        pub leaving: bool,
        /// The host whose agent runs its node; `null`: it is run otherwise.
        pub host: Option<String>,
        pub address: String,
        pub steps: Vec<MembershipStep>,
        pub as_of: Vec<Freshness>,
    }

    /// A region's membership as it is after a change (or would be, in a dry run).
    #[derive(Eq)]
    pub struct MembershipChanged {
        pub region: String,
        /// False: it was so already.
        pub changed: bool,
        pub notes: Vec<String>,
    }
}
