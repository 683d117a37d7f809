//! What operators say of a region: its settings, its public endpoints, its announced end.

use std::collections::BTreeSet;

use dwcp_api::Problem;
use dwcp_api::site::{
    Decommission, DecommissionRequest, Decommissioned, EndpointChanged, EndpointList, EndpointListRequest,
    EndpointSet, EndpointSetRequest, Endpoints, PublicEndpoint, RegionConfigure, RegionConfigureRequest,
    RegionConfigured, RegionDecommission, RegionEndpoints, Setting,
};
use dwcp_roles::node::Request;
use dwcp_state::{Coordinates, Prices, Region, RegionFacts, RegionSettings};
use dwcp_types::{RegionId, Wall, ZoneId};

use super::call::{Call, bad_value, reason};
use super::names;
use super::routes::Serve;
use crate::handle::View;

/// The announced end as the API shows it.
pub fn end(end: &dwcp_state::Decommission, now: Wall) -> Decommission {
    Decommission { at_ms: end.at.0, by: end.by.clone(), reason: end.reason.clone(), due: end.at <= now }
}

fn micros(field: &str, usd: f64) -> Result<u64, Problem> {
    if !(0.0..1_000_000.0).contains(&usd) {
        return Err(bad_value(field, "0 to 1000000 US dollars an hour"));
    }
    Ok((usd * 1e6).round() as u64)
}

fn place(latitude: f64, longitude: f64) -> Result<Coordinates, Problem> {
    let millionths = |degrees: f64| (degrees * 1e6).round() as i64;
    let finite = latitude.is_finite() && longitude.is_finite();
    let found = finite.then(|| Coordinates::new(millionths(latitude), millionths(longitude))).flatten();
    found.ok_or_else(|| bad_value("latitude", "-90 to 90 degrees, with a longitude of -180 to 180"))
}

/// What is asked for, on top of what the region has.
fn settings(record: &Region, request: &RegionConfigureRequest) -> Result<RegionSettings, Problem> {
    let coordinates = match (request.latitude, request.longitude) {
        (Some(latitude), Some(longitude)) => Some(place(latitude, longitude)?),
        (None, None) => None,
        _ => return Err(bad_value("longitude", "latitude and longitude come together")),
    };
    let price = |field: &str, usd: Option<f64>, now: u64| usd.map_or(Ok(now), |usd| micros(field, usd));
    let now = record.prices;
    let prices = Prices {
        vcpu_micros: price("vcpu_usd_hour", request.vcpu_usd_hour, now.vcpu_micros)?,
        memory_gib_micros: price("memory_gib_usd_hour", request.memory_gib_usd_hour, now.memory_gib_micros)?,
        disk_gib_micros: price("disk_gib_usd_hour", request.disk_gib_usd_hour, now.disk_gib_micros)?,
    };
    let zones = |names: &Vec<String>| names.iter().map(|name| ZoneId::from(name.as_str())).collect();
    Ok(RegionSettings {
        region: record.id.clone(),
        display_name: request.display_name.clone(),
        zones: request.zones.as_ref().map(zones),
        coordinates,
        vms_most: request.max_vms,
        priority: request.priority,
        compliance: request.compliance.as_ref().map(|tags| tags.iter().cloned().collect()),
        jurisdiction: request.jurisdiction.clone(),
        prices: Some(prices),
    })
}

/// What does not fit to what is in the region already.
fn warnings(view: &View<'_>, next: &Region, facts: &RegionFacts) -> Vec<String> {
    let mut warnings = Vec::new();
    let zones = &next.site.zones;
    let hosts = facts.hosts.values().map(|host| &host.facts);
    for host in hosts.filter(|host| !zones.is_empty() && !zones.contains(&host.zone)) {
        warnings.push(format!("host {} is in zone {}, which is not among its zones", host.id, host.zone));
    }
    let (vms, most) = (names::vms_in(view, facts), next.site.vms_most);
    if most > 0 && vms > most {
        warnings.push(format!("it has {vms} VMs already; no further one is placed there"));
    }
    let lacks = |vm: &&dwcp_state::Vm| vm.rules.compliance.iter().any(|tag| !next.compliance.contains(tag));
    let left_behind = facts.vms.values().filter(lacks).count();
    if left_behind > 0 {
        warnings.push(format!("{left_behind} of its VMs need a compliance tag that it does not carry"));
    }
    warnings
}

