//! VMs moved by hand: one by one, a region's or a host's all, and home again.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_api::Problem;
use dwcp_api::migration::{
    FailbackRequest, HostDrain, HostDrainRequest, MigrateRequest as ApiRequest, MigrateStart, MovesStarted,
    PlannedMigration, RegionDrain, RegionDrainRequest, RegionFailback,
};
use dwcp_decide::Goes;
use dwcp_roles::node::{DrainStep, MigrateRequest, Request};
use dwcp_state::{Drain, Mode, NewMigration, Standing, Want};
use dwcp_types::{Code, HostId, OperationId, Refusal, RegionId, VmId};

use super::call::{Call, bad_value, reason};
use super::outlook::{self, Worse};
use super::routes::Serve;
use super::{hosts, names, operations};
use crate::handle::View;

/// What a guest may stand still unless something else is asked for, ms.
const DOWNTIME_MS: u64 = 300;
/// How long a drain may take unless something else is asked for, ms.
const DRAIN_MS: u64 = 600_000;
/// How long a region must have been back before its VMs come home, unless something else is asked for, ms.
const STABLE_MS: u64 = 60_000;

/// What is to be done, one request a region that VMs leave.
#[derive(Default)]
pub struct Moves {
    planned: Vec<PlannedMigration>,
    goes: Vec<Goes>,
    requests: Vec<MigrateRequest>,
    notes: Vec<String>,
    /// Why VMs with protected disks stay.
    held: Vec<Refusal>,
}

impl Moves {
    /// What was planned by other means, for VMs of several regions, each with a place.
    pub fn planned(
        view: &View<'_>,
        steps: BTreeMap<RegionId, Vec<DrainStep>>,
        max_downtime_ms: u64,
        notes: Vec<String>,
    ) -> Moves {
        let mut moves = Moves { notes, ..Moves::default() };
        for (from, mut steps) in steps {
            moves.held.extend(view.node.hold_protected(&mut steps, Mode::Live));
            moves.add(view, &from, &steps, request_of(&from, &steps, Mode::Live, max_downtime_ms));
        }
        moves
    }

    /// What VMs of one region are to do, and what is to be asked for it.
    fn add(
        &mut self,
        view: &View<'_>,
        from: &RegionId,
        steps: &[DrainStep],
        request: Option<MigrateRequest>,
    ) {
        self.planned.extend(steps.iter().map(|step| as_planned(view, from, step)));
        self.goes.extend(steps.iter().filter_map(goes));
        self.requests.extend(request);
    }
}

/// What was asked for, or what is usual.
///
/// # Errors
/// When it is out of bounds.
pub fn downtime(asked: Option<u64>) -> Result<u64, Problem> {
    match asked.unwrap_or(DOWNTIME_MS) {
        ms @ 1..=60_000 => Ok(ms),
        _ => Err(bad_value("max_downtime_ms", "1 to 60000 (60 s)")),
    }
}

fn mode(cold: bool) -> Mode {
    if cold { Mode::Cold } else { Mode::Live }
}

fn regions(view: &View<'_>, given: &[String]) -> Result<Vec<RegionId>, Problem> {
    let mut found = Vec::new();
    for name in given {
        let region = names::region(view, name)?.0.id.clone();
        if !found.contains(&region) {
            found.push(region);
        }
    }
    Ok(found)
}

/// Where a VM has moved that no region's facts show here: its old region has let go of it, and what the new one says has not
/// come yet.
fn moved_away(view: &View<'_>, name: &str) -> Option<Problem> {
    let regions = view.node.facts().regions.values();
    let named = |vm: VmId, called: &str| called == name || name.parse() == Ok(vm);
    let newest = regions
        .flat_map(|facts| facts.migrated.iter().map(move |ended| (facts, ended)))
        .filter(|(_, ended)| named(ended.vm, &ended.name))
        .max_by_key(|(_, ended)| (ended.ended_at, ended.generation))?;
    let refusal = newest.0.not_here(newest.1.vm);
    (refusal.code == Code::WrongState).then(|| Problem::from(&refusal))
}

