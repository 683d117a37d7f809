//! Incidents over the API of one region: what people do with them, what the public sees, who is on call.

use std::time::{SystemTime, UNIX_EPOCH};

use dwcp_api::IDEMPOTENCY_KEY;
use dwcp_api::federation::{FederationRead, FederationReadRequest};
use dwcp_api::incident::*;
use dwcp_api::on_call::*;

use crate::http_node::{ADMIN, Answer, Served, VIEWER};

const SCRIPT: &str = "<script>alert('x')</script>";

fn create(title: &str) -> IncidentCreateRequest {
    IncidentCreateRequest {
        title: title.to_owned(),
        severity: "critical".to_owned(),
        status: Some("investigating".to_owned()),
        ..Default::default()
    }
}

fn update(id: &str) -> IncidentUpdateRequest {
    IncidentUpdateRequest { incident: id.to_owned(), ..Default::default() }
}

fn open(served: &Served) -> Option<u64> {
    served.call::<FederationRead>(&FederationReadRequest::default()).expect("status").open_incidents
}

fn listed(served: &Served, request: IncidentListRequest) -> Vec<String> {
    let page = served.call::<IncidentList>(&request).expect("a list");
    page.items.into_iter().map(|incident| incident.title).collect()
}

#[test]
fn people_open_take_explain_and_resolve_an_incident() {
    let served = Served::start("incidents");
    assert_eq!(open(&served), Some(0));
    let wanted = create("Region us-east-1 failure");
    let dry = IncidentCreateRequest { dry_run: true, ..wanted.clone() };
    assert_eq!(served.call::<IncidentCreate>(&dry).expect("tried").incident.incident, "");
    assert_eq!(open(&served), Some(0));

    let first = served.call_as::<IncidentCreate>(&wanted, ADMIN, Some("k1")).expect("opened").incident;
    assert!(first.incident.starts_with("INC-2") && first.incident.ends_with("-001"), "{first:?}");
    assert_eq!((first.severity, first.status), (IncidentSeverity::P0, IncidentStatus::Investigating));
    assert_eq!(first.acknowledged_by.as_deref(), Some("admin"));
    assert_eq!(first.due_at_ms - first.opened_at_ms, 15 * 60_000);
    let again = served.call_as::<IncidentCreate>(&wanted, ADMIN, Some("k1")).expect("the same").incident;
    assert_eq!(again.incident, first.incident);
    let other = served.call_as::<IncidentCreate>(&create("Else"), ADMIN, Some("k1")).expect_err("another");
    assert_eq!(other.code, "DWCP-R0045");
    let open_one = IncidentCreateRequest { status: None, severity: "P3".to_owned(), ..create("odd noises") };
    let second = served.call::<IncidentCreate>(&open_one).expect("opened").incident;
    assert_eq!((second.status, second.acknowledged_by), (IncidentStatus::Open, None));
    assert_eq!(open(&served), Some(2));

    let id = first.incident.as_str();
    let explained = IncidentUpdateRequest {
        root_cause: Some("High controller CPU".to_owned()),
        resolution: Some("Scaled controllers".to_owned()),
        severity: Some("high".to_owned()),
        assignee: Some("ben".to_owned()),
        note: Some("a fan".to_owned()),
        ..update(id)
    };
    served.call_as::<IncidentUpdate>(&explained, ADMIN, Some("k2")).expect("changed");
    served.call_as::<IncidentUpdate>(&explained, ADMIN, Some("k2")).expect("the same once more");
    let resolved = IncidentUpdateRequest { status: Some("resolved".to_owned()), ..update(id) };
    let done = served.call_as::<IncidentUpdate>(&resolved, ADMIN, Some("k3")).expect("resolved").incident;
    assert_eq!((done.status, done.assignee.as_deref()), (IncidentStatus::Resolved, Some("ben")));
    served.call_as::<IncidentUpdate>(&resolved, ADMIN, Some("k3")).expect("it is what was asked for");
    let over = served.call::<IncidentUpdate>(&resolved).expect_err("it is over");
    assert_eq!(over.code, "DWCP-R0035");

    let read = IncidentReadRequest { incident: id.to_owned() };
    let detail = served.call::<IncidentRead>(&read).expect("there");
    assert_eq!(
        (detail.root_cause.as_str(), detail.resolution.as_str()),
        ("High controller CPU", "Scaled controllers")
    );
    let said = |what: &str| detail.timeline.iter().filter(|entry| entry.what == what).count();
    assert_eq!((said("a fan"), said("Resolved.")), (1, 1), "{:?}", detail.timeline);
    let draft = served.call::<IncidentPostMortem>(&read).expect("a draft").markdown;
    assert!(draft.starts_with(&format!("# Post-mortem of {id}: Region us-east-1 failure\n")), "{draft}");
    assert_eq!(open(&served), Some(1));

    let of = |status: &str| IncidentListRequest { status: Some(status.to_owned()), ..Default::default() };
    assert_eq!(listed(&served, of("open")), ["odd noises"]);
    assert_eq!(listed(&served, IncidentListRequest::default()), ["odd noises"]);
    assert_eq!(listed(&served, of("resolved")), ["Region us-east-1 failure"]);
    let high = IncidentListRequest { severity: Some("P0,high".to_owned()), all: true, ..Default::default() };
    assert_eq!(listed(&served, high), ["Region us-east-1 failure"]);
    let lately = IncidentListRequest { since_ms: Some(60_000), ..Default::default() };
    assert_eq!(listed(&served, lately).len(), 2);
}

