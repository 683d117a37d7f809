//! What is usual: learned from quiet seconds, for each hour of the day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Seconds after which something counts as learned.
const LEARNED: u32 = 60;
/// The most seconds that are remembered: older ones fade.
const REMEMBERED: u32 = 3_600;
const HOUR_MS: u64 = 3_600_000;
/// The most keys whose share is remembered.
const MOST_SHARES: usize = 64;

/// One second of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Requests.
    pub rate: u64,
    /// Different sources.
    pub sources: u64,
    pub error_percent: u32,
    pub top_path_percent: u32,
    pub top_agent_percent: u32,
}

/// What an hour of the day usually has, in a second. Fading averages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hour {
    /// Seconds learned from, up to those that are remembered.
    pub seconds: u32,
    pub rate: f64,
    /// Mean distance of the rate from its mean.
    pub deviation: f64,
    pub sources: f64,
    pub error_percent: f64,
    pub top_path_percent: f64,
    pub top_agent_percent: f64,
}

/// The usual as it is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Typical {
    /// There was enough to learn from; otherwise all is 0.
    pub learned: bool,
    pub rate: u64,
    pub deviation: u64,
    pub sources: u64,
    pub error_percent: u32,
    pub top_path_percent: u32,
    pub top_agent_percent: u32,
}

/// What a service usually has, for each hour of the day (UTC). Made of data only: it is kept and given back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Baseline {
    /// 24 of them; missing ones are not learned.
    pub hours: Vec<Hour>,
}

impl Baseline {
    /// A quiet second. What is far above the usual counts only as a little above: nobody teaches us a flood in an hour.
    pub fn learn(&mut self, now_ms: u64, sample: &Sample) {
        self.hours.resize(24, Hour::default());
        let hour = &mut self.hours[hour_of(now_ms)];
        let before = hour.seconds;
        hour.seconds = (before + 1).min(REMEMBERED);
        let part = 1.0 / f64::from(hour.seconds);
        let most = if before >= LEARNED { hour.rate + 3.0 * hour.deviation + 1.0 } else { f64::MAX };
        let rate = (sample.rate as f64).min(most);
        if before > 0 {
            hour.deviation += ((rate - hour.rate).abs() - hour.deviation) * part;
        }
        hour.rate += (rate - hour.rate) * part;
        // Without requests there is nothing to say about them.
        if sample.rate > 0 {
            let fade = |mean: &mut f64, value: f64| *mean += (value - *mean) * part;
            fade(&mut hour.sources, sample.sources as f64);
            fade(&mut hour.error_percent, f64::from(sample.error_percent));
            fade(&mut hour.top_path_percent, f64::from(sample.top_path_percent));
            fade(&mut hour.top_agent_percent, f64::from(sample.top_agent_percent));
        }
    }

    /// What is usual at this hour; while that has not been learned, at the busiest hour that was.
    pub fn typical(&self, now_ms: u64) -> Typical {
        let learned = |hour: &&Hour| hour.seconds >= LEARNED;
        let this = self.hours.get(hour_of(now_ms)).filter(learned);
        let busiest = || self.hours.iter().filter(learned).max_by(|a, b| a.rate.total_cmp(&b.rate));
        let Some(hour) = this.or_else(busiest) else { return Typical::default() };
        let whole = |value: f64| value.max(0.0).round() as u64;
        let percent = |value: f64| value.clamp(0.0, 100.0).round() as u32;
        Typical {
            learned: true,
            rate: whole(hour.rate),
            deviation: whole(hour.deviation),
            sources: whole(hour.sources),
            error_percent: percent(hour.error_percent),
            top_path_percent: percent(hour.top_path_percent),
            top_agent_percent: percent(hour.top_agent_percent),
        }
    }
}

impl Typical {
    /// The most requests in a second that are not remarkable; none: not learned.
    pub fn bound(&self) -> Option<u64> {
        self.learned.then(|| (self.rate * 2).max(self.rate + 6 * self.deviation))
    }
}

fn hour_of(now_ms: u64) -> usize {
    (now_ms / HOUR_MS % 24) as usize
}

/// Which part of all traffic each usually has, in percent: of the 64 that have most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shares {
    pub seconds: u32,
    pub percent: BTreeMap<u64, f64>,
}

impl Shares {
    /// A quiet second.
    pub fn learn(&mut self, shares: &BTreeMap<u64, f64>) {
        self.seconds = (self.seconds + 1).min(REMEMBERED);
        let part = 1.0 / f64::from(self.seconds);
        for (key, percent) in &mut self.percent {
            *percent += (shares.get(key).copied().unwrap_or(0.0) - *percent) * part;
        }
        let new = shares.iter().filter(|(_, share)| **share >= 1.0);
        for (key, share) in new {
            self.percent.entry(*key).or_insert(share * part);
        }
        while self.percent.len() > MOST_SHARES {
            let least = self.percent.iter().min_by(|a, b| a.1.total_cmp(b.1)).map(|(key, _)| *key);
            least.map(|key| self.percent.remove(&key));
        }
    }

    /// Somebody has far more of the traffic than usual; also when nothing was learned.
    pub fn is_unusual(&self, key: u64, percent: f64) -> bool {
        let usual = self.percent.get(&key).copied().unwrap_or(0.0);
        self.seconds < LEARNED || percent > 2.0 * usual + 10.0
    }
}
