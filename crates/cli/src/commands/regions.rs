//! Regions: status, health, switches.

use dwcp_api::region::{
    PlacementSwitchRequest, RegionChanged, RegionDisable, RegionDisablePlacement, RegionDisableRequest,
    RegionEnable, RegionEnablePlacement, RegionEnableRequest, RegionHealthCheck, RegionHealthReport,
    RegionList, RegionListRequest, RegionProbeRequest, RegionRead, RegionReadRequest, RegionStatus,
    RegionSummary, RegionTraffic, RegionTrafficRequest, RegionVerdict, RegionVmCount,
};

use super::{
    Ended, alerts, all_pages, checks, dry, events, federation, hosts, logs, membership, moves, planning,
    read, site, upgrades, verify,
};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{RegionCommand, SetTraffic};

fn list(session: &Session) -> Result<(Document, Exit), Failure> {
    let request = |cursor| RegionListRequest { cursor, ..Default::default() };
    let page = all_pages::<RegionList, _>(session, None, request)?;
    let table = federation::region_table(&page.items);
    Ok((Document::page(&page, table), Exit::Done))
}

pub fn run(session: &Session, command: &RegionCommand) -> Ended {
    let dry_run = session.global.dry_run;
    match command {
        RegionCommand::List => read(session, || list(session)),
        RegionCommand::Status { region, compact, verbose } => read(session, || {
            let request = RegionReadRequest { region: region.clone(), watch: false };
            let status = session.call::<RegionRead>(&request)?;
            let document = match (compact, verbose) {
                (true, _) => Document::bare(&status.summary, compact_line(&status.summary)),
                (_, verbose) => full(&status, *verbose),
            };
            Ok((document, Exit::Done))
        }),
        RegionCommand::HealthCheck(name) => read(session, || health_check(session, &name.region)),
        RegionCommand::VmCount(name) => vm_count(session, &name.region),
        RegionCommand::Enable { region, traffic_percentage, reason } => {
            let request = RegionEnableRequest {
                region: region.clone(),
                traffic_percent: *traffic_percentage,
                reason: reason.clone(),
                dry_run,
                ..Default::default()
            };
            changed(session, session.call::<RegionEnable>(&request)?, "enabled")
        }
        RegionCommand::Disable { region, fence, reason } => {
            let request = RegionDisableRequest {
                region: region.clone(),
                fence: *fence,
                reason: reason.clone(),
                dry_run,
                ..Default::default()
            };
            changed(session, session.call::<RegionDisable>(&request)?, "disabled")
        }
        RegionCommand::Drain(wanted) => moves::drain(session, wanted),
        RegionCommand::Deploy(wanted) => membership::deploy_region(session, wanted),
        RegionCommand::ConnectivityTest { region, .. } => membership::connectivity(session, region),
        RegionCommand::VerifyConnectivity(name) => membership::connectivity(session, &name.region),
        RegionCommand::Logs(wanted) => logs::of_region(session, wanted),
        RegionCommand::PreflightCheck(name) => checks::preflight(session, &name.region),
        RegionCommand::Configure(wanted) => site::configure(session, wanted),
        RegionCommand::Evaluate { candidates } => planning::evaluate(session, &candidates.0),
        RegionCommand::CostAnalysis(wanted) => planning::cost(session, wanted),
        RegionCommand::Verify(wanted) => verify::run(session, wanted),
        RegionCommand::AnnounceDecommission(wanted) => site::announce(session, wanted),
        RegionCommand::Remove(switch) => membership::remove(session, &switch.region, &switch.reason),
        RegionCommand::Upgrade(wanted) => upgrades::upgrade(session, wanted),
        RegionCommand::SetTraffic(wanted) => set_traffic(session, wanted),
        RegionCommand::EnablePlacement(switch) | RegionCommand::DisablePlacement(switch) => {
            let request = PlacementSwitchRequest {
                region: switch.region.clone(),
                reason: switch.reason.clone(),
                dry_run,
                ..Default::default()
            };
            if matches!(command, RegionCommand::EnablePlacement(_)) {
                changed(session, session.call::<RegionEnablePlacement>(&request)?, "open for placement")
            } else {
                changed(session, session.call::<RegionDisablePlacement>(&request)?, "closed for placement")
            }
        }
    }
}

