//! Levels and upgrades: which level is in force, and regions that get another program.
//!
//! An upgrade is a record of the federation's group. Whoever leads that group computes its next step from the record and from
//! what the region's node says of itself, so it goes on whoever dies. A node goes over to another program only on the word of
//! that leader, which gives it while every other voter of every group is heard and has what was committed: a group loses no
//! more than one voter to an upgrade.

use dwcp_state::{
    Command, FEDERATION_GROUP, Operation, OperationKind, OperationState, Release, Upgrade, UpgradeStep,
};
use dwcp_types::{Code, GroupId, LEVEL, NodeId, OperationId, Refusal, RegionId, wire_struct};

use super::operations::Progress;
use super::proposals::Purpose;
use super::{Asked, Class, Effect, Level, MeshMessage, Node, Reply};

/// What was proposed or asked for is not again before, ms.
const AGAIN_MS: u64 = 1_500;
/// A program that is not there by then does not come, ms.
const FETCH_MS: u64 = 600_000;
/// A node that has said nothing of its upgrade by then does not, ms.
const SWITCH_MS: u64 = 600_000;
/// Entries that a voter may be behind.
const LAG_MOST: u64 = 64;

/// What a process runs, what it could run, and what became of its last trial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The highest level that it knows; 0: a version before levels.
    pub level: u64,
    /// The level in force as far as it knows.
    pub in_force: u64,
    /// SHA-256 of the program; empty: not known.
    pub sha256: String,
    /// The program is on trial: the one before it comes back unless it becomes well in time.
    pub trial: bool,
    /// SHA-256 of the releases that it has, whole and verified.
    pub has: Vec<String>,
    /// The last upgrade that ended here: which, whether the program stayed, and why not.
    pub ended: Option<(OperationId, (bool, String))>,
    /// Why it does not have a release yet, in its own words.
    pub lacks: String,
}
wire_struct!(Program { 1 level, 2 in_force, 3 sha256, 4 trial, 5 has, 6 ended, 7 lacks });

impl Program {
    /// The program that this code is, when nothing else is known of it.
    pub fn this() -> Program {
        Program { level: LEVEL, ..Program::default() }
    }
}

/// The word to go over to another program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchOrder {
    /// Under which operation.
    pub operation: OperationId,
    /// The version.
    pub version: String,
    /// SHA-256 of the program.
    pub sha256: String,
}
wire_struct!(SwitchOrder { 1 operation, 2 version, 3 sha256 });

/// An upgrade that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// The region.
    pub region: RegionId,
    /// The version it is to have.
    pub version: String,
    /// Only say whether it could be.
    pub dry_run: bool,
}
wire_struct!(UpgradeRequest { 1 region, 2 version, 3 dry_run });

impl Node {
    /// What a node runs, by its own word; none: it says nothing of it, or was not heard for a while.
    pub fn program_of(&self, node: NodeId) -> Option<Program> {
        if node == self.config.me {
            return Some(self.own_program());
        }
        let heard = self.silent_ms(node) < self.config.beat_ms * super::beats::GAP_BEATS;
        self.peers().get(&node).filter(|_| heard)?.beat.as_ref().map(|beat| beat.program.clone())
    }

    pub(super) fn own_program(&self) -> Program {
        Program { in_force: self.facts.core.level, ..self.program.clone() }
    }

    /// Stops when the federation writes what this program can't read: going on would let this replica differ.
    pub(super) fn check_level(&self, in_force: u64) {
        let own = self.config.program.level;
        assert!(in_force <= own, "level {in_force} is in force; this program knows level {own} only");
    }

    /// Brings the highest level into force that every region's program knows. For the leader of the federation's group.
    pub(super) fn raise_level(&mut self) {
        if self.facts.core.running_upgrade().is_some() {
            return;
        }
        let programs: Option<Vec<Program>> = self.regions.keys().map(|node| self.program_of(*node)).collect();
        let Some(programs) = programs.filter(|programs| programs.iter().all(|program| !program.trial)) else {
            return;
        };
        let known = programs.iter().map(|program| program.level).min().unwrap_or(0);
        if known > self.facts.core.level && self.due(format!("raise level {known}"), AGAIN_MS) {
            self.conclude(FEDERATION_GROUP, Command::RaiseLevel(known));
        }
    }