#[test]
fn what_makes_no_sense_is_refused_names_its_field_and_changes_nothing() {
    let served = Served::start("incidents-bad");
    let id = served.call::<IncidentCreate>(&create("one")).expect("opened").incident.incident;
    let with = |title: &str, severity: &str, status: &str| IncidentCreateRequest {
        severity: severity.to_owned(),
        status: Some(status.to_owned()),
        ..create(title)
    };
    for (request, field) in [
        (with("", "P0", "open"), "title"),
        (with(&"x".repeat(201), "P0", "open"), "title"),
        (with("a\u{1b}[2J", "P0", "open"), "title"),
        (with("a\nb", "P0", "open"), "title"),
        (with("a", "P4", "open"), "severity"),
        (with("a", "P0", "resolved"), "status"),
    ] {
        let refused = served.call::<IncidentCreate>(&request).expect_err(field);
        assert_eq!((refused.status, refused.field.as_deref()), (400, Some(field)));
    }
    let some = |text: &str| Some(text.to_owned());
    for (request, field) in [
        (update(&id), "incident"),
        (IncidentUpdateRequest { status: some("open"), ..update(&id) }, "status"),
        (IncidentUpdateRequest { note: some(&"x".repeat(2_001)), ..update(&id) }, "note"),
        (IncidentUpdateRequest { assignee: some(" "), ..update(&id) }, "assignee"),
        (IncidentUpdateRequest { public_title: some("x"), ..update(&id) }, "public_note"),
        (IncidentUpdateRequest { public_status: some("x"), public_note: some("x"), ..update(&id) }, "status"),
    ] {
        let refused = served.call::<IncidentUpdate>(&request).expect_err(field);
        assert_eq!((refused.status, refused.field.as_deref()), (400, Some(field)));
    }
    let both = IncidentListRequest { status: some("open"), all: true, ..Default::default() };
    assert_eq!(served.call::<IncidentList>(&both).expect_err("both").field.as_deref(), Some("status"));
    let unknown = IncidentUpdateRequest { note: some("x"), ..update("INC-20200101-001") };
    assert_eq!(served.call::<IncidentUpdate>(&unknown).expect_err("unknown").code, "DWCP-R0078");
    assert_eq!(
        served.call_as::<IncidentCreate>(&create("two"), VIEWER, None).expect_err("a viewer").status,
        403
    );
    assert_eq!(listed(&served, IncidentListRequest { all: true, ..Default::default() }), ["one"]);
}

fn announce(served: &Served, form: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    served.send("POST", "/api/incidents", &headers, form.as_bytes())
}

fn public(served: &Served, path: &str) -> String {
    let answer = served.send("GET", path, &[], b"");
    assert_eq!(answer.status, 200, "{path}");
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    String::from_utf8(answer.body).expect("text")
}

