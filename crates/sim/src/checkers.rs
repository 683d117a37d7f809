//! What must hold, one file a promise.

mod acknowledged;
mod capacity;
mod generations;
mod identical;
mod linearizable;
mod one_place;
mod operations;

use dwcp_types::{HostId, NodeId, VmId};

use crate::world::World;

pub use acknowledged::Acknowledged;
pub use linearizable::Register;

/// Everything the checkers remember.
#[derive(Default)]
pub struct Checkers {
    violation: Option<String>,
    generations: generations::Generations,
    /// What was acknowledged to the client.
    pub acknowledged: Acknowledged,
    /// The register that is written and read.
    pub register: Register,
    steps: u64,
}

impl Checkers {
    /// The first thing that did not hold.
    pub fn violation(&mut self) -> Option<String> {
        self.violation.take()
    }

    /// Something does not hold.
    pub fn object(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }

    /// A host launched a VM.
    pub fn launched(&mut self, host: &HostId, vm: VmId, generation: u64) {
        if let Some(text) = self.generations.launched(host, vm, generation) {
            self.object(text);
        }
    }
}

impl World {
    /// Called after every change of a VM's processes.
    pub(crate) fn check_places(&mut self, vm: VmId) {
        if let Some(text) = one_place::check(&self.hosts, vm) {
            self.note(text.clone());
            self.checkers.object(text);
        }
    }

    /// Called after every step of a node; looks at its facts now and then.
    pub(crate) fn check_node(&mut self, number: NodeId) {
        self.checkers.steps += 1;
        if !self.checkers.steps.is_multiple_of(64) {
            return;
        }
        let Some(node) = self.nodes.get(&number).and_then(|slot| slot.node.as_ref()) else { return };
        if let Some(text) = capacity::check(number, node.facts()) {
            self.checkers.object(text);
        }
    }

    /// True when the system has settled after everything healed; otherwise why not.
    pub fn settled(&self) -> Result<(), String> {
        identical::settled(self)?;
        operations::settled(self)
    }

    /// What must hold once the system has settled.
    pub fn check_end(&self) -> Result<(), String> {
        identical::check(self)?;
        self.checkers.acknowledged.check(self)
    }
}
