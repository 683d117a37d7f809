//! Rebuilds regions' replicas from another region's: asked for, judged, driven by whoever leads the federation's group.
//!
//! One step at a time: of each target first its store file, then its replica of each group. Before a step the group is verified:
//! the source must have what the majority has, and every other voter must be there and whole, so that the group loses no
//! more than one voter to the step. After it the target must be equal to the source. The next step follows from the record, so a
//! leader that comes begins the open step again.

use std::collections::BTreeMap;

use dwcp_state::{
    Command, FEDERATION_GROUP, ForceSync, Operation, OperationKind, OperationState, RebuildState, RebuildStep,
};
use dwcp_types::{Code, GroupId, Mono, NodeId, OperationId, Refusal, RegionId};

use super::operations::Progress;
use super::proposals::Purpose;
use super::verify::{GroupVerdict, Scope, VerifyReport};
use super::wire::{RebuildAsk, RebuildProgress, RebuildTell};
use super::{Asked, Class, MeshMessage, Node, Reply};

/// A target is asked again after this long, ms.
const AGAIN_MS: u64 = 500;
/// A step that takes longer has failed, ms.
const STEP_MS: u64 = 180_000;

/// One step as it would be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedStep {
    /// The region that is rebuilt.
    pub target: RegionId,
    /// The group; none: its store file.
    pub group: Option<GroupId>,
    /// Bytes of the snapshot; of the file: of all of them.
    pub bytes: u64,
    /// Entries of the log that come behind it.
    pub entries: u64,
    /// Its replica votes.
    pub votes: bool,
    /// Voters of the group that are left while it is rebuilt, and how many must be.
    pub left: (u64, u64),
    /// It differs from the source now.
    pub differs: bool,
}

/// A request that waits for the verification before it.
pub(super) struct SyncRequest {
    verify: u64,
    ticket: u64,
    asked: Asked,
    sync: ForceSync,
    dry_run: bool,
}

#[derive(Debug)]
enum Stage {
    Before(u64),
    Asking { asked: Option<Mono> },
    After { verify: u64, bytes: u64, entries: u64 },
}

/// The step that this leader is at.
#[derive(Debug)]
pub(super) struct Driving {
    operation: OperationId,
    target: RegionId,
    group: Option<GroupId>,
    began: Mono,
    stage: Stage,
    /// What the target gets may come from these.
    from: Vec<NodeId>,
    /// Why it does not go on now.
    waits: String,
}

#[derive(Default)]
pub(super) struct Syncs {
    requests: Vec<SyncRequest>,
    driving: Option<Driving>,
    /// What this node asks of itself, to be done when its step is noted.
    asked_here: Vec<RebuildAsk>,
}

impl Node {
    pub(super) fn force_sync(
        &mut self,
        ticket: u64,
        asked: Asked,
        source: &RegionId,
        targets: &[RegionId],
        dry_run: bool,
    ) {
        let mut named = std::iter::once(source).chain(targets);
        if let Some(unknown) = named.find(|region| self.facts.region(region).is_none()) {
            return self.refuse(ticket, super::requests::unknown_region(unknown));
        }
        let others = self.regions.values().filter(|region| *region != source);
        let mut wanted: Vec<RegionId> =
            if targets.is_empty() { others.cloned().collect() } else { targets.to_vec() };
        wanted.sort();
        wanted.dedup();
        if wanted.contains(source) || wanted.is_empty() {
            let what = format!("{source} can't be rebuilt from itself");
            let refusal = Refusal::new(Code::BadValue, what).because("it is the source and a target");
            return self.refuse(ticket, refusal);
        }
        let sync = ForceSync::new(source.clone(), wanted, &self.all_groups());
        let joins = self.facts.core.running_sync().is_some();
        if joins && !dry_run {
            return self.propose_sync(ticket, &asked, sync);
        }
        let node = self.facts.group_of(source).unwrap_or(0);
        let scope = Scope { groups: self.all_groups(), stores: [node].into(), ..Scope::default() };
        let verify = self.begin_verify(scope, None);
        self.syncs.requests.push(SyncRequest { verify, ticket, asked, sync, dry_run });
    }

