//! Controllers beside the region's node, where this host runs some: decisions only.
//!
//! They keep nothing. So what is wanted is not remembered across a restart of the agent: its controllers end with it, and the
//! leader says again what is wanted. One that is not wanted any more is killed.

use std::collections::BTreeMap;

use super::{Agent, Effect};
use crate::protocol::{ControllersReport, ControllersWanted};

/// Shortest and longest wait before one that ended is started again, ms.
const BACK_OFF_MS: (u64, u64) = (500, 30_000);
/// One that ran so long is well: what was wrong before counts no more, ms.
const WELL_MS: u64 = 60_000;
/// What did not change is said again after, ms.
const SAY_AGAIN_MS: u64 = 10_000;

/// What happened to a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllersEvent {
    /// Answers [`ControllersEffect::Start`]: its process.
    Started {
        /// Its number on this host.
        slot: u8,
        /// The process, or why there is none.
        result: Result<u32, String>,
    },
    /// The process is gone.
    Ended {
        /// Its number on this host.
        slot: u8,
        /// How.
        reason: String,
    },
}

/// What is to be done about a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllersEffect {
    /// Start it, so that it ends with the agent.
    Start {
        /// Its number on this host.
        slot: u8,
        /// The number of the region's node.
        node: u64,
        /// Its mesh, `ip:port`.
        mesh: String,
    },
    /// Kill it.
    End {
        /// Its number on this host.
        slot: u8,
    },
}

/// One controller.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// The node that it was started for; none: there is no process.
    of: Option<(u64, String)>,
    /// The process, once it is known.
    pid: u32,
    since_us: u64,
    start_at_us: u64,
    failures: u32,
    ending: bool,
}

/// Every controller of this host.
#[derive(Clone, Debug, Default)]
pub(super) struct Controllers {
    wanted: ControllersWanted,
    slots: BTreeMap<u8, Slot>,
    restarts: u64,
    trouble: String,
    said: Option<(ControllersReport, u64)>,
}

impl Controllers {
    pub(super) fn take(&mut self, wanted: ControllersWanted) {
        self.wanted = wanted;
    }

    pub(super) fn hear(&mut self, now_us: u64, event: ControllersEvent) {
        match event {
            ControllersEvent::Started { slot, result: Ok(pid) } => {
                let slot = self.slots.entry(slot).or_default();
                (slot.pid, slot.since_us) = (pid, now_us);
                self.restarts += u64::from(slot.failures > 0);
            }
            ControllersEvent::Started { slot, result: Err(why) } => self.failed(now_us, slot, why),
            ControllersEvent::Ended { slot, reason } => self.failed(now_us, slot, reason),
        }
    }

    fn failed(&mut self, now_us: u64, number: u8, why: String) {
        let slot = self.slots.entry(number).or_default();
        if std::mem::take(&mut slot.ending) {
            *slot = Slot::default();
            return;
        }
        if slot.pid != 0 && now_us.saturating_sub(slot.since_us) >= WELL_MS * 1_000 {
            slot.failures = 0;
        }
        let (least_ms, most_ms) = BACK_OFF_MS;
        let wait_ms = least_ms.saturating_mul(1 << slot.failures.min(16)).min(most_ms);
        let failures = slot.failures.saturating_add(1);
        *slot = Slot { failures, start_at_us: now_us + wait_ms * 1_000, ..Slot::default() };
        self.trouble = format!("controller {number}: {why}");
    }

    /// What is due. At most `most` run.
    fn go_on(&mut self, now_us: u64, most: u32, out: &mut Vec<ControllersEffect>) {
        let count = self.wanted.count.min(most).min(u32::from(u8::MAX)) as u8;
        let of = (self.wanted.node, self.wanted.mesh.clone());
        for (number, slot) in &mut self.slots {
            let other = slot.of.as_ref().is_some_and(|running| *number >= count || *running != of);
            if other && slot.pid != 0 && !slot.ending {
                slot.ending = true;
                out.push(ControllersEffect::End { slot: *number });
            }
        }
        self.slots.retain(|number, slot| *number < count || slot.of.is_some());
        for number in 0..count {
            let slot = self.slots.entry(number).or_default();
            if slot.of.is_none() && now_us >= slot.start_at_us {
                slot.of = Some(of.clone());
                let (node, mesh) = of.clone();
                out.push(ControllersEffect::Start { slot: number, node, mesh });
            }
        }
        let well = |slot: &Slot| slot.pid != 0 && now_us.saturating_sub(slot.since_us) >= WELL_MS * 1_000;
        if self.slots.values().all(well) {
            self.trouble.clear();
        }
    }

    fn report(&self) -> ControllersReport {
        let running = self.slots.iter().filter(|(_, slot)| slot.pid != 0);
        ControllersReport {
            running: running.map(|(number, slot)| (*number, slot.pid)).collect(),
            restarts: self.restarts,
            trouble: self.trouble.clone(),
        }
    }
}

impl Agent {
    pub(super) fn keep_controllers(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        let mut effects = Vec::new();
        self.controllers.go_on(now_us, self.config.hello.controllers, &mut effects);
        out.extend(effects.into_iter().map(Effect::Controllers));
        let said = self.controllers.said.as_ref();
        self.changed |= said.is_some_and(|(said, _)| *said != self.controllers.report());
    }

    /// What the next renewal says of controllers.
    pub(super) fn say_controllers(&mut self, now_us: u64) -> Option<ControllersReport> {
        if self.config.hello.controllers == 0 {
            return None;
        }
        let report = self.controllers.report();
        let due = self.controllers.said.as_ref().is_none_or(|(said, at_us)| {
            *said != report || now_us.saturating_sub(*at_us) >= SAY_AGAIN_MS * 1_000
        });
        if due {
            self.controllers.said = Some((report.clone(), now_us));
        }
        due.then_some(report)
    }
}
