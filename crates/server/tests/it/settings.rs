//! What operators set, in one document, as the commands left it.

use std::time::{SystemTime, UNIX_EPOCH};

use dwcp_api::controller::{ControllerConfigure, ControllerConfigureRequest};
use dwcp_api::freeze::{FreezeSet, FreezeSetRequest, FreezeState};
use dwcp_api::maintenance::{
    MaintenanceCancel, MaintenanceCancelRequest, MaintenanceSchedule, MaintenanceScheduleRequest,
};
use dwcp_api::page::Nothing;
use dwcp_api::policy::{PoliciesSet, PoliciesSetRequest};
use dwcp_api::region::{
    PlacementSwitchRequest, RegionDisable, RegionDisablePlacement, RegionDisableRequest, RegionEnable,
    RegionEnableRequest, RegionTraffic, RegionTrafficRequest,
};
use dwcp_api::settings::{RegionPut, Settings, SettingsRead};
use dwcp_api::site::{
    DecommissionRequest, EndpointSet, EndpointSetRequest, RegionConfigure, RegionConfigureRequest,
    RegionDecommission,
};
use serde_json::Value;

use crate::http_node::{HOST, REGION, Served};

fn settings(served: &Served) -> Settings {
    served.call::<SettingsRead>(&Nothing {}).expect("settings")
}

/// The document without what ages by itself.
fn document(served: &Served) -> Value {
    let mut value = serde_json::to_value(settings(served)).expect("a document");
    value.as_object_mut().expect("fields").remove("as_of");
    value
}

fn configure(latitude: Option<f64>, vcpu: f64, tags: &[&str]) -> RegionConfigureRequest {
    RegionConfigureRequest {
        region: REGION.to_owned(),
        latitude,
        longitude: latitude.map(|_| -8.682_101),
        vcpu_usd_hour: Some(vcpu),
        compliance: Some(tags.iter().map(ToString::to_string).collect()),
        ..Default::default()
    }
}

fn scoring(cost: u32, profile: &str) -> ControllerConfigureRequest {
    let weights = [("cost".to_owned(), cost)].into();
    ControllerConfigureRequest { profile: Some(profile.to_owned()), weights, ..Default::default() }
}

fn endpoint(remove: bool) -> EndpointSetRequest {
    let (region, ip) = (REGION.to_owned(), "2001:db8::1".to_owned());
    EndpointSetRequest { region, ip, port: 443, remove, ..Default::default() }
}

#[test]
fn the_document_follows_every_command_and_the_commands_lead_back_to_it() {
    let served = Served::start("settings");
    let region = || REGION.to_owned();
    served
        .call::<RegionConfigure>(&configure(Some(50.110_9), 0.0412, &["soc2", "gdpr"]))
        .expect("configured");
    let before = document(&served);
    let set = settings(&served);
    assert_eq!((set.regions.len(), set.hosts[0].host.as_str(), set.freeze), (1, HOST, FreezeState::Active));
    let of = &set.regions[0];
    assert_eq!((of.state, of.placement, of.traffic_percent), (RegionPut::Active, true, 100));
    assert_eq!((of.latitude, of.longitude, of.vcpu_usd_hour), (Some(50.110_9), Some(-8.682_101), 0.0412));
    assert_eq!(of.compliance, ["gdpr", "soc2"]);

    let disable = RegionDisableRequest { region: region(), ..Default::default() };
    served.call::<RegionDisable>(&disable).expect("disabled");
    served.call::<RegionConfigure>(&configure(Some(1.0), 2.5, &[])).expect("configured");
    served.call::<EndpointSet>(&endpoint(false)).expect("an endpoint");
    let end = |at_ms| DecommissionRequest { region: region(), at_ms, ..Default::default() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    served.call::<RegionDecommission>(&end(Some(now + 90_000_000))).expect("announced");
    let policy = |failovers| PoliciesSetRequest { failovers_per_hour: Some(failovers), ..Default::default() };
    served.call::<PoliciesSet>(&policy(1)).expect("policies");
    served.call::<ControllerConfigure>(&scoring(90, "cost")).expect("controllers");
    let freeze = |state| FreezeSetRequest { state, ..Default::default() };
    served.call::<FreezeSet>(&freeze(FreezeState::NoMoves)).expect("frozen");
    let window = MaintenanceScheduleRequest {
        host: Some(HOST.to_owned()),
        starts_at_ms: now + 3_600_000,
        duration_ms: 60_000,
        reason: "disks".to_owned(),
        no_placement: true,
        ..Default::default()
    };
    let planned = served.call::<MaintenanceSchedule>(&window).expect("planned").window.window;

    let set = settings(&served);
    let of = &set.regions[0];
    assert_eq!((of.state, of.placement, of.traffic_percent), (RegionPut::Disabled, false, 0));
    assert_eq!((of.endpoints.as_slice(), of.vcpu_usd_hour), (&["[2001:db8::1]:443".to_owned()][..], 2.5));
    assert_eq!(of.decommission_at_ms, Some(now + 90_000_000));
    assert_eq!((set.policies.failovers_per_hour, set.controller.weights["cost"]), (1, 90));
    assert_eq!((set.controller.profile.as_str(), set.freeze), ("cost", FreezeState::NoMoves));
    let shown = &set.windows[0];
    assert_eq!(
        (shown.window.as_str(), shown.host.as_deref(), shown.no_placement),
        (planned.as_str(), Some(HOST), true)
    );

    served.call::<FreezeSet>(&freeze(FreezeState::Active)).expect("thawed");
    let cancel = MaintenanceCancelRequest { window: planned, ..Default::default() };
    served.call::<MaintenanceCancel>(&cancel).expect("called off");
    served.call::<ControllerConfigure>(&scoring(25, "balanced")).expect("controllers");
    served.call::<PoliciesSet>(&policy(6)).expect("policies");
    served.call::<RegionDecommission>(&end(None)).expect("not to end");
    served.call::<EndpointSet>(&endpoint(true)).expect("no endpoint");
    served
        .call::<RegionConfigure>(&configure(Some(50.110_9), 0.0412, &["gdpr", "soc2"]))
        .expect("configured");
    let enable = RegionEnableRequest { region: region(), traffic_percent: Some(100), ..Default::default() };
    served.call::<RegionEnable>(&enable).expect("enabled");
    assert_eq!(document(&served), before);
}

#[test]
fn the_switches_of_a_region_are_in_the_document() {
    let served = Served::start("settings-switches");
    let region = || REGION.to_owned();
    let placement = PlacementSwitchRequest { region: region(), ..Default::default() };
    served.call::<RegionDisablePlacement>(&placement).expect("closed");
    let traffic = RegionTrafficRequest { region: region(), percent: 35, ..Default::default() };
    served.call::<RegionTraffic>(&traffic).expect("traffic");
    let set = settings(&served);
    assert_eq!((set.regions[0].placement, set.regions[0].traffic_percent), (false, 35));
}
