//! Protection of VMs' disks.

use dwcp_api::Problem;
use dwcp_api::protection::{
    OnReplicaLoss as ApiOnLoss, ProtectedVm, Protection as ApiProtection, ProtectionMode as ApiMode,
    ProtectionRead, ProtectionReadRequest, ProtectionState, ProtectionStatus, ProtectionWanted, VmProtect,
    VmProtectRequest,
};
use dwcp_api::vm::VmChanged;
use dwcp_roles::node::Request;
use dwcp_state::{DiskProof, GuardState, OnReplicaLoss, Protection, ProtectionChange, ProtectionMode, Vm};

use super::call::{Call, bad_value, expect_revision};
use super::routes::Serve;
use super::{names, vm_record};
use crate::handle::View;

/// Between two points in time when nothing is said, ms.
const INTERVAL_MS: u64 = 30_000;
/// What may be said.
const INTERVALS_MS: std::ops::RangeInclusive<u64> = 5_000..=86_400_000;

/// What is wanted, checked.
pub fn checked(view: &View<'_>, wanted: &ProtectionWanted, disk_gib: u64) -> Result<Protection, Problem> {
    let mode = match (wanted.mode, wanted.interval_ms) {
        (ApiMode::None, None) => ProtectionMode::None,
        (ApiMode::Sync, None) => ProtectionMode::Sync,
        (ApiMode::Async, interval_ms) => {
            let interval_ms = interval_ms.unwrap_or(INTERVAL_MS);
            if !INTERVALS_MS.contains(&interval_ms) {
                let limits = (INTERVALS_MS.start() / 1_000, INTERVALS_MS.end() / 1_000);
                let why = format!("from {} to {} s between two points in time", limits.0, limits.1);
                return Err(bad_value("protection.interval_ms", &why));
            }
            ProtectionMode::Async(interval_ms)
        }
        (_, Some(_)) => return Err(bad_value("protection.interval_ms", "only with the mode async")),
    };
    if mode != ProtectionMode::None && disk_gib == 0 {
        return Err(bad_value(
            "protection.mode",
            "a VM without a disk of its own has nothing to protect: ask for --disk",
        ));
    }
    let region = match &wanted.region {
        Some(name) => Some(names::region(view, name)?.0.id.clone()),
        None => None,
    };
    let on_loss = match wanted.on_replica_loss {
        ApiOnLoss::Stop => OnReplicaLoss::Stop,
        ApiOnLoss::GoOn => OnReplicaLoss::GoOn,
    };
    Ok(Protection { mode, on_loss, region, ..Protection::default() })
}

/// What is wanted, as the API shows it.
pub fn wanted(wanted: &Protection) -> ProtectionWanted {
    let (mode, interval_ms) = match wanted.mode {
        ProtectionMode::None => (ApiMode::None, None),
        ProtectionMode::Sync => (ApiMode::Sync, None),
        ProtectionMode::Async(interval_ms) => (ApiMode::Async, Some(interval_ms)),
    };
    let on_replica_loss = match wanted.on_loss {
        OnReplicaLoss::Stop => ApiOnLoss::Stop,
        OnReplicaLoss::GoOn => ApiOnLoss::GoOn,
    };
    let region = wanted.region.as_ref().map(|region| region.as_str().to_owned());
    ProtectionWanted { mode, interval_ms, on_replica_loss, region }
}

/// A VM's protection as the API shows it; none when it has none.
pub fn show(view: &View<'_>, vm: &Vm) -> Option<ApiProtection> {
    if !vm.is_protected() {
        return None;
    }
    let guard = &vm.protection.guard;
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(ApiProtection {
        wanted: self::wanted(&vm.protection),
        state: match guard.state {
            _ if guard.region.is_none() => ProtectionState::Waiting,
            GuardState::Syncing => ProtectionState::Syncing,
            GuardState::Protected => ProtectionState::Protected,
            GuardState::Degraded => ProtectionState::Degraded,
        },
        since_at_ms: guard.since.0,
        region: guard.region.as_ref().map(|region| region.as_str().to_owned()),
        host: some(guard.host.as_str()),
        epoch: guard.epoch,
        point_at_ms: (guard.point.0 > 0).then_some(guard.point.0),
        would_lose_ms: match vm.disk_proof() {
            DiskProof::Zero => Some(0),
            DiskProof::Point(point) => Some(view.now.wall.ms_since(point)),
            _ => None,
        },
        reason: guard.reason.clone(),
    })
}

impl Serve for VmProtect {
    async fn answer(call: &Call, request: VmProtectRequest) -> Result<VmChanged, Problem> {
        let VmProtectRequest { vm: name, protection: wanted, again, expected_revision, dry_run } = request;
        let (shown, change) = call
            .find(move |view| {
                let found = names::vm(view, &name)?;
                if dry_run {
                    let (record, read) =
                        (format!("VM {}", found.vm.name), format!("dwcp-cli vm show {name}"));
                    expect_revision(&record, expected_revision, found.vm.revision, &read)?;
                }
                let checked = checked(view, &wanted, found.vm.spec.size.disk_gib)?;
                let Protection { mode, on_loss, region, .. } = checked;
                let change = ProtectionChange { vm: found.vm.id, mode, on_loss, region, again };
                Ok((vm_record::show(view, &found), change))
            })
            .await?;
        if dry_run {
            return Ok(VmChanged { vm: shown, operation: None });
        }
        let id = change.vm;
        call.change(Request::Protect(call.asked_expecting(expected_revision), change)).await?;
        call.look(move |view| VmChanged {
            vm: names::vm_by_id(view, id).map_or(shown, |found| vm_record::show(view, &found)),
            operation: None,
        })
        .await
    }
}

impl Serve for ProtectionRead {
    async fn answer(call: &Call, request: ProtectionReadRequest) -> Result<ProtectionStatus, Problem> {
        call.find(move |view| status(view, &request)).await
    }
}

fn status(view: &View<'_>, request: &ProtectionReadRequest) -> Result<ProtectionStatus, Problem> {
    if let Some(region) = &request.region {
        names::region(view, region)?;
    }
    let mut vms: Vec<ProtectedVm> = names::every_vm(view)
        .filter(|found| found.vm.drill.is_none())
        .filter(|found| request.region.as_ref().is_none_or(|region| found.region.as_str() == region))
        .filter_map(|found| {
            Some(ProtectedVm {
                vm: found.vm.id.to_string(),
                name: found.vm.name.clone(),
                region: found.region.as_str().to_owned(),
                protection: show(view, found.vm)?,
            })
        })
        .collect();
    vms.sort_by(|a, b| (&a.name, &a.vm).cmp(&(&b.name, &b.vm)));
    let count = |state| vms.iter().filter(|vm| vm.protection.state == state).count() as u64;
    Ok(ProtectionStatus {
        protected: count(ProtectionState::Protected),
        syncing: count(ProtectionState::Syncing),
        degraded: count(ProtectionState::Degraded),
        waiting: count(ProtectionState::Waiting),
        vms,
        as_of: names::as_of(view),
    })
}
