use super::*;
use crate::alerting::{Alert, Phase};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use std::collections::BTreeSet;

mod bounds;
mod oncall;
mod publication;

/// 2026-11-02, a Monday, 10:00 UTC.
const MONDAY_MS: i64 = 1_793_613_600_000;
const MINUTE_MS: i64 = 60_000;

fn on_call(role: &Role, _: i64) -> Option<String> {
    match role {
        Role::Primary => Some("ada".to_owned()),
        Role::Secondary => Some("ben".to_owned()),
        Role::Person(name) => Some(name.clone()),
    }
}

fn policy() -> Policy<'static> {
    Policy {
        reopen_within_ms: 30 * MINUTE_MS,
        zone: TimeZone::UTC,
        escalation: vec![Role::Primary, Role::Secondary, Role::Person("cleo".to_owned())],
        on_call: &on_call,
    }
}

fn alert(name: &str, pairs: &[(&str, &str)]) -> Alert {
    Alert {
        labels: Labels::new(pairs.iter().chain(&[("alertname", name)]).copied()),
        annotations: BTreeMap::from([("summary".to_owned(), format!("{name} happens"))]),
        value: 1.0,
        phase: Phase::Firing,
        active_at_ms: MONDAY_MS,
        fired_at_ms: Some(MONDAY_MS),
        absent_since_ms: None,
        ended_at_ms: None,
    }
}

fn down(region: &str) -> Alert {
    alert("RegionDown", &[("region", region), ("severity", "P0"), ("cause", "region-down")])
}

fn lag(region: &str) -> Alert {
    alert("Lag", &[("region", region), ("severity", "P1")])
}

fn id(number: u32) -> IncidentId {
    IncidentId(format!("INC-20261102-{number:03}"))
}

/// Without the pages and drafts, which most tests are not about.
fn turns(decided: Vec<Decision>) -> Vec<Decision> {
    let quiet = |one: &Decision| !matches!(one, Decision::Page { .. } | Decision::PostMortem(..));
    decided.into_iter().filter(quiet).collect()
}

#[test]
fn severities_have_two_names_each() {
    for (text, severity) in
        [("P0", Severity::P0), ("critical", Severity::P0), ("p1", Severity::P1), ("Low", Severity::P3)]
    {
        assert_eq!(text.parse(), Ok(severity), "{text}");
    }
    assert!("P4".parse::<Severity>().is_err());
    assert_eq!(Severity::of(&Labels::default()), Severity::P3);
}

#[test]
fn the_response_time_is_that_of_the_guide_and_a_business_day_skips_the_weekend() {
    let zone = TimeZone::get("America/New_York").expect("a zone");
    let moment = |text: &str| {
        let local: jiff::civil::DateTime = text.parse().expect("a moment");
        zone.to_timestamp(local).expect("a moment of the zone").as_millisecond()
    };
    let monday = moment("2026-11-02T10:00");
    for (severity, minutes) in [(Severity::P0, 15), (Severity::P1, 60), (Severity::P2, 240)] {
        assert_eq!(clock::due_ms(severity, monday, &zone), monday + minutes * MINUTE_MS);
    }
    let cases = [
        ("2026-11-02T10:00", "2026-11-03T10:00"),
        ("2026-11-06T15:30", "2026-11-09T15:30"),
        ("2026-11-07T12:00", "2026-11-10T00:00"),
        ("2026-11-08T23:59", "2026-11-10T00:00"),
        // The clock is set back on Sunday, 2026-11-01.
        ("2026-10-30T09:00", "2026-11-02T09:00"),
    ];
    for (from, due) in cases {
        assert_eq!(clock::due_ms(Severity::P3, moment(from), &zone), moment(due), "{from}");
    }
}

#[test]
fn a_warning_and_its_critical_threshold_are_one_incident_that_is_raised() {
    let (mut book, policy) = (Book::default(), policy());
    let of =
        |name: &str, severity| alert(name, &[("region", "eu"), ("cause", "cpu"), ("severity", severity)]);
    let warning = of("CpuWarning", "P3");
    let opened = turns(book.alerts(std::slice::from_ref(&warning), &policy, MONDAY_MS));
    assert_eq!(opened, [Decision::Opened(id(1))]);
    let both = [warning.clone(), of("CpuCritical", "P1")];
    let later = MONDAY_MS + 5 * MINUTE_MS;
    assert_eq!(turns(book.alerts(&both, &policy, later)), [Decision::Raised(id(1), Severity::P1)]);
    assert_eq!(book.get(&id(1)).map(|one| one.due_at_ms), Some(later + 60 * MINUTE_MS));
    assert_eq!(turns(book.alerts(&[warning], &policy, later)), []);
    assert_eq!(turns(book.alerts(&[], &policy, later)), [Decision::Resolved(id(1))]);
    assert_eq!(turns(book.alerts(&[], &policy, later)), []);
}

