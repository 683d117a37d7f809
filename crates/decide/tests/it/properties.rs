//! Properties over random federations.

use std::collections::BTreeSet;

use dwcp_decide::{FailoverLimits, PlaceIndex, Reservations, Serial, place, plan_failover};
use dwcp_state::{
    Admission, Command, Departing, NewVm, Operation, Outcome, Profile, Relation, Scope, Target, Vm,
};
use dwcp_types::{Amount, OperationId, Priority, VmId};
use proptest::prelude::*;

use super::world::{World, region, request, size};

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
struct Wish {
    size: Amount,
    label: u8,
    relation: Option<(bool, u8, Scope)>,
    priority: u8,
    zone: Option<bool>,
    stop: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    let scope = prop_oneof![Just(Scope::Host), Just(Scope::Zone), Just(Scope::Region)];
    let relation = proptest::option::weighted(0.3, (proptest::bool::weighted(0.3), 0u8..4, scope));
    let amount = (1u32..5, 256u64..9_000, 1u64..120).prop_map(|(cpu, mem, disk)| size(cpu, mem, disk));
    (amount, 0u8..4, relation, 0u8..=100, proptest::option::weighted(0.2, any::<bool>()), any::<bool>())
        .prop_map(|(size, label, relation, priority, zone, stop)| Wish {
            size,
            label,
            relation,
            priority,
            zone,
            stop,
        })
}

fn record(world: &mut World, wish: &Wish) -> Vm {
    let mut vm = world.vm(wish.size);
    vm.labels.insert("app".into(), wish.label.to_string());
    vm.priority = Priority(wish.priority);
    if let Some((together, label, scope)) = wish.relation {
        let target = Target::Label(("app".into(), label.to_string()));
        let relation = Relation { target, scope };
        if together { &mut vm.rules.affinity } else { &mut vm.rules.anti_affinity }.push(relation);
    }
    if let Some(first) = wish.zone {
        vm.rules.zones = [if first { "a".to_string() } else { "b".to_string() }].into();
    }
    vm
}

