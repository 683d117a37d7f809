//! Asks the VMs' own probes.

use dwcp_types::VmId;

use super::{Agent, Effect};
use crate::protocol::Phase;

/// How long an answer may take once a VM runs, ms.
const ANSWER_MS: u64 = 1_000;
/// How long it may take at first. Connections made before the guest is up are stuck until a retransmission, so many short
/// ones find the moment it answers sooner than one long one.
const BOOT_ANSWER_MS: u64 = 250;
/// After this a VM that boots is given the long time too: the host may just be slow.
const BOOT_SLOW_MS: u64 = 10_000;

impl Agent {
    pub(super) fn probe_due(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        for (vm, local) in &mut self.vms {
            if !local.is_probed() || now_us < local.probe_at_us() {
                continue;
            }
            let boots = local.phase == Phase::Starting;
            let slow = now_us.saturating_sub(local.launched_us) > BOOT_SLOW_MS * 1_000;
            let interval_ms =
                if boots { self.config.boot_probe_interval_ms } else { self.config.probe_interval_ms };
            let limit_ms = if boots && !slow { BOOT_ANSWER_MS } else { ANSWER_MS };
            local.next_probe_us = now_us + interval_ms * 1_000;
            local.probe_sent_us = Some(now_us);
            let address =
                local.slot.and_then(|slot| self.config.addresses.get(slot)).cloned().unwrap_or_default();
            let (generation, spec) = (local.generation, local.spec.clone());
            out.push(Effect::Probe { vm: *vm, generation, address, spec, limit_ms });
        }
    }

    pub(super) fn probe_answer(
        &mut self,
        now_us: u64,
        vm: VmId,
        generation: u64,
        boot_id: Option<String>,
        failure: Option<String>,
    ) {
        let limit = self.config.failures_to_unhealthy;
        let asked = self.vms.get_mut(&vm).filter(|local| local.generation == generation && local.is_probed());
        let Some(local) = asked else { return };
        if let Some(boot_id) = boot_id.filter(|boot_id| *boot_id != local.boot_id) {
            local.boot_id = boot_id;
            self.changed = true;
        }
        self.changed |= local.answered(now_us, failure, limit);
    }
}