#[test]
fn an_announced_incident_is_public_and_its_script_is_text() {
    let served = Served::start("incidents-status");
    served.call::<IncidentCreate>(&create("not for everybody")).expect("opened");
    let form = "title=Region+us-east-1+Failover&status=investigating";
    assert_eq!(served.send("POST", "/api/incidents", &[], form.as_bytes()).status, 401);
    assert_eq!(announce(&served, form, VIEWER).status, 403);
    let made = announce(&served, form, ADMIN);
    assert_eq!(made.status, 201);
    let made = made.json();
    let id = made["id"].as_str().expect("an id").to_owned();
    assert_eq!(made["url"], format!("https://test/status#{id}"));
    let script =
        announce(&served, "title=%3Cscript%3Ealert(%27x%27)%3C/script%3E&status=identified&body=b", ADMIN);
    assert_eq!(script.json()["title"], SCRIPT);

    let page = public(&served, "/status");
    assert!(page.contains("Region us-east-1 Failover") && page.contains("2 open incidents"), "{page}");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    assert!(page.contains("<bdi>us-east-1</bdi></th>"), "{page}");
    let feed = public(&served, "/status.rss");
    assert!(feed.contains("<title>Region us-east-1 Failover (investigating)</title>"), "{feed}");
    assert!(!feed.contains("<script"));
    for text in [&page, &feed, &public(&served, "/status.json")] {
        assert!(!text.contains("not for everybody") && !text.contains("admin"), "{text}");
    }

    let more = format!("id={id}&status=monitoring&message=It+runs+in+eu-west-1.");
    assert_eq!(announce(&served, &more, ADMIN).json()["status"], "monitoring");
    let over = announce(&served, &format!("id={id}&status=resolved"), ADMIN);
    assert_eq!((over.status, over.json()["status"].as_str()), (200, Some("resolved")));
    let json: serde_json::Value = serde_json::from_str(&public(&served, "/status.json")).expect("JSON");
    let past = &json["past_incidents"][0];
    assert_eq!((&past["id"], past["updates"].as_array().map(Vec::len)), (&serde_json::json!(id), Some(3)));
    let read = IncidentReadRequest { incident: id.clone() };
    let detail = served.call::<IncidentRead>(&read).expect("the same incident");
    assert_eq!((detail.incident.status, detail.pages.len()), (IncidentStatus::Resolved, 0));
    for form in [
        "status=investigating",
        "title=a&status=resolved",
        "title=a&titel=b",
        "id=INC-1&body=x",
        &format!("id={id}"),
    ] {
        let refused = announce(&served, form, ADMIN);
        assert!(matches!(refused.status, 400 | 404), "{form}: {}", refused.status);
    }
    assert_eq!(served.send("POST", "/status", &[], b"").status, 405);
    assert_eq!(served.get("/api/incidents", ADMIN).status, 405);
}

#[test]
fn the_same_announcement_under_a_key_is_one_incident() {
    let served = Served::start("incidents-key");
    let bearer = format!("Bearer {ADMIN}");
    let headers = [("authorization", bearer.as_str()), (IDEMPOTENCY_KEY, "k")];
    let ids =
        [(); 2].map(|()| served.send("POST", "/api/incidents", &headers, b"title=a").json()["id"].clone());
    assert_eq!(ids[0], ids[1]);
    assert_eq!(open(&served), Some(1));
}

#[test]
fn someone_stands_in_and_does_not_any_more() {
    let served = Served::start("incidents-on-call");
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let hour_ms = 3_600_000;
    let request = OnCallOverrideRequest {
        role: "primary".to_owned(),
        who: "ada".to_owned(),
        from_ms: now_ms - hour_ms,
        until_ms: now_ms + hour_ms,
        dry_run: false,
    };
    let dry = OnCallOverrideRequest { dry_run: true, ..request.clone() };
    assert_eq!(served.call::<OnCallOverride>(&dry).expect("tried").id, "");
    let one = served.call::<OnCallOverride>(&request).expect("stands in");
    assert_eq!((one.id.as_str(), one.by.as_str()), ("override-001", "admin"));
    assert_eq!(served.call::<OnCallOverride>(&request).expect("the same").id, "override-001");
    let on_duty = || {
        let found = served.call::<OnCallRead>(&OnCallReadRequest::default()).expect("who").duty;
        found.into_iter().map(|duty| (duty.role, duty.who, duty.until_ms)).collect::<Vec<_>>()
    };
    let primary = ("primary".to_owned(), Some("ada".to_owned()), Some(now_ms + hour_ms));
    assert_eq!(on_duty(), [primary, ("secondary".to_owned(), None, None)]);
    // Who is on call is paged, and gets the incident.
    let wanted = IncidentCreateRequest { status: None, ..create("fire") };
    let incident = served.call::<IncidentCreate>(&wanted).expect("opened").incident;
    assert_eq!(incident.assignee.as_deref(), Some("ada"));
    let read = IncidentReadRequest { incident: incident.incident };
    let pages = served.call::<IncidentRead>(&read).expect("there").pages;
    assert_eq!((pages[0].role.as_str(), pages[0].who.as_deref()), ("primary", Some("ada")));

    let days = served.call::<OnCallSchedule>(&OnCallScheduleRequest::default()).expect("days");
    assert_eq!((days.shifts.len(), days.overrides), (1, vec![one.clone()]));
    let ics =
        served.call::<OnCallCalendar>(&OnCallScheduleRequest { days: Some(7) }).expect("a calendar").ics;
    assert!(
        ics.starts_with("BEGIN:VCALENDAR\r\n") && ics.contains("SUMMARY:On call (primary): ada\r\n"),
        "{ics}"
    );
    let long = OnCallScheduleRequest { days: Some(401) };
    assert_eq!(served.call::<OnCallSchedule>(&long).expect_err("too long").field.as_deref(), Some("days"));
    let remove = OnCallRemoveRequest { id: one.id, dry_run: false };
    assert_eq!(served.call::<OnCallRemove>(&remove).expect("removed").who, "ada");
    assert_eq!(served.call::<OnCallRemove>(&remove).expect_err("gone").code, "DWCP-R0079");
    assert!(on_duty().iter().all(|(_, who, _)| who.is_none()));
}
