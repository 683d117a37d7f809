//! The round of whoever leads the federation's group: evaluate what is due, decide what it means, write that down.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dwcp_roles::node::{Reply, Request};
use dwcp_state::{DocumentKind, FEDERATION_GROUP};
use dwcp_telemetry::alerting::{
    Alert, Fingerprint, Inhibition, Muted, Mutes, RuleRecord, Silence, Silences, Window, WindowScope,
    fingerprint,
};
use dwcp_telemetry::incidents::{Book, Severity};
use dwcp_telemetry::model::{Labels, Sample};
use dwcp_telemetry::store::SeriesRef;
use dwcp_types::{Code, Refusal};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::documents::{self, Documents, Draft};
use super::evaluate::{Evaluator, Over};
use super::{Monitor, incidents, outbox};
use crate::clock;
use crate::handle::{View, own, stopping};
use crate::http::{Api, reader};
use crate::log::Log;
use crate::telemetry::intake::Intake;

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(1);
/// While rules are evaluated, incidents are looked at so often.
const ESCALATED: Duration = Duration::from_secs(5);
/// So many alerts are new to incidents in one round: what they lead to is written down as one piece.
const NEW_AT_ONCE: usize = 200;
/// Incidents that ended, and silences, are kept for so long, ms.
const INCIDENTS_KEPT_MS: i64 = 100 * 86_400_000;
const SILENCES_KEPT_MS: i64 = 5 * 86_400_000;

/// All kinds that a round reads.
const KINDS: &[DocumentKind] = &[
    DocumentKind::Incident,
    DocumentKind::Silence,
    DocumentKind::Alerts,
    DocumentKind::Delivery,
    DocumentKind::OnCall,
];

/// Goes its rounds whenever this node leads the federation's group, for as long as it runs.
pub async fn keep(api: Arc<Api>, log: Log) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut duty = None;
    let mut said = String::new();
    loop {
        ticks.tick().await;
        let Some(leads) = api.monitor().node.look(|view| view.node.leads(FEDERATION_GROUP)).await else {
            return;
        };
        if !leads {
            duty = None;
            api.monitor().pulse.rests();
            continue;
        }
        let begun = match duty.take() {
            Some(evaluator) => Ok(evaluator),
            None => begin(&api).await,
        };
        let gone = match begun {
            Ok(evaluator) => go(&api, evaluator, &log).await,
            Err(refusal) => Err(refusal),
        };
        match gone {
            Ok(evaluator) => {
                duty = Some(evaluator);
                said.clear();
            }
            // What is here may not be what is written down: the next round begins with that.
            Err(refusal) => {
                let why = refusal.to_string();
                if why != said {
                    log.error("monitor", format!("alerts are not decided: {why}"));
                    said = why;
                }
            }
        }
    }
}

/// An evaluator that goes on where the last one stopped.
async fn begin(api: &Api) -> Result<Evaluator, Refusal> {
    // Whoever was just elected may not have all that the one before wrote.
    if let Reply::Refused(refusal) = api.monitor().node.ask(Request::Barrier(FEDERATION_GROUP)).await {
        return Err(refusal);
    }
    let seen = Documents::look(&api.monitor().node, &[DocumentKind::Alerts]).await?;
    let mut evaluator = Evaluator::default();
    evaluator.set_records(seen.all::<RuleRecord>(DocumentKind::Alerts)?);
    evaluator.follow(&api.monitor().rules.in_force());
    Ok(evaluator)
}