/// The VMs a request names, by the region they live in.
fn named(view: &View<'_>, asked: &ApiRequest) -> Result<BTreeMap<RegionId, BTreeSet<VmId>>, Problem> {
    let mut found: BTreeMap<RegionId, BTreeSet<VmId>> = BTreeMap::new();
    let mut add = |found_vm: names::Found<'_>| {
        found.entry(found_vm.region.clone()).or_default().insert(found_vm.vm.id);
    };
    for name in &asked.vms {
        let vm = names::vm(view, name).map_err(|problem| moved_away(view, name).unwrap_or(problem))?;
        if vm.departure.is_some() {
            let facts = view.node.facts().regions.get(vm.region);
            let refusal = facts.map(|facts| facts.not_here(vm.vm.id));
            return Err(refusal.map_or_else(|| names::unknown_vm(name), |refusal| Problem::from(&refusal)));
        }
        add(vm);
    }
    let label = match &asked.label {
        None => None,
        Some(label) => {
            let pair = label.split_once('=');
            Some(pair.ok_or_else(|| bad_value("label", format!("'{label}' is not key=value")))?)
        }
    };
    if let Some(from) = &asked.from {
        names::region(view, from)?;
    }
    if !asked.vms.is_empty() && (label.is_some() || asked.from.is_some()) {
        return Err(bad_value("vms", "either VMs by name, or a label or a region"));
    }
    if label.is_some() || asked.from.is_some() {
        let there = |vm: &names::Found<'_>| asked.from.as_ref().is_none_or(|from| vm.region.as_str() == from);
        let carries = |vm: &names::Found<'_>| {
            label.is_none_or(|(key, value)| vm.vm.labels.get(key).is_some_and(|v| v == value))
        };
        let all = names::every_vm(view).filter(|vm| vm.departure.is_none() && vm.vm.want != Want::Deleted);
        let all = all.filter(|vm| vm.vm.drill.is_none());
        all.filter(there).filter(carries).for_each(add);
    } else if asked.vms.is_empty() {
        return Err(bad_value("vms", "name VMs, or a label, or a region that they leave"));
    }
    Ok(found)
}

fn as_planned(view: &View<'_>, from: &RegionId, step: &DrainStep) -> PlannedMigration {
    let host = view.node.facts().vm(step.vm).map(|(_, vm)| vm.host.to_string()).unwrap_or_default();
    PlannedMigration {
        vm: step.vm.to_string(),
        name: step.name.clone(),
        from: from.to_string(),
        from_host: host,
        to: step.to.as_ref().map(|(region, _)| region.to_string()),
        to_host: step.to.as_ref().and_then(|(_, host)| host.as_ref().map(ToString::to_string)),
        reason: step.reason.clone(),
    }
}

/// Where a step leads, when it leads anywhere.
fn goes(step: &DrainStep) -> Option<Goes> {
    let (region, host) = step.to.clone()?;
    Some((step.vm, region, host))
}

/// Where VMs of one region go: to another host here when that is the only region named, else elsewhere.
fn steps(
    view: &View<'_>,
    from: &RegionId,
    vms: &BTreeSet<VmId>,
    to: &[RegionId],
    host: Option<&HostId>,
) -> Vec<DrainStep> {
    if to == [from.clone()] || host.is_some() {
        let to = to.first().unwrap_or(from);
        let name = |vm: &VmId| view.node.facts().vm(*vm).map(|(_, vm)| vm.name.clone()).unwrap_or_default();
        return vms
            .iter()
            .map(|vm| DrainStep {
                vm: *vm,
                name: name(vm),
                to: Some((to.clone(), host.cloned())),
                reason: "as asked".to_owned(),
            })
            .collect();
    }
    let elsewhere: Vec<RegionId> = to.iter().filter(|region| *region != from).cloned().collect();
    view.node.move_plan(from, &elsewhere, vms.clone())
}

fn request_of(
    from: &RegionId,
    steps: &[DrainStep],
    mode: Mode,
    max_downtime_ms: u64,
) -> Option<MigrateRequest> {
    let new = |step: &DrainStep| {
        let (to, host) = step.to.clone()?;
        let reason = step.reason.clone();
        Some(NewMigration { vm: step.vm, to, host, mode, max_downtime_ms, reason, ..NewMigration::default() })
    };
    let vms: Vec<NewMigration> = steps.iter().filter_map(new).collect();
    let title = match steps {
        [one] => format!("migrate VM {}", one.name),
        several => format!("migrate {} VMs of {from}", several.len()),
    };
    (!vms.is_empty()).then(|| MigrateRequest { from: from.clone(), vms, title })
}

fn plan(view: &View<'_>, asked: &ApiRequest) -> Result<Moves, Problem> {
    let to = regions(view, &asked.to)?;
    let host = match (&asked.to_host, to.as_slice()) {
        (None, _) => None,
        (Some(host), [_]) => Some(HostId::from(host.as_str())),
        (Some(_), _) => return Err(bad_value("to_host", "needs the one region that the host is in")),
    };
    let max_downtime_ms = downtime(asked.max_downtime_ms)?;
    let mut moves = Moves::default();
    for (from, vms) in named(view, asked)? {
        let mut steps = steps(view, &from, &vms, &to, host.as_ref());
        moves.held.extend(view.node.hold_protected(&mut steps, mode(asked.cold)));
        if !asked.cold {
            view.node.foresee(&from, &mut steps, max_downtime_ms);
        }
        moves.add(view, &from, &steps, request_of(&from, &steps, mode(asked.cold), max_downtime_ms));
    }
    Ok(moves)
}

