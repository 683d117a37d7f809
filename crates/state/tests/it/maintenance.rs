//! Maintenance windows: planned, told once, closed and opened, called off.

use dwcp_state::{Command, Core, Envelope, FEDERATION_GROUP, Notice, Outcome, RegionChange, Window};
use dwcp_types::{Code, Revision, Wall, WindowId};

use super::world::{World, host, region};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const ID: WindowId = WindowId(1);

fn window(start: u64, lasts: u64) -> Window {
    Window {
        region: region("a"),
        starts_at: Wall(start),
        ends_at: Wall(start + lasts),
        reason: "disks".into(),
        no_placement: true,
        ..Window::default()
    }
}

fn schedule(window: Window) -> Command {
    Command::ScheduleWindow(Box::new(window))
}

/// A window of region `a` ten days ahead, two hours long, planned by ops.
fn planned() -> World {
    let mut world = World::new();
    let receipt = world.accept(FEDERATION_GROUP, schedule(window(10 * DAY, 2 * HOUR)));
    assert_eq!(receipt.window, Some(ID));
    world
}

/// Tells what is due at a moment, as the leader's reconciler does; then tells it once more, as another leader might.
fn tell(world: &mut World, at: u64) -> Option<Notice> {
    world.at = Wall(at);
    let due = world.view.core.windows[&ID].due(Wall(at))?;
    let events = world.view.core.ledger.events.len();
    world.accept(FEDERATION_GROUP, Command::NoteWindow((ID, (due, true))));
    assert_eq!(world.view.core.ledger.events.len(), events + 1);
    world.accept(FEDERATION_GROUP, Command::NoteWindow((ID, (due, true))));
    assert_eq!(world.view.core.ledger.events.len(), events + 1, "it is told once");
    Some(due)
}

fn placement(world: &World) -> bool {
    world.view.core.regions[&region("a")].placement
}

fn kinds(world: &World) -> Vec<String> {
    let events = world.view.core.ledger.events.iter();
    events.filter(|event| event.kind.starts_with("maintenance")).map(|event| event.kind.clone()).collect()
}

#[test]
fn each_notice_is_told_once_and_placement_is_off_in_between() {
    let mut world = planned();
    assert_eq!(tell(&mut world, 3 * DAY - 1), None);
    assert_eq!(tell(&mut world, 3 * DAY), Some(Notice::Week));
    assert_eq!(tell(&mut world, 9 * DAY - 1), None);
    assert_eq!(tell(&mut world, 9 * DAY), Some(Notice::Day));
    assert!(placement(&world));
    assert_eq!(tell(&mut world, 10 * DAY), Some(Notice::Started));
    assert!(!placement(&world) && world.view.core.windows[&ID].runs());
    assert_eq!(world.view.core.regions[&region("a")].placement_by, "window-001");
    assert_eq!(tell(&mut world, 10 * DAY + HOUR), None);
    assert_eq!(tell(&mut world, 10 * DAY + 2 * HOUR), Some(Notice::Ended));
    assert!(placement(&world) && !world.view.core.windows[&ID].is_open());
    assert_eq!(tell(&mut world, 20 * DAY), None);
    let told = ["planned", "week_before", "day_before", "started", "ended"];
    assert_eq!(kinds(&world), told.map(|kind| format!("maintenance.{kind}")));
    let started = world.view.core.ledger.events.iter().find(|event| event.kind == "maintenance.started");
    let text = &started.expect("it was told").text;
    assert_eq!(text, "window-001 of a has begun; it ends at 1970-01-11T02:00:00Z; placement stops (disks)");
}

#[test]
fn what_is_planned_late_or_missed_is_not_told_afterwards() {
    let mut world = World::new();
    world.at = Wall(9 * DAY + HOUR);
    world.accept(FEDERATION_GROUP, schedule(window(10 * DAY, 2 * HOUR)));
    assert_eq!(tell(&mut world, 9 * DAY + 2 * HOUR), None, "it was planned within the last day");
    assert_eq!(tell(&mut world, 30 * DAY), Some(Notice::Ended), "nobody led the federation meanwhile");
    assert!(placement(&world));
    assert_eq!(kinds(&world), ["maintenance.planned", "maintenance.ended"]);
}

#[test]
fn nothing_is_told_before_its_time() {
    let mut world = planned();
    let before = world.view.core.clone();
    world.accept(FEDERATION_GROUP, Command::NoteWindow((ID, (Notice::Started, true))));
    assert_eq!(Core { revision: before.revision, ..world.view.core.clone() }, before);
    let unknown = Command::NoteWindow((WindowId(9), (Notice::Started, true)));
    assert_eq!(world.refuse(FEDERATION_GROUP, unknown), Code::UnknownWindow);
}

#[test]
fn placement_that_others_switched_meanwhile_stays_as_they_left_it() {
    let switch = |on: bool| {
        Command::ChangeRegion(RegionChange {
            region: region("a"),
            placement: Some(on),
            ..RegionChange::default()
        })
    };
    // Off before it began: it is off afterwards.
    let mut world = planned();
    world.accept(FEDERATION_GROUP, switch(false));
    tell(&mut world, 10 * DAY);
    tell(&mut world, 11 * DAY);
    assert!(!placement(&world));
    // Opened and closed again by somebody during the window: it is theirs.
    let mut world = planned();
    tell(&mut world, 10 * DAY);
    world.accept(FEDERATION_GROUP, switch(true));
    world.accept(FEDERATION_GROUP, switch(false));
    tell(&mut world, 11 * DAY);
    assert!(!placement(&world));
}

