//! What operators and the federation say about attackers. Kept as documents.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Country, Net, hash_text};

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

impl FromStr for Target {
    type Err = String;

    /// An address or network, `AS64500`, a country's two letters, `service:NAME` or `service:NAME/path`.
    fn from_str(text: &str) -> Result<Target, String> {
        if let Some(rest) = text.strip_prefix("service:") {
            let (service, path) =
                rest.split_once('/').map_or((rest, None), |(name, path)| (name, Some(path)));
            let (service, path) = (service.to_owned(), path.map(|path| format!("/{path}")));
            return match (service.is_empty(), path) {
                (true, _) => Err(format!("{text:?} names no service")),
                (false, Some(path)) => Ok(Target::Path { service, path }),
                (false, None) => Ok(Target::Service(service)),
            };
        }
        if let Some(number) = text.strip_prefix("AS").or_else(|| text.strip_prefix("as"))
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            let asn = number.parse().ok().filter(|asn| *asn > 0);
            return asn.map(Target::Asn).ok_or_else(|| format!("{text:?} is no autonomous system"));
        }
        if text.len() == 2 && text != "--" {
            return text.parse().map(Target::Country);
        }
        let net: Net = text.parse()?;
        Ok(if net.is_host() { Target::Ip(net) } else { Target::Cidr(net) })
    }
}

/// The id of the federation's block of somebody: the same again for the same, so that there is one of it.
pub fn block_id(what: &Target, action: Action) -> String {
    format!("block-{:016x}", hash_text(0, &format!("{} {what:?}", action.name())))
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

impl Whitelisted {
    /// It still holds at a moment.
    pub fn lasts(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| until > now_ms)
    }
}

/// People took back what routers did by themselves: they don't do it again until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pardon {
    pub what: Target,
    pub owner: String,
    pub until_ms: u64,
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
    pub pardons: Vec<Pardon>,
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
            pardons: Vec::new(),
        }
    }
}

/// The most entries of a policy's whitelist, and the most pardons.
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
        within("pardons' number", self.pardons.len() as u64, 0, MOST_WHITELISTED as u64);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_people_write_them() {
        let net = |text: &str| text.parse::<Net>().expect("a network");
        let service = || "shop".to_owned();
        for (text, target) in [
            ("203.0.113.7", Target::Ip(net("203.0.113.7"))),
            ("203.0.113.0/24", Target::Cidr(net("203.0.113.0/24"))),
            ("2001:db8::/32", Target::Cidr(net("2001:db8::/32"))),
            ("AS64500", Target::Asn(64_500)),
            ("cn", Target::Country(Country::of(*b"CN"))),
            ("as", Target::Country(Country::of(*b"AS"))),
            ("service:shop", Target::Service(service())),
            ("service:shop/login", Target::Path { service: service(), path: "/login".to_owned() }),
        ] {
            assert_eq!(text.parse(), Ok(target), "{text}");
        }
        for wrong in ["", "AS0", "AS99999999999", "203.0.113.7/24", "service:", "service:/x", "--", "C1", "x"]
        {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_block_has_one_id_for_the_same_and_others_for_others() {
        let id = |text: &str, action| block_id(&text.parse().expect("a target"), action);
        assert_eq!(id("203.0.113.7", Action::Blacklist), id("203.0.113.7/32", Action::Blacklist));
        assert_ne!(id("203.0.113.7", Action::Blacklist), id("203.0.113.7", Action::Tarpit));
        assert_ne!(id("203.0.113.7", Action::Blacklist), id("203.0.113.8", Action::Blacklist));
    }
}
