//! Alerts and the rules that make them.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_api::alert::{
    Alert as ApiAlert, AlertDetail, AlertList, AlertListRequest, AlertRead, AlertReadRequest, AlertRule,
    AlertRuleList, AlertRuleListRequest, AlertRules, AlertRulesCheck, AlertRulesCheckRequest,
    AlertRulesChecked, AlertState, RuleComplaint, RuleHealth,
};
use dwcp_api::{Page, Problem};
use dwcp_telemetry::alerting::{Alert, Health, Muted, Phase, REGION, RuleRecord, SEVERITY};
use dwcp_telemetry::model::Labels;
use dwcp_telemetry::rules::{Alerting, Rule, Template, read};
use dwcp_types::{Code, Refusal};

use super::call::{Call, bad_value};
use super::incidents::at;
use super::metrics::number;
use super::routes::Serve;
use super::{names, page};
use crate::monitor::alerts::{self, Known, Seen};
use crate::monitor::evaluate;
use crate::monitor::rules::check;

/// Longest rule file that is checked, bytes.
const LONGEST: usize = 900_000;

/// What is known of alerts here.
pub async fn look(call: &Call) -> Result<Seen, Problem> {
    alerts::look(call.api.monitor()).await.map_err(|refusal| Problem::from(&refusal))
}

fn state(alert: &Alert) -> AlertState {
    match alert.phase {
        Phase::Firing => AlertState::Firing,
        Phase::Pending => AlertState::Pending,
        Phase::Resolved | Phase::Withdrawn => AlertState::Resolved,
    }
}

/// Labels as a mapping.
pub fn mapped(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// An alert as the API shows it.
pub fn shown(known: &Known) -> ApiAlert {
    let alert = &known.alert;
    let muted_by = match &known.muted {
        None => Vec::new(),
        Some(Muted::Silenced(ids)) => ids.iter().map(|id| format!("silence {id}")).collect(),
        Some(Muted::Maintenance(id)) => vec![format!("maintenance {id}")],
        Some(Muted::Inhibited(by)) => vec![format!("inhibited by {by}")],
    };
    ApiAlert {
        alert: known.fingerprint().to_string(),
        name: alert.name().to_owned(),
        rule: known.rule.clone(),
        state: state(alert),
        severity: alert.labels.get(SEVERITY).to_owned(),
        labels: mapped(&alert.labels),
        annotations: alert.annotations.clone(),
        value: number(alert.value),
        started_at_ms: at(alert.active_at_ms),
        fired_at_ms: alert.fired_at_ms.map(at),
        ended_at_ms: alert.ended_at_ms.map(at),
        muted_by,
    }
}

/// The words of a comma list, each of them known.
fn words<'a>(field: &str, text: &'a str, known: &[&str]) -> Result<BTreeSet<&'a str>, Problem> {
    let words: BTreeSet<&str> = text.split(',').map(str::trim).collect();
    match words.iter().find(|word| !known.contains(word)) {
        Some(word) => {
            let shown: String = word.chars().take(40).collect();
            Err(bad_value(field, format!("no '{shown}'; there are {}", known.join(", "))))
        }
        None => Ok(words),
    }
}

