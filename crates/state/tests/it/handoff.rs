//! A VM has one owner under any order of departures, admissions, declines and recalls, also when every leader looks at
//! facts of the other regions that are old, and when every command may come again.

use dwcp_state::{
    Admission, Command, Departing, Index, Observation, Observed, Outcome, Phase, RegionFacts, Want,
};
use dwcp_types::{Code, Generation, RegionId, Rng, VmId};
use proptest::prelude::*;

use super::world::{World, create, host, operation, region, size, vm};

const NAMES: [&str; 3] = ["a", "b", "c"];

fn depart(generation: u64, to: &str) -> Command {
    let generation = Generation(generation);
    Command::Depart((None, vec![Departing { vm: VmId(1), generation, to: region(to), host: None }]))
}

fn admission(world: &World, from: u64) -> Command {
    let departure = &world.facts(from).departures[&VmId(1)];
    let from = world.facts(from).name.clone();
    Command::Admit(Box::new(Admission { vm: departure.vm.clone(), host: host("h1"), from, failover: None }))
}

fn departed() -> World {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    world.accept(1, Command::BeginEvacuation(1));
    assert_eq!(world.accept(1, depart(1, "b")).vms, vec![(VmId(1), Generation(2))]);
    world
}

#[test]
fn a_vm_departs_only_from_where_no_lease_is_granted_and_under_its_generation() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    assert_eq!(world.refuse(1, depart(1, "b")), Code::WrongState);
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    assert_eq!(world.refuse(1, depart(2, "b")), Code::OldGeneration);
    world.accept(1, depart(1, "b"));
    assert_eq!(world.refuse(1, depart(1, "b")), Code::UnknownVm);
    assert_eq!(world.facts(1).hosts[&host("h1")].used, size(2, 2_048, 10), "it may come back");
}

