//! Alerts and silences in the shapes of Alertmanager's API.

use std::collections::BTreeMap;

use dwcp_telemetry::alerting::{Condition, Conditions, Muted, REGION, Silence};
use dwcp_types::Wall;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::alerts::mapped;
use super::super::incidents::at;
use super::super::silences::state;
use crate::clock;
use crate::monitor::alerts::Known;
use dwcp_api::alert::SilenceState;

/// What fires is said to fire for so long from now on, ms, as Alertmanager does of what it hears of again and again.
const HOLDS_MS: i64 = 5 * 60_000;

/// A moment as its API writes it.
pub fn moment(at_ms: i64) -> String {
    clock::utc(Wall(at(at_ms)))
}

/// `gettableAlert`
pub fn alert(known: &Known, receivers: &[String]) -> Value {
    let alert = &known.alert;
    let (mut silenced, mut inhibited, mut muted) = (Vec::new(), Vec::new(), Vec::new());
    match &known.muted {
        None => {}
        Some(Muted::Silenced(ids)) => silenced.clone_from(ids),
        Some(Muted::Inhibited(by)) => inhibited.push(by.to_string()),
        Some(Muted::Maintenance(window)) => muted.push(window.clone()),
    }
    let now_ms = clock::wall_ms();
    let receivers: Vec<Value> = receivers.iter().map(|name| json!({ "name": name })).collect();
    json!({
        "labels": mapped(&alert.labels),
        "annotations": alert.annotations,
        "fingerprint": known.fingerprint().to_string(),
        "receivers": receivers,
        "startsAt": moment(alert.fired_at_ms.unwrap_or(alert.active_at_ms)),
        "updatedAt": moment(now_ms),
        "endsAt": moment(now_ms.saturating_add(HOLDS_MS)),
        "status": {
            "state": if known.muted.is_some() { "suppressed" } else { "active" },
            "silencedBy": silenced,
            "inhibitedBy": inhibited,
            "mutedBy": muted,
        },
    })
}

/// What alerts of a group have in common: labels and the receiver.
type Group<'a> = (BTreeMap<&'a str, &'a str>, &'a str);

/// A list of `alertGroup`: alerts of one cause in one region, for each receiver.
pub fn groups(alerts: &[(Known, Vec<String>)]) -> Value {
    let mut groups: BTreeMap<Group<'_>, Vec<Value>> = BTreeMap::new();
    for (known, receivers) in alerts {
        let labels = ["cause", REGION].map(|name| (name, known.alert.labels.get(name)));
        let labels: BTreeMap<&str, &str> =
            labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        for receiver in receivers {
            groups.entry((labels.clone(), receiver)).or_default().push(alert(known, receivers));
        }
    }
    let mut shown = Vec::new();
    for ((labels, receiver), alerts) in groups {
        let receiver = json!({ "name": receiver });
        shown.push(json!({ "labels": labels, "receiver": receiver, "alerts": alerts }));
    }
    Value::Array(shown)
}

/// `gettableSilence`
pub fn silence(id: &str, silence: &Silence, now_ms: i64) -> Value {
    let matcher = |condition: &Condition| {
        let (regex, not) = condition.kind();
        json!({ "name": condition.name(), "value": condition.value(), "isRegex": regex, "isEqual": !not })
    };
    let is = match state(silence, now_ms) {
        SilenceState::Pending => "pending",
        SilenceState::Active => "active",
        SilenceState::Expired => "expired",
    };
    json!({
        "id": id,
        "status": { "state": is },
        "updatedAt": moment(silence.from_ms.min(now_ms)),
        "matchers": silence.conditions.0.iter().map(matcher).collect::<Vec<_>>(),
        "startsAt": moment(silence.from_ms),
        "endsAt": moment(silence.until_ms),
        "createdBy": silence.who,
        "comment": silence.comment,
    })
}

/// `postableSilence`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Posted {
    id: Option<String>,
    matchers: Vec<Matcher>,
    starts_at: String,
    ends_at: String,
    created_by: String,
    comment: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Matcher {
    name: String,
    value: String,
    is_regex: bool,
    #[serde(default = "yes")]
    is_equal: bool,
}

fn yes() -> bool {
    true
}

fn read_moment(field: &str, text: &str) -> Result<i64, String> {
    let read = text.parse::<Timestamp>().map(Timestamp::as_millisecond);
    read.map_err(|_| format!("{field} in body must be of type date-time"))
}

impl Posted {
    /// Reads a request's body.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn read(body: &[u8]) -> Result<Posted, String> {
        serde_json::from_slice(body).map_err(|error| format!("parsing body failed: {error}"))
    }

    /// The silence that `user` asks for, and its id if it is there already. One that was to begin in the past begins now.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn silence(&self, user: &str, now_ms: i64) -> Result<(Option<String>, Silence), String> {
        let conditions = self.matchers.iter().map(|of| {
            Condition::of(&of.name, &of.value, of.is_regex, !of.is_equal)
                .map_err(|why| format!("invalid silence: {why}"))
        });
        let conditions = Conditions(conditions.collect::<Result<_, String>>()?);
        let id = self.id.clone().filter(|id| !id.is_empty());
        let from_ms = read_moment("startsAt", &self.starts_at)?;
        // Whoever asks may name another; who asked stands beside.
        let named = self.created_by.trim();
        let beside = format!("(as {user})");
        let who = if named == user || named.is_empty() || named.ends_with(&beside) {
            named.to_owned()
        } else {
            format!("{named} {beside}")
        };
        let silence = Silence {
            conditions,
            from_ms: if id.is_some() { from_ms } else { from_ms.max(now_ms) },
            until_ms: read_moment("endsAt", &self.ends_at)?,
            who,
            comment: self.comment.trim().to_owned(),
        };
        Ok((id, silence))
    }
}

