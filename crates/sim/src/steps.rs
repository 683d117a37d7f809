//! What happens on hosts: agents, watchdogs, hypervisors, connections.

use dwcp_roles::agent::{Effect, Input, VoterState};
use dwcp_roles::protocol::{AgentMessage, Checked, Console, ControllerMessage, Health, ProbeResult, Probed};
use dwcp_types::{NodeId, VmId, decode, encode};

use crate::host::{Connection, Process};
use crate::world::{Event, World};

/// A broken connection is noticed after, µs.
const BROKEN_US: u64 = 900_000;
/// The transport looks at its connection every, µs.
const CONNECT_US: u64 = 250_000;
/// From the watchdog's pause to its kill, µs.
const KILL_AFTER_US: u64 = 3_000_000;
/// Within a region a frame takes, µs.
const LOCAL_US: u64 = 300;

impl World {
    pub(crate) fn happen_on_host(&mut self, event: Event) {
        match event {
            Event::WakeAgent(host) => {
                if self.now_us >= self.hosts[host].wake_at_us {
                    self.step_agent(host, Input::Tick);
                }
            }
            Event::ToAgent { host, session, bytes } => {
                let same =
                    self.hosts[host].connection.is_some_and(|connection| connection.session == session);
                if let (true, Ok(message)) = (same, decode::<ControllerMessage>(&bytes)) {
                    self.step_agent(host, Input::Message(message));
                }
            }
            Event::Agent { host, incarnation, input } => {
                if self.hosts[host].incarnation == incarnation {
                    self.step_agent(host, *input);
                }
            }
            Event::Watchdog(host) => self.watch_lease(host),
            Event::Connect(host) => self.look_at_connection(host),
            Event::PoweredDown { host, vm, generation } => {
                self.end_process(host, vm, generation, "powered down")
            }
            Event::Voters { host, incarnation, asked_at_us, nodes } => {
                if self.hosts[host].incarnation == incarnation {
                    let answers = nodes.into_iter().map(|node| (node, self.voter(host, node))).collect();
                    self.step_agent(host, Input::VoterAnswers { asked_at_us, answers });
                }
            }
            Event::Copied(copy) => self.copied(*copy),
            Event::NotNoted(copy) => self.not_noted(&copy),
            Event::Copying { host, vm } => self.copying(host, vm),
            Event::ImageCame(coming) => self.image_came(*coming),
            Event::Released { host, incarnation, vm, to, tries } => {
                if self.hosts[host].incarnation == incarnation && self.hosts[host].alive {
                    self.say_released(host, vm, to, tries);
                }
            }
            _ => {}
        }
    }

    fn voter(&self, host: usize, node: NodeId) -> VoterState {
        let home = self.hosts[host].home;
        if self.net.is_cut(home, node) || self.net.is_cut(node, home) {
            return VoterState::Silent;
        }
        let slot = &self.nodes[&node];
        match &slot.node {
            None => VoterState::Dead,
            Some(_) if self.now_us < slot.paused_until_us => VoterState::Silent,
            Some(machine) => {
                let led_ms = machine.led_for_ms(home, self.now_of(node).mono);
                match machine.leads(home) {
                    true => VoterState::Leader { led_ms },
                    false => VoterState::NotLeader { led_ms },
                }
            }
        }
    }

    /// Gives an agent an input and carries its effects out.
    pub(crate) fn step_agent(&mut self, id: usize, input: Input) {
        let now_us = self.now_us;
        let host = &mut self.hosts[id];
        if !host.alive {
            return;
        }
        if now_us < host.paused_until_us {
            let (wait_us, incarnation) = (host.paused_until_us - now_us, host.incarnation);
            self.schedule(wait_us, Event::Agent { host: id, incarnation, input: Box::new(input) });
            return;
        }
        let clock_us = host.clock_us(now_us);
        let Some(agent) = &mut host.agent else { return };
        let mut effects = Vec::new();
        agent.step(clock_us, input, &mut effects);
        let wake = agent.wake_at_us().map(|at| host.sim_us(at).max(now_us + 1_000));
        host.wake_at_us = wake.unwrap_or(u64::MAX);
        if let Some(at) = wake {
            self.schedule(at - now_us, Event::WakeAgent(id));
        }
        for effect in effects {
            self.carry_out_on_host(id, clock_us, effect);
        }
    }

