//! The HTTP API of a region's node: every endpoint of `dwcp_api`, over TLS and HTTP/1.1.
//!
//! Reads answer from this node's facts, with their age, and need nobody else. Writes go through the node and answer once
//! they are committed and applied here. [`serve`] runs until told to stop; [`Api`] is what all requests share.

mod alertmanager;
mod alerts;
mod auth;
mod backups;
mod body;
mod call;
mod capacity;
mod configuration;
mod console;
mod controller;
mod controllers;
mod door;
mod drills;
mod events;
mod failover_record;
mod failovers;
mod federation;
mod freeze;
mod guard;
mod hosts;
mod images;
mod incidents;
mod inspect;
mod links;
mod listen;
mod logs;
mod maintenance;
mod matrices;
mod membership;
mod metrics;
mod migrations;
mod moves;
pub(crate) mod names;
mod notifications;
mod on_call;
mod operations;
mod outlook;
mod page;
mod placement;
mod planning;
mod policies;
mod policy_document;
mod preflight;
mod processes;
mod prometheus;
mod promises;
mod protection;
mod rebalance;
mod region_health;
pub(crate) mod region_summary;
mod regions;
mod replication;
mod restoration;
mod restore;
pub mod routes;
mod routing;
mod scaling;
mod server;
mod settings;
mod silences;
mod site;
mod sla;
mod state_sync;
mod status_page;
mod survivability;
mod tokens;
mod traces;
mod upgrades;
mod vm_create;
mod vm_health;
pub(crate) mod vm_record;
mod vm_rules;
mod vms;
mod watch;
mod web_console;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dwcp_config::region::RegionConfig;
use dwcp_mesh::Identity;
use dwcp_telemetry::registry::Gathered;
use dwcp_types::TokenId;
use tokio::sync::watch as signal;

use crate::backups::place::Places;
use crate::handle::NodeHandle;
use crate::inspect::Inspector;
use crate::monitor::Monitor;
use crate::program::Programs;
use crate::telemetry::figures::{Beside, Seen};
use crate::telemetry::hosts::Hosts;
use crate::telemetry::regions::Regions as Measured;
use crate::telemetry::{Instruments, Traces, figures};

pub use auth::{fresh_secret, secret_hash};
pub(crate) use hosts::used_percents;
pub use listen::serve;
pub(crate) use metrics::reader;
pub(crate) use outlook::Lately;
pub use routes::unrouted;

/// Version of the state format that this node writes.
pub const STATE_FORMAT: u32 = 1;

/// What was gathered is given to others for so long.
const GATHERED_FOR: Duration = Duration::from_millis(500);

/// What all requests share.
pub struct Api {
    node: NodeHandle,
    federation: String,
    region: String,
    /// The emulated links' file; none outside development federations.
    wan: Option<PathBuf>,
    /// When each token was last seen here, milliseconds since 1970.
    last_used: Mutex<BTreeMap<TokenId, u64>>,
    /// One edit of the links' file at a time.
    editing_links: tokio::sync::Mutex<()>,
    /// Destinations and keys of backups.
    places: Places,
    /// Programs that were fetched or handed in.
    programs: Programs,
    /// Keys that a program must be signed with to run here.
    upgrade_keys: Vec<String>,
    /// What the loss of a region would do.
    outlook: outlook::Outlook,
    /// What processes say of themselves.
    inspector: Inspector,
    /// Alerts, incidents, and who is told.
    monitor: Monitor,
    /// What the status page showed last.
    status: status_page::Seen,
    /// What this process counts.
    instruments: Instruments,
    /// What every region measured; none: this process keeps nothing.
    measured: Option<Measured>,
    /// What hosts measure; none: nobody is linked here.
    hosts: Option<Hosts>,
    /// This process's certificate; none: it has none.
    identity: Option<Identity>,
    /// What was gathered last: those who scrape at once share it.
    gathered: tokio::sync::Mutex<Option<(Instant, Arc<Gathered>)>>,
    /// Where what requests went through is noted; none: nowhere.
    traces: Option<Traces>,
    /// When this process began to answer, ms since 1970.
    started_ms: i64,
    /// Turns true when the process stops: open streams end.
    stopping: signal::Sender<bool>,
}