#[cfg(test)]
mod tests {
    use dwcp_telemetry::alerting::{Alert, Fingerprint, Phase};
    use dwcp_telemetry::model::Labels;

    use super::*;

    fn known(muted: Option<Muted>) -> Known {
        let alert = Alert {
            labels: Labels::new([("alertname", "Hot"), ("cause", "cpu"), ("region", "eu")]),
            annotations: BTreeMap::from([("summary".into(), "hot".into())]),
            value: 90.0,
            phase: Phase::Firing,
            active_at_ms: 0,
            fired_at_ms: Some(60_000),
            absent_since_ms: None,
            ended_at_ms: None,
        };
        Known { rule: "g/Hot".into(), alert, muted }
    }

    /// The fields that the published schema requires, and no others than it knows.
    fn has_fields(value: &Value, required: &[&str], optional: &[&str]) {
        let fields: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
        assert!(required.iter().all(|name| fields.contains(name)), "{fields:?} lacks one of {required:?}");
        assert!(fields.iter().all(|name| required.contains(name) || optional.contains(name)), "{fields:?}");
    }

    #[test]
    fn alerts_have_the_fields_of_the_published_schema() {
        let required = [
            "labels",
            "annotations",
            "receivers",
            "fingerprint",
            "startsAt",
            "updatedAt",
            "endsAt",
            "status",
        ];
        let pager = vec!["pager".to_owned()];
        let shown = alert(&known(None), &pager);
        assert_eq!(shown["receivers"], json!([{ "name": "pager" }]));
        has_fields(&shown, &required, &["generatorURL"]);
        has_fields(&shown["status"], &["state", "silencedBy", "inhibitedBy", "mutedBy"], &[]);
        assert_eq!(
            (&shown["status"]["state"], &shown["startsAt"]),
            (&json!("active"), &json!("1970-01-01T00:01:00.000Z"))
        );
        let of = |muted| alert(&known(Some(muted)), &pager)["status"].clone();
        assert_eq!(of(Muted::Silenced(vec!["s".into()]))["silencedBy"], json!(["s"]));
        assert_eq!(of(Muted::Inhibited(Fingerprint(10)))["inhibitedBy"], json!(["000000000000000a"]));
        assert_eq!(of(Muted::Maintenance("window-001".into()))["state"], "suppressed");
        let all = groups(&[(known(None), pager.clone()), (known(None), pager.clone())]);
        has_fields(&all[0], &["labels", "receiver", "alerts"], &[]);
        assert_eq!(all[0]["labels"], json!({ "cause": "cpu", "region": "eu" }));
        assert_eq!(all[0]["alerts"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn a_silence_comes_back_as_it_was_posted() {
        let body = json!({
            "matchers": [
                { "name": "region", "value": "eu", "isRegex": false },
                { "name": "severity", "value": "P[23]", "isRegex": true, "isEqual": false },
            ],
            "startsAt": "2026-11-29T10:00:00.000Z", "endsAt": "2026-11-29T12:00:00+01:00",
            "createdBy": "ann", "comment": "known",
        });
        let posted = Posted::read(body.to_string().as_bytes()).expect("a silence");
        let (id, made) = posted.silence("ann", 0).expect("a silence");
        assert_eq!(
            (id, made.conditions.to_string()),
            (None, "{region=\"eu\", severity!~\"P[23]\"}".to_owned())
        );
        let shown = silence("x", &made, made.from_ms);
        let required =
            ["id", "status", "updatedAt", "matchers", "startsAt", "endsAt", "createdBy", "comment"];
        has_fields(&shown, &required, &[]);
        has_fields(&shown["matchers"][0], &["name", "value", "isRegex"], &["isEqual"]);
        assert_eq!(
            (&shown["startsAt"], &shown["endsAt"]),
            (&body["startsAt"], &json!("2026-11-29T11:00:00.000Z"))
        );
        assert_eq!(shown["status"], json!({ "state": "active" }));
        assert_eq!(posted.silence("bot", 0).expect("a silence").1.who, "ann (as bot)");
    }

    #[test]
    fn what_is_no_silence_is_refused_with_a_reason() {
        let good = json!({ "matchers": [{ "name": "a", "value": "b", "isRegex": false }], "startsAt": "2026-11-29T10:00:00Z",
            "endsAt": "2026-11-29T12:00:00Z", "createdBy": "ann", "comment": "known" });
        for (field, value, why) in [
            ("startsAt", json!("soon"), "startsAt"),
            ("endsAt", json!(12), "body"),
            ("matchers", json!([{ "name": "a-b", "value": "", "isRegex": false }]), "name of a label"),
            ("matchers", json!([{ "name": "a", "value": "(", "isRegex": true }]), "not a pattern"),
            ("matchers", json!([{ "name": "a", "value": "((x{99}){99}){99}", "isRegex": true }]), "pattern"),
            ("matchers", json!({}), "body"),
        ] {
            let mut body = good.clone();
            body[field] = value;
            let read = Posted::read(body.to_string().as_bytes()).and_then(|posted| posted.silence("ann", 0));
            let refused = read.expect_err(field);
            assert!(refused.contains(why), "{refused}");
        }
    }
}
