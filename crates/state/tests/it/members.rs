//! Regions come and go.

use dwcp_state::{Command, FEDERATION_GROUP as CORE, Lifecycle, Region, RegionChange};
use dwcp_types::{Code, RegionId};

use super::world::{World, create, region, vm};

fn comes(name: &str, address: u8) -> Region {
    Region {
        id: region(name),
        mesh: format!("127.77.{address}.1:7443"),
        api: format!("https://127.77.{address}.1:7443"),
        founder: 1,
        ..Region::default()
    }
}

fn add(world: &mut World, name: &str, address: u8) {
    world.accept(CORE, Command::AddRegion(Box::new(comes(name, address))));
}

fn switch(name: &str, on: bool) -> Command {
    Command::ChangeRegion(RegionChange { region: region(name), enabled: Some(on), ..RegionChange::default() })
}

fn record<'w>(world: &'w World, name: &str) -> &'w Region {
    &world.view.core.regions[&RegionId::from(name)]
}

#[test]
fn a_region_comes_in_closed_is_replicated_and_only_then_enabled() {
    let mut world = World::new();
    let before = world.view.core.regions.values().map(|region| region.number).max().unwrap();
    add(&mut world, "new", 9);
    let new = record(&world, "new");
    assert_eq!((new.number, new.lifecycle, new.placement), (before + 1, Lifecycle::Joining, false));
    assert!(!new.holds_replicas() && !new.takes_placements() && !new.takes_part());
    assert_eq!(world.refuse(CORE, switch("new", true)), Code::WrongState, "it has no state yet");
    assert_eq!(world.refuse(CORE, Command::ReplicateRegion(region("new"))), Code::WrongState);
    world.accept(CORE, Command::FoundedRegion(region("new")));
    world.accept(CORE, Command::ReplicateRegion(region("new")));
    assert!(record(&world, "new").holds_replicas());
    world.accept(CORE, switch("new", true));
    assert!(record(&world, "new").takes_placements());
}

#[test]
fn what_is_no_region_or_one_already_is_refused() {
    let mut world = World::new();
    add(&mut world, "new", 9);
    let mut refuse = |asked: Region| world.refuse(CORE, Command::AddRegion(Box::new(asked)));
    assert_eq!(refuse(comes("new", 10)), Code::WrongState);
    assert_eq!(refuse(comes("other", 9)), Code::BadValue, "its addresses are taken");
    for name in ["", "-a", "A", "a/b", &"a".repeat(64)] {
        assert_eq!(refuse(comes(name, 10)), Code::BadValue, "{name}");
    }
    assert_eq!(refuse(Region { mesh: String::new(), ..comes("x", 10) }), Code::BadValue);
    assert_eq!(refuse(Region { founder: 77, ..comes("x", 10) }), Code::BadValue);
    assert_eq!(refuse(Region { founder: 0, ..comes("x", 10) }), Code::BadValue);
    let full = Region::MOST;
    world.view.core.regions_numbered = full;
    assert_eq!(world.refuse(CORE, Command::AddRegion(Box::new(comes("x", 10)))), Code::BadValue);
}

#[test]
fn a_number_is_never_used_again() {
    let mut world = World::new();
    add(&mut world, "new", 9);
    let number = record(&world, "new").number;
    world.accept(CORE, Command::RemoveRegion(region("new")));
    assert_eq!(record(&world, "new").lifecycle, Lifecycle::Leaving);
    world.accept(CORE, Command::ForgetRegion(region("new")));
    add(&mut world, "new", 9);
    assert_eq!(record(&world, "new").number, number + 1);
    let keepers = world.view.core.keepers.clone();
    assert!(!keepers.is_empty() && !keepers.contains(&number), "{keepers:?}");
}

#[test]
fn a_region_leaves_only_when_it_is_switched_off_and_is_not_the_last() {
    let mut world = World::new();
    assert_eq!(world.refuse(CORE, Command::RemoveRegion(region("z"))), Code::UnknownRegion);
    assert_eq!(world.refuse(CORE, Command::RemoveRegion(region("a"))), Code::WrongState);
    assert_eq!(world.refuse(CORE, Command::ForgetRegion(region("a"))), Code::WrongState);
    let names: Vec<RegionId> = world.view.core.regions.keys().cloned().collect();
    let (last, others) = names.split_last().unwrap();
    for name in others {
        world.accept(CORE, switch(name.as_str(), false));
        world.accept(CORE, Command::RemoveRegion(name.clone()));
        // Asked again, nothing more happens; and there is no way back.
        world.accept(CORE, Command::RemoveRegion(name.clone()));
        assert_eq!(world.refuse(CORE, switch(name.as_str(), true)), Code::WrongState);
        assert_eq!(world.refuse(CORE, Command::ReplicateRegion(name.clone())), Code::WrongState);
    }
    world.accept(CORE, switch(last.as_str(), false));
    assert_eq!(world.refuse(CORE, Command::RemoveRegion(last.clone())), Code::WrongState);
}

#[test]
fn a_region_with_anything_in_it_does_not_close_and_a_closed_one_takes_nothing() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    assert_eq!(world.refuse(1, Command::CloseRegion), Code::WrongState);
    world.accept(2, Command::CloseRegion);
    world.accept(2, Command::CloseRegion);
    assert_eq!(world.refuse(2, create(vec![vm(2, "h1")])), Code::RegionDisabled);
}

#[test]
fn only_what_has_left_is_cleaned_up_and_who_comes_back_begins_anew() {
    let mut world = World::new();
    assert_eq!(world.refuse(CORE, Command::CleanRegion(region("a"))), Code::WrongState);
    assert_eq!(world.refuse(CORE, Command::CleanRegion(region("No Name"))), Code::UnknownRegion);
    add(&mut world, "new", 9);
    world.accept(CORE, Command::RemoveRegion(region("new")));
    world.accept(CORE, Command::ForgetRegion(region("new")));
    world.accept(CORE, Command::CleanRegion(region("new")));
    assert!(world.view.core.cleaned.contains_key(&region("new")));
    add(&mut world, "new", 9);
    assert!(!world.view.core.cleaned.contains_key(&region("new")), "its node is not stopped over that");
}