    pub(super) fn publish_release(&mut self, ticket: u64, asked: &Asked, release: Box<Release>) {
        match self.knows_upgrades() {
            Ok(()) => self.ask_federation(ticket, asked, Command::PublishRelease(release)),
            Err(refusal) => self.refuse(ticket, refusal),
        }
    }

    /// Commands about programs are of the first level.
    fn knows_upgrades(&self) -> Result<(), Refusal> {
        if self.facts.core.level > 0 {
            return Ok(());
        }
        let what = "some region's program is of a version that knows no upgrades";
        Err(Refusal::new(Code::UnsupportedVersion, what)
            .then("it comes into force when the last one knows them"))
    }

    pub(super) fn upgrade(&mut self, ticket: u64, asked: &Asked, request: &UpgradeRequest) {
        let (upgrade, node) = match self.planned_upgrade(request) {
            Ok(planned) => planned,
            Err(refusal) => return self.refuse(ticket, refusal),
        };
        // What it runs already is there, whoever may be missing.
        if self.program_of(node).is_some_and(|program| program.sha256 == upgrade.sha256 && !program.trial) {
            return self.reply(ticket, Reply::UpgradePlanned(upgrade));
        }
        if let Err(refusal) = self.may_go(node) {
            return self.refuse(ticket, refusal);
        }
        if request.dry_run {
            return self.reply(ticket, Reply::UpgradePlanned(upgrade));
        }
        let title = format!("upgrade of {} to {}", upgrade.region, upgrade.version);
        let region = upgrade.region.clone();
        let operation = self.operation(asked, OperationKind::Upgrade(Box::new(upgrade)), title, &region);
        let envelope = self.envelope(asked, Command::BeginUpgrade(Box::new(operation)));
        self.propose(FEDERATION_GROUP, envelope, Purpose::Answer(ticket));
    }

    fn planned_upgrade(&self, request: &UpgradeRequest) -> Result<(Upgrade, NodeId), Refusal> {
        self.knows_upgrades()?;
        let core = &self.facts.core;
        let mut upgrade = Upgrade {
            region: request.region.clone(),
            version: request.version.clone(),
            since: self.now.wall,
            ..Upgrade::default()
        };
        core.may_upgrade(&upgrade)?;
        upgrade.sha256.clone_from(&core.releases[&request.version].sha256);
        let node = core.regions[&request.region].number;
        if self.program_of(node).is_none() {
            let what =
                format!("{} has not been heard for {} s", request.region, self.silent_ms(node) / 1_000);
            return Err(Refusal::new(Code::WrongState, what).then("nothing was changed"));
        }
        upgrade.before = match self.peers().get(&node).and_then(|peer| peer.beat.as_ref()) {
            Some(beat) => beat.version.clone(),
            None => self.config.version.clone(),
        };
        Ok((upgrade, node))
    }

    /// Whether every group keeps its quorum, and one voter more, while a node is replaced.
    pub(super) fn may_go(&self, node: NodeId) -> Result<(), Refusal> {
        let mut risks = Vec::new();
        for group in self.all_groups() {
            let Some(status) = self.raft.status(group) else {
                risks.push(format!("the group {group} is not open here"));
                continue;
            };
            if !status.voters.contains(&node) {
                continue;
            }
            for voter in status.voters.iter().filter(|voter| **voter != node) {
                if let Some(why) = self.not_ready(*voter, group) {
                    risks.push(why);
                }
            }
        }
        risks.sort();
        risks.dedup();
        if risks.is_empty() {
            return Ok(());
        }
        let name = self.region_name(node).map_or("?".to_string(), ToString::to_string);
        let mut refusal = Refusal::new(Code::QuorumAtRisk, format!("{name} can't be spared now"));
        for why in risks.into_iter().take(5) {
            refusal = refusal.because(why);
        }
        Err(refusal.then("nothing was changed"))
    }

