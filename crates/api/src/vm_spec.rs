//! What people want of a VM: size, policy, priority, network, probe.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// Importance from 0 (least) to 100. Written as a number; read as a number or as `critical` (100), `high` (75),
/// `normal` (50), `low` (25).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Priority(pub u8);

impl Default for Priority {
    fn default() -> Priority {
        Priority(50)
    }
}

impl std::str::FromStr for Priority {
    type Err = String;
    fn from_str(text: &str) -> Result<Priority, String> {
        text.parse::<dwcp_types::Priority>().map(|level| Priority(level.0))
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        dwcp_types::Priority(self.0).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Priority, D::Error> {
        struct Words;
        impl serde::de::Visitor<'_> for Words {
            type Value = Priority;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("critical, high, normal, low or a number from 0 to 100")
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Priority, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Priority, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Priority, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Words)
    }
}

wire! {
    /// How far an affinity reaches.
    #[derive(Copy, Eq, Default)]
    #[serde(rename_all = "snake_case")]
    pub enum Scope { #[default] Host, Zone, Region }

    /// What happens to a VM when its region is lost.
    #[derive(Copy, Eq, Default)]
    #[serde(rename_all = "snake_case")]
    pub enum OnRegionLoss {
        /// It is started elsewhere.
        #[default]
        Restart,
        /// It waits for its region.
        Stay,
    }

    /// How a VM reaches the network.
    #[derive(Copy, Eq, Default)]
    #[serde(rename_all = "snake_case")]
    pub enum NetworkKind { #[default] User, Tap }

    /// Near or away from something.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct Affinity {
        /// VM name, VM id, `label=value`, or a group's name.
        pub to: String,
        #[serde(default)]
        pub scope: Scope,
    }

    /// An upper bound on the round trip.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct LatencyBound {
        /// Region, or region where the clients are.
        pub to: String,
        pub max_latency_ms: u32,
    }

    /// How a VM is asked whether it is well.
    #[derive(Eq)]
    #[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
    pub enum Probe {
        /// `GET path` on a port of the guest answers 2xx.
        Http { port: u16, path: String },
        /// A port of the guest accepts a connection.
        Tcp { port: u16 },
        /// The guest agent answers a ping.
        GuestAgent,
        /// Only its process is looked at.
        Process,
    }
}

/// Where a VM may be, and what matters to it. Empty lists mean: no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    pub regions_allow: Vec<String>,
    pub regions_deny: Vec<String>,
    pub zones: Vec<String>,
    /// Labels a host must have.
    pub host_labels: BTreeMap<String, String>,
    /// Tags its region must have: `gdpr`, `hipaa`, …
    pub compliance: Vec<String>,
    /// Where its data may be: country codes or `EU`.
    pub residency: Vec<String>,
    pub affinity: Vec<Affinity>,
    pub anti_affinity: Vec<Affinity>,
    pub max_latency: Option<LatencyBound>,
    /// US dollars a month.
    pub cost_limit_usd: Option<f64>,
    pub failover: OnRegionLoss,
    pub tenant: Option<String>,
    pub project: Option<String>,
}