#[test]
fn what_a_dead_region_causes_is_folded_into_its_incident_whichever_came_first() {
    let (mut book, policy) = (Book::default(), policy());
    let mut at = MONDAY_MS;
    let mut see = |book: &mut Book, firing: &[Alert]| {
        at += MINUTE_MS;
        turns(book.alerts(firing, &policy, at))
    };
    assert_eq!(see(&mut book, &[lag("eu"), lag("us")]), [Decision::Opened(id(1)), Decision::Opened(id(2))]);
    assert_eq!(
        see(&mut book, &[lag("eu"), lag("us"), down("eu")]),
        [Decision::Opened(id(3)), Decision::Merged(id(1), id(3))]
    );
    let host = alert("HostDown", &[("region", "eu"), ("host", "h1"), ("severity", "P2")]);
    assert_eq!(see(&mut book, &[lag("eu"), lag("us"), down("eu"), host.clone()]), []);
    // The region is back; what is left of it still belongs to its incident.
    assert_eq!(see(&mut book, &[lag("us"), host.clone()]), []);
    // What begins now does not.
    assert_eq!(see(&mut book, &[lag("us"), lag("eu"), host]), [Decision::Opened(id(4))]);
    assert_eq!(see(&mut book, &[lag("us"), lag("eu")]), [Decision::Resolved(id(3))]);
    assert_eq!(book.get(&id(1)).map(|one| one.status.clone()), Some(Status::Merged(id(3))));
    assert_eq!(see(&mut book, &[]), [Decision::Resolved(id(2)), Decision::Resolved(id(4))]);
}

#[test]
fn what_comes_back_soon_is_the_same_incident_and_later_a_new_one() {
    let (mut book, policy) = (Book::default(), policy());
    let firing = [lag("eu")];
    book.alerts(&firing, &policy, MONDAY_MS);
    book.alerts(&[], &policy, MONDAY_MS + MINUTE_MS);
    let soon = MONDAY_MS + 30 * MINUTE_MS;
    assert_eq!(turns(book.alerts(&firing, &policy, soon)), [Decision::Reopened(id(1))]);
    assert_eq!(book.get(&id(1)).map(|one| (one.reopened, one.steps)), Some((1, 1)));
    book.alerts(&[], &policy, soon);
    let late = soon + 30 * MINUTE_MS;
    assert_eq!(turns(book.alerts(&firing, &policy, late)), [Decision::Opened(id(2))]);
}

#[test]
fn nobody_taking_it_escalates_until_somebody_does() {
    let (mut book, policy) = (Book::default(), policy());
    let page = |step, role, who: &str| Decision::Page { id: id(1), step, role, who: Some(who.to_owned()) };
    let first = book.alerts(&[down("eu")], &policy, MONDAY_MS);
    assert_eq!(first, [Decision::Opened(id(1)), page(0, Role::Primary, "ada")]);
    let at = |minutes: i64| MONDAY_MS + minutes * MINUTE_MS;
    assert_eq!(book.next_at_ms(), Some(at(15)));
    assert_eq!(book.tick(&policy, at(15) - 1), []);
    assert_eq!(book.tick(&policy, at(15)), [page(1, Role::Secondary, "ben")]);
    assert_eq!(book.tick(&policy, at(15)), []);
    let cleo = || Role::Person("cleo".to_owned());
    assert_eq!(book.tick(&policy, at(30)), [page(2, cleo(), "cleo")]);
    assert_eq!(book.tick(&policy, at(45)), [page(3, cleo(), "cleo")]);
    assert_eq!(book.get(&id(1)).and_then(|one| one.assignee.clone()).as_deref(), Some("cleo"));
    assert_eq!(book.acknowledge(&id(1), "dan", at(46)), Ok(vec![Decision::Acknowledged(id(1))]));
    assert_eq!(book.acknowledge(&id(1), "eve", at(47)), Ok(vec![]));
    assert_eq!(book.tick(&policy, at(600)), []);
    assert_eq!(book.next_at_ms(), None);
}