fn set_traffic(session: &Session, wanted: &SetTraffic) -> Ended {
    let request = RegionTrafficRequest {
        region: wanted.region.clone(),
        percent: wanted.percentage,
        reason: wanted.reason.clone(),
        dry_run: session.global.dry_run,
        ..Default::default()
    };
    let what = format!("at {} % of its traffic", wanted.percentage);
    changed(session, session.call::<RegionTraffic>(&request)?, &what)
}

fn changed(session: &Session, answer: RegionChanged, what: &str) -> Ended {
    let region = &answer.region.region;
    let line = match (session.global.dry_run, answer.changed) {
        (true, true) => format!("{region} would be {what}{}", dry(session)),
        (false, true) => format!("{region} is {what}"),
        (_, false) => format!("{region} is {what} already{}", dry(session)),
    };
    let document = answer
        .notes
        .iter()
        .fold(Document::bare(&answer, line), |document, note| document.text_block(format!("  {note}")));
    session.show(&document)?;
    session.warn(&answer.warnings);
    Ok(Exit::Done)
}

/// `us-east-1 active 97 healthy vms=12 cpu=40% …`
fn compact_line(region: &RegionSummary) -> String {
    format!(
        "{} {} health={} vms={} cpu={} mem={} disk={} cpu_alloc={} traffic={} lag={} leader={} placement={} as_of={}",
        region.region,
        words::name(&region.lifecycle),
        words::health(&region.health)
            .text
            .replace(", in maintenance until ", ",maintenance_until=")
            .replace(' ', ","),
        words::known(region.vms).text,
        words::percent(region.cpu.used_percent).text,
        words::percent(region.memory.used_percent).text,
        words::percent(region.storage.used_percent).text,
        words::allocated(&region.cpu).text,
        words::percent(region.traffic_percent).text,
        words::duration(region.replication_lag_ms).text,
        words::known(region.leader.as_ref()).text,
        if region.placement.enabled { "on" } else { "off" },
        words::age(region.age_ms).text,
    )
}

fn placement_text(region: &RegionSummary) -> String {
    let placement = &region.placement;
    let mut text = if placement.enabled { "enabled".to_owned() } else { "disabled".to_owned() };
    if let Some(since) = placement.since_at_ms {
        text.push_str(&format!(" since {}", words::instant(since)));
    }
    if let Some(by) = &placement.by {
        text.push_str(&format!(" by {by}"));
    }
    if !placement.reason.is_empty() {
        text.push_str(&format!(" ({})", placement.reason));
    }
    text
}

/// When it is to end, who said so and why.
fn end_text(region: &RegionSummary) -> String {
    let Some(end) = &region.decommission else { return "none announced".to_owned() };
    let mut text = format!("{}, by {}", words::instant(end.at_ms), end.by);
    if end.due {
        text.insert_str(0, "due since ");
    }
    if !end.reason.is_empty() {
        text.push_str(&format!(" ({})", end.reason));
    }
    text
}

fn full(status: &RegionStatus, verbose: bool) -> Document {
    let region = &status.summary;
    let mut document = Document::of(status).pairs(vec![
        ("region", format!("{} (number {})", region.region, region.number).into()),
        ("state", words::lifecycle(region.lifecycle)),
        ("health", words::health(&region.health)),
        ("placement", placement_text(region).into()),
        ("traffic", words::percent(region.traffic_percent)),
        ("decommission", end_text(region).into()),
        ("vms", words::known(region.vms)),
        ("hosts", region.hosts.into()),
        ("cpu", words::usage(&region.cpu, "vCPU").into()),
        ("memory", words::usage(&region.memory, "MiB").into()),
        ("storage", words::usage(&region.storage, "GiB").into()),
        ("replication lag", words::duration(region.replication_lag_ms)),
        ("leader", words::known(region.leader.as_ref())),
        ("version", words::known(region.version.as_ref())),
        ("age", words::age(region.age_ms)),
    ]);
    let mut deductions = Table::new(&[">POINTS", "CAUSE"]);
    for deduction in &region.health.deductions {
        deductions.row(vec![format!("-{}", deduction.points).into(), words::cause(deduction)]);
    }
    document = document.section("health deductions", deductions);
    if verbose {
        document = details(document, status);
    }
    document.text_block(words::as_of(&status.as_of))
}

