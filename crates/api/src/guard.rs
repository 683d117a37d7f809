//! Who is kept out at the routers: attacks, blocks, exceptions, and the traffic they are seen in.

use std::collections::BTreeMap;

use crate::Freshness;
use crate::routing::Named;
use crate::site::Setting;

endpoint! {
    #[doc = "What is kept out, by what rules, and what routers did."]
    GuardRead: Get "/v1/guard", Read, GuardReadRequest => Guard;
    #[doc = "Sets what is too much and what routers do by themselves then; what is not given stays as it is."]
    GuardConfigure: Post "/v1/guard/configure", Operate, GuardConfigureRequest => GuardConfigured;
    #[doc = "Keeps somebody out, or slows them down, for a time."]
    BlockAdd: Post "/v1/guard/block", Operate, BlockAddRequest => BlocksChanged;
    #[doc = "Ends blocks before their time, those that routers made by themselves too."]
    BlockRemove: Post "/v1/guard/unblock", Operate, BlockRemoveRequest => BlocksChanged;
    #[doc = "Somebody is never blocked, limited or challenged, or is no longer excepted."]
    WhitelistChange: Post "/v1/guard/whitelist", Operate, WhitelistChangeRequest => BlocksChanged;
    #[doc = "Attacks that go on and those that are over, the newest first."]
    AttackList: Get "/v1/attacks", Read, AttackListRequest => Attacks;
    #[doc = "Judges an attack anew: real or a false positive, with the evidence."]
    AttackValidate: Get "/v1/attacks/{attack}/validate", Read, AttackValidateRequest => AttackVerdict;
    #[doc = "Who sends how much to which service, now and since a while, and what was kept out."]
    TrafficRead: Get "/v1/traffic", Read, TrafficReadRequest => TrafficSeen, measured;
}

