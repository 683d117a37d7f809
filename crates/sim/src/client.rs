//! People: they create, change and delete VMs, write and read a register, and repeat what was not answered.

use std::collections::BTreeMap;

use dwcp_roles::node::{Asked, Change, CreateVm, MigrateRequest, Reply, Request};
use dwcp_state::{
    Drain, Network, NewMigration, Probe, RegionChange, Relation, Rules, Scope, Target, Token, Vm, VmSpec,
    Want,
};
use dwcp_types::{Amount, Code, HostId, ImageDigest, NodeId, Priority, RegionId, Rng, TokenId, VmId};

use crate::world::{Event, REGIONS, World};

/// A request that was not answered is given up, and repeated elsewhere, after, µs.
const PATIENCE_US: u64 = 7_000_000;

/// What a request is for.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // A handful live at once.
enum Wish {
    Create(Box<CreateVm>),
    Change { vm: VmId, change: Change },
    Write { value: u64 },
    Read { floor: u64 },
    Token { id: TokenId, revoke: bool },
    Migrate { vm: VmId, to: RegionId },
    Drain { region: RegionId, host: HostId },
    StopMoving { vm: VmId },
}

#[derive(Clone, Debug)]
struct Open {
    wish: Wish,
    node: NodeId,
    asked: Asked,
    sent_us: u64,
}

/// The client.
pub struct Client {
    rng: Rng,
    open: BTreeMap<u64, Open>,
    next: u64,
    /// True while new wishes are made.
    pub active: bool,
    names: u64,
    /// Replies to requests of scenarios, by ticket.
    pub heard: BTreeMap<u64, Reply>,
}

impl Client {
    /// A client that has asked for nothing yet.
    pub fn new(rng: Rng) -> Client {
        Client { rng, open: BTreeMap::new(), next: 1, active: false, names: 0, heard: BTreeMap::new() }
    }

    /// Requests to a dead node are repeated elsewhere soon.
    pub fn node_died(&mut self, node: NodeId) {
        for open in self.open.values_mut().filter(|open| open.node == node) {
            open.sent_us = 0;
        }
    }

    /// True when nothing waits for an answer.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }
}

/// Scenarios' tickets are above this.
pub const SCENARIO_TICKETS: u64 = 1 << 32;

/// Does something, and comes back later.
pub fn act(world: &mut World) {
    let again_us = 300_000 + world.client.rng.below(1_500_000);
    world.schedule(again_us, Event::Client);
    repeat(world);
    if world.client.active {
        wish(world);
        if world.options.revocations && world.client.rng.chance(1, 8) {
            token(world);
        }
    }
}

/// Makes a token, or revokes one that is there.
pub fn token(world: &mut World) {
    let known = &world.checkers.revoked;
    let open = known.made.iter().find(|id| !known.revoked.contains_key(*id));
    let wish = match open.cloned().filter(|_| world.client.rng.chance(2, 3)) {
        Some(id) => Wish::Token { id, revoke: true },
        None => {
            world.client.names += 1;
            let id = TokenId::from(format!("token-{}", world.client.names).as_str());
            Wish::Token { id, revoke: false }
        }
    };
    request(world, wish);
}

fn repeat(world: &mut World) {
    let now_us = world.now_us;
    let late: Vec<u64> = world
        .client
        .open
        .iter()
        .filter(|(_, open)| now_us >= open.sent_us + PATIENCE_US)
        .map(|(ticket, _)| *ticket)
        .collect();
    for ticket in late {
        let Some(open) = world.client.open.remove(&ticket) else { continue };
        // A read that was not answered says nothing; a write is repeated under its key until it is known.
        if !matches!(open.wish, Wish::Read { .. }) {
            send(world, open.wish, open.asked);
        }
    }
}

