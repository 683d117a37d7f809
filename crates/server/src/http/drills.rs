//! Drills: begun, joined, followed, ended.

use dwcp_api::drill::{
    Drill as ApiDrill, DrillAnswer, DrillList, DrillListRequest, DrillMode as ApiMode,
    DrillMoment as ApiMoment, DrillRead, DrillReadRequest, DrillRequest, DrillRestore, DrillRestoreRequest,
    DrillRpo, DrillStart, DrillState as ApiState, DrillTime as ApiTime, DrillVm as ApiVm,
    DrillVmState as ApiVmState,
};
use dwcp_api::{Page, Problem};
use dwcp_roles::node::Request;
use dwcp_state::{Drill, DrillLoss, DrillMode, DrillMoment, DrillState, DrillVm, DrillVmState};
use dwcp_types::{Code, DrillId, Refusal};

use super::call::{Call, bad_value, reason};
use super::routes::Serve;
use super::{names, page};
use crate::handle::View;

/// A drill ends by itself after, ms.
const MIN_TIME_MS: u64 = 30_000;
const MAX_TIME_MS: u64 = 86_400_000;

impl Serve for DrillStart {
    async fn answer(call: &Call, asked: DrillRequest) -> Result<DrillAnswer, Problem> {
        let why = reason(asked.reason.as_deref())?;
        let limit_ms = match asked.max_time_ms.unwrap_or(Drill::UNATTENDED_MS) {
            ms @ MIN_TIME_MS..=MAX_TIME_MS => ms,
            _ => return Err(bad_value("max_time_ms", "30000 (30 s) to 86400000 (24 h)")),
        };
        let name = asked.region.clone();
        let region = call.find(move |view| Ok(names::region(view, &name)?.0.id.clone())).await?;
        if asked.live && call.api.wan.is_none() {
            let what = format!("no live drill of {region}: its links can't be cut from here");
            let refusal = Refusal::new(Code::OnlyInDevelopment, what)
                .because("`dev: true` and `wan: FILE` are not in this region's dwcpd.yaml")
                .then("by hand: cut the region's links at your routers and watch its failover")
                .try_this(format!("dwcp-cli federation dr-drill simulate-failure --region {region}"))
                .try_this("dwcp-cli federation failover status");
            return Err(Problem::from(&refusal));
        }
        let mode = if asked.live { DrillMode::Live } else { DrillMode::Isolated };
        let receipt =
            call.change(Request::BeginDrill(call.asked_because(why, None), region, mode, limit_ms)).await?;
        answer(call, receipt.drill).await
    }
}

impl Serve for DrillList {
    async fn answer(call: &Call, request: DrillListRequest) -> Result<Page<ApiDrill>, Problem> {
        call.find(move |view| {
            if let Some(region) = &request.region {
                names::region(view, region)?;
            }
            let all = view.node.facts().core.drills.values().rev();
            let found = all
                .filter(|drill| request.region.as_ref().is_none_or(|region| drill.region.as_str() == region))
                .map(|drill| (page::newest_first(drill.id.0, ""), drill))
                .collect();
            let cut: Page<&Drill> =
                page::cut(found, request.limit, request.cursor.as_deref(), names::as_of_federation(view))?;
            Ok(Page {
                items: cut.items.iter().map(|drill| show(drill)).collect(),
                next_cursor: cut.next_cursor,
                as_of: cut.as_of,
            })
        })
        .await
    }
}

impl Serve for DrillRead {
    async fn answer(call: &Call, request: DrillReadRequest) -> Result<DrillAnswer, Problem> {
        answer(call, Some(id(&request.drill)?)).await
    }
}

impl Serve for DrillRestore {
    async fn answer(call: &Call, request: DrillRestoreRequest) -> Result<DrillAnswer, Problem> {
        let why = reason(request.reason.as_deref())?;
        let id = id(&request.drill)?;
        call.change(Request::RestoreDrill(call.asked_because(why, None), id)).await?;
        answer(call, Some(id)).await
    }
}

fn id(text: &str) -> Result<DrillId, Problem> {
    text.parse::<DrillId>().map_err(|_| unknown(text))
}

fn unknown(text: &str) -> Problem {
    let refusal = Refusal::new(Code::UnknownDrill, format!("no drill {text}"));
    Problem::from(&refusal.try_this("dwcp-cli federation dr-drill list"))
}

