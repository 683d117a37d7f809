//! A VM moves between two regions, and one thing breaks at one moment of it: every moment, every thing.

use dwcp_roles::node::{Asked, CreateVm, MigrateRequest, Node, Reply, Request};
use dwcp_state::{DiskProof, Migration, MigrationState, Mode, NewMigration, ProtectionMode, Rules, Want};
use dwcp_types::{NodeId, VmId};

use crate::client::{self, SCENARIO_TICKETS};
use crate::faults::Fault;
use crate::host::Process;
use crate::options::Options;
use crate::run::settle;
use crate::world::{REGIONS, World};

/// A moment of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The target has not made room yet.
    Asked,
    /// The target's process waits; the copy is about to begin.
    Ready,
    /// Memory is being copied.
    Copying,
    /// Everything is there; the guest stands still, and nobody has given it away.
    Copied,
    /// The source has given it away; the target has not heard of it.
    Released,
    /// It runs at the target; the record is still the source's.
    GoingOn,
    /// The record is the target's; the source has not forgotten it.
    Admitted,
}

/// A thing that breaks, and is whole again after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Break {
    /// Nothing.
    Nothing,
    /// The agent of the source is killed, and started again.
    SourceAgent,
    /// The agent of the target is killed, and started again.
    TargetAgent,
    /// The VM's process at the source dies.
    SourceVm,
    /// The process at the target dies.
    TargetVm,
    /// The controller of the source's region is killed.
    SourceNode,
    /// The controller of the target's region is killed.
    TargetNode,
    /// The source's host loses power.
    SourceHost,
    /// The target's host loses power.
    TargetHost,
    /// The link between the two regions is cut.
    Link,
    /// The source's region is cut off from everybody.
    SourceRegion,
    /// The target's region is cut off from everybody.
    TargetRegion,
    /// Everything of the source's region dies.
    SourceLost,
}

impl Moment {
    /// In their order.
    pub const ALL: [Moment; 7] = [
        Moment::Asked,
        Moment::Ready,
        Moment::Copying,
        Moment::Copied,
        Moment::Released,
        Moment::GoingOn,
        Moment::Admitted,
    ];
}

impl Break {
    /// All of them.
    pub const ALL: [Break; 13] = [
        Break::Nothing,
        Break::SourceAgent,
        Break::TargetAgent,
        Break::SourceVm,
        Break::TargetVm,
        Break::SourceNode,
        Break::TargetNode,
        Break::SourceHost,
        Break::TargetHost,
        Break::Link,
        Break::SourceRegion,
        Break::TargetRegion,
        Break::SourceLost,
    ];
}

/// One run: what moves, and what breaks when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// When it breaks.
    pub moment: Moment,
    /// What breaks.
    pub broke: Break,
    /// The VM's disk is protected: it moves cold, to the whole copy in a third region.
    pub protected: bool,
}

/// What became of one migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// When it broke.
    pub moment: Moment,
    /// What broke.
    pub broke: Break,
    /// The VM's disk was protected, and it was to move to its copy.
    pub protected: bool,
    /// How the migration ended.
    pub ended: MigrationState,
    /// The region and host that the VM runs on.
    pub on: String,
    /// It is the same boot as before: nobody lost what was in its memory.
    pub same_boot: bool,
    /// From the break until everything had settled, ms; what broke is whole again after 8 s, an agent after 0.8 s.
    pub settled_ms: u64,
}

const SOURCE: &str = REGIONS[0];
const TARGET: &str = REGIONS[1];
/// Keeps the copy of a protected VM.
const KEEPER: &str = REGIONS[2];
const SOURCE_NODE: NodeId = 1;
/// What broke is whole again after, µs.
const WHOLE_AFTER_US: u64 = 8_000_000;
/// An agent's watchdog starts it again after, µs.
const AGENT_AFTER_US: u64 = 800_000;
/// A moment that has not come by then never comes, µs.
const MOMENT_LIMIT_US: u64 = 30_000_000;
const CREATE_TICKET: u64 = SCENARIO_TICKETS + 1;
const MIGRATE_TICKET: u64 = SCENARIO_TICKETS + 2;

struct Story {
    world: World,
    vm: VmId,
    boot_id: String,
    source: usize,
    protected: bool,
    /// When it was struck: whether the target had noted that it had everything.
    whole: bool,
}

