//! What the agent says about itself and its VMs.

use super::{Agent, Effect};
use crate::protocol::{
    AgentMessage, Health, HealthProbe, Hello, HelperKind, NEVER_MS, Phase, Renew, VmReport,
};

/// Shortest time between two renewals when VMs change, ms.
const CHANGE_GAP_MS: u64 = 50;
/// An agent that no leader has welcomed on this connection introduces itself again after, ms.
const UNWELCOMED_MS: u64 = 500;
/// An agent whose renewals were not answered for so long introduces itself again, ms.
const HELLO_AGAIN_MS: u64 = 2_000;

impl Agent {
    pub(super) fn reports(&self, now_us: u64) -> Vec<VmReport> {
        let report = |(vm, local): (&dwcp_types::VmId, &super::vm::LocalVm)| {
            // Without a probe of its own, a process that runs is all there is to know.
            let healthy = match (&local.spec.probe, local.phase) {
                (HealthProbe::Process, Phase::Running) => Health::Healthy,
                _ => local.health,
            };
            let address = self.address_of(local.slot);
            let port = local.spec.outside_port(80);
            VmReport {
                vm: *vm,
                generation: local.generation,
                phase: local.phase,
                reason: local.reason.clone(),
                boot_id: local.boot_id.clone(),
                address: if address.is_empty() { address } else { format!("{address}:{port}") },
                healthy,
                answered_age_ms: local.answered_us.map_or(NEVER_MS, |at| now_us.saturating_sub(at) / 1_000),
                transfer: local.outgoing.as_ref().map(|outgoing| outgoing.report.clone()),
                disk: local.disk,
                guard: local.guard.report(now_us),
                whole: self.seen.whole.get(vm).is_some_and(|(generation, _)| *generation == local.generation),
            }
        };
        self.vms.iter().map(report).collect()
    }

    /// The newest intents that are acted on; nothing before the first of this incarnation came, so that they are sent.
    fn acted_on(&self) -> (u64, u64) {
        if self.intents.is_some() { self.seen.newest } else { (0, 0) }
    }

    pub(super) fn hello(&self, now_us: u64) -> Hello {
        let (term, revision) = self.acted_on();
        let hosting = self.node_report(now_us);
        Hello { vms: self.reports(now_us), term, revision, hosting, ..self.config.hello.clone() }
    }

    pub(super) fn introduce(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        self.last_hello_us = now_us;
        out.push(Effect::Send(AgentMessage::Hello(self.hello(now_us))));
    }

    pub(super) fn renew_at_us(&self) -> u64 {
        if self.changed {
            self.next_renew_us.min(self.last_renew_us + CHANGE_GAP_MS * 1_000)
        } else {
            self.next_renew_us
        }
    }

    pub(super) fn renew_due(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        if !self.connected || now_us < self.renew_at_us() {
            return;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.lease.renewal_sent(seq, now_us);
        self.last_renew_us = now_us;
        self.next_renew_us = now_us + self.config.renew_interval_ms * 1_000;
        self.changed = false;
        // A leader that never got the introduction grants nothing, and only the agent can know that something is missing.
        let since_us = now_us - self.last_hello_us;
        let unwelcomed = !self.welcomed && since_us >= UNWELCOMED_MS * 1_000;
        if unwelcomed || self.lease.unanswered_for_us(now_us).min(since_us) >= HELLO_AGAIN_MS * 1_000 {
            self.introduce(now_us, out);
        }
        let (term, revision) = self.acted_on();
        let (images, damages) = self.say_images(now_us);
        let hosting = self.say_node(now_us);
        let controllers = self.say_helpers(now_us, HelperKind::Controller);
        let routers = self.say_helpers(now_us, HelperKind::Router);
        let renew = Renew {
            seq,
            vms: self.reports(now_us),
            term,
            revision,
            usage: self.usage,
            images,
            damages,
            hosting,
            controllers,
            routers,
        };
        out.push(Effect::Send(AgentMessage::Renew(renew)));
    }
}
