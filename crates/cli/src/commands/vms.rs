//! VMs: created, changed, asked.

use std::cell::Cell;

use dwcp_api::vm::{
    ConsoleText, PlacementPreview, PlacementReport, VmChangeRequest, VmChanged, VmConsole, VmConsoleRequest,
    VmCreate, VmCreateRequest, VmDelete, VmDeleteRequest, VmExplain, VmHealthCheck, VmHealthCheckRequest,
    VmList, VmListRequest, VmRead, VmReadRequest, VmRestart, VmStart, VmStop,
};
use dwcp_api::vm_spec::{NetworkKind, OnRegionLoss, Policy};
use dwcp_api::{Endpoint, Page};
use dwcp_config::tree;

use super::local::{complained, read_file};
use super::{
    Ended, all_pages, choice, confirmed, dry, follow, operations, protection, read, vms_shown as shown,
};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Document, words};
use crate::typed::{self, HealthCheck, NetworkName, OnLoss, VmCommand, Words};

const STATES: [&str; 10] = [
    "waiting", "starting", "running", "paused", "stopping", "stopped", "moving", "failed", "deleting",
    "unknown",
];

pub fn run(session: &Session, command: &VmCommand) -> Ended {
    match command {
        VmCommand::Create(wanted) => create(session, wanted),
        VmCommand::List { region, host, state, label, tenant, drills, limit } => {
            let request = VmListRequest {
                region: region.clone(),
                host: host.clone(),
                state: choice("--state", state, &STATES)?,
                label: label.clone(),
                tenant: tenant.clone(),
                drills: *drills,
                limit: *limit,
                ..Default::default()
            };
            read(session, || {
                let page = all_pages::<VmList, _>(session, *limit, |cursor| VmListRequest {
                    cursor,
                    ..request.clone()
                })?;
                Ok((shown::list(&page), Exit::Done))
            })
        }
        VmCommand::Show { vm } => read(session, || {
            let answer = session.call::<VmRead>(&VmReadRequest { vm: vm.clone(), watch: false })?;
            Ok((shown::one(&answer.vm).text_block(words::as_of(&answer.as_of)), Exit::Done))
        }),
        VmCommand::Start { vm } => change::<VmStart>(session, vm, false, "start"),
        VmCommand::Stop(stop) => change::<VmStop>(session, &stop.vm, stop.force, "stop"),
        VmCommand::Restart(stop) => change::<VmRestart>(session, &stop.vm, stop.force, "restart"),
        VmCommand::Delete { vm } => delete(session, vm),
        VmCommand::Protect(wanted) => protection::protect(session, wanted),
        VmCommand::Console { vm, offset, follow } => console(session, vm, *offset, *follow),
        VmCommand::Explain { vm } => read(session, || {
            let report = session.call::<VmExplain>(&VmReadRequest { vm: vm.clone(), watch: false })?;
            Ok((shown::placement(&report), Exit::Done))
        }),
        VmCommand::HealthCheck(which) => health_check(session, which),
    }
}

fn list_of(words: &Option<Words>) -> Vec<String> {
    words.clone().unwrap_or_default().0
}

/// What is asked for: by a file, or by flags.
fn request_of(wanted: &typed::VmCreate, dry_run: bool) -> Result<VmCreateRequest, Failure> {
    let mut request = match &wanted.file {
        Some(file) => {
            let (text, what) = (read_file(file)?, "a VM to create");
            tree::read_as::<VmCreateRequest>(&text).map_err(|found| complained(file, what, &found))?
        }
        None => request_of_flags(&wanted.shape),
    };
    if let Some(name) = &wanted.name {
        request.name = name.clone();
    }
    request.dry_run |= dry_run;
    if wanted.explain {
        request.explain = Some(true);
    }
    Ok(request)
}

fn request_of_flags(wanted: &typed::VmShape) -> VmCreateRequest {
    VmCreateRequest {
        count: wanted.count,
        image: wanted.image.clone(),
        vcpus: wanted.vcpus,
        memory_mib: wanted.memory,
        disk_gib: wanted.disk,
        priority: wanted.priority,
        policy: Policy {
            regions_allow: list_of(&wanted.regions),
            regions_deny: list_of(&wanted.not_regions),
            zones: list_of(&wanted.zones),
            host_labels: wanted.host_label.iter().cloned().collect(),
            compliance: list_of(&wanted.compliance),
            residency: list_of(&wanted.residency),
            affinity: wanted.near.clone(),
            anti_affinity: wanted.away_from.clone(),
            max_latency: wanted.max_latency.clone(),
            cost_limit_usd: wanted.cost_limit,
            failover: match wanted.on_region_loss {
                OnLoss::Restart => OnRegionLoss::Restart,
                OnLoss::Stay => OnRegionLoss::Stay,
            },
            tenant: wanted.tenant.clone(),
            project: wanted.project.clone(),
        },
        labels: wanted.label.iter().cloned().collect(),
        network: match wanted.network {
            NetworkName::User => NetworkKind::User,
            NetworkName::Tap => NetworkKind::Tap,
        },
        probe: wanted.probe.clone(),
        protection: protection::wanted(wanted.protection, wanted.protect_in.as_ref(), wanted.on_replica_loss),
        ..Default::default()
    }
}

