//! Creating VMs, and where they would go.

use std::sync::Arc;
use std::time::Instant;

use dwcp_api::Problem;
use dwcp_api::vm::{
    PlacementPreview, PlacementReport, VmCreate, VmCreateRequest, VmCreated, VmExplain, VmReadRequest,
};
use dwcp_decide::{PlaceReport, Placement};
use dwcp_roles::node::{CreateVm, Reply, Request};
use dwcp_types::{Refusal, VmId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::call::{Call, stopping, unexpected};
use super::routes::Serve;
use super::{names, operations, outlook, placement, vm_record, vm_rules};

/// Creations of one request that are under way at once.
const AT_ONCE: usize = 64;

/// What became of one VM.
struct Placed {
    created: Option<VmId>,
    operation: Option<dwcp_types::OperationId>,
    placement: Option<Placement>,
    report: PlaceReport,
    refusal: Option<Refusal>,
}

async fn place(call: &Call, part: &str, create: CreateVm) -> Placed {
    let nowhere = |refusal: Refusal| Placed {
        created: None,
        operation: None,
        placement: None,
        report: PlaceReport::default(),
        refusal: Some(refusal),
    };
    match call.api.node.ask(Request::CreateVm(call.asked_as(part), Box::new(create))).await {
        Reply::Placed { created, placement, report, refusal } => {
            let (created, operation) =
                created.map_or((None, None), |(vm, _, receipt)| (Some(vm), receipt.operation));
            Placed { created, operation, placement, report: *report, refusal }
        }
        Reply::Refused(refusal) => nowhere(refusal),
        other => nowhere(Refusal::new(dwcp_types::Code::NotReady, unexpected(&other).title)),
    }
}

impl Serve for VmCreate {
    async fn answer(call: &Call, request: VmCreateRequest) -> Result<VmCreated, Problem> {
        let began = Instant::now();
        let asked = request.clone();
        let create = call.find(move |view| vm_rules::template(view, &asked)).await?;
        let count = vm_rules::count(&request)?;
        let placed = place_all(call, &request, &create, count).await?;
        let took_us = request.dry_run.then(|| began.elapsed().as_micros() as u64);
        let first_refusal = placed.iter().find_map(|(_, placed)| placed.refusal.clone());
        if let (Some(refusal), false) = (&first_refusal, placed.iter().any(|(_, p)| p.placement.is_some())) {
            return Err(Problem::from(refusal));
        }
        let made = placed.iter().filter_map(|(_, placed)| placed.created).collect();
        let warnings = outlook::after_creation(call, made).await.warnings().await;
        call.look(move |view| {
            let mut created = VmCreated {
                vms: Vec::new(),
                operation: None,
                warnings,
                placement: placement::report(view, &request.name, &placed[0].1.report, vec![], None, took_us),
            };
            for (name, placed) in &placed {
                if let Some(place) = &placed.placement {
                    created.placement.chosen.push(placement::chosen(name, place));
                }
                if let Some(refusal) = &placed.refusal {
                    created.placement.reasons.push(format!("{name}: {refusal}"));
                }
                let found = placed.created.and_then(|vm| names::vm_by_id(view, vm));
                created.vms.extend(found.map(|found| vm_record::show(view, &found)));
            }
            let ids: Vec<_> = placed.iter().filter_map(|(_, placed)| placed.operation).collect();
            created.operation = operations::of_several(view, &ids);
            created
        })
        .await
    }
}

async fn place_all(
    call: &Call,
    request: &VmCreateRequest,
    create: &CreateVm,
    count: u32,
) -> Result<Vec<(String, Placed)>, Problem> {
    if request.dry_run && count > 1 {
        return preview_all(call, request, create, count).await;
    }
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for index in 1..=count {
        let mut create = create.clone();
        create.template.name = vm_rules::name(request, index, count);
        let part = if count > 1 { format!("/{index}") } else { String::new() };
        let (call, places) = (call.clone(), places.clone());
        tasks.spawn(async move {
            let _place = places.acquire_owned().await;
            let name = create.template.name.clone();
            (index, name, place(&call, &part, create).await)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.push(done.map_err(|_| stopping())?);
    }
    all.sort_by_key(|(index, ..)| *index);
    Ok(all.into_iter().map(|(_, name, placed)| (name, placed)).collect())
}

/// Where several would go: each is decided on what the ones before it leave.
async fn preview_all(
    call: &Call,
    request: &VmCreateRequest,
    create: &CreateVm,
    count: u32,
) -> Result<Vec<(String, Placed)>, Problem> {
    match call.ask(Request::PreviewVms(Box::new(create.clone()), count)).await? {
        Reply::Previewed(places, report) => {
            let placed = |(index, place): (u32, Result<Placement, Refusal>)| {
                let (placement, refusal) = match place {
                    Ok(place) => (Some(place), None),
                    Err(refusal) => (None, Some(refusal)),
                };
                let report = if index == 1 { (*report).clone() } else { PlaceReport::default() };
                let name = vm_rules::name(request, index, count);
                (name, Placed { created: None, operation: None, placement, report, refusal })
            };
            Ok((1..).zip(places).map(placed).collect())
        }
        other => Err(unexpected(&other)),
    }
}

impl Serve for PlacementPreview {
    async fn answer(call: &Call, request: VmCreateRequest) -> Result<PlacementReport, Problem> {
        let asked = request.clone();
        let create = call.find(move |view| vm_rules::template(view, &asked)).await?;
        let name = request.name.clone();
        preview(call, name, CreateVm { dry_run: true, explain: true, ..create }).await
    }
}

async fn preview(call: &Call, name: String, create: CreateVm) -> Result<PlacementReport, Problem> {
    let began = Instant::now();
    let placed = place(call, "", create).await;
    let took_us = began.elapsed().as_micros() as u64;
    if placed.placement.is_none() && placed.report.regions.is_empty() {
        if let Some(refusal) = &placed.refusal {
            return Err(Problem::from(refusal));
        }
    }
    call.look(move |view| {
        let chosen = placed.placement.iter().map(|place| placement::chosen(&name, place)).collect();
        placement::report(view, &name, &placed.report, chosen, placed.refusal.as_ref(), Some(took_us))
    })
    .await
}

impl Serve for VmExplain {
    async fn answer(call: &Call, request: VmReadRequest) -> Result<PlacementReport, Problem> {
        let (vm, region) = call
            .find(move |view| {
                names::vm(view, &request.vm).map(|found| (found.vm.clone(), found.region.clone()))
            })
            .await?;
        let users_in = vm.rules.max_latency.first().map(|(region, _)| region.clone());
        let create =
            CreateVm { template: vm.clone(), users_in, dry_run: true, explain: true, ..CreateVm::default() };
        let mut report = preview(call, vm.name.clone(), create).await?;
        // It was decided when the VM came here; what the candidates say is how they stand now.
        report.took_us = None;
        let score = report
            .candidates
            .iter()
            .find(|candidate| {
                candidate.region == region.as_str() && candidate.host.as_deref() == Some(vm.host.as_str())
            })
            .and_then(|candidate| candidate.score);
        report.chosen.clear();
        report.reasons.clear();
        let placed = Placement { region, host: vm.host.clone(), score_milli: 0 };
        let mut chosen = placement::chosen(&vm.name, &placed);
        chosen.score = score.unwrap_or(0.0);
        report.chosen.push(chosen);
        Ok(report)
    }
}