    fn propose_sync(&mut self, ticket: u64, asked: &Asked, sync: ForceSync) {
        let targets: Vec<&str> = sync.targets.iter().map(RegionId::as_str).collect();
        let title = format!("rebuild of {} from {}", targets.join(", "), sync.source);
        let source = sync.source.clone();
        let operation = self.operation(asked, OperationKind::ForceSync(Box::new(sync)), title, &source);
        let envelope = self.envelope(asked, Command::BeginSync(Box::new(operation)));
        self.propose(FEDERATION_GROUP, envelope, Purpose::Answer(ticket));
    }

    /// Requests whose verification is there are refused, planned or begun.
    pub(super) fn run_sync_requests(&mut self) {
        for request in std::mem::take(&mut self.syncs.requests) {
            let Some(report) = self.verified(request.verify) else {
                self.syncs.requests.push(request);
                continue;
            };
            match self.may_begin(&request.sync, &report) {
                Err(refusal) => self.refuse(request.ticket, refusal),
                Ok(()) if request.dry_run => {
                    let plan = self.planned(&request.sync, &report);
                    self.reply(request.ticket, Reply::SyncPlanned(plan));
                }
                Ok(()) => self.propose_sync(request.ticket, &request.asked, request.sync),
            }
        }
    }

    fn number_of(&self, region: &RegionId) -> NodeId {
        self.facts.group_of(region).unwrap_or(0)
    }

    /// What a group is called: of a region, or of the federation.
    fn title_of(&self, group: GroupId) -> String {
        self.facts.region_of(group).map_or("the federation".to_string(), ToString::to_string)
    }

    fn voters_of(&self, group: GroupId) -> Vec<NodeId> {
        self.raft.status(group).map(|status| status.voters).unwrap_or_default()
    }

    fn may_begin(&self, sync: &ForceSync, report: &VerifyReport) -> Result<(), Refusal> {
        let source = &sync.source;
        let refused = |what: String| Refusal::new(Code::WrongState, what).then("nothing was changed");
        let verdict = |region: &RegionId| report.regions.iter().find(|of| of.region == *region);
        let Some(found) = verdict(source) else { return Err(refused(format!("{source} was not looked at"))) };
        if found.silent_ms > 0 {
            let what = format!("{source} is no source: it has been silent for {} s", found.silent_ms / 1_000);
            return Err(refused(what));
        }
        let unread = format!("{source} is no source: its store could not be read back");
        let Some(check) = &found.store else { return Err(refused(unread).because("no answer in time")) };
        if let Some((_, flaw)) = check.flaws.first() {
            let what = format!("{source} is no source: its own store is damaged");
            return Err(refused(what).because(flaw.clone()));
        }
        if !check.is_whole() {
            return Err(refused(unread).because(check.unread.clone()));
        }
        for target in &sync.targets {
            if let Some(away) = verdict(target).filter(|of| of.silent_ms > 0) {
                let what =
                    format!("{target} can't be rebuilt: it has been silent for {} s", away.silent_ms / 1_000);
                return Err(refused(what));
            }
        }
        for group in &report.groups {
            self.source_serves(source, group).map_err(refused)?;
            for target in &sync.targets {
                self.keeps_quorum(target, group).map_err(refused)?;
            }
        }
        Ok(())
    }

    /// The source must have what the majority has.
    fn source_serves(&self, source: &RegionId, group: &GroupVerdict) -> Result<(), String> {
        let root = group.roots.get(&self.number_of(source));
        let title = self.title_of(group.group);
        match (root, group.majority) {
            (None, _) => Err(format!(
                "{source} is no source: its replica of the group of {title} is away, behind or being repaired"
            )),
            (_, None) => Err(format!("the group of {title} has no majority of equal replicas")),
            (Some(root), Some(majority)) if *root != majority => Err(format!(
                "{source} is no source: its replica of the group of {title} ({}) differs from the majority's ({})",
                root.short(),
                majority.short()
            )),
            _ => Ok(()),
        }
    }

