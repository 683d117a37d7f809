//! After any commands sums are right and nothing is oversold.

use dwcp_state::{Command, Departing, Flaw, HostMove, Observation, Relation, Scope, Target, Vm, Want};
use dwcp_types::{Generation, Rng, VmId};
use proptest::prelude::*;

use super::world::{World, create, host, host_facts, operation, region, size, vm};

/// A command that may or may not be right, on few ids so that they often meet.
fn any_command(rng: &mut Rng, generation: impl Fn(VmId) -> Generation) -> Command {
    let id = VmId(1 + rng.below(12));
    let on = host(["h1", "h2", "h3"][rng.below(3) as usize]);
    match rng.below(12) {
        0..=3 => {
            let mut new = vm(id.0, on.as_str());
            new.spec.size = size(1 + rng.below(4) as u32, 1 + rng.below(16_000), rng.below(200));
            new.labels.insert("app".into(), rng.below(3).to_string());
            if rng.chance(1, 3) {
                let target = Target::Label(("app".into(), rng.below(3).to_string()));
                new.rules.anti_affinity = vec![Relation { target, scope: Scope::Host }];
            }
            let second = Vm { id: VmId(id.0 + 100), name: format!("second-{id}"), ..new.clone() };
            create(if rng.chance(1, 2) { vec![new, second] } else { vec![new] })
        }
        4 => Command::LoseHost((on, 1)),
        5 => Command::RegisterHost(host_facts(on.as_str(), "a")),
        6 => Command::MoveVms(vec![HostMove { vm: id, generation: generation(id), to: on }]),
        7 => {
            let step = Departing { vm: id, generation: generation(id), to: region("b"), host: None };
            Command::Depart((None, vec![step]))
        }
        8 => Command::SetWant((id, ([Want::Deleted, Want::Running][rng.below(2) as usize], operation(3)))),
        9 => Command::Observe((on, vec![Observation { vm: id, gone: true, ..Observation::default() }])),
        10 => Command::Recall((id, Generation(generation(id).0))),
        _ => Command::Forget((id, Generation(generation(id).0))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_commands_oversell_a_host_or_lose_a_sum(seed in any::<u64>()) {
        let (mut world, mut rng) = (World::new(), Rng::new(seed));
        for _ in 0..150 {
            let facts = world.facts(1).clone();
            let generation = |id: VmId| {
                let placed = facts.vms.get(&id).map(|vm| vm.generation);
                placed.or(facts.departures.get(&id).map(|left| left.vm.generation)).unwrap_or_default()
            };
            world.apply(1, any_command(&mut rng, generation));
            prop_assert_eq!(world.view.flaws(), vec![]);
        }
        // What is derived is what a restore derives.
        let bytes = world.view.snapshot(1);
        let mut other = world.view.clone();
        other.restore(1, &bytes).expect("it was written by this version");
        for number in 0..20 {
            let command = any_command(&mut rng, |_| Generation(1 + number % 3));
            let group_revision = dwcp_types::Revision(world.view.revision(1).0 + 1);
            let envelope = dwcp_state::Envelope { command, ..Default::default() };
            let one = world.view.apply(1, group_revision, &envelope);
            prop_assert_eq!(one, other.apply(1, group_revision, &envelope));
        }
        prop_assert_eq!(world.view.snapshot(1), other.snapshot(1));
    }
}

#[test]
fn flaws_are_found() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    let mut wrong = world.view.clone();
    wrong.regions.entry(region("a")).and_modify(|facts| {
        facts.hosts.entry(host("h1")).and_modify(|host| host.used = size(1, 1, 1));
    });
    assert_eq!(wrong.flaws(), vec![Flaw::WrongSum(region("a"), host("h1"))]);
    let mut oversold = world.view.clone();
    oversold.regions.entry(region("a")).and_modify(|facts| {
        facts.hosts.entry(host("h1")).and_modify(|host| host.facts.capacity = size(1, 1, 1));
    });
    assert_eq!(oversold.flaws(), vec![Flaw::Oversold(region("a"), host("h1"))]);
    let mut twice = world.view.clone();
    let record = world.facts(1).vms[&VmId(1)].clone();
    twice.regions.entry(region("b")).and_modify(|facts| {
        facts.vms.insert(VmId(1), record.clone());
        facts.hosts.entry(host("h1")).and_modify(|host| host.used = record.spec.size);
    });
    assert_eq!(twice.flaws(), vec![Flaw::TwoOwners(VmId(1), region("a"), region("b"))]);
}
