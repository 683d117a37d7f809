//! Controllers and routers beside the region's node, where this host runs some: decisions only.
//!
//! They keep nothing that would be missed. So what is wanted is not remembered across a restart of the agent: its helpers end with
//! it, and the leader says again what is wanted. One that is not wanted any more is ended.

use std::collections::BTreeMap;

use super::{Agent, Effect};
use crate::protocol::{HelperKind, HelpersReport, HelpersWanted};

/// Shortest and longest wait before one that ended is started again, ms.
const BACK_OFF_MS: (u64, u64) = (500, 30_000);
/// One that ran so long is well: what was wrong before counts no more, ms.
const WELL_MS: u64 = 60_000;
/// What did not change is said again after, ms.
const SAY_AGAIN_MS: u64 = 10_000;

/// What happened to a helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelpersEvent {
    /// Answers [`HelpersEffect::Start`]: its process.
    Started {
        /// What it is.
        kind: HelperKind,
        /// Its number among those of its kind on this host.
        slot: u8,
        /// The process, or why there is none.
        result: Result<u32, String>,
    },
    /// The process is gone.
    Ended {
        /// What it is.
        kind: HelperKind,
        /// Its number among those of its kind on this host.
        slot: u8,
        /// How.
        reason: String,
    },
}

/// What is to be done about a helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelpersEffect {
    /// Start it, so that it ends with the agent.
    Start {
        /// What it is.
        kind: HelperKind,
        /// Its number among those of its kind on this host.
        slot: u8,
        /// The number of the region's node; 0 for a router.
        node: u64,
        /// Its mesh, `ip:port`; empty for a router.
        mesh: String,
    },
    /// End it: a controller at once, a router when what it serves is over.
    End {
        /// What it is.
        kind: HelperKind,
        /// Its number among those of its kind on this host.
        slot: u8,
    },
}

/// One helper.
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

/// Every helper of a kind on this host.
#[derive(Clone, Debug)]
pub(super) struct Helpers {
    kind: HelperKind,
    wanted: HelpersWanted,
    slots: BTreeMap<u8, Slot>,
    restarts: u64,
    trouble: String,
    said: Option<(HelpersReport, u64)>,
}

impl Helpers {
    pub(super) fn new(kind: HelperKind) -> Helpers {
        Helpers {
            kind,
            wanted: HelpersWanted::default(),
            slots: BTreeMap::new(),
            restarts: 0,
            trouble: String::new(),
            said: None,
        }
    }

    pub(super) fn take(&mut self, wanted: HelpersWanted) {
        self.wanted = wanted;
    }

    pub(super) fn hear(&mut self, now_us: u64, event: HelpersEvent) {
        match event {
            HelpersEvent::Started { slot, result: Ok(pid), .. } => {
                let slot = self.slots.entry(slot).or_default();
                (slot.pid, slot.since_us) = (pid, now_us);
                self.restarts += u64::from(slot.failures > 0);
            }
            HelpersEvent::Started { slot, result: Err(why), .. } => self.failed(now_us, slot, why),
            HelpersEvent::Ended { slot, reason, .. } => self.failed(now_us, slot, reason),
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
        self.trouble = format!("{} {number}: {why}", self.kind.name());
    }

    /// What is due. At most `most` run.
    fn go_on(&mut self, now_us: u64, most: u32, out: &mut Vec<HelpersEffect>) {
        let count = self.wanted.count.min(most).min(u32::from(u8::MAX)) as u8;
        let of = (self.wanted.node, self.wanted.mesh.clone());
        for (number, slot) in &mut self.slots {
            let other = slot.of.as_ref().is_some_and(|running| *number >= count || *running != of);
            if other && slot.pid != 0 && !slot.ending {
                slot.ending = true;
                out.push(HelpersEffect::End { kind: self.kind, slot: *number });
            }
        }
        self.slots.retain(|number, slot| *number < count || slot.of.is_some());
        for number in 0..count {
            let slot = self.slots.entry(number).or_default();
            if slot.of.is_none() && now_us >= slot.start_at_us {
                slot.of = Some(of.clone());
                let (node, mesh) = of.clone();
                out.push(HelpersEffect::Start { kind: self.kind, slot: number, node, mesh });
            }
        }
        let well = |slot: &Slot| slot.pid != 0 && now_us.saturating_sub(slot.since_us) >= WELL_MS * 1_000;
        if self.slots.values().all(well) {
            self.trouble.clear();
        }
    }

    fn report(&self) -> HelpersReport {
        let running = self.slots.iter().filter(|(_, slot)| slot.pid != 0);
        HelpersReport {
            running: running.map(|(number, slot)| (*number, slot.pid)).collect(),
            restarts: self.restarts,
            trouble: self.trouble.clone(),
        }
    }

    /// What was said last is not so any more.
    fn has_news(&self) -> bool {
        self.said.as_ref().is_some_and(|(said, _)| *said != self.report())
    }

    /// What the next renewal says of them.
    fn say(&mut self, now_us: u64) -> Option<HelpersReport> {
        let report = self.report();
        let due = self.said.as_ref().is_none_or(|(said, at_us)| {
            *said != report || now_us.saturating_sub(*at_us) >= SAY_AGAIN_MS * 1_000
        });
        if due {
            self.said = Some((report.clone(), now_us));
        }
        due.then_some(report)
    }
}

impl HelpersEvent {
    pub(super) fn kind(&self) -> HelperKind {
        match self {
            HelpersEvent::Started { kind, .. } | HelpersEvent::Ended { kind, .. } => *kind,
        }
    }
}

impl Agent {
    pub(super) fn helpers(&mut self, kind: HelperKind) -> &mut Helpers {
        match kind {
            HelperKind::Controller => &mut self.controllers,
            HelperKind::Router => &mut self.routers,
        }
    }

    pub(super) fn keep_helpers(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        for kind in HelperKind::ALL {
            let most = self.config.hello.most(kind);
            let (helpers, mut effects) = (self.helpers(kind), Vec::new());
            helpers.go_on(now_us, most, &mut effects);
            let news = helpers.has_news();
            self.changed |= news;
            out.extend(effects.into_iter().map(Effect::Helpers));
        }
    }

    /// What the next renewal says of helpers of a kind; none where this host runs none.
    pub(super) fn say_helpers(&mut self, now_us: u64, kind: HelperKind) -> Option<HelpersReport> {
        match self.config.hello.most(kind) {
            0 => None,
            _ => self.helpers(kind).say(now_us),
        }
    }
}
