//! What differs in regions.

use std::collections::BTreeMap;

use dwcp_api::controllers::ControllersScaleRequest;
use dwcp_api::region::{RegionDisableRequest, RegionEnableRequest, RegionTrafficRequest};
use dwcp_api::settings::{RegionPut, RegionSet, Settings};
use dwcp_api::site::{DecommissionRequest, EndpointSetRequest, RegionConfigureRequest};

use super::{Act, Change, Field, change, fields, one, other};
use crate::show::words;

pub fn regions(wanted: &Settings, now: &Settings, changes: &mut Vec<Change>) {
    let keyed = |settings: &Settings| -> BTreeMap<String, RegionSet> {
        settings.regions.iter().map(|region| (region.region.clone(), region.clone())).collect()
    };
    let (now, wanted) = (keyed(now), keyed(wanted));
    for (name, region) in &wanted {
        match now.get(name) {
            Some(found) => differences(found, region, changes),
            None => {
                let why = "it is not in the federation: deploy it, then restore again";
                let fields = one("region", "", name);
                changes.extend(change(format!("region {name}"), fields, Act::Cannot(why)));
            }
        }
    }
    for name in now.keys().filter(|name| !wanted.contains_key(*name)) {
        let why = "it came since: nothing lets a region go by itself";
        changes.extend(change(format!("region {name}"), one("region", name, ""), Act::Cannot(why)));
    }
}

fn differences(now: &RegionSet, wanted: &RegionSet, changes: &mut Vec<Change>) {
    let subject = format!("region {}", now.region);
    let all = fields(now, wanted);
    let of = |names: &[&str]| -> Vec<Field> {
        all.iter().filter(|field| names.contains(&field.setting.as_str())).cloned().collect()
    };
    // Before the region is switched: what may be placed there is to hold from the first moment on.
    changes.extend(configure(now, wanted, &all));
    let region = now.region.clone();
    let traffic = Some(wanted.traffic_percent);
    let switched = match (now.state, wanted.state) {
        (RegionPut::Disabled, RegionPut::Active) => {
            Some(Act::Enable(RegionEnableRequest { region, traffic_percent: traffic, ..Default::default() }))
        }
        (RegionPut::Active, RegionPut::Disabled) => {
            Some(Act::Disable(RegionDisableRequest { region, ..Default::default() }))
        }
        (now, wanted) if now == wanted => None,
        _ => Some(Act::Cannot("regions come in and leave by `region deploy` and `region remove` only")),
    };
    // The switch sets these two as well.
    let (placement, percent) = match &switched {
        Some(Act::Enable(_)) => (true, wanted.traffic_percent),
        Some(Act::Disable(_)) => (false, 0),
        _ => (now.placement, now.traffic_percent),
    };
    if let Some(act) = switched {
        let mut set = of(&["state"]);
        set.extend(of(&["placement"]).into_iter().filter(|_| placement == wanted.placement));
        set.extend(of(&["traffic_percent"]).into_iter().filter(|_| percent == wanted.traffic_percent));
        changes.extend(change(&subject, set, act));
    }
    if placement != wanted.placement {
        let fields = one("placement", placement.to_string(), wanted.placement.to_string());
        let act = Act::Placement(now.region.clone(), wanted.placement);
        changes.extend(change(&subject, fields, act));
    }
    if percent != wanted.traffic_percent {
        let fields = one("traffic_percent", percent.to_string(), wanted.traffic_percent.to_string());
        let region = now.region.clone();
        let request = RegionTrafficRequest { region, percent: wanted.traffic_percent, ..Default::default() };
        changes.extend(change(&subject, fields, Act::Traffic(request)));
    }
    endpoints(now, wanted, changes);
    let end = |at_ms: Option<u64>| at_ms.map(words::instant).unwrap_or_default();
    let request = DecommissionRequest {
        region: now.region.clone(),
        at_ms: wanted.decommission_at_ms,
        ..Default::default()
    };
    let ends = match now.decommission_at_ms == wanted.decommission_at_ms {
        true => Vec::new(),
        false => one("decommission", end(now.decommission_at_ms), end(wanted.decommission_at_ms)),
    };
    changes.extend(change(&subject, ends, Act::Decommission(request)));
    changes.extend(scaled(now, "controller", now.controllers, wanted.controllers));
    changes.extend(scaled(now, "router", now.routers, wanted.routers));
}

