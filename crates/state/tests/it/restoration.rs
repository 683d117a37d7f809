//! A control plane that comes back from a backup: its facts begin from what the backup has, and what the hosts have is adopted
//! once all have been heard, by the highest generation.

use dwcp_state::{
    Admission, AdoptedAs, Adopting, Arriving, Command, Departing, FEDERATION_GROUP, Facts, Federation, Held,
    HostStanding, MissingChoice, OperationState, Outcome, Restoration, Standing, Vm, Want,
};
use dwcp_types::{Code, Generation, HostId, OperationId, RegionId, VmId, Wall};

use super::samples;
use super::world::{World, create, host, host_facts, operation, region, vm};

const MOMENT: u64 = 1_800_000_000_000;

fn restoration() -> Restoration {
    Restoration { id: MOMENT, backup: 3, digest: "00".into(), taken_at: Wall(1_000) }
}

/// The federation as it comes back from a backup of all of its groups.
fn restored(world: &World) -> World {
    let of = |group| Facts::of_snapshot(group == FEDERATION_GROUP, &world.view.snapshot(group));
    let groups = (0..=3).map(|group| (group, of(group).expect("its own snapshot"))).collect();
    let mut view = Federation::default();
    for (group, facts) in dwcp_state::restored(groups, &restoration()) {
        if let Some(region) = world.view.region_of(group) {
            view.open_group(group, region);
        }
        view.restore(group, &facts.snapshot()).expect("what was written");
    }
    assert_eq!(view.flaws(), vec![]);
    World { view, at: Wall(MOMENT + 1_000) }
}

fn held(of: &Vm, generation: u64) -> Held {
    let vm = Vm { generation: Generation(generation), ..of.clone() };
    Held { vm, want: Some(Want::Running), runs: true, ..Held::default() }
}

fn hear(world: &mut World, group: u64, name: &str, held: Vec<Held>) {
    world.accept(group, Command::RegisterHost(host_facts(name, "a")));
    world.accept(group, Command::NoteHeld((host(name), held)));
}

/// Every host that was not heard has nothing; then all regions adopt. Looks at the regions in the order given.
fn adopt(world: &mut World, order: [u64; 3]) {
    for group in 1..=3 {
        let waited: Vec<HostId> = world.facts(group).awaited().cloned().collect();
        for name in waited {
            hear(world, group, name.as_str(), Vec::new());
        }
        world.accept(group, Command::CloseInventory);
    }
    for group in order {
        let name = world.facts(group).name.clone();
        let decided = world.view.adoption(&name).expect("all have heard their hosts");
        world.accept(group, Command::Adopt(decided));
        world.accept(group, Command::FinishAdoption);
    }
    assert_eq!(world.view.flaws(), vec![]);
}

fn place(world: &World, id: u64) -> Option<(RegionId, HostId, u64)> {
    let (region, vm) = world.view.vm(VmId(id))?;
    Some((region.clone(), vm.host.clone(), vm.generation.0))
}

fn at(region_name: &str, on: &str, generation: u64) -> Option<(RegionId, HostId, u64)> {
    Some((region(region_name), host(on), generation))
}

fn how(world: &World, group: u64, id: u64) -> Option<AdoptedAs> {
    world.facts(group).adoption.as_ref()?.adopted.get(&VmId(id)).cloned()
}

#[test]
fn whoever_restores_one_backup_has_the_same_bytes_and_no_number_that_was_given_out() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1"), vm(2, "h2")]));
    let (one, two) = (restored(&world), restored(&world));
    for group in 0..=3 {
        assert_eq!(one.view.snapshot(group), two.view.snapshot(group));
        assert!(one.view.revision(group).0 >= MOMENT);
    }
    assert_eq!(one.view.core.restoration, Some(restoration()));
    assert_eq!(one.view.flaws(), vec![]);
    // A second one, by a clock that is late, does not go back.
    let again = Restoration { id: 5, ..restoration() };
    let facts = Facts::of_snapshot(false, &one.view.snapshot(1)).expect("a region");
    let again = dwcp_state::restored([(1, facts)].into(), &again);
    assert!(again[&1].revision() > one.view.revision(1));
}

