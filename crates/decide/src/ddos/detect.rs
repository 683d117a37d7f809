//! What is out of bounds right now.
//!
//! Everything is counted in two panes of a second each: the one that is being filled, and the one before, of which the part
//! counts that the running second has not replaced yet. So a flood shows within a second of its begin.

mod attacks;
mod judge;
mod pane;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::net::key;
use super::sketch::hash;
use super::{Attack, Baseline, Block, Country, GuardPolicy, Net, Sample, Shares, Target};
use attacks::Open;
use pane::{Origin, Pane, field};

pub use traffic::{ServiceTraffic, Talker, Traffic};

/// How long a pane is filled, ms.
const PANE_MS: u64 = 1_000;
/// The most services that are told apart; others count as none.
const MOST_SERVICES: usize = 256;
/// The most names of paths and user agents that are remembered.
const MOST_NAMES: usize = 1_024;
/// The longest of them, characters.
const LONGEST_NAME: usize = 256;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request came.
    Request,
    /// A connection came.
    Connection,
    /// A connection was asked for; whether it is finished is not known.
    Syn,
    /// A client was cut off because it was too slow.
    SlowClient,
    /// A client reset streams.
    Reset,
    /// A request failed.
    Error,
    /// Only the bytes count.
    Bytes,
}

/// Something that came from somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub ip: IpAddr,
    pub country: Country,
    /// Its autonomous system; 0: unknown.
    pub asn: u32,
    /// By [`hash_text`](super::hash_text), without the query.
    pub path: u64,
    /// The same of the user agent.
    pub agent: u64,
    /// By [`Detector::service`].
    pub service: u16,
    pub kind: Kind,
    /// How many times; 1 usually.
    pub times: u32,
    pub bytes: u32,
}

/// How far an attack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Begins,
    /// It has become larger, or more sources take part, or its blocks are about to end.
    GoesOn,
    Ends,
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    pub phase: Phase,
    pub attack: Attack,
    /// What is proposed against it; none for what looks like a crowd.
    pub blocks: Vec<Block>,
}

/// What was learned: to be kept and given back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learned {
    /// By service.
    pub services: BTreeMap<String, Baseline>,
    pub countries: Shares,
    pub asns: Shares,
}

/// Watches everything that comes to a router.
pub struct Detector {
    policy: GuardPolicy,
    seed: u64,
    /// What one event adds to its source's weight: a source at a threshold has [`pane::FULL`].
    weights: [u64; field::COUNT],
    byte_weight: u64,
    now: Box<Pane>,
    before: Box<Pane>,
    begun_ms: u64,
    /// Names by number; the first is of what belongs to none.
    services: Vec<String>,
    names: BTreeMap<u64, String>,
    learned: Learned,
    open: BTreeMap<String, Open>,
    /// Who was let go, and until when.
    pardoned: BTreeMap<Target, u64>,
}

impl Detector {
    /// One that has seen nothing. The seed must not be known outside.
    pub fn new(policy: GuardPolicy, seed: u64) -> Detector {
        let pane = Box::new(Pane::new());
        let mut detector = Detector {
            weights: [0; field::COUNT],
            byte_weight: 0,
            policy: GuardPolicy::default(),
            seed,
            now: pane.clone(),
            before: pane,
            begun_ms: 0,
            services: vec![String::new()],
            names: BTreeMap::new(),
            learned: Learned::default(),
            open: BTreeMap::new(),
            pardoned: BTreeMap::new(),
        };
        detector.set_policy(policy);
        detector
    }

    /// Another policy from now on.
    pub fn set_policy(&mut self, policy: GuardPolicy) {
        let share = |threshold: u32| pane::FULL / u64::from(threshold.max(1));
        self.weights[field::REQUESTS] = share(policy.threshold_requests);
        self.weights[field::CONNECTIONS] = share(policy.threshold_connections);
        self.weights[field::SLOW] = share(policy.slow_clients);
        self.weights[field::RESETS] = share(policy.resets);
        self.byte_weight = share(policy.threshold_bytes);
        self.policy = policy;
    }

