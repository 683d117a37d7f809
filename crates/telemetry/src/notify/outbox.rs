//! What is to be delivered, to whom, and what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alerting::fingerprint;
use crate::model::Labels;

use super::{Action, Message, Settings, Subject, cut, one_line};

/// So long after it was put in it is given up, ms.
pub const PATIENCE_MS: i64 = 24 * 3_600_000;
/// The wait after the first attempt, ms; it doubles with each.
const FIRST_WAIT_MS: u64 = 2_000;
/// The longest wait that is our own, ms.
const LONGEST_WAIT_MS: u64 = 300_000;
/// The longest wait that a receiver may ask for, ms.
const LONGEST_ASKED_MS: u64 = 3_600_000;
/// So many attempts are kept, the latest.
const ATTEMPTS_KEPT: usize = 20;
/// So much is kept of what a receiver said, bytes.
const SAID_MAX: usize = 300;

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub verdict: Verdict,
    /// That of HTTP or SMTP, when there was an answer.
    pub status: Option<u16>,
    /// What the other side said, or why there was no answer. It holds no secret.
    pub said: String,
}

/// What an attempt means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was taken.
    Delivered,
    /// It may be taken later; not before so many ms have passed, if the receiver said so.
    Later(Option<u64>),
    /// It will never be taken.
    Never,
}

impl Outcome {
    /// An answer of HTTP: 2xx is delivered; 408, 429 and 5xx may be better later; everything else stays. `retry_after`: that header.
    pub fn of_http(status: u16, retry_after: Option<&str>, body: &str, now_ms: i64) -> Outcome {
        let verdict = match status {
            200..=299 => Verdict::Delivered,
            429 | 503 => Verdict::Later(retry_after.and_then(|text| asked_ms(text, now_ms))),
            408 | 500..=599 => Verdict::Later(None),
            _ => Verdict::Never,
        };
        Outcome { verdict, status: Some(status), said: said(body) }
    }

    /// An answer of SMTP: 2xx is delivered, 4xx may be better later, everything else stays.
    pub fn of_smtp(code: u16, text: &str) -> Outcome {
        let verdict = match code {
            200..=299 => Verdict::Delivered,
            400..=499 => Verdict::Later(None),
            _ => Verdict::Never,
        };
        Outcome { verdict, status: Some(code), said: said(text) }
    }

    /// There was no answer; it may be better later.
    pub fn no_answer(why: &str) -> Outcome {
        Outcome { verdict: Verdict::Later(None), status: None, said: said(why) }
    }

    /// It was not even tried, and will not be.
    pub fn refused(why: &str) -> Outcome {
        Outcome { verdict: Verdict::Never, status: None, said: said(why) }
    }
}

fn said(text: &str) -> String {
    cut(&one_line(cut(text, 4 * SAID_MAX).as_str()), SAID_MAX)
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
fn asked_ms(text: &str, now_ms: i64) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
    Some(date.saturating_sub(now_ms).max(0).unsigned_abs())
}

/// Where a delivery stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is to be tried, from that moment on.
    Pending {
        attempts: u32,
        next_at_ms: i64,
    },
    Delivered {
        at_ms: i64,
    },
    /// A dead letter: it is tried again only when someone says so.
    Dead {
        at_ms: i64,
        why: String,
    },
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at_ms: i64,
    pub status: Option<u16>,
    /// Cut to what is read.
    pub said: String,
}

/// One message to one receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// 16 hexadecimal digits that follow from the key.
    pub id: String,
    /// There is one delivery of a key: `INC-20261129-001#0/trigger/page`.
    pub key: String,
    /// The receiver's name.
    pub receiver: String,
    pub message: Message,
    pub state: State,
    pub created_at_ms: i64,
    /// When it becomes a dead letter.
    pub give_up_at_ms: i64,
    /// The latest ones.
    pub attempts: Vec<Attempt>,
}

impl Delivery {
    /// To be sent at once.
    pub fn new(message: &Message, receiver: &str, now_ms: i64) -> Delivery {
        let key = key(message, receiver);
        Delivery {
            id: fingerprint(&Labels::new([("key", key.as_str())])).to_string(),
            key,
            receiver: receiver.to_owned(),
            message: message.clone(),
            state: State::Pending { attempts: 0, next_at_ms: now_ms },
            created_at_ms: now_ms,
            give_up_at_ms: now_ms.saturating_add(PATIENCE_MS),
            attempts: Vec::new(),
        }
    }