#[test]
fn what_was_under_way_has_ended_and_every_host_is_to_be_heard() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1"), vm(2, "h2")]));
    world.accept(1, Command::BeginEvacuation(1));
    let step = Departing { vm: VmId(1), generation: Generation(1), to: "b".into(), host: None };
    world.accept(1, Command::Depart((None, vec![step])));
    let mut world = restored(&world);
    let facts = world.facts(1);
    assert!(facts.is_adopting() && facts.evacuation.is_none() && facts.departures.is_empty());
    assert!(facts.hosts.values().all(|host| host.standing == HostStanding::Lost));
    assert_eq!(facts.operations[&OperationId(1)].state, OperationState::Failed);
    assert_eq!(facts.vms[&VmId(1)].generation, Generation(2), "it was on its way under this one");
    assert_eq!(facts.awaited().count(), 2);
    assert_eq!(world.refuse(1, Command::CloseInventory), Code::WrongState);
    assert!(!world.facts(1).serves(&host("h1")));
    adopt(&mut world, [1, 2, 3]);
    assert!(world.facts(1).serves(&host("h1")));
}

#[test]
fn what_had_come_to_another_region_is_not_back_where_it_came_from() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    world.accept(1, Command::BeginEvacuation(1));
    let step = Departing { vm: VmId(1), generation: Generation(1), to: "b".into(), host: None };
    world.accept(1, Command::Depart((None, vec![step])));
    let vm = world.facts(1).departures[&VmId(1)].vm.clone();
    let admission = Admission { vm, host: host("h2"), from: region("a"), failover: None };
    world.accept(2, Command::Admit(Box::new(admission)));
    let mut world = restored(&world);
    assert_eq!(place(&world, 1), at("b", "h2", 2));
    // The host that it left keeps its disk, under the same generation.
    let left = Held { left: true, runs: false, ..held(&world.facts(2).vms[&VmId(1)], 2) };
    hear(&mut world, 1, "h1", vec![left.clone()]);
    let mut lost = World { view: world.view.clone(), at: world.at };
    let there = Held { runs: false, ..held(&world.facts(2).vms[&VmId(1)], 2) };
    hear(&mut world, 2, "h2", vec![there]);
    adopt(&mut world, [1, 2, 3]);
    assert_eq!(place(&world, 1), at("b", "h2", MOMENT + 1), "it had not started yet");
    // If no other host has it, that disk is what there is.
    adopt(&mut lost, [2, 1, 3]);
    assert_eq!(place(&lost, 1), at("a", "h1", MOMENT + 1));
}

#[test]
fn what_does_not_run_starts_above_all_generations_and_what_runs_goes_on_as_it_is() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1"), vm(2, "h1")]));
    let mut world = restored(&world);
    hear(&mut world, 1, "h1", vec![held(&vm(1, "h1"), 3), Held { runs: false, ..held(&vm(2, "h1"), 3) }]);
    adopt(&mut world, [1, 2, 3]);
    assert_eq!(place(&world, 1), at("a", "h1", 3));
    assert_eq!(place(&world, 2), at("a", "h1", MOMENT + 1));
}

#[test]
fn nothing_else_is_decided_until_everything_is_adopted() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let mut world = restored(&world);
    hear(&mut world, 1, "h1", vec![held(&vm(1, "h1"), 1)]);
    for command in samples::commands().into_iter().chain(samples::later_commands()) {
        let harmless = matches!(
            command,
            Command::Nothing
                | Command::TakeDigest(_)
                | Command::RegisterHost(_)
                | Command::SetOvercommit(_)
                | Command::Claim(_)
                | Command::EndOperation(_)
        );
        let mut tried = World { view: world.view.clone(), at: world.at };
        if !harmless {
            assert!(matches!(tried.apply(1, command), Outcome::Refused(_)));
            assert_eq!(tried.facts(1).vms, world.facts(1).vms);
        }
    }
}

