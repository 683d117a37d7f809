//! Controller replicas beside nodes, as bad as they can be: their answers come late, never, twice or from facts of a while ago,
//! name places that nobody would choose, and they die.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dwcp_decide::Serial;
use dwcp_roles::node::{Effect, Input};
use dwcp_roles::protocol::{Decided, Placed, ReplicaSaid, ReplicaTold};
use dwcp_roles::replica::Replica;
use dwcp_types::{HostId, Mono, NodeId, Rng};

use crate::world::{Event, World};

/// Controllers of each region, the node's own among them.
pub const CONTROLLERS: u64 = 3;

/// Between two looks at every replica, µs.
const LOOK_US: u64 = 500_000;
/// From a node to a replica of it, µs.
const WAY_US: u64 = 300;

/// What happens between nodes and replicas.
#[derive(Clone, Debug)]
pub enum Happening {
    /// Every replica is looked at: one starts, one dies, one does not take in what it is told.
    Look,
    /// A frame arrives at a replica.
    Told { node: NodeId, slot: u8, session: u64, told: ReplicaTold },
    /// A node hears of a replica.
    Heard { node: NodeId, life: u64, input: Input },
}

/// A replica.
struct Beside {
    session: u64,
    life: u64,
    machine: Replica,
    /// Told and not taken in.
    waiting: VecDeque<ReplicaTold>,
    /// Takes nothing in until then, and decides on what it has, µs.
    deaf_until_us: u64,
}

/// Every replica.
pub struct Replicas {
    rng: Rng,
    all: BTreeMap<(NodeId, u8), Beside>,
    /// Answers that were given, for whoever wonders whether any were.
    pub answered: u64,
}

impl Replicas {
    /// None yet. What happens to them is drawn apart, so that what else happens under a seed stays as it was.
    pub fn new(seed: u64) -> Replicas {
        Replicas { rng: Rng::new(seed ^ 0x4e71), all: BTreeMap::new(), answered: 0 }
    }
}

impl World {
    pub(crate) fn replica_happens(&mut self, happening: Happening) {
        match happening {
            Happening::Look => {
                self.schedule(LOOK_US, Event::Replica(Box::new(Happening::Look)));
                let slots = 0..(CONTROLLERS - 1) as u8;
                let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
                nodes
                    .iter()
                    .for_each(|node| slots.clone().for_each(|slot| self.look_at_replica(*node, slot)));
            }
            Happening::Told { node, slot, session, told } => self.tell_replica(node, slot, session, told),
            Happening::Heard { node, life, input } => {
                let place = &self.nodes[&node];
                if place.life == life && self.now_us < place.paused_until_us {
                    let wait_us = place.paused_until_us - self.now_us;
                    self.hears_of_replica(node, wait_us, input);
                } else if place.life == life {
                    self.step_node(node, input);
                }
            }
        }
    }

    fn hears_of_replica(&mut self, node: NodeId, in_us: u64, input: Input) {
        let life = self.nodes[&node].life;
        self.schedule(in_us, Event::Replica(Box::new(Happening::Heard { node, life, input })));
    }

    fn look_at_replica(&mut self, node: NodeId, slot: u8) {
        let place = &self.nodes[&node];
        let (life, runs) = (place.life, place.node.is_some() && self.now_us >= place.paused_until_us);
        let region = self.options.region(node);
        let host = self.hosts.iter().find(|host| host.region == region).map(|host| host.name.clone());
        let Replicas { rng, all, .. } = &mut self.replicas;
        let draw = rng.below(20);
        let deaf_us = 200_000 + rng.below(3_000_000);
        let Some(replica) = all.get_mut(&(node, slot)) else {
            if let (true, true, Some(host)) = (runs, draw < 10, host) {
                self.start_replica(node, slot, host);
            }
            return;
        };
        let session = replica.session;
        match draw {
            _ if replica.life != life => drop(all.remove(&(node, slot))),
            0 => {
                all.remove(&(node, slot));
                self.note(format!("replica {slot} of node {node} dies"));
                self.hears_of_replica(node, 10_000, Input::ReplicaDown { session });
            }
            1 | 2 => replica.deaf_until_us = self.now_us + deaf_us,
            _ => self.take_in(node, slot),
        }
    }

