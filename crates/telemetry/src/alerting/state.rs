//! The alerts of one rule, from evaluation to evaluation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Labels, NAME, Sample, Value};
use crate::rules::{Alerting, QuerySample, Scope, Template};

use super::{ALERTNAME, Alert, Phase, REGION};

/// An alert about no region in particular fires on for so long while some region can't be read, ms.
const PARTLY_SEEN_MS: u64 = 300_000;

/// How the last evaluation of a rule went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There was none.
    #[default]
    Unknown,
    Ok,
    /// It failed; what was known before stands.
    Err(String),
}

/// The alerts of one rule that are pending or fire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleState {
    /// In the order of their labels.
    alerts: Vec<Alert>,
    health: Health,
    evaluated_at_ms: Option<i64>,
}

/// What is the same for all alerts of an evaluation.
pub struct Context<'a> {
    /// Labels of whoever evaluates, for templates.
    pub external: &'a Labels,
    /// Answers queries of templates at the moment of the evaluation.
    pub query: &'a dyn Fn(&str) -> Result<Vec<QuerySample>, String>,
    /// More alerts than this make the evaluation fail; 0: as many as there are.
    pub limit: usize,
    /// Regions whose metrics could not be read: an alert about one of them stays as it is, unless it says that the region is gone.
    pub unseen: &'a BTreeSet<String>,
    pub now_ms: i64,
}

/// An alert that is in another phase than before, and is shown as it is now.
pub type Change = Alert;

/// What an evaluation brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// In the order of their labels. An alert that goes from inactive to firing at once is told once.
    pub changes: Vec<Change>,
    /// Of the series `ALERTS` and `ALERTS_FOR_STATE`; a staleness marker where one ends.
    pub samples: Vec<(Labels, Sample)>,
    /// Templates that could not be expanded; the alert has a note in place of the text.
    pub warnings: Vec<String>,
}

impl RuleState {
    /// Those that are pending or fire, in the order of their labels.
    pub fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// When it was evaluated last, with success or without, ms since 1970.
    pub fn evaluated_at_ms(&self) -> Option<i64> {
        self.evaluated_at_ms
    }

    /// Takes what the rule's expression gave.
    ///
    /// An evaluation that failed, gave more than the limit, or gave two alerts of the same labels changes no alert: what can't be
    /// seen neither fires nor is over.
    pub fn evaluate(
        &mut self,
        rule: &Alerting,
        found: Result<&[QuerySample], &str>,
        context: &Context<'_>,
    ) -> Evaluation {
        self.evaluated_at_ms = Some(context.now_ms);
        let mut warnings = Vec::new();
        let made = match found {
            Ok(found) => make(rule, found, context, &mut warnings),
            Err(why) => Err(why.to_owned()),
        };
        let made = match made {
            Ok(made) => made,
            Err(why) => {
                self.health = Health::Err(why);
                return Evaluation { warnings, ..Evaluation::default() };
            }
        };
        self.health = Health::Ok;
        let mut evaluation = Evaluation { warnings, ..Evaluation::default() };
        let mut known: BTreeMap<Labels, Alert> =
            self.alerts.drain(..).map(|alert| (alert.labels.clone(), alert)).collect();
        for (labels, seen) in made {
            let old = known.remove(&labels);
            let was = old.as_ref().map(|alert| alert.phase);
            let alert = present(rule, old, labels, seen, context.now_ms);
            self.take_in(alert, was, context.now_ms, &mut evaluation);
        }
        for old in known.into_values() {
            let was = Some(old.phase);
            let region = old.labels.get(REGION);
            let unseen = old.region_down().is_none() && context.unseen.contains(region);
            // A sum over regions may lack what made it.
            let partly = region.is_empty() && !context.unseen.is_empty();
            let alert = if unseen { old } else { absent(rule, old, partly, context.now_ms) };
            self.take_in(alert, was, context.now_ms, &mut evaluation);
        }
        self.alerts.sort_by(|a, b| a.labels.cmp(&b.labels));
        evaluation.changes.sort_by(|a, b| a.labels.cmp(&b.labels));
        evaluation
    }