#[test]
fn vms_are_adopted_where_they_are_whoever_looks_first() {
    let mut world = World::new();
    world.accept(1, create((1..=6).map(|id| Vm { spec: Default::default(), ..vm(id, "h1") }).collect()));
    world.accept(2, create(vec![vm(9, "h2")]));
    world.accept(1, Command::SetWant((VmId(6), (Want::Deleted, operation(2)))));
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let mut world = restored(&world);
        let known = |id| world.facts(1).vms[&VmId(id)].clone();
        let stopped = Held { want: Some(Want::Stopped), runs: false, ..held(&known(5), 1) };
        // 1 as it was; 2 restarted; 3 on another host, and an old copy on the first; 4 in another region; 5 stopped;
        // 6 is being deleted; 7 is new; 9 is on no host.
        let on_first = vec![held(&known(1), 1), held(&known(2), 4), held(&known(3), 1), stopped];
        let (third, fourth, sixth) = (held(&known(3), 2), held(&known(4), 3), held(&known(6), 1));
        hear(&mut world, 1, "h1", on_first);
        hear(&mut world, 1, "h2", vec![third, sixth]);
        hear(&mut world, 3, "h2", vec![fourth, held(&vm(7, "h2"), 1)]);
        adopt(&mut world, order);
        assert_eq!(place(&world, 1), at("a", "h1", 1));
        assert_eq!(place(&world, 2), at("a", "h1", 4));
        assert_eq!(place(&world, 3), at("a", "h2", 2));
        assert_eq!(place(&world, 4), at("c", "h2", 3));
        assert_eq!(place(&world, 7), at("c", "h2", 1));
        assert_eq!(place(&world, 9), None);
        assert_eq!(world.view.vm(VmId(5)).map(|(_, vm)| vm.want), Some(Want::Stopped));
        assert_eq!(world.view.vm(VmId(6)).map(|(_, vm)| vm.want), Some(Want::Deleted));
        assert_eq!(how(&world, 1, 1), Some(AdoptedAs::Unchanged));
        assert!(matches!(how(&world, 3, 4), Some(AdoptedAs::Changed(_))));
        assert_eq!(how(&world, 3, 7), Some(AdoptedAs::Unknown));
        let adoption = world.facts(2).adoption.as_ref().expect("restored");
        assert!(adoption.missing.contains_key(&VmId(9)));
        assert_eq!(world.facts(1).vms.values().filter(|vm| vm.id == VmId(4)).count(), 0);
        // Whatever starts next does so above anything that was given out.
        let next = world.view.vms().map(|(_, vm)| vm.next_generation().0).min();
        assert!(next > Some(MOMENT), "{next:?}");
    }
}

#[test]
fn what_was_being_copied_is_its_targets_only_when_its_host_has_let_go_of_it() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let arriving = |whole| {
        let from = Arriving { from: region("a"), host: host("h1"), whole };
        Held { arriving: Some(from), ..held(&vm(1, "h1"), 2) }
    };
    let outcome = |source: Option<Vec<Held>>, whole: bool| {
        let mut world = restored(&world);
        match source {
            Some(held) => hear(&mut world, 1, "h1", held),
            None => {
                world.accept(1, Command::WriteOffHost(host("h1")));
            }
        }
        hear(&mut world, 2, "h2", vec![arriving(whole)]);
        adopt(&mut world, [2, 1, 3]);
        place(&world, 1)
    };
    assert_eq!(outcome(Some(vec![held(&vm(1, "h1"), 1)]), true), at("a", "h1", 1), "its host has it");
    assert_eq!(outcome(Some(vec![]), true), at("b", "h2", 2), "its host has released it");
    assert_eq!(outcome(None, true), at("b", "h2", 2), "its host is lost, and all of it is there");
    assert_eq!(
        outcome(None, false),
        at("a", "h1", 1),
        "its host is lost: it is brought back as from any lost host"
    );
    assert_eq!(outcome(Some(vec![]), false), None, "nobody has all of it");
}