    /// While a voter is rebuilt, every other one must be there and whole.
    fn keeps_quorum(&self, target: &RegionId, group: &GroupVerdict) -> Result<(), String> {
        let voters = self.voters_of(group.group);
        let target = self.number_of(target);
        if !voters.contains(&target) {
            return Ok(());
        }
        let name = |node: &NodeId| self.region_name(*node).map_or("?".to_string(), ToString::to_string);
        let away: Vec<String> = voters
            .iter()
            .filter(|node| **node != target && !group.roots.contains_key(node))
            .map(name)
            .collect();
        if away.is_empty() {
            return Ok(());
        }
        let (left, needed) = (voters.len() - 1 - away.len(), voters.len() / 2 + 1);
        Err(format!(
            "rebuilding {} would put the quorum of the group of {} at risk: {} away or damaged, so {left} of {} voters \
             would be left, and {needed} must be",
            name(&target),
            self.title_of(group.group),
            away.join(", "),
            voters.len(),
        ))
    }

    fn planned(&self, sync: &ForceSync, report: &VerifyReport) -> Vec<PlannedStep> {
        let sizes: BTreeMap<GroupId, (u64, u64)> = self
            .all_groups()
            .into_iter()
            .map(|group| {
                let status = self.raft.status(group).unwrap_or_default();
                let entries = status.last.saturating_sub(status.snapshot);
                (group, (self.facts.snapshot(group).len() as u64, entries))
            })
            .collect();
        let plan = |step: &RebuildStep| {
            let target = self.number_of(&step.target);
            let mut planned =
                PlannedStep { target: step.target.clone(), group: step.group, ..PlannedStep::default() };
            let Some(group) = step.group else {
                planned.bytes = sizes.values().map(|(bytes, _)| bytes).sum();
                planned.entries = sizes.values().map(|(_, entries)| entries).sum();
                return planned;
            };
            let voters = self.voters_of(group);
            planned.votes = voters.contains(&target);
            let left = voters.len() - usize::from(planned.votes);
            planned.left = (left as u64, voters.len() as u64 / 2 + 1);
            (planned.bytes, planned.entries) = sizes.get(&group).copied().unwrap_or_default();
            let found = report.groups.iter().find(|of| of.group == group);
            planned.differs = found.is_some_and(|of| of.roots.get(&target).copied() != of.majority);
            planned
        };
        sync.steps.iter().map(plan).collect()
    }

    /// Another node leads now, and drives what goes on from its beginning.
    pub(super) fn stop_driving_syncs(&mut self) {
        self.syncs.driving = None;
        self.syncs.asked_here.clear();
    }

    /// The next step of the rebuild that is going on. For the leader of the federation's group.
    pub(super) fn run_syncs(&mut self) {
        let Some((operation, sync)) =
            self.facts.core.running_sync().map(|(operation, sync)| (operation.id, sync.clone()))
        else {
            self.syncs.driving = None;
            return;
        };
        let Some(step) = sync.next().cloned() else {
            self.end_sync(operation, &sync);
            return;
        };
        let same =
            |of: &Driving| (of.operation, &of.target, of.group) == (operation, &step.target, step.group);
        let driving = match self.syncs.driving.take().filter(same) {
            Some(driving) => driving,
            None => self.begin_step(operation, &step),
        };
        let driving = self.drive_step(driving, &sync, &step);
        self.syncs.driving = Some(driving);
    }

