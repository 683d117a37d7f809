//! How large incidents become.

use super::*;

/// What a document of the federation may have, bytes.
const DOCUMENT_BYTES: usize = 256 << 10;
const MANY: usize = 20_000;
const SOME: usize = 2_000;

fn stored(incident: &Incident) -> usize {
    serde_json::to_string(incident).expect("it can be stored").len()
}

fn largest(book: &Book) -> usize {
    book.incidents().map(stored).max().unwrap_or(0)
}

/// Alerts of one region, each of its own host, with labels that are as long and as bad as it gets.
fn many(region: &str, severity: &str) -> Vec<Alert> {
    let long = "\"\\\u{1}".repeat(400);
    let one = |number: usize| {
        let host = format!("{number:05}{long}");
        alert("HostDown", &[("region", region), ("host", &host), ("severity", severity)])
    };
    (0..MANY).map(one).collect()
}

/// The incident of a region that is gone, with all alerts of it, as it is after it was stored and read back.
fn dead_with_all(policy: &Policy<'_>) -> (Book, Vec<Alert>) {
    let mut firing = many("eu", "P2");
    firing.push(down("eu"));
    let mut book = Book::default();
    assert_eq!(turns(book.alerts(&firing, policy, MONDAY_MS)), [Decision::Opened(id(1))]);
    (Book::of(book.incidents().cloned()), firing)
}

#[test]
fn twenty_thousand_alerts_of_one_cause_are_one_incident_that_fits_into_a_document() {
    let policy = policy();
    let (mut book, mut firing) = dead_with_all(&policy);
    let now = |book: &Book| book.get(&id(1)).map(|one| (one.alerts.len(), one.more_firing, one.firing()));
    assert_eq!(now(&book), Some((ALERTS_MAX, 19_901, 20_001)));
    assert!(largest(&book) <= DOCUMENT_BYTES, "{}", largest(&book));
    assert_eq!(book.alerts(&firing, &policy, MONDAY_MS + 1), [], "once told, nothing is new");

    // The region is back; what is left of it stays where it was, also what was only counted.
    firing.pop();
    assert_eq!(book.alerts(&firing, &policy, MONDAY_MS + 2), []);
    assert_eq!(now(&book).map(|(.., firing)| firing), Some(20_000));
    // The kept ones end first, then all others.
    let kept: Vec<Fingerprint> = book.get(&id(1)).expect("there").alerts.keys().copied().collect();
    firing.retain(|alert| !kept.contains(&crate::alerting::fingerprint(&alert.labels)));
    assert_eq!(turns(book.alerts(&firing, &policy, MONDAY_MS + 3)), []);
    assert_eq!(turns(book.alerts(&[], &policy, MONDAY_MS + 4)), [Decision::Resolved(id(1))]);
    assert!(largest(&book) <= DOCUMENT_BYTES, "{}", largest(&book));
}

#[test]
fn what_was_only_counted_stays_resolved_when_a_person_resolved_it() {
    let policy = policy();
    let (mut book, firing) = dead_with_all(&policy);
    book.resolve(&id(1), "ada", MONDAY_MS + 1).expect("it is open");
    assert_eq!(book.alerts(&firing, &policy, MONDAY_MS + 2), []);
    book.prune(0, MONDAY_MS + 3);
    assert_eq!(book.incidents().count(), 1, "alerts of it still fire");
    assert_eq!(book.alerts(&[], &policy, MONDAY_MS + 4), []);
    assert_eq!(turns(book.alerts(&[down("eu")], &policy, MONDAY_MS + 5)), [Decision::Reopened(id(1))]);
}

#[test]
fn a_graver_alert_takes_the_place_of_a_less_grave_one() {
    let policy = policy();
    let window = |number: usize, severity| {
        let window = number.to_string();
        alert("Cpu", &[("region", "eu"), ("severity", severity), ("window", &window)])
    };
    let mut firing: Vec<Alert> = (0..SOME).map(|number| window(number, "P3")).collect();
    let mut book = Book::default();
    book.alerts(&firing, &policy, MONDAY_MS);
    firing.push(window(SOME, "P1"));
    assert_eq!(turns(book.alerts(&firing, &policy, MONDAY_MS + 1)), [Decision::Raised(id(1), Severity::P1)]);
    assert_eq!(book.alerts(&firing, &policy, MONDAY_MS + 2), []);
    let incident = book.get(&id(1)).expect("there");
    assert_eq!((incident.alerts.len(), incident.firing()), (ALERTS_MAX, 2_001));
}

#[test]
fn a_dead_region_takes_over_an_incident_with_more_alerts_than_are_kept() {
    let policy = policy();
    let window = |number: usize| {
        let window = number.to_string();
        alert("Cpu", &[("region", "eu"), ("severity", "P2"), ("window", &window)])
    };
    let mut firing: Vec<Alert> = (0..SOME).map(window).collect();
    let mut book = Book::default();
    book.alerts(&firing, &policy, MONDAY_MS);
    firing.push(down("eu"));
    let decided = turns(book.alerts(&firing, &policy, MONDAY_MS + 1));
    assert_eq!(decided, [Decision::Opened(id(2)), Decision::Merged(id(1), id(2))]);
    assert_eq!(book.get(&id(1)).map(Incident::firing), Some(0));
    assert_eq!(book.get(&id(2)).map(Incident::firing), Some(2_001));
    assert_eq!(turns(book.alerts(&[], &policy, MONDAY_MS + 2)), [Decision::Resolved(id(2))]);
}

#[test]
fn a_thousand_turns_and_long_texts_leave_an_incident_that_fits_into_a_document() {
    let (mut book, policy) = (Book::default(), policy());
    let long = "\"\\\n".repeat(3_000);
    let (firing, mut at) = (many("eu", "P1"), MONDAY_MS);
    let all: Vec<Alert> = firing.into_iter().take(150).chain([down("eu")]).collect();
    for _ in 0..300 {
        at += MINUTE_MS;
        book.alerts(&all, &policy, at);
        book.add_note(&id(1), &long, &long, at).expect("it is there");
        book.explain(&id(1), Some(&long), Some(&long), &long, at).expect("it is there");
        let told = Announcement { title: Some(&long), status: None, text: &long };
        book.publish(&id(1), &told, &long, at).expect("it is there");
        book.assign(&id(1), &long, &long, at).expect("it is open");
        book.acknowledge(&id(1), &long, at).expect("it is open");
        book.alerts(&[], &policy, at + 1);
    }
    for step in 0..100 {
        book.alerts(&[down("eu")], &policy, at);
        book.tick(&policy, at + step * 15 * MINUTE_MS);
    }
    let incident = book.get(&id(1)).expect("there");
    assert_eq!(incident.reopened, 300);
    assert!(incident.left_out > 0 && incident.timeline[0].what == "Opened as P0, critical.");
    assert!(stored(incident) <= DOCUMENT_BYTES, "{}", stored(incident));
    assert!(incident.timeline.iter().any(|entry| entry.who.is_some()), "what people wrote is kept longest");
}

#[test]
fn two_long_causes_stay_two() {
    let (mut book, policy) = (Book::default(), policy());
    let of = |end: &str| alert("A", &[("host", &format!("{}{end}", "h".repeat(10_000))), ("severity", "P1")]);
    let decided = turns(book.alerts(&[of("1"), of("2")], &policy, MONDAY_MS));
    assert_eq!(decided, [Decision::Opened(id(1)), Decision::Opened(id(2))]);
    assert!(largest(&book) < 8_000);
}