/// One round.
async fn go(api: &Arc<Api>, mut evaluator: Evaluator, log: &Log) -> Result<Evaluator, Refusal> {
    if !evaluator.is_due(clock::wall_ms()) {
        return Ok(evaluator);
    }
    let reader = reader(api).await.map_err(|problem| Refusal::new(Code::NotReady, problem.title))?;
    let intake = api.measured().map(|measured| measured.intake().clone());
    let rules = api.monitor().rules.clone();
    let evaluated = tokio::task::spawn_blocking(move || {
        evaluator.follow(&rules.in_force());
        let unseen = || reader.missing().into_keys().collect::<BTreeSet<String>>();
        let (ask, now_ms) = (|text: &str, at_ms: i64| reader.evaluate(text, at_ms), clock::wall_ms());
        let over = Over { ask: &ask, unseen: &unseen, now_ms };
        let brought = evaluator.evaluate(&over);
        let mut problems = brought.problems;
        if let Some(intake) = intake {
            problems.extend(keep_samples(&intake, brought.samples, now_ms).err());
        }
        (evaluator, problems)
    });
    let evaluated = meanwhile(api.monitor(), evaluated, log).await;
    let (mut evaluator, problems) =
        evaluated.map_err(|_| Refusal::new(Code::NotReady, "an assertion failed"))?;
    problems.into_iter().for_each(|problem| log.warning("monitor", problem));
    let now_ms = clock::wall_ms();
    let told = decide(api.monitor(), &evaluator, now_ms).await?;
    evaluator.written(now_ms);
    api.monitor().pulse.beats(now_ms);
    outbox::forward(api.monitor(), told, log);
    Ok(evaluator)
}

/// Waits for the rules. Who pages next, time decides alone: a store of metrics that is slow to answer holds no escalation up.
async fn meanwhile<T>(monitor: &Monitor, mut evaluated: JoinHandle<T>, log: &Log) -> Result<T, JoinError> {
    loop {
        match timeout(ESCALATED, &mut evaluated).await {
            Ok(done) => return done,
            Err(_) => {
                if let Err(refusal) = escalate(monitor).await {
                    log.error("monitor", format!("incidents do not escalate: {refusal}"));
                }
            }
        }
    }
}

/// What becomes of incidents by time alone.
async fn escalate(monitor: &Monitor) -> Result<(), Refusal> {
    still_leads(monitor).await?;
    incidents::change(monitor, &own(), |book, policy, now_ms| Ok(((), book.tick(policy, now_ms)))).await
}

/// What was evaluated before the lead was lost is not written over what the next monitor found since.
async fn still_leads(monitor: &Monitor) -> Result<(), Refusal> {
    let leads = monitor.node.look(|view| view.node.leads(FEDERATION_GROUP)).await;
    match leads.ok_or_else(stopping)? {
        true => Ok(()),
        false => Err(Refusal::new(Code::NotReady, "another region monitors now")),
    }
}

/// Keeps what rules recorded, and the series of alerts, among this region's metrics.
fn keep_samples(intake: &Intake, samples: Vec<(Labels, Sample)>, now_ms: i64) -> Result<(), String> {
    let named: Vec<_> =
        samples.into_iter().map(|(labels, sample)| (SeriesRef::new(labels), sample)).collect();
    let taken = intake.take(&named, now_ms, None);
    taken.map(drop).map_err(|error| format!("series of alerts are not kept: {error}"))
}

/// Decides what the alerts mean, and writes it down with where they stand. The alerts that nothing mutes come back.
async fn decide(monitor: &Monitor, evaluator: &Evaluator, now_ms: i64) -> Result<Vec<Alert>, Refusal> {
    still_leads(monitor).await?;
    let windows = monitor.node.look(windows).await.ok_or_else(stopping)?;
    let firing = evaluator.firing();
    documents::change(&monitor.node, &own(), KINDS, |seen, draft| {
        let mutes = mutes(seen, windows.clone())?;
        let labels: Vec<Labels> = firing.iter().map(|alert| alert.labels.clone()).collect();
        let muted = mutes.of(&labels, now_ms);
        of_incidents(monitor, (seen, draft), &firing, &muted, now_ms)?;
        of_silences(seen, draft, now_ms)?;
        for (id, record) in evaluator.to_write(now_ms) {
            draft.put(DocumentKind::Alerts, id, record)?;
        }
        let ids = evaluator.ids();
        for id in seen.ids(DocumentKind::Alerts).filter(|id| !ids.contains(*id)) {
            draft.remove(DocumentKind::Alerts, id);
        }
        let told = firing.iter().zip(&muted).filter(|(_, why)| why.is_none());
        Ok(told.map(|(alert, _)| alert.clone()).collect())
    })
    .await
}