    fn end_sync(&mut self, operation: OperationId, sync: &ForceSync) {
        let done = sync.steps.iter().filter(|step| step.state == RebuildState::Equal).count();
        let failed = sync.steps.iter().find(|step| step.state == RebuildState::Failed);
        let bytes: u64 = sync.steps.iter().filter(|step| step.group.is_some()).map(|step| step.bytes).sum();
        let (state, text) = match failed {
            None => (
                OperationState::Done,
                format!(
                    "{} regions are equal to {}; {bytes} bytes of snapshots",
                    sync.targets.len(),
                    sync.source
                ),
            ),
            Some(step) => {
                let state = if done > 0 { OperationState::Partial } else { OperationState::Failed };
                (state, format!("{done} of {} steps done; {}: {}", sync.steps.len(), step.target, step.note))
            }
        };
        if self.due(format!("end {operation}"), 1_500) {
            self.conclude(FEDERATION_GROUP, Command::EndSync((operation, (state, text))));
        }
    }

    fn begin_step(&mut self, operation: OperationId, step: &RebuildStep) -> Driving {
        let verify = self.verify_of(step.group);
        Driving {
            operation,
            target: step.target.clone(),
            group: step.group,
            began: self.now.mono,
            stage: Stage::Before(verify),
            from: Vec::new(),
            waits: String::new(),
        }
    }

    fn verify_of(&mut self, group: Option<GroupId>) -> u64 {
        let groups = group.map_or_else(|| vec![FEDERATION_GROUP], |group| vec![group]);
        self.begin_verify(Scope { groups, ..Scope::default() }, None)
    }

    fn drive_step(&mut self, mut driving: Driving, sync: &ForceSync, step: &RebuildStep) -> Driving {
        if self.now.mono.ms_since(driving.began) > STEP_MS {
            let why = format!("no end within {} s: {}", STEP_MS / 1_000, driving.waits);
            self.note_step(&driving, RebuildState::Failed, (step.bytes, step.entries), why);
            return driving;
        }
        driving.stage = match driving.stage {
            Stage::Before(verify) => match self.verified(verify) {
                None => Stage::Before(verify),
                Some(report) => match self.may_go_on(sync, &driving, &report) {
                    Ok(from) => {
                        driving.from = from;
                        Stage::Asking { asked: None }
                    }
                    Err(why) => {
                        driving.waits = why;
                        Stage::Before(self.verify_of(driving.group))
                    }
                },
            },
            Stage::Asking { asked } => {
                if asked.is_some_and(|asked| self.now.mono < asked.plus_ms(AGAIN_MS)) {
                    Stage::Asking { asked }
                } else {
                    self.ask_rebuild(&driving, step);
                    Stage::Asking { asked: Some(self.now.mono) }
                }
            }
            Stage::After { verify, bytes, entries } => match self.verified(verify) {
                None => Stage::After { verify, bytes, entries },
                Some(report) => self.judge_after(&mut driving, sync, &report, (bytes, entries)),
            },
        };
        driving
    }

    /// The nodes that what the target gets may come from: voters that have what the majority has, the source first.
    fn may_go_on(
        &self,
        sync: &ForceSync,
        driving: &Driving,
        report: &VerifyReport,
    ) -> Result<Vec<NodeId>, String> {
        let Some(group) = report.groups.first() else { return Err("nothing was verified".to_string()) };
        if driving.group.is_none() {
            return Ok(Vec::new());
        }
        self.source_serves(&sync.source, group)?;
        self.keeps_quorum(&driving.target, group)?;
        let (source, target) = (self.number_of(&sync.source), self.number_of(&driving.target));
        let sound = |node: &NodeId| *node != target && group.roots.get(node).copied() == group.majority;
        let mut from: Vec<NodeId> = self.voters_of(group.group).into_iter().filter(sound).collect();
        from.sort_by_key(|node| *node != source);
        if from.is_empty() { Err("no voter has what the majority has".to_string()) } else { Ok(from) }
    }

    fn ask_rebuild(&mut self, driving: &Driving, step: &RebuildStep) {
        if step.state == RebuildState::Waiting {
            self.note_step(driving, RebuildState::Running, (0, 0), String::new());
        }
        let ask =
            RebuildAsk { operation: driving.operation, group: driving.group, from: driving.from.clone() };
        let target = self.number_of(&driving.target);
        if target == self.config.me {
            // The answer finds what is asked about only when this step is noted.
            self.syncs.asked_here.push(ask);
        } else {
            self.send(target, Class::Operations, &MeshMessage::RebuildAsk(ask));
        }
    }