/// Runs one migration of a VM without protection that something breaks in.
///
/// # Errors
/// A checker objects, or the system does not settle with the VM running in exactly one place.
pub fn run(seed: u64, moment: Moment, broke: Break) -> Result<Outcome, String> {
    run_with(Options::quiet(seed), Case { moment, broke, protected: false })
}

/// Like [`run`], with these options.
///
/// # Errors
/// As [`run`].
pub fn run_with(options: Options, case: Case) -> Result<Outcome, String> {
    let Case { moment, broke, protected } = case;
    let mut story = begin(options, protected)?;
    let request = MigrateRequest {
        from: SOURCE.into(),
        vms: vec![NewMigration {
            vm: story.vm,
            to: story.to().into(),
            mode: if protected { Mode::Cold } else { Mode::Live },
            max_downtime_ms: 300,
            ..NewMigration::default()
        }],
        title: "migrate VM web".to_string(),
    };
    let asked = Asked { by: "operator".to_string(), ..Asked::default() };
    story.world.ask(SOURCE_NODE, MIGRATE_TICKET, Request::Migrate(asked, request));
    story.wait_for(moment)?;
    let broken_us = story.world.now_us;
    story.strike(broke);
    let agent = matches!(broke, Break::SourceAgent | Break::TargetAgent);
    story.world.run_until(broken_us + if agent { AGENT_AFTER_US } else { WHOLE_AFTER_US })?;
    story.world.heal();
    let healed_us = story.world.now_us;
    let settled_ms = settle(&mut story.world)?;
    let outcome = story.judge(case, settled_ms + (healed_us - broken_us) / 1_000)?;
    story.judge_lost(&outcome)?;
    Ok(outcome)
}

/// A federation of five regions with one VM that serves, and that is protected if asked for.
fn begin(options: Options, protected: bool) -> Result<Story, String> {
    let mut world = World::new(options);
    world.run_until(12_000_000)?;
    let mut rules = Rules { allowed_regions: [SOURCE.into(), TARGET.into()].into(), ..Rules::default() };
    if protected {
        rules.allowed_regions.insert(KEEPER.into());
    }
    let mut template = client::template("web", rules);
    if protected {
        template.protection.mode = ProtectionMode::Sync;
        template.protection.region = Some(KEEPER.into());
    }
    let create = CreateVm { template, users_in: Some(SOURCE.into()), ..CreateVm::default() };
    world.checkers.acknowledged.asked.insert("web".to_string(), 0);
    let asked = Asked { by: "operator".to_string(), ..Asked::default() };
    world.ask(SOURCE_NODE, CREATE_TICKET, Request::CreateVm(asked, Box::new(create)));
    for _ in 0..20 {
        let next_us = world.now_us + 1_000_000;
        world.run_until(next_us)?;
        if let Some((vm, source, boot_id)) = serving(&world, protected) {
            return Ok(Story { world, vm, boot_id, source, protected, whole: false });
        }
    }
    let said = world.client.heard.get(&CREATE_TICKET).map(|reply| format!("{reply:?}"));
    Err(format!("the VM does not serve after 20 s: {said:?}"))
}

fn serving(world: &World, protected: bool) -> Option<(VmId, usize, String)> {
    let Some(Reply::Placed { created: Some((vm, ..)), .. }) = world.client.heard.get(&CREATE_TICKET) else {
        return None;
    };
    let node = world.nodes[&SOURCE_NODE].node.as_ref()?;
    let (_, record) = node.facts().vm(*vm).filter(|(_, record)| record.serves())?;
    if protected && record.disk_proof() != DiskProof::Zero {
        return None;
    }
    let at = world.hosts.iter().position(|host| host.name == record.host)?;
    Some((*vm, at, world.hosts[at].processes.get(vm)?.boot_id.clone()))
}

