//! Replicas compared, stores read back, replicas rebuilt.

use dwcp_api::Problem;
use dwcp_api::operation::{Operation as ApiOperation, OperationState as ApiState, Step, StepState};
use dwcp_api::state::{
    GroupSync, LeftOut, RebuildStep as ApiStep, RecordDifference, RegionSync, StoreFlaw, StoreVerdict,
    SyncForce, SyncForceRequest, SyncForced, SyncState, SyncVerdict, SyncVerify, SyncVerifyRequest,
};
use dwcp_roles::node::{
    Difference, GroupVerdict, PlannedStep, RegionVerdict, Reply, Request, StoreCheck, VerifyReport,
};
use dwcp_state::{FEDERATION_GROUP, ForceSync, RebuildState, RebuildStep};
use dwcp_types::{GroupId, NodeId, RegionId};

use super::call::{Call, bad_value, reason, unexpected};
use super::routes::Serve;
use super::{names, operations};
use crate::handle::View;

/// What a group is called.
fn group_name(view: &View<'_>, group: GroupId) -> String {
    match group {
        FEDERATION_GROUP => "federation".to_owned(),
        region => node_name(view, region),
    }
}

fn node_name(view: &View<'_>, node: NodeId) -> String {
    view.node.region_name(node).map_or_else(|| format!("node {node}"), |region| region.as_str().to_owned())
}

fn store(view: &View<'_>, check: &StoreCheck) -> StoreVerdict {
    let flaw = |(group, what): &(Option<GroupId>, String)| StoreFlaw {
        group: group.map(|group| group_name(view, group)),
        what: what.clone(),
    };
    StoreVerdict {
        flaws: check.flaws.iter().map(flaw).collect(),
        unread: Some(check.unread.clone()).filter(|why| !why.is_empty()),
        records: check.records,
        bytes: check.bytes,
        file_bytes: check.file_bytes,
        took_ms: check.took_ms,
        held_us: check.held_us,
        longest_commit_us: check.longest_commit_us,
    }
}

fn state_of(verdict: &RegionVerdict, of_groups: u64) -> SyncState {
    let damaged = verdict.store.iter().any(|check| !check.flaws.is_empty());
    let read = !verdict.store_wanted || verdict.store.iter().any(|check| check.unread.is_empty());
    if !verdict.differs.is_empty() {
        SyncState::Differs
    } else if damaged {
        SyncState::Damaged
    } else if verdict.silent_ms > 0 {
        SyncState::Unreachable
    } else if verdict.groups < of_groups || !read {
        SyncState::Unverified
    } else {
        SyncState::Equal
    }
}

fn region(view: &View<'_>, verdict: &RegionVerdict, of_groups: u64) -> RegionSync {
    let group = |group: &GroupId| group_name(view, *group);
    RegionSync {
        region: verdict.region.as_str().to_owned(),
        state: state_of(verdict, of_groups),
        silent_ms: (verdict.silent_ms > 0).then_some(verdict.silent_ms),
        groups: verdict.groups,
        of_groups,
        records: (verdict.groups > 0).then_some(verdict.records),
        digest: (verdict.groups > 0).then(|| verdict.digest.to_string()),
        differs: verdict.differs.iter().map(group).collect(),
        left_out: verdict
            .left_out
            .iter()
            .map(|(of, why)| LeftOut { group: group(of), why: why.clone() })
            .collect(),
        store: verdict.store.as_ref().map(|check| store(view, check)),
    }
}

fn difference(view: &View<'_>, found: &Difference) -> RecordDifference {
    let named = |nodes: &[NodeId]| nodes.iter().map(|node| node_name(view, *node)).collect();
    RecordDifference {
        kind: found.kind.clone(),
        record: found.record.clone(),
        regions: named(&found.at),
        missing: named(&found.missing),
    }
}

fn group(view: &View<'_>, verdict: &GroupVerdict, only: Option<NodeId>) -> GroupSync {
    let concerns = |found: &&Difference| only.is_none_or(|node| found.at.contains(&node));
    GroupSync {
        group: group_name(view, verdict.group),
        index: (verdict.index > 0).then_some(verdict.index),
        compared: verdict.compared,
        digest: verdict.majority.map(|digest| digest.to_string()),
        differences: verdict
            .differences
            .iter()
            .filter(concerns)
            .map(|found| difference(view, found))
            .collect(),
        more: verdict.more,
    }
}

