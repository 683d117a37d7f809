use dwcp_types::{Priority, VmId};

use super::*;
use crate::protocol::{Grant, HealthProbe, HttpProbe, Renew, Run, VmReport, Welcome};

mod beside;
mod fence;
mod guard;
mod hold;
mod hosting;
mod images;
mod life;
mod transfer;

pub(super) const MS: u64 = 1_000;
pub(super) const VM: VmId = VmId(1);

/// A machine with its time, its inputs' results and what the effects did to a pretended host.
pub(super) struct World {
    pub agent: Agent,
    pub now_us: u64,
    pub effects: Vec<Effect>,
    pub revision: u64,
}

pub(super) fn config() -> AgentConfig {
    AgentConfig {
        hello: Hello { host: "h1".into(), region: "r".into(), incarnation: 1, ..Hello::default() },
        addresses: (32..36).map(|last| format!("127.77.1.{last}")).collect(),
        ..AgentConfig::default()
    }
}

pub(super) fn http() -> VmSpec {
    VmSpec { name: "web".into(), probe: HealthProbe::Http(HttpProbe::default()), ..VmSpec::default() }
}

pub(super) fn intent(vm: u64, generation: u64) -> VmIntent {
    VmIntent { vm: VmId(vm), generation, spec: http(), ..VmIntent::default() }
}

pub(super) fn stopped(vm: u64, generation: u64) -> VmIntent {
    VmIntent { run: Run::Stopped, ..intent(vm, generation) }
}

impl World {
    pub fn new() -> World {
        World::with(Seen::default(), Vec::new(), 0)
    }

    pub fn with(seen: Seen, adopted: Vec<Adopted>, lease_until_us: u64) -> World {
        let now_us = 1_000_000;
        let agent = Agent::new(config(), seen, adopted, lease_until_us, now_us);
        World { agent, now_us, effects: Vec::new(), revision: 0 }
    }

    /// Connected, welcomed, with an empty set of intents and a lease.
    pub fn leased() -> World {
        let mut world = World::new();
        world.input(Input::Connected);
        let welcome = Welcome { lease_ms: 3_000, voters: vec![1, 2, 3], ..Welcome::default() };
        world.hear(ControllerMessage::Welcome(welcome));
        world.want(Vec::new());
        world.grant();
        world
    }

    pub fn input(&mut self, input: Input) {
        self.agent.step(self.now_us, input, &mut self.effects);
    }

    pub fn hear(&mut self, message: ControllerMessage) {
        self.input(Input::Message(message));
    }

    pub fn want(&mut self, vms: Vec<VmIntent>) {
        self.revision += 1;
        self.hear(ControllerMessage::Intents(Intents {
            term: 1,
            revision: self.revision,
            vms,
            replicas: Vec::new(),
        }));
    }

    /// The newest renewal that was sent.
    pub fn renewal(&self) -> Renew {
        let renewals = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Send(AgentMessage::Renew(renew)) => Some(renew.clone()),
            _ => None,
        });
        renewals.expect("a renewal was sent")
    }

    /// Grants the newest renewal.
    pub fn grant(&mut self) {
        let seq = self.renewal().seq;
        self.hear(ControllerMessage::Grant(Grant {
            seq,
            lease_ms: 3_000,
            term: 1,
            revision: self.revision,
            ..Grant::default()
        }));
    }

    /// Lets time pass, waking the machine when it asks to be woken.
    pub fn pass(&mut self, ms: u64) {
        let end_us = self.now_us + ms * MS;
        for _ in 0..100_000 {
            let wake_us = self.agent.wake_at_us().unwrap_or(u64::MAX).max(self.now_us);
            if wake_us > end_us {
                self.now_us = end_us;
                self.input(Input::Tick);
                return;
            }
            self.now_us = wake_us;
            self.input(Input::Tick);
            assert!(self.agent.wake_at_us().is_none_or(|wake| wake > self.now_us), "the machine would spin");
        }
        panic!("the machine wakes without end");
    }

    /// Lets time pass with a leader that grants every renewal.
    pub fn pass_led(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(100) {
            self.pass(100);
            self.grant();
        }
    }

    pub fn launched(&mut self, vm: u64, generation: u64) {
        self.input(Input::Launched { vm: VmId(vm), generation, result: Ok("boot".into()) });
    }

    pub fn answered(&mut self, vm: u64, generation: u64) {
        self.input(Input::ProbeAnswer { vm: VmId(vm), generation, boot_id: None, failure: None });
    }

    pub fn exited(&mut self, vm: u64, generation: u64) {
        self.input(Input::Exited { vm: VmId(vm), generation, reason: "QEMU ended".into() });
    }

    /// Wants the VM, starts it and lets it answer.
    pub fn running(&mut self, vm: u64, generation: u64) {
        self.want(vec![intent(vm, generation)]);
        self.launched(vm, generation);
        self.answered(vm, generation);
        assert_eq!(self.phase(vm), Some(Phase::Running));
        self.effects.clear();
        self.pass(60);
    }

    pub fn phase(&self, vm: u64) -> Option<Phase> {
        self.agent.vm(VmId(vm)).map(|(phase, _)| phase)
    }

    pub fn report(&self, vm: u64) -> VmReport {
        self.agent.reports(self.now_us).into_iter().find(|report| report.vm == VmId(vm)).expect("a report")
    }

    pub fn count(&self, fits: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| fits(effect)).count()
    }

    pub fn launches(&self) -> Vec<(u64, u64)> {
        let launch = |effect: &Effect| match effect {
            Effect::Launch { vm, generation, .. } => Some((vm.0, *generation)),
            _ => None,
        };
        self.effects.iter().filter_map(launch).collect()
    }
}

