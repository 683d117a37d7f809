//! What the shield did, as counts, and with whom, as records.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dwcp_decide::ddos::{Action, Net};

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub passed: AtomicU64,
    pub whitelisted: AtomicU64,
    pub limited: AtomicU64,
    pub denied: AtomicU64,
    pub geo_blocked: AtomicU64,
    pub challenged: AtomicU64,
    pub tarpitted: AtomicU64,
    /// Came back with a solved challenge.
    pub cleared: AtomicU64,
    pub solved: AtomicU64,
    /// Answers to challenges that did not hold.
    pub unsolved: AtomicU64,
    /// Questions of names that were not answered.
    pub dns_refused: AtomicU64,
    /// Happened while the watcher was busy, and was not looked at.
    pub missed: AtomicU64,
}

impl Counts {
    /// All by name.
    pub fn read(&self) -> BTreeMap<String, u64> {
        let all = [
            ("passed", &self.passed),
            ("whitelisted", &self.whitelisted),
            ("limited", &self.limited),
            ("denied", &self.denied),
            ("geo_blocked", &self.geo_blocked),
            ("challenged", &self.challenged),
            ("tarpitted", &self.tarpitted),
            ("cleared", &self.cleared),
            ("solved", &self.solved),
            ("unsolved", &self.unsolved),
            ("dns_refused", &self.dns_refused),
            ("missed", &self.missed),
        ];
        all.map(|(name, count)| (name.to_owned(), count.load(Relaxed))).into_iter().collect()
    }
}

/// One more.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Somebody was not served, so many times in a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropRecord {
    pub at_s: u64,
    /// none: several, of whom too many came to list them.
    pub source: Option<Net>,
    /// The block's id.
    pub rule: String,
    pub action: Action,
    pub count: u64,
}

/// The most different sources and rules of one second.
const MOST_IN_SECOND: usize = 1_024;
/// The most records.
const MOST_RECORDS: usize = 16_384;

type Key = (Option<Net>, Arc<str>, Action);

/// The last records, oldest first.
#[derive(Debug, Default)]
pub struct Drops {
    second: BTreeMap<Key, u64>,
    at_s: u64,
    done: VecDeque<DropRecord>,
}

impl Drops {
    /// Somebody was not served.
    pub fn add(&mut self, at_ms: u64, ip: IpAddr, rule: Arc<str>, action: Action) {
        self.turn(at_ms / 1_000);
        let key = (Some(Net::source(ip)), rule.clone(), action);
        let room = self.second.len() < MOST_IN_SECOND || self.second.contains_key(&key);
        *self.second.entry(if room { key } else { (None, rule, action) }).or_default() += 1;
    }

    /// Those since then, also of the second that goes on.
    pub fn since(&self, at_s: u64) -> Vec<DropRecord> {
        let now = self.second.iter().map(|(key, count)| record(self.at_s, key.clone(), *count));
        self.done.iter().cloned().chain(now).filter(|one| one.at_s >= at_s).collect()
    }

    fn turn(&mut self, at_s: u64) {
        if at_s == self.at_s {
            return;
        }
        let before = std::mem::replace(&mut self.at_s, at_s);
        for (key, count) in std::mem::take(&mut self.second) {
            if self.done.len() >= MOST_RECORDS {
                self.done.pop_front();
            }
            self.done.push_back(record(before, key, count));
        }
    }
}

fn record(at_s: u64, (source, rule, action): Key, count: u64) -> DropRecord {
    DropRecord { at_s, source, rule: rule.to_string(), action, count }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_added_up_by_second_and_stay_few() {
        let mut drops = Drops::default();
        let rule: Arc<str> = "r".into();
        for i in 0..5_000_u32 {
            let ip = std::net::Ipv4Addr::from_bits(i).into();
            drops.add(1_000 + u64::from(i % 2), ip, rule.clone(), Action::Blacklist);
            drops.add(1_500, ip, rule.clone(), Action::Blacklist);
        }
        let all = drops.since(0);
        assert_eq!(all.len(), MOST_IN_SECOND + 1);
        assert_eq!(all.iter().map(|one| one.count).sum::<u64>(), 10_000);
        for second in 2..100 {
            (0..1_000_u32).for_each(|i| {
                let ip = std::net::Ipv4Addr::from_bits(i).into();
                drops.add(second * 1_000, ip, rule.clone(), Action::Tarpit);
            });
        }
        assert!(drops.since(0).len() <= MOST_RECORDS + MOST_IN_SECOND);
        assert_eq!(drops.since(99).len(), 1_000);
    }
}