    /// What this node asks of itself.
    pub(super) fn rebuild_here(&mut self) {
        for ask in std::mem::take(&mut self.syncs.asked_here) {
            self.rebuild_asked(self.config.me, &ask);
        }
    }

    pub(super) fn rebuild_told(&mut self, from: NodeId, tell: RebuildTell) {
        let Some(mut driving) = self.syncs.driving.take() else { return };
        let asking = matches!(driving.stage, Stage::Asking { .. });
        let fits = (tell.operation, tell.group) == (driving.operation, driving.group)
            && from == self.number_of(&driving.target);
        if asking && fits {
            match tell.progress {
                RebuildProgress::Working(what) => driving.waits = what,
                RebuildProgress::Failed(why) => self.note_step(&driving, RebuildState::Failed, (0, 0), why),
                RebuildProgress::Whole((bytes, entries)) if driving.group.is_none() => {
                    let note = "every record matches its checksum".to_string();
                    self.note_step(&driving, RebuildState::Equal, (bytes, entries), note);
                }
                RebuildProgress::Whole((bytes, entries)) => {
                    let verify = self.verify_of(driving.group);
                    driving.stage = Stage::After { verify, bytes, entries };
                }
            }
        }
        self.syncs.driving = Some(driving);
    }

    fn judge_after(
        &mut self,
        driving: &mut Driving,
        sync: &ForceSync,
        report: &VerifyReport,
        (bytes, entries): (u64, u64),
    ) -> Stage {
        let verdict = report.groups.first();
        let root = |region: &RegionId| verdict.and_then(|of| of.roots.get(&self.number_of(region)).copied());
        match (root(&sync.source), root(&driving.target)) {
            (Some(source), Some(target)) if source == target => {
                let note = format!("digest {}", source.short());
                self.note_step(driving, RebuildState::Equal, (bytes, entries), note);
            }
            (Some(source), Some(target)) => {
                let why = format!("{} there, {} at the source", target.short(), source.short());
                self.note_step(driving, RebuildState::Failed, (bytes, entries), why);
            }
            _ => driving.waits = "it is rebuilt, and could not be compared yet".to_string(),
        }
        // Asked again when what is noted here is not taken.
        Stage::After { verify: self.verify_of(driving.group), bytes, entries }
    }

    fn note_step(&mut self, driving: &Driving, state: RebuildState, sizes: (u64, u64), note: String) {
        let step = RebuildStep {
            target: driving.target.clone(),
            group: driving.group,
            state,
            bytes: sizes.0,
            entries: sizes.1,
            note,
        };
        self.conclude(FEDERATION_GROUP, Command::NoteSync((driving.operation, step)));
    }

    pub(super) fn cancel_sync(&mut self, ticket: u64, asked: &Asked, operation: &Operation) {
        let end = (OperationState::Cancelled, format!("cancelled by {}", asked.by));
        self.ask_federation(ticket, asked, Command::EndSync((operation.id, end)));
    }

    pub(super) fn progress_of_sync(&self, operation: &Operation, sync: &ForceSync) -> Progress {
        let equal = |step: &&RebuildStep| step.state == RebuildState::Equal;
        let mut progress = Progress { total: sync.steps.len(), ..Progress::default() };
        progress.done = sync.steps.iter().filter(equal).count();
        progress.waiting.extend(self.sync_waits_for(operation.id).map(str::to_string));
        progress
    }

    /// What a rebuild that is going on waits for, as far as this node knows.
    fn sync_waits_for(&self, operation: OperationId) -> Option<&str> {
        let driving = self.syncs.driving.as_ref().filter(|driving| driving.operation == operation)?;
        Some(driving.waits.as_str()).filter(|waits| !waits.is_empty())
    }
}