pub(super) fn kill(vm: u64, generation: u64) -> Effect {
    Effect::Kill { vm: VmId(vm), generation }
}

#[test]
fn messages_read_back() {
    let hello = Hello { labels: [("rack".to_string(), "7".to_string())].into(), ..config().hello };
    let report = VmReport { vm: VM, generation: 3, phase: Phase::Paused, ..VmReport::default() };
    let renew = Renew { seq: 9, vms: vec![report], term: 2, revision: 5, ..Renew::default() };
    for message in [AgentMessage::Hello(hello), AgentMessage::Renew(renew)] {
        assert_eq!(dwcp_types::decode(&dwcp_types::encode(&message)), Ok(message));
    }
    let wanted = VmIntent { priority: Priority(75), ..stopped(1, 2) };
    let intents = Intents { term: 1, revision: 2, vms: vec![wanted], replicas: Vec::new() };
    for message in [ControllerMessage::Intents(intents), ControllerMessage::Welcome(Welcome::default())] {
        assert_eq!(dwcp_types::decode(&dwcp_types::encode(&message)), Ok(message));
    }
}

#[test]
fn it_renews_every_half_second_and_at_once_when_a_vm_changed() {
    let mut world = World::leased();
    world.pass(60);
    world.effects.clear();
    world.pass(2_000);
    assert_eq!(world.count(|e| matches!(e, Effect::Send(AgentMessage::Renew(_)))), 4);
    world.grant();
    world.effects.clear();
    world.want(vec![intent(1, 1)]);
    world.pass(50);
    assert_eq!(world.renewal().vms.len(), 1);
    assert_eq!((world.renewal().term, world.renewal().revision), (1, world.revision));
}

#[test]
fn questions_of_the_leader_are_carried_out_and_answered() {
    let mut world = World::leased();
    world.running(1, 1);
    let ask = crate::protocol::ProbeRequest { request: 5, vms: vec![VM, VmId(2)] };
    world.hear(ControllerMessage::Probe(ask));
    assert_eq!(
        world.count(|e| matches!(e, Effect::ProbeFor { request: 5, targets } if targets.len() == 1)),
        1
    );
    let missing =
        |e: &Effect| matches!(e, Effect::Send(AgentMessage::Probed(p)) if p.results[0].vm == VmId(2));
    assert_eq!(world.count(missing), 1);
    world.hear(ControllerMessage::ReadConsole(crate::protocol::ReadConsole {
        request: 6,
        vm: VM,
        offset: 3,
    }));
    assert!(world.effects.contains(&Effect::ReadConsole { request: 6, vm: VM, offset: 3 }));
    world.input(Input::Console(Console { request: 6, ..Console::default() }));
    assert_eq!(world.count(|e| matches!(e, Effect::Send(AgentMessage::Console(c)) if c.request == 6)), 1);
}
