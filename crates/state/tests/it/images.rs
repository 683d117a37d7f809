//! The catalogue of images: published, replaced, removed, and what was noticed of copies.

use dwcp_state::{Command, FEDERATION_GROUP, Image};
use dwcp_types::{Code, ImageDigest, Wall};

use super::samples;
use super::world::World;

fn publish(image: Image) -> Command {
    Command::PublishImage(Box::new(image))
}

fn another(digit: &str) -> Image {
    Image { digest: ImageDigest::from(digit.repeat(64).as_str()), ..samples::image() }
}

fn kinds(world: &World) -> Vec<(String, String, String)> {
    let events = world.view.core.ledger.events.iter().filter(|event| event.kind.starts_with("image"));
    events.map(|event| (event.kind.clone(), event.before.clone(), event.after.clone())).collect()
}

#[test]
fn a_newer_digest_replaces_the_one_under_its_name_and_the_same_one_changes_nothing() {
    let mut world = World::new();
    world.at = Wall(2_000);
    world.accept(FEDERATION_GROUP, publish(another("d")));
    let first = world.view.core.images["web"].clone();
    assert_eq!((first.at, first.bytes()), (Wall(2_000), 40 + (8 << 20)));
    world.at = Wall(3_000);
    world.accept(FEDERATION_GROUP, publish(another("d")));
    assert_eq!(world.view.core.images["web"], first);
    world.accept(FEDERATION_GROUP, publish(another("e")));
    let second = &world.view.core.images["web"];
    assert!(second.digest != first.digest && second.revision > first.revision);
    let short = |digit: &str| digit.repeat(12);
    let said = |kind: &str, before: String, after: String| (kind.to_string(), before, after);
    assert_eq!(
        kinds(&world),
        [said("image.published", "none".into(), short("d")), said("image.published", short("d"), short("e")),]
    );
    world.accept(FEDERATION_GROUP, Command::RemoveImage("web".into()));
    assert!(world.view.core.images.is_empty());
    assert_eq!(kinds(&world).last(), Some(&said("image.removed", short("e"), "none".into())));
}

#[test]
fn what_is_no_image_is_refused_and_so_is_removing_what_is_not_there() {
    let mut world = World::new();
    let part = |file: &str| {
        let mut image = another("d");
        image.parts[1].file = file.into();
        image
    };
    let wrong = [
        Image { name: "../etc".into(), ..another("d") },
        Image { name: String::new(), ..another("d") },
        Image { parts: Vec::new(), ..another("d") },
        Image { digest: "abc".into(), ..another("d") },
        another("D"),
        part("../vmlinuz"),
        part("image.yaml"),
    ];
    for image in wrong {
        assert_eq!(world.refuse(FEDERATION_GROUP, publish(image)), Code::BadValue);
    }
    assert_eq!(world.refuse(FEDERATION_GROUP, Command::RemoveImage("web".into())), Code::UnknownImage);
    assert_eq!(world.refuse(1, publish(another("d"))), Code::WrongState);
}

#[test]
fn the_catalogue_takes_so_many_images_and_no_more() {
    let mut world = World::new();
    let named = |number: usize| Image { name: format!("image-{number}"), ..another("d") };
    for number in 0..Image::MOST {
        world.accept(FEDERATION_GROUP, publish(named(number)));
    }
    assert_eq!(world.refuse(FEDERATION_GROUP, publish(named(Image::MOST))), Code::WrongState);
    world.accept(FEDERATION_GROUP, publish(Image { name: "image-0".into(), ..another("e") }));
}

#[test]
fn what_was_discarded_is_told_in_an_event_of_the_hosts_region() {
    let mut world = World::new();
    let mut fault = samples::image_fault();
    world.accept(1, Command::NoteImageFault(fault.clone()));
    (fault.from_region, fault.from_host) = ("a".into(), fault.host.clone());
    world.accept(1, Command::NoteImageFault(fault));
    let events = &world.view.regions[&"a".into()].ledger.events;
    let texts: Vec<&str> =
        events.iter().filter(|e| e.kind == "image.damaged").map(|e| e.text.as_str()).collect();
    assert!(texts[0].starts_with("host h2 discarded what b/h1 gave for image web dddddddddddd"), "{texts:?}");
    assert!(texts[1].starts_with("host h2 discarded its own copy"), "{texts:?}");
}