    pub(crate) fn later(&mut self, id: usize, in_us: u64, input: Input) {
        let incarnation = self.hosts[id].incarnation;
        self.schedule(in_us, Event::Agent { host: id, incarnation, input: Box::new(input) });
    }

    fn carry_out_on_host(&mut self, id: usize, clock_us: u64, effect: Effect) {
        match effect {
            Effect::Send(message) => self.send_from_agent(id, &message),
            Effect::SetLease { until_us } => {
                self.hosts[id].lease_until_us = until_us;
                let at = self.hosts[id].sim_us(until_us);
                let poll_us = self.rng.below(50_000);
                self.schedule(at.saturating_sub(self.now_us) + poll_us, Event::Watchdog(id));
            }
            Effect::SaveSeen(seen) => self.hosts[id].seen = seen,
            Effect::Launch { vm, generation, spec, slot } => self.launch(id, vm, generation, spec, slot),
            Effect::PowerDown { vm, generation } => {
                self.schedule(300_000, Event::PoweredDown { host: id, vm, generation });
            }
            Effect::Kill { vm, generation } => self.end_process(id, vm, generation, "killed"),
            Effect::LookForDisk { vm } => {
                let there = self.hosts[id].disks.get(&vm).is_some_and(|(_, spec, _)| spec.disk_gib > 0);
                self.later(id, 1_000, Input::Disk { vm, there });
            }
            Effect::Remove { vm, .. } => {
                self.hosts[id].disks.remove(&vm);
            }
            Effect::Resume { vm, generation } => self.let_go_on(id, vm, generation),
            Effect::FenceNow => self.hold_all(id),
            Effect::Probe { vm, generation, .. } => self.probe(id, vm, generation),
            Effect::AskVoters { nodes } => {
                let incarnation = self.hosts[id].incarnation;
                let in_us = 50_000 + self.rng.below(350_000);
                self.schedule(in_us, Event::Voters { host: id, incarnation, asked_at_us: clock_us, nodes });
            }
            Effect::ProbeFor { request, targets } => {
                let now_us = self.now_us;
                let host = &self.hosts[id];
                let results = targets
                    .into_iter()
                    .map(|(vm, _, _)| ProbeResult {
                        vm,
                        healthy: if host.answering(now_us).any(|(answers, _)| answers == vm) {
                            Health::Healthy
                        } else {
                            Health::Unhealthy
                        },
                        ..ProbeResult::default()
                    })
                    .collect();
                self.later(id, 5_000, Input::Probed(Probed { request, results }));
            }
            Effect::ReadConsole { request, offset, .. } => {
                let console = Console { request, bytes: Vec::new(), next_offset: offset };
                self.later(id, 1_000, Input::Console(console));
            }
            Effect::Check(check) => {
                let checked = Checked { request: check.request, ..Checked::default() };
                self.later(id, 1_000, Input::Checked(checked));
            }
            Effect::Guard { vm, generation, to } => self.guard(id, vm, generation, to),
            Effect::KeepReplicas(kept) => self.keep_copies(id, kept),
            Effect::BootFrom { vm, epoch } => self.boot_from(id, vm, epoch),
            Effect::PaceImages { .. } | Effect::Hosting(_) | Effect::FollowNodes(_) => {}
            rest => self.carry_out_image(id, rest),
        }
    }

