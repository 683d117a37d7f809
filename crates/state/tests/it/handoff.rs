//! A VM has one owner under any order of departures, admissions, declines and recalls, also when every leader looks at
//! facts of the other regions that are old, and when every command may come again.

use dwcp_state::{
    Admission, Command, Departing, Envelope, Fate, Index, Observation, Observed, Outcome, Phase, RegionFacts,
    Want,
};
use std::collections::{BTreeMap, BTreeSet};

use dwcp_types::{Code, Generation, RegionId, Revision, Rng, VmId, Wall};
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

#[test]
fn what_is_kept_of_a_vm_is_dropped_only_when_nothing_is_on_its_way_to_here_any_more() {
    let mut world = departed();
    let to_b = admission(&world, 1);
    world.accept(2, to_b.clone());
    world.accept(2, Command::BeginEvacuation(1));
    world.accept(2, depart(2, "c"));
    let to_c = admission(&world, 2);
    world.accept(3, to_c);
    world.accept(2, Command::Forget((VmId(1), Generation(3))));
    let hour = RegionFacts::UNBAR_AFTER_MS;
    let droppable = |world: &World, at: u64| {
        world.facts(2).unbarrable([world.facts(1), world.facts(3)].into_iter(), Wall(at), 10)
    };
    assert_eq!(droppable(&world, 1_000 + hour), vec![], "a still shows the VM on its way to b");
    world.accept(1, Command::Forget((VmId(1), Generation(2))));
    assert_eq!(droppable(&world, 999 + hour), vec![], "it was created less than an hour ago");
    let vms = droppable(&world, 1_000 + hour);
    assert_eq!(vms, vec![(VmId(1), Generation(3))]);
    world.at = Wall(1_000 + hour);
    let looked_at = dwcp_state::looked_at([world.facts(1), world.facts(3)].into_iter());
    let at = world.at;
    let unbar = Envelope { at, command: Command::Unbar(vms), looked_at, ..Envelope::default() };
    assert!(matches!(world.send(2, unbar), Outcome::Accepted(_)));
    assert_eq!(world.facts(2).barred(VmId(1)), Generation(0));
    world.accept(2, Command::EndEvacuation(1));
    assert_eq!(world.refuse(2, to_b), Code::StaleRevision, "it rests on no facts that are known");
    world.at = Wall(1_000);
    assert_eq!(world.refuse(2, create(vec![vm(1, "h1")])), Code::TimedOut);
}

#[test]
fn a_refusal_of_later_does_not_hide_that_a_vm_was_taken() {
    let mut world = departed();
    world.accept(2, admission(&world, 1));
    // While a hears nothing of b, the VM goes on to c and back to b, which has no room for it any more.
    world.accept(2, Command::BeginEvacuation(1));
    world.accept(2, depart(2, "c"));
    world.accept(3, admission(&world, 2));
    world.accept(2, Command::Forget((VmId(1), Generation(3))));
    world.accept(2, Command::EndEvacuation(1));
    world.accept(3, Command::BeginEvacuation(1));
    world.accept(3, depart(3, "b"));
    world.accept(2, Command::Decline((VmId(1), (Generation(4), "no room".into()))));
    assert_eq!(world.facts(2).fate(VmId(1), Generation(2)), Fate::Admitted);
    assert_eq!(world.facts(2).fate(VmId(1), Generation(4)), Fate::Declined);
    assert_eq!(world.facts(2).fate(VmId(1), Generation(6)), Fate::Open);
}

struct Play {
    world: World,
    rng: Rng,
    /// For each group, its facts at every position of its log.
    history: Vec<Vec<RegionFacts>>,
    sent: Vec<(u64, Envelope)>,
    epochs: [u64; 3],
    /// The newest generation of each VM that was ever seen, and whether its record was purged.
    newest: BTreeMap<VmId, (Generation, bool)>,
    /// VMs that somebody wanted deleted.
    deleted: BTreeSet<VmId>,
    /// Records that were dropped.
    unbarred: usize,
}

