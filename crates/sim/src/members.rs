//! A region comes in while things go wrong, and one leaves: an operator who goes on with the runbook whenever the step before is
//! seen to be done.

use dwcp_roles::node::{Asked, Node, Request};
use dwcp_state::{Drain, Lifecycle, RegionChange};
use dwcp_types::{NodeId, RegionId, Rng};

use crate::client::SCENARIO_TICKETS;
use crate::faults::Fault;
use crate::world::{Event, World, further_region};

/// Between two looks, µs.
const LOOK_US: u64 = 700_000;

/// How often a region that leaves is emptied.
const DRAINS: u64 = 3;

/// What is to come and to go.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The further region is deployed at, ms.
    pub joins_at_ms: u64,
    /// Which region leaves; none: nobody.
    pub leaver: Option<NodeId>,
    /// It is switched off at, ms.
    pub leaves_at_ms: u64,
}

/// How far the operator is.
pub struct Operator {
    rng: Rng,
    joined: Option<NodeId>,
    taken_away: bool,
    tickets: u64,
    /// How often the region that leaves was emptied, and when it may be tried again, µs.
    drained: (u64, u64),
}

impl Operator {
    /// Drawn apart, so that what else happens under a seed stays as it was.
    pub fn new(seed: u64) -> Operator {
        Operator {
            rng: Rng::new(seed ^ 0x09e7),
            joined: None,
            taken_away: false,
            tickets: 0,
            drained: (0, 0),
        }
    }
}

impl World {
    /// The machines of a further region start; returns its number.
    pub fn join_region(&mut self) -> NodeId {
        self.options.regions += 1;
        let number = self.options.regions as NodeId;
        self.add_region(number, true);
        number
    }

    /// The machines of a region go for ever.
    pub fn take_region_away(&mut self, number: NodeId) {
        self.strike(Fault::KillRegion(number));
        self.nodes.entry(number).and_modify(|slot| slot.gone = true);
        self.hosts.iter_mut().filter(|host| host.home == number).for_each(|host| host.gone = true);
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x3e3b);
        let joins_at_ms = 8_000 + rng.below(40_000);
        let leaver = rng.chance(2, 3).then(|| 1 + rng.below(6));
        Plan { joins_at_ms, leaver, leaves_at_ms: joins_at_ms + 10_000 + rng.below(30_000) }
    }
}

/// Once everything has healed: who was to come in is enabled, and who leaves has left.
pub fn settled(world: &World) -> Result<(), String> {
    let Some(plan) = world.options.members else { return Ok(()) };
    let nodes = world.present().filter_map(|(_, slot)| slot.node.as_ref());
    let Some(newest) = nodes.max_by_key(|node| node.facts().revision(0)) else { return Ok(()) };
    let core = &newest.facts().core;
    if world.operator.joined.is_none() {
        return Err("no region has come in".to_string());
    }
    // A region that can't be emptied stays, switched off.
    let unsettled = core.regions.values().find(|region| match region.lifecycle {
        Lifecycle::Joining | Lifecycle::Leaving => true,
        Lifecycle::Active => plan.leaver == Some(region.number),
        Lifecycle::Disabled => false,
    });
    if let Some(region) = unsettled {
        return Err(format!("{} is {:?}", region.id, region.lifecycle));
    }
    let gone = plan.leaver.is_some_and(|leaver| core.regions.values().all(|region| region.number != leaver));
    if gone && !world.operator.taken_away {
        Err("machines of a region that has left run on".to_string())
    } else {
        Ok(())
    }
}

/// Looks how far everything is, and does what is next.
pub fn act(world: &mut World) {
    world.schedule(LOOK_US, Event::Operator);
    let Some(plan) = world.options.members else { return };
    let alive: Vec<NodeId> = world.alive();
    let at = world.operator.rng.below(alive.len().max(1) as u64) as usize;
    let Some(node) = alive.get(at).copied() else { return };
    let Some(machine) = world.nodes[&node].node.as_ref() else { return };
    if machine.facts().core.regions.is_empty() {
        return;
    }
    match next(world, &plan, machine) {
        Ok(request) => {
            if matches!(request, Request::Drain(..)) {
                let (times, again_us) = world.operator.drained;
                // What can't go stays, and the region with it.
                if times >= DRAINS || world.now_us < again_us {
                    return;
                }
                world.operator.drained = (times + 1, world.now_us + 25_000_000);
            }
            world.operator.tickets += 1;
            let ticket = SCENARIO_TICKETS * 3 + world.operator.tickets;
            world.ask(node, ticket, request);
        }
        Err(Machines::Start) => world.operator.joined = Some(world.join_region()),
        Err(Machines::TakeAway(number)) => {
            world.take_region_away(number);
            world.operator.taken_away = true;
        }
        Err(Machines::Nothing) => {}
    }
}

/// What is done to machines instead of asking.
#[derive(Clone, Copy)]
enum Machines {
    Start,
    TakeAway(NodeId),
    Nothing,
}

fn next(world: &World, plan: &Plan, machine: &Node) -> Result<Request, Machines> {
    let now_ms = world.now_us / 1_000;
    let core = &machine.facts().core;
    let asked = Asked { by: "operator".into(), ..Asked::default() };
    let operator = &world.operator;
    let leaves = |number: NodeId| plan.leaver == Some(number) && now_ms >= plan.leaves_at_ms;
    let number = operator.joined.unwrap_or(world.options.regions as NodeId + 1);
    let name = world.options.region(number);
    if now_ms >= plan.joins_at_ms && !(operator.joined.is_some() && leaves(number)) {
        match (core.regions.get(&name), operator.joined) {
            (None, None) => {
                return Ok(Request::AddRegion(asked, Box::new(further_region(name.as_str()))));
            }
            (Some(_), None) => return Err(Machines::Start),
            // The one who was asked does not know it yet.
            (None, Some(_)) => {}
            (Some(record), _) if record.without_replicas => return Ok(Request::ReplicateRegion(asked, name)),
            (Some(record), _) if record.lifecycle == Lifecycle::Joining => {
                return Ok(switch(asked, name, true));
            }
            (Some(_), Some(_)) => {}
        }
    }
    let Some(leaver) = plan.leaver.filter(|_| now_ms >= plan.leaves_at_ms && !operator.taken_away) else {
        return Err(Machines::Nothing);
    };
    let name = world.options.region(leaver);
    let Some(record) = core.regions.get(&name) else {
        let gone = operator.joined.is_some() && machine.config().me != leaver;
        return Err(if gone { Machines::TakeAway(leaver) } else { Machines::Nothing });
    };
    let facts = machine.facts().regions.get(&name);
    let left = facts.and_then(|facts| facts.left());
    match record.lifecycle {
        Lifecycle::Leaving => Err(Machines::Nothing),
        Lifecycle::Active => Ok(switch(asked, name, false)),
        Lifecycle::Disabled | Lifecycle::Joining if left.is_none() => Ok(Request::RemoveRegion(asked, name)),
        Lifecycle::Disabled | Lifecycle::Joining => {
            let drain = Drain { timeout_ms: 20_000, max_downtime_ms: 300, ..Drain::default() };
            Ok(Request::Drain(asked, name, drain))
        }
    }
}

fn switch(asked: Asked, region: RegionId, on: bool) -> Request {
    Request::ChangeRegion(asked, RegionChange { region, enabled: Some(on), ..RegionChange::default() })
}