    fn let_go_on(&mut self, id: usize, vm: VmId, generation: u64) {
        let host = &mut self.hosts[id];
        let leased = host.clock_us(self.now_us) < host.lease_until_us;
        if let Some(process) = host.processes.get_mut(&vm)
            && leased
            && process.generation == generation
        {
            process.held = false;
            if process.runs() {
                self.checkers.acted(&host.name, "let go on", vm, generation);
            }
        }
        self.check_places(vm);
    }

    fn launch(
        &mut self,
        id: usize,
        vm: VmId,
        generation: u64,
        spec: dwcp_roles::protocol::VmSpec,
        slot: usize,
    ) {
        let boot_id = format!("boot-{:016x}", self.rng.next_u64());
        let boot_us = 1_500_000 + self.rng.below(2_000_000);
        let booted_at_us = self.now_us + boot_us;
        self.hosts[id].disks.insert(vm, (generation, spec.clone(), slot));
        let process = Process {
            generation,
            spec,
            slot,
            boot_id: boot_id.clone(),
            booted_at_us,
            held: false,
            idle: false,
            incoming: 0,
            complete: false,
        };
        let name = self.hosts[id].name.clone();
        self.note(format!("host {name} launches {vm} generation {generation}"));
        self.checkers.acted(&name, "launched", vm, generation);
        if let Some(old) = self.hosts[id].processes.insert(vm, process) {
            self.checkers
                .object(format!("{name} launched {vm} while generation {} was there", old.generation));
        }
        self.check_places(vm);
        self.later(id, 20_000, Input::Launched { vm, generation, result: Ok(boot_id) });
        self.tell_disks(id);
    }

    /// Tells an agent which of its VMs have disks.
    pub(crate) fn tell_disks(&mut self, id: usize) {
        let disks = self.hosts[id].disks.iter().map(|(vm, (_, spec, _))| (*vm, spec.disk_gib > 0));
        for (vm, there) in disks.collect::<Vec<_>>() {
            self.later(id, 20_000, Input::Disk { vm, there });
        }
    }

    /// A process ends; the agent hears of it.
    pub(crate) fn end_process(&mut self, id: usize, vm: VmId, generation: u64, reason: &str) {
        let host = &mut self.hosts[id];
        if host.processes.get(&vm).is_some_and(|process| process.generation == generation) {
            host.processes.remove(&vm);
            let name = host.name.clone();
            self.note(format!("host {name}: {vm} generation {generation} {reason}"));
            self.later(id, 10_000, Input::Exited { vm, generation, reason: reason.to_string() });
        }
    }

    fn probe(&mut self, id: usize, vm: VmId, generation: u64) {
        let now_us = self.now_us;
        let host = &self.hosts[id];
        let found = host
            .answering(now_us)
            .find(|(answers, process)| *answers == vm && process.generation == generation);
        let (in_us, boot_id, failure) = match found {
            Some((_, process)) => (5_000, Some(process.boot_id.clone()), None),
            None => (400_000, None, Some("no answer".to_string())),
        };
        self.later(id, in_us, Input::ProbeAnswer { vm, generation, boot_id, failure });
    }

    fn hold_all(&mut self, id: usize) {
        let mut held = Vec::new();
        for (vm, process) in &mut self.hosts[id].processes {
            if !process.held {
                process.held = true;
                held.push(*vm);
            }
        }
        for vm in held {
            let name = self.hosts[id].name.clone();
            self.note(format!("host {name}: {vm} is held"));
            self.later(id, 1_000, Input::Held { vm });
        }
    }

    /// What the watchdog does by itself, whatever the agent does.
    fn watch_lease(&mut self, id: usize) {
        let host = &self.hosts[id];
        if !host.alive {
            return;
        }
        let clock_us = host.clock_us(self.now_us);
        let until_us = host.lease_until_us;
        if clock_us < until_us {
            return;
        }
        if clock_us >= until_us + KILL_AFTER_US {
            let doomed: Vec<(VmId, u64)> =
                host.processes.iter().map(|(vm, process)| (*vm, process.generation)).collect();
            for (vm, generation) in doomed {
                self.end_process(id, vm, generation, "killed by the watchdog");
            }
            return;
        }
        let kill_at = host.sim_us(until_us + KILL_AFTER_US);
        self.hold_all(id);
        self.schedule(kill_at.saturating_sub(self.now_us), Event::Watchdog(id));
    }

