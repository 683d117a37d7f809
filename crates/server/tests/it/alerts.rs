//! Alerts, rules and silences over the API of one region, also as Prometheus' and Alertmanager's tools ask.

use std::time::{SystemTime, UNIX_EPOCH};

use dwcp_api::alert::*;
use dwcp_types::Wall;
use serde_json::{Value, json};

use crate::http_node::{ADMIN, Served, VIEWER};

fn silence(condition: &str) -> SilenceCreateRequest {
    SilenceCreateRequest {
        conditions: vec![condition.to_owned()],
        duration_ms: 3_600_000,
        comment: "disks".to_owned(),
        ..Default::default()
    }
}

fn list(served: &Served, all: bool) -> Vec<Silence> {
    let request = SilenceListRequest { all, ..Default::default() };
    served.call::<SilenceList>(&request).expect("silences").items
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn a_silence_is_made_once_listed_and_ended_by_either_api() {
    let served = Served::start("silences");
    let dry = SilenceCreateRequest { dry_run: true, ..silence("region=\"eu\"") };
    let dry = served.call::<SilenceCreate>(&dry).expect("it could be");
    assert_eq!((dry.silence.as_str(), dry.state, list(&served, true).len()), ("", SilenceState::Active, 0));
    let made = served.call::<SilenceCreate>(&silence("region=\"eu\", severity=~\"P[23]\"")).expect("made");
    assert_eq!(made.conditions, ["region=\"eu\"", "severity=~\"P[23]\""]);
    assert_eq!(list(&served, false), std::slice::from_ref(&made));
    let again =
        |key| served.call_as::<SilenceCreate>(&silence("host=\"h2\""), ADMIN, Some(key)).expect("made");
    assert_eq!(again("k1"), again("k1"), "one key makes one silence");
    let ended = SilenceExpireRequest { silence: again("k1").silence, ..Default::default() };
    served.call::<SilenceExpire>(&ended).expect("ended");
    for (bad, field) in
        [("region=~\".*\"", None), ("region=~\"(\"", Some("conditions")), ("no", Some("conditions"))]
    {
        let refused = served.call::<SilenceCreate>(&silence(bad)).expect_err(bad);
        assert_eq!((refused.status, refused.field.as_deref()), (400, field), "{bad}");
    }

    let path = format!("/api/v2/silence/{}", made.silence);
    let seen = served.get(&path, VIEWER).json();
    assert_eq!(
        seen["matchers"][1],
        json!({ "name": "severity", "value": "P[23]", "isRegex": true, "isEqual": true })
    );
    assert_eq!((&seen["status"]["state"], &seen["comment"]), (&json!("active"), &json!("disks")));
    let filtered = |filter: &str| {
        let target = format!("/api/v2/silences?filter={filter}");
        served.get(&target, VIEWER).json().as_array().map(Vec::len)
    };
    assert_eq!((filtered("region%3D%22eu%22"), filtered("region%3D%22us%22")), (Some(1), Some(0)));
    let send = |method: &str, target: &str, token: &str, body: &Value| {
        served.send(method, target, &[("authorization", &bearer(token))], body.to_string().as_bytes())
    };
    assert_eq!(send("DELETE", &path, VIEWER, &Value::Null).status, 403);
    assert_eq!(send("DELETE", &path, ADMIN, &Value::Null).status, 200);
    let over = list(&served, true);
    assert_eq!((list(&served, false).len(), over.len()), (0, 2));
    assert!(over.iter().all(|silence| silence.state == SilenceState::Expired));

    let after = |hours: u64| Wall(now_ms() + hours * 3_600_000).utc();
    let mut body = json!({ "matchers": [{ "name": "host", "value": "h1", "isRegex": false }], "comment": "disks",
        "createdBy": "amtool", "startsAt": after(0), "endsAt": after(24 * 400) });
    assert_eq!(send("POST", "/api/v2/silences", ADMIN, &body).status, 400, "it lasts too long");
    body["endsAt"] = json!(after(1));
    let posted = send("POST", "/api/v2/silences", ADMIN, &body);
    assert_eq!(posted.status, 200, "{}", String::from_utf8_lossy(&posted.body));
    let id = posted.json()["silenceID"].as_str().expect("an id").to_owned();
    assert_eq!(list(&served, false)[0].silence, id);
    let ended = SilenceExpireRequest { silence: id, ..Default::default() };
    assert_eq!(served.call::<SilenceExpire>(&ended).expect("ended").state, SilenceState::Expired);
    let unknown = SilenceExpireRequest { silence: "12".to_owned(), ..Default::default() };
    assert_eq!(served.call::<SilenceExpire>(&unknown).expect_err("unknown").status, 404);
    assert_eq!(send("POST", "/api/v2/alerts", ADMIN, &json!([])).status, 405);
    assert_eq!(served.get("/api/v2/nothing", VIEWER).status, 404);
    assert_eq!(served.get("/api/v2/alerts?silenced=maybe", VIEWER).status, 400);
    assert_eq!(served.get("/api/v2/alerts", "").status, 401);
}

#[test]
fn rules_in_force_are_shown_and_a_file_is_checked() {
    let served = Served::start("alert-rules");
    let rules = served
        .call::<AlertRuleList>(&AlertRuleListRequest { group: Some("capacity".into()) })
        .expect("rules");
    let cpu = rules.rules.iter().find(|rule| rule.name == "CpuUtilizationCritical").expect("a shipped rule");
    assert_eq!(
        (cpu.file.as_str(), cpu.severity.as_str(), cpu.for_ms),
        ("shipped/capacity.yaml", "P2", 300_000)
    );
    let unknown = AlertRuleListRequest { group: Some("nothing".into()) };
    assert_eq!(
        served.call::<AlertRuleList>(&unknown).expect_err("no such group").field.as_deref(),
        Some("group")
    );
    let check = |text: &str| {
        let request = AlertRulesCheckRequest { text: text.to_owned() };
        served.call::<AlertRulesCheck>(&request).expect("checked").complaints
    };
    assert_eq!(check("groups: [{name: g, rules: [{alert: A, expr: up}]}]"), Vec::<String>::new());
    assert!(
        check("groups: [{name: g, rules: [{alert: A, expr: 'sum(up'}]}]")[0].starts_with("line 1, column ")
    );

    let count = rules.rules.len();
    let shown = served.get("/api/v1/rules?type=alert&rule_group[]=capacity", VIEWER).json();
    assert_eq!(shown["status"], "success");
    assert_eq!(shown["data"]["groups"].as_array().map(Vec::len), Some(1));
    assert!(shown["data"]["groups"][0]["rules"].as_array().is_some_and(|rules| rules.len() == count));
    assert_eq!(served.get("/api/v1/rules?type=loud", VIEWER).status, 400);
    assert_eq!(
        served.get("/api/v1/alerts", VIEWER).json(),
        json!({ "status": "success", "data": { "alerts": [] } })
    );
    assert_eq!(served.get("/api/v2/alerts/groups", VIEWER).json(), json!([]));
    let refused =
        served.call::<AlertRead>(&AlertReadRequest { alert: "12".into() }).expect_err("no such alert");
    assert_eq!(refused.status, 404);
}
