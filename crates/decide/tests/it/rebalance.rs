//! Evening out how full hosts and regions are.

use dwcp_decide::{Rebalance, RebalancePlan, plan_rebalance};
use dwcp_state::{Migration, ProtectionMode, Scope};
use dwcp_types::{MigrationId, VmId};

use super::world::{World, host, labels, region, regions, size, to_label};

fn asked(within: Option<&str>) -> Rebalance {
    Rebalance { within: within.map(region), max_moves: 100, max_mib: u64::MAX, ..Rebalance::default() }
}

fn plan(world: &World, asked: &Rebalance) -> RebalancePlan {
    plan_rebalance(&world.view, &world.measured, asked)
}

/// One region of three hosts, the first with eight VMs of a processor each.
fn lopsided() -> World {
    let mut world = World::new(&["a"], 3);
    for _ in 0..8 {
        world.fill("a", "h1", size(1, 1_024, 0));
    }
    world
}

fn told(plan: &RebalancePlan) -> Vec<(u64, String)> {
    plan.moves.iter().map(|step| (step.vm.0, format!("{}/{}", step.to, step.host))).collect()
}

/// The facts when everything has moved.
fn carried_out(world: &World, plan: &RebalancePlan) -> World {
    let mut next = world.clone();
    for step in &plan.moves {
        next.view.relocate(step.vm, &step.to, &step.host);
        // The copy's hosts have changed without a command that tells of it; tables are made anew by each plan.
    }
    next
}

#[test]
fn a_full_host_gives_to_the_emptiest_until_loads_lie_close_together() {
    let world = lopsided();
    let plan = plan(&world, &asked(Some("a")));
    assert_eq!((plan.before, plan.moves.len()), ((0, 1_000), 5), "{plan:?}");
    assert!(plan.after.1 - plan.after.0 <= 150, "{plan:?}");
    assert_eq!(told(&plan)[..2], [(1, "a/h2".to_owned()), (2, "a/h3".to_owned())]);
    assert!(plan.moves[0].reason.contains("h1: 100 % -> 87 %, h2: 0 % -> 12 %"), "{:?}", plan.moves[0]);
}

#[test]
fn what_is_even_stays_and_a_second_time_moves_nothing() {
    let world = lopsided();
    let first = plan(&world, &asked(Some("a")));
    let second = plan(&carried_out(&world, &first), &asked(Some("a")));
    assert_eq!(second.moves, Vec::new());
    assert_eq!((second.before, second.after), (first.after, first.after));
    assert_eq!(second.end, "loads lie within 15 %");
}

#[test]
fn what_is_on_its_way_counts_where_it_goes_to() {
    let mut world = lopsided();
    let first = plan(&world, &asked(Some("a")));
    let facts = world.view.regions.get_mut(&region("a")).expect("a region");
    for step in &first.moves {
        let migration = Migration {
            id: MigrationId(step.vm.0),
            vm: step.vm,
            from_host: host("h1"),
            to: step.to.clone(),
            host: Some(step.host.clone()),
            ..Migration::default()
        };
        facts.migrations.insert(step.vm, migration);
    }
    let second = plan(&world, &asked(Some("a")));
    assert_eq!((second.moves.len(), second.before), (0, first.after), "{second:?}");
}

#[test]
fn the_budget_and_rest_and_protected_disks_are_kept() {
    let mut world = lopsided();
    let few = plan(&world, &Rebalance { max_moves: 2, ..asked(Some("a")) });
    assert_eq!((few.moves.len(), few.end.as_str()), (2, "2 VMs are the most that may move"));
    let small = plan(&world, &Rebalance { max_mib: 3_000, ..asked(Some("a")) });
    assert_eq!((small.moves.len(), small.mib), (2, 2_048));
    assert_eq!(small.end, "2 GiB are the most that may move");
    let rested: Vec<VmId> = (1..=6).map(VmId).collect();
    let kept = plan(&world, &Rebalance { rested: rested.into_iter().collect(), ..asked(Some("a")) });
    assert_eq!(kept.moves.iter().map(|step| step.vm.0).collect::<Vec<_>>(), [7, 8]);
    let facts = world.view.regions.get_mut(&region("a")).expect("a region");
    for vm in facts.vms.values_mut() {
        vm.protection.mode = ProtectionMode::Sync;
        vm.spec.size.disk_gib = 1;
    }
    assert_eq!(plan(&world, &asked(Some("a"))).moves, Vec::new());
}

#[test]
fn regions_are_evened_out_by_the_rules_of_their_vms() {
    let mut world = World::new(&["a", "b", "c"], 1);
    for number in 0..8 {
        let mut vm = world.vm(size(1, 1_024, 0));
        vm.rules.allowed_regions = if number < 6 { regions(&["a", "b"]) } else { regions(&["a"]) };
        if number < 2 {
            vm.labels = labels(&[("app", "db")]);
            vm.rules.anti_affinity = vec![to_label("app", "web", Scope::Region)];
        }
        world.put("a", "h1", &vm);
    }
    let mut web = world.vm(size(1, 1_024, 0));
    web.labels = labels(&[("app", "web")]);
    web.rules.allowed_regions = regions(&["b"]);
    world.put("b", "h1", &web);
    let plan = plan(&world, &asked(None));
    assert!(plan.moves.iter().all(|step| step.to == region("b") && (3..=6).contains(&step.vm.0)), "{plan:?}");
    assert!(!plan.moves.is_empty());
    assert!(plan.end.starts_with("no other move is allowed"), "{}", plan.end);
    world.change("b", |region| region.placement = false);
    assert_eq!(self::plan(&world, &asked(None)).moves, Vec::new());
}
