//! VMs that move between hosts while they run: what the hypervisors and the link between two agents do.

use dwcp_roles::agent::{Effect, Input};
use dwcp_roles::protocol::TransferTo;
use dwcp_types::VmId;

use crate::host::Process;
use crate::options::Mutation;
use crate::world::{Event, World};

/// A copy that is going on, or whose end the other host is to say.
#[derive(Clone, Debug)]
pub struct Copy {
    host: usize,
    incarnation: u64,
    vm: VmId,
    generation: u64,
    to: TransferTo,
}

/// The source waits so long for the word that everything is noted at the target; then its guest goes on, µs.
const NOTED_WITHIN_US: u64 = 4_000_000;
/// Between two words about a VM that was released, and how many there are, µs.
const RELEASE_AGAIN_US: u64 = 700_000;
const RELEASE_TRIES: u32 = 5;

impl World {
    pub(crate) fn carry_out_move(&mut self, id: usize, effect: Effect) {
        match effect {
            Effect::LaunchIncoming { vm, generation, spec, slot, migration } => {
                let name = self.hosts[id].name.clone();
                self.note(format!("host {name} waits for {vm} generation {generation}"));
                let process = Process {
                    generation,
                    spec,
                    slot,
                    boot_id: format!("incoming-{migration:x}"),
                    booted_at_us: u64::MAX,
                    held: false,
                    idle: true,
                    incoming: migration,
                    complete: false,
                };
                if let Some(old) = self.hosts[id].processes.insert(vm, process) {
                    let text = format!("{name} waits for {vm} while generation {} was there", old.generation);
                    self.checkers.object(text);
                }
                self.later(id, 20_000, Input::Launched { vm, generation, result: Ok("incoming".into()) });
                self.later(id, 60_000, Input::IncomingReady { vm, generation, result: Ok(()) });
            }
            Effect::StartTransfer { vm, generation, to } => {
                let incarnation = self.hosts[id].incarnation;
                let in_us = 400_000 + self.rng.below(7_000_000);
                let copy = Copy { host: id, incarnation, vm, generation, to };
                self.schedule(in_us, Event::Copied(Box::new(copy)));
            }
            // The copy's end finds that nobody wants it any more.
            Effect::CancelTransfer { .. } => {}
            Effect::SayWhole { vm, migration, .. } => self.say_whole(id, vm, migration),
            Effect::Release { vm, to, .. } => self.say_released(id, vm, to, RELEASE_TRIES),
            Effect::KeepAfterAll { vm, generation, .. } => self.let_run(id, vm, generation),
            Effect::GoOn { vm, generation, .. } => {
                let process = self.hosts[id].processes.get(&vm);
                let whole = process.is_some_and(|p| p.generation == generation && (p.complete || !p.idle));
                let result = if whole { Ok(()) } else { Err("the rest never came".to_string()) };
                if whole {
                    self.let_run(id, vm, generation);
                }
                self.later(id, 3_000, Input::WentOn { vm, generation, result });
                self.tell_disks(id);
            }
            _ => {}
        }
    }

    fn let_run(&mut self, id: usize, vm: VmId, generation: u64) {
        let host = &mut self.hosts[id];
        let Some(process) = host.processes.get_mut(&vm).filter(|of| of.generation == generation) else {
            return;
        };
        process.idle = false;
        process.incoming = 0;
        if process.runs() {
            self.checkers.acted(&host.name, "let go on", vm, generation);
        }
        let name = host.name.clone();
        self.note(format!("host {name}: {vm} generation {generation} goes on"));
        self.check_places(vm);
    }

    fn target_of(&self, from: usize, to: &TransferTo, vm: VmId) -> Option<usize> {
        let at = self.hosts.iter().position(|host| host.region == to.region && host.name == to.host)?;
        let (source, target) = (&self.hosts[from], &self.hosts[at]);
        let cut = self.net.is_cut(source.home, target.home) || self.net.is_cut(target.home, source.home);
        let awake = target.alive && target.agent.is_some() && self.now_us >= target.paused_until_us;
        let waits = target.processes.get(&vm).is_some_and(|process| {
            process.generation == to.generation && process.incoming == to.migration && !process.held
        });
        (!cut && awake && waits).then_some(at)
    }

