//! Carries the machine's effects out.

use std::time::Duration;

use dwcp_machine::process;
use dwcp_mesh::Sent;
use dwcp_roles::agent::{Effect, Input};
use dwcp_roles::protocol::{
    AgentMessage, CheckRequest, Checked, Console, Endpoint, HostMeasures, Probed, ProtectTo, VmSpec,
};
use dwcp_types::{NodeId, VmId, encode};
use serde_json::{Value, json};

use super::guards::Process;
use super::hosting::Hosted;
use super::prepare::{self, Wanted};
use super::{Happened, Worker, checks, measures, memory, nodes, probes, voters};
use crate::clock::{monotonic_us, wall_ms};
use crate::watch_protocol::Ask;
use crate::{console, journal, qmp};

/// How long a probe on the leader's behalf may take.
const PROBE_FOR_LIMIT: Duration = Duration::from_secs(2);
/// Processor time of processes is counted for so long at most, ms.
const MOST_OVER_MS: u64 = 20_000;
/// How long the monitor may take.
const MONITOR_LIMIT: Duration = Duration::from_secs(2);

impl Worker {
    pub(super) async fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Send(message) => {
                self.figures.renewals += u64::from(matches!(message, AgentMessage::Renew(_)));
                if let Sent::Dropped(reason) = self.link.send(encode(&message)) {
                    self.figures.dropped_messages += 1;
                    journal::warn("message-dropped", json!({"reason": format!("{reason:?}")}));
                }
            }
            Effect::SetLease { until_us } => {
                self.lease.write(until_us).map_err(|e| format!("the lease can't be written: {e}"))?;
            }
            // Going on without this memory could act on old intents after a restart.
            Effect::SaveSeen(seen) => memory::save_seen(&self.config.data_dir, &seen)?,
            Effect::Launch { vm, generation, spec, slot } => self.launch(vm, generation, spec, slot),
            Effect::PowerDown { vm, generation } => self.power_down(vm, generation),
            Effect::Kill { vm, generation } => {
                if let Some(cancelled) = self.preparing.get_mut(&(vm, generation)) {
                    *cancelled = true;
                }
                self.ask(&Ask::Kill { vm: vm.0, generation }).await?;
            }
            Effect::LookForDisk { vm } => self.tell_disk(vm),
            Effect::Remove { vm, generation } => self.remove(vm, generation),
            Effect::Resume { vm, generation } => {
                journal::info("vm-resumed", json!({"vm": vm, "generation": generation}));
                self.ask(&Ask::Resume { vm: vm.0, generation }).await?;
            }
            Effect::FenceNow => {
                journal::warn("lease-ran-out", json!({"action": "every VM is held still"}));
                self.ask(&Ask::HoldAll).await?;
            }
            Effect::Probe { vm, generation, address, spec, limit_ms } => {
                self.probe(vm, generation, address, spec, Duration::from_millis(limit_ms));
            }
            Effect::AskVoters { nodes } => self.ask_voters(nodes),
            Effect::ProbeFor { request, targets } => self.probe_for(request, targets),
            Effect::ReadConsole { request, vm, offset } => self.read_console(request, vm, offset),
            Effect::Check(asked) => self.check(asked),
            Effect::LaunchIncoming { vm, generation, spec, slot, migration } => {
                self.launch_incoming(vm, generation, spec, slot, migration);
            }
            Effect::StartTransfer { vm, generation, to } => self.start_transfer(vm, generation, to),
            Effect::CancelTransfer { vm, generation, migration } => {
                self.cancel_transfer(vm, generation, migration);
            }
            Effect::SayWhole { vm, generation, migration } => {
                journal::info("vm-arrived-whole", json!({"vm": vm, "generation": generation}));
                self.moves.mover.say_whole(vm, generation, migration);
            }
            Effect::Release { vm, generation, to } => self.release(vm, generation, to),
            Effect::KeepAfterAll { vm, generation, .. } => self.keep_after_all(vm, generation),
            Effect::GoOn { vm, generation, .. } => self.go_on(vm, generation),
            Effect::Guard { vm, generation, to } => self.guard(vm, generation, to),
            Effect::KeepReplicas(kept) => self.replicas.keep(kept),
            Effect::BootFrom { vm, epoch } => {
                self.boots.insert(vm, epoch);
            }
            Effect::FetchImage { fetch, digest, from } => self.images.fetch(fetch, digest, from),
            Effect::StopFetch { fetch } => self.images.stop(fetch),
            Effect::RemoveImage { digest } => self.images.remove(digest),
            Effect::PaceImages { gentle } => self.images.set_gentle(gentle),
            Effect::ReadImage { request, name } => self.images.read(request, &name),
            Effect::FollowNodes(said) => self.follow_nodes(&said),
            Effect::Helpers(effect) => self.helpers.carry_out(effect),
            Effect::Hosting(effect) => self.hosted.iter().for_each(|hosted| hosted.carry_out(effect.clone())),
        }
        Ok(())
    }

    /// Runs work that may block aside, and feeds what it returns back.
    pub(super) fn aside(&self, work: impl FnOnce() -> Option<Happened> + Send + 'static) {
        let inputs = self.inputs.clone();
        tokio::task::spawn_blocking(move || {
            if let Some(happened) = work() {
                let _ = inputs.send(happened);
            }
        });
    }

    fn launch(&mut self, vm: VmId, generation: u64, spec: VmSpec, slot: usize) {
        let address = self.addresses.get(slot).cloned().unwrap_or_default();
        let accelerator = self.accelerator;
        let boot_replica = self.boots.remove(&vm).unwrap_or(0);
        self.prepare(Wanted { vm, generation, spec, slot, address, accelerator, incoming: 0, boot_replica });
    }

    /// Makes what a process needs, aside.
    pub(super) fn prepare(&mut self, wanted: Wanted) {
        let Wanted { vm, generation, slot, .. } = wanted;
        self.preparing.insert((vm, generation), false);
        let config = self.config.clone();
        let replicas = self.replicas.clone();
        let images = self.images.store();
        self.aside(move || {
            // Whatever becomes of it: nothing may write to a copy that is about to be a disk.
            tokio::runtime::Handle::current().block_on(replicas.stop(vm));
            let prepared = prepare::prepare(&config, &images, &wanted);
            Some(Happened::Prepared { vm, generation, slot, prepared })
        });
    }

    fn guard(&mut self, vm: VmId, generation: u64, to: Option<ProtectTo>) {
        let Some((_, pid)) = self.pids.get(&vm).copied().filter(|(of, _)| *of == generation) else { return };
        let dir = memory::vm_dir(&self.config.data_dir, vm);
        self.guards.guard(Process { vm, generation, pid, dir }, to);
    }

    fn power_down(&self, vm: VmId, generation: u64) {
        let Some((_, pid)) = self.pids.get(&vm).copied().filter(|(of, _)| *of == generation) else { return };
        self.aside(move || {
            if let Err(error) =
                qmp::execute(&qmp::socket_of(pid), "system_powerdown", Value::Null, MONITOR_LIMIT)
            {
                journal::warn(
                    "power-down-failed",
                    json!({"vm": vm, "error": error, "next": "it is killed in time"}),
                );
            }
            None
        });
    }

    fn remove(&self, vm: VmId, generation: u64) {
        match prepare::remove(&self.config, vm) {
            Ok(()) => journal::info("vm-removed", json!({"vm": vm, "generation": generation})),
            Err(error) => journal::warn("vm-not-removed", json!({"vm": vm, "error": error})),
        }
        self.empty_removed();
    }

    pub(super) fn empty_removed(&self) {
        let config = self.config.clone();
        self.aside(move || {
            if let Err(error) = prepare::empty_removed(&config.data_dir) {
                journal::warn(
                    "removed-not-deleted",
                    json!({"error": error, "next": "tried again at the next removal"}),
                );
            }
            None
        });
    }

    fn probe(&self, vm: VmId, generation: u64, address: String, spec: VmSpec, limit: Duration) {
        let pid = self.pids.get(&vm).map(|(_, pid)| *pid);
        let unnamed = pid.filter(|pid| self.named.get(&vm) != Some(pid));
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let failure = probes::ask(&address, &spec, limit).await.err();
            let answered = failure.is_none();
            let answer =
                |boot_id, failure| Happened::Input(Input::ProbeAnswer { vm, generation, boot_id, failure });
            let _ = inputs.send(answer(None, failure));
            if let (true, Some(pid)) = (answered, unnamed) {
                let boot_id = probes::guest_boot_id(&address, &spec, PROBE_FOR_LIMIT).await;
                let _ = inputs.send(Happened::Named { vm, pid });
                if boot_id.is_some() {
                    let _ = inputs.send(answer(boot_id, None));
                }
            }
        });
    }

    fn probe_for(&self, request: u64, targets: Vec<(VmId, String, VmSpec)>) {
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let ask = |(vm, address, spec): (VmId, String, VmSpec)| {
                tokio::spawn(async move { probes::result(vm, &address, &spec, PROBE_FOR_LIMIT).await })
            };
            let asked: Vec<_> = targets.into_iter().map(ask).collect();
            let mut results = Vec::new();
            for one in asked {
                results.extend(one.await);
            }
            let _ = inputs.send(Happened::Input(Input::Probed(Probed { request, results })));
        });
    }

    fn ask_voters(&self, nodes: Vec<NodeId>) {
        let asked_at_us = monotonic_us();
        let tls = self.tls.clone();
        let known = self.nodes.all();
        let region = self.config.region.clone();
        // A region's group has the number of its node.
        let own = known.iter().find(|endpoint| endpoint.region == region);
        let Some(group) = own.map(|endpoint| endpoint.node) else { return };
        // What the federation says of a node goes before what the settings do.
        let first = |node: &NodeId| known.iter().find(|endpoint| endpoint.node == *node).cloned();
        let endpoints: Vec<_> = nodes.iter().filter_map(first).collect();
        let wan = self.wan.clone();
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let ask = |endpoint: crate::host_config::RegionEndpoint| {
                let (region, tls, wan) = (region.clone(), tls.clone(), wan.clone());
                let node = endpoint.node;
                tokio::task::spawn_blocking(move || {
                    (node, voters::ask(&region, group, &endpoint, &tls, wan.as_ref()))
                })
            };
            let asked: Vec<_> = endpoints.into_iter().map(ask).collect();
            let mut answers = Vec::new();
            for one in asked {
                answers.extend(one.await);
            }
            journal::warn("voters-asked", json!({"answers": format!("{answers:?}")}));
            let _ = inputs.send(Happened::Input(Input::VoterAnswers { asked_at_us, answers }));
        });
    }

    fn follow_nodes(&mut self, said: &[Endpoint]) {
        if self.nodes.learn(said) {
            let mesh = self.nodes.mesh();
            let order: Vec<&str> = mesh.iter().map(|node| node.region.as_str()).collect();
            journal::info("nodes-learned", json!({"order": order}));
            nodes::save(&self.config.data_dir, said);
            self.link.set_endpoints(mesh);
        }
    }

    fn read_console(&self, request: u64, vm: VmId, offset: u64) {
        let dir = memory::vm_dir(&self.config.data_dir, vm);
        self.aside(move || {
            let (bytes, next_offset) = console::read(&dir, offset).unwrap_or((Vec::new(), offset));
            Some(Happened::Input(Input::Console(Console { request, bytes, next_offset })))
        });
    }

    /// The agent's two processes, its VMs', and that of the region's node if it runs here.
    pub(super) fn processes(&self) -> Vec<process::Wanted> {
        let own = |kind, pid| process::Wanted { kind, vm: None, pid };
        // The watchdog started this process, and is there as long as it is.
        let mut all = vec![
            own("dwcp-agentd", std::process::id()),
            own("watchdog", std::os::unix::process::parent_id()),
        ];
        all.extend(self.hosted.as_ref().and_then(Hosted::pid).map(|pid| own("dwcpd", pid)));
        let vms = self.pids.iter();
        all.extend(vms.map(|(vm, (_, pid))| process::Wanted { kind: "qemu", vm: Some(*vm), pid: *pid }));
        all
    }

    fn check(&self, asked: CheckRequest) {
        let asked_wall_ms = wall_ms();
        let config = self.config.clone();
        let not_after_unix = self.identity.not_after_unix();
        let until_us = self.lease.read().unwrap_or(0);
        let processes = self.processes();
        self.aside(move || {
            let mut checked: Checked = checks::check(&config, asked.request, not_after_unix, until_us);
            if asked.processes_over_ms > 0 {
                let window = Duration::from_millis(asked.processes_over_ms.min(MOST_OVER_MS));
                checked.processes = process::watch(&processes, window);
            }
            if asked.measure {
                let measured = measures::measure(&config, not_after_unix, &asked);
                checked.measures = Some(HostMeasures { asked_wall_ms, ..measured });
            }
            Some(Happened::Input(Input::Checked(checked)))
        });
    }
}