#[test]
fn a_vm_is_admitted_once_and_then_forgotten() {
    let mut world = departed();
    let admit = admission(&world, 1);
    assert_eq!(world.accept(2, admit.clone()).vms, vec![(VmId(1), Generation(2))]);
    assert_eq!(world.refuse(2, admit.clone()), Code::OldGeneration);
    let late = Command::Decline((VmId(1), (Generation(2), "late".into())));
    assert_eq!(world.refuse(2, late), Code::OldGeneration);
    assert_eq!(world.refuse(1, Command::Forget((VmId(1), Generation(1)))), Code::OldGeneration);
    world.accept(1, Command::Forget((VmId(1), Generation(2))));
    assert_eq!(world.refuse(1, Command::Forget((VmId(1), Generation(2)))), Code::UnknownVm);
    assert_eq!(world.facts(1).hosts[&host("h1")].used, size(0, 0, 0));
    assert_eq!(world.refuse(1, admit), Code::OldGeneration, "not back where it came from");
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn what_was_declined_is_never_admitted_at_that_generation_and_is_recalled_under_a_further_one() {
    let mut world = departed();
    let admit = admission(&world, 1);
    world.accept(2, Command::Decline((VmId(1), (Generation(2), "no room".into()))));
    assert_eq!(world.refuse(2, admit), Code::OldGeneration);
    assert_eq!(world.refuse(1, Command::Recall((VmId(1), Generation(1)))), Code::OldGeneration);
    world.accept(1, Command::Recall((VmId(1), Generation(2))));
    assert_eq!(world.facts(1).vms[&VmId(1)].generation, Generation(3));
    world.accept(1, depart(3, "b"));
    let again = admission(&world, 1);
    assert_eq!(world.accept(2, again).vms, vec![(VmId(1), Generation(4))]);
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn a_region_under_evacuation_or_without_room_admits_nobody() {
    let mut world = departed();
    let admit = admission(&world, 1);
    world.accept(2, Command::BeginEvacuation(1));
    assert_eq!(world.refuse(2, admit.clone()), Code::RegionDisabled);
    world.accept(2, Command::EndEvacuation(1));
    let mut large = vm(2, "h1");
    large.spec.size = size(8, 1, 1);
    world.accept(2, create(vec![large]));
    assert_eq!(world.refuse(2, admit), Code::CapacityGone);
}

#[test]
fn a_recalled_vm_finds_the_room_it_had() {
    let mut world = World::new();
    let mut large = vm(1, "h1");
    large.spec.size = size(8, 1_024, 10);
    world.accept(1, create(vec![large]));
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    world.accept(1, depart(1, "b"));
    world.accept(1, Command::RegisterHost(super::world::host_facts("h1", "a")));
    assert_eq!(world.refuse(1, create(vec![vm(2, "h1")])), Code::CapacityGone);
    world.accept(1, Command::Recall((VmId(1), Generation(2))));
    assert_eq!(world.view.flaws(), vec![]);
}

#[test]
fn a_deleted_vm_is_not_recalled_and_its_room_is_free() {
    let mut world = World::new();
    world.accept(1, create(vec![vm(1, "h1")]));
    world.accept(1, Command::SetWant((VmId(1), (Want::Deleted, operation(2)))));
    world.accept(1, Command::LoseHost((host("h1"), 1)));
    world.accept(1, depart(1, "b"));
    world.accept(1, Command::Recall((VmId(1), Generation(2))));
    assert!(world.facts(1).vms.is_empty() && world.facts(1).departures.is_empty());
    assert_eq!(world.view.flaws(), vec![]);
}

/// What a leader concludes from what it knows of the other region: taken, declined, or nothing yet.
fn fate(seen: &RegionFacts, vm: VmId, generation: Generation) -> Option<bool> {
    let reached = |known: Option<Generation>| known.is_some_and(|known| known >= generation);
    let taken = reached(seen.vms.get(&vm).map(|vm| vm.generation))
        || reached(seen.departures.get(&vm).map(|departure| departure.vm.generation))
        || reached(seen.tombstones.get(&vm).copied());
    if taken {
        return Some(true);
    }
    (seen.declined.get(&vm).is_some_and(|(declined, _)| *declined >= generation)).then_some(false)
}

struct Play {
    world: World,
    rng: Rng,
    /// For each group, its facts at every position of its log.
    history: Vec<Vec<RegionFacts>>,
    sent: Vec<(u64, Command)>,
    epochs: [u64; 3],
}

impl Play {
    fn new(seed: u64) -> Play {
        let mut world = World::new();
        for number in 1..=3 {
            world.accept(number, create(vec![vm(number, "h1"), vm(number + 10, "h2")]));
        }
        let history = (1..=3).map(|group| vec![world.facts(group).clone()]).collect();
        Play { world, rng: Rng::new(seed), history, sent: Vec::new(), epochs: [0; 3] }
    }

    fn send(&mut self, group: u64, command: Command) -> Outcome {
        let outcome = self.world.apply(group, command.clone());
        self.sent.push((group, command));
        self.history[group as usize - 1].push(self.world.facts(group).clone());
        outcome
    }

    /// Facts of a group as some replica that lags may know them.
    fn stale(&mut self, group: u64) -> RegionFacts {
        let history = &self.history[group as usize - 1];
        let at = self.rng.below(history.len() as u64) as usize;
        history[at].clone()
    }

    fn group_of(&self, name: &RegionId) -> u64 {
        NAMES.iter().position(|known| region(known) == *name).expect("a region of the play") as u64 + 1
    }

    fn step(&mut self) {
        let group = 1 + self.rng.below(3);
        match self.rng.below(9) {
            0 => {
                let epoch = self.epochs[group as usize - 1] + 1;
                self.epochs[group as usize - 1] = epoch;
                self.send(group, Command::BeginEvacuation(epoch));
            }
            1 => {
                let epoch = self.epochs[group as usize - 1];
                self.send(group, Command::EndEvacuation(epoch));
            }
            2 | 3 => self.leave(group),
            4 => self.arrive(group),
            5 | 6 => self.conclude(group),
            7 => {
                if !self.sent.is_empty() {
                    let at = self.rng.below(self.sent.len() as u64) as usize;
                    let (group, command) = self.sent[at].clone();
                    self.send(group, command);
                }
            }
            _ => self.change(group),
        }
    }

    /// The leader sends a VM away, knowing its own facts (perhaps as they were a while ago).
    fn leave(&mut self, group: u64) {
        let known = self.stale(group);
        let to = region(NAMES[(group as usize + self.rng.below(2) as usize) % 3]);
        let steps: Vec<Departing> = known
            .vms
            .values()
            .map(|vm| Departing { vm: vm.id, generation: vm.generation, to: to.clone(), host: None })
            .collect();
        self.send(group, Command::Depart((None, steps)));
    }

    /// The leader takes or declines what it knows to be on its way to it.
    fn arrive(&mut self, group: u64) {
        let from = 1 + self.rng.below(3);
        let known = self.stale(from);
        let here = region(NAMES[group as usize - 1]);
        for departure in known.departures.values().filter(|departure| departure.to == here) {
            if self.rng.chance(1, 3) {
                let (id, generation) = (departure.vm.id, departure.vm.generation);
                self.send(group, Command::Decline((id, (generation, "no".into()))));
                continue;
            }
            let on = if self.rng.chance(1, 2) { "h1" } else { "h2" };
            let admission = Admission {
                vm: departure.vm.clone(),
                host: host(on),
                from: known.name.clone(),
                failover: None,
            };
            self.send(group, Command::Admit(Box::new(admission)));
        }
    }

    /// The leader looks at what became of its departures in what it knows of the other regions.
    fn conclude(&mut self, group: u64) {
        let own = self.world.facts(group).clone();
        for departure in own.departures.values() {
            let seen = self.stale(self.group_of(&departure.to));
            let (id, generation) = (departure.vm.id, departure.vm.generation);
            match fate(&seen, id, generation) {
                Some(true) => self.send(group, Command::Forget((id, generation))),
                Some(false) => self.send(group, Command::Recall((id, generation))),
                None => continue,
            };
        }
    }

    /// People and hosts do things meanwhile.
    fn change(&mut self, group: u64) {
        let Some(vm) = self.stale(group).vms.values().next().cloned() else { return };
        let command = match self.rng.below(5) {
            0 => Command::RestartVm((vm.id, operation(5))),
            1 => Command::SetWant((vm.id, (Want::Stopped, operation(6)))),
            2 => Command::SetWant((vm.id, (Want::Running, operation(6)))),
            3 => {
                let observed =
                    Observed { generation: vm.generation, phase: Phase::Running, ..Observed::default() };
                let seen = Observation { vm: vm.id, observed, gone: false };
                Command::Observe((vm.host.clone(), vec![seen]))
            }
            _ => {
                let gone = Observation { vm: vm.id, gone: true, ..Observation::default() };
                Command::Observe((vm.host.clone(), vec![gone]))
            }
        };
        self.send(group, command);
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for id in [1, 2, 3, 11, 12, 13].map(VmId) {
            let owners = (1..=3).filter(|group| self.world.facts(*group).vms.contains_key(&id)).count();
            let leaving =
                (1..=3).filter(|group| self.world.facts(*group).departures.contains_key(&id)).count();
            prop_assert!(owners <= 1, "{} has {} owners", id, owners);
            prop_assert!(owners + leaving >= 1, "{} is lost", id);
        }
        prop_assert_eq!(self.world.view.flaws(), vec![]);
        for group in 1..=3 {
            let facts = self.world.facts(group);
            let scanned = RegionFacts { index: Index::default(), ..facts.clone() };
            for on in ["h1", "h2"].map(host) {
                prop_assert!(facts.vms_on(&on).eq(scanned.vms_on(&on)), "VMs on {}", on);
            }
            prop_assert_eq!(facts.vms_to_run(), scanned.vms_to_run());
            prop_assert!(facts.vms_not_serving().eq(scanned.vms_not_serving()));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_messages_yields_two_owners_or_none(seed in any::<u64>()) {
        let mut play = Play::new(seed);
        for _ in 0..120 {
            play.step();
            play.check()?;
        }
    }
}

#[test]
fn the_play_really_moves_vms() {
    let mut moved = 0;
    for seed in 0..20 {
        let mut play = Play::new(seed);
        (0..120).for_each(|_| play.step());
        moved += (1..=3).map(|group| play.world.facts(group).tombstones.len()).sum::<usize>();
    }
    assert!(moved > 40, "{moved}");
}
