//! What `notifications.yaml` says.

use std::collections::BTreeMap;
use std::fmt;

use crate::alerting::Conditions;
use crate::incidents::{Layer, Role};
use crate::model::Labels;

use super::{Allowed, Templates};

/// Everything that the file says.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// By name.
    pub receivers: BTreeMap<String, Receiver>,
    /// The first whose conditions hold counts.
    pub routes: Vec<Route>,
    /// Who is paged one after the other while nobody takes an incident.
    pub escalation: Vec<Role>,
    /// By name.
    pub people: BTreeMap<String, Person>,
    /// Who is on call when.
    pub layers: Vec<Layer>,
    /// Who is to hear that the monitor is well, and pages somebody when it is not heard.
    pub heartbeats: Vec<Heartbeat>,
    /// The time zone in which business days are counted.
    pub business_zone: String,
    pub templates: Templates,
    /// Private addresses that may be connected to all the same.
    pub allowed: Allowed,
    /// Where people reach the console, without a slash at the end: what links point to.
    pub console_url: Option<String>,
}

impl Settings {
    /// The receivers that are told what has these labels; none when no route takes it.
    pub fn receivers_for(&self, labels: &Labels) -> &[String] {
        let takes = |route: &&Route| route.conditions.hold(labels);
        self.routes.iter().find(takes).map_or(&[], |route| &route.receivers)
    }
}

/// Who is told what.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Each name once.
    pub name: String,
    /// What it takes.
    pub conditions: Conditions,
    /// Each of them is told.
    pub receivers: Vec<String>,
}

/// Someone who can be paged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Person {
    pub name: String,
    /// Gets the mails of pages that are this person's.
    pub email: Option<String>,
    /// The id of a member of Slack, who is mentioned.
    pub slack: Option<String>,
    /// Where this person is paged; empty: where the incident is told.
    pub receivers: Vec<String>,
}

/// Where something is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    pub kind: Kind,
    /// A PEM file with the authority that its certificate is checked with; the system's without one.
    pub ca_file: Option<String>,
}

/// A service outside of the federation that misses the monitor when it is silent: what no alert can tell, as alerts come from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Each name once.
    pub name: String,
    /// What is posted to. It often has a key in its path, so it is a secret.
    pub url: Secret,
    /// Between two beats, ms.
    pub every_ms: u64,
    /// A PEM file with the authority that its certificate is checked with; the system's without one.
    pub ca_file: Option<String>,
}

/// What a receiver is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A service of PagerDuty, by its integration key.
    PagerDuty {
        routing_key: Secret,
        url: String,
    },
    /// An incoming webhook of Slack.
    Slack {
        url: Secret,
        channel: Option<String>,
    },
    /// Anything that takes JSON; signed when there is a secret.
    Webhook {
        url: Secret,
        secret: Option<Secret>,
    },
    Email(Email),
    /// The page of this federation.
    StatusPage,
    /// All members of a cluster; one that takes it is enough.
    Alertmanager {
        urls: Vec<String>,
    },
}

impl Kind {
    /// As the file names it.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::PagerDuty { .. } => "pagerduty",
            Kind::Slack { .. } => "slack",
            Kind::Webhook { .. } => "webhook",
            Kind::Email(_) => "email",
            Kind::StatusPage => "status_page",
            Kind::Alertmanager { .. } => "alertmanager",
        }
    }
}

/// A mail server, and whom it sends to.
#[derive(Clone, Debug, PartialEq)]
pub struct Email {
    pub host: String,
    pub port: u16,
    pub security: Security,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub from: String,
    pub to: Vec<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// By STARTTLS, and not at all without it.
    StartTls,
    /// From its first byte.
    Tls,
    /// Not: for a server on the same machine.
    None,
}

/// What nobody is to see. It has no way into a log or an answer: its `Debug` hides it, and it can't be serialized.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Text(String),
    /// The absolute path of a file that holds it, read whenever it is used; white space around it does not count.
    File(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Text(_) => f.write_str("Secret(hidden)"),
            Secret::File(path) => write!(f, "Secret(in {path})"),
        }
    }
}
