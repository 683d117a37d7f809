//! Rules and alerts as Prometheus' API shows them.

use std::collections::BTreeMap;

use dwcp_telemetry::alerting::{Health, Phase, RuleRecord};
use dwcp_telemetry::rules::{Alerting, Group, Recording, Rule};
use dwcp_types::Wall;
use serde_json::{Value, json};

use super::super::alerts::{mapped, written};
use super::super::incidents::at;
use super::{Fields, Refused, bad};
use crate::clock;
use crate::monitor::alerts::{Known, Seen};
use crate::monitor::evaluate;
use crate::monitor::rules::InForce;

/// How often a group is evaluated that does not say it, ms.
const EVERY_MS: u64 = 15_000;
/// How Prometheus writes that something never happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What `/api/v1/alerts` answers: what is pending or fires.
pub fn alerts(seen: &Seen) -> Value {
    let open = seen.alerts.iter().filter(|known| known.alert.ended_at_ms.is_none());
    json!({ "alerts": open.map(alert).collect::<Vec<_>>() })
}

fn alert(known: &Known) -> Value {
    let alert = &known.alert;
    let mut shown = json!({
        "labels": mapped(&alert.labels),
        "annotations": alert.annotations,
        "state": alert.phase.name(),
        "activeAt": moment(alert.active_at_ms),
        "value": exponential(alert.value),
    });
    if let Some(since_ms) = alert.absent_since_ms {
        shown["keepFiringSince"] = moment(since_ms).into();
    }
    shown
}

fn moment(at_ms: i64) -> String {
    clock::utc(Wall(at(at_ms)))
}

/// A number as Go's `%e` with as many digits as are needed writes it: `1.5e+00`.
fn exponential(value: f64) -> String {
    if !value.is_finite() {
        return super::super::metrics::number(value);
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, power)) => {
            let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
            format!("{digits}e{sign}{power:0>2}")
        }
        None => text,
    }
}

/// What `/api/v1/rules` answers, as far as `fields` choose.
///
/// # Errors
/// A field has a value that it can't have.
pub fn rules(in_force: &InForce, seen: &Seen, fields: &Fields) -> Result<Value, Refused> {
    let kind = match fields.get("type") {
        None | Some("") => None,
        Some(kind @ ("alert" | "record")) => Some(kind),
        Some(_) => return Err(bad("type: alert or record")),
    };
    let bare = match fields.get("exclude_alerts") {
        None | Some("" | "false") => false,
        Some("true") => true,
        Some(_) => return Err(bad("exclude_alerts: true or false")),
    };
    let chosen = |field: &'static str, name: &str| {
        fields.all(field).next().is_none() || fields.all(field).any(|wanted| wanted == name)
    };
    let records: BTreeMap<&str, &RuleRecord> =
        seen.records.iter().map(|(id, record)| (id.as_str(), record)).collect();
    let mut groups = Vec::new();
    for (file, of) in in_force.files.iter().filter(|(file, _)| chosen("file[]", file)) {
        for group in of.groups.iter().filter(|group| chosen("rule_group[]", &group.name)) {
            let mut rules = Vec::new();
            for (id, rule) in evaluate::rules(group) {
                let (name, is) = match rule {
                    Rule::Alerting(rule) => (rule.alert.as_str(), "alert"),
                    Rule::Recording(rule) => (rule.record.as_str(), "record"),
                };
                if kind.is_some_and(|kind| kind != is) || !chosen("rule_name[]", name) {
                    continue;
                }
                rules.push(match rule {
                    Rule::Alerting(rule) => {
                        alerting(rule, &id, records.get(id.as_str()).copied(), seen, bare)
                    }
                    Rule::Recording(rule) => recording(rule),
                });
            }
            // A choice of rules shows their groups only.
            if !rules.is_empty() || group.rules.is_empty() {
                groups.push(shown(file, group, rules, &records));
            }
        }
    }
    Ok(json!({ "groups": groups }))
}

fn shown(file: &str, group: &Group, rules: Vec<Value>, records: &BTreeMap<&str, &RuleRecord>) -> Value {
    let evaluated =
        evaluate::rules(group).filter_map(|(id, _)| records.get(id.as_str())?.state.evaluated_at_ms());
    json!({
        "name": group.name,
        "file": file,
        "rules": rules,
        "interval": group.interval_ms.unwrap_or(EVERY_MS) as f64 / 1e3,
        "limit": group.limit,
        "evaluationTime": 0.0,
        "lastEvaluation": evaluated.max().map_or(NEVER.to_owned(), moment),
    })
}

