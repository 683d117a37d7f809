//! A leader that does not know yet what is to run here: it came back from a backup, and asks every host what it has.

use dwcp_types::VmId;

use super::vm::LocalVm;
use super::{Agent, Effect};
use crate::protocol::{AgentMessage, ArrivalFrom, HeldVm, Hold, Inventory, Phase, Run};

impl Agent {
    /// From here on nothing is given away, so that what is said now stays true until somebody says what is to run.
    pub(super) fn hold(&mut self, now_us: u64, hold: Hold, out: &mut Vec<Effect>) {
        let term = hold.grant.term;
        // It speaks for an earlier control plane than the one that this host has obeyed.
        if term < self.seen.newest.0 {
            return;
        }
        self.holding = true;
        self.prolong(now_us, hold.grant, out);
        let leased = self.lease.holds(now_us);
        let vms = self.vms.iter().filter_map(|(vm, local)| self.held_vm(*vm, local, leased)).collect();
        out.push(Effect::Send(AgentMessage::Inventory(Inventory { term, vms })));
    }

    /// What is to be said of a VM; nothing of one that was released to another host, or is not wanted here and goes.
    fn held_vm(&self, vm: VmId, local: &LocalVm, leased: bool) -> Option<HeldVm> {
        if local.phase == Phase::Moved {
            return None;
        }
        let intent = match &self.intents {
            Some(intents) => Some(intents.get(&vm)?),
            None => None,
        };
        let coming = match intent {
            Some(intent) => intent.run == Run::Incoming,
            None => local.incoming.is_some(),
        };
        let arrival = intent.and_then(|intent| intent.arrival.clone()).unwrap_or_else(ArrivalFrom::default);
        let seen = self.seen.generations.get(&vm).copied().unwrap_or(0);
        let noted = self.seen.whole.get(&vm);
        Some(HeldVm {
            vm,
            generation: seen.max(local.generation),
            spec: intent.map_or_else(|| local.spec.clone(), |intent| intent.spec.clone()),
            current: intent.is_some(),
            runs: leased && local.process && !local.paused && !local.killing,
            left: intent.is_some_and(|intent| intent.left),
            arrival: coming.then_some(arrival),
            whole: noted.is_some_and(|(generation, _)| *generation == local.generation),
        })
    }
}