#[test]
fn a_vm_whose_host_is_not_waited_for_is_lost_with_it_and_taken_over_above_all_generations() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let mut world = restored(&world);
    world.accept(1, Command::WriteOffHost(host("h1")));
    adopt(&mut world, [1, 2, 3]);
    assert_eq!(how(&world, 1, 1), Some(AdoptedAs::WithLostHost));
    assert_eq!(place(&world, 1), at("a", "h1", 1));
    let step = dwcp_state::HostMove { vm: VmId(1), generation: Generation(1), to: host("h2") };
    world.accept(1, Command::MoveVms(vec![step]));
    assert_eq!(place(&world, 1), at("a", "h2", MOMENT + 1));
    // The host comes back with what it had: that is not what counts any more.
    hear(&mut world, 1, "h1", vec![held(&vm(1, "h1"), 5)]);
    assert!(!world.facts(1).serves(&host("h1")));
    let (decided, settled) = world.view.late_adoption(&region("a"));
    assert_eq!((decided, settled), (vec![], vec![host("h1")]));
    world.accept(1, Command::SettleLate(vec![host("h1")]));
    assert!(world.facts(1).serves(&host("h1")));
}

#[test]
fn a_vm_that_no_host_has_waits_for_a_word_and_starts_above_all_generations() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1"), vm(2, "h1")]));
    let mut world = restored(&world);
    adopt(&mut world, [1, 2, 3]);
    assert_eq!(world.view.vms().count(), 0);
    world.accept(1, Command::DecideMissing(MissingChoice { vm: VmId(1), start: Some(host("h2")) }));
    assert_eq!(place(&world, 1), at("a", "h2", MOMENT + 1));
    world.accept(1, Command::DecideMissing(MissingChoice { vm: VmId(2), start: None }));
    let again = Command::DecideMissing(MissingChoice { vm: VmId(2), start: Some(host("h2")) });
    assert_eq!(world.refuse(1, again), Code::UnknownVm);
    let admission = Admission { vm: held(&vm(2, "h1"), 9).vm, host: host("h2"), ..Admission::default() };
    assert_eq!(world.refuse(1, Command::Admit(Box::new(admission))), Code::OldGeneration);
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn a_name_is_one_vms_also_when_another_of_that_name_was_made_since() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let mut world = restored(&world);
    let (one, two) = (vm(1, "h1"), Vm { name: "vm-1".into(), ..vm(2, "h2") });
    hear(&mut world, 1, "h1", vec![held(&one, 1)]);
    hear(&mut world, 2, "h2", vec![held(&two, 1)]);
    adopt(&mut world, [1, 2, 3]);
    let name = |id| world.view.vm(VmId(id)).map(|(_, vm)| vm.name.clone());
    assert_eq!((name(1).as_deref(), name(2).as_deref()), (Some("vm-1"), Some("vm-1-00000002")));
}

/// A host that comes late brings what another region misses. One of them decides, whoever looks how late at the other.
#[test]
fn a_vm_that_a_late_host_brings_is_never_decided_twice() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let mut world = restored(&world);
    world.accept(2, Command::WriteOffHost(host("h2")));
    adopt(&mut world, [1, 2, 3]);
    hear(&mut world, 2, "h2", vec![held(&vm(1, "h1"), 3)]);
    let looked_before = world.view.clone();
    assert_eq!(world.view.late_adoption(&region("b")), (vec![], vec![]), "it is region a's to let go of");
    // The operator is quicker.
    let mut started = World { view: world.view.clone(), at: world.at };
    started.accept(1, Command::DecideMissing(MissingChoice { vm: VmId(1), start: Some(host("h1")) }));
    let (stale, _) = looked_before.late_adoption(&region("a"));
    assert_eq!(stale, vec![Adopting::Give((VmId(1), region("b")))]);
    started.accept(1, Command::Adopt(stale));
    assert_eq!(place(&started, 1), at("a", "h1", MOMENT + 1), "what was decided before that does nothing");
    assert_eq!(started.view.late_adoption(&region("b")), (vec![], vec![host("h2")]));
    // Nobody is.
    let (given, _) = world.view.late_adoption(&region("a"));
    world.accept(1, Command::Adopt(given));
    let (decided, settled) = world.view.late_adoption(&region("b"));
    assert!(settled.is_empty());
    world.accept(2, Command::Adopt(decided));
    assert_eq!(place(&world, 1), at("b", "h2", 3));
    assert_eq!(world.view.late_adoption(&region("b")), (vec![], vec![host("h2")]));
}