    /// The number of a service for [`Event::service`]; the same name has the same. 0 when there are too many.
    pub fn service(&mut self, name: &str) -> u16 {
        let known = self.services.iter().position(|known| known == name);
        let number = known.or_else(|| {
            let room = self.services.len() < MOST_SERVICES;
            room.then(|| self.services.push(name.to_owned())).map(|()| self.services.len() - 1)
        });
        number.unwrap_or(0) as u16
    }

    /// How many services have a number, with the one of what belongs to none.
    pub fn services(&self) -> usize {
        self.services.len()
    }

    /// What a path or user agent is called.
    pub fn named(&mut self, hash: u64, name: &str) {
        if self.names.len() >= MOST_NAMES && !self.names.contains_key(&hash) {
            let in_use: BTreeSet<u64> = self.now.names().chain(self.before.names()).collect();
            self.names.retain(|known, _| in_use.contains(known));
            if self.names.len() >= MOST_NAMES {
                return;
            }
        }
        self.names.entry(hash).or_insert_with(|| name.chars().take(LONGEST_NAME).collect());
    }

    /// What was learned so far.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    /// What was learned before; what was learned since is replaced.
    pub fn restore(&mut self, learned: Learned) {
        self.learned = learned;
    }

    /// Nothing is proposed against somebody until then: people have decided.
    pub fn pardon(&mut self, target: &Target, until_ms: u64) {
        self.pardoned.insert(target.clone(), until_ms);
        self.open.values_mut().for_each(|open| open.forgive(target));
    }

    /// Something happened. Cheap: for every request.
    pub fn seen(&mut self, now_ms: u64, event: &Event) {
        self.turn(now_ms);
        let what = field::of(event.kind);
        let weight = what.map_or(0, |what| self.weights[what] * u64::from(event.times))
            + self.byte_weight * u64::from(event.bytes);
        let source = Net::source(event.ip);
        let hashes = Origin {
            source: hash(self.seed, key(source.base())),
            neighbours: hash(self.seed ^ 1, Net::neighbours(event.ip).key()),
            asn: hash(self.seed ^ 2, event.asn.into()),
            country: hash(self.seed ^ 3, event.country.key()),
        };
        self.now.add(event, source, &hashes, what, weight);
    }

    /// Goes on to the pane that a moment belongs to.
    fn turn(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.begun_ms);
        if passed < PANE_MS {
            return;
        }
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
        if passed >= 2 * PANE_MS {
            self.before.clear();
        }
        self.begun_ms = now_ms - now_ms % PANE_MS;
        if passed < 2 * PANE_MS {
            self.learn(self.begun_ms - 1);
        }
    }

    /// Learns from the pane that is full, unless it is part of an attack.
    fn learn(&mut self, at_ms: u64) {
        let troubled: BTreeSet<&str> =
            self.open.values().filter(|open| open.is_trouble()).map(Open::service).collect();
        if troubled.contains("") {
            return;
        }
        for (number, name) in self.services.iter().enumerate().skip(1) {
            if !troubled.contains(name.as_str()) {
                let sample = self.before.service(number).map_or(Sample::default(), pane::ServicePane::sample);
                match self.learned.services.get_mut(name) {
                    Some(baseline) => baseline.learn(at_ms, &sample),
                    None => {
                        let mut baseline = Baseline::default();
                        baseline.learn(at_ms, &sample);
                        self.learned.services.insert(name.clone(), baseline);
                    }
                }
            }
        }
        if troubled.is_empty() && self.before.requests() > 0 {
            self.learned.countries.learn(&self.before.country_shares());
            self.learned.asns.learn(&self.before.asn_shares());
        }
    }

    /// Which part of the pane before still counts, in thousandths.
    fn rest(&self, now_ms: u64) -> u64 {
        PANE_MS.saturating_sub(now_ms.saturating_sub(self.begun_ms))
    }
}