/// Refuses when nothing has a place, with why.
fn nothing_moves(planned: &[PlannedMigration]) -> Problem {
    let mut refusal = Refusal::new(Code::NothingFits, "no VM can be moved");
    for step in planned.iter().take(5) {
        refusal = refusal.because(format!("{}: {}", step.name, step.reason));
    }
    if planned.is_empty() {
        refusal = refusal.because("no VM fits what was asked for");
    }
    Problem::from(&refusal.try_this("dwcp-cli vm list"))
}

/// Refuses when every VM stays because of its protected disk: as the first does, with why the others do.
fn all_held(first: &Refusal, others: &[Refusal]) -> Problem {
    let mut refusal = first.clone();
    for other in others.iter().take(4) {
        refusal = refusal.because(format!("{}: {}", other.what, other.causes.join("; ")));
    }
    Problem::from(&refusal)
}

/// Begins what was planned, or only tells it.
///
/// # Errors
/// When nothing has a place, or what is begun is refused.
pub async fn carry_out(
    call: &Call,
    moves: Moves,
    why: String,
    dry_run: bool,
) -> Result<MovesStarted, Problem> {
    let Moves { planned, goes, requests, notes, held } = moves;
    if requests.is_empty() && !dry_run {
        return Err(match held.first() {
            Some(refusal) if planned.len() == held.len() => all_held(refusal, &held[1..]),
            _ => nothing_moves(&planned),
        });
    }
    // By the facts as they are before anything moves.
    let worse = outlook::of_moves(call, goes, None).await;
    let mut begun = Vec::new();
    for (number, request) in requests.into_iter().enumerate().filter(|_| !dry_run) {
        let mut asked = call.asked_as(&if number == 0 { String::new() } else { format!("-{number}") });
        asked.reason.clone_from(&why);
        begun.extend(call.change(Request::Migrate(asked, request)).await?.operation);
    }
    answer(call, begun, planned, (&[], worse)).await.map(|started| MovesStarted { notes, ..started })
}

/// Tells what was begun.
///
/// # Errors
/// When the node stops.
pub async fn answer(
    call: &Call,
    begun: Vec<OperationId>,
    planned: Vec<PlannedMigration>,
    (before, worse): (&[OperationId], Worse),
) -> Result<MovesStarted, Problem> {
    let before = before.to_vec();
    let warnings = worse.warnings().await;
    call.look(move |view| {
        let operations = begun.iter().filter_map(|id| {
            let mut operation = operations::show_id(view, *id)?;
            operation.joined = before.contains(id);
            Some(operation)
        });
        MovesStarted {
            operations: operations.collect(),
            left: planned.iter().filter(|step| step.to.is_none()).count() as u64,
            planned,
            warnings,
            notes: Vec::new(),
            as_of: names::as_of(view),
        }
    })
    .await
}

impl Serve for MigrateStart {
    async fn answer(call: &Call, asked: ApiRequest) -> Result<MovesStarted, Problem> {
        let (why, dry_run) = (reason(asked.reason.as_deref())?, asked.dry_run);
        let moves = call.find(move |view| plan(view, &asked)).await?;
        carry_out(call, moves, why, dry_run).await
    }
}

/// Begins a drain, or says what it would do.
async fn drain(
    call: &Call,
    (region, drain): (RegionId, Drain),
    why: String,
    dry_run: bool,
) -> Result<MovesStarted, Problem> {
    let (of, what) = (region.clone(), drain.clone());
    let emptied = Some((region.clone(), drain.host.clone()));
    let (planned, goes, running) = call
        .look(move |view| {
            let steps = view.node.drain_plan(&of, &what, None);
            let goes = steps.iter().filter_map(goes).collect();
            let planned: Vec<_> = steps.iter().map(|step| as_planned(view, &of, step)).collect();
            let facts = view.node.facts().regions.get(&of);
            let running = facts.map(|facts| facts.operations.keys().copied().collect()).unwrap_or_default();
            (planned, goes, running)
        })
        .await?;
    let worse = outlook::of_moves(call, goes, emptied).await;
    if dry_run {
        return answer(call, Vec::new(), planned, (&[], worse)).await;
    }
    let mut asked = call.asked();
    asked.reason = why;
    let receipt = call.change(Request::Drain(asked, region, drain)).await?;
    let running: Vec<OperationId> = running;
    answer(call, receipt.operation.into_iter().collect(), planned, (&running, worse)).await
}

fn drain_time(asked: Option<u64>) -> Result<u64, Problem> {
    match asked.unwrap_or(DRAIN_MS) {
        ms @ 1_000..=604_800_000 => Ok(ms),
        _ => Err(bad_value("timeout_ms", "1000 (1 s) to 604800000 (7 d)")),
    }
}