/// The alerts that are asked for with keys in their order: those that fire, pending ones, resolved ones; by how grave they are, and
/// the newest first.
fn wanted(seen: &Seen, request: &AlertListRequest) -> Result<Vec<(String, ApiAlert)>, Problem> {
    let states = request.state.as_deref();
    let states = states.map(|text| words("state", text, &["firing", "pending", "resolved"])).transpose()?;
    let severities = request.severity.as_deref();
    let severities = severities.map(|text| words("severity", text, &["P0", "P1", "P2", "P3"])).transpose()?;
    let since_ms = request.since_ms.map(|ms| seen.now_ms.saturating_sub(crate::clock::ms(ms)));
    let is_wanted = |known: &&Known| {
        let alert = &known.alert;
        let in_state = match &states {
            Some(states) => states.contains(alert.phase.name()),
            None => alert.phase == Phase::Firing || alert.phase == Phase::Resolved && since_ms.is_some(),
        };
        in_state
            && since_ms.is_none_or(|since_ms| alert.ended_at_ms.is_none_or(|ended_ms| ended_ms >= since_ms))
            && severities.as_ref().is_none_or(|wanted| wanted.contains(alert.labels.get(SEVERITY)))
            && request.region.as_ref().is_none_or(|region| alert.labels.get(REGION) == region)
            && request.muted.is_none_or(|muted| muted == known.muted.is_some())
    };
    let key = |known: &Known| {
        let (alert, print) = (&known.alert, known.fingerprint());
        let grave =
            alert.labels.get(SEVERITY).as_bytes().get(..2).map_or("P9".into(), String::from_utf8_lossy);
        let at_ms = at(alert.ended_at_ms.unwrap_or(alert.active_at_ms));
        format!("{}{grave}{}", state(alert) as u8, page::newest_first(at_ms, &print.to_string()))
    };
    let mut found: Vec<_> = seen.alerts.iter().filter(is_wanted).map(|one| (key(one), shown(one))).collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// The alerts of a region that are pending or fire.
pub async fn open_of(call: &Call, region: &str) -> Result<Vec<ApiAlert>, Problem> {
    let request = AlertListRequest {
        state: Some("firing,pending".to_owned()),
        region: Some(region.to_owned()),
        ..AlertListRequest::default()
    };
    Ok(wanted(&look(call).await?, &request)?.into_iter().map(|(_, alert)| alert).collect())
}

impl Serve for AlertList {
    async fn answer(call: &Call, request: AlertListRequest) -> Result<Page<ApiAlert>, Problem> {
        if let Some(region) = request.region.clone() {
            call.find(move |view| names::region(view, &region).map(drop)).await?;
        }
        let found = wanted(&look(call).await?, &request)?;
        let as_of = call.look(names::as_of_federation).await?;
        page::cut(found, request.limit, request.cursor.as_deref(), as_of)
    }
}

impl Serve for AlertRead {
    async fn answer(call: &Call, request: AlertReadRequest) -> Result<AlertDetail, Problem> {
        let seen = look(call).await?;
        let of = |known: &&Known| known.fingerprint().to_string() == request.alert;
        let mut all: Vec<&Known> = seen.alerts.iter().filter(of).collect();
        all.sort_by_key(|known| std::cmp::Reverse(known.alert.ended_at_ms.unwrap_or(i64::MAX)));
        let mut all = all.into_iter().map(shown);
        let Some(alert) = all.next() else {
            let shown: String = request.alert.chars().take(40).collect();
            let refusal = Refusal::new(Code::UnknownAlert, format!("no alert {shown}"));
            let list = "dwcp-cli federation monitoring alerts list --since 7d";
            return Err(Problem::from(&refusal.try_this(list)));
        };
        let earlier = all.collect();
        let as_of = call.look(names::as_of_federation).await?;
        Ok(AlertDetail { alert, earlier, as_of })
    }
}

/// Names and texts of a rule's labels or annotations, as they are written.
pub fn written(of: &[(String, Template)]) -> BTreeMap<String, String> {
    of.iter().map(|(name, text)| (name.clone(), text.text().to_owned())).collect()
}

fn rule(file: &str, group: &str, rule: &Alerting, record: Option<&RuleRecord>) -> AlertRule {
    let record = record.cloned().unwrap_or_default();
    let (health, error) = match record.state.health() {
        Health::Unknown => (RuleHealth::Unknown, None),
        Health::Ok => (RuleHealth::Ok, None),
        Health::Err(why) => (RuleHealth::Failed, Some(why.clone())),
    };
    let count = |phase| record.state.alerts().iter().filter(|alert| alert.phase == phase).count() as u64;
    let labels = written(&rule.labels);
    AlertRule {
        group: group.to_owned(),
        name: rule.alert.clone(),
        file: file.to_owned(),
        severity: labels.get(SEVERITY).cloned().unwrap_or_default(),
        expr: rule.expr.clone(),
        for_ms: rule.for_ms,
        health,
        error,
        evaluated_at_ms: record.state.evaluated_at_ms().map(at),
        firing: count(Phase::Firing),
        pending: count(Phase::Pending),
        annotations: written(&rule.annotations),
        labels,
    }
}

impl Serve for AlertRuleList {
    async fn answer(call: &Call, request: AlertRuleListRequest) -> Result<AlertRules, Problem> {
        let seen = look(call).await?;
        let records: BTreeMap<&str, &RuleRecord> =
            seen.records.iter().map(|(id, record)| (id.as_str(), record)).collect();
        let in_force = call.api.monitor().rules.in_force();
        let mut rules = Vec::new();
        for (file, of) in &in_force.files {
            for group in &of.groups {
                if request.group.as_ref().is_some_and(|wanted| *wanted != group.name) {
                    continue;
                }
                for (id, one) in evaluate::rules(group) {
                    if let Rule::Alerting(one) = one {
                        rules.push(rule(file, &group.name, one, records.get(id.as_str()).copied()));
                    }
                }
            }
        }
        if let (Some(group), true) = (&request.group, rules.is_empty()) {
            let groups: Vec<String> = in_force.groups().into_iter().map(|group| group.name).collect();
            let shown: String = group.chars().take(40).collect();
            return Err(bad_value(
                "group",
                format!("no group '{shown}' with alerts among {}", groups.join(", ")),
            ));
        }
        let complaint =
            |(file, why): &(String, String)| RuleComplaint { file: file.clone(), message: why.clone() };
        let complaints = in_force.complaints.iter().map(complaint).collect();
        let as_of = call.look(names::as_of_federation).await?;
        Ok(AlertRules { rules, complaints, as_of })
    }
}

impl Serve for AlertRulesCheck {
    async fn answer(_call: &Call, request: AlertRulesCheckRequest) -> Result<AlertRulesChecked, Problem> {
        if request.text.len() > LONGEST {
            return Err(bad_value("text", format!("up to {LONGEST} bytes")));
        }
        super::metrics::blocking(move || Ok(checked(&request.text))).await
    }
}

fn checked(text: &str) -> AlertRulesChecked {
    match read(text, &check) {
        Ok(file) => {
            let all = || file.groups.iter().flat_map(|group| &group.rules);
            let alerting = all().filter(|rule| matches!(rule, Rule::Alerting(_))).count() as u64;
            AlertRulesChecked {
                groups: file.groups.len() as u64,
                alerting,
                recording: all().count() as u64 - alerting,
                complaints: Vec::new(),
            }
        }
        Err(complaints) => AlertRulesChecked {
            groups: 0,
            alerting: 0,
            recording: 0,
            complaints: complaints.0.iter().map(ToString::to_string).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, severity: &str, phase: Phase, (from, to): (i64, Option<i64>)) -> Known {
        let labels = Labels::new([("alertname", name), ("severity", severity), ("region", "eu")]);
        let alert = Alert {
            labels,
            annotations: BTreeMap::new(),
            value: f64::NAN,
            phase,
            active_at_ms: from,
            fired_at_ms: Some(from),
            absent_since_ms: None,
            ended_at_ms: to,
        };
        let muted = (name == "Muted").then(|| Muted::Silenced(vec!["s".into()]));
        Known { rule: format!("g/{name}"), alert, muted }
    }

    #[test]
    fn what_is_asked_for_comes_the_gravest_first() {
        let seen = Seen {
            records: Vec::new(),
            alerts: vec![
                known("Old", "P1", Phase::Resolved, (0, Some(10))),
                known("Late", "P2", Phase::Resolved, (0, Some(900))),
                known("Soon", "P0", Phase::Pending, (950, None)),
                known("Mild", "P3", Phase::Firing, (100, None)),
                known("Muted", "P1", Phase::Firing, (200, None)),
                known("Grave", "P1", Phase::Firing, (100, None)),
            ],
            now_ms: 1_000,
        };
        let names = |request: AlertListRequest| -> Vec<String> {
            let found = wanted(&seen, &request).expect("alerts");
            found.into_iter().map(|(_, alert)| alert.name).collect()
        };
        let none = AlertListRequest::default;
        assert_eq!(names(none()), ["Muted", "Grave", "Mild"]);
        let since = AlertListRequest { since_ms: Some(500), ..none() };
        assert_eq!(names(since), ["Muted", "Grave", "Mild", "Late"]);
        let all = AlertListRequest { state: Some("pending,resolved".into()), ..none() };
        assert_eq!(names(all), ["Soon", "Old", "Late"]);
        assert_eq!(names(AlertListRequest { muted: Some(false), ..none() }), ["Grave", "Mild"]);
        assert_eq!(names(AlertListRequest { severity: Some("P3, P0".into()), ..none() }), ["Mild"]);
        assert_eq!(names(AlertListRequest { region: Some("us".into()), ..none() }), Vec::<String>::new());
        let bad = AlertListRequest { state: Some("loud".into()), ..none() };
        assert_eq!(wanted(&seen, &bad).expect_err("no such state").field.as_deref(), Some("state"));
    }

    #[test]
    fn a_rule_file_is_checked_with_line_and_column() {
        let good =
            checked("groups:\n- name: g\n  rules:\n  - {alert: A, expr: up}\n  - {record: r, expr: up}\n");
        assert_eq!((good.groups, good.alerting, good.recording, good.complaints.len()), (1, 1, 1, 0));
        let bad = checked("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(up\n    fro: 5m\n");
        assert_eq!(bad.complaints.len(), 2, "{:?}", bad.complaints);
        assert!(bad.complaints.iter().all(|one| one.starts_with("line 5, ") || one.starts_with("line 6, ")));
    }
}
