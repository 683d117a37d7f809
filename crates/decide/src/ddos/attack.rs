//! What is known of an attack.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Target, Typical};

/// What is done to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttackKind {
    /// Too many requests.
    HttpFlood,
    /// Too many questions of names.
    DnsFlood,
    /// Too many connections.
    ConnectionFlood,
    /// Too many connections that are never finished.
    SynFlood,
    /// Too many bytes.
    Bandwidth,
    /// Connections that are held open by sending slowly.
    SlowClients,
    /// Streams that are opened and reset at once.
    RapidReset,
    /// Requests of which most fail: guessing of passwords or paths.
    Scan,
    /// A service has far more traffic than it usually has at this hour.
    Surge,
}

impl AttackKind {
    /// Its name in keys and tables.
    pub fn name(self) -> &'static str {
        match self {
            AttackKind::HttpFlood => "http_flood",
            AttackKind::DnsFlood => "dns_flood",
            AttackKind::ConnectionFlood => "connection_flood",
            AttackKind::SynFlood => "syn_flood",
            AttackKind::Bandwidth => "bandwidth",
            AttackKind::SlowClients => "slow_clients",
            AttackKind::RapidReset => "rapid_reset",
            AttackKind::Scan => "scan",
            AttackKind::Surge => "surge",
        }
    }

    /// It is of requests, so that a puzzle can be asked.
    pub fn is_of_requests(self) -> bool {
        matches!(self, AttackKind::HttpFlood | AttackKind::RapidReset | AttackKind::Scan | AttackKind::Surge)
    }
}

/// What was measured. Rates are of a second; those of bytes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    pub rate: u64,
    /// What it may be.
    pub threshold: u64,
    /// What the service usually has at this hour; none: not learned yet.
    pub baseline: Option<u64>,
    /// How far it usually is from that.
    pub deviation: Option<u64>,
    /// Of all of the service's traffic, in percent.
    pub share_percent: u32,
    /// Different sources, about.
    pub sources: u64,
    /// Requests that failed.
    pub error_percent: u32,
    /// Resets for each 100 requests.
    pub reset_percent: u32,
    /// Clients that were cut off for slowness, for each 100 connections.
    pub slow_percent: u32,
    /// Of the requests, those for the one path that is asked for most.
    pub top_path_percent: u32,
    /// That path, when its name is known.
    pub top_path: String,
    /// Of the requests, those of the most frequent user agent.
    pub top_agent_percent: u32,
    /// That one, when its name is known.
    pub top_agent: String,
}

impl Evidence {
    /// Of one source in a second, on average.
    pub fn rate_per_source(&self) -> u64 {
        self.rate / self.sources.max(1)
    }
}

/// What the evidence shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Many people who behave: a crowd.
    FalsePositive,
    /// Some signs of an attack and some of a crowd, or none.
    #[default]
    Unclear,
    /// An attack.
    Real,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::FalsePositive => "false positive",
            Verdict::Unclear => "unclear",
            Verdict::Real => "real",
        })
    }
}

/// A verdict with its reasons, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Judgement {
    pub verdict: Verdict,
    pub reasons: Vec<String>,
}

/// Whether it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[default]
    Active,
    Over,
}

/// An attack, or what looks like one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attack {
    /// `attack-001`; empty until the federation has numbered it.
    pub id: String,
    /// The same at every router and as long as it lasts.
    pub key: String,
    pub kind: AttackKind,
    /// Whom it comes from, or, when that are many, what it goes to.
    pub target: Target,
    /// The service; empty: all of the router.
    pub service: String,
    pub peak_rate: u64,
    pub first_ms: u64,
    pub last_ms: u64,
    /// Different sources, about.
    pub sources: u64,
    pub status: Status,
    /// At its peak.
    pub evidence: Evidence,
    /// What the service usually looks like at this hour.
    pub typical: Typical,
    pub judgement: Judgement,
}

/// The name of the federation's n-th attack.
pub fn attack_name(number: u64) -> String {
    format!("attack-{number:03}")
}