    /// What an attempt makes of it. Waits double up to five minutes, each shortened by up to a half that follows from the id; a receiver
    /// that asks for a longer one gets it, up to an hour. One that is delivered or dead stays as it is.
    #[must_use]
    pub fn after(&self, outcome: &Outcome, now_ms: i64) -> Delivery {
        let State::Pending { attempts, .. } = self.state else { return self.clone() };
        let attempts = attempts.saturating_add(1);
        let mut next = self.clone();
        let attempt = Attempt { at_ms: now_ms, status: outcome.status, said: outcome.said.clone() };
        next.attempts.push(attempt);
        let surplus = next.attempts.len().saturating_sub(ATTEMPTS_KEPT);
        next.attempts.drain(..surplus);
        next.state = match outcome.verdict {
            Verdict::Delivered => State::Delivered { at_ms: now_ms },
            Verdict::Never => State::Dead { at_ms: now_ms, why: outcome.said.clone() },
            Verdict::Later(asked_ms) => {
                let asked_ms = asked_ms.unwrap_or(0).min(LONGEST_ASKED_MS);
                let wait_ms = self.wait_ms(attempts).max(asked_ms);
                let next_at_ms = now_ms.saturating_add(i64::try_from(wait_ms).unwrap_or(i64::MAX));
                if next_at_ms > self.give_up_at_ms {
                    let why = format!("given up after {attempts} attempts: {}", outcome.said);
                    State::Dead { at_ms: now_ms, why }
                } else {
                    State::Pending { attempts, next_at_ms }
                }
            }
        };
        next
    }

    /// Whether it is to be tried.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending { .. })
    }

    fn wait_ms(&self, attempts: u32) -> u64 {
        let doubled = FIRST_WAIT_MS.saturating_mul(1 << (attempts - 1).min(20)).min(LONGEST_WAIT_MS);
        let seed = u64::from_str_radix(&self.id, 16).unwrap_or(0);
        doubled - scrambled(seed.wrapping_add(u64::from(attempts))) % (doubled / 2)
    }

    /// What those that must not overtake each other share.
    fn lane(&self) -> (&str, bool, &str) {
        (self.message.about(), self.message.is_incident(), &self.receiver)
    }

    /// Its place in its lane.
    fn order(&self) -> (u32, Action, i64) {
        let round = match &self.message.subject {
            Subject::Incident { round, .. } => *round,
            Subject::Notice(_) => 0,
        };
        (round, self.message.action, self.message.at_ms)
    }
}

