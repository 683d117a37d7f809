//! `dwcpd.yaml`: what a region's server needs to know before it can ask anybody.

mod check;
mod metrics;
mod monitoring;
mod state;
mod telemetry;

use std::collections::BTreeMap;

use crate::{Complaints, Fields, reader};

pub use metrics::{Metrics, Remote};
pub use monitoring::Monitoring;
pub use state::{Etcd, State};
pub use telemetry::{Otlp, Telemetry};

/// Settings of one region's server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionConfig {
    /// The federation's name.
    pub federation: String,
    /// This region's name.
    pub region: String,
    /// This region's number, from 1: also its node's and its group's.
    pub number: u64,
    /// Development federation: links can be emulated.
    pub dev: bool,
    /// The region joins a federation that runs: its node founds nothing, and waits until the others take it in.
    pub joins: bool,
    /// Folder of the log, the state and the node's own files.
    pub data_dir: String,
    pub listen: Listen,
    pub pki: Pki,
    /// Every region's node, this one's too.
    pub peers: Vec<Peer>,
    /// Regions whose nodes vote when the federation is founded, at most five; the others learn. None with `joins`.
    pub voters: Vec<String>,
    /// File of the emulated links; only with `dev`.
    pub wan: Option<String>,
    /// SHA-256 in hex of the secret of the first admin's token, taken over when the federation is born.
    pub bootstrap_admin_token_sha256: Option<String>,
    pub timing: Timing,
    /// Facts of each region when the federation is born, by region name.
    pub genesis: BTreeMap<String, Genesis>,
    pub backup: Backup,
    /// Where what this server must not forget is kept.
    pub state: State,
    pub metrics: Metrics,
    pub monitoring: Monitoring,
    pub telemetry: Telemetry,
    /// Public keys, 64 hexadecimal digits each, that a program must be signed with to run here; none: no upgrades.
    pub upgrade_keys: Vec<String>,
}

/// What this server needs for backups; where they go and how often is the federation's to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// File of the key, or of a passphrase, that backups are sealed with.
    pub key_file: Option<String>,
    pub s3: S3,
}

/// Where buckets are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3 {
    /// `https://host[:port]`; without it that of Amazon's `region`.
    pub endpoint: Option<String>,
    /// As signatures name it; `us-east-1` without it.
    pub region: Option<String>,
    /// File with `aws_access_key_id = …` and `aws_secret_access_key = …`; without it, `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY` of the process.
    pub credentials_file: Option<String>,
    /// PEM file of the authority that the endpoint's certificate is checked with; the system's without it.
    pub ca: Option<String>,
}

/// Addresses to listen on, `address:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// HTTP API, TCP.
    pub api: String,
    /// Mesh, UDP.
    pub mesh: String,
}

/// Certificate files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pki {
    pub ca: String,
    pub certificate: String,
    pub key: String,
    /// The CA's key, where this node renews its own leaf.
    pub ca_key: Option<String>,
}

/// Another region's node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    pub region: String,
    pub number: u64,
    /// `address:port`, UDP.
    pub mesh: String,
    /// `https://address:port`.
    pub api: String,
}

/// Times, in milliseconds. The defaults are the product's; overrides are for tests and slow machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long an agent may run VMs after it asked for its lease.
    pub lease_ms: u64,
    /// How often a node tells every other that it lives.
    pub beat_ms: u64,
    /// One step of the consensus clock.
    pub tick_ms: u64,
    /// Shortest time without a leader before an election.
    pub election_ms: u64,
    /// How long a majority must not have heard of a region before it counts as lost.
    pub loss_after_ms: u64,
    /// How long a write may wait for its majority.
    pub commit_timeout_ms: u64,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            lease_ms: 3_000,
            beat_ms: 250,
            tick_ms: 50,
            election_ms: 1_000,
            loss_after_ms: 3_000,
            commit_timeout_ms: 5_000,
        }
    }
}

/// Facts of a region when the federation is born.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Genesis {
    /// Preferred in placement, 0 to 100.
    pub priority: u8,
    /// Compliance tags it carries.
    pub compliance: Vec<String>,
    /// Whose law it is under: `eu`, `us`, …
    pub jurisdiction: String,
    /// US dollars an hour for one virtual CPU.
    pub vcpu_usd_hour: f64,
    /// US dollars an hour for one GiB of memory.
    pub memory_gib_usd_hour: f64,
    /// US dollars an hour for one GiB of disk.
    pub disk_gib_usd_hour: f64,
}

