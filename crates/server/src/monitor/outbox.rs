//! Messages on their way. Whoever leads the federation's group sends them; a message is claimed in the federation's documents before
//! it is sent, so that a leader that was cut off sends nothing, and what came of it is written down afterwards.

use std::sync::Arc;
use std::time::Duration;

use dwcp_state::{DocumentEvent, DocumentKind, FEDERATION_GROUP, Severity as Weight};
use dwcp_telemetry::alerting::Alert;
use dwcp_telemetry::incidents::{Book, Decision, IncidentId};
use dwcp_telemetry::notify::{Action, Delivery, Kind, Message, Outbox, Outcome, Settings, State, Verdict};
use dwcp_types::Refusal;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::documents::{self, Documents, Draft};
use super::{Monitor, incidents};
use crate::clock;
use crate::handle::own;
use crate::log::Log;
use crate::notify::{self, Deliverer, WITHIN};

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_millis(500);
/// Whoever claimed a message and said nothing for so long has died: it is sent again, ms.
const CLAIMED_MS: i64 = 60_000;
/// So many are claimed between two looks, the gravest first: what came of them is written down before there are more.
const AT_ONCE: usize = 20;
/// What was delivered or given up is kept for so long, ms.
const KEPT_MS: i64 = 7 * 86_400_000;
/// An Alertmanager takes an alert that it has not heard of for so long for over, ms.
const FORWARDED_MS: i64 = 4 * 60_000;

const KINDS: &[DocumentKind] = &[DocumentKind::Delivery];

/// All messages.
///
/// # Errors
/// A later version wrote one.
pub fn outbox(seen: &Documents) -> Result<Outbox, Refusal> {
    Ok(seen.all::<Delivery>(DocumentKind::Delivery)?.into_iter().map(|(_, delivery)| delivery).collect())
}

/// Drafts a message to everyone who is to hear it and has not; the new ones come back.
///
/// # Errors
/// One can't be written.
pub fn post(
    monitor: &Monitor,
    outbox: &mut Outbox,
    draft: &mut Draft,
    message: &Message,
    now_ms: i64,
) -> Result<Vec<Delivery>, Refusal> {
    let added = outbox.add(&monitor.settings(), message, now_ms);
    for delivery in &added {
        draft.put(DocumentKind::Delivery, &delivery.key, delivery)?;
    }
    Ok(added)
}

/// Drafts what decisions about incidents are told with, and forgets what was told long ago.
///
/// # Errors
/// A document can't be read or written.
pub fn tell(
    monitor: &Monitor,
    (seen, draft): (&Documents, &mut Draft),
    book: &Book,
    decisions: &[Decision],
    now_ms: i64,
) -> Result<(), Refusal> {
    let mut outbox = outbox(seen)?;
    for decision in decisions {
        let Some((id, action, person)) = said(decision, decisions) else { continue };
        let Some(incident) = book.get(id) else { continue };
        let settings = monitor.settings();
        let message = Message::of_incident(&settings, &monitor.federation, incident, action, person, now_ms);
        match message {
            Ok(message) => drop(post(monitor, &mut outbox, draft, &message, now_ms)?),
            // The incident is there all the same, and says that nobody was told.
            Err(why) => draft.event(DocumentEvent {
                severity: Weight::Critical,
                kind: "notification.failed".to_owned(),
                subject: id.0.clone(),
                text: format!("nobody is told of {id}: {why}"),
            }),
        }
    }
    let is_open = |subject: &_| incidents::is_open(book, subject);
    for key in outbox.forget(now_ms.saturating_sub(KEPT_MS), &is_open) {
        draft.remove(DocumentKind::Delivery, &key);
    }
    Ok(())
}

/// Of which incident what is told of a decision, and to whom it is given.
fn said<'a>(
    decision: &'a Decision,
    all: &'a [Decision],
) -> Option<(&'a IncidentId, Action, Option<&'a str>)> {
    let paged = |of: &_| {
        all.iter().find_map(|other| match other {
            Decision::Page { id, who, .. } if id == of => who.as_deref(),
            _ => None,
        })
    };
    Some(match decision {
        // The first page is what tells of it.
        Decision::Opened(id) | Decision::Reopened(id) => (id, Action::Trigger, paged(id)),
        // Whoever is told of graver ones only has not heard of it; who has is not told twice.
        Decision::Raised(id, _) => (id, Action::Trigger, paged(id)),
        Decision::Page { step: 0, .. } | Decision::PostMortem(..) => return None,
        Decision::Page { id, step, who, .. } => (id, Action::Escalate(*step), who.as_deref()),
        Decision::Acknowledged(id) => (id, Action::Acknowledge, None),
        Decision::Resolved(id) | Decision::Merged(id, _) => (id, Action::Resolve, None),
    })
}