fn world(profile: usize) -> World {
    let mut world = World::new(&NAMES, 4);
    let profiles = [Profile::Balanced, Profile::Pack, Profile::Spread, Profile::Cost];
    world.view.core.policy.profile = profiles[profile];
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_placement_is_accepted_by_apply(wishes in proptest::collection::vec(wish(), 1..60), profile in 0usize..4) {
        let mut world = world(profile);
        let mut index = PlaceIndex::default();
        let reserved = Reservations::default();
        for wish in &wishes {
            let vm = record(&mut world, wish);
            let ask = request(vm.clone());
            let (result, report) = place(&world.view, &mut index, &world.measured, &reserved, &ask, false, &Serial);
            let fresh = place(&world.view, &mut PlaceIndex::default(), &world.measured, &reserved, &ask, false, &Serial);
            prop_assert_eq!(&result, &fresh.0, "a kept index decides like a fresh one");
            prop_assert_eq!(&report, &fresh.1);
            match result {
                Ok(to) => {
                    let new = NewVm { vm: Vm { host: to.host, ..vm } };
                    let operation = Operation { id: OperationId(new.vm.id.0), ..Operation::default() };
                    let outcome = world.apply(to.region.as_str(), Command::CreateVms((vec![new], operation)));
                    prop_assert!(matches!(outcome, Outcome::Accepted(_)), "{:?}", outcome);
                }
                Err(refusal) => {
                    if let Some(change) = &report.smallest_change {
                        prop_assert!(refusal.tries.contains(&change.command));
                    }
                }
            }
        }
        prop_assert_eq!(world.view.flaws(), vec![]);
    }

    #[test]
    fn reservations_give_no_room_twice(wishes in proptest::collection::vec(wish(), 1..60)) {
        let mut world = world(0);
        let mut index = PlaceIndex::default();
        let mut reserved = Reservations::default();
        let mut placed = Vec::new();
        for wish in &wishes {
            let vm = record(&mut world, wish);
            let ask = request(vm.clone());
            if let Ok(to) = place(&world.view, &mut index, &world.measured, &reserved, &ask, false, &Serial).0 {
                reserved.add(&to.region, &to.host, &vm);
                placed.push((to.region, Vm { host: to.host, ..vm }));
            }
        }
        for (of, vm) in placed {
            let operation = Operation { id: OperationId(vm.id.0), ..Operation::default() };
            let outcome = world.apply(of.as_str(), Command::CreateVms((vec![NewVm { vm }], operation)));
            prop_assert!(matches!(outcome, Outcome::Accepted(_)), "{:?}", outcome);
        }
        prop_assert_eq!(world.view.flaws(), vec![]);
    }

    #[test]
    fn a_failover_plan_is_admitted_as_a_whole(wishes in proptest::collection::vec(wish(), 1..50)) {
        let mut world = world(0);
        world.accept("a", Command::SetOvercommit((2_000, 2_000)));
        let mut index = PlaceIndex::default();
        for (at, wish) in wishes.iter().enumerate() {
            let vm = record(&mut world, wish);
            let mut ask = request(vm.clone());
            // Most live in the region to be lost, some elsewhere.
            ask.only_regions = Some(BTreeSet::from([region(if at % 4 == 3 { "b" } else { "a" })]));
            let reserved = Reservations::default();
            if let Ok(to) = place(&world.view, &mut index, &world.measured, &reserved, &ask, false, &Serial).0 {
                world.put(to.region.as_str(), to.host.as_str(), &vm);
                if wish.stop {
                    let operation = Operation { id: OperationId(vm.id.0 + 1_000), ..Operation::default() };
                    world.accept(
                        to.region.as_str(),
                        Command::SetWant((vm.id, (dwcp_state::Want::Stopped, operation))),
                    );
                }
            }
        }
        let limits = FailoverLimits { partial: true, ..FailoverLimits::default() };
        let plan = plan_failover(&world.view, &world.measured, &region("a"), &limits);
        let again = plan_failover(&world.view, &world.measured, &region("a"), &limits);
        prop_assert_eq!(&plan, &again);
        prop_assert_eq!(plan.moves.len(), world.view.regions[&region("a")].vms.len());
        world.accept("a", Command::BeginEvacuation(1));
        for step in plan.moves.iter().filter(|step| step.to.is_some()) {
            let (to, on) = step.to.clone().expect("filtered");
            let departing =
                Departing { vm: step.vm, generation: step.generation, to: to.clone(), host: Some(on.clone()) };
            world.accept("a", Command::Depart((None, vec![departing])));
            let vm = world.view.regions[&region("a")].departures[&step.vm].vm.clone();
            let generation = vm.generation;
            let admission = Admission { vm, host: on, from: region("a"), failover: None };
            let outcome = world.apply(to.as_str(), Command::Admit(Box::new(admission)));
            prop_assert!(matches!(outcome, Outcome::Accepted(_)), "{:?}", outcome);
            world.accept("a", Command::Forget((step.vm, generation)));
        }
        prop_assert_eq!(world.view.flaws(), vec![]);
    }

    #[test]
    fn decisions_do_not_depend_on_the_order_in_which_facts_came(
        sizes in proptest::collection::vec((1u32..4, 256u64..4_000), 1..12),
        seed in any::<u64>(),
    ) {
        let build = |order: &[usize]| {
            let mut world = World::new(&NAMES, 3);
            for at in order {
                let (vcpus, memory_mib) = sizes[*at];
                let mut vm = world.vm(size(vcpus, memory_mib, 1));
                (vm.id, vm.name) = (VmId(100 + *at as u64), format!("fixed-{at}"));
                let on = format!("h{}", at % 3 + 1);
                let vm = Vm { host: dwcp_types::HostId::from(on.as_str()), ..vm };
                let operation = Operation { id: OperationId(vm.id.0), ..Operation::default() };
                world.apply(NAMES[at % 2], Command::CreateVms((vec![NewVm { vm }], operation)));
            }
            world
        };
        // Each place takes at most four of these, which always fit together, so order can't decide who got in.
        prop_assume!(sizes.iter().map(|(vcpus, _)| vcpus).sum::<u32>() <= 8);
        let forward: Vec<usize> = (0..sizes.len()).collect();
        let mut shuffled = forward.clone();
        let mut rng = dwcp_types::Rng::new(seed);
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, rng.below(at as u64 + 1) as usize);
        }
        let (one, two) = (build(&forward), build(&shuffled));
        let mut new = one.clone().vm(size(2, 2_048, 5));
        new.id = VmId(999);
        prop_assert_eq!(one.decide(&request(new.clone())), two.decide(&request(new)));
        let limits = FailoverLimits { partial: true, ..FailoverLimits::default() };
        prop_assert_eq!(
            plan_failover(&one.view, &one.measured, &region("a"), &limits),
            plan_failover(&two.view, &two.measured, &region("a"), &limits)
        );
    }
}
