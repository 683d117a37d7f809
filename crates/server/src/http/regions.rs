//! Regions: listed, read, switched.

use dwcp_api::region::{
    PlacementSwitchRequest, RegionChanged, RegionDisable, RegionDisablePlacement, RegionDisableRequest,
    RegionEnable, RegionEnablePlacement, RegionEnableRequest, RegionList, RegionListRequest, RegionRead,
    RegionReadRequest, RegionStatus, RegionSummary, RegionTraffic, RegionTrafficRequest, RegionVmCount,
    VmCount,
};
use dwcp_api::{Page, Problem};
use dwcp_roles::node::Request;
use dwcp_state::{Lifecycle, Region, RegionChange, Standing};
use dwcp_types::{RegionId, Revision};

use super::call::{Call, bad_value, expect_revision, not_offered, reason};
use super::outlook::{self, Lately, Worse};
use super::routes::Serve;
use super::{alerts, events, hosts, matrices, names, page, region_summary};
use crate::handle::View;

/// Events shown with a region.
const EVENTS: usize = 20;

/// One line of every region.
pub fn summaries(view: &View<'_>, lately: &Lately) -> Vec<RegionSummary> {
    let facts = view.node.facts();
    let mut all: Vec<RegionSummary> = facts
        .core
        .regions
        .values()
        .filter_map(|record| {
            let of = facts.regions.get(&record.id)?;
            Some(region_summary::show(view, record, of, lately))
        })
        .collect();
    all.sort_by_key(|summary| summary.number);
    all
}

impl Serve for RegionList {
    async fn answer(call: &Call, request: RegionListRequest) -> Result<Page<RegionSummary>, Problem> {
        let lately = call.api.outlook.lately();
        call.find(move |view| {
            let items = summaries(view, &lately)
                .into_iter()
                .map(|line| (format!("{:08}", line.number), line))
                .collect();
            page::cut(items, request.limit, request.cursor.as_deref(), names::as_of(view))
        })
        .await
    }
}

impl Serve for RegionRead {
    async fn answer(call: &Call, request: RegionReadRequest) -> Result<RegionStatus, Problem> {
        let lately = call.api.outlook.lately();
        let alerts = alerts::open_of(call, &request.region).await?;
        call.find(move |view| {
            let (record, facts) = names::region(view, &request.region)?;
            Ok(RegionStatus {
                summary: region_summary::show(view, record, facts, &lately),
                zones: region_summary::zones(facts),
                hosts: facts.hosts.values().map(|host| hosts::show(view, facts, host)).collect(),
                components: region_summary::components(view, facts),
                links: matrices::links_from(view, facts.number),
                recent_events: events::newest_of(view, &record.id, EVENTS),
                alerts,
                as_of: names::as_of_region(view, &record.id),
            })
        })
        .await
    }
}

impl Serve for RegionVmCount {
    async fn answer(call: &Call, request: RegionReadRequest) -> Result<VmCount, Problem> {
        call.find(move |view| {
            let (record, facts) = names::region(view, &request.region)?;
            let known = facts.revision > Revision(0) || names::is_known(view, facts);
            let vms = known.then(|| names::vms_in(view, facts));
            let out_of_reach = !names::is_heard(view, facts.number) || !names::is_known(view, facts);
            // What was failed over is accounted for by the group's survivors: nothing lives there any more.
            let accounted = record.standing == Standing::Lost && vms == Some(0);
            Ok(VmCount {
                region: request.region,
                vms,
                last_known: out_of_reach && !accounted,
                as_of: names::as_of_region(view, &record.id),
            })
        })
        .await
    }
}

struct Switch {
    change: RegionChange,
    expected_revision: Option<u64>,
    dry_run: bool,
    notes: Vec<String>,
}

/// The record as it would be. Says the same as `apply`.
fn changed(record: &Region, change: &RegionChange, view: &View<'_>, by: &str) -> Region {
    let mut next = record.clone();
    match change.enabled {
        Some(true) => {
            next.lifecycle = Lifecycle::Active;
            next.standing = Standing::Present;
        }
        Some(false) => next.lifecycle = Lifecycle::Disabled,
        None => {}
    }
    if let Some(placement) = change.placement.or(change.enabled) {
        if placement != next.placement {
            by.clone_into(&mut next.placement_by);
            next.placement_reason.clone_from(&change.reason);
            next.placement_since = view.now.wall;
        }
        next.placement = placement;
    }
    if let Some(percent) = change.traffic_percent.or(change.enabled.map(|on| if on { 100 } else { 0 })) {
        next.traffic_percent = percent;
    }
    next
}

