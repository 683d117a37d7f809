//! What people and the loss of a region tell the public, and requests that come twice.

use super::*;

fn notes(book: &Book, number: u32) -> Vec<(PublicStatus, String)> {
    let published = book.get(&id(number)).and_then(|one| one.published.as_ref());
    let notes = published.into_iter().flat_map(|published| &published.notes);
    notes.map(|note| (note.status, note.text.clone())).collect()
}

#[test]
fn the_loss_of_a_region_is_published_by_itself_and_other_alerts_are_not() {
    let (mut book, policy) = (Book::default(), policy());
    book.alerts(&[lag("us"), down("eu")], &policy, MONDAY_MS);
    let dead = book.get(&id(1)).expect("there");
    assert_eq!(dead.published.as_ref().map(|one| one.title.as_str()), Some("Region eu is unavailable"));
    assert!(book.get(&id(2)).is_some_and(|one| one.published.is_none()));
    book.alerts(&[], &policy, MONDAY_MS + MINUTE_MS);
    assert_eq!(book.get(&id(1)).map(Incident::public_status), Some(PublicStatus::Resolved));
    book.alerts(&[down("eu")], &policy, MONDAY_MS + 2 * MINUTE_MS);
    let (first, second, third) =
        (PublicStatus::Investigating, PublicStatus::Resolved, PublicStatus::Investigating);
    assert_eq!(notes(&book, 1).iter().map(|(status, _)| *status).collect::<Vec<_>>(), [first, second, third]);
}

#[test]
fn a_person_tells_the_public_more_and_a_title_of_alerts_is_not_shown() {
    let (mut book, policy) = (Book::default(), policy());
    book.alerts(&[lag("eu")], &policy, MONDAY_MS);
    let told = |status, text| Announcement { title: None, status, text };
    assert_eq!(book.publish(&id(1), &told(None, "We look."), "ada", MONDAY_MS), Ok(()));
    let identified = told(Some(PublicStatus::Identified), "A cable.");
    assert_eq!(book.publish(&id(1), &identified, "ada", MONDAY_MS), Ok(()));
    let incident = book.get(&id(1)).expect("there");
    assert_eq!(incident.published.as_ref().map(|one| one.title.as_str()), Some("Degraded service"));
    assert_eq!(incident.public_status(), PublicStatus::Identified);
    book.resolve(&id(1), "ada", MONDAY_MS).expect("it is open");
    book.publish(&id(1), &told(None, "It was a cable."), "ada", MONDAY_MS).expect("also when it is over");
    assert_eq!(
        notes(&book, 1),
        [
            (PublicStatus::Investigating, "We look.".to_owned()),
            (PublicStatus::Identified, "A cable.".to_owned()),
            (PublicStatus::Resolved, "This incident is resolved.".to_owned()),
            (PublicStatus::Resolved, "It was a cable.".to_owned()),
        ]
    );
    assert_eq!(book.publish(&id(9), &told(None, "x"), "ada", MONDAY_MS), Err(Refused::Unknown(id(9))));
}

#[test]
fn what_was_published_of_a_consequence_goes_on_where_the_incident_does() {
    let (mut book, policy) = (Book::default(), policy());
    book.alerts(&[lag("eu")], &policy, MONDAY_MS);
    let told = Announcement { title: Some("Slow writes"), status: None, text: "We look." };
    book.publish(&id(1), &told, "ada", MONDAY_MS).expect("there");
    book.alerts(&[lag("eu"), down("eu")], &policy, MONDAY_MS + 1);
    assert_eq!(book.get(&id(1)).map(Incident::public_status), Some(PublicStatus::Resolved));
    let into = book.get(&id(2)).and_then(|one| one.published.clone()).expect("published");
    assert_eq!(into.title, "Region eu is unavailable", "it has words of its own");
}

#[test]
fn a_request_that_comes_twice_opens_one_incident() {
    let (mut book, policy) = (Book::default(), policy());
    let request = RequestKey { key: "ada/k1".to_owned(), digest: 7 };
    let opening =
        Opening { title: "odd noises", severity: Severity::P1, taken: true, request: Some(&request) };
    let (first, decided) = book.create(&opening, "ada", &policy, MONDAY_MS);
    // Who opens it has taken it, and nobody is paged.
    assert_eq!(decided, [Decision::Opened(id(1)), Decision::Acknowledged(id(1))]);
    assert_eq!(book.get(&first).map(|one| one.due_at_ms), Some(MONDAY_MS + 60 * MINUTE_MS));
    let mut book = Book::of(book.incidents().cloned());
    assert_eq!(book.create(&opening, "ada", &policy, MONDAY_MS + 1), (first, vec![]));
    assert_eq!(book.opened_by("ada/k2"), None);
    assert_eq!(book.tick(&policy, MONDAY_MS + 600 * MINUTE_MS), []);
}