#[test]
fn what_a_person_resolved_stays_resolved_while_its_alerts_go_on() {
    let (mut book, policy) = (Book::default(), policy());
    let firing = [lag("eu")];
    book.alerts(&firing, &policy, MONDAY_MS);
    assert_eq!(
        turns(book.resolve(&id(1), "ada", MONDAY_MS).expect("it is open")),
        [Decision::Resolved(id(1))]
    );
    assert_eq!(book.resolve(&id(1), "ada", MONDAY_MS), Err(Refused::Over(id(1))));
    assert_eq!(book.alerts(&firing, &policy, MONDAY_MS + 1), []);
    assert_eq!(book.alerts(&[], &policy, MONDAY_MS + 2), []);
    assert_eq!(turns(book.alerts(&firing, &policy, MONDAY_MS + 3)), [Decision::Reopened(id(1))]);
}

#[test]
fn people_open_change_and_explain_incidents() {
    let (mut book, policy) = (Book::default(), policy());
    let noises = Opening { title: "odd noises", severity: Severity::P2, taken: false, request: None };
    let (first, decided) = book.create(&noises, "ada", &policy, MONDAY_MS);
    assert_eq!(turns(decided), [Decision::Opened(id(1))]);
    let (second, _) = book.create(&noises, "ada", &policy, MONDAY_MS);
    assert_eq!((first, second.clone()), (id(1), id(2)));
    // No alert opened it, so none that is over closes it.
    assert_eq!(book.alerts(&[], &policy, MONDAY_MS), []);
    assert_eq!(book.assign(&second, "ben", "ada", MONDAY_MS), Ok(()));
    let raised = book.set_severity(&second, Severity::P1, "ben", &policy, MONDAY_MS);
    assert_eq!(raised, Ok(vec![Decision::Raised(id(2), Severity::P1)]));
    assert_eq!(book.set_severity(&second, Severity::P3, "ben", &policy, MONDAY_MS), Ok(vec![]));
    assert_eq!(book.add_note(&second, "a fan", "ben", MONDAY_MS), Ok(()));
    assert_eq!(book.explain(&second, Some("a fan"), None, "ben", MONDAY_MS), Ok(()));
    let incident = book.get(&second).expect("the incident");
    assert_eq!((incident.severity, incident.root_cause.as_str()), (Severity::P3, "a fan"));
    assert_eq!(book.assign(&id(9), "ben", "ada", MONDAY_MS), Err(Refused::Unknown(id(9))));
    book.prune(0, MONDAY_MS + 1);
    assert_eq!(book.incidents().count(), 2, "what is open is kept");
    book.resolve(&second, "ben", MONDAY_MS).expect("it is open");
    book.prune(10, MONDAY_MS + 9);
    assert_eq!(book.incidents().count(), 2);
    book.prune(10, MONDAY_MS + 10);
    assert_eq!(book.incidents().count(), 1);
}

