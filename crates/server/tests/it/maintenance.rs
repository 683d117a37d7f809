//! Maintenance windows over the API of one region, with the node's own reconciler and clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dwcp_api::event::{EventList, EventListRequest};
use dwcp_api::host::{HostRead, HostReadRequest, HostState};
use dwcp_api::maintenance::*;
use dwcp_api::region::{RegionRead, RegionReadRequest, RegionSummary};
use dwcp_api::vm::{VmCreate, VmCreateRequest};

use crate::http_node::{HOST, REGION, Served};

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

fn request(starts_in_ms: u64, lasts_ms: u64) -> MaintenanceScheduleRequest {
    MaintenanceScheduleRequest {
        region: Some(REGION.to_owned()),
        starts_at_ms: now_ms() + starts_in_ms,
        duration_ms: lasts_ms,
        reason: "disks".to_owned(),
        no_placement: true,
        ..Default::default()
    }
}

fn summary(served: &Served) -> RegionSummary {
    let read = RegionReadRequest { region: REGION.to_owned(), watch: false };
    served.call::<RegionRead>(&read).expect("region").summary
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Kinds of the events about maintenance, oldest first.
fn told(served: &Served) -> Vec<String> {
    let all = served.call::<EventList>(&EventListRequest::default()).expect("events").items;
    let kinds = all.into_iter().rev().map(|event| event.kind);
    kinds.filter_map(|kind| kind.strip_prefix("maintenance.").map(str::to_owned)).collect()
}

#[test]
fn a_window_of_a_region_is_told_once_closes_it_mutes_it_and_opens_it_again() {
    let served = Served::start("maintenance-region");
    let answer = served.call::<MaintenanceSchedule>(&request(1_500, 3_000)).expect("planned");
    assert_eq!((answer.window.window.as_str(), answer.window.state), ("window-001", WindowState::Planned));
    assert!(summary(&served).placement.enabled && summary(&served).health.maintenance.is_none());

    until("placement stops", || !summary(&served).placement.enabled);
    let region = summary(&served);
    let window = region.health.maintenance.expect("it is in maintenance");
    assert_eq!((window.window.as_str(), window.reason.as_str()), ("window-001", "disks"));
    assert_eq!(window.until_at_ms, answer.window.ends_at_ms);
    assert_eq!(region.placement.by.as_deref(), Some("window-001"));
    assert!(region.health.deductions.iter().all(|of| of.muted_by.as_deref() == Some("window-001")));
    let refused = VmCreateRequest { name: "no".to_owned(), ..Default::default() };
    let refused = served.call::<VmCreate>(&refused).expect_err("closed");
    assert!(refused.cause.iter().any(|cause| cause.contains("window-001")), "{refused:?}");

    until("placement comes back", || summary(&served).placement.enabled);
    until("its end is told", || told(&served).last().is_some_and(|kind| kind == "ended"));
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(told(&served), ["planned", "started", "ended"], "each once");
    assert!(summary(&served).health.maintenance.is_none());
    let open = served.call::<MaintenanceList>(&MaintenanceListRequest::default()).expect("list");
    let all = MaintenanceListRequest { all: true, ..Default::default() };
    let all = served.call::<MaintenanceList>(&all).expect("list");
    assert_eq!((open.items.len(), all.items.len(), all.items[0].state), (0, 1, WindowState::Over));
}

#[test]
fn a_window_of_a_host_closes_the_host_alone_and_one_called_off_opens_it_at_once() {
    let served = Served::start("maintenance-host");
    let host = || {
        let read = HostReadRequest { host: HOST.to_owned() };
        served.call::<HostRead>(&read).map(|answer| answer.host)
    };
    until("the host is there", || host().is_ok());
    let ask =
        MaintenanceScheduleRequest { region: None, host: Some(HOST.to_owned()), ..request(1_000, 600_000) };
    let dry =
        served.call::<MaintenanceSchedule>(&MaintenanceScheduleRequest { dry_run: true, ..ask.clone() });
    assert_eq!(dry.expect("a preview").window.window, "");
    let answer = served.call::<MaintenanceSchedule>(&ask).expect("planned");
    assert_eq!(answer.window.host.as_deref(), Some(HOST));
    until("the host is closed", || host().is_ok_and(|host| host.state == HostState::Draining));
    assert!(host().expect("host").maintenance.is_some() && summary(&served).placement.enabled);
    assert!(summary(&served).health.maintenance.is_none(), "the region itself is not in maintenance");

    let cancel = MaintenanceCancelRequest { window: "window-001".to_owned(), ..Default::default() };
    let cancelled = served.call::<MaintenanceCancel>(&cancel).expect("called off").window;
    assert_eq!(cancelled.state, WindowState::Cancelled);
    until("the host is open", || host().is_ok_and(|host| host.state == HostState::Up));
    assert!(host().expect("host").maintenance.is_none());
    assert_eq!(served.call::<MaintenanceCancel>(&cancel).expect_err("again").code, "DWCP-R0035");
    assert_eq!(told(&served), ["planned", "started", "cancelled"]);
}

#[test]
fn what_can_not_be_planned_is_refused_and_nothing_is_kept() {
    let served = Served::start("maintenance-refused");
    let ask = request(60_000, 1_000);
    let wrong = |change: fn(&mut MaintenanceScheduleRequest)| {
        let mut asked = ask.clone();
        change(&mut asked);
        served.call::<MaintenanceSchedule>(&asked).expect_err("refused")
    };
    assert_eq!(wrong(|ask| ask.starts_at_ms = 1_000).field.as_deref(), Some("starts_at_ms"));
    assert_eq!(wrong(|ask| ask.duration_ms = 0).field.as_deref(), Some("duration_ms"));
    assert_eq!(wrong(|ask| ask.reason = " ".to_owned()).field.as_deref(), Some("reason"));
    assert_eq!(wrong(|ask| ask.host = Some(HOST.to_owned())).field.as_deref(), Some("region"));
    assert_eq!(wrong(|ask| ask.region = Some("mars".to_owned())).status, 404);
    let unknown = MaintenanceCancelRequest { window: "window-009".to_owned(), ..Default::default() };
    let unknown = served.call::<MaintenanceCancel>(&unknown).expect_err("unknown");
    assert_eq!((unknown.status, unknown.code.as_str()), (404, "DWCP-R0062"));
    let all = MaintenanceListRequest { all: true, ..Default::default() };
    assert_eq!(served.call::<MaintenanceList>(&all).expect("list").items.len(), 0);
    served.call::<MaintenanceSchedule>(&ask).expect("planned");
    assert_eq!(served.call::<MaintenanceSchedule>(&ask).expect_err("at the same time").code, "DWCP-R0035");
}
