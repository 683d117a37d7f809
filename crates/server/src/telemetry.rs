//! What this process measures and says, and what is kept of it.

pub mod export;
pub mod figures;
pub mod hosts;
pub mod instruments;
pub mod intake;
pub mod keeper;
pub mod logs;
pub mod prometheus;
pub mod reader;
pub mod regions;
pub mod sender;
#[cfg(test)]
mod shipped_rules;
pub mod traces;
mod wire;

use std::path::Path;
use std::sync::Arc;

use dwcp_config::region::RegionConfig;
use dwcp_mesh::MeshHandle;
use dwcp_telemetry::logs as log_store;
use dwcp_types::NodeId;

use crate::log::Log;
use crate::setup;

pub use instruments::Instruments;
use intake::Intake;
use prometheus::Prometheus;
use sender::Receiver;
pub use traces::Traces;
pub use wire::is_mine;

/// The stores of what a region measured and said, and who else has to do with it. The control plane goes on without any of it.
pub struct Kept {
    intake: Intake,
    prometheus: Option<Arc<Prometheus>>,
    logs: Option<Arc<log_store::Store>>,
}

impl Kept {
    /// Opens them; from now on lines of the log are kept.
    pub fn open(config: &RegionConfig, log: &Log) -> Kept {
        let folder = Path::new(&config.data_dir);
        let told = |what: &str, why: &str| log.error("monitor", format!("{what}: {why}"));
        let mut store = None;
        if config.metrics.prometheus.is_none() {
            let opened = keeper::open(&folder.join("metrics"), setup::metrics(config), log);
            store = opened.map_err(|why| told("no metrics are kept", &why)).ok();
        }
        let prometheus = config.metrics.prometheus.as_ref().and_then(|remote| {
            let made = Prometheus::new(remote);
            made.map(Arc::new).map_err(|why| told("metrics can't be queried", &why)).ok()
        });
        let receivers = config.metrics.remote_write.iter().filter_map(|remote| {
            let made = Receiver::new(remote, &folder.join("remote-write"), store.is_some());
            made.map(Arc::new).map_err(|why| told(&format!("{} gets no metrics", remote.place()), &why)).ok()
        });
        let receivers = Arc::new(receivers.collect());
        let logs = logs::open(&folder.join("logs"), &config.region, log);
        let logs =
            logs.map_err(|why| told("the log can't be searched later", &why)).ok().map(|(store, lines)| {
                log.keep_for_queries(lines);
                store
            });
        Kept { intake: Intake { store, receivers }, prometheus, logs }
    }

    /// What every region has of both.
    pub fn regions(self, me: NodeId, mesh: &MeshHandle) -> regions::Regions {
        let regions = regions::Regions::new(me, self.intake.store.clone(), Some(mesh.clone()));
        regions.with_logs(self.logs).with_receivers(self.intake.receivers).asking(self.prometheus)
    }
}