request! {
    /// Nothing to say.
    pub struct GuardReadRequest {}

    /// What is too much; `null`: as it is.
    pub struct GuardConfigureRequest {
        /// Routers block by themselves; otherwise they only tell.
        pub automatic: Option<bool>,
        /// Requests of one source in a second.
        pub threshold_requests: Option<u32>,
        /// New connections of one source in a second.
        pub threshold_connections: Option<u32>,
        /// Bytes of one source in a second, both ways.
        pub threshold_bytes: Option<u32>,
        /// How many times as much a /24 (IPv6: /48), an autonomous system, a country, a path and a service may have.
        pub prefix_factor: Option<u32>,
        pub asn_factor: Option<u32>,
        pub country_factor: Option<u32>,
        pub path_factor: Option<u32>,
        pub service_factor: Option<u32>,
        /// Of a source's requests, percent, that may fail.
        pub error_percent: Option<u32>,
        /// Clients of one source in a second that are cut off for slowness.
        pub slow_clients: Option<u32>,
        /// HTTP/2 streams that one source may reset in a second.
        pub resets: Option<u32>,
        /// How long an automatic block lasts.
        pub block_ms: Option<u64>,
        /// Work of a challenge: zero bits, each doubles it.
        pub challenge_bits: Option<u8>,
        /// For how long a solved challenge counts.
        pub clearance_ms: Option<u64>,
        /// What routers may do by themselves from now on: `rate_limit`, `challenge_response`, `tarpit`, `blacklist`.
        #[serde(default)]
        pub actions_added: Vec<String>,
        #[serde(default)]
        pub actions_removed: Vec<String>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Whom to keep out.
    pub struct BlockAddRequest {
        /// Addresses, networks, `AS64500`, countries by two letters, `service:NAME`, `service:NAME/path`.
        pub who: Vec<String>,
        /// `rate_limit`, `challenge_response`, `tarpit`, `geo_block`, `blacklist`.
        pub action: String,
        /// It ends by itself after so long.
        pub duration_ms: u64,
        /// Requests a second that a rate limit lets through; `null`: the threshold, for each source.
        pub limit: Option<u32>,
        /// The attack that it is because of.
        pub attack: Option<String>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Whose blocks end.
    pub struct BlockRemoveRequest {
        /// As they were given, or a block's id.
        pub who: Vec<String>,
        /// Only blocks of this kind; `null`: all.
        pub action: Option<String>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Who is excepted.
    pub struct WhitelistChangeRequest {
        /// Addresses, networks, `AS64500`.
        pub who: Vec<String>,
        /// They are excepted no longer.
        #[serde(default)]
        pub remove: bool,
        /// `null`: until they are removed.
        pub duration_ms: Option<u64>,
        pub reason: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which attacks.
    pub struct AttackListRequest {
        /// Only those that went on within so long; `null`: all that are kept.
        pub since_ms: Option<u64>,
    }

    /// Which one.
    pub struct AttackValidateRequest {
        pub attack: String,
    }

    /// Since when.
    pub struct TrafficReadRequest {
        pub since_ms: Option<u64>,
        /// Only what this region's routers see.
        pub region: Option<String>,
    }
}

wire! {
    /// What is kept out.
    pub struct Guard {
        /// Routers block by themselves.
        pub automatic: bool,
        /// What they may do then.
        pub actions: Vec<String>,
        pub settings: Vec<Named>,
        /// The revision at which the settings were last changed; 0: never.
        pub revision: u64,
        pub by: String,
        pub at_ms: u64,
        pub attacks_active: u64,
        pub blocks: Vec<Blocked>,
        pub whitelist: Vec<Excepted>,
        pub routers: Vec<GuardRouter>,
        /// What is written down and can't be read by this version.
        pub complaints: Vec<String>,
        pub as_of: Vec<Freshness>,
    }

    /// Somebody who is kept out, or slowed down.
    #[derive(Eq)]
    pub struct Blocked {
        pub block: String,
        pub who: String,
        /// `rate_limit`, `challenge_response`, `tarpit`, `geo_block`, `blacklist`.
        pub action: String,
        /// Requests a second that are let through.
        pub limit: Option<u32>,
        /// Who said so: a person, or `router` and its name.
        pub by: String,
        pub reason: String,
        pub at_ms: u64,
        pub until_ms: u64,
        /// The attack that it is because of.
        pub attack: Option<String>,
    }

    /// Somebody who is never kept out.
    #[derive(Eq)]
    pub struct Excepted {
        pub who: String,
        pub by: String,
        pub reason: String,
        /// `null`: until it is removed.
        pub until_ms: Option<u64>,
    }

    /// What a router did, since its process began.
    #[derive(Eq)]
    pub struct GuardRouter {
        pub region: String,
        pub router: String,
        /// When it told that. Milliseconds since 1970 (UTC).
        pub at_ms: u64,
        pub attacks_active: u64,
        /// Blocks that it made by itself.
        pub blocks: u64,
        /// By what it did: `passed`, `denied` and so on.
        pub counts: BTreeMap<String, u64>,
    }

    /// The settings after a change (or as they would be, in a dry run).
    #[derive(Eq)]
    pub struct GuardConfigured {
        /// False: it was so already.
        pub changed: bool,
        pub settings: Vec<Setting>,
        /// What it does not mean.
        pub notes: Vec<String>,
    }

    /// Blocks or exceptions after a change (or as they would be, in a dry run).
    #[derive(Eq)]
    pub struct BlocksChanged {
        /// False: it was so already.
        pub changed: bool,
        /// Those that are new, or last longer.
        pub blocks: Vec<Blocked>,
        pub excepted: Vec<Excepted>,
        /// Whom nothing concerns any longer.
        pub ended: Vec<String>,
        /// What it does not mean.
        pub notes: Vec<String>,
    }

    /// An attack, or what looks like one.
    pub struct Attack {
        /// `attack-001`.
        pub attack: String,
        /// `http_flood`, `dns_flood`, `connection_flood`, `syn_flood`, `bandwidth`, `slow_clients`, `rapid_reset`, `scan`, `surge`.
        pub kind: String,
        /// Whom it comes from, or, when that are many, what it goes to.
        pub target: String,
        /// Empty: all of a router.
        pub service: String,
        /// Of a second.
        pub peak_rate: u64,
        /// Different sources, about.
        pub sources: u64,
        pub first_ms: u64,
        pub last_ms: u64,
        pub active: bool,
        /// `real`, `unclear`, `false_positive`.
        pub verdict: String,
        /// Routers that see it now.
        pub routers: Vec<String>,
        /// Blocks in force because of it.
        pub blocks: u64,
    }

    /// Attacks.
    pub struct Attacks {
        pub attacks: Vec<Attack>,
        pub complaints: Vec<String>,
        pub as_of: Vec<Freshness>,
    }

    /// An attack judged anew.
    pub struct AttackVerdict {
        pub attack: Attack,
        /// Why it is judged so.
        pub reasons: Vec<String>,
        /// What was measured at its peak, by name.
        pub evidence: Vec<Named>,
        /// What the service usually has at this hour, by name; empty: not learned yet.
        pub typical: Vec<Named>,
        /// Blocks in force because of it.
        pub blocks: Vec<Blocked>,
        /// A setting, and the value with which this would not have been detected; only for a false positive.
        pub suggested: Option<Named>,
        pub as_of: Vec<Freshness>,
    }

    /// What comes to the routers.
    pub struct TrafficSeen {
        /// How far back `flows` and `verdicts` look, ms.
        pub since_ms: u64,
        /// By service and region that it was sent to, since then.
        pub flows: Vec<TrafficFlow>,
        /// By service, in the last second.
        pub services: Vec<TrafficService>,
        /// The heaviest in the last second.
        pub sources: Vec<TrafficTalker>,
        pub networks: Vec<TrafficTalker>,
        pub asns: Vec<TrafficTalker>,
        pub countries: Vec<TrafficTalker>,
        /// What routers did with requests and connections since then, by name.
        pub verdicts: BTreeMap<String, u64>,
        /// Why something is missing.
        pub warnings: Vec<String>,
        pub as_of: Vec<Freshness>,
    }

    /// What went to a region.
    #[derive(Default)]
    pub struct TrafficFlow {
        pub service: String,
        pub region: String,
        pub requests: u64,
        pub errors: u64,
        /// Requests a second, on average.
        pub rate: f64,
        /// Of all requests to the service.
        pub share_percent: f64,
        pub bytes_up: u64,
        pub bytes_down: u64,
    }

    /// What a service has in a second.
    #[derive(Eq, Default)]
    pub struct TrafficService {
        pub service: String,
        pub requests: u64,
        pub errors: u64,
        pub bytes: u64,
        /// Different sources, about; those of several routers are added.
        pub sources: u64,
        /// What it usually has at this hour; `null`: not learned yet.
        pub usual: Option<u64>,
        pub top_path: String,
        pub top_path_percent: u32,
    }

    /// One of the heaviest, with what it has in a second.
    #[derive(Eq, Default)]
    pub struct TrafficTalker {
        pub who: String,
        pub requests: u64,
        pub connections: u64,
        pub bytes: u64,
        pub errors: u64,
        /// Of all requests.
        pub share_percent: u32,
    }
}