fn shown(view: &View<'_>, report: &VerifyReport, only: Option<NodeId>) -> SyncVerdict {
    let of_groups = report.groups.len() as u64;
    let regions: Vec<RegionSync> = report.regions.iter().map(|of| region(view, of, of_groups)).collect();
    let worst = [SyncState::Damaged, SyncState::Differs, SyncState::Unreachable, SyncState::Unverified];
    let found = worst.into_iter().find(|state| regions.iter().any(|region| region.state == *state));
    SyncVerdict {
        state: found.unwrap_or(SyncState::Equal),
        regions,
        groups: report.groups.iter().map(|of| group(view, of, only)).collect(),
        took_ms: report.took_ms,
        as_of: names::as_of(view),
    }
}

impl Serve for SyncVerify {
    async fn answer(call: &Call, request: SyncVerifyRequest) -> Result<SyncVerdict, Problem> {
        if request.timeout_ms.is_some_and(|ms| !(1_000..=3_600_000).contains(&ms)) {
            return Err(bad_value("timeout_ms", "1000 to 3600000"));
        }
        let wanted = request.region.clone();
        let only = call
            .find(move |view| {
                wanted.map(|name| names::region(view, &name).map(|(_, facts)| facts.number)).transpose()
            })
            .await?;
        let region = request.region.as_deref().map(RegionId::from);
        let report = match call.ask(Request::VerifySync(region, request.timeout_ms.unwrap_or(0))).await? {
            Reply::Verified(report) => report,
            other => return Err(unexpected(&other)),
        };
        call.look(move |view| shown(view, &report, only)).await
    }
}

fn planned(view: &View<'_>, step: &PlannedStep) -> ApiStep {
    ApiStep {
        region: step.target.as_str().to_owned(),
        group: step.group.map(|group| group_name(view, group)),
        bytes: step.bytes,
        entries: step.entries,
        votes: step.votes,
        voters_left: step.left.0,
        voters_needed: step.left.1,
        differs: step.differs,
    }
}

impl Serve for SyncForce {
    async fn answer(call: &Call, request: SyncForceRequest) -> Result<SyncForced, Problem> {
        let why = reason(request.reason.as_deref())?;
        let targets: &[String] = if request.targets == ["all"] { &[] } else { &request.targets };
        let targets: Vec<RegionId> = targets.iter().map(|name| RegionId::from(name.as_str())).collect();
        let source = RegionId::from(request.source.as_str());
        let joined = call.look(|view| view.node.facts().core.running_sync().is_some()).await?;
        let asked = call.asked_because(why, None);
        let wanted = Request::ForceSync(asked, source, targets, request.dry_run);
        match call.ask(wanted).await? {
            Reply::SyncPlanned(steps) => {
                call.look(move |view| SyncForced {
                    operation: None,
                    steps: steps.iter().map(|step| planned(view, step)).collect(),
                    as_of: names::as_of(view),
                })
                .await
            }
            Reply::Done(_, receipt) => {
                call.look(move |view| {
                    let shown = receipt.operation.and_then(|id| operations::show_id(view, id));
                    let operation = shown.map(|shown| ApiOperation { joined, ..shown });
                    SyncForced { operation, steps: Vec::new(), as_of: names::as_of(view) }
                })
                .await
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// The steps of a rebuild, for whoever follows its operation.
pub fn steps(view: &View<'_>, sync: &ForceSync, state: ApiState) -> Vec<Step> {
    let step = |step: &RebuildStep| {
        let what = match step.group {
            None => format!("{}: store file", step.target),
            Some(group) => format!("{}: {}", step.target, group_name(view, group)),
        };
        let counted = match (step.state, step.group) {
            (RebuildState::Equal, None) => format!("{} bytes, {} records; ", step.bytes, step.entries),
            (RebuildState::Equal, _) => format!("{} bytes, {} entries; ", step.bytes, step.entries),
            _ => String::new(),
        };
        Step {
            name: what,
            state: match step.state {
                RebuildState::Equal => StepState::Done,
                RebuildState::Failed => StepState::Failed,
                _ if state.ended() => StepState::Skipped,
                RebuildState::Running => StepState::Running,
                RebuildState::Waiting => StepState::Waiting,
            },
            done: u64::from(step.state == RebuildState::Equal),
            total: Some(1),
            note: format!("{counted}{}", step.note),
            took_ms: None,
        }
    };
    sync.steps.iter().map(step).collect()
}
