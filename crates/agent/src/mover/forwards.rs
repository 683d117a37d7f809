//! The ports by which a VM is reached through its emulator's own network. That network answers for a guest that stands
//! still: who reaches it there waits in vain. So it listens only where the guest runs.

use serde_json::json;

use super::MONITOR_LIMIT;
use super::monitor::Monitor;
use crate::qemu::NETWORK;

/// Listens at all of them. Those it listens at already are as good.
pub(super) async fn open(monitor: &Monitor, forwards: &[String]) -> Result<(), String> {
    close(monitor, forwards).await?;
    for forward in forwards {
        let said = say(monitor, format!("hostfwd_add {NETWORK} {forward}")).await?;
        if !said.is_empty() {
            return Err(said);
        }
    }
    Ok(())
}

/// Listens at none of them; connections that are there stay.
pub(super) async fn close(monitor: &Monitor, forwards: &[String]) -> Result<(), String> {
    for forward in forwards {
        let outside = forward.split_once('-').map_or(forward.as_str(), |(outside, _)| outside);
        // It says so when it did not listen there.
        say(monitor, format!("hostfwd_remove {NETWORK} {outside}")).await?;
    }
    Ok(())
}

async fn say(monitor: &Monitor, line: String) -> Result<String, String> {
    let said = monitor.execute("human-monitor-command", json!({"command-line": line}), MONITOR_LIMIT).await?;
    Ok(said.as_str().unwrap_or_default().trim().to_string())
}