#[test]
fn what_did_not_get_into_the_log_is_still_to_be_decided_and_nothing_twice() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1"), vm(2, "h1"), vm(3, "h2")]));
    let mut world = restored(&world);
    world.accept(1, Command::WriteOffHost(host("h2")));
    hear(&mut world, 1, "h1", vec![held(&vm(1, "h1"), 4), held(&vm(2, "h1"), 4)]);
    for group in [2, 3] {
        let waited: Vec<HostId> = world.facts(group).awaited().cloned().collect();
        waited.iter().for_each(|name| hear(&mut world, group, name.as_str(), Vec::new()));
    }
    for group in 1..=3 {
        world.accept(group, Command::CloseInventory);
    }
    let all = world.view.adoption(&region("a")).expect("all have heard their hosts");
    assert_eq!(all.len(), 3);
    world.accept(1, Command::Adopt(all[..1].to_vec()));
    assert_eq!(world.view.adoption(&region("a")).expect("it goes on"), all[1..]);
    world.accept(1, Command::Adopt(all.clone()));
    assert_eq!(world.view.adoption(&region("a")), Some(vec![]));
    world.accept(1, Command::FinishAdoption);
    // It was proposed once more, and the end of it came first.
    world.accept(1, Command::SetWant((VmId(1), (Want::Stopped, operation(9)))));
    world.accept(1, Command::Adopt(all));
    assert_eq!(world.facts(1).vms[&VmId(1)].want, Want::Stopped);
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn what_was_acknowledged_since_outlives_a_host_that_comes_late() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let mut world = restored(&world);
    world.accept(1, Command::WriteOffHost(host("h1")));
    adopt(&mut world, [1, 2, 3]);
    let other = Vm { name: "vm-2".into(), ..vm(9, "h2") };
    world.accept(1, create(vec![other]));
    let brought = vec![held(&vm(1, "h1"), 7), held(&vm(2, "h1"), 7)];
    hear(&mut world, 1, "h1", brought);
    let (before, _) = world.view.late_adoption(&region("a"));
    world.accept(1, Command::SetWant((VmId(1), (Want::Stopped, operation(9)))));
    world.accept(1, Command::Adopt(before));
    let want = |world: &World| world.facts(1).vms[&VmId(1)].want;
    assert_eq!(
        (want(&world), place(&world, 1)),
        (Want::Stopped, at("a", "h1", 1)),
        "decided before the stop"
    );
    let (decided, _) = world.view.late_adoption(&region("a"));
    world.accept(1, Command::Adopt(decided));
    assert_eq!((want(&world), place(&world, 1)), (Want::Stopped, at("a", "h1", 7)), "decided after it");
    let name = world.facts(1).vms[&VmId(2)].name.clone();
    assert_eq!(name, "vm-2-00000002", "another VM has been given that name");
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn a_region_that_nobody_has_founded_yet_holds_nobody_up_and_one_that_was_lost_may_be_lost_again() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let mut world = restored(&world);
    let unfounded = dwcp_state::Region { unfounded: true, ..world.view.core.regions[&region("c")].clone() };
    world.view.core.regions.insert(region("c"), unfounded);
    for group in [1, 2] {
        let waited: Vec<HostId> = world.facts(group).awaited().cloned().collect();
        waited.iter().for_each(|name| hear(&mut world, group, name.as_str(), Vec::new()));
        world.accept(group, Command::CloseInventory);
    }
    assert!(world.view.adoption(&region("a")).is_some());
    let mut lost = World::new();
    if let Some(region) = lost.view.core.regions.get_mut(&region("b")) {
        region.standing = Standing::Lost;
    }
    assert_eq!(restored(&lost).view.core.regions[&region("b")].standing, Standing::Returned);
}
