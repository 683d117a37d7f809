//! Delivers notifications: each on a thread of its own, so that a receiver that hangs holds up nobody else.
//!
//! What is due, and what an outcome means, says [`dwcp_telemetry::notify::Outbox`]. A delivery whose answer was lost is sent again: to
//! PagerDuty with the same `dedup_key`, which makes one of both, to a webhook with the same id, as a mail with the same Message-ID.

mod http;
mod secret;
mod settings_file;
mod smtp;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use dwcp_telemetry::alerting::Alert;
use dwcp_telemetry::notify::{
    Delivery, Email, Heartbeat, Kind, Outcome, Person, Receiver, Settings, Verdict, alertmanager, email,
    pagerduty, slack, webhook,
};
use ring::hmac;
use serde_json::Value;

use crate::clock;
use http::Post;
use secret::{Revealed, reveal};

pub use settings_file::{Look, SettingsFile};

/// The longest that one attempt takes.
pub const WITHIN: Duration = Duration::from_secs(20);
/// So many deliveries to one receiver are under way at a time.
const AT_ONCE: usize = 4;

/// Puts a delivery on the federation's own status page; says why when that fails.
pub type Publish = dyn Fn(&Delivery) -> Result<(), String> + Send + Sync;
/// Hears what came of the attempt to deliver what has this key.
pub type Told = dyn Fn(&str, Outcome) + Send + Sync;

/// Delivers in the background.
#[derive(Clone)]
pub struct Deliverer {
    shared: Arc<Shared>,
}

struct Shared {
    settings: RwLock<Arc<Settings>>,
    /// The keys that are under way, by receiver.
    under_way: Mutex<BTreeMap<String, BTreeSet<String>>>,
    publish: Box<Publish>,
    told: Box<Told>,
    within: Duration,
}

impl Deliverer {
    /// Attempts take no longer than `within`. `told` is called on the thread of the attempt, once for each that was started.
    pub fn new(settings: Settings, within: Duration, publish: Box<Publish>, told: Box<Told>) -> Deliverer {
        let settings = RwLock::new(Arc::new(settings));
        Deliverer {
            shared: Arc::new(Shared { settings, under_way: Mutex::default(), publish, told, within }),
        }
    }

    /// Goes by other settings from the next attempt on.
    pub fn set(&self, settings: Arc<Settings>) {
        *self.shared.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Starts an attempt. False: it is under way already, or its receiver has enough to do; what is due is to be offered again.
    pub fn start(&self, delivery: &Delivery) -> bool {
        let mut under_way = self.shared.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = under_way.entry(delivery.receiver.clone()).or_default();
        if keys.len() >= AT_ONCE || !keys.insert(delivery.key.clone()) {
            return false;
        }
        drop(under_way);
        let (shared, delivery) = (Arc::clone(&self.shared), delivery.clone());
        let place = Place { shared, receiver: delivery.receiver.clone(), key: delivery.key.clone() };
        let attempt = move || {
            let shared = Arc::clone(&place.shared);
            let settings = Arc::clone(&shared.settings.read().unwrap_or_else(PoisonError::into_inner));
            let outcome = deliver(&settings, &delivery, shared.within, &shared.publish);
            // Whoever is told may start the next attempt at once.
            drop(place);
            (shared.told)(&delivery.key, outcome);
        };
        // Without a thread the place is given back, and the delivery stays due.
        std::thread::Builder::new().name("notify".to_owned()).spawn(attempt).is_ok()
    }
}

/// A place among those under way, given back whatever happens.
struct Place {
    shared: Arc<Shared>,
    receiver: String,
    key: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.shared.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = under_way.get_mut(&self.receiver) {
            keys.remove(&self.key);
            if keys.is_empty() {
                under_way.remove(&self.receiver);
            }
        }
    }
}

/// One attempt, in at most `within`.
pub fn deliver(settings: &Settings, delivery: &Delivery, within: Duration, publish: &Publish) -> Outcome {
    let Some(receiver) = settings.receivers.get(&delivery.receiver) else {
        // It may come back: a file that is written anew, another region's file.
        return Outcome::no_answer("the settings have no receiver of that name");
    };
    if let Kind::StatusPage = receiver.kind {
        return match publish(delivery) {
            Ok(()) => Outcome { verdict: Verdict::Delivered, status: None, said: String::new() },
            Err(why) => Outcome::no_answer(&why),
        };
    }
    let mut revealed = Revealed::default();
    let line = Line { settings, receiver, within };
    // A file with a secret that is not there yet may come.
    line.send(delivery, &mut revealed).unwrap_or_else(|why| Outcome::no_answer(&why))
}

/// Hands all alerts to an Alertmanager, as Prometheus does every minute: those that fire are over by themselves at `until_ms`.
pub fn forward(
    settings: &Settings,
    receiver: &str,
    alerts: &[Alert],
    until_ms: i64,
    within: Duration,
) -> Outcome {
    match settings.receivers.get(receiver) {
        Some(receiver @ Receiver { kind: Kind::Alertmanager { urls }, .. }) => {
            let body = alertmanager::alerts(alerts, settings.console_url.as_deref(), until_ms);
            Line { settings, receiver, within }.to_alertmanagers(urls, &body, &Revealed::default())
        }
        _ => Outcome::refused("that is no Alertmanager"),
    }
}