async fn switch(call: &Call, switch: Switch) -> Result<RegionChanged, Problem> {
    let Switch { change, expected_revision, dry_run, notes } = switch;
    let (asked, by) = (change.clone(), call.caller.user.clone());
    let lately = call.api.outlook.lately();
    let later = lately.clone();
    let (region, next, differs) = call
        .find(move |view| {
            let (record, facts) = names::region(view, asked.region.as_str())?;
            if dry_run {
                let read = format!("dwcp-cli federation region status --region {}", record.id);
                expect_revision(&format!("region {}", record.id), expected_revision, record.revision, &read)?;
            }
            if asked.enabled == Some(true) && record.standing == Standing::Lost {
                return Err(lost(&record.id));
            }
            let next = changed(record, &asked, view, &by);
            Ok((region_summary::show(view, &next, facts, &lately), next.clone(), next != *record))
        })
        .await?;
    let closes = differs && !next.takes_placements();
    let worse = if closes { outlook::of_region(call, next).await } else { Worse::nothing() };
    if dry_run || (!differs && expected_revision.is_none()) {
        return Ok(RegionChanged { region, changed: differs, notes, warnings: worse.warnings().await });
    }
    let name = change.region.clone();
    call.change(Request::ChangeRegion(call.asked_expecting(expected_revision), change)).await?;
    let warnings = worse.warnings().await;
    call.find(move |view| {
        let (record, facts) = names::region(view, name.as_str())?;
        let region = region_summary::show(view, record, facts, &later);
        Ok(RegionChanged { region, changed: true, notes, warnings })
    })
    .await
}

fn lost(region: &RegionId) -> Problem {
    let refusal = dwcp_types::Refusal::new(
        dwcp_types::Code::WrongState,
        format!("{region} is lost and not heard again yet"),
    );
    Problem::from(&refusal.then("it can be enabled as soon as it has returned"))
}

impl Serve for RegionEnable {
    async fn answer(call: &Call, request: RegionEnableRequest) -> Result<RegionChanged, Problem> {
        if request.traffic_percent.is_some_and(|percent| percent > 100) {
            return Err(bad_value("traffic_percent", "0 to 100"));
        }
        let percent = request.traffic_percent.unwrap_or(100);
        let change = RegionChange {
            region: RegionId::from(request.region.as_str()),
            enabled: Some(true),
            placement: Some(true),
            traffic_percent: Some(percent),
            reason: reason(request.reason.as_deref())?,
        };
        let notes = vec![format!("it takes placements and {percent} % of its traffic")];
        let (expected_revision, dry_run) = (request.expected_revision, request.dry_run);
        switch(call, Switch { change, expected_revision, dry_run, notes }).await
    }
}

impl Serve for RegionDisable {
    async fn answer(call: &Call, request: RegionDisableRequest) -> Result<RegionChanged, Problem> {
        if request.fence {
            return Err(not_offered(
                "fence",
                "leases are stopped only by a failover, which also brings the VMs back elsewhere",
                Some(&format!("dwcp-cli federation failover --from-region {}", request.region)),
            ));
        }
        let change = RegionChange {
            region: RegionId::from(request.region.as_str()),
            enabled: Some(false),
            placement: Some(false),
            traffic_percent: Some(0),
            reason: reason(request.reason.as_deref())?,
        };
        let notes = vec!["its VMs go on running; new ones are placed elsewhere".to_owned()];
        let (expected_revision, dry_run) = (request.expected_revision, request.dry_run);
        switch(call, Switch { change, expected_revision, dry_run, notes }).await
    }
}

impl Serve for RegionTraffic {
    async fn answer(call: &Call, request: RegionTrafficRequest) -> Result<RegionChanged, Problem> {
        let percent = request.percent;
        if percent > 100 {
            return Err(bad_value("percent", "0 to 100"));
        }
        let change = RegionChange {
            region: RegionId::from(request.region.as_str()),
            traffic_percent: Some(percent),
            reason: reason(request.reason.as_deref())?,
            ..RegionChange::default()
        };
        let notes = vec![format!("it takes {percent} % of its traffic")];
        let (expected_revision, dry_run) = (request.expected_revision, request.dry_run);
        switch(call, Switch { change, expected_revision, dry_run, notes }).await
    }
}

fn placement(request: PlacementSwitchRequest, on: bool, note: &str) -> Result<Switch, Problem> {
    let region = RegionId::from(request.region.as_str());
    let reason = reason(request.reason.as_deref())?;
    Ok(Switch {
        change: RegionChange { region, placement: Some(on), reason, ..RegionChange::default() },
        expected_revision: request.expected_revision,
        dry_run: request.dry_run,
        notes: vec![note.to_owned()],
    })
}

impl Serve for RegionEnablePlacement {
    async fn answer(call: &Call, request: PlacementSwitchRequest) -> Result<RegionChanged, Problem> {
        switch(call, placement(request, true, "new VMs may be placed in it")?).await
    }
}

impl Serve for RegionDisablePlacement {
    async fn answer(call: &Call, request: PlacementSwitchRequest) -> Result<RegionChanged, Problem> {
        let note = "its VMs go on running; new ones are placed elsewhere";
        switch(call, placement(request, false, note)?).await
    }
}
