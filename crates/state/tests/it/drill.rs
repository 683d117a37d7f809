//! Drills: one of a region at a time, what became of their VMs only goes on, and only a copy that its host has said to be
//! off may leave a region that lives.

use dwcp_state::{
    Command, Core, Departing, Drill, DrillLoss, DrillMark, DrillMode, DrillMoment, DrillNews, DrillState,
    DrillTime, DrillVm, DrillVmState, Freeze, Observation, Observed, Phase, Want,
};
use dwcp_types::{Code, DrillId, Generation, VmId, Wall};

use super::world::{World, create, host, region, vm};

const COPY: VmId = VmId(9);

fn begin(mode: DrillMode) -> Command {
    let copy = DrillVm { of: VmId(1), vm: COPY, name: "web".into(), ..DrillVm::default() };
    Command::BeginDrill(Box::new(Drill { region: region("a"), mode, vms: vec![copy], ..Drill::default() }))
}

fn first(world: &World) -> &Drill {
    &world.view.core.drills[&DrillId(1)]
}

fn note(world: &mut World, change: impl FnOnce(&mut DrillVm), at: Option<(DrillMoment, u64)>) {
    let mut vm = first(world).vms[0].clone();
    change(&mut vm);
    let times = at.map(|(moment, at)| DrillTime { moment, at: Wall(at), note: String::new() });
    let news =
        DrillNews { drill: DrillId(1), vms: vec![vm], times: times.into_iter().collect(), failover: None };
    world.accept(0, Command::NoteDrill(news));
}

#[test]
fn the_same_command_joins_the_drill_of_a_region_and_another_kind_is_refused() {
    let mut world = World::new();
    assert_eq!(world.accept(0, begin(DrillMode::Isolated)).drill, Some(DrillId(1)));
    assert_eq!(first(&world).vms[0].name, "drill-001-web");
    assert_eq!(world.accept(0, begin(DrillMode::Isolated)).drill, Some(DrillId(1)));
    assert_eq!(world.refuse(0, begin(DrillMode::Live)), Code::WrongState);
    world.accept(0, Command::RestoreDrill(DrillId(1)));
    assert_eq!(world.refuse(0, begin(DrillMode::Isolated)), Code::WrongState, "it is on its way out");
    world.accept(0, Command::EndDrill((DrillId(1), (DrillState::Restored, "gone".into()))));
    world.accept(0, Command::RestoreDrill(DrillId(1)));
    assert_eq!(first(&world).state, DrillState::Restored, "restoring again changes nothing");
    assert_eq!(world.accept(0, begin(DrillMode::Live)).drill, Some(DrillId(2)));
}

#[test]
fn no_drill_begins_while_nothing_would_be_brought_back() {
    let mut world = World::new();
    world.accept(0, Command::SetFreeze(Freeze::NoMoves));
    assert_eq!(world.refuse(0, begin(DrillMode::Isolated)), Code::Frozen);
    assert_eq!(world.refuse(0, Command::RestoreDrill(DrillId(7))), Code::UnknownDrill);
}

#[test]
fn of_many_drills_the_newest_are_kept_and_none_that_is_not_over_is_forgotten() {
    let mut world = World::new();
    let of = |name: &str| Command::BeginDrill(Box::new(Drill { region: region(name), ..Drill::default() }));
    world.accept(0, of("b"));
    for number in 2..Core::DRILLS_KEPT as u64 + 10 {
        assert_eq!(world.accept(0, of("a")).drill, Some(DrillId(number)));
        world.accept(0, Command::EndDrill((DrillId(number), (DrillState::Restored, String::new()))));
    }
    assert_eq!(world.view.core.drills.len(), Core::DRILLS_KEPT);
    assert!(first(&world).is_open());
}

