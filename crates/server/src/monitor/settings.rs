//! `notifications.yaml`, looked at again and again: who is told what.

use std::path::Path;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Monitor;
use crate::log::Log;
use crate::notify::{Look, SettingsFile};

/// Between two looks at the file.
const LOOK: Duration = Duration::from_secs(5);

/// Whether a file says nothing.
fn is_blank(path: &str) -> bool {
    std::fs::metadata(path).map_or(true, |seen| seen.len() == 0)
}

/// Takes what the file says over into the monitor, for as long as the process lives.
pub async fn keep(monitor: Monitor, path: String, log: Log) {
    let mut file = SettingsFile::new(Path::new(&path));
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let looked = tokio::task::spawn_blocking(move || {
            let look = file.look();
            (file, look)
        });
        let Ok((again, look)) = looked.await else { return };
        file = again;
        match look {
            Look::Unchanged => {}
            // A file that is written anew is empty for a moment; whoever wants nobody to be told writes `receivers: []`.
            Look::Changed(settings)
                if settings.receivers.is_empty()
                    && !monitor.settings().receivers.is_empty()
                    && is_blank(&path) =>
            {
                log.error("monitor", format!("{path} is empty or gone: what it said before holds"));
            }
            Look::Changed(settings) => {
                let count = settings.receivers.len();
                monitor.set_settings(*settings);
                log.info("monitor", format!("{path}: {count} receivers are told from now on"));
            }
            Look::Wrong(why) => log.error("monitor", format!("what {path} says is not used:\n{why}")),
        }
    }
}