/// The finalizer of SplitMix64: every bit of the result depends on every bit of the seed.
fn scrambled(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What there is one delivery of.
fn key(message: &Message, receiver: &str) -> String {
    let action = match message.action {
        Action::Escalate(step) => format!("escalate-{step}"),
        other => other.word().to_owned(),
    };
    match &message.subject {
        Subject::Incident { id, round } => format!("{id}#{round}/{action}/{receiver}"),
        Subject::Notice(id) => format!("{id}/{action}/{receiver}"),
    }
}

/// All deliveries, by key. A plain value: stored with what is done, nothing is said twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outbox(BTreeMap<String, Delivery>);

impl Outbox {
    /// Makes a delivery for everyone who is to hear a message and has none of its key, and gives the new ones.
    ///
    /// A page goes to the person's own receivers, or to those of its route when there are none; an end goes to all who heard of the
    /// beginning, whatever the routes say by now; everything else goes along its route.
    pub fn add(&mut self, settings: &Settings, message: &Message, now_ms: i64) -> Vec<Delivery> {
        let mut added = Vec::new();
        for receiver in self.receivers(settings, message) {
            added.extend(self.add_to(&receiver, message, now_ms));
        }
        added
    }

    /// Makes a delivery for one receiver, unless there is one of its key.
    pub fn add_to(&mut self, receiver: &str, message: &Message, now_ms: i64) -> Option<Delivery> {
        let delivery = Delivery::new(message, receiver, now_ms);
        if self.0.contains_key(&delivery.key) {
            return None;
        }
        self.0.insert(delivery.key.clone(), delivery.clone());
        Some(delivery)
    }

    fn receivers(&self, settings: &Settings, message: &Message) -> Vec<String> {
        let routed = || settings.receivers_for(&message.labels()).to_vec();
        match message.action {
            Action::Announce => routed(),
            Action::Trigger => {
                let person = message.person.as_ref().and_then(|name| settings.people.get(name));
                let mut receivers = routed();
                let own = person.iter().flat_map(|person| &person.receivers);
                let more: Vec<String> = own.filter(|name| !receivers.contains(*name)).cloned().collect();
                receivers.extend(more);
                receivers
            }
            Action::Escalate(_) => {
                let person = message.person.as_ref().and_then(|name| settings.people.get(name));
                match person {
                    Some(person) if !person.receivers.is_empty() => person.receivers.clone(),
                    _ => routed(),
                }
            }
            Action::Acknowledge | Action::Resolve => {
                let heard = self.0.values().filter(|delivery| {
                    delivery.message.subject == message.subject
                        && matches!(delivery.message.action, Action::Trigger | Action::Escalate(_))
                });
                let names: std::collections::BTreeSet<String> =
                    heard.map(|delivery| delivery.receiver.clone()).collect();
                names.into_iter().collect()
            }
        }
    }

    /// Those to be sent now. Of what one receiver is told of one incident, only the first that is pending is: an end does not
    /// overtake its beginning.
    pub fn due(&self, now_ms: i64) -> impl Iterator<Item = &Delivery> {
        self.heads().filter(move |delivery| next_at_ms(delivery).is_some_and(|at_ms| at_ms <= now_ms))
    }

    /// When it is to be asked again, ms since 1970.
    pub fn next_at_ms(&self) -> Option<i64> {
        self.heads().filter_map(next_at_ms).min()
    }

    /// The first pending one of each lane.
    fn heads(&self) -> impl Iterator<Item = &Delivery> {
        let mut heads: BTreeMap<_, &Delivery> = BTreeMap::new();
        for delivery in self.0.values().filter(|delivery| delivery.is_pending()) {
            let head = heads.entry(delivery.lane()).or_insert(delivery);
            if delivery.order() < head.order() {
                *head = delivery;
            }
        }
        heads.into_values()
    }

    /// Puts one that is pending off until then, so that nobody else sends it meanwhile; it is not an attempt. `None`: it is not due.
    pub fn claim(&mut self, key: &str, now_ms: i64, until_ms: i64) -> Option<&Delivery> {
        let delivery = self.0.get_mut(key)?;
        let State::Pending { next_at_ms, .. } = &mut delivery.state else { return None };
        // Somebody else was quicker.
        if *next_at_ms > now_ms {
            return None;
        }
        *next_at_ms = until_ms;
        Some(delivery)
    }

    /// Notes what came of an attempt, and gives the delivery as it is now.
    pub fn settle(&mut self, key: &str, outcome: &Outcome, now_ms: i64) -> Option<&Delivery> {
        let delivery = self.0.get_mut(key)?;
        *delivery = delivery.after(outcome, now_ms);
        Some(delivery)
    }

    /// Tries a dead letter again, as if it were new; its attempts stay. Nothing happens to one that is not dead.
    pub fn retry(&mut self, key: &str, now_ms: i64) -> Option<&Delivery> {
        let delivery = self.0.get_mut(key)?;
        if matches!(delivery.state, State::Dead { .. }) {
            delivery.state = State::Pending { attempts: 0, next_at_ms: now_ms };
            delivery.give_up_at_ms = now_ms.saturating_add(PATIENCE_MS);
        }
        Some(delivery)
    }

    /// Leaves out what was delivered or died before that moment, and gives its keys. What an open incident was told must stay: without
    /// it nobody hears of its end.
    pub fn forget(&mut self, before_ms: i64, is_open: &dyn Fn(&Subject) -> bool) -> Vec<String> {
        let old = self.0.values().filter(|delivery| match delivery.state {
            State::Pending { .. } => false,
            State::Delivered { at_ms } | State::Dead { at_ms, .. } => {
                at_ms < before_ms && !is_open(&delivery.message.subject)
            }
        });
        let keys: Vec<String> = old.map(|delivery| delivery.key.clone()).collect();
        for key in &keys {
            self.0.remove(key);
        }
        keys
    }

    pub fn get(&self, key: &str) -> Option<&Delivery> {
        self.0.get(key)
    }

    /// All of them, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.0.values()
    }

    /// The dead letters.
    pub fn dead(&self) -> impl Iterator<Item = &Delivery> {
        self.iter().filter(|delivery| matches!(delivery.state, State::Dead { .. }))
    }
}

impl FromIterator<Delivery> for Outbox {
    fn from_iter<I: IntoIterator<Item = Delivery>>(deliveries: I) -> Outbox {
        Outbox(deliveries.into_iter().map(|delivery| (delivery.key.clone(), delivery)).collect())
    }
}

fn next_at_ms(delivery: &Delivery) -> Option<i64> {
    match delivery.state {
        State::Pending { next_at_ms, .. } => Some(next_at_ms),
        State::Delivered { .. } | State::Dead { .. } => None,
    }
}
