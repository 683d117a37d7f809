//! What operators and the federation say about attackers. Kept as documents.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Country, Net};

/// What may be done with somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// So many requests a second are served, the others get 429.
    RateLimit,
    /// A browser solves a small puzzle by itself and is let in; others get 429.
    ChallengeResponse,
    /// Kept waiting, then closed.
    Tarpit,
    /// Nothing from there is served.
    GeoBlock,
    /// Nothing is served.
    Blacklist,
}

impl Action {
    /// All of them, the mildest first.
    pub const ALL: [Action; 5] =
        [Action::RateLimit, Action::ChallengeResponse, Action::Tarpit, Action::GeoBlock, Action::Blacklist];

    /// Its name, as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Action::RateLimit => "rate_limit",
            Action::ChallengeResponse => "challenge_response",
            Action::Tarpit => "tarpit",
            Action::GeoBlock => "geo_block",
            Action::Blacklist => "blacklist",
        }
    }
}

/// Whom something concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// One address, or the /64 of one IPv6 client.
    Ip(Net),
    /// A network.
    Cidr(Net),
    /// An autonomous system: what one provider announces.
    Asn(u32),
    Country(Country),
    /// Everybody who asks for a path of a service.
    Path {
        service: String,
        path: String,
    },
    /// Everybody who asks for anything of a service.
    Service(String),
}

impl Target {
    /// Its network, when it is one.
    pub fn net(&self) -> Option<Net> {
        match self {
            Target::Ip(net) | Target::Cidr(net) => Some(*net),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Ip(net) | Target::Cidr(net) => write!(f, "{net}"),
            Target::Asn(asn) => write!(f, "AS{asn}"),
            Target::Country(country) => write!(f, "{country}"),
            Target::Path { service, path } => write!(f, "{service}{path}"),
            Target::Service(service) => write!(f, "{service}"),
        }
    }
}

/// Somebody is kept out, or slowed down, for a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Block {
    pub id: String,
    pub what: Target,
    pub action: Action,
    /// Who said so: an owner, or `router` and its name.
    pub by: String,
    pub reason: String,
    pub at_ms: u64,
    /// It ends by itself then.
    pub until_ms: u64,
    /// The attack that it is because of.
    #[serde(default)]
    pub attack: Option<String>,
    /// For [`Action::RateLimit`]: requests a second that are served of all that it concerns together; none: the policy's
    /// threshold, for each source.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// Who is never blocked, limited or challenged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whitelisted {
    /// An address, a network or an autonomous system.
    pub what: Target,
    pub owner: String,
    #[serde(default)]
    pub reason: String,
    /// none: until it is removed.
    #[serde(default)]
    pub until_ms: Option<u64>,
}

/// What is too much, and what is done then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuardPolicy {
    /// Routers block by themselves; otherwise they only say what they would do.
    pub automatic: bool,
    /// Requests of one source in a second.
    pub threshold_requests: u32,
    /// New connections of one source in a second.
    pub threshold_connections: u32,
    /// Bytes of one source in a second, both ways.
    pub threshold_bytes: u32,
    /// How many times as much a /24 (IPv6: /48) may have.
    pub prefix_factor: u32,
    /// An autonomous system.
    pub asn_factor: u32,
    /// A country.
    pub country_factor: u32,
    /// A path, of everybody together.
    pub path_factor: u32,
    /// A service whose usual traffic has not been learned yet.
    pub service_factor: u32,
    /// Of a source's requests, in percent, that may fail when more than a twentieth of the threshold do.
    pub error_percent: u32,
    /// Clients of one source in a second that were cut off because they were too slow.
    pub slow_clients: u32,
    /// HTTP/2 streams that one source may reset in a second.
    pub resets: u32,
    /// What routers may do by themselves.
    pub actions: BTreeSet<Action>,
    /// How long an automatic block lasts, ms.
    pub block_ms: u64,
    /// Work of a challenge: leading zero bits of a SHA-256, each doubles it.
    pub challenge_bits: u8,
    /// For how long a solved challenge counts, ms.
    pub clearance_ms: u64,
    pub whitelist: Vec<Whitelisted>,
}

impl Default for GuardPolicy {
    fn default() -> Self {
        GuardPolicy {
            automatic: true,
            threshold_requests: 1_000,
            threshold_connections: 500,
            threshold_bytes: 250_000_000,
            prefix_factor: 4,
            asn_factor: 50,
            country_factor: 100,
            path_factor: 50,
            service_factor: 100,
            error_percent: 80,
            slow_clients: 20,
            resets: 200,
            actions: BTreeSet::from([Action::RateLimit, Action::Blacklist]),
            block_ms: 600_000,
            challenge_bits: 16,
            clearance_ms: 1_800_000,
            whitelist: Vec::new(),
        }
    }
}

/// The most entries of a policy's whitelist.
const MOST_WHITELISTED: usize = 10_000;
const DAY_MS: u64 = 86_400_000;

impl GuardPolicy {
    /// What is wrong with it, all of it; empty: nothing.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut within = |name: &str, value: u64, least: u64, most: u64| {
            if value < least || value > most {
                wrong.push(format!("{name} is {value}; {least} to {most} can be"));
            }
        };
        within("threshold_requests", self.threshold_requests.into(), 1, 10_000_000);
        within("threshold_connections", self.threshold_connections.into(), 1, 10_000_000);
        within("threshold_bytes", self.threshold_bytes.into(), 1_000, 4_000_000_000);
        within("prefix_factor", self.prefix_factor.into(), 1, 256);
        within("asn_factor", self.asn_factor.into(), 1, 1_000_000);
        within("country_factor", self.country_factor.into(), 1, 1_000_000);
        within("path_factor", self.path_factor.into(), 1, 1_000_000);
        within("service_factor", self.service_factor.into(), 1, 1_000_000);
        within("error_percent", self.error_percent.into(), 1, 100);
        within("slow_clients", self.slow_clients.into(), 1, 1_000_000);
        within("resets", self.resets.into(), 1, 10_000_000);
        within("block_ms", self.block_ms, 1_000, 30 * DAY_MS);
        within("challenge_bits", self.challenge_bits.into(), 1, 24);
        within("clearance_ms", self.clearance_ms, 10_000, DAY_MS);
        within("whitelist's length", self.whitelist.len() as u64, 0, MOST_WHITELISTED as u64);
        let odd = |entry: &&Whitelisted| entry.what.net().is_none() && !matches!(entry.what, Target::Asn(_));
        for entry in self.whitelist.iter().filter(odd) {
            wrong.push(format!(
                "the whitelist has {}; addresses, networks and autonomous systems can be",
                entry.what
            ));
        }
        wrong
    }
}
