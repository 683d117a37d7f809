//! What stands around a node that goes over to another program: its launcher, and programs that work or don't.

use std::collections::BTreeMap;

use dwcp_roles::node::{Input, Program, SwitchOrder};
use dwcp_types::{NodeId, OperationId};

use crate::world::{Event, World};

/// From the word until the old process has ended, µs.
const STOPS_US: u64 = 700_000;
/// Between two looks of the launcher, µs.
const LOOK_US: u64 = 200_000;
/// A program that is not well by then is rolled back, µs.
const TRIAL_US: u64 = 30_000_000;

/// A program that regions can be upgraded to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Built {
    /// The highest level that it knows.
    pub level: u64,
    /// It starts; else it ends at once.
    pub works: bool,
}

/// What a node's machine knows of its programs. Outlives its process.
#[derive(Clone, Debug, Default)]
pub struct Installed {
    /// What it says of the program that runs.
    pub program: Program,
    /// The program to go back to.
    before: Option<Program>,
    /// Which upgrade is tried, and when that began.
    tried: Option<(OperationId, u64)>,
}

impl Installed {
    /// What a machine begins with.
    pub(crate) fn of_level(level: u64) -> Installed {
        Installed { program: Program { level, ..Program::default() }, ..Installed::default() }
    }
}

/// Every program that there is, by digest.
pub type Programs = BTreeMap<String, Built>;

impl World {
    /// The word was given: the process ends in order.
    pub(crate) fn goes_over(&mut self, number: NodeId, order: SwitchOrder) {
        let life = self.nodes[&number].life;
        self.note(format!("node {number} goes over to {}", order.version));
        self.step_node(number, Input::HandOver);
        self.schedule(STOPS_US, Event::GoOver { node: number, life, order });
    }

    /// The launcher starts the program.
    pub(crate) fn go_over(&mut self, number: NodeId, life: u64, order: &SwitchOrder) {
        if self.nodes[&number].life != life {
            return;
        }
        self.kill_node(number);
        let built = self.programs.get(&order.sha256).copied().unwrap_or_default();
        let now_us = self.now_us;
        let Some(slot) = self.nodes.get_mut(&number) else { return };
        let installed = &mut slot.installed;
        installed.before = Some(installed.program.clone());
        installed.tried = Some((order.operation, now_us));
        installed.program = Program {
            level: built.level,
            sha256: order.sha256.clone(),
            trial: true,
            ended: None,
            ..installed.program.clone()
        };
        if built.works {
            self.start_node(number);
        }
        self.schedule(LOOK_US, Event::Trial(number));
    }

    /// The launcher looks at the program that it tries.
    pub(crate) fn look_at_trial(&mut self, number: NodeId) {
        let now_us = self.now_us;
        let Some(slot) = self.nodes.get_mut(&number) else { return };
        let Some((operation, began_us)) = slot.installed.tried else { return };
        let works = self.programs.get(&slot.installed.program.sha256).is_some_and(|built| built.works);
        let well = slot.node.as_ref().is_some_and(|node| node.is_well().is_ok());
        if well {
            slot.installed.tried = None;
            slot.installed.program.trial = false;
            slot.installed.program.ended = Some((operation, (true, String::new())));
            let program = slot.installed.program.clone();
            self.note(format!("node {number} stays with its program"));
            self.step_node(number, Input::Program(Box::new(program)));
            return;
        }
        if !works || now_us - began_us > TRIAL_US {
            let before = slot.installed.before.take().unwrap_or_default();
            let why = if works { "not well in time" } else { "it ended" };
            slot.installed.tried = None;
            slot.installed.program =
                Program { ended: Some((operation, (false, why.to_string()))), trial: false, ..before };
            self.note(format!("node {number} goes back to its program"));
            self.kill_node(number);
            self.start_node(number);
            return;
        }
        self.schedule(LOOK_US, Event::Trial(number));
    }

    /// Installs a program on every node as if it had been fetched.
    pub fn offer(&mut self, sha256: &str, built: Built) {
        self.programs.insert(sha256.to_string(), built);
        let numbers: Vec<NodeId> = self.nodes.keys().copied().collect();
        for number in numbers {
            let Some(slot) = self.nodes.get_mut(&number) else { continue };
            slot.installed.program.has.push(sha256.to_string());
            let program = slot.installed.program.clone();
            self.step_node(number, Input::Program(Box::new(program)));
        }
    }
}
