//! Documents: all changes of a command or none, each on the text that it was decided on, and bounds.

use dwcp_state::*;
use dwcp_types::{Code, Revision, Wall};

use super::samples;
use super::world::World;

fn change(id: &str, expected: Revision, text: Option<&str>) -> DocumentChange {
    DocumentChange {
        key: DocumentKey::new(DocumentKind::Incident, id),
        expected,
        text: text.map(str::to_owned),
    }
}

fn all(changes: Vec<DocumentChange>) -> Command {
    Command::ChangeDocuments(Box::new(DocumentChanges { changes, events: Vec::new() }))
}

fn at(world: &World, id: &str) -> Option<Document> {
    world.view.core.documents.get(&DocumentKey::new(DocumentKind::Incident, id)).cloned()
}

#[test]
fn of_two_who_change_a_document_the_second_one_is_refused_and_changes_nothing_else() {
    let mut world = World::new();
    world.at = Wall(5_000);
    world.accept(FEDERATION_GROUP, all(vec![change("one", Revision(0), Some("a"))]));
    let first = at(&world, "one").expect("it is there");
    assert_eq!((first.text.as_str(), first.at), ("a", Wall(5_000)));
    world.accept(FEDERATION_GROUP, all(vec![change("one", first.revision, Some("b"))]));
    let second = at(&world, "one").expect("it is there");
    assert!(second.revision > first.revision && second.text == "b");

    let late = all(vec![change("two", Revision(0), Some("new")), change("one", first.revision, Some("c"))]);
    assert_eq!(world.refuse(FEDERATION_GROUP, late), Code::StaleRevision);
    assert_eq!((at(&world, "one"), at(&world, "two")), (Some(second.clone()), None));
    let again = all(vec![change("one", Revision(0), Some("a"))]);
    assert_eq!(world.refuse(FEDERATION_GROUP, again), Code::StaleRevision);

    world.accept(FEDERATION_GROUP, all(vec![change("one", second.revision, None)]));
    assert_eq!(at(&world, "one"), None);
    let gone = all(vec![change("one", second.revision, Some("d"))]);
    assert_eq!(world.refuse(FEDERATION_GROUP, gone), Code::StaleRevision);
}

#[test]
fn what_happened_is_an_event_of_the_federation() {
    let mut world = World::new();
    world.accept(FEDERATION_GROUP, Command::ChangeDocuments(Box::new(samples::documents())));
    let event = world.view.core.ledger.events.back().expect("there is one");
    assert_eq!((event.kind.as_str(), event.subject.as_str()), ("incident.opened", "a"));
    assert_eq!(event.severity, Severity::Warning);
}

#[test]
fn a_text_or_a_command_that_is_too_long_is_refused() {
    let mut world = World::new();
    let long = "x".repeat(Document::TEXT_MOST + 1);
    let one = all(vec![change("one", Revision(0), Some(&long))]);
    assert_eq!(world.refuse(FEDERATION_GROUP, one), Code::TooLarge);
    let five = (0..5).map(|id| change(&id.to_string(), Revision(0), Some(&long[1..]))).collect();
    assert_eq!(world.refuse(FEDERATION_GROUP, all(five)), Code::TooLarge);
    let many = (0..=Document::CHANGES_MOST).map(|id| change(&id.to_string(), Revision(0), None)).collect();
    assert_eq!(world.refuse(FEDERATION_GROUP, all(many)), Code::TooLarge);
    assert!(world.view.core.documents.is_empty());
}

#[test]
fn what_is_kept_together_has_a_bound() {
    let mut world = World::new();
    let text = "x".repeat(Document::TEXT_MOST);
    for id in 0..Document::TEXTS_MOST / Document::TEXT_MOST {
        world.accept(FEDERATION_GROUP, all(vec![change(&id.to_string(), Revision(0), Some(&text))]));
    }
    let more = all(vec![change("more", Revision(0), Some("x"))]);
    assert_eq!(world.refuse(FEDERATION_GROUP, more), Code::WrongState);
    let holds = at(&world, "0").expect("it is there").revision;
    world.accept(FEDERATION_GROUP, all(vec![change("0", holds, Some("shorter"))]));
    let holds = at(&world, "0").expect("what makes room is taken").revision;
    world.accept(FEDERATION_GROUP, all(vec![change("0", holds, None)]));
    world.accept(FEDERATION_GROUP, all(vec![change("more", Revision(0), Some("x"))]));
}
