//! Services outside hear that the monitor is well, for as long as it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dwcp_state::FEDERATION_GROUP;
use dwcp_telemetry::notify::{Heartbeat, Settings, Verdict};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::Monitor;
use crate::clock;
use crate::log::Log;
use crate::notify::{self, WITHIN};

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(1);
/// A monitor whose last round is longer ago is not well, ms.
const WELL_MS: i64 = 90_000;

/// When this process last wrote down what a round of rules meant, ms since 1970; 0 when it never did, or does not monitor any more.
#[derive(Clone, Default)]
pub struct Pulse(Arc<AtomicI64>);

impl Pulse {
    /// A round was written down.
    pub fn beats(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }

    /// This node does not monitor.
    pub fn rests(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn is_well(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.0.load(Ordering::Relaxed)) <= WELL_MS
    }
}

/// Tells every service of the settings, whenever this node monitors and is well, for as long as it runs.
pub async fn keep(monitor: Monitor, log: Log) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = Due::default();
    loop {
        ticks.tick().await;
        let now_ms = clock::wall_ms();
        let settings = monitor.settings();
        // Most nodes have nothing to tell: the node's loop is not asked for that.
        if settings.heartbeats.is_empty() || !monitor.pulse.is_well(now_ms) {
            continue;
        }
        let Some(leads) = monitor.node.look(|view| view.node.leads(FEDERATION_GROUP)).await else { return };
        if !leads {
            continue;
        }
        for heartbeat in due.of(&settings, now_ms) {
            let (settings, federation, log) =
                (Arc::clone(&settings), Arc::clone(&monitor.federation), log.clone());
            // It may hang: nobody waits for it.
            tokio::task::spawn_blocking(move || beat(&settings, &heartbeat, &federation, &log));
        }
    }
}

fn beat(settings: &Settings, heartbeat: &Heartbeat, federation: &str, log: &Log) {
    let body =
        json!({"federation": federation, "status": "monitoring", "every_s": heartbeat.every_ms / 1_000});
    let within = WITHIN.min(Duration::from_millis(heartbeat.every_ms));
    let outcome = notify::beat(settings, heartbeat, &body, within);
    if outcome.verdict != Verdict::Delivered {
        let name = &heartbeat.name;
        log.warning("monitor", format!("heartbeat {name} was not taken: {}", outcome.said));
    }
}

/// When each was last sent to.
#[derive(Default)]
struct Due(BTreeMap<String, i64>);

impl Due {
    fn of(&mut self, settings: &Settings, now_ms: i64) -> Vec<Heartbeat> {
        self.0.retain(|name, _| settings.heartbeats.iter().any(|one| one.name == *name));
        let mut found = Vec::new();
        for one in &settings.heartbeats {
            let last_ms = self.0.get(&one.name).copied();
            // A clock that was set back ends no beat.
            let waits = |last_ms: i64| (0..clock::ms(one.every_ms)).contains(&now_ms.saturating_sub(last_ms));
            if !last_ms.is_some_and(waits) {
                self.0.insert(one.name.clone(), now_ms);
                found.push(one.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dwcp_telemetry::notify::Secret;

    #[test]
    fn a_beat_is_due_at_once_then_every_so_often_and_after_the_clock_was_set_back() {
        let url = Secret::Text("https://example.com/beat".to_owned());
        let one = Heartbeat { name: "outside".to_owned(), url, every_ms: 10_000, ca_file: None };
        let settings = Settings { heartbeats: vec![one], ..Settings::default() };
        let mut due = Due::default();
        let mut is_due = |at_ms: i64| !due.of(&settings, at_ms).is_empty();
        let found = [100_000, 109_999, 110_000, 111_000, 50_000].map(&mut is_due);
        assert_eq!(found, [true, false, true, false, true]);
    }

    #[test]
    fn a_monitor_is_well_for_ninety_seconds_after_a_round_and_not_before_one() {
        let pulse = Pulse::default();
        assert!(!pulse.is_well(1_800_000_000_000));
        pulse.beats(1_800_000_000_000);
        assert!(pulse.is_well(1_800_000_090_000) && !pulse.is_well(1_800_000_090_001));
        pulse.rests();
        assert!(!pulse.is_well(1_800_000_000_000));
    }
}