fn wish(world: &mut World) {
    let choice = world.client.rng.below(100);
    let vms: Vec<VmId> = world.checkers.acknowledged.created.values().copied().collect();
    let free = |world: &World, vm: &VmId| {
        let busy = matches!(world.checkers.acknowledged.wanted.get(vm), Some(None));
        !busy && !world.checkers.acknowledged.deleted.contains_key(vm)
    };
    let pick = |world: &mut World| {
        let at = world.client.rng.below(vms.len().max(1) as u64) as usize;
        vms.get(at).copied().filter(|vm| free(world, vm))
    };
    let acknowledged = &world.checkers.acknowledged;
    let alive_vms = acknowledged.created.len().saturating_sub(acknowledged.deleted.len());
    let wish = match choice {
        0..25 if alive_vms < 14 => {
            world.client.names += 1;
            let name = format!("vm-{}", world.client.names);
            let rules = rules(&mut world.client.rng);
            world.checkers.acknowledged.asked.insert(name.clone(), 0);
            Some(wish_for(template(&name, rules)))
        }
        25..35 => pick(world).map(|vm| Wish::Change { vm, change: Change::Stop }),
        35..48 => pick(world).map(|vm| Wish::Change { vm, change: Change::Start }),
        48..54 => pick(world).map(|vm| Wish::Change { vm, change: Change::Restart }),
        54..59 => pick(world).map(|vm| Wish::Change { vm, change: Change::Delete }),
        75..84 if world.options.moves => pick(world).map(|vm| {
            let to = REGIONS[world.client.rng.below(world.options.regions as u64) as usize];
            Wish::Migrate { vm, to: to.into() }
        }),
        84..86 if world.options.moves => {
            let at = world.client.rng.below(world.hosts.len() as u64) as usize;
            let host = &world.hosts[at];
            Some(Wish::Drain { region: host.region.clone(), host: host.name.clone() })
        }
        86..88 if world.options.moves => pick(world).map(|vm| Wish::StopMoving { vm }),
        59..75 => {
            let busy = world.client.open.values().any(|open| matches!(open.wish, Wish::Write { .. }));
            (!busy).then(|| {
                world.checkers.register.begun += 1;
                Wish::Write { value: world.checkers.register.begun }
            })
        }
        _ => Some(Wish::Read { floor: world.checkers.register.floor() }),
    };
    let Some(wish) = wish else { return };
    if let Wish::Change { vm, change } = &wish {
        world.checkers.acknowledged.wanted.insert(*vm, None);
        if *change == Change::Delete {
            world.checkers.acknowledged.deleted.insert(*vm, false);
        }
    }
    request(world, wish);
}

/// Asks for a VM, with rules of placement or without; it is asked for again until there is an answer.
pub fn create(world: &mut World, ruled: bool) {
    world.client.names += 1;
    let name = format!("vm-{}", world.client.names);
    let rules = if ruled { rules(&mut world.client.rng) } else { Rules::default() };
    world.checkers.acknowledged.asked.insert(name.clone(), 0);
    request(world, wish_for(template(&name, rules)));
}

/// Asks for a VM of a configuration that was read, in the region of a node: its users are there.
pub fn create_there(world: &mut World, node: NodeId, vm: Vm) {
    world.checkers.acknowledged.asked.insert(vm.name.clone(), 0);
    let users_in = Some(world.options.region(node));
    request(world, Wish::Create(Box::new(CreateVm { template: vm, users_in, ..CreateVm::default() })));
}

fn wish_for(template: Vm) -> Wish {
    Wish::Create(Box::new(CreateVm { template, ..CreateVm::default() }))
}

fn request(world: &mut World, wish: Wish) {
    let key = format!("client/{}", world.client.next);
    let asked = Asked { by: "client".to_string(), key: Some(key), digest: 1, ..Asked::default() };
    send(world, wish, asked);
}

fn rules(rng: &mut Rng) -> Rules {
    let mut rules = Rules::default();
    if rng.chance(1, 3) {
        rules
            .anti_affinity
            .push(Relation { target: Target::Label(("app".into(), "web".into())), scope: Scope::Host });
    }
    if rng.chance(1, 4) {
        let first = rng.below(5) as usize;
        rules.allowed_regions = (first..first + 3).map(|at| RegionId::from(REGIONS[at % 5])).collect();
    }
    rules
}

/// A VM as the client asks for it.
pub fn template(name: &str, rules: Rules) -> Vm {
    Vm {
        name: name.to_string(),
        labels: [("app".to_string(), "web".to_string())].into(),
        spec: VmSpec {
            image: "guest".to_string(),
            size: Amount { vcpus: 1, memory_mib: 256, disk_gib: 1 },
            network: Network::User,
            probe: Probe::Http("/health".to_string()),
            digest: ImageDigest::default(),
        },
        rules,
        priority: Priority(50),
        want: Want::Running,
        ..Vm::default()
    }
}

fn send(world: &mut World, wish: Wish, asked: Asked) {
    let alive = world.alive();
    let ticket = world.client.next;
    world.client.next += 1;
    let at = world.client.rng.below(alive.len().max(1) as u64) as usize;
    let node = alive.get(at).copied().unwrap_or(1);
    let request = match &wish {
        Wish::Create(create) => Request::CreateVm(asked.clone(), create.clone()),
        Wish::Change { vm, change } => Request::ChangeVm(asked.clone(), *vm, *change),
        Wish::Write { value } => {
            // The register is a part of a record that nothing else in the simulation changes: it counts up from the default.
            let mut policy = dwcp_state::Policy::default();
            policy.placement_cache_ttl_ms += *value;
            Request::SetPolicy(asked.clone(), policy)
        }
        Wish::Migrate { vm, to } => {
            let from = home_of(world, node, *vm);
            let new =
                NewMigration { vm: *vm, to: to.clone(), max_downtime_ms: 300, ..NewMigration::default() };
            let title = format!("migrate {vm} to {to}");
            Request::Migrate(asked.clone(), MigrateRequest { from, vms: vec![new], title })
        }
        Wish::Drain { region, host } => {
            let drain = Drain { host: Some(host.clone()), timeout_ms: 30_000, ..Drain::default() };
            Request::Drain(asked.clone(), region.clone(), drain)
        }
        Wish::StopMoving { vm } => Request::CancelMigrations(asked.clone(), vec![*vm]),
        Wish::Read { .. } => Request::Barrier(0),
        Wish::Token { id, revoke: true } => Request::RevokeToken(asked.clone(), id.clone()),
        Wish::Token { id, revoke: false } => {
            let token = Token { id: id.clone(), user: "client".into(), ..Token::default() };
            Request::PutToken(asked.clone(), token)
        }
    };
    let sent_us = world.now_us;
    world.client.open.insert(ticket, Open { wish, node, asked, sent_us });
    world.ask(node, ticket, request);
}