impl Serve for RegionDrain {
    async fn answer(call: &Call, asked: RegionDrainRequest) -> Result<MovesStarted, Problem> {
        let (why, dry_run) = (reason(asked.reason.as_deref())?, asked.dry_run);
        let what = call
            .find(move |view| {
                let region = names::region(view, &asked.region)?.0.id.clone();
                let to = regions(view, &asked.to)?;
                if to.contains(&region) {
                    return Err(bad_value("to", format!("{region} is the region to empty")));
                }
                let drain = Drain {
                    to,
                    timeout_ms: drain_time(asked.timeout_ms)?,
                    mode: mode(asked.cold),
                    max_downtime_ms: downtime(asked.max_downtime_ms)?,
                    ..Drain::default()
                };
                Ok((region, drain))
            })
            .await?;
        drain(call, what, why, dry_run).await
    }
}

impl Serve for HostDrain {
    async fn answer(call: &Call, asked: HostDrainRequest) -> Result<MovesStarted, Problem> {
        let (why, dry_run) = (reason(asked.reason.as_deref())?, asked.dry_run);
        let what = call
            .find(move |view| {
                let (facts, host) = hosts::find(view, &asked.host)?;
                let drain = Drain {
                    host: Some(host.facts.id.clone()),
                    timeout_ms: drain_time(asked.timeout_ms)?,
                    mode: mode(asked.cold),
                    max_downtime_ms: downtime(asked.max_downtime_ms)?,
                    ..Drain::default()
                };
                Ok((facts.name.clone(), drain))
            })
            .await?;
        drain(call, what, why, dry_run).await
    }
}

/// Refuses to bring VMs home into a region that is not well, or has not been for long.
fn check_home(view: &View<'_>, region: &RegionId, stable_ms: u64) -> Result<(), Problem> {
    let Some(record) = view.node.facts().region(region) else {
        return Err(names::unknown_region(region.as_str()));
    };
    let back_ms = view.now.wall.ms_since(record.standing_since);
    let enable = format!("dwcp-cli federation region enable --region {region}");
    let refusal = if record.standing != Standing::Present || !record.takes_placements() {
        let what = format!("{region} takes no VMs");
        let why = format!(
            "it is {}; placement is {}",
            record.standing,
            if record.placement { "on" } else { "off" }
        );
        Some(Refusal::new(Code::RegionDisabled, what).because(why).try_this(enable))
    } else if record.standing_since.0 > 0 && back_ms < stable_ms {
        let what = format!("{region} has not been back for long enough");
        let why = format!("{} s of the {} s asked for", back_ms / 1_000, stable_ms / 1_000);
        let sooner =
            format!("dwcp-cli federation failback --region {region} --stable-for {}s", back_ms / 1_000);
        Some(Refusal::new(Code::WrongState, what).because(why).try_this(sooner))
    } else {
        None
    };
    refusal.map_or(Ok(()), |refusal| Err(Problem::from(&refusal)))
}

fn home_plan(view: &View<'_>, asked: &FailbackRequest) -> Result<Moves, Problem> {
    let home = names::region(view, &asked.region)?.0.id.clone();
    check_home(view, &home, asked.stable_ms.unwrap_or(STABLE_MS))?;
    let max_downtime_ms = downtime(asked.max_downtime_ms)?;
    let mut away: BTreeMap<RegionId, BTreeSet<VmId>> = BTreeMap::new();
    for (region, vm) in view.node.facts().vms() {
        if vm.home == home && *region != home && vm.want != Want::Deleted && vm.drill.is_none() {
            away.entry(region.clone()).or_default().insert(vm.id);
        }
    }
    let mut moves = Moves::default();
    for (from, vms) in away {
        let mut steps = view.node.move_plan(&from, std::slice::from_ref(&home), vms);
        moves.held.extend(view.node.hold_protected(&mut steps, Mode::Live));
        view.node.foresee(&from, &mut steps, max_downtime_ms);
        let request = request_of(&from, &steps, Mode::Live, max_downtime_ms).map(|mut request| {
            request.title = format!("bring {} VMs home to {home}", request.vms.len());
            for new in &mut request.vms {
                let stopped = view.node.facts().vm(new.vm).is_some_and(|(_, vm)| vm.want == Want::Stopped);
                new.mode = mode(stopped);
            }
            request
        });
        moves.add(view, &from, &steps, request);
    }
    Ok(moves)
}

impl Serve for RegionFailback {
    async fn answer(call: &Call, asked: FailbackRequest) -> Result<MovesStarted, Problem> {
        let (why, dry_run) = (reason(asked.reason.as_deref())?, asked.dry_run);
        let moves = call.find(move |view| home_plan(view, &asked)).await?;
        if moves.planned.is_empty() {
            return answer(call, Vec::new(), Vec::new(), (&[], Worse::nothing())).await;
        }
        carry_out(call, moves, why, dry_run).await
    }
}
