//! Partitions: what is drawn, what must hold when they have healed, and that it is noticed when it does not.

use std::collections::BTreeSet;

use dwcp_sim::checkers::SettledMoves;
use dwcp_sim::client;
use dwcp_sim::faults::Fault;
use dwcp_sim::options::Options;
use dwcp_sim::partitions::{Beside, Kind, Partition, Shape, cells};
use dwcp_sim::run;
use dwcp_sim::world::{Event, World};
use dwcp_types::{HostId, RegionId, VmId, Wall};

#[test]
fn every_kind_is_drawn_with_every_shape_and_within_its_times() {
    let mut drawn = BTreeSet::new();
    for seed in 0..500 {
        let partition = Partition::draw(seed, 5);
        drawn.insert((partition.kind, partition.shape));
        assert!((3_000..=90_000).contains(&partition.length_ms), "{partition:?}");
        assert!(
            !partition.cut.is_empty() && partition.cut.iter().all(|(from, to)| from != to),
            "{partition:?}"
        );
        let backwards = |(from, to): &(u64, u64)| partition.cut.contains(&(*to, *from));
        match partition.kind {
            Kind::OneWay => assert!(!partition.cut.iter().any(backwards), "{partition:?}"),
            _ => assert!(partition.cut.iter().all(backwards), "{partition:?}"),
        }
        let whole = match partition.shape {
            Shape::TwoThree => 12,
            Shape::OneFour => 8,
            Shape::OneOneThree => 14,
            Shape::Pairs => 20,
        };
        match (partition.kind, partition.shape) {
            (Kind::Partial, _) | (_, Shape::Pairs) => assert!(partition.cut.len() < whole, "{partition:?}"),
            (Kind::OneWay, _) => assert_eq!(partition.cut.len(), whole / 2, "{partition:?}"),
            _ => assert_eq!(partition.cut.len(), whole, "{partition:?}"),
        }
        let turns = std::iter::once(0).chain(partition.turns_ms.iter().copied());
        let gaps: Vec<u64> = turns.zip(&partition.turns_ms).map(|(before, at)| at - before).collect();
        assert!(gaps.iter().all(|ms| (500..=8_000).contains(ms)), "{partition:?}");
        assert!(gaps.is_empty() || partition.kind == Kind::Flapping, "{partition:?}");
    }
    assert_eq!(drawn, cells().into_iter().collect());
}

#[test]
fn what_a_partition_left_converges_and_nothing_moves_to_and_fro() {
    let mut moved = 0;
    for seed in 0..4 {
        let ended = run::swarm(Options::partition(seed));
        assert_eq!(ended.violation, None, "seed {seed}");
        assert!(ended.settled_ms <= 60_000, "seed {seed}");
        moved += ended.moved;
    }
    assert!(moved > 4, "only {moved} VMs moved: partitions no longer do what they are for");
}

fn both(pairs: &[(u64, u64)]) -> Vec<(u64, u64)> {
    pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect()
}

/// A run with a partition that is written out.
fn run_with(seed: u64, vms: usize, snapshot_every: u64, partition: Partition) -> Options {
    Options {
        vms,
        snapshot_every,
        faults_ms: partition.length_ms,
        settle_ms: 60_000,
        drifting: partition.beside == Beside::Drift,
        revocations: partition.beside == Beside::Drift,
        partition: Some(partition),
        ..Options::quiet(seed)
    }
}