    /// Why a voter can't be counted on in a group; none when it can.
    fn not_ready(&self, voter: NodeId, group: GroupId) -> Option<String> {
        let name = self.region_name(voter).map_or("?".to_string(), ToString::to_string);
        let applied = if voter == self.config.me {
            self.raft.status(group).map_or(0, |status| status.applied)
        } else {
            let silent_ms = self.silent_ms(voter);
            if silent_ms >= self.config.beat_ms * super::beats::GAP_BEATS {
                return Some(format!("{name} has not been heard for {} s", silent_ms.div_ceil(1_000)));
            }
            let Some(beat) = self.peers().get(&voter).and_then(|peer| peer.beat.as_ref()) else {
                return Some(format!("{name} has said nothing yet"));
            };
            if beat.program.trial {
                return Some(format!("{name} has another program on trial"));
            }
            beat.groups.iter().find(|of| of.group == group).map_or(0, |of| of.applied)
        };
        let commit = self.raft.status(group).map_or(0, |status| status.commit);
        let lag = commit.saturating_sub(applied);
        let title = self.facts.region_of(group).map_or("the federation".to_string(), ToString::to_string);
        (lag > LAG_MOST).then(|| format!("{name} is {lag} entries behind in the group of {title}"))
    }

    /// The next step of the upgrade that is going on. For the leader of the federation's group.
    pub(super) fn run_upgrade(&mut self) {
        let Some((id, upgrade)) = self.facts.core.running_upgrade().map(|(of, up)| (of.id, up.clone()))
        else {
            return;
        };
        let Some(node) = self.facts.core.regions.get(&upgrade.region).map(|region| region.number) else {
            return self.end_upgrade(id, OperationState::Failed, format!("{} has left", upgrade.region));
        };
        let program = self.program_of(node);
        let age_ms = self.now.wall.ms_since(upgrade.since);
        match upgrade.step {
            UpgradeStep::Fetching => {
                let there = program.is_some_and(|program| program.has.contains(&upgrade.sha256));
                if there && self.may_go(node).is_ok() {
                    if self.due(format!("switch {id}"), AGAIN_MS) {
                        self.conclude(FEDERATION_GROUP, Command::SwitchUpgrade(id));
                    }
                } else if age_ms > FETCH_MS {
                    let why = self.upgrade_waits_for(&upgrade).unwrap_or_default();
                    let result =
                        format!("not begun within {} s: {why}; nothing was changed", FETCH_MS / 1_000);
                    self.end_upgrade(id, OperationState::Failed, result);
                }
            }
            UpgradeStep::Switching => self.see_switch(id, &upgrade, node, program, age_ms),
        }
    }

    fn see_switch(
        &mut self,
        id: OperationId,
        upgrade: &Upgrade,
        node: NodeId,
        program: Option<Program>,
        age_ms: u64,
    ) {
        if let Some(program) = program {
            let ended = program.ended.as_ref().filter(|(of, _)| *of == id).map(|(_, end)| end.clone());
            if let Some((false, why)) = ended {
                let result = format!("version {} was rolled back: {why}", upgrade.version);
                return self.end_upgrade(id, OperationState::Failed, result);
            }
            if program.sha256 == upgrade.sha256 {
                if !program.trial {
                    let result = format!("{} runs version {}", upgrade.region, upgrade.version);
                    self.end_upgrade(id, OperationState::Done, result);
                }
                return;
            }
            // Said again until it is on trial, or says what came of it.
            if !program.trial && self.may_go(node).is_ok() && self.due(format!("order {id}"), AGAIN_MS) {
                let order = SwitchOrder {
                    operation: id,
                    version: upgrade.version.clone(),
                    sha256: upgrade.sha256.clone(),
                };
                if node == self.config.me {
                    self.switch_ordered(&order);
                } else {
                    self.send(node, Class::Operations, &MeshMessage::Switch(Box::new(order)));
                }
            }
        }
        if age_ms > SWITCH_MS {
            let silent = self.silent_ms(node) / 1_000;
            let result = format!(
                "no word of {} within {} s (silent for {silent} s); what its node starts next is the program that was good last",
                upgrade.region,
                SWITCH_MS / 1_000
            );
            self.end_upgrade(id, OperationState::Failed, result);
        }
    }