/// What keeps alerts from being told.
///
/// # Errors
/// A silence can't be read.
pub fn mutes(seen: &Documents, windows: Vec<Window>) -> Result<Mutes, Refusal> {
    let mut silences = Silences::default();
    for (id, silence) in seen.all::<Silence>(DocumentKind::Silence)? {
        // It was taken when it was made.
        silences.keep(&id, silence);
    }
    let inhibitions = [Inhibition::by_dead_region()].into_iter().chain(Inhibition::by_graver()).collect();
    Ok(Mutes { silences, inhibitions, windows })
}

/// Maintenance windows that are not called off.
pub fn windows(view: &View<'_>) -> Vec<Window> {
    let open = view.node.facts().core.windows.values().filter(|window| window.cancelled_at.is_none());
    let shown = |window: &dwcp_state::Window| Window {
        id: window.id.to_string(),
        scope: match &window.host {
            Some(host) => WindowScope::Host(host.as_str().to_owned()),
            None => WindowScope::Region(window.region.as_str().to_owned()),
        },
        from_ms: clock::ms(window.starts_at.0),
        until_ms: clock::ms(window.ends_at.0),
    };
    open.map(shown).collect()
}

fn of_incidents(
    monitor: &Monitor,
    (seen, draft): (&Documents, &mut Draft),
    firing: &[Alert],
    muted: &[Option<Muted>],
    now_ms: i64,
) -> Result<(), Refusal> {
    let before = incidents::book(seen)?;
    let mut book = before.clone();
    let heard = heard(&book, firing, muted);
    let decisions = monitor.with_policy(seen, |policy| {
        let mut decisions = book.alerts(&heard, policy, now_ms);
        decisions.extend(book.tick(policy, now_ms));
        decisions
    })?;
    book.prune(INCIDENTS_KEPT_MS, now_ms);
    incidents::keep(draft, &before, &book)?;
    incidents::follow(monitor, (seen, draft), &book, &decisions, now_ms)
}

/// The alerts that incidents hear of: those that nobody muted, those that one of these explains, and whatever they have heard of
/// before, so that a silence ends nothing. Of new ones so many at a time, the gravest first: the others come with the next round.
fn heard(book: &Book, firing: &[Alert], muted: &[Option<Muted>]) -> Vec<Alert> {
    let all = || firing.iter().zip(muted);
    let loud: BTreeSet<Fingerprint> =
        all().filter(|(_, why)| why.is_none()).map(|(alert, _)| fingerprint(&alert.labels)).collect();
    let counts = |(_, why): &(&Alert, &Option<Muted>)| match why {
        None => true,
        Some(Muted::Inhibited(by)) => loud.contains(by),
        Some(Muted::Silenced(_) | Muted::Maintenance(_)) => false,
    };
    let known = |alert: &Alert| book.knows(fingerprint(&alert.labels));
    let mut heard: Vec<Alert> = all().map(|(alert, _)| alert).filter(|alert| known(alert)).cloned().collect();
    let mut new: Vec<&Alert> =
        all().filter(counts).map(|(alert, _)| alert).filter(|alert| !known(alert)).collect();
    new.sort_by_key(|alert| (alert.region_down().is_none(), Severity::of(&alert.labels)));
    heard.extend(new.into_iter().take(NEW_AT_ONCE).cloned());
    heard
}

/// Silences that ended long ago are forgotten.
fn of_silences(seen: &Documents, draft: &mut Draft, now_ms: i64) -> Result<(), Refusal> {
    let all = seen.all::<Silence>(DocumentKind::Silence)?;
    let old = all.iter().filter(|(_, silence)| silence.until_ms.saturating_add(SILENCES_KEPT_MS) <= now_ms);
    old.for_each(|(id, _)| draft.remove(DocumentKind::Silence, id));
    Ok(())
}