fn alerting(rule: &Alerting, id: &str, record: Option<&RuleRecord>, seen: &Seen, bare: bool) -> Value {
    let state = record.map(|record| &record.state);
    let phases = || state.into_iter().flat_map(|state| state.alerts()).map(|alert| alert.phase);
    let stands = match () {
        () if phases().any(|phase| phase == Phase::Firing) => "firing",
        () if phases().next().is_some() => "pending",
        () => "inactive",
    };
    let (health, error) = match state.map(|state| state.health()) {
        None | Some(Health::Unknown) => ("unknown", None),
        Some(Health::Ok) => ("ok", None),
        Some(Health::Err(why)) => ("err", Some(why)),
    };
    let mut shown = json!({
        "type": "alerting",
        "name": rule.alert,
        "query": rule.expr,
        "state": stands,
        "duration": rule.for_ms as f64 / 1e3,
        "keepFiringFor": rule.keep_firing_for_ms as f64 / 1e3,
        "labels": written(&rule.labels),
        "annotations": written(&rule.annotations),
        "health": health,
        "evaluationTime": 0.0,
        "lastEvaluation": state.and_then(|state| state.evaluated_at_ms()).map_or(NEVER.to_owned(), moment),
    });
    if !bare {
        let open = seen.alerts.iter().filter(|known| known.rule == id && known.alert.ended_at_ms.is_none());
        shown["alerts"] = open.map(alert).collect();
    }
    if let Some(why) = error {
        shown["lastError"] = why.as_str().into();
    }
    shown
}

fn recording(rule: &Recording) -> Value {
    let labels: BTreeMap<&str, &str> =
        rule.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    json!({
        "type": "recording",
        "name": rule.record,
        "query": rule.expr,
        "labels": labels,
        "health": "unknown",
        "evaluationTime": 0.0,
        "lastEvaluation": NEVER,
    })
}

#[cfg(test)]
mod tests {
    use dwcp_telemetry::alerting::Alert;
    use dwcp_telemetry::model::Labels;
    use dwcp_telemetry::rules::read;

    use super::*;

    #[test]
    fn rules_and_alerts_have_prometheus_form() {
        let text = "groups:\n- name: g\n  interval: 30s\n  rules:\n  - alert: Hot\n    expr: cpu > 85\n    for: 5m\n    labels: {severity: P2}\n    annotations: {summary: 'at {{ $value }}'}\n  - record: r\n    expr: up\n";
        let file = read(text, &|_| Ok(())).expect("a rule file");
        let in_force = InForce { files: vec![("/etc/a.yaml".into(), file)], ..InForce::default() };
        let alert = Alert {
            labels: Labels::new([("alertname", "Hot"), ("region", "eu")]),
            annotations: BTreeMap::from([("summary".into(), "at 90".into())]),
            value: 90.5,
            phase: Phase::Pending,
            active_at_ms: 1_500,
            fired_at_ms: None,
            absent_since_ms: None,
            ended_at_ms: None,
        };
        let known = Known { rule: "g/Hot".into(), alert, muted: None };
        let seen = Seen { records: Vec::new(), alerts: vec![known], now_ms: 2_000 };
        let shown = json!({
            "labels": { "alertname": "Hot", "region": "eu" }, "annotations": { "summary": "at 90" },
            "state": "pending", "activeAt": "1970-01-01T00:00:01.500Z", "value": "9.05e+01",
        });
        assert_eq!(alerts(&seen), json!({ "alerts": [shown] }));
        let all = rules(&in_force, &seen, &Fields::of("")).unwrap_or_default();
        let group = &all["groups"][0];
        assert_eq!((&group["interval"], &group["file"]), (&json!(30.0), &json!("/etc/a.yaml")));
        let rule = &group["rules"][0];
        assert_eq!((&rule["duration"], &rule["type"]), (&json!(300.0), &json!("alerting")));
        assert_eq!(
            (&rule["annotations"]["summary"], &rule["alerts"][0]),
            (&json!("at {{ $value }}"), &shown)
        );
        assert_eq!((&rule["health"], &rule["lastEvaluation"]), (&json!("unknown"), &json!(NEVER)));
        assert_eq!(group["rules"][1]["type"], "recording");
        let count = |fields: &str| -> usize {
            let all = rules(&in_force, &seen, &Fields::of(fields)).unwrap_or_default();
            all["groups"]
                .as_array()
                .map_or(0, |all| all.iter().map(|of| of["rules"].as_array().map_or(0, Vec::len)).sum())
        };
        assert_eq!(
            [
                count("type=alert"),
                count("type=record&rule_name[]=Hot"),
                count("file[]=x"),
                count("rule_group[]=g")
            ],
            [1, 0, 0, 2]
        );
        assert!(rules(&in_force, &seen, &Fields::of("type=loud")).is_err());
    }

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let written = [1.0, 90.5, 0.00025, 1e-12, -3e200, f64::INFINITY].map(exponential);
        assert_eq!(written, ["1e+00", "9.05e+01", "2.5e-04", "1e-12", "-3e+200", "+Inf"]);
    }
}
