//! Where the VMs of a lost region go.

use dwcp_decide::{FailoverLimits, FailoverPlan, plan_failover};
use dwcp_state::{Command, Scope, Vm, Want};
use dwcp_types::{Amount, Code, Priority};

use super::world::{World, host, labels, region, regions, set, size, to_label};

const SMALL: Amount = Amount { vcpus: 2, memory_mib: 2_048, disk_gib: 10 };

fn plan(world: &World, limits: &FailoverLimits) -> FailoverPlan {
    plan_failover(&world.view, &world.measured, &region("a"), limits)
}

fn put(world: &mut World, amount: Amount, change: impl FnOnce(&mut Vm)) -> Vm {
    let mut vm = world.vm(amount);
    change(&mut vm);
    world.put("a", "h1", &vm);
    vm
}

fn roomy(world: &mut World) {
    world.accept("a", Command::SetOvercommit((1_000, 1_000)));
}

fn text(plan: &FailoverPlan) -> Vec<String> {
    let place = |step: &dwcp_decide::PlannedMove| match &step.to {
        Some((region, host)) => format!("{} {region}/{host}", step.name),
        None => format!("{} left", step.name),
    };
    plan.moves.iter().map(place).collect()
}

#[test]
fn the_most_important_vms_come_first_then_the_largest_then_by_id() {
    let mut world = World::new(&["a", "b"], 4);
    roomy(&mut world);
    put(&mut world, SMALL, |vm| vm.priority = Priority(25));
    put(&mut world, SMALL, |_| {});
    put(&mut world, size(2, 4_096, 10), |_| {});
    put(&mut world, SMALL, |vm| vm.priority = Priority(100));
    put(&mut world, SMALL, |_| {});
    let plan = plan(&world, &FailoverLimits::default());
    let names: Vec<&str> = plan.moves.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["vm-4", "vm-3", "vm-2", "vm-5", "vm-1"]);
    assert_eq!(plan.left, 0);
}

#[test]
fn copies_of_a_drill_are_planned_for_only_by_name() {
    let mut world = World::new(&["a", "b"], 2);
    let kept = put(&mut world, SMALL, |_| {});
    let mark = dwcp_state::DrillMark { drill: dwcp_types::DrillId(1), lost: None };
    let copy = put(&mut world, SMALL, |vm| vm.drill = Some(mark));
    let of = |limits: &FailoverLimits| -> Vec<_> {
        plan(&world, limits).moves.into_iter().map(|step| step.vm).collect()
    };
    assert_eq!(of(&FailoverLimits::default()), vec![kept.id]);
    let only = FailoverLimits { only: [copy.id].into(), ..FailoverLimits::default() };
    assert_eq!(of(&only), vec![copy.id]);
}

#[test]
fn room_is_used_up_as_the_plan_goes_and_the_least_important_are_left() {
    let mut world = World::new(&["a", "b", "c"], 1);
    roomy(&mut world);
    for priority in [50, 100, 75, 25] {
        put(&mut world, size(4, 1_024, 10), |vm| vm.priority = Priority(priority));
    }
    world.fill("c", "h1", size(8, 1, 1));
    let limits = FailoverLimits::default();
    let plan = plan(&world, &limits);
    assert_eq!(text(&plan), ["vm-2 b/h1", "vm-3 b/h1", "vm-1 left", "vm-4 left"]);
    assert_eq!((plan.left, plan.stay), (2, 0));
    assert!(plan.moves[2].reason.contains("1 host: too little room"), "{}", plan.moves[2].reason);
    let refusal = plan.refusal(&region("a"), &limits).expect("VMs are left");
    assert_eq!(refusal.code, Code::FailoverRefused);
    assert!(plan.refusal(&region("a"), &FailoverLimits { partial: true, ..limits }).is_none());
}

#[test]
fn limits_restrict_regions_and_priorities() {
    let mut world = World::new(&["a", "b", "c"], 2);
    world.change("b", |region| region.priority = 100);
    put(&mut world, SMALL, |_| {});
    put(&mut world, SMALL, |vm| vm.priority = Priority(75));
    let limits = FailoverLimits {
        to: vec![region("c")],
        min_priority: Some(Priority(75)),
        ..FailoverLimits::default()
    };
    assert_eq!(text(&plan(&world, &limits)), ["vm-2 c/h1"]);
}

#[test]
fn a_vm_that_is_to_stay_is_left_and_blocks_nothing() {
    let mut world = World::new(&["a", "b"], 1);
    put(&mut world, SMALL, |vm| vm.rules.stay_on_loss = true);
    let plan = plan(&world, &FailoverLimits::default());
    assert_eq!((text(&plan), plan.left, plan.stay), (vec!["vm-1 left".to_string()], 1, 1));
    assert!(plan.refusal(&region("a"), &FailoverLimits::default()).is_none());
    assert_eq!(plan.predicted_rto_ms, 0);
}