impl Story {
    /// The region that it is to move to.
    fn to(&self) -> &'static str {
        if self.protected { KEEPER } else { TARGET }
    }

    fn node(&self) -> Option<&Node> {
        let alive = self.world.nodes.values().filter_map(|slot| slot.node.as_ref());
        // Of those that are there, the one that has heard most.
        alive.max_by_key(|node| (1..=5).map(|group| node.facts().revision(group).0).sum::<u64>())
    }

    fn migration(&self) -> Option<&Migration> {
        let facts = self.node()?.facts().regions.get(&SOURCE.into())?;
        let ended = || facts.migrated.iter().rev().find(|migration| migration.vm == self.vm);
        facts.migrations.get(&self.vm).or_else(ended)
    }

    /// The VM's process at the source.
    fn source(&self) -> Option<&Process> {
        self.world.hosts[self.source].processes.get(&self.vm)
    }

    /// The host at the target with its process.
    fn target(&self) -> Option<(usize, &Process)> {
        let mut there =
            self.world.hosts.iter().enumerate().filter(|(_, host)| host.region.as_str() == self.to());
        there.find_map(|(at, host)| Some((at, host.processes.get(&self.vm)?)))
    }

    fn is_now(&self, moment: Moment) -> bool {
        let Some(migration) = self.migration() else { return false };
        let copied = self.source().is_some_and(|process| process.idle);
        let released = self.world.hosts[self.source].seen.released.contains_key(&self.vm);
        let going_on = self.target().is_some_and(|(_, process)| !process.idle);
        let node = self.node();
        let admitted = node
            .and_then(|node| node.facts().vm(self.vm))
            .is_some_and(|(region, _)| region.as_str() == self.to());
        match moment {
            Moment::Asked => migration.state == MigrationState::Running && migration.aim.is_none(),
            Moment::Ready => self.target().is_some() && migration.aim.is_none(),
            Moment::Copying => migration.aim.is_some() && self.target().is_some() && !copied,
            Moment::Copied => copied && !released,
            Moment::Released => released && !going_on,
            Moment::GoingOn => going_on && !admitted,
            Moment::Admitted => {
                let source = node.and_then(|node| node.facts().regions.get(&SOURCE.into()));
                admitted && source.is_some_and(|facts| facts.departures.contains_key(&self.vm))
            }
        }
    }

    fn wait_for(&mut self, moment: Moment) -> Result<(), String> {
        let limit_us = self.world.now_us + MOMENT_LIMIT_US;
        while !self.is_now(moment) {
            let next_us = self.world.now_us + 1_000;
            self.world.run_until(next_us)?;
            if self.world.now_us >= limit_us {
                return Err(format!("{moment:?} never came"));
            }
        }
        // In the middle of a copy, not at its first byte.
        if moment == Moment::Copying {
            let next_us = self.world.now_us + 300_000;
            self.world.run_until(next_us)?;
        }
        Ok(())
    }

    fn strike(&mut self, broke: Break) {
        let source = self.source;
        self.whole =
            self.target().is_some_and(|(at, _)| self.world.hosts[at].seen.whole.contains_key(&self.vm));
        let target = self
            .target()
            .map(|(at, _)| at)
            .or_else(|| self.world.hosts.iter().position(|host| host.region.as_str() == self.to()));
        let target = target.unwrap_or(source);
        let target_node = self.world.hosts[target].home;
        let faults = match broke {
            Break::Nothing => vec![],
            Break::SourceAgent => vec![Fault::KillAgent(source)],
            Break::TargetAgent => vec![Fault::KillAgent(target)],
            Break::SourceVm => vec![Fault::KillVm(source)],
            Break::TargetVm => vec![Fault::KillVm(target)],
            Break::SourceNode => vec![Fault::KillNode(SOURCE_NODE)],
            Break::TargetNode => vec![Fault::KillNode(target_node)],
            Break::SourceHost => vec![Fault::KillHost(source)],
            Break::TargetHost => vec![Fault::KillHost(target)],
            Break::Link => {
                vec![Fault::CutLink(SOURCE_NODE, target_node), Fault::CutLink(target_node, SOURCE_NODE)]
            }
            Break::SourceRegion => vec![Fault::CutRegion(SOURCE_NODE)],
            Break::TargetRegion => vec![Fault::CutRegion(target_node)],
            Break::SourceLost => vec![Fault::KillRegion(SOURCE_NODE)],
        };
        for fault in faults {
            self.world.strike(fault);
        }
    }

    fn judge(&self, case: Case, settled_ms: u64) -> Result<Outcome, String> {
        let Case { moment, broke, protected } = case;
        let node = self.node().ok_or("no node is left")?;
        let (region, record) = node.facts().vm(self.vm).ok_or("the VM is gone")?;
        let running: Vec<String> = self
            .world
            .hosts
            .iter()
            .filter(|host| host.processes.get(&self.vm).is_some_and(Process::runs))
            .map(|host| host.name.to_string())
            .collect();
        if record.want != Want::Running || running != [record.host.to_string()] {
            return Err(format!("{} should run on {} alone: {running:?}", record.name, record.host));
        }
        let at = self.world.hosts.iter().find(|host| host.name == record.host);
        let boot_id = at.and_then(|host| host.processes.get(&self.vm)).map(|process| &process.boot_id);
        Ok(Outcome {
            moment,
            broke,
            protected,
            ended: self.migration().map(|migration| migration.state).unwrap_or_default(),
            on: format!("{} in {region}", record.host),
            same_boot: boot_id == Some(&self.boot_id),
            settled_ms,
        })
    }

    /// Where the source died: with everything at the target the VM goes on from its memory there; otherwise its target has given
    /// it up, and it starts from its protected copy where there is one. What became of it is said.
    fn judge_lost(&self, outcome: &Outcome) -> Result<(), String> {
        let Outcome { moment, broke, ended, on, .. } = outcome;
        let node = self.node().ok_or("no node is left")?;
        let (region, record) = node.facts().vm(self.vm).ok_or("the VM is gone")?;
        let from_copy = record.protection.boot > 0 && region.as_str() == KEEPER;
        let at_target = if self.protected { from_copy } else { on.ends_with(TARGET) && outcome.same_boot };
        if *broke == Break::Nothing && !(at_target && *ended == MigrationState::Done) {
            return Err(format!("nothing broke, and it is {} on {on}", ended.name()));
        }
        if !matches!(broke, Break::SourceHost | Break::SourceLost) || *moment > Moment::Released {
            return Ok(());
        }
        match ended {
            MigrationState::Done | MigrationState::TakenOver if at_target => return Ok(()),
            MigrationState::Lost if !self.whole => {}
            _ => {
                let whole = if self.whole { "everything was" } else { "not everything was" };
                return Err(format!("{whole} at the target, and it is {} on {on}", ended.name()));
            }
        }
        let migration = self.migration().ok_or("the migration is not kept")?;
        if record.generation == migration.generation {
            return Err(format!("it runs under generation {}, which was promised", record.generation.0));
        }
        // Its own host came back before it was brought back elsewhere.
        if record.generation < migration.generation && record.host == migration.from_host {
            return Ok(());
        }
        if outcome.protected && !from_copy {
            return Err(format!("it has a protected copy in {KEEPER} and starts without it on {on}"));
        }
        let says = if outcome.protected { "from its protected copy" } else { "with a new disk" };
        if !migration.reason.contains(says) {
            return Err(format!("its migration does not say that it starts {says}: {}", migration.reason));
        }
        let mut named = node.facts().core.failovers.values().flat_map(|failover| &failover.vms);
        let told = named.any(|vm| vm.vm == self.vm && vm.reason.contains("it was moving to"));
        if *broke == Break::SourceLost && !told {
            return Err("the record of the failover does not say that it was moving".to_string());
        }
        Ok(())
    }
}