/// Sends what is due whenever this node leads the federation's group, for as long as it runs.
pub async fn keep(monitor: Monitor, log: Log) {
    let (told, mut outcomes) = mpsc::unbounded_channel();
    let publish = |_: &Delivery| Err("it is published by the monitor itself".to_owned());
    let hear = move |key: &str, outcome: Outcome| drop(told.send((key.to_owned(), outcome)));
    let deliverer = Deliverer::new(Settings::default(), WITHIN, Box::new(publish), Box::new(hear));
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = String::new();
    loop {
        let done = tokio::select! {
            // What came of attempts first: what is not written down would be sent again.
            biased;
            Some((key, outcome)) = outcomes.recv() => settle(&monitor, &key, &outcome, &log).await,
            _ = ticks.tick() => {
                let leads = monitor.node.look(|view| view.node.leads(FEDERATION_GROUP)).await;
                match leads {
                    None => return,
                    Some(false) => Ok(()),
                    Some(true) => {
                        deliverer.set(monitor.settings());
                        offer(&monitor, &deliverer).await
                    }
                }
            }
        };
        match done {
            Ok(()) => said.clear(),
            Err(refusal) => {
                let why = refusal.to_string();
                if why != said {
                    log.warning("monitor", format!("messages wait: {why}"));
                    said = why;
                }
            }
        }
    }
}

/// Claims what is due, and begins to send it.
async fn offer(monitor: &Monitor, deliverer: &Deliverer) -> Result<(), Refusal> {
    let seen = Documents::look(&monitor.node, KINDS).await?;
    let mut due: Vec<Delivery> = outbox(&seen)?.due(clock::wall_ms()).cloned().collect();
    due.sort_by_key(|delivery| delivery.message.severity);
    due.truncate(AT_ONCE);
    for delivery in due {
        if !claim(monitor, &delivery.key).await? {
            continue;
        }
        if monitor.is_page(&delivery.receiver) {
            let outcome = monitor.publish(&delivery.message).await;
            settle_with(monitor, &delivery.key, &outcome).await?;
        } else {
            // When its receiver has enough to do, the claim runs out and it is due again.
            deliverer.start(&delivery);
        }
    }
    Ok(())
}

/// Puts a message off, so that nobody else sends it meanwhile. False: it is not to be sent any more, or somebody else has claimed it.
async fn claim(monitor: &Monitor, key: &str) -> Result<bool, Refusal> {
    documents::change(&monitor.node, &own(), KINDS, |seen, draft| {
        let mut outbox = outbox(seen)?;
        let now_ms = clock::wall_ms();
        let Some(claimed) = outbox.claim(key, now_ms, now_ms.saturating_add(CLAIMED_MS)) else {
            return Ok(false);
        };
        draft.put(DocumentKind::Delivery, key, claimed)?;
        Ok(true)
    })
    .await
}

async fn settle(monitor: &Monitor, key: &str, outcome: &Outcome, log: &Log) -> Result<(), Refusal> {
    match settle_with(monitor, key, outcome).await? {
        Some(State::Dead { why, .. }) => log.error("monitor", format!("{key} is a dead letter: {why}")),
        Some(State::Pending { attempts, .. }) => {
            log.warning("monitor", format!("{key} was not taken at attempt {attempts}: {}", outcome.said));
        }
        Some(State::Delivered { .. }) => log.info("monitor", format!("{key} is delivered")),
        None => {}
    }
    Ok(())
}

/// Writes down what came of an attempt; where it stands now comes back.
async fn settle_with(monitor: &Monitor, key: &str, outcome: &Outcome) -> Result<Option<State>, Refusal> {
    documents::change(&monitor.node, &own(), KINDS, |seen, draft| {
        let mut outbox = outbox(seen)?;
        let Some(settled) = outbox.settle(key, outcome, clock::wall_ms()).cloned() else { return Ok(None) };
        draft.put(DocumentKind::Delivery, key, &settled)?;
        if let State::Dead { why, .. } = &settled.state {
            draft.event(DocumentEvent {
                severity: Weight::Warning,
                kind: "notification.dead".to_owned(),
                subject: settled.message.about().to_owned(),
                text: format!("{} was not told: {why}", settled.receiver),
            });
        }
        Ok(Some(settled.state))
    })
    .await
}

/// Hands all alerts that are told to every Alertmanager of the settings, as Prometheus does.
pub fn forward(monitor: &Monitor, alerts: Vec<Alert>, log: &Log) {
    let settings = monitor.settings();
    let is_one = |kind: &Kind| matches!(kind, Kind::Alertmanager { .. });
    for (name, _) in settings.receivers.iter().filter(|(_, receiver)| is_one(&receiver.kind)) {
        let (settings, name, alerts, log) =
            (Arc::clone(&settings), name.clone(), alerts.clone(), log.clone());
        // It may hang: the next round does not wait for it.
        tokio::task::spawn_blocking(move || {
            let until_ms = clock::wall_ms().saturating_add(FORWARDED_MS);
            let outcome = notify::forward(&settings, &name, &alerts, until_ms, WITHIN);
            if outcome.verdict != Verdict::Delivered {
                log.warning("monitor", format!("alerts are not taken by {name}: {}", outcome.said));
            }
        });
    }
}
