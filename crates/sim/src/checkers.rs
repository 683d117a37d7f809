//! What must hold, one file a promise.

mod acknowledged;
mod capacity;
mod durable;
mod generations;
mod identical;
mod in_charge;
mod linearizable;
mod one_place;
mod operations;
mod revoked;
mod settled_moves;

use std::collections::{BTreeMap, BTreeSet};

use dwcp_types::{GroupId, HostId, NodeId, VmId};

use crate::world::World;

pub use acknowledged::Acknowledged;
pub use linearizable::Register;
pub use revoked::Revoked;
pub use settled_moves::SettledMoves;

/// Everything the checkers remember.
#[derive(Default)]
pub struct Checkers {
    violation: Option<String>,
    generations: generations::Generations,
    identical: identical::Identical,
    /// What was acknowledged to the client.
    pub acknowledged: Acknowledged,
    /// The register that is written and read.
    pub register: Register,
    /// Tokens that were made and revoked.
    pub revoked: Revoked,
    /// Nodes whose facts were made to differ on purpose: those are compared by the story, not at every step.
    pub rotten: BTreeSet<NodeId>,
    /// Where VMs are, and how often each has moved.
    pub moves: SettledMoves,
    /// The sum of the revisions of every group at each node, as it was looked at last.
    revisions: BTreeMap<NodeId, u64>,
}

impl Checkers {
    /// The first thing that did not hold.
    pub fn violation(&mut self) -> Option<String> {
        self.violation.take()
    }

    /// Everything is as of a backup: what was acknowledged or decided after it is lost, and where VMs run is as it was.
    pub fn restored(&mut self) {
        let asked = std::mem::take(&mut self.acknowledged.asked);
        self.acknowledged = Acknowledged { asked, restored: true, ..Acknowledged::default() };
        self.register = Register { begun: self.register.begun, ..Register::default() };
        self.revoked = Revoked::default();
        self.moves = SettledMoves::default();
        self.revisions.clear();
    }

    /// Something does not hold.
    pub fn object(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }

    /// A host acted on a generation of a VM; `does` says how, as in `launched`.
    pub(crate) fn acted(&mut self, host: &HostId, does: &str, vm: VmId, generation: u64) {
        if let Some(text) = self.generations.acted(host, does, vm, generation) {
            self.object(text);
        }
    }
}

/// Compares what every node holds of every group now, where they are at one revision.
pub fn identical_now(world: &World) -> Result<(), String> {
    identical::check(world)
}

impl World {
    /// Called after every change of a VM's processes.
    pub(crate) fn check_places(&mut self, vm: VmId) {
        if let Some(text) = one_place::check(&self.hosts, vm) {
            self.note(text.clone());
            self.checkers.object(text);
        }
    }

    /// Called after every step of a node; looks at its facts whenever they have changed.
    pub(crate) fn check_node(&mut self, number: NodeId) {
        let Some(node) = self.nodes.get(&number).and_then(|slot| slot.node.as_ref()) else { return };
        let groups = self.options.regions as GroupId;
        let revisions = (0..=groups).map(|group| node.facts().revision(group).0).sum();
        if self.checkers.revisions.insert(number, revisions) == Some(revisions) {
            return;
        }
        let flaw = capacity::check(number, node.facts());
        let rotten = self.checkers.rotten.contains(&number);
        let identical = &mut self.checkers.identical;
        // What a rotten node holds is no measure for others either.
        let found = flaw.or_else(|| if rotten { None } else { identical.compare(number, node, groups) });
        let found = found.or_else(|| self.checkers.moves.look(self.now_us, node.facts()));
        found.into_iter().for_each(|text| self.checkers.object(text));
    }

    /// Called with every frame that a node sends to another.
    pub(crate) fn check_word(&mut self, number: NodeId, frame: &[u8]) {
        let disk = self.nodes.get(&number).map(|slot| &slot.disk);
        if let Some(text) = disk.and_then(|disk| durable::check(number, frame, disk)) {
            self.note(text.clone());
            self.checkers.object(text);
        }
    }

    /// True when the system has settled after everything healed; otherwise why not.
    pub fn settled(&self) -> Result<(), String> {
        identical::settled(self)?;
        operations::settled(self)?;
        crate::members::settled(self)?;
        crate::restoration::settled(self)?;
        in_charge::settled(self)
    }

    /// What must hold once the system has settled.
    pub fn check_end(&self) -> Result<(), String> {
        identical::check(self)?;
        self.checkers.revoked.check(self)?;
        self.checkers.acknowledged.check(self)
    }
}