#[test]
fn what_is_measured_goes_on_and_never_back() {
    let mut world = World::new();
    world.accept(0, begin(DrillMode::Isolated));
    assert_eq!((first(&world).rto_ms(), first(&world).loss()), (None, DrillLoss::Unknown));
    note(
        &mut world,
        |vm| {
            (vm.state, vm.lost, vm.disk, vm.written) = (DrillVmState::Lost, true, true, Some(40));
        },
        Some((DrillMoment::Cut, 10_000)),
    );
    note(&mut world, |vm| (vm.state, vm.answered_at) = (DrillVmState::Verified, Some(Wall(19_200))), None);
    note(
        &mut world,
        |vm| (vm.state, vm.answered_at) = (DrillVmState::Moving, None),
        Some((DrillMoment::Cut, 5)),
    );
    assert_eq!(first(&world).vms[0].state, DrillVmState::Verified);
    assert_eq!(first(&world).rto_ms(), None, "it goes on");
    world.accept(0, Command::EndDrill((DrillId(1), (DrillState::Done, "1 of 1".into()))));
    assert_eq!(first(&world).rto_ms(), Some(9_200));
    assert_eq!(first(&world).loss(), DrillLoss::Unknown, "nobody has read what is there");
    note(&mut world, |vm| (vm.kept, vm.written) = (Some(38), Some(1)), None);
    assert_eq!(first(&world).loss(), DrillLoss::Records(2));
    note(&mut world, |vm| vm.kept = Some(40), None);
    assert_eq!(first(&world).loss(), DrillLoss::Records(2), "the first count stands");
}

#[test]
fn without_disks_there_was_nothing_to_lose() {
    let mut world = World::new();
    world.accept(0, begin(DrillMode::Isolated));
    note(&mut world, |vm| (vm.state, vm.lost) = (DrillVmState::Verified, true), None);
    world.accept(0, Command::EndDrill((DrillId(1), (DrillState::Done, String::new()))));
    assert_eq!(first(&world).loss(), DrillLoss::NoDisk);
}

fn copy_in_a() -> World {
    let mut world = World::new();
    let mark = Some(DrillMark { drill: DrillId(1), lost: None });
    let copy = dwcp_state::Vm { id: COPY, drill: mark, ..vm(9, "h1") };
    world.accept(1, create(vec![vm(1, "h1"), copy]));
    world
}

fn stopped(world: &mut World) {
    let observed = Observed { generation: Generation(1), phase: Phase::Stopped, ..Observed::default() };
    let seen = [1, 9].map(|id| Observation { vm: VmId(id), observed: observed.clone(), gone: false });
    world.accept(1, Command::Observe((host("h1"), seen.into())));
}

fn depart(id: VmId) -> Command {
    let step = Departing { vm: id, generation: Generation(1), to: region("b"), host: None };
    Command::Depart((None, vec![step]))
}

#[test]
fn only_a_lost_copy_that_its_host_says_is_off_leaves_a_region_that_lives() {
    let mut world = copy_in_a();
    stopped(&mut world);
    assert_eq!(world.refuse(1, depart(COPY)), Code::WrongState, "it is not lost");
    world.accept(1, Command::LoseCopies(vec![VmId(1), COPY]));
    assert_eq!(world.facts(1).vms[&VmId(1)].drill, None, "what people run is never lost");
    assert_eq!(world.refuse(1, depart(COPY)), Code::WrongState, "its host's older word does not count");
    stopped(&mut world);
    assert_eq!(world.refuse(1, depart(VmId(1))), Code::WrongState, "what people run stays");
    world.accept(1, depart(COPY));
    let left = &world.facts(1).departures[&COPY].vm;
    assert!(left.drill.is_some() && !left.is_lost_copy(), "elsewhere it runs under its new generation");
}

#[test]
fn a_copy_is_lost_once_and_only_copies_are_dropped() {
    let mut world = copy_in_a();
    world.accept(1, Command::LoseCopies(vec![COPY]));
    assert_eq!(world.refuse(1, Command::LoseCopies(vec![COPY])), Code::UnknownVm);
    world.accept(1, Command::DropCopies(vec![VmId(1), COPY]));
    assert_eq!(world.facts(1).vms[&COPY].want, Want::Deleted);
    assert_eq!(world.facts(1).vms[&VmId(1)].want, Want::Running);
}

#[test]
fn copies_do_not_count_among_the_vms_that_are_to_run() {
    let world = copy_in_a();
    assert_eq!(world.facts(1).vms_to_run(), 1);
    assert_eq!(world.facts(1).vms_not_serving().map(|vm| vm.id).collect::<Vec<_>>(), vec![VmId(1)]);
}