/// Partitions after which something moved that should have stayed, or never settled, and why; written out, so that they stay what they are
/// when partitions are drawn in another way.
fn once_wrong() -> [(&'static str, Options); 6] {
    let stale = Partition {
        kind: Kind::Partial,
        shape: Shape::Pairs,
        cut: both(&[(1, 2), (2, 4), (3, 4), (3, 5), (4, 5)]),
        length_ms: 40_423,
        turns_ms: Vec::new(),
        beside: Beside::HostCrash,
    };
    let shaky = Partition {
        kind: Kind::Flapping,
        shape: Shape::OneOneThree,
        cut: both(&[(1, 2), (1, 4), (2, 3), (2, 4), (2, 5), (3, 4), (4, 5)]),
        length_ms: 56_001,
        turns_ms: vec![
            2_554, 9_403, 11_585, 13_570, 19_539, 27_516, 28_426, 31_897, 39_120, 43_735, 48_715, 49_269,
            50_956, 52_575,
        ],
        beside: Beside::Drift,
    };
    let silent_too = Partition {
        cut: both(&[(1, 2), (1, 3), (1, 4), (1, 5), (2, 4), (3, 4), (4, 5)]),
        length_ms: 79_557,
        turns_ms: vec![
            637, 1_639, 3_746, 6_820, 13_399, 18_677, 25_646, 28_592, 29_609, 33_586, 37_385, 40_623, 45_721,
            50_675, 54_412, 62_259, 67_519, 68_320, 70_687, 76_395,
        ],
        beside: Beside::Nothing,
        ..shaky.clone()
    };
    let returning = Partition {
        kind: Kind::Partial,
        cut: both(&[(1, 3), (1, 5), (2, 3), (2, 5), (3, 5), (4, 5)]),
        length_ms: 87_536,
        turns_ms: Vec::new(),
        ..silent_too.clone()
    };
    let kept = Partition {
        kind: Kind::Full,
        shape: Shape::TwoThree,
        cut: both(&[(1, 2), (1, 4), (1, 5), (2, 3), (3, 4), (3, 5)]),
        length_ms: 18_195,
        turns_ms: Vec::new(),
        beside: Beside::Drift,
    };
    let deaf = Partition {
        kind: Kind::OneWay,
        shape: Shape::Pairs,
        cut: vec![(2, 1), (2, 3), (2, 5), (3, 4), (4, 1), (4, 2), (5, 3)],
        length_ms: 84_452,
        turns_ms: Vec::new(),
        beside: Beside::Drift,
    };
    [
        (
            "a region was lost by the word of one that was reached only just before",
            run_with(275, 13, 60, stale),
        ),
        ("VMs fled to a region that came and went as well", run_with(349, 14, 60, shaky)),
        ("VMs were taken over by a host that was silent too", run_with(1015, 16, 300, silent_too)),
        ("VMs left as soon as their region was heard again", run_with(1887, 9, 60, returning)),
        ("a VM was refused the room of one that had come and was deleted", run_with(1299, 16, 300, kept)),
        (
            "leadership went home where nobody could follow it, and VMs moved on once more",
            run_with(3373, 15, 300, deaf),
        ),
    ]
}

#[test]
fn partitions_that_once_ended_badly() {
    for (how, options) in once_wrong() {
        let ended = run::swarm(options);
        assert_eq!(ended.violation, None, "seed {}, where once {how}", ended.seed);
    }
}

/// A VM's places, each a second after the one before and under a further generation; what the last of them is answered with.
fn history(moves: &mut SettledMoves, from_ms: u64, places: &[(&str, &str)]) -> Option<String> {
    let mut last = None;
    for (step, (region, host)) in places.iter().enumerate() {
        let at_us = from_ms * 1_000 + step as u64 * 1_000_000;
        let generation = at_us / 1_000;
        last = moves.placed(at_us, VmId(7), generation, (&RegionId::from(*region), &HostId::from(*host)));
    }
    last
}

#[test]
fn a_vm_that_moves_more_often_than_its_disaster_accounts_for_is_found() {
    let mut moves = SettledMoves::default();
    assert_eq!(history(&mut moves, 1_000, &[("r1", "a"), ("r2", "b"), ("r1", "a")]), None, "no disaster yet");
    moves.begins(1);
    assert_eq!(history(&mut moves, 10_000, &[("r1", "a"), ("r2", "b"), ("r2", "b")]), None, "one move");
    let text = history(&mut moves, 20_000, &[("r1", "a")]).expect("it came back");
    assert!(text.contains("moved 2 times in one disaster, 1 allowed: a (r1) to b (r2)"), "{text}");
    moves.begins(2);
    assert_eq!(history(&mut moves, 30_000, &[("r2", "b"), ("r1", "a")]), None, "two are allowed");
    assert_eq!(moves.moved(), 1);
}

#[test]
fn an_older_record_of_a_replica_that_is_behind_is_no_move() {
    let mut moves = SettledMoves::default();
    moves.begins(1);
    assert_eq!(history(&mut moves, 5_000, &[("r1", "a"), ("r2", "b")]), None);
    assert_eq!(history(&mut moves, 1_000, &[("r1", "a")]), None);
    assert_eq!(history(&mut moves, 9_000, &[("r2", "b")]), None);
}

#[test]
fn after_healing_only_what_was_decided_may_move() {
    for (decided, ok) in [(BTreeSet::from([VmId(7)]), true), (BTreeSet::new(), false)] {
        let mut moves = SettledMoves::default();
        moves.begins(1);
        assert_eq!(history(&mut moves, 1_000, &[("r1", "a")]), None);
        moves.heals(2_000_000, Wall(0), decided);
        let said = history(&mut moves, 9_000, &[("r2", "b")]);
        assert_eq!(said.is_none(), ok, "{said:?}");
        let text =
            "moved 7000 ms after everything healed, which nothing had decided before: a (r1) to b (r2)";
        assert!(said.is_none_or(|said| said.contains(text)));
    }
}

/// A federation with so many VMs.
fn world(vms: usize) -> World {
    let mut world = World::new(Options::quiet(3));
    world.schedule(0, Event::Client);
    world.run_until(8_000_000).expect("nothing is wrong");
    (0..vms).for_each(|_| client::create(&mut world, false));
    world.run_until(30_000_000).expect("nothing is wrong");
    assert_eq!(world.settled(), Ok(()));
    world
}

#[test]
fn a_host_that_dies_after_healing_shows_as_a_move_that_nothing_had_decided() {
    let mut world = world(6);
    world.disaster_begins(1);
    world.disaster_ends();
    let busy = world.hosts.iter().position(|host| !host.processes.is_empty()).expect("a VM runs");
    world.strike(Fault::KillHost(busy));
    let text = world.run_until(60_000_000).expect_err("its VMs are taken over");
    assert!(text.contains("after everything healed, which nothing had decided before"), "{text}");
}

#[test]
fn a_host_without_a_lease_and_a_group_without_a_leader_are_not_settled() {
    let mut leaseless = world(0);
    leaseless.strike(Fault::KillAgent(3));
    leaseless.run_until(60_000_000).expect("nothing runs there");
    let text = leaseless.settled().expect_err("its lease has run out");
    assert_eq!(text, format!("host {} has no lease", leaseless.hosts[3].name));

    let mut apart = world(0);
    apart.strike(Fault::CutLinks((1..=5).flat_map(|from| (1..=5).map(move |to| (from, to))).collect()));
    apart.run_until(40_000_000).expect("nobody decides anything");
    let text = apart.settled().expect_err("nobody has a majority");
    assert!(text.contains("leader of group"), "{text}");
}