impl Api {
    /// The API of the node behind `node`, configured as in `dwcpd.yaml`.
    pub fn new(node: NodeHandle, config: &RegionConfig) -> Api {
        Api {
            monitor: Monitor::new(node.clone(), config),
            status: status_page::Seen::default(),
            node,
            federation: config.federation.clone(),
            region: config.region.clone(),
            wan: config.wan.as_ref().filter(|_| config.dev).map(PathBuf::from),
            last_used: Mutex::new(BTreeMap::new()),
            editing_links: tokio::sync::Mutex::new(()),
            places: Places::new(config),
            programs: Programs::in_folder(std::path::Path::new(&config.data_dir)),
            upgrade_keys: config.upgrade_keys.clone(),
            outlook: outlook::Outlook::default(),
            inspector: Inspector::alone(config),
            instruments: Instruments::new(&config.region),
            measured: None,
            hosts: None,
            identity: None,
            gathered: tokio::sync::Mutex::default(),
            traces: None,
            started_ms: crate::clock::wall_ms(),
            stopping: signal::Sender::new(false),
        }
    }

    /// The same, where other regions' processes can be asked.
    pub fn inspecting(self, inspector: Inspector) -> Api {
        Api { inspector, ..self }
    }

    /// The same, with what the process counts and what all regions measured.
    pub fn measuring(self, instruments: Instruments, measured: Option<Measured>) -> Api {
        Api { instruments, measured, ..self }
    }

    /// The same, with where what requests went through is noted.
    pub fn tracing(self, traces: Traces) -> Api {
        Api { traces: Some(traces), ..self }
    }

    /// Alerts, incidents, and who is told.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// What every region measured; none: this process keeps nothing.
    pub(crate) fn measured(&self) -> Option<&Measured> {
        self.measured.as_ref()
    }

    /// The region whose API it is.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// The same, with hosts that can be asked, and the certificate that it shows.
    pub fn linked(self, hosts: Hosts, identity: Option<Identity>) -> Api {
        Api { hosts: Some(hosts), identity, ..self }
    }

    /// Everything that this process measures, of now or a moment ago; none: it is stopping.
    pub(crate) async fn gather(&self) -> Option<Arc<Gathered>> {
        // Who comes meanwhile waits, and takes the same.
        let mut last = self.gathered.lock().await;
        if let Some((at, gathered)) = &*last
            && at.elapsed() < GATHERED_FOR
        {
            return Some(gathered.clone());
        }
        let lately = self.outlook.lately();
        let seen = self.node.look(move |view| Seen::look(view, &lately)).await?;
        let beside = Beside {
            certificate_s: self.identity.as_ref().map(Identity::life_unix),
            network_percent: self.hosts.as_ref().and_then(|hosts| hosts.network_utilization(&self.region)),
        };
        let instruments = self.instruments.clone();
        let promises = self.monitor.promises.clone();
        let build = move || {
            let mut all = figures::families(&seen, beside);
            all.extend(promises.families());
            Arc::new(instruments.gather(all))
        };
        let gathered = tokio::task::spawn_blocking(build).await.ok()?;
        *last = Some((Instant::now(), gathered.clone()));
        Some(gathered)
    }

    fn note_use(&self, token: &TokenId) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let mut last_used = self.last_used.lock().unwrap_or_else(|e| e.into_inner());
        last_used.insert(token.clone(), now_ms);
    }

    fn last_used_ms(&self, token: &TokenId) -> Option<u64> {
        self.last_used.lock().unwrap_or_else(|e| e.into_inner()).get(token).copied()
    }
}