/// Tells a service outside that the monitor is well.
pub fn beat(settings: &Settings, heartbeat: &Heartbeat, body: &Value, within: Duration) -> Outcome {
    let mut revealed = Revealed::default();
    let url = match reveal(&heartbeat.url) {
        Ok(url) => revealed.add_url(url),
        Err(why) => return Outcome::no_answer(&why),
    };
    let (body, ca_file) = (body.to_string(), heartbeat.ca_file.as_deref());
    let post = Post { url: &url, body: body.as_bytes(), headers: &[], ca_file, within, revealed: &revealed };
    http::post(&post, &settings.allowed)
}

/// The way to a receiver.
struct Line<'a> {
    settings: &'a Settings,
    receiver: &'a Receiver,
    within: Duration,
}

impl Line<'_> {
    fn send(&self, delivery: &Delivery, revealed: &mut Revealed) -> Result<Outcome, String> {
        let message = &delivery.message;
        let person = message.person.as_ref().and_then(|name| self.settings.people.get(name));
        Ok(match &self.receiver.kind {
            Kind::PagerDuty { routing_key, url } => {
                let key = revealed.add(reveal(routing_key)?);
                let url = pagerduty::url(url, message.action);
                self.post(&url, &pagerduty::event(message, &key), &[], revealed)
            }
            Kind::Slack { url, channel } => {
                let url = revealed.add_url(reveal(url)?);
                self.post(&url, &slack::body(message, channel.as_deref(), person), &[], revealed)
            }
            Kind::Webhook { url, secret } => {
                let url = revealed.add_url(reveal(url)?);
                let secret = secret.as_ref().map(reveal).transpose()?.map(|secret| revealed.add(secret));
                self.to_webhook(delivery, &url, secret.as_deref(), revealed)
            }
            Kind::Email(settings) => self.to_mail_server(delivery, settings, person, revealed)?,
            Kind::StatusPage => Outcome::refused("a status page is not sent to"),
            Kind::Alertmanager { urls } => {
                self.to_alertmanagers(urls, &alertmanager::of_message(message), revealed)
            }
        })
    }

    fn post(&self, url: &str, body: &Value, headers: &[(&str, String)], revealed: &Revealed) -> Outcome {
        let ca_file = self.receiver.ca_file.as_deref();
        let body = body.to_string();
        let post = Post { url, body: body.as_bytes(), headers, ca_file, within: self.within, revealed };
        http::post(&post, &self.settings.allowed)
    }

    fn to_webhook(
        &self,
        delivery: &Delivery,
        url: &str,
        secret: Option<&str>,
        revealed: &Revealed,
    ) -> Outcome {
        let body = webhook::body(delivery);
        let timestamp = clock::wall_ms().div_euclid(1_000).to_string();
        let mut headers =
            vec![(webhook::TIMESTAMP, timestamp.clone()), (webhook::DELIVERY, delivery.id.clone())];
        if let Some(secret) = secret {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let tag = hmac::sign(&key, &webhook::signed(&timestamp, body.to_string().as_bytes()));
            let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            headers.push((webhook::SIGNATURE, format!("v1={hex}")));
        }
        self.post(url, &body, &headers, revealed)
    }

    /// Asks every member at once; one that takes it tells the others.
    fn to_alertmanagers(&self, urls: &[String], body: &Value, revealed: &Revealed) -> Outcome {
        let ask = |url: &String| self.post(&format!("{url}{}", alertmanager::PATH), body, &[], revealed);
        let all: Vec<Outcome> = std::thread::scope(|scope| {
            let asked: Vec<_> = urls.iter().map(|url| scope.spawn(move || ask(url))).collect();
            let ended = asked.into_iter().map(|one| one.join());
            ended
                .map(|outcome| outcome.unwrap_or_else(|_| Outcome::no_answer("the attempt failed")))
                .collect()
        });
        let taken = all.iter().find(|outcome| outcome.verdict == Verdict::Delivered);
        let later = all.iter().find(|outcome| matches!(outcome.verdict, Verdict::Later(_)));
        let best = taken.or(later).or(all.first()).cloned();
        best.unwrap_or_else(|| Outcome::refused("there is no URL"))
    }

    fn to_mail_server(
        &self,
        delivery: &Delivery,
        settings: &Email,
        person: Option<&Person>,
        revealed: &mut Revealed,
    ) -> Result<Outcome, String> {
        let password = settings.password.as_ref().map(reveal).transpose()?;
        if let (Some(user), Some(password)) = (&settings.user, &password) {
            smtp::forms(user, password).into_iter().for_each(|form| drop(revealed.add(form)));
        }
        let to = email::recipients(settings, &delivery.message, person);
        let text = email::mail(delivery, settings, &to, clock::wall_ms());
        let letter = smtp::Letter { to: &to, text: &text };
        let server = smtp::Server {
            email: settings,
            password: password.as_deref(),
            ca_file: self.receiver.ca_file.as_deref(),
            allowed: &self.settings.allowed,
            revealed,
        };
        Ok(smtp::send(&server, &letter, self.within))
    }
}