impl Serve for RegionConfigure {
    async fn answer(call: &Call, request: RegionConfigureRequest) -> Result<RegionConfigured, Problem> {
        let because = reason(request.reason.as_deref())?;
        if request.priority.is_some_and(|priority| priority > 100) {
            return Err(bad_value("priority", "0 to 100"));
        }
        let asked = request.clone();
        let (wanted, configured) = call
            .find(move |view| {
                let (record, facts) = names::region(view, &asked.region)?;
                let wanted = settings(record, &asked)?;
                let next = record.with(&wanted);
                let both = record.settings().into_iter().zip(next.settings());
                let settings: Vec<Setting> = both
                    .map(|((name, before), (_, after))| Setting { name: name.to_owned(), before, after })
                    .collect();
                let changed = settings.iter().any(|setting| setting.before != setting.after);
                let warnings = warnings(view, &next, facts);
                Ok((wanted, RegionConfigured { region: asked.region, changed, settings, warnings }))
            })
            .await?;
        if !request.dry_run {
            // Also what changes nothing: its group says whether it could be so.
            let asked = call.asked_because(because, None);
            call.change(Request::ConfigureRegion(asked, Box::new(wanted))).await?;
        }
        Ok(configured)
    }
}

fn shown(endpoints: &BTreeSet<dwcp_state::PublicEndpoint>) -> Vec<PublicEndpoint> {
    endpoints.iter().map(|one| PublicEndpoint { ip: one.ip.clone(), port: one.port }).collect()
}

impl Serve for EndpointList {
    async fn answer(call: &Call, request: EndpointListRequest) -> Result<Endpoints, Problem> {
        call.find(move |view| {
            if let Some(region) = &request.region {
                names::region(view, region)?;
            }
            let wanted =
                |region: &&Region| request.region.as_ref().is_none_or(|only| only == region.id.as_str());
            let regions = view.node.facts().core.regions.values().filter(wanted);
            let regions = regions.map(|region| RegionEndpoints {
                region: region.id.as_str().to_owned(),
                endpoints: shown(&region.endpoints),
                node: region.api.trim_start_matches("https://").trim_end_matches('/').to_owned(),
            });
            Ok(Endpoints { regions: regions.collect(), as_of: names::as_of_federation(view) })
        })
        .await
    }
}

impl Serve for EndpointSet {
    async fn answer(call: &Call, request: EndpointSetRequest) -> Result<EndpointChanged, Problem> {
        let because = reason(request.reason.as_deref())?;
        let endpoint = dwcp_state::PublicEndpoint::new(&request.ip, request.port)
            .map_err(|why| bad_value(if request.port == 0 { "port" } else { "ip" }, why))?;
        let (name, one, there) = (request.region.clone(), endpoint.clone(), !request.remove);
        let (changed, mut endpoints) = call
            .find(move |view| {
                let mut endpoints = names::region(view, &name)?.0.endpoints.clone();
                let changed = if there { endpoints.insert(one) } else { endpoints.remove(&one) };
                Ok((changed, shown(&endpoints)))
            })
            .await?;
        if !request.dry_run {
            let region = RegionId::from(request.region.as_str());
            let asked = call.asked_because(because, None);
            call.change(Request::SetEndpoint(asked, region.clone(), endpoint, there)).await?;
            endpoints =
                call.find(move |view| Ok(shown(&names::region(view, region.as_str())?.0.endpoints))).await?;
        }
        Ok(EndpointChanged { region: request.region, changed, endpoints })
    }
}

fn notes(at: Option<Wall>, now: Wall) -> Vec<String> {
    let Some(at) = at else { return Vec::new() };
    let mut notes = match at <= now {
        true => vec!["that date is past: it is due now".to_owned()],
        false => vec!["it is reminded of 30 days, 7 days and 24 hours before, and when it is due".to_owned()],
    };
    notes.push(
        "VMs that may be in no other region are not placed there any more, unless they are over by then"
            .to_owned(),
    );
    notes.push("nothing is moved or switched off by itself".to_owned());
    notes
}

impl Serve for RegionDecommission {
    async fn answer(call: &Call, request: DecommissionRequest) -> Result<Decommissioned, Problem> {
        let because = reason(request.reason.as_deref())?;
        let at = request.at_ms.map(Wall);
        let (name, by, why) = (request.region.clone(), call.caller.user.clone(), because.clone());
        let answer = call
            .find(move |view| {
                let (record, _) = names::region(view, &name)?;
                let before = record.decommission.as_ref();
                let changed = before.map(|end| end.at) != at;
                let announced = at.map(|at| match before.filter(|_| !changed) {
                    Some(same) => end(same, view.now.wall),
                    None => Decommission { at_ms: at.0, by, reason: why, due: at <= view.now.wall },
                });
                let notes = notes(at, view.now.wall);
                Ok(Decommissioned { region: name, changed, decommission: announced, notes })
            })
            .await?;
        if !request.dry_run {
            let region = RegionId::from(request.region.as_str());
            let asked = call.asked_because(because, None);
            let change = match at {
                Some(at) => Request::AnnounceDecommission(asked, region, at),
                None => Request::CancelDecommission(asked, region),
            };
            call.change(change).await?;
        }
        Ok(answer)
    }
}
