//! VMs: listed, read, started, stopped, deleted.

use dwcp_api::vm::{
    VmAnswer, VmChangeRequest, VmChanged, VmDelete, VmDeleteRequest, VmList, VmListRequest, VmRead,
    VmReadRequest, VmRestart, VmStart, VmState, VmStop,
};
use dwcp_api::{Page, Problem};
use dwcp_roles::node::{Change, Request};
use dwcp_state::Want;
use dwcp_types::VmId;

use super::call::{Call, bad_value, expect_revision, not_offered};
use super::routes::Serve;
use super::{names, operations, page, vm_record};
use crate::handle::View;

impl Serve for VmList {
    async fn answer(call: &Call, request: VmListRequest) -> Result<Page<dwcp_api::vm::Vm>, Problem> {
        call.find(move |view| list(view, &request)).await
    }
}

fn list(view: &View<'_>, request: &VmListRequest) -> Result<Page<dwcp_api::vm::Vm>, Problem> {
    if let Some(region) = &request.region {
        names::region(view, region)?;
    }
    let mut labels = Vec::new();
    for label in &request.label {
        let pair = label.split_once('=');
        labels.push(pair.ok_or_else(|| bad_value("label", format!("'{label}' is not key=value")))?);
    }
    let mut found: Vec<(String, names::Found<'_>)> = names::every_vm(view)
        .filter(|found| request.drills || found.vm.drill.is_none())
        .filter(|found| request.region.as_ref().is_none_or(|region| found.region.as_str() == region))
        .filter(|found| request.host.as_ref().is_none_or(|host| is_on(found, host)))
        .filter(|found| request.tenant.as_ref().is_none_or(|tenant| found.vm.tenant == *tenant))
        .filter(|found| {
            labels.iter().all(|(key, value)| found.vm.labels.get(*key).is_some_and(|v| v == value))
        })
        .filter(|found| request.state.is_none_or(|state| vm_record::state(view, found) == state))
        .map(|found| (format!("{}/{}", found.vm.name, found.vm.id), found))
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let page = page::cut(found, request.limit, request.cursor.as_deref(), names::as_of(view))?;
    Ok(Page {
        items: page.items.iter().map(|found| vm_record::show(view, found)).collect(),
        next_cursor: page.next_cursor,
        as_of: page.as_of,
    })
}

/// Whether a VM is on a host given as a name or as `region/name`.
fn is_on(found: &names::Found<'_>, host: &str) -> bool {
    match host.split_once('/') {
        Some((region, host)) => found.region.as_str() == region && found.vm.host.as_str() == host,
        None => found.vm.host.as_str() == host,
    }
}

impl Serve for VmRead {
    async fn answer(call: &Call, request: VmReadRequest) -> Result<VmAnswer, Problem> {
        call.find(move |view| {
            let found = names::vm(view, &request.vm)?;
            Ok(VmAnswer { vm: vm_record::show(view, &found), as_of: names::as_of_region(view, found.region) })
        })
        .await
    }
}

struct Wanted {
    vm: String,
    change: Change,
    expected_revision: Option<u64>,
    dry_run: bool,
}

async fn change(call: &Call, wanted: Wanted) -> Result<VmChanged, Problem> {
    let Wanted { vm, change, expected_revision, dry_run } = wanted;
    let name = vm.clone();
    let before: (VmId, dwcp_api::vm::Vm, bool) = call
        .find(move |view| {
            let found = names::vm(view, &name)?;
            if dry_run {
                let (record, read) = (format!("VM {}", found.vm.name), format!("dwcp-cli vm show {name}"));
                expect_revision(&record, expected_revision, found.vm.revision, &read)?;
            }
            let shown = vm_record::show(view, &found);
            let nothing_to_do = match change {
                Change::Start => shown.wanted_running && shown.state == VmState::Running,
                Change::Stop => found.vm.want == Want::Stopped && shown.state == VmState::Stopped,
                Change::Delete => found.vm.want == Want::Deleted,
                Change::Restart => false,
            };
            Ok((found.vm.id, shown, nothing_to_do))
        })
        .await?;
    let (id, shown, nothing_to_do) = before;
    // Whether the record still is as expected, its group knows.
    if dry_run || (nothing_to_do && expected_revision.is_none()) {
        return Ok(VmChanged { vm: shown, operation: None });
    }
    let receipt = call.change(Request::ChangeVm(call.asked_expecting(expected_revision), id, change)).await?;
    call.look(move |view| VmChanged {
        vm: names::vm_by_id(view, id).map_or(shown, |found| vm_record::show(view, &found)),
        operation: receipt.operation.and_then(|operation| operations::show_id(view, operation)),
    })
    .await
}

fn change_request(request: VmChangeRequest, change: Change) -> Result<Wanted, Problem> {
    if request.force {
        return Err(not_offered(
            "force",
            "the host asks the guest to power down and ends it by itself when it does not",
            Some("dwcp-cli vm stop VM"),
        ));
    }
    let VmChangeRequest { vm, expected_revision, dry_run, .. } = request;
    Ok(Wanted { vm, change, expected_revision, dry_run })
}

impl Serve for VmStart {
    async fn answer(call: &Call, request: VmChangeRequest) -> Result<VmChanged, Problem> {
        change(call, change_request(request, Change::Start)?).await
    }
}

impl Serve for VmStop {
    async fn answer(call: &Call, request: VmChangeRequest) -> Result<VmChanged, Problem> {
        change(call, change_request(request, Change::Stop)?).await
    }
}

impl Serve for VmRestart {
    async fn answer(call: &Call, request: VmChangeRequest) -> Result<VmChanged, Problem> {
        change(call, change_request(request, Change::Restart)?).await
    }
}

impl Serve for VmDelete {
    async fn answer(call: &Call, request: VmDeleteRequest) -> Result<VmChanged, Problem> {
        let VmDeleteRequest { vm, expected_revision, dry_run } = request;
        change(call, Wanted { vm, change: Change::Delete, expected_revision, dry_run }).await
    }
}