#[test]
fn a_critical_incident_leaves_the_draft_of_a_post_mortem() {
    let (mut book, policy) = (Book::default(), policy());
    book.alerts(&[down("eu")], &policy, MONDAY_MS);
    book.acknowledge(&id(1), "ada", MONDAY_MS + 5 * MINUTE_MS).expect("it is open");
    book.add_note(&id(1), "power | cooling\nfailed", "ada", MONDAY_MS + 6 * MINUTE_MS).expect("it is there");
    let decided = book.alerts(&[], &policy, MONDAY_MS + 65 * MINUTE_MS);
    let [Decision::Resolved(_), Decision::PostMortem(_, text)] = &decided[..] else {
        panic!("resolved, and a draft: {decided:?}");
    };
    for line in [
        "# Post-mortem of INC-20261102-001: RegionDown happens\n",
        "| Severity | P0 (critical) |\n",
        "| Opened | 2026-11-02 10:00:00 |\n",
        "| Taken | 2026-11-02 10:05:00 by ada, after 5m00s, in time |\n",
        "| Resolved | 2026-11-02 11:05:00, after 1h05m |\n",
        "| 2026-11-02 10:00:00 |  | Paged ada. |\n",
        "| 2026-11-02 10:06:00 | ada | power \\| cooling failed |\n",
        "## Root cause\n\nWhy did it happen?\n",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    let quiet = book.alerts(&[alert("A", &[("severity", "P2")])], &policy, MONDAY_MS + 66 * MINUTE_MS);
    assert_eq!(turns(quiet), [Decision::Opened(id(2))]);
    assert_eq!(book.alerts(&[], &policy, MONDAY_MS + 67 * MINUTE_MS), [Decision::Resolved(id(2))]);
}

/// All alerts that the property test plays with.
fn all_alerts() -> Vec<Alert> {
    let mut all = vec![alert("Global", &[("severity", "P0")])];
    for region in ["eu", "us"] {
        let of = |name: &str, severity| {
            alert(name, &[("region", region), ("cause", "cpu"), ("severity", severity), ("window", name)])
        };
        all.extend([down(region), lag(region), of("CpuWarning", "P3"), of("CpuCritical", "P2")]);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever fires and ends, in whatever order it is told: never two open incidents of one cause, an open incident exactly while
    /// something of it fires, and a successor that takes the stored book over decides the same.
    #[test]
    fn there_is_one_open_incident_for_a_cause(
        steps in prop::collection::vec((0u16..512, 0u32..40, prop::bool::ANY, prop::bool::weighted(0.1)), 1..30),
    ) {
        let (mut book, mut other, policy, all) = (Book::default(), Book::default(), policy(), all_alerts());
        let mut at = MONDAY_MS;
        for (mask, minutes, reversed, resolves) in steps {
            at += i64::from(minutes) * MINUTE_MS;
            let mut firing: Vec<Alert> =
                all.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, a)| a.clone()).collect();
            let decided = book.alerts(&firing, &policy, at);
            if reversed {
                firing.reverse();
            }
            let text = serde_json::to_string(&other).expect("it can be stored");
            other = serde_json::from_str(&text).expect("it can be read");
            prop_assert_eq!(&decided, &other.alerts(&firing, &policy, at));
            prop_assert_eq!(book.alerts(&firing, &policy, at), vec![], "once told, nothing is new");
            prop_assert_eq!(&book, &other);

            let open: Vec<&Incident> = book.incidents().filter(|one| one.is_open()).collect();
            let causes: BTreeSet<&Cause> = open.iter().map(|one| &one.cause).collect();
            prop_assert_eq!(causes.len(), open.len(), "two of one cause");
            prop_assert!(open.iter().all(|one| one.has_firing()), "open without an alert");
            let attached: usize = book
                .incidents()
                .map(|one| one.alerts.values().filter(|alert| alert.ended_at_ms.is_none()).count())
                .sum();
            prop_assert_eq!(attached, firing.len(), "each alert belongs to one incident");
            for region in firing.iter().filter_map(Alert::region_down) {
                let elsewhere = open.iter().filter(|one| one.cause != Cause::dead_region(region));
                let label = format!("region=\"{region}\"");
                let mut alerts = elsewhere.flat_map(|one| one.alerts.values());
                prop_assert!(!alerts.any(|a| a.ended_at_ms.is_none() && a.labels.contains(&label)), "not folded");
            }
            let first = open.first().map(|one| one.id.clone()).filter(|_| resolves);
            if let Some(id) = first {
                prop_assert_eq!(book.resolve(&id, "ada", at), other.resolve(&id, "ada", at));
            }
        }
    }
}

#[test]
fn what_becomes_graver_after_someone_took_it_is_told_anew() {
    let mut book = Book::default();
    let quorum = |severity: &str| alert("Quorum", &[("severity", severity), ("cause", "quorum")]);
    book.alerts(&[quorum("P1")], &policy(), MONDAY_MS);
    book.acknowledge(&id(1), "ada", MONDAY_MS + MINUTE_MS).expect("taken");
    assert_eq!(book.tick(&policy(), MONDAY_MS + 600 * MINUTE_MS), [], "the clock stands");
    let mut graver = quorum("P0");
    graver.labels = Labels::new([("alertname", "QuorumLost"), ("severity", "P0"), ("cause", "quorum")]);
    let at_ms = MONDAY_MS + 601 * MINUTE_MS;
    let decided = book.alerts(&[quorum("P1"), graver], &policy(), at_ms);
    let paged =
        |one: &Decision| matches!(one, Decision::Page { step: 1, who: Some(who), .. } if who == "ben");
    assert!(decided.iter().any(paged), "{decided:?}");
    let incident = book.get(&id(1)).expect("it is there");
    assert_eq!((incident.severity, incident.acknowledged.is_none()), (Severity::P0, true));
    assert!(!book.tick(&policy(), at_ms + 16 * MINUTE_MS).is_empty(), "the clock runs again");
}
