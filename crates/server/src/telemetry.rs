//! What this process measures and says, and what is kept of it.

pub mod figures;
pub mod hosts;
pub mod instruments;
pub mod keeper;
pub mod logs;
pub mod regions;
#[cfg(test)]
mod shipped_rules;
mod wire;

use std::path::Path;
use std::sync::Arc;

use dwcp_config::region::RegionConfig;
use dwcp_mesh::MeshHandle;
use dwcp_telemetry::{logs as log_store, store};
use dwcp_types::NodeId;

use crate::log::Log;
use crate::setup;

pub use instruments::Instruments;
pub use wire::is_mine;

/// The stores of what a region measured and said. The control plane goes on without either.
pub struct Kept {
    metrics: Option<Arc<store::Store>>,
    logs: Option<Arc<log_store::Store>>,
}

impl Kept {
    /// Opens both; from now on lines of the log are kept.
    pub fn open(config: &RegionConfig, log: &Log) -> Kept {
        let folder = Path::new(&config.data_dir);
        let metrics = keeper::open(&folder.join("metrics"), setup::metrics(config), log);
        let metrics = metrics.map_err(|why| log.error("monitor", format!("no metrics are kept: {why}")));
        let logs = logs::open(&folder.join("logs"), &config.region, log);
        let logs =
            logs.map_err(|why| log.error("monitor", format!("the log can't be searched later: {why}")));
        let logs = logs.ok().map(|(store, lines)| {
            log.keep_for_queries(lines);
            store
        });
        Kept { metrics: metrics.ok(), logs }
    }

    /// What every region has of both.
    pub fn regions(self, me: NodeId, mesh: &MeshHandle) -> regions::Regions {
        regions::Regions::new(me, self.metrics, Some(mesh.clone())).with_logs(self.logs)
    }
}
