//! What operators say of a region: settings, public endpoints, the announced end.

use dwcp_state::{
    Command, Coordinates, FEDERATION_GROUP as CORE, PublicEndpoint, Region, RegionSettings, Reminder,
};
use dwcp_types::{Code, RegionId, Wall};

use super::samples;
use super::world::{World, region};

const DAY: u64 = 86_400_000;

fn record<'w>(world: &'w World, name: &str) -> &'w Region {
    &world.view.core.regions[&RegionId::from(name)]
}

fn kinds(world: &World) -> Vec<&str> {
    let events = world.view.core.ledger.events.iter().map(|event| event.kind.as_str());
    events.filter(|kind| kind.starts_with("region.")).collect()
}

fn configure(settings: RegionSettings) -> Command {
    Command::ConfigureRegion(Box::new(settings))
}

#[test]
fn settings_replace_what_they_name_and_leave_the_rest() {
    let mut world = World::new();
    world.accept(CORE, configure(samples::settings()));
    let a = record(&world, "a").clone();
    assert_eq!((a.priority, a.site.vms_most, a.jurisdiction.as_str()), (80, 500, "eu"));
    assert_eq!(a.site.coordinates.map(Coordinates::degrees), Some((50_110_000, 8_680_000)));
    assert_eq!(a.compliance, ["c5".to_string()].into());
    let only = RegionSettings { region: region("a"), priority: Some(7), ..RegionSettings::default() };
    world.accept(CORE, configure(only));
    let next = record(&world, "a");
    assert_eq!(next, &Region { priority: 7, revision: next.revision, ..a });
    let event = world.view.core.ledger.events.back().unwrap();
    assert_eq!((event.before.as_str(), event.after.as_str()), ("priority 80", "priority 7"));
}

#[test]
fn the_same_settings_again_change_nothing_and_are_no_event() {
    let mut world = World::new();
    world.accept(CORE, configure(samples::settings()));
    let (before, events) = (record(&world, "a").clone(), world.view.core.ledger.events.len());
    world.accept(CORE, configure(samples::settings()));
    assert_eq!((record(&world, "a"), world.view.core.ledger.events.len()), (&before, events));
}

#[test]
fn settings_that_can_not_be_are_refused_whole() {
    let mut world = World::new();
    let before = record(&world, "a").clone();
    let bad = [
        RegionSettings { priority: Some(101), ..samples::settings() },
        RegionSettings {
            coordinates: Some(Coordinates { north: 180_000_001, east: 0 }),
            ..samples::settings()
        },
        RegionSettings { display_name: Some("two\nlines".into()), ..samples::settings() },
        RegionSettings { zones: Some(["".into()].into()), ..samples::settings() },
        RegionSettings { compliance: Some(["x".repeat(81)].into()), ..samples::settings() },
        RegionSettings {
            zones: Some((0..65).map(|n| format!("z{n}").as_str().into()).collect()),
            ..samples::settings()
        },
    ];
    for settings in bad {
        assert_eq!(world.refuse(CORE, configure(settings)), Code::BadValue);
    }
    let unknown = RegionSettings { region: region("mars"), ..samples::settings() };
    assert_eq!(world.refuse(CORE, configure(unknown)), Code::UnknownRegion);
    assert_eq!(record(&world, "a"), &before);
    assert_eq!(Coordinates::new(90_000_001, 0), None);
    assert_eq!(Coordinates::new(-90_000_000, -180_000_000), Some(Coordinates { north: 0, east: 0 }));
}

fn endpoint(name: &str, ip: &str, port: u16, there: bool) -> Command {
    Command::SetEndpoint((region(name), (PublicEndpoint { ip: ip.into(), port }, there)))
}

#[test]
fn an_endpoint_leads_to_one_region_and_is_added_once() {
    let mut world = World::new();
    world.accept(CORE, endpoint("a", "2001:DB8:0::1", 443, true));
    let events = world.view.core.ledger.events.len();
    world.accept(CORE, endpoint("a", "2001:db8::1", 443, true));
    assert_eq!(world.view.core.ledger.events.len(), events, "it is the same one");
    let text: Vec<String> = record(&world, "a").endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["[2001:db8::1]:443"]);
    assert_eq!(world.refuse(CORE, endpoint("b", "2001:db8::1", 443, true)), Code::WrongState);
    world.accept(CORE, endpoint("b", "2001:db8::1", 444, true));
    world.accept(CORE, endpoint("b", "2001:db8::1", 443, false));
    assert_eq!(record(&world, "a").endpoints.len(), 1, "it was not b's");
    world.accept(CORE, endpoint("a", "2001:db8::1", 443, false));
    assert!(record(&world, "a").endpoints.is_empty());
    for (ip, port) in [("here", 443), ("0.0.0.0", 443), ("224.0.0.1", 443), ("192.0.2.1", 0), ("", 1)] {
        assert_eq!(world.refuse(CORE, endpoint("a", ip, port, true)), Code::BadValue, "{ip}:{port}");
    }
    for port in 1..=16 {
        world.accept(CORE, endpoint("a", "192.0.2.1", port, true));
    }
    assert_eq!(world.refuse(CORE, endpoint("a", "192.0.2.1", 17, true)), Code::WrongState);
}