    /// Keeps an alert that goes on, and tells what changed with it.
    fn take_in(&mut self, alert: Alert, was: Option<Phase>, now_ms: i64, told: &mut Evaluation) {
        let one = |value| Sample { at_ms: now_ms, value };
        let goes_on = matches!(alert.phase, Phase::Pending | Phase::Firing);
        if let Some(was) = was.filter(|was| *was != alert.phase) {
            told.samples.push((alerts_series(&alert.labels, was), one(Value::stale())));
        }
        if goes_on {
            let since = alert.active_at_ms as f64 / 1_000.0;
            told.samples.push((alerts_series(&alert.labels, alert.phase), one(Value::Float(1.0))));
            told.samples.push((named(&alert.labels, "ALERTS_FOR_STATE", None), one(Value::Float(since))));
        } else {
            told.samples.push((named(&alert.labels, "ALERTS_FOR_STATE", None), one(Value::stale())));
        }
        if was != Some(alert.phase) {
            told.changes.push(alert.clone());
        }
        if goes_on {
            self.alerts.push(alert);
        }
    }
}

/// What an evaluation says of one alert.
struct Seen {
    value: f64,
    annotations: BTreeMap<String, String>,
}

/// The alerts that a rule's results make.
fn make(
    rule: &Alerting,
    found: &[QuerySample],
    context: &Context<'_>,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<Labels, Seen>, String> {
    if context.limit > 0 && found.len() > context.limit {
        return Err(format!("it gave {} alerts, and the limit is {}", found.len(), context.limit));
    }
    let mut made = BTreeMap::new();
    for sample in found {
        let scope = Scope {
            labels: &sample.labels,
            external: context.external,
            value: sample.value,
            query: context.query,
        };
        let mut expand = |name: &str, template: &Template| {
            template.expand(&scope).unwrap_or_else(|why| {
                warnings.push(format!("{}: {name}: {why}", rule.alert));
                format!("<no text: {why}>")
            })
        };
        let own: Vec<(&str, String)> =
            rule.labels.iter().map(|(name, template)| (name.as_str(), expand(name, template))).collect();
        let annotations =
            rule.annotations.iter().map(|(name, template)| (name.clone(), expand(name, template))).collect();
        let of_result = sample.labels.iter().filter(|(name, _)| *name != NAME);
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let labels = owned(of_result.chain(own).chain([(ALERTNAME, rule.alert.as_str())]));
        if made.contains_key(&labels) {
            return Err(format!("it gave two alerts of the labels {labels}"));
        }
        made.insert(labels, Seen { value: sample.value, annotations });
    }
    Ok(made)
}

/// An alert that the expression gives.
fn present(rule: &Alerting, old: Option<Alert>, labels: Labels, seen: Seen, now_ms: i64) -> Alert {
    let mut alert = old.unwrap_or_else(|| Alert {
        labels,
        annotations: BTreeMap::new(),
        value: seen.value,
        phase: Phase::Pending,
        active_at_ms: now_ms,
        fired_at_ms: None,
        absent_since_ms: None,
        ended_at_ms: None,
    });
    alert.value = seen.value;
    alert.annotations = seen.annotations;
    alert.absent_since_ms = None;
    if alert.phase == Phase::Pending && lasted(alert.active_at_ms, rule.for_ms, now_ms) {
        alert.phase = Phase::Firing;
        alert.fired_at_ms = Some(now_ms);
    }
    alert
}

/// An alert that the expression does not give any more.
fn absent(rule: &Alerting, mut alert: Alert, partly: bool, now_ms: i64) -> Alert {
    let keep_ms = if partly { rule.keep_firing_for_ms.max(PARTLY_SEEN_MS) } else { rule.keep_firing_for_ms };
    if alert.phase == Phase::Firing && keep_ms > 0 {
        let since = *alert.absent_since_ms.get_or_insert(now_ms);
        if !lasted(since, keep_ms, now_ms) {
            return alert;
        }
    }
    alert.phase = if alert.phase == Phase::Firing { Phase::Resolved } else { Phase::Withdrawn };
    alert.ended_at_ms = Some(now_ms);
    alert
}

fn lasted(since_ms: i64, for_ms: u64, now_ms: i64) -> bool {
    now_ms.saturating_sub(since_ms) >= i64::try_from(for_ms).unwrap_or(i64::MAX)
}

fn alerts_series(labels: &Labels, phase: Phase) -> Labels {
    named(labels, "ALERTS", Some(phase.name()))
}

fn named(labels: &Labels, name: &str, state: Option<&str>) -> Labels {
    let state = state.map(|state| ("alertstate", state));
    owned(labels.iter().chain([(NAME, name)]).chain(state))
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
    Labels::new(pairs.map(|(name, value)| (Arc::<str>::from(name), Arc::<str>::from(value))))
}
