//! What can be said of a move before it begins.

use std::fmt::Write;

use dwcp_state::{Mode, Want};
use dwcp_types::{Refusal, RegionId};

use super::{DrainStep, Node};
use crate::protocol::least_downtime_ms;

impl Node {
    /// Takes the place from each step of a VM whose protected disk forbids it, and says why and what to type instead. What is
    /// off moves cold whatever was asked for.
    pub fn hold_protected(&self, steps: &mut [DrainStep], mode: Mode) -> Vec<Refusal> {
        let mut held = Vec::new();
        for step in steps {
            let (Some((to, host)), Some((_, vm))) = (&step.to, self.facts.vm(step.vm)) else { continue };
            let mode = if vm.want == Want::Stopped { Mode::Cold } else { mode };
            if let Err(refusal) = vm.check_protected_move(mode, to, host.as_ref()) {
                let instead = refusal.tries.first().cloned().unwrap_or_default();
                step.reason = format!("{}; try: {instead}", refusal.causes.join("; "));
                step.to = None;
                held.push(refusal);
            }
        }
        held
    }

    /// Says with each step of live moves from a region when the measured way to its target allows no stop as short as
    /// `max_downtime_ms`.
    pub fn foresee(&self, from: &RegionId, steps: &mut [DrainStep], max_downtime_ms: u64) {
        let measured = self.measured();
        for step in steps {
            let Some((to, _)) = &step.to else { continue };
            let Some(rtt_ms) = measured.rtt(from, to) else { continue };
            let has_disk = self.facts.vm(step.vm).is_some_and(|(_, vm)| vm.spec.size.disk_gib > 0);
            let least_ms = least_downtime_ms(rtt_ms, has_disk);
            if least_ms > max_downtime_ms {
                let _ = write!(
                    step.reason,
                    "; it will stand still for about {least_ms} ms, not {max_downtime_ms}: the round trip to {to} is \
                     {rtt_ms} ms"
                );
            }
        }
    }
}