#[test]
fn a_window_called_off_in_the_middle_gives_placement_back_and_tells_no_more() {
    let mut world = planned();
    tell(&mut world, 10 * DAY);
    world.at = Wall(10 * DAY + HOUR);
    world.accept(FEDERATION_GROUP, Command::CancelWindow(ID));
    assert!(placement(&world));
    let window = &world.view.core.windows[&ID];
    assert!(window.holds_at(Wall(10 * DAY + HOUR - 1)) && !window.holds_at(Wall(10 * DAY + HOUR)));
    assert_eq!(tell(&mut world, 11 * DAY), None);
    assert_eq!(world.newest_event(FEDERATION_GROUP), "maintenance.cancelled");
    assert_eq!(world.refuse(FEDERATION_GROUP, Command::CancelWindow(ID)), Code::WrongState);
    assert_eq!(world.refuse(FEDERATION_GROUP, Command::CancelWindow(WindowId(7))), Code::UnknownWindow);
}

#[test]
fn what_can_not_be_planned_is_refused_with_the_reason() {
    let mut world = planned();
    world.at = Wall(DAY);
    let other = |change: fn(&mut Window)| {
        let mut asked = window(20 * DAY, HOUR);
        change(&mut asked);
        schedule(asked)
    };
    let cases: Vec<(Command, Code)> = vec![
        (other(|window| window.starts_at = Wall(DAY - 1)), Code::BadValue),
        (other(|window| window.ends_at = window.starts_at), Code::BadValue),
        (other(|window| window.ends_at = Wall(52 * DAY)), Code::BadValue),
        (
            other(|window| (window.starts_at, window.ends_at) = (Wall(400 * DAY), Wall(401 * DAY))),
            Code::BadValue,
        ),
        (other(|window| window.reason.clear()), Code::BadValue),
        (other(|window| window.region = region("mars")), Code::UnknownRegion),
        (schedule(window(10 * DAY + HOUR, HOUR)), Code::WrongState),
    ];
    for (command, code) in cases {
        assert_eq!(world.refuse(FEDERATION_GROUP, command), code);
    }
    // Right behind the other one, in another region, or on one host of it: these are other windows.
    world.accept(FEDERATION_GROUP, schedule(window(10 * DAY + 2 * HOUR, HOUR)));
    world.accept(FEDERATION_GROUP, schedule(Window { region: region("b"), ..window(10 * DAY, HOUR) }));
    world.accept(FEDERATION_GROUP, schedule(Window { host: Some(host("h1")), ..window(10 * DAY, HOUR) }));
    assert_eq!(world.view.core.windows.len(), 4);
}

#[test]
fn a_hosts_window_is_settled_when_its_group_has_opened_it_again() {
    let mut world = World::new();
    world.accept(FEDERATION_GROUP, schedule(Window { host: Some(host("h1")), ..window(10 * DAY, HOUR) }));
    tell(&mut world, 10 * DAY);
    assert!(placement(&world), "the region itself stays open");
    assert!(world.view.core.windows[&ID].closed);
    world.accept(FEDERATION_GROUP, Command::SettleWindow(ID));
    assert!(world.view.core.windows[&ID].closed, "it still runs");
    tell(&mut world, 11 * DAY);
    world.accept(FEDERATION_GROUP, Command::SettleWindow(ID));
    assert!(!world.view.core.windows[&ID].closed);
}

#[test]
fn a_window_that_changed_meanwhile_is_not_called_off_on_an_older_reading() {
    let mut world = planned();
    let holds = world.view.core.windows[&ID].revision;
    let mut cancel = |expected| {
        let envelope = Envelope {
            at: Wall(DAY),
            command: Command::CancelWindow(ID),
            expected: Some(expected),
            ..Envelope::default()
        };
        world.send(FEDERATION_GROUP, envelope)
    };
    assert!(
        matches!(cancel(Revision(holds.0 - 1)), Outcome::Refused(refusal) if refusal.code == Code::StaleRevision)
    );
    assert!(matches!(cancel(holds), Outcome::Accepted(_)));
}

#[test]
fn old_windows_are_forgotten_and_their_numbers_are_not_given_again() {
    let mut world = World::new();
    for number in 0..Core::WINDOWS_KEPT as u64 + 5 {
        world.at = Wall(number * DAY);
        world.accept(FEDERATION_GROUP, schedule(window(number * DAY + HOUR, HOUR)));
        world.accept(FEDERATION_GROUP, Command::CancelWindow(WindowId(number + 1)));
    }
    let windows = &world.view.core.windows;
    assert_eq!(windows.len(), Core::WINDOWS_KEPT);
    assert_eq!(windows.keys().next_back(), Some(&WindowId(Core::WINDOWS_KEPT as u64 + 5)));
}