#[test]
fn stopped_vms_move_and_deleted_ones_do_not() {
    let mut world = World::new(&["a", "b"], 1);
    let stopped = put(&mut world, SMALL, |_| {});
    let deleted = put(&mut world, SMALL, |_| {});
    world.accept("a", Command::SetWant((stopped.id, (Want::Stopped, Default::default()))));
    world.accept("a", Command::SetWant((deleted.id, (Want::Deleted, Default::default()))));
    assert_eq!(text(&plan(&world, &FailoverLimits::default())), ["vm-1 b/h1"]);
}

#[test]
fn law_and_distance_hold_and_money_does_not() {
    let mut world = World::new(&["a", "b"], 2);
    world.change("b", |region| region.prices.vcpu_micros = 90_000);
    put(&mut world, SMALL, |vm| vm.rules.cost_limit_millis = Some(1));
    put(&mut world, SMALL, |vm| vm.rules.residency = set(&["eu"]));
    put(&mut world, SMALL, |vm| vm.rules.max_latency = vec![(region("a"), 50)]);
    put(&mut world, SMALL, |vm| vm.rules.allowed_regions = regions(&["a"]));
    let plan = plan(&world, &FailoverLimits::default());
    assert_eq!(text(&plan), ["vm-1 b/h1", "vm-2 left", "vm-3 left", "vm-4 left"]);
    assert!(plan.monthly_cost_delta_millis > 0);
    assert!(plan.moves[2].reason.contains("100 ms away; at most 50 ms"), "{}", plan.moves[2].reason);
}

#[test]
fn vms_that_move_together_keep_their_relations() {
    let mut world = World::new(&["a", "b", "c"], 2);
    roomy(&mut world);
    world.accept("a", Command::SetOvercommit((1_000, 1_000)));
    for at in 1..=2 {
        let mut vm = world.vm(SMALL);
        vm.labels = labels(&[("app", "db")]);
        vm.rules.anti_affinity = vec![to_label("app", "db", Scope::Host)];
        world.put("a", &format!("h{at}"), &vm);
    }
    let mut web = world.vm(SMALL);
    web.priority = Priority(25);
    let near = world.fill("a", "h1", SMALL);
    web.rules.affinity = vec![super::world::to_vm(near, Scope::Host)];
    world.put("a", "h1", &web);
    let plan = plan(&world, &FailoverLimits::default());
    let place =
        |name: &str| plan.moves.iter().find(|step| step.name == name).and_then(|step| step.to.clone());
    assert_eq!(plan.left, 0);
    assert_ne!(place("vm-1"), place("vm-2"));
    assert_eq!(place(&web.name), place("vm-4"));
}

#[test]
fn an_unhealthy_survivor_is_better_than_none_and_a_closed_one_is_not_used() {
    let mut world = World::new(&["a", "b", "c"], 1);
    put(&mut world, SMALL, |_| {});
    world.measured.health.insert(region("b"), Some(10));
    world.change("c", |region| region.placement = false);
    assert_eq!(text(&plan(&world, &FailoverLimits::default())), ["vm-1 b/h1"]);
    world.accept("b", Command::SetHostPlacement((host("h1"), false)));
    assert_eq!(text(&plan(&world, &FailoverLimits::default())), ["vm-1 left"]);
}

#[test]
fn the_estimate_grows_with_the_busiest_host() {
    let mut world = World::new(&["a", "b"], 1);
    put(&mut world, size(1, 1_024, 1), |_| {});
    let one = plan(&world, &FailoverLimits::default()).predicted_rto_ms;
    put(&mut world, size(1, 1_024, 1), |_| {});
    let two = plan(&world, &FailoverLimits::default()).predicted_rto_ms;
    assert!(0 < one && one < two && two < 30_000, "{one} {two}");
}

#[test]
fn vms_that_lost_their_region_go_where_links_come_and_go_only_when_nothing_else_will_do() {
    let mut world = World::new(&["a", "b", "c"], 1);
    roomy(&mut world);
    for _ in 0..2 {
        put(&mut world, size(4, 1_024, 10), |_| {});
    }
    let steady = plan(&world, &FailoverLimits::default());
    let first = steady.moves[0].to.clone().expect("it has a place").0;
    world.measured.shaky.insert(first.clone());
    let shaken = plan(&world, &FailoverLimits::default());
    let away = shaken.moves[0].to.clone().expect("it has a place").0;
    assert_ne!(away, first);
    world.fill(away.as_str(), "h1", size(6, 1, 1));
    let full = plan(&world, &FailoverLimits::default());
    assert!(
        full.moves.iter().any(|step| {
            step.to.as_ref().is_some_and(|(region, _)| *region == first)
                && step.reason.contains("silent a short while ago")
        }),
        "{full:?}"
    );
}