fn create(session: &Session, wanted: &typed::VmCreate) -> Ended {
    let request = request_of(wanted, session.global.dry_run)?;
    let explained = request.explain == Some(true);
    let created = match session.call::<VmCreate>(&request) {
        Err(refused) if explained && refused.exit == Exit::Refused => {
            let report = session.call::<PlacementPreview>(&request)?;
            session.show(&shown::placement(&report))?;
            return Err(refused);
        }
        created => created?,
    };
    if request.dry_run {
        session.show(&shown::placement(&created.placement).text_block("dry run: nothing was created"))?;
        return Ok(Exit::Done);
    }
    session.warn(&created.warnings);
    operations::finish(session, created.operation.clone(), |ended| {
        let mut vms = created.vms.clone();
        if ended.is_some() {
            // The records have changed since they were accepted.
            for vm in &mut vms {
                let request = VmReadRequest { vm: vm.vm.clone(), watch: false };
                if let Ok(answer) = session.call::<VmRead>(&request) {
                    *vm = answer.vm;
                }
            }
        }
        let list = Page::whole(vms, created.placement.as_of.clone());
        if !explained {
            return Ok(shown::list(&list));
        }
        Ok(shown::created(&list, &created.placement))
    })
}

fn change<E>(session: &Session, vm: &str, force: bool, verb: &str) -> Ended
where
    E: Endpoint<Request = VmChangeRequest, Response = VmChanged>,
{
    let request =
        VmChangeRequest { vm: vm.to_owned(), force, dry_run: session.global.dry_run, ..Default::default() };
    changed(session, session.call::<E>(&request)?, verb)
}

fn delete(session: &Session, vm: &str) -> Ended {
    confirmed(session, &format!("'{vm}' and its disk will be deleted"), &format!("dwcp-cli vm delete {vm}"))?;
    let request =
        VmDeleteRequest { vm: vm.to_owned(), dry_run: session.global.dry_run, ..Default::default() };
    changed(session, session.call::<VmDelete>(&request)?, "delete")
}

fn changed(session: &Session, changed: VmChanged, verb: &str) -> Ended {
    let nothing_to_do = changed.operation.is_none() && !session.global.dry_run;
    operations::finish(session, changed.operation.clone(), |ended| {
        let (name, id) = (&changed.vm.name, &changed.vm.vm);
        let line = match ended {
            Some(operation) => format!("{verb} {name} ({id}): {}", words::name(&operation.state)),
            None if nothing_to_do => format!("{verb} {name} ({id}): nothing to do"),
            None => format!("{verb} {name} ({id}){}", dry(session)),
        };
        let mut value = serde_json::json!({ "vm": changed.vm, "operation": changed.operation });
        if let Some(operation) = ended {
            value["operation"] = serde_json::to_value(operation).unwrap_or_default();
        }
        Ok(Document::bare(&value, line))
    })
}

fn console(session: &Session, vm: &str, offset: Option<i64>, goes_on: bool) -> Ended {
    let mut request = VmConsoleRequest { vm: vm.to_owned(), offset, limit: None, watch: goes_on };
    if !goes_on {
        let piece = session.call::<VmConsole>(&request)?;
        let text = piece.text.strip_suffix('\n').unwrap_or(&piece.text).to_owned();
        session.show(&Document::bare(&piece, text))?;
        return Ok(Exit::Done);
    }
    // A stream ends when its server does; what was shown already is not asked for again.
    let next = Cell::new(request.offset);
    follow::<VmConsole>(
        session,
        || {
            request.offset = next.get();
            request.clone()
        },
        |piece: ConsoleText| {
            next.set(i64::try_from(piece.next_offset).ok());
            crate::print_quietly(&piece.text)
        },
    )
}

/// Asks VMs' probes; healthy only when every one of them says so.
pub fn health_check(session: &Session, which: &HealthCheck) -> Ended {
    if which.all == Some(false) {
        return Err(
            Failure::usage("--all false asks no VM").suggest("dwcp-cli vm health-check --region REGION")
        );
    }
    let request =
        VmHealthCheckRequest { vms: list_of(&which.vm), region: which.region.clone(), timeout_ms: None };
    read(session, || {
        let report = session.call::<VmHealthCheck>(&request)?;
        let exit = if report.unhealthy + report.unknown > 0 { Exit::Failed } else { Exit::Done };
        Ok((shown::health(&report), exit))
    })
}

/// Whether a report found a place.
pub fn placed(report: &PlacementReport) -> bool {
    !report.chosen.is_empty() && report.reasons.is_empty()
}