impl Play {
    fn new(seed: u64) -> Play {
        let world = World::new();
        let history = (1..=3).map(|group| vec![world.facts(group).clone()]).collect();
        let (sent, newest) = (Vec::new(), BTreeMap::new());
        let rng = Rng::new(seed);
        let mut play =
            Play { world, rng, history, sent, epochs: [0; 3], newest, deleted: BTreeSet::new(), unbarred: 0 };
        for number in 1..=3 {
            play.send(number, create(vec![vm(number, "h1"), vm(number + 10, "h2")]));
        }
        play
    }

    fn send(&mut self, group: u64, command: Command) -> Outcome {
        self.send_from(group, command, Vec::new())
    }

    /// Sends what was decided on facts of other regions at these revisions.
    fn send_from(&mut self, group: u64, command: Command, looked_at: Vec<(RegionId, Revision)>) -> Outcome {
        let envelope =
            Envelope { by: "test".into(), at: self.world.at, command, looked_at, ..Envelope::default() };
        self.sent.push((group, envelope.clone()));
        self.deliver(group, envelope)
    }

    fn deliver(&mut self, group: u64, envelope: Envelope) -> Outcome {
        let outcome = self.world.send(group, envelope);
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
        self.world.at = Wall(self.world.at.0 + self.rng.below(20) * 60_000);
        match self.rng.below(10) {
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
                    let (group, envelope) = self.sent[at].clone();
                    self.deliver(group, envelope);
                }
            }
            8 => self.unbar(group),
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

    /// The leader drops what it keeps of VMs that are gone, on facts of the others that may be old, as may be its own.
    fn unbar(&mut self, group: u64) {
        let own = if self.rng.chance(1, 4) { self.stale(group) } else { self.world.facts(group).clone() };
        let others: Vec<RegionFacts> =
            (1..=3).filter(|other| *other != group).map(|other| self.stale(other)).collect();
        let vms = own.unbarrable(others.iter(), self.world.at, 1_000);
        let before = self.kept(group);
        self.send_from(group, Command::Unbar(vms), dwcp_state::looked_at(others.iter()));
        self.unbarred += before - self.kept(group);
    }

    fn kept(&self, group: u64) -> usize {
        let facts = self.world.facts(group);
        facts.tombstones.len() + facts.declined.len()
    }

    /// The leader takes or declines what it knows to be on its way to it.
    fn arrive(&mut self, group: u64) {
        let from = 1 + self.rng.below(3);
        let known = self.stale(from);
        let here = region(NAMES[group as usize - 1]);
        for departure in known.departures.values().filter(|departure| departure.to == here) {
            if self.rng.chance(1, 3) {
                let (id, generation) = (departure.vm.id, departure.vm.generation);
                let seen = dwcp_state::looked_at(std::iter::once(&known));
                self.send_from(group, Command::Decline((id, (generation, "no".into()))), seen);
                continue;
            }
            let on = if self.rng.chance(1, 2) { "h1" } else { "h2" };
            let admission = Admission {
                vm: departure.vm.clone(),
                host: host(on),
                from: known.name.clone(),
                failover: None,
            };
            let seen = dwcp_state::looked_at(std::iter::once(&known));
            self.send_from(group, Command::Admit(Box::new(admission)), seen);
        }
    }

    /// The leader looks at what became of its departures in what it knows of the other regions.
    fn conclude(&mut self, group: u64) {
        let own = self.world.facts(group).clone();
        for departure in own.departures.values() {
            let seen = self.stale(self.group_of(&departure.to));
            let (id, generation) = (departure.vm.id, departure.vm.generation);
            match seen.fate(id, generation) {
                Fate::Admitted => self.send(group, Command::Forget((id, generation))),
                Fate::Declined => self.send(group, Command::Recall((id, generation))),
                Fate::Open => continue,
            };
        }
    }