async fn answer(call: &Call, id: Option<DrillId>) -> Result<DrillAnswer, Problem> {
    call.find(move |view: &View<'_>| {
        let drill = id.and_then(|id| view.node.facts().core.drills.get(&id));
        let drill = drill.ok_or_else(|| unknown(&id.map_or_else(String::new, |id| id.to_string())))?;
        Ok(DrillAnswer { drill: show(drill), as_of: names::as_of_federation(view) })
    })
    .await
}

fn show(drill: &Drill) -> ApiDrill {
    let cut = drill.time(DrillMoment::Cut).unwrap_or(drill.started_at);
    let lost = drill.lost().count() as u64;
    let migrated = drill.verified() as u64;
    let measured = drill.measured_at.is_some() && lost > 0;
    ApiDrill {
        drill: drill.id.to_string(),
        region: drill.region.as_str().to_owned(),
        mode: match drill.mode {
            DrillMode::Isolated => ApiMode::Isolated,
            DrillMode::Live => ApiMode::Live,
        },
        state: match drill.state {
            DrillState::Running => ApiState::Running,
            DrillState::Done => ApiState::Done,
            DrillState::Restored => ApiState::Restored,
            DrillState::Failed => ApiState::Failed,
        },
        by: drill.by.clone(),
        started_at_ms: drill.started_at.0,
        ends_by_ms: drill.ends_at().0,
        measured_at_ms: drill.measured_at.map(|at| at.0),
        ended_at_ms: drill.ended_at.map(|at| at.0),
        restoring: drill.restoring_since.is_some(),
        times: drill
            .times
            .iter()
            .map(|time| ApiTime {
                moment: moment(time.moment),
                at_ms: time.at.0,
                after_ms: time.at.ms_since(cut),
                note: time.note.clone(),
            })
            .collect(),
        vms: drill.vms.iter().map(|vm| show_vm(drill, vm)).collect(),
        left_out: drill.left_out,
        lost,
        migrated,
        success_percent: measured.then(|| (migrated * 100 / lost) as u32),
        rto_ms: drill.rto_ms(),
        rpo: rpo(drill),
        result: drill.result.clone(),
        failover: drill.failover.map(|id| id.to_string()),
    }
}

fn show_vm(drill: &Drill, vm: &DrillVm) -> ApiVm {
    let cut = drill.time(DrillMoment::Cut);
    ApiVm {
        of: vm.of.to_string(),
        vm: vm.vm.to_string(),
        name: vm.name.clone(),
        from_host: (!vm.from_host.as_str().is_empty()).then(|| vm.from_host.as_str().to_owned()),
        to_region: vm.to_region.as_ref().map(|region| region.as_str().to_owned()),
        to_host: vm.to_host.as_ref().map(|host| host.as_str().to_owned()),
        state: match vm.state {
            DrillVmState::Waiting => ApiVmState::Waiting,
            DrillVmState::Ready => ApiVmState::Ready,
            DrillVmState::Lost => ApiVmState::Lost,
            DrillVmState::Moving => ApiVmState::Moving,
            DrillVmState::Verified => ApiVmState::Verified,
            DrillVmState::Left => ApiVmState::Left,
            DrillVmState::Failed => ApiVmState::Failed,
        },
        reason: vm.reason.clone(),
        lost: vm.lost,
        took_ms: vm.answered_at.zip(cut).map(|(at, cut)| at.ms_since(cut)),
        disk: vm.disk,
        records_written: vm.written,
        records_kept: vm.kept,
    }
}

fn moment(moment: DrillMoment) -> ApiMoment {
    match moment {
        DrillMoment::Cut => ApiMoment::Cut,
        DrillMoment::Detected => ApiMoment::Detected,
        DrillMoment::Agreed => ApiMoment::Agreed,
        DrillMoment::Fenced => ApiMoment::Fenced,
        DrillMoment::Planned => ApiMoment::Planned,
        DrillMoment::Restarted => ApiMoment::Restarted,
        DrillMoment::Verified => ApiMoment::Verified,
    }
}

fn rpo(drill: &Drill) -> DrillRpo {
    let disks = drill.lost().filter(|vm| vm.disk).count();
    let (records_lost, evidence) = match drill.loss() {
        DrillLoss::NoDisk => (Some(0), "no disk: nothing to lose".to_owned()),
        DrillLoss::Records(lost) => {
            let written: u64 = drill.lost().filter_map(|vm| vm.written).sum();
            (Some(lost), format!("{lost} of {written} acknowledged records were missing on {disks} disks"))
        }
        DrillLoss::Unknown if drill.measured_at.is_none() => (None, "not measured yet".to_owned()),
        DrillLoss::Unknown => {
            (None, format!("{disks} disks: their records were not counted before and after"))
        }
    };
    DrillRpo { records_lost, evidence }
}