fn details(document: Document, status: &RegionStatus) -> Document {
    let mut components = Table::new(&["COMPONENT", ">UP", ">REPLICAS", "VERSION"]);
    for component in &status.components {
        components.row(vec![
            Cell::from(&component.component),
            words::known(component.up),
            component.replicas.into(),
            words::known(component.version.as_ref()),
        ]);
    }
    let mut zones = Table::new(&["ZONE", ">HOSTS"]);
    for zone in &status.zones {
        zones.row(vec![Cell::from(&zone.zone), zone.hosts.into()]);
    }
    document
        .section("components", components)
        .section("zones", zones)
        .section("hosts", hosts::table(&status.hosts))
        .section("links", federation::link_table(&status.links))
        .section("alerts", alerts::table(&status.alerts))
        .section("recent events", events::table(&status.recent_events))
}

fn health_check(session: &Session, region: &str) -> Result<(Document, Exit), Failure> {
    let request = RegionProbeRequest { region: region.to_owned(), timeout_ms: None };
    let report: RegionHealthReport = session.call::<RegionHealthCheck>(&request)?;
    let mut table =
        Table::new(&["SEEN FROM", "VERDICT", ">RTT", ">SILENT", "DETAIL"]).or("nobody could look");
    for probe in &report.probes {
        table.row(vec![
            Cell::from(&probe.from),
            words::state(&probe.verdict),
            words::or_dash(probe.rtt_ms.map(|ms| format!("{ms}ms"))),
            words::duration(probe.silent_ms),
            Cell::from(&probe.detail),
        ]);
    }
    let mut verdict = words::state(&report.verdict);
    verdict.text = match report.verdict {
        RegionVerdict::Down => "down: a majority of regions hears nothing of it".to_owned(),
        RegionVerdict::UnreachableFromHere => "unreachable from here, others hear it".to_owned(),
        _ => verdict.text,
    };
    let mut deductions = Table::new(&[">POINTS", "CAUSE"]);
    for deduction in &report.health.deductions {
        deductions.row(vec![format!("-{}", deduction.points).into(), words::cause(deduction)]);
    }
    let document = Document::of(&report)
        .pairs(vec![
            ("region", Cell::from(&report.region)),
            ("verdict", verdict),
            ("health", words::health(&report.health)),
        ])
        .section("health deductions", deductions)
        .section("probes", table)
        .text_block(words::as_of(&report.as_of));
    let well = matches!(report.verdict, RegionVerdict::Healthy | RegionVerdict::Degraded);
    Ok((document, if well { Exit::Done } else { Exit::Failed }))
}

/// The bare number, so that `$(…)` works.
fn vm_count(session: &Session, region: &str) -> Ended {
    read(session, || {
        let request = RegionReadRequest { region: region.to_owned(), watch: false };
        let count = session.call::<RegionVmCount>(&request)?;
        let document = Document::bare(&count, words::known(count.vms).text);
        if count.vms.is_none() {
            session.note(&format!("the number of VMs in {region} is not known"));
            return Ok((document, Exit::Partly));
        }
        if count.last_known {
            session.note(&format!(
                "last known number: {region} can't be reached and has not failed over ({})",
                words::as_of(&count.as_of)
            ));
            return Ok((document, Exit::Partly));
        }
        Ok((document, Exit::Done))
    })
}