/// The region that a VM lives in, as a node knows it.
fn home_of(world: &World, node: NodeId, vm: VmId) -> RegionId {
    let machine = world.nodes.get(&node).and_then(|slot| slot.node.as_ref());
    let found = machine.and_then(|machine| machine.facts().vm(vm).map(|(region, _)| region.clone()));
    found.unwrap_or_else(|| world.options.region(1))
}

/// Takes a reply; returns lines for the log.
pub fn hear(world: &mut World, node: NodeId, ticket: u64, reply: Reply) -> Vec<String> {
    if ticket >= SCENARIO_TICKETS {
        world.client.heard.insert(ticket, reply);
        return Vec::new();
    }
    let Some(open) = world.client.open.remove(&ticket) else { return Vec::new() };
    let known = &mut world.checkers.acknowledged;
    match (&open.wish, &reply) {
        (Wish::Create(create), Reply::Placed { created: Some((vm, ..)), .. }) => {
            let name = &create.template.name;
            known.created.insert(name.clone(), *vm);
            known.wanted.insert(*vm, Some(Want::Running));
            return vec![format!("client: {name} is {vm}")];
        }
        (Wish::Change { vm, change }, Reply::Done(..)) => {
            let want = match change {
                Change::Start | Change::Restart => Want::Running,
                Change::Stop => Want::Stopped,
                Change::Delete => Want::Deleted,
            };
            known.wanted.insert(*vm, Some(want));
            if want == Want::Deleted {
                known.deleted.insert(*vm, true);
            }
            return vec![format!("client: {vm} is to be {want:?}")];
        }
        (Wish::Write { value }, Reply::Done(..)) => {
            let register = &mut world.checkers.register;
            register.acknowledged = register.acknowledged.max(*value);
        }
        (Wish::Token { id, revoke: false }, Reply::Done(..)) => {
            world.checkers.revoked.made.insert(id.clone());
        }
        (Wish::Token { id, revoke: true }, Reply::Done(..)) => {
            world.checkers.revoked.revoked.entry(id.clone()).or_insert(world.now_us);
        }
        (Wish::Read { floor }, Reply::Current) => read(world, node, *floor),
        (Wish::Read { .. }, _) => {}
        (_, Reply::Refused(refusal)) => {
            return refused(world, open.clone(), refusal.code, &refusal.to_string());
        }
        (_, Reply::Placed { refusal: Some(refusal), .. }) => {
            return refused(world, open.clone(), refusal.code, &refusal.to_string());
        }
        _ => {}
    }
    Vec::new()
}

fn read(world: &mut World, node: NodeId, floor: u64) {
    let Some(machine) = world.nodes.get(&node).and_then(|slot| slot.node.as_ref()) else { return };
    let (policy, before) = (&machine.facts().core.policy, dwcp_state::Policy::default());
    let value = policy.placement_cache_ttl_ms.saturating_sub(before.placement_cache_ttl_ms);
    if let Some(text) = world.checkers.register.finish_read(floor, value) {
        world.checkers.object(format!("node {node}: {text}"));
    }
}

fn refused(world: &mut World, open: Open, code: Code, text: &str) -> Vec<String> {
    // What may or may not have happened is asked again under the same key; a write to the register must end before the
    // next begins.
    let unknown = matches!(code, Code::TimedOut | Code::NoLeader | Code::NotReady);
    if unknown || matches!(open.wish, Wish::Write { .. }) {
        let ticket = world.client.next;
        world.client.next += 1;
        let sent_us = world.now_us.saturating_sub(PATIENCE_US - 1_000_000);
        world.client.open.insert(ticket, Open { sent_us, ..open });
    } else if let Wish::Change { vm, .. } = open.wish {
        // Refused for good: what was wanted before still is, and nothing says what that was.
        world.checkers.acknowledged.wanted.remove(&vm);
    }
    vec![format!("client: {text}")]
}

/// Asks a node to set a region's switches; for the end of a run and for scenarios.
pub fn enable_region(world: &mut World, node: NodeId, region: &str, on: bool, ticket: u64) {
    let change = RegionChange { region: region.into(), enabled: Some(on), ..RegionChange::default() };
    world.ask(
        node,
        ticket,
        Request::ChangeRegion(Asked { by: "operator".into(), ..Asked::default() }, change),
    );
}