impl RegionConfig {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<RegionConfig, Complaints> {
        reader::read(text, |fields| {
            let config = settings(fields);
            check::relations(&config, fields);
            config
        })
    }

    /// This region's own entry in `peers`.
    pub fn own_peer(&self) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.region == self.region)
    }
}

fn settings(fields: &mut Fields<'_>) -> RegionConfig {
    let regions = fields.maps("genesis", |f| (f.text("region"), genesis(f)));
    RegionConfig {
        federation: fields.text("federation"),
        region: fields.text("region"),
        number: fields.required("number", check::region_number),
        dev: fields.flag("dev", false),
        joins: fields.flag("joins", false),
        data_dir: fields.text("data_dir"),
        listen: fields.required_map("listen", |f| Listen {
            api: f.required("api", check::socket),
            mesh: f.required("mesh", check::socket),
        }),
        pki: fields.required_map("pki", |f| Pki {
            ca: f.text("ca"),
            certificate: f.text("certificate"),
            key: f.text("key"),
            ca_key: f.optional_text("ca_key"),
        }),
        peers: fields.maps("peers", |f| Peer {
            region: f.text("region"),
            number: f.required("number", check::region_number),
            mesh: f.required("mesh", check::socket),
            api: f.required("api", |text| crate::cli::check_endpoint(text).map(|()| text.to_owned())),
        }),
        voters: fields.texts("voters"),
        wan: fields.optional_text("wan"),
        bootstrap_admin_token_sha256: fields.optional("bootstrap_admin_token_sha256", check::sha256),
        timing: fields.map("timing", timing).unwrap_or_default(),
        genesis: regions.into_iter().collect(),
        backup: fields.map("backup", backup).unwrap_or_default(),
        state: fields.map("state", state::read).unwrap_or_default(),
        metrics: fields.map("metrics", metrics::read).unwrap_or_default(),
        monitoring: fields.map("monitoring", monitoring::read).unwrap_or_default(),
        telemetry: fields.map("telemetry", telemetry::read).unwrap_or_default(),
        upgrade_keys: fields.map("upgrade", |f| f.texts("keys")).unwrap_or_default(),
    }
}

fn backup(fields: &mut Fields<'_>) -> Backup {
    let key_file = fields.optional_text("key_file");
    let s3 = fields.map("s3", |f| S3 {
        endpoint: f.optional("endpoint", |text| match text.split_once("://") {
            Some(("http" | "https", host)) if !host.is_empty() => Ok(text.to_owned()),
            _ => Err(format!("'{text}' is not an endpoint such as https://s3.example.com")),
        }),
        region: f.optional_text("region"),
        credentials_file: f.optional_text("credentials_file"),
        ca: f.optional_text("ca"),
    });
    Backup { key_file, s3: s3.unwrap_or_default() }
}

fn timing(fields: &mut Fields<'_>) -> Timing {
    let standard = Timing::default();
    Timing {
        lease_ms: fields.duration_ms("lease", 200..=60_000, standard.lease_ms),
        beat_ms: fields.duration_ms("beat", 20..=10_000, standard.beat_ms),
        tick_ms: fields.duration_ms("tick", 5..=1_000, standard.tick_ms),
        election_ms: fields.duration_ms("election", 50..=60_000, standard.election_ms),
        loss_after_ms: fields.duration_ms("loss_after", 200..=600_000, standard.loss_after_ms),
        commit_timeout_ms: fields.duration_ms("commit_timeout", 100..=120_000, standard.commit_timeout_ms),
    }
}

fn genesis(fields: &mut Fields<'_>) -> Genesis {
    let prices = fields
        .map("prices", |f| {
            (
                f.optional("vcpu_usd_hour", check::price).unwrap_or(0.0),
                f.optional("memory_gib_usd_hour", check::price).unwrap_or(0.0),
                f.optional("disk_gib_usd_hour", check::price).unwrap_or(0.0),
            )
        })
        .unwrap_or_default();
    Genesis {
        priority: fields.number("priority", 0..=100, 50) as u8,
        compliance: fields.texts("compliance"),
        jurisdiction: fields.optional_text("jurisdiction").unwrap_or_default(),
        vcpu_usd_hour: prices.0,
        memory_gib_usd_hour: prices.1,
        disk_gib_usd_hour: prices.2,
    }
}