    /// People and hosts do things meanwhile.
    fn change(&mut self, group: u64) {
        let Some(vm) = self.stale(group).vms.values().next().cloned() else { return };
        let command = match self.rng.below(6) {
            5 if self.rng.chance(1, 3) => Command::SetWant((vm.id, (Want::Deleted, operation(7)))),
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

    fn check(&mut self) -> Result<(), TestCaseError> {
        for id in [1, 2, 3, 11, 12, 13].map(VmId) {
            let all = || (1..=3).map(|group| self.world.facts(group));
            let owned: Vec<_> = all().filter_map(|facts| facts.vms.get(&id)).collect();
            let leaving: Vec<_> = all().filter_map(|facts| facts.departures.get(&id)).collect();
            let (newest, gone) = self.newest.get(&id).copied().unwrap_or_default();
            prop_assert!(owned.len() <= 1, "{} has {} owners", id, owned.len());
            let generation = owned.iter().map(|vm| vm.generation).max();
            prop_assert!(generation.is_none_or(|now| now >= newest), "{} is back at {:?}", id, generation);
            prop_assert!(!gone || owned.is_empty(), "{} was purged and is back", id);
            let seen = leaving.iter().map(|departure| departure.vm.generation).max().max(generation);
            // The owner knows what is wanted; an older departure that is not settled may show what was wanted before.
            let last = leaving.iter().map(|of| &of.vm).max_by_key(|vm| vm.generation);
            let deleted = owned.first().copied().or(last).is_some_and(|vm| vm.want == Want::Deleted);
            let lost = owned.is_empty() && leaving.is_empty();
            prop_assert!(!lost || gone || self.deleted.contains(&id), "{} is lost", id);
            if deleted {
                self.deleted.insert(id);
            }
            self.newest.insert(id, (newest.max(seen.unwrap_or_default()), gone || lost));
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
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

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
fn a_bar_goes_only_on_facts_as_new_as_those_it_was_made_on() {
    let mut world = departed();
    let before = dwcp_state::looked_at([World::new().facts(1), world.facts(3)].into_iter());
    let on = dwcp_state::looked_at([world.facts(1)].into_iter());
    let refused = Command::Decline((VmId(1), (Generation(2), "no room".into())));
    let at = world.at;
    let send = |command: &Command, looked_at: &Vec<(RegionId, Revision)>| Envelope {
        at,
        command: command.clone(),
        looked_at: looked_at.clone(),
        ..Envelope::default()
    };
    assert!(matches!(world.send(2, send(&refused, &on)), Outcome::Accepted(_)));
    // Facts of a from before the VM left show nothing on its way here, and prove nothing.
    let unbar = Command::Unbar(vec![(VmId(1), Generation(2))]);
    let Outcome::Refused(refusal) = world.send(2, send(&unbar, &before)) else { panic!("it was accepted") };
    assert_eq!(refusal.code, Code::StaleRevision);
    assert_eq!(world.facts(2).barred(VmId(1)), Generation(2));
}

/// Of these each once gave a VM two owners.
const ONCE_FAILED: [u64; 2] = [1_718_781_709_400_530_190, 9_240_957_764_913_546_889];

#[test]
fn plays_that_once_went_wrong() {
    for seed in ONCE_FAILED {
        let mut play = Play::new(seed);
        for _ in 0..120 {
            play.step();
            play.check().expect("one owner");
        }
    }
}

#[test]
fn the_play_really_moves_vms_and_forgets_what_is_gone() {
    let (mut moved, mut dropped) = (0, 0);
    for seed in 0..20 {
        let mut play = Play::new(seed);
        (0..120).for_each(|_| play.step());
        moved += (1..=3).map(|group| play.kept(group)).sum::<usize>();
        dropped += play.unbarred;
    }
    assert!(moved + dropped > 40 && dropped > 40, "{moved} kept, {dropped} dropped");
}