    /// A copy comes to its end: everything is there and the guest stands still, or nothing of it is of use.
    pub(crate) fn copied(&mut self, copy: Copy) {
        let Copy { host: id, incarnation, vm, generation, to } = copy;
        let host = &self.hosts[id];
        if !host.alive || host.incarnation != incarnation {
            return;
        }
        let source = host.processes.get(&vm).filter(|process| process.generation == generation);
        let fit = source.is_some_and(Process::runs);
        let target = self.target_of(id, &to, vm).filter(|_| fit);
        let broken = self.options.moves && self.rng.chance(1, 8);
        let (Some(target), false) = (target, broken) else {
            let reason = "the link broke".to_string();
            self.later(id, 2_000, Input::TransferFailed { vm, generation, migration: to.migration, reason });
            return;
        };
        let (boot_id, booted_at_us) =
            source.map(|process| (process.boot_id.clone(), process.booted_at_us)).unwrap_or_default();
        if let Some(process) = self.hosts[target].processes.get_mut(&vm) {
            process.complete = true;
            (process.boot_id, process.booted_at_us) = (boot_id, booted_at_us);
        }
        if let Some(process) = self.hosts[id].processes.get_mut(&vm) {
            process.idle = true;
        }
        if self.options.mutation == Some(Mutation::GoOnUnasked) {
            self.let_run(target, vm, to.generation);
        }
        let name = self.hosts[id].name.clone();
        self.note(format!("host {name}: {vm} generation {generation} stands still, copied to {}", to.host));
        let (to_generation, migration) = (to.generation, to.migration);
        let copy = Copy { host: id, incarnation, vm, generation, to };
        self.whole_copies.insert((vm, migration), copy.clone());
        let in_us = self.rng.below(50_000);
        self.later(target, in_us, Input::ArrivedWhole { vm, generation: to_generation, migration });
        self.schedule(NOTED_WITHIN_US, Event::NotNoted(Box::new(copy)));
    }

    /// The target of a copy has noted that everything is there, and says so to the source, if it can.
    fn say_whole(&mut self, id: usize, vm: VmId, migration: u64) {
        let Some(copy) = self.whole_copies.get(&(vm, migration)).cloned() else { return };
        let (home, there) = (self.hosts[id].home, self.hosts[copy.host].home);
        let cut = self.net.is_cut(home, there) || self.net.is_cut(there, home);
        let source = &self.hosts[copy.host];
        let lost = self.options.moves && self.rng.chance(1, 8);
        if cut || lost || !source.alive || source.incarnation != copy.incarnation {
            return;
        }
        self.whole_copies.remove(&(vm, migration));
        let completed = Input::TransferCompleted { vm, generation: copy.generation, migration };
        let in_us = self.net.delay_us(home, there);
        self.later(copy.host, in_us, completed);
    }

    /// A source that has not heard in time that everything is noted lets its guest go on.
    pub(crate) fn not_noted(&mut self, copy: &Copy) {
        let Copy { host: id, incarnation, vm, generation, to } = copy;
        let migration = to.migration;
        let waits = self.whole_copies.remove(&(*vm, migration)).is_some();
        let host = &self.hosts[*id];
        if !waits || !host.alive || host.incarnation != *incarnation {
            return;
        }
        self.let_run(*id, *vm, *generation);
        let reason = "the other host does not say that it has everything".to_string();
        self.later(*id, 2_000, Input::TransferFailed { vm: *vm, generation: *generation, migration, reason });
    }

    pub(crate) fn say_released(&mut self, id: usize, vm: VmId, to: TransferTo, tries: u32) {
        let Some(left) = tries.checked_sub(1) else { return };
        let incarnation = self.hosts[id].incarnation;
        let lost = self.options.moves && self.rng.chance(1, 4);
        if let Some(target) = self.target_of(id, &to, vm).filter(|_| !lost) {
            let (home, there) = (self.hosts[id].home, self.hosts[target].home);
            let (from_region, from_host) =
                (self.hosts[id].region.to_string(), self.hosts[id].name.to_string());
            let (generation, migration) = (to.generation, to.migration);
            let input = Input::Released { vm, generation, migration, from_region, from_host };
            self.later(target, self.net.delay_us(home, there), input);
            return;
        }
        let again = Event::Released { host: id, incarnation, vm, to, tries: left };
        self.schedule(RELEASE_AGAIN_US, again);
    }
}
