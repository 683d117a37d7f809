//! The alerts of one rule with those that are over.

use serde::{Deserialize, Serialize};

use super::{Alert, Change, Phase, RuleState};

/// For so long an alert that is over is remembered, ms.
const KEPT_MS: i64 = 7 * 86_400_000;

/// A record is written in no more bytes than this, if need be with fewer alerts that are over.
const MAX_BYTES: usize = 200 * 1024;

/// What is known of the alerts of one rule: those that are pending or fire, and those that fired in the last days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleRecord {
    pub state: RuleState,
    /// Those that were resolved, the latest last.
    #[serde(default)]
    pub ended: Vec<Alert>,
}

impl RuleRecord {
    /// Remembers what an evaluation of `state` changed: keeps the alerts that it resolved, and forgets those that were resolved more
    /// than 7 days ago, and of the others the oldest as long as the record is written in more than 200 KiB.
    pub fn take(&mut self, changes: &[Change], now_ms: i64) {
        self.ended.extend(changes.iter().filter(|change| change.phase == Phase::Resolved).cloned());
        self.ended.sort_by_key(|alert| alert.ended_at_ms);
        let from_ms = now_ms.saturating_sub(KEPT_MS);
        self.ended.retain(|alert| alert.ended_at_ms.is_some_and(|at_ms| at_ms >= from_ms));
        let mut left = MAX_BYTES.saturating_sub(written(&RuleRecord { ended: Vec::new(), ..self.clone() }));
        let fits = |alert: &&Alert| {
            let needed = written(alert) + 1;
            let fits = needed <= left;
            left = left.saturating_sub(needed);
            fits
        };
        let kept = self.ended.iter().rev().take_while(fits).count();
        self.ended.drain(..self.ended.len() - kept);
    }
}

/// How many bytes the text of a value has.
fn written(value: &impl Serialize) -> usize {
    serde_json::to_string(value).map_or(MAX_BYTES, |text| text.len())
}
