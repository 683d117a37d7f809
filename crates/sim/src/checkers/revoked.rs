//! A revoked token opens nothing: every node that is in touch with the federation knows of it within the bound.
//!
//! A node that is cut off can't know; so what counts is how long it has been in touch since, without a break.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_state::FEDERATION_GROUP;
use dwcp_types::{NodeId, TokenId};

use crate::world::World;

/// A revoked token may be taken for so long, µs; the bound that the specification promises.
const BOUND_US: u64 = 5_000_000;

/// Tokens as people know them.
#[derive(Default)]
pub struct Revoked {
    /// Tokens that were made, by acknowledgement.
    pub made: BTreeSet<TokenId>,
    /// When the revocation of a token was acknowledged, µs.
    pub revoked: BTreeMap<TokenId, u64>,
    /// The leader that a node is in touch with, and since when, µs.
    touch: BTreeMap<NodeId, (NodeId, u64)>,
}

impl Revoked {
    /// Every acknowledged revocation is known at the end.
    pub(super) fn check(&self, world: &World) -> Result<(), String> {
        let Some(node) = world.nodes.values().find_map(|slot| slot.node.as_ref()) else { return Ok(()) };
        let tokens = &node.facts().core.tokens;
        if let Some(id) = self.made.iter().find(|id| !tokens.contains_key(*id)) {
            return Err(format!("{id} was acknowledged and is gone"));
        }
        let open = |id: &&TokenId| tokens.get(*id).is_some_and(|token| token.revoked_at.is_none());
        match self.revoked.keys().find(open) {
            Some(id) => Err(format!("the revocation of {id} was acknowledged, and it opens doors")),
            None => Ok(()),
        }
    }
}

impl World {
    /// Looks whether a node still takes a token that it must know to be revoked.
    pub(crate) fn check_tokens(&mut self) {
        let now_us = self.now_us;
        let numbers: Vec<NodeId> = self.nodes.keys().copied().collect();
        for number in numbers {
            let leader = self.in_touch_with(number);
            let Some(leader) = leader else {
                self.checkers.revoked.touch.remove(&number);
                continue;
            };
            let touch = self.checkers.revoked.touch.entry(number).or_insert((leader, now_us));
            if touch.0 != leader {
                *touch = (leader, now_us);
            }
            if now_us - touch.1 < BOUND_US {
                continue;
            }
            let Some(node) = self.nodes[&number].node.as_ref() else { continue };
            let takes = |id: &TokenId| {
                node.facts().core.tokens.get(id).is_some_and(|token| token.is_valid(self.now_of(number).wall))
            };
            let late = self.checkers.revoked.revoked.iter().filter(|(_, at)| now_us - **at >= BOUND_US);
            if let Some((id, at)) = late.into_iter().find(|(id, _)| takes(id)) {
                let ms = (now_us - at) / 1_000;
                let text = format!("node {number} takes {id} {ms} ms after its revocation was acknowledged");
                self.checkers.object(text);
            }
        }
    }

    /// The leader of the federation's group, when this node hears it and it has a majority; nothing is lost on the way.
    fn in_touch_with(&self, number: NodeId) -> Option<NodeId> {
        let serves = |node: NodeId| {
            let slot = &self.nodes[&node];
            slot.node.as_ref().filter(|_| self.now_us >= slot.paused_until_us)
        };
        let node = serves(number).filter(|node| !node.is_left_out())?;
        let status = node.group(FEDERATION_GROUP)?;
        let leader = status.leader.filter(|leader| self.nodes.contains_key(leader) && !status.damaged)?;
        if self.net.loss_permille > 0 || !serves(leader)?.leads(FEDERATION_GROUP) {
            return None;
        }
        let linked = |node: NodeId| {
            serves(node).is_some() && !self.net.is_cut(node, leader) && !self.net.is_cut(leader, node)
        };
        let majority = self.nodes.keys().filter(|node| linked(**node)).count() > self.nodes.len() / 2;
        (majority && linked(number)).then_some(leader)
    }
}
