//! Messages that the tests of the parts share.

mod forms;
mod guard;
mod outbox;
mod read;

use std::collections::BTreeMap;

use super::*;
use crate::incidents::{IncidentId, Severity};

pub const NOW_MS: i64 = 1_796_000_000_000;

const EXAMPLE: &str = include_str!("../../../../docs/operations/examples/notifications.yaml");

/// The settings that the handbook shows.
fn example() -> Settings {
    read::read_or_panic(EXAMPLE)
}

fn incident(action: Action, title: &str) -> Message {
    Message {
        subject: Subject::Incident { id: IncidentId("INC-20261129-001".to_owned()), round: 0 },
        action,
        template: "incident-opened".to_owned(),
        severity: Severity::P0,
        status: "open".to_owned(),
        region: "us-east-1".to_owned(),
        federation: "prod".to_owned(),
        title: title.to_owned(),
        text: "Nobody answers.".to_owned(),
        person: Some("ada".to_owned()),
        link: Some("https://dwcp.example.com/incidents/INC-20261129-001".to_owned()),
        details: BTreeMap::from([("cause".to_owned(), "region-down{region=\"us-east-1\"}".to_owned())]),
        at_ms: NOW_MS,
    }
}

fn notice(title: &str) -> Message {
    Message {
        subject: Subject::Notice("op_7".to_owned()),
        action: Action::Announce,
        template: "region-failover".to_owned(),
        severity: Severity::P3,
        person: None,
        ..incident(Action::Announce, title)
    }
}