/// A backup that says nothing of it, of an older version, leaves it as it is.
fn scaled(now: &RegionSet, component: &str, before: Option<u64>, after: Option<u64>) -> Option<Change> {
    let (before, after) = (before?, after?);
    let request = ControllersScaleRequest {
        component: component.to_owned(),
        region: Some(now.region.clone()),
        count: Some(after),
        ..Default::default()
    };
    let fields = match before == after {
        true => Vec::new(),
        false => one(&format!("{component}s"), before.to_string(), after.to_string()),
    };
    change(format!("region {}", now.region), fields, Act::Scale(request))
}

/// What a file of settings can say.
fn configure(now: &RegionSet, wanted: &RegionSet, all: &[Field]) -> Vec<Change> {
    const BY_ITS_OWN: [&str; 7] = [
        "state",
        "placement",
        "traffic_percent",
        "endpoints",
        "decommission_at_ms",
        "controllers",
        "routers",
    ];
    let subject = format!("region {}", now.region);
    let mut fields: Vec<Field> =
        all.iter().filter(|field| !BY_ITS_OWN.contains(&field.setting.as_str())).cloned().collect();
    let mut changes = Vec::new();
    let moved = (now.latitude, now.longitude) != (wanted.latitude, wanted.longitude);
    let place = wanted.latitude.zip(wanted.longitude).filter(|_| moved);
    if moved && place.is_none() {
        let (nowhere, rest) = fields
            .into_iter()
            .partition(|field: &Field| ["latitude", "longitude"].contains(&field.setting.as_str()));
        fields = rest;
        let why = "a region that has coordinates can get others, not none";
        changes.extend(change(&subject, nowhere, Act::Cannot(why)));
    }
    let request = RegionConfigureRequest {
        region: now.region.clone(),
        display_name: other(&now.display_name, &wanted.display_name),
        zones: other(&now.zones, &wanted.zones),
        latitude: place.map(|(latitude, _)| latitude),
        longitude: place.map(|(_, longitude)| longitude),
        max_vms: other(&now.max_vms, &wanted.max_vms),
        priority: other(&now.priority, &wanted.priority),
        compliance: other(&now.compliance, &wanted.compliance),
        jurisdiction: other(&now.jurisdiction, &wanted.jurisdiction),
        vcpu_usd_hour: other(&now.vcpu_usd_hour, &wanted.vcpu_usd_hour),
        memory_gib_usd_hour: other(&now.memory_gib_usd_hour, &wanted.memory_gib_usd_hour),
        disk_gib_usd_hour: other(&now.disk_gib_usd_hour, &wanted.disk_gib_usd_hour),
        ..Default::default()
    };
    changes.extend(change(subject, fields, Act::Configure(Box::new(request))));
    changes
}

fn endpoints(now: &RegionSet, wanted: &RegionSet, changes: &mut Vec<Change>) {
    let gone = now.endpoints.iter().filter(|at| !wanted.endpoints.contains(at)).map(|at| (at, true));
    let new = wanted.endpoints.iter().filter(|at| !now.endpoints.contains(at)).map(|at| (at, false));
    for (at, remove) in new.chain(gone) {
        let parsed = at.parse::<std::net::SocketAddr>();
        let act = match parsed {
            Ok(address) => Act::Endpoint(EndpointSetRequest {
                region: now.region.clone(),
                ip: address.ip().to_string(),
                port: address.port(),
                remove,
                ..Default::default()
            }),
            Err(_) => Act::Cannot("it is no ip:port"),
        };
        let (before, after) = if remove { (at.as_str(), "") } else { ("", at.as_str()) };
        changes.extend(change(format!("region {}", now.region), one("endpoint", before, after), act));
    }
}