    fn start_replica(&mut self, node: NodeId, slot: u8, host: HostId) {
        let (session, life) = (self.new_session(), self.nodes[&node].life);
        let machine = Replica::new(Arc::new(Serial));
        let beside = Beside { session, life, machine, waiting: VecDeque::new(), deaf_until_us: 0 };
        self.replicas.all.insert((node, slot), beside);
        let region = self.options.region(node);
        self.hears_of_replica(node, WAY_US, Input::ReplicaUp { session, region, host, slot });
        let said = Box::new(Replica::hello(1 + u32::from(slot)));
        self.hears_of_replica(node, WAY_US, Input::ReplicaSaid { session, said });
    }

    /// What a node does about replicas.
    pub(crate) fn carry_out_replica(&mut self, node: NodeId, effect: Effect) {
        match effect {
            Effect::TellReplica { session, told } => {
                let of =
                    |((of, _), beside): &(&(NodeId, u8), &Beside)| *of == node && beside.session == session;
                let Some(slot) = self.replicas.all.iter().find(of).map(|((_, slot), _)| *slot) else {
                    return;
                };
                let told = Happening::Told { node, slot, session, told: *told };
                self.schedule(WAY_US, Event::Replica(Box::new(told)));
            }
            Effect::EndReplica { session, reason } => {
                self.replicas.all.retain(|_, beside| beside.session != session);
                self.note(format!("node {node} ends a replica: {reason}"));
            }
            _ => {}
        }
    }

    fn tell_replica(&mut self, node: NodeId, slot: u8, session: u64, told: ReplicaTold) {
        let now_us = self.now_us;
        let Some(replica) = self.replicas.all.get_mut(&(node, slot)) else { return };
        if replica.session != session {
            return;
        }
        let deaf = now_us < replica.deaf_until_us;
        match (deaf, told) {
            // On the facts of a while ago.
            (true, told @ ReplicaTold::Decide(_)) => {
                if let Ok(Some(decided)) = replica.machine.take(Mono(now_us), told) {
                    self.replica_decides(node, slot, decided);
                }
            }
            (_, told) => {
                replica.waiting.push_back(told);
                if !deaf {
                    self.take_in(node, slot);
                }
            }
        }
    }

    fn take_in(&mut self, node: NodeId, slot: u8) {
        let now_us = self.now_us;
        let Some(replica) = self.replicas.all.get_mut(&(node, slot)) else { return };
        if now_us < replica.deaf_until_us || replica.waiting.is_empty() {
            return;
        }
        let mut all = Vec::new();
        for told in std::mem::take(&mut replica.waiting) {
            match replica.machine.take(Mono(now_us), told) {
                Ok(decided) => all.extend(decided),
                Err(error) => self.checkers.object(format!("a replica can't read what it is told: {error}")),
            }
        }
        let (session, taken) = (replica.session, replica.machine.taken());
        let said = Box::new(ReplicaSaid::Taken(taken));
        self.hears_of_replica(node, WAY_US, Input::ReplicaSaid { session, said });
        all.into_iter().for_each(|decided| self.replica_decides(node, slot, decided));
    }

    fn replica_decides(&mut self, node: NodeId, slot: u8, mut decided: Decided) {
        let region = self.options.region(node);
        let hosts: Vec<HostId> =
            self.hosts.iter().filter(|host| host.region == region).map(|host| host.name.clone()).collect();
        let Replicas { rng, all, answered } = &mut self.replicas;
        let Some(session) = all.get(&(node, slot)).map(|beside| beside.session) else { return };
        *answered += 1;
        let usual_us = 1_000 + rng.below(20_000);
        let late_us = rng.below(3_000_000);
        let fate = rng.below(10);
        if fate == 0 {
            return;
        }
        if let (1, Some(Placed::At(place))) = (fate, decided.places.first_mut()) {
            place.region = region;
            place.host = hosts[rng.below(hosts.len() as u64) as usize].clone();
        }
        let said = Box::new(ReplicaSaid::Decided(Box::new(decided)));
        let answer = Input::ReplicaSaid { session, said };
        let in_us = if fate < 4 { usual_us + late_us } else { usual_us };
        if fate == 2 || fate == 5 {
            self.hears_of_replica(node, in_us + usual_us, answer.clone());
        }
        self.hears_of_replica(node, in_us, answer);
    }
}