    fn end_upgrade(&mut self, id: OperationId, state: OperationState, result: String) {
        if self.due(format!("end {id}"), AGAIN_MS) {
            self.conclude(FEDERATION_GROUP, Command::EndUpgrade((id, (state, result))));
        }
    }

    /// Somebody who leads the federation's group gives the word. Whether it is this node's turn, its own facts say.
    pub(super) fn switch_ordered(&mut self, order: &SwitchOrder) {
        let core = &self.facts.core;
        let turn = core.running_upgrade().is_some_and(|(operation, upgrade)| {
            operation.id == order.operation
                && upgrade.region == self.config.region
                && upgrade.sha256 == order.sha256
                && upgrade.step == UpgradeStep::Switching
        });
        let ended = self.program.ended.as_ref().is_some_and(|(of, _)| *of == order.operation);
        if !turn || ended || !self.program.has.contains(&order.sha256) {
            return;
        }
        if self.due(format!("go over {}", order.operation), 10_000) {
            self.log("state-manager", Level::Info, format!("goes over to version {}", order.version));
            self.out.push(Effect::Switch(order.clone()));
        }
    }

    /// What this process says of its program from now on. Its level does not change.
    pub(super) fn program_changed(&mut self, program: Program) {
        self.program = Program { level: self.config.program.level, ..program };
    }

    /// Whether this node does its part: it hears a majority and has what is committed in every group.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn is_well(&self) -> Result<(), String> {
        let voters = self.federation_voters();
        let heard = |node: &&NodeId| {
            let silent_ms = self.silent_ms(**node);
            **node == self.config.me || silent_ms < self.config.beat_ms * super::beats::GAP_BEATS
        };
        let count = voters.iter().filter(heard).count();
        if count * 2 <= voters.len() {
            return Err(format!("{count} of {} voters are heard", voters.len()));
        }
        for group in self.all_groups() {
            let title = self.facts.region_of(group).map_or("the federation".to_string(), ToString::to_string);
            let Some(status) = self.raft.status(group) else {
                return Err(format!("the group of {title} is not open"));
            };
            if status.leader.is_none() {
                return Err(format!("the group of {title} has no leader"));
            }
            if !self.is_current(group) {
                return Err(format!("what is committed in the group of {title} is not all here"));
            }
        }
        Ok(())
    }

    pub(super) fn cancel_upgrade(&mut self, ticket: u64, asked: &Asked, id: OperationId) {
        let end = (OperationState::Cancelled, format!("cancelled by {}", asked.by));
        self.ask_federation(ticket, asked, Command::EndUpgrade((id, end)));
    }

    pub(super) fn progress_of_upgrade(&self, operation: &Operation, upgrade: &Upgrade) -> Progress {
        let mut progress = Progress { total: 3, ..Progress::default() };
        if operation.state == OperationState::Running {
            progress.done = usize::from(upgrade.step == UpgradeStep::Switching);
            progress.waiting.extend(self.upgrade_waits_for(upgrade));
        } else if operation.state == OperationState::Done {
            progress.done = 3;
        }
        progress
    }

    /// What an upgrade that is going on waits for, as far as this node knows.
    fn upgrade_waits_for(&self, upgrade: &Upgrade) -> Option<String> {
        let node = self.facts.core.regions.get(&upgrade.region)?.number;
        let Some(program) = self.program_of(node) else {
            let ms = self.silent_ms(node);
            return Some(format!("{} has been silent for {} s", upgrade.region, ms.div_ceil(1_000)));
        };
        if program.sha256 == upgrade.sha256 {
            return Some(format!("version {} is on trial", upgrade.version));
        }
        if !program.has.contains(&upgrade.sha256) {
            let lacks = if program.lacks.is_empty() { "it fetches the program" } else { &program.lacks };
            return Some(format!("{}: {lacks}", upgrade.region));
        }
        self.may_go(node).err().map(|refusal| refusal.to_string())
    }
}
