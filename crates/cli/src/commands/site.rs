//! What operators say of a region: its settings, its public endpoints, its announced end.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use dwcp_api::site::{
    DecommissionRequest, EndpointChanged, EndpointList, EndpointListRequest, EndpointSet, EndpointSetRequest,
    PublicEndpoint, RegionConfigure, RegionConfigureRequest, RegionDecommission, Setting,
};
use dwcp_config::settings::RegionSettings;
use dwcp_config::units::Moment;

use super::local::{complained, read_file};
use super::{Ended, dry, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{AnnounceDecommission, EndpointArgs, RegionConfigureArgs};

/// What a file says of a region; every mistake in it is told.
pub fn settings(file: &Path, region: &str) -> Result<RegionSettings, Failure> {
    let text = read_file(file)?;
    RegionSettings::parse(&text, Some(region))
        .map_err(|found| complained(file, "settings of a region", &found))
}

/// Settings before and after a change.
pub fn before_and_after(settings: &[Setting]) -> Table {
    let mut table = Table::new(&["SETTING", "BEFORE", "AFTER"]);
    for setting in settings {
        let after = match setting.before == setting.after {
            true => Cell::from("(the same)"),
            false => words::text_or_dash(&setting.after),
        };
        table.row(vec![Cell::from(&setting.name), words::text_or_dash(&setting.before), after]);
    }
    table
}

/// Sets what a file says, and shows each setting before and after.
pub fn configure(session: &Session, wanted: &RegionConfigureArgs) -> Ended {
    let settings = settings(&wanted.config, &wanted.region)?;
    let request = RegionConfigureRequest {
        region: wanted.region.clone(),
        display_name: settings.display_name,
        zones: settings.zones,
        latitude: settings.coordinates.map(|(latitude, _)| latitude),
        longitude: settings.coordinates.map(|(_, longitude)| longitude),
        max_vms: settings.max_vms,
        priority: settings.priority,
        compliance: settings.compliance,
        jurisdiction: settings.jurisdiction,
        vcpu_usd_hour: settings.prices.map(|prices| prices.vcpu),
        memory_gib_usd_hour: settings.prices.map(|prices| prices.memory_gib),
        disk_gib_usd_hour: settings.prices.map(|prices| prices.disk_gib),
        reason: wanted.reason.clone(),
        dry_run: session.global.dry_run,
    };
    let answer = session.call::<RegionConfigure>(&request)?;
    let table = before_and_after(&answer.settings);
    let region = &answer.region;
    let line = match (session.global.dry_run, answer.changed) {
        (true, true) => format!("{region} would be configured{}", dry(session)),
        (false, true) => format!("{region} is configured"),
        (_, false) => format!("{region} is configured like that already{}", dry(session)),
    };
    session.show(&Document::of(&answer).table(table).text_block(line))?;
    session.warn(&answer.warnings);
    Ok(Exit::Done)
}

fn text(endpoint: &PublicEndpoint) -> String {
    match endpoint.ip.contains(':') {
        true => format!("[{}]:{}", endpoint.ip, endpoint.port),
        false => format!("{}:{}", endpoint.ip, endpoint.port),
    }
}

fn texts(endpoints: &[PublicEndpoint]) -> Option<String> {
    let all: Vec<String> = endpoints.iter().map(text).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

pub fn set(session: &Session, wanted: &EndpointArgs, remove: bool) -> Ended {
    let request = EndpointSetRequest {
        region: wanted.region.clone(),
        ip: wanted.ip.clone(),
        port: wanted.port,
        remove,
        reason: wanted.reason.clone(),
        dry_run: session.global.dry_run,
    };
    let answer: EndpointChanged = session.call::<EndpointSet>(&request)?;
    let (region, at) = (&answer.region, text(&PublicEndpoint { ip: wanted.ip.clone(), port: wanted.port }));
    let what = if remove { "is not reached" } else { "is reached" };
    let line = match answer.changed {
        true => format!("{region} {what} at {at}{}", dry(session)),
        false => format!("{region} {what} at {at} already{}", dry(session)),
    };
    let all = format!("  its endpoints: {}", texts(&answer.endpoints).unwrap_or_else(|| "none".to_owned()));
    session.show(&Document::bare(&answer, line).text_block(all))?;
    Ok(Exit::Done)
}

pub fn list(session: &Session, region: &Option<String>) -> Ended {
    read(session, || {
        let found = session.call::<EndpointList>(&EndpointListRequest { region: region.clone() })?;
        let mut table = Table::new(&["REGION", "ENDPOINTS", "NODE"]);
        for of in &found.regions {
            table.row(vec![
                Cell::from(&of.region),
                words::or_dash(texts(&of.endpoints)),
                Cell::from(&of.node),
            ]);
        }
        Ok((Document::of(&found).table(table).text_block(words::as_of(&found.as_of)), Exit::Done))
    })
}

/// The bare address, so that `$(…)` works.
pub fn address(session: &Session, region: &str) -> Ended {
    read(session, || {
        let ip = address_of(session, region)?;
        let value = serde_json::json!({ "region": region, "ip": ip });
        Ok((Document::bare(&value, ip), Exit::Done))
    })
}

/// Where a region's traffic arrives: its first public endpoint, else its node's address.
pub fn address_of(session: &Session, region: &str) -> Result<String, Failure> {
    let request = EndpointListRequest { region: Some(region.to_owned()) };
    let found = session.call::<EndpointList>(&request)?;
    let of = found.regions.first().ok_or_else(|| nowhere(region))?;
    let ip = match of.endpoints.first() {
        Some(endpoint) => endpoint.ip.clone(),
        None => {
            session.note(&format!("{region} has no public endpoint yet: this is where its node answers"));
            let host = of.node.rsplit_once(':').map_or(of.node.as_str(), |(host, _)| host);
            host.trim_start_matches('[').trim_end_matches(']').to_owned()
        }
    };
    if ip.is_empty() { Err(nowhere(region)) } else { Ok(ip) }
}

fn nowhere(region: &str) -> Failure {
    Failure::new(Exit::NotFound, format!("no address of {region} is known"))
        .suggest("dwcp-cli routing endpoint list")
}

pub fn announce(session: &Session, wanted: &AnnounceDecommission) -> Ended {
    if wanted.cancel && wanted.decommission_date.is_some() {
        return Err(Failure::usage("--cancel calls the decommission off; it takes no date"));
    }
    // `--cancel false` asks for nothing.
    if !wanted.cancel && wanted.decommission_date.is_none() {
        return Err(Failure::usage("either --decommission-date or --cancel is needed"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let at_ms = wanted.decommission_date.filter(|_| !wanted.cancel).map(|moment| match moment {
        Moment::At(ms) => ms,
        Moment::In(ms) => now + ms,
    });
    let request = DecommissionRequest {
        region: wanted.region.clone(),
        at_ms,
        reason: wanted.reason.clone(),
        dry_run: session.global.dry_run,
    };
    let answer = session.call::<RegionDecommission>(&request)?;
    let is = if session.global.dry_run { "would be" } else { "is" };
    let already = if answer.changed { "" } else { ", as before" };
    let line = match &answer.decommission {
        Some(end) => format!(
            "{} {is} announced to be decommissioned at {}{already}{}",
            answer.region,
            words::instant(end.at_ms),
            dry(session)
        ),
        None => format!("{} {is} not to be decommissioned{already}{}", answer.region, dry(session)),
    };
    let document = Document::bare(&answer, line);
    session.show(&answer.notes.iter().fold(document, |all, note| all.text_block(format!("  {note}"))))?;
    Ok(Exit::Done)
}