/// The table of every moment and every break, a line each.
pub fn lines(outcomes: &[Result<Outcome, String>]) -> Vec<String> {
    let mut lines = vec![format!(
        "{:9} {:13} {:9} {:10} {:9} {:>9}  {}",
        "MOMENT", "BROKE", "DISK", "ENDED", "GUEST", "SETTLED", "RUNS ON"
    )];
    for outcome in outcomes {
        lines.push(match outcome {
            Ok(of) => format!(
                "{:9} {:13} {:9} {:10} {:9} {:>6} ms  {}",
                format!("{:?}", of.moment).to_lowercase(),
                format!("{:?}", of.broke).to_lowercase(),
                if of.protected { "protected" } else { "alone" },
                of.ended.name(),
                if of.same_boot { "went on" } else { "rebooted" },
                of.settled_ms,
                of.on
            ),
            Err(violation) => format!("VIOLATION {violation}"),
        });
    }
    lines
}

/// Every moment with every break. What has a protected disk is copied nowhere: it has only the first moment and the last.
pub fn cases() -> Vec<Case> {
    let breaks = |moment, protected| Break::ALL.map(|broke| Case { moment, broke, protected });
    let alone = Moment::ALL.into_iter().flat_map(|moment| breaks(moment, false));
    let protected = [Moment::Asked, Moment::Admitted].into_iter().flat_map(|moment| breaks(moment, true));
    alone.chain(protected).collect()
}

/// Runs all of them.
pub fn all(seed: u64) -> Vec<Result<Outcome, String>> {
    let run = |case: Case| {
        let named = |why| {
            format!("{:?} x {:?}, protected: {}, seed {seed}: {why}", case.moment, case.broke, case.protected)
        };
        run_with(Options::quiet(seed), case).map_err(named)
    };
    cases().into_iter().map(run).collect()
}