/// Tells what is due at a moment, as the leader does, and then once more, as another leader might.
fn tell(world: &mut World, at: u64) -> Option<Reminder> {
    world.at = Wall(at);
    let due = record(world, "a").decommission.as_ref()?.due(Wall(at))?;
    let events = world.view.core.ledger.events.len();
    for _ in 0..2 {
        world.accept(CORE, Command::NoteDecommission((region("a"), due)));
        assert_eq!(world.view.core.ledger.events.len(), events + 1, "it is told once");
    }
    Some(due)
}

fn announce(at: u64) -> Command {
    Command::AnnounceDecommission((region("a"), Wall(at)))
}

#[test]
fn an_announced_end_is_reminded_of_three_times_and_when_it_is_due() {
    let mut world = World::new();
    world.at = Wall(DAY);
    world.accept(CORE, announce(100 * DAY));
    for (at, told) in [
        (70 * DAY - 1, None),
        (70 * DAY, Some(Reminder::Month)),
        (71 * DAY, None),
        (93 * DAY, Some(Reminder::Week)),
        (99 * DAY + 5, Some(Reminder::Day)),
        (100 * DAY, Some(Reminder::Due)),
        (200 * DAY, None),
    ] {
        assert_eq!(tell(&mut world, at), told, "day {}", at / DAY);
    }
}

#[test]
fn what_was_over_before_it_was_announced_is_not_told_but_that_it_is_due() {
    let mut world = World::new();
    world.at = Wall(95 * DAY);
    world.accept(CORE, announce(100 * DAY));
    assert_eq!(tell(&mut world, 96 * DAY), None, "no week any more");
    assert_eq!(tell(&mut world, 99 * DAY), Some(Reminder::Day));
    world.accept(CORE, announce(50 * DAY));
    assert_eq!(tell(&mut world, 99 * DAY + 1), Some(Reminder::Due), "a date that is past is due now");
}

#[test]
fn the_same_date_again_is_no_news_another_one_begins_anew_and_it_can_be_called_off() {
    let mut world = World::new();
    world.at = Wall(DAY);
    world.accept(CORE, announce(100 * DAY));
    tell(&mut world, 70 * DAY);
    world.accept(CORE, announce(100 * DAY));
    assert_eq!(record(&world, "a").decommission.as_ref().unwrap().said, Reminder::Month);
    world.accept(CORE, announce(300 * DAY));
    assert_eq!(record(&world, "a").decommission.as_ref().unwrap().said, Reminder::Announced);
    world.accept(CORE, Command::CancelDecommission(region("a")));
    world.accept(CORE, Command::CancelDecommission(region("a")));
    world.accept(CORE, Command::NoteDecommission((region("a"), Reminder::Due)));
    let announced = "region.decommission_announced";
    let month = "region.decommission_in_30_days";
    assert_eq!(kinds(&world), [announced, month, announced, "region.decommission_cancelled"]);
    assert_eq!(world.refuse(CORE, announce(70 * DAY + 3_661 * DAY)), Code::BadValue);
    assert_eq!(
        world.refuse(CORE, Command::AnnounceDecommission((region("mars"), Wall(1)))),
        Code::UnknownRegion
    );
}

#[test]
fn a_region_has_between_one_and_sixteen_routers() {
    let mut world = World::new();
    let set = |count| Command::SetRouters((region("a"), count));
    assert_eq!(record(&world, "a").routers(), 1, "that of its own settings");
    for count in [0, Region::ROUTERS_MOST + 1] {
        assert_eq!(world.refuse(CORE, set(count)), Code::BadValue);
    }
    world.accept(CORE, set(3));
    world.accept(CORE, set(3));
    assert_eq!(record(&world, "a").routers(), 3);
    assert_eq!(kinds(&world), ["region.routers"], "the same again is no event");
    let event = world.view.core.ledger.events.back().unwrap();
    assert_eq!((event.before.as_str(), event.after.as_str()), ("1", "3"));
    world.accept(CORE, set(1));
    assert_eq!(world.refuse(CORE, Command::SetRouters((region("mars"), 2))), Code::UnknownRegion);
}

#[test]
fn a_region_has_between_one_and_sixteen_controllers() {
    let mut world = World::new();
    let set = |count| Command::SetControllers((region("a"), count));
    assert_eq!(record(&world, "a").controllers(), 1, "its node alone");
    for count in [0, Region::CONTROLLERS_MOST + 1] {
        assert_eq!(world.refuse(CORE, set(count)), Code::BadValue);
    }
    world.accept(CORE, set(3));
    world.accept(CORE, set(3));
    assert_eq!(record(&world, "a").controllers(), 3);
    assert_eq!(kinds(&world), ["region.controllers"], "the same again is no event");
    let event = world.view.core.ledger.events.back().unwrap();
    assert_eq!((event.before.as_str(), event.after.as_str()), ("1", "3"));
    world.accept(CORE, set(1));
    assert_eq!(world.refuse(CORE, Command::SetControllers((region("mars"), 2))), Code::UnknownRegion);
}