    fn reaches(&self, home: NodeId, node: NodeId) -> bool {
        let slot = &self.nodes[&node];
        slot.node.is_some()
            && self.now_us >= slot.paused_until_us
            && !self.net.is_cut(home, node)
            && !self.net.is_cut(node, home)
    }

    fn takes_agent(&self, home: NodeId, node: NodeId) -> bool {
        self.reaches(home, node) && !self.nodes[&node].turned_away
    }

    fn look_at_connection(&mut self, id: usize) {
        self.schedule(CONNECT_US, Event::Connect(id));
        let host = &self.hosts[id];
        if !host.alive || host.agent.is_none() {
            return;
        }
        let home = host.home;
        let usable = host.connection.is_some_and(|connection| {
            self.nodes[&connection.node].life == connection.life && self.takes_agent(home, connection.node)
        });
        let wants_home = host.connection.is_some_and(|c| c.node != home) && self.takes_agent(home, home);
        if usable && !wants_home {
            self.hosts[id].broken_since_us = None;
            return;
        }
        if self.hosts[id].connection.is_some() {
            let since = *self.hosts[id].broken_since_us.get_or_insert(self.now_us);
            if self.now_us < since + BROKEN_US {
                return;
            }
            self.disconnect(id);
        }
        self.connect(id);
    }

    fn disconnect(&mut self, id: usize) {
        let Some(connection) = self.hosts[id].connection.take() else { return };
        self.hosts[id].broken_since_us = None;
        let Connection { node, session, life } = connection;
        self.schedule(500_000, Event::Session { node, life, host: id, session, up: false });
        self.step_agent(id, Input::Disconnected);
    }

    fn connect(&mut self, id: usize) {
        let home = self.hosts[id].home;
        let others = self.nodes.keys().copied().filter(|node| *node != home);
        let candidates: Vec<NodeId> = std::iter::once(home).chain(others).collect();
        let Some(node) = candidates.into_iter().find(|node| self.takes_agent(home, *node)) else { return };
        let session = self.new_session();
        let life = self.nodes[&node].life;
        self.hosts[id].connection = Some(Connection { node, session, life });
        let name = self.hosts[id].name.clone();
        self.note(format!("host {name} connects to node {node}"));
        self.schedule(0, Event::Session { node, life, host: id, session, up: true });
        self.later(id, self.net.delay_us(home, node) * 2, Input::Connected);
    }

    fn agent_delay_us(&self, home: NodeId, node: NodeId) -> u64 {
        if home == node { LOCAL_US } else { self.net.delay_us(home, node) }
    }

    fn send_from_agent(&mut self, id: usize, message: &AgentMessage) {
        let home = self.hosts[id].home;
        let Some(Connection { node, session, life }) = self.hosts[id].connection else { return };
        if !self.reaches(home, node) {
            return;
        }
        let in_us = self.agent_delay_us(home, node);
        self.schedule(in_us, Event::AgentFrame { node, life, session, bytes: encode(message) });
    }

    pub(crate) fn send_to_agent(&mut self, node: NodeId, session: u64, bytes: Vec<u8>) {
        let found = self.hosts.iter().position(|host| {
            host.connection.is_some_and(|connection| connection.node == node && connection.session == session)
        });
        let Some(host) = found else { return };
        let home = self.hosts[host].home;
        if self.net.is_cut(node, home) || !self.hosts[host].alive {
            return;
        }
        let in_us = self.agent_delay_us(home, node);
        self.schedule(in_us, Event::ToAgent { host, session, bytes });
    }
}
