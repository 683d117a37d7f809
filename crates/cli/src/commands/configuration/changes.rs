//! What differs between the configuration of a backup and that of now, and the command that undoes each difference.

use std::collections::BTreeMap;

use dwcp_api::backup::BackupConfigureRequest;
use dwcp_api::controller::ControllerConfigureRequest;
use dwcp_api::controllers::ControllersScaleRequest;
use dwcp_api::freeze::{FreezeSetRequest, FreezeState};
use dwcp_api::image::{ImagePublishRequest, ImageRemoveRequest};
use dwcp_api::maintenance::{MaintenanceCancelRequest, MaintenanceScheduleRequest};
use dwcp_api::policy::PoliciesSetRequest;
use dwcp_api::protection::VmProtectRequest;
use dwcp_api::region::{RegionDisableRequest, RegionEnableRequest, RegionTrafficRequest};
use dwcp_api::settings::{Settings, WindowSet};
use dwcp_api::site::{DecommissionRequest, EndpointSetRequest, RegionConfigureRequest};
use dwcp_api::state::ReplicationConfigureRequest;
use serde::Serialize;
use serde_json::Value;

mod region;

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    pub setting: String,
    /// As it is now.
    pub before: String,
    /// As the backup has it.
    pub after: String,
}

/// What undoes a difference: an ordinary command with its own checks.
#[derive(Clone, Debug)]
pub enum Act {
    Policies(Box<PoliciesSetRequest>),
    Controller(ControllerConfigureRequest),
    Replication(ReplicationConfigureRequest),
    Freeze(FreezeSetRequest),
    Backups(BackupConfigureRequest),
    Enable(RegionEnableRequest),
    Disable(RegionDisableRequest),
    /// Whether new VMs may be placed in a region.
    Placement(String, bool),
    Traffic(RegionTrafficRequest),
    Configure(Box<RegionConfigureRequest>),
    Endpoint(EndpointSetRequest),
    Decommission(DecommissionRequest),
    Scale(ControllersScaleRequest),
    Plan(MaintenanceScheduleRequest),
    CallOff(MaintenanceCancelRequest),
    /// The digest that the image must have.
    Publish(ImagePublishRequest, String),
    Unpublish(ImageRemoveRequest),
    Protect(Box<VmProtectRequest>),
    /// Nothing does; why.
    Cannot(&'static str),
}

/// A difference that one command undoes.
#[derive(Clone, Debug)]
pub struct Change {
    /// What differs: `region us-east-1`.
    pub subject: String,
    pub fields: Vec<Field>,
    pub act: Act,
}

/// Every difference, in the order in which they are to be undone.
pub fn difference(wanted: &Settings, now: &Settings, now_ms: u64) -> Vec<Change> {
    let mut changes = Vec::new();
    let freeze = freeze(wanted.freeze, now.freeze);
    let thaws = strictness(wanted.freeze) < strictness(now.freeze);
    // What the switch stops could not be undone below it.
    changes.extend(freeze.clone().filter(|_| thaws));
    changes.extend(policies(wanted, now));
    changes.extend(controller(wanted, now));
    changes.extend(replication(wanted, now));
    region::regions(wanted, now, &mut changes);
    hosts(wanted, now, &mut changes);
    changes.extend(backups(wanted, now));
    images(wanted, now, &mut changes);
    protections(wanted, now, &mut changes);
    windows(wanted, now, now_ms, &mut changes);
    changes.extend(freeze.filter(|_| !thaws));
    changes
}

fn strictness(state: FreezeState) -> u8 {
    match state {
        FreezeState::Active => 0,
        FreezeState::NoMoves => 1,
        FreezeState::Frozen => 2,
    }
}

/// A value as one line.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let known = fields.iter().filter(|(_, value)| !value.is_null());
            known.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn object<T: Serialize>(of: &T) -> serde_json::Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    }
}

/// The fields of two records that differ.
fn fields<T: Serialize>(now: &T, wanted: &T) -> Vec<Field> {
    let before = object(now);
    let differs = |(key, value): &(String, Value)| before.get(key) != Some(value);
    let all = object(wanted).into_iter().filter(differs);
    all.map(|(key, value)| Field {
        before: before.get(&key).map(text).unwrap_or_default(),
        after: text(&value),
        setting: key,
    })
    .collect()
}

fn one(setting: &str, before: impl Into<String>, after: impl Into<String>) -> Vec<Field> {
    vec![Field { setting: setting.to_owned(), before: before.into(), after: after.into() }]
}

fn change(subject: impl Into<String>, fields: Vec<Field>, act: Act) -> Option<Change> {
    (!fields.is_empty()).then(|| Change { subject: subject.into(), fields, act })
}

/// The value that is wanted where it is another one than now.
fn other<T: Clone + PartialEq>(now: &T, wanted: &T) -> Option<T> {
    (now != wanted).then(|| wanted.clone())
}

/// A word of the API as it is typed.
fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).map_or_else(|_| String::new(), |value| text(&value))
}

fn freeze(wanted: FreezeState, now: FreezeState) -> Option<Change> {
    let request = FreezeSetRequest { state: wanted, ..Default::default() };
    let fields = if wanted == now { Vec::new() } else { one("state", word(&now), word(&wanted)) };
    change("freeze", fields, Act::Freeze(request))
}

fn policies(wanted: &Settings, now: &Settings) -> Option<Change> {
    let (now, wanted) = (&now.policies, &wanted.policies);
    let request = PoliciesSetRequest {
        auto_failover: other(&now.auto_failover, &wanted.auto_failover),
        loss_after_ms: other(&now.loss_after_ms, &wanted.loss_after_ms),
        return_after_ms: other(&now.return_after_ms, &wanted.return_after_ms),
        failovers_per_hour: other(&now.failovers_per_hour, &wanted.failovers_per_hour),
        cpu_overcommit_percent: other(&now.cpu_overcommit_percent, &wanted.cpu_overcommit_percent),
        memory_overcommit_percent: other(&now.memory_overcommit_percent, &wanted.memory_overcommit_percent),
        rto_target_ms: other(&now.rto_target_ms, &wanted.rto_target_ms),
        ..Default::default()
    };
    change("policies", fields(now, wanted), Act::Policies(Box::new(request)))
}

fn controller(wanted: &Settings, now: &Settings) -> Option<Change> {
    let (now, wanted) = (&now.controller, &wanted.controller);
    let request = ControllerConfigureRequest {
        placement_cache_ttl_ms: other(&now.placement_cache_ttl_ms, &wanted.placement_cache_ttl_ms),
        parallel_scoring: other(&now.parallel_scoring, &wanted.parallel_scoring),
        profile: other(&now.profile, &wanted.profile),
        weights: other(&now.weights, &wanted.weights).unwrap_or_default(),
        ..Default::default()
    };
    change("controllers", fields(now, wanted), Act::Controller(request))
}

/// A backup that says nothing of it, of an older version, leaves it as it is.
fn replication(wanted: &Settings, now: &Settings) -> Option<Change> {
    let (now, wanted) = (now.replication.as_ref()?, wanted.replication.as_ref()?);
    let request = ReplicationConfigureRequest {
        replication_workers: other(&now.replication_workers, &wanted.replication_workers),
        compression: other(&now.compression, &wanted.compression),
        sync_interval_ms: other(&now.sync_interval_ms, &wanted.sync_interval_ms),
        ..Default::default()
    };
    change("replication", fields(now, wanted), Act::Replication(request))
}

fn hosts(wanted: &Settings, now: &Settings, changes: &mut Vec<Change>) {
    let keyed = |settings: &Settings| -> BTreeMap<_, _> {
        settings.hosts.iter().map(|host| ((host.region.clone(), host.host.clone()), host.clone())).collect()
    };
    let (now, wanted) = (keyed(now), keyed(wanted));
    for (key, host) in &wanted {
        let subject = format!("host {}/{}", key.0, key.1);
        changes.extend(match now.get(key) {
            Some(found) => change(
                subject,
                fields(found, host),
                Act::Cannot("its own host.yaml says so: change it there"),
            ),
            None => change(
                subject,
                one("host", "", &key.1),
                Act::Cannot("it is not there: its agent brings it in"),
            ),
        });
    }
    for key in now.keys().filter(|key| !wanted.contains_key(*key)) {
        let why = "it came since: it goes with its agent";
        changes.extend(change(
            format!("host {}/{}", key.0, key.1),
            one("host", &key.1, ""),
            Act::Cannot(why),
        ));
    }
}

fn backups(wanted: &Settings, now: &Settings) -> Option<Change> {
    let Some(plan) = &wanted.backups else {
        let since = now.backups.as_ref()?;
        let why = "there is no way to none at all: configure another plan";
        return change("backups", one("destination", &since.destination, ""), Act::Cannot(why));
    };
    let request = BackupConfigureRequest {
        interval_ms: plan.interval_ms,
        keep_within_ms: plan.keep_within_ms,
        keep_last: plan.keep_within_ms.is_none().then_some(plan.keep_last),
        destination: plan.destination.clone(),
        key_file: plan.key_file.clone(),
        ..Default::default()
    };
    let fields = match &now.backups {
        Some(now) => fields(now, plan),
        None => one("destination", "", &plan.destination),
    };
    change("backups", fields, Act::Backups(request))
}

fn images(wanted: &Settings, now: &Settings, changes: &mut Vec<Change>) {
    let keyed = |settings: &Settings| -> BTreeMap<String, String> {
        settings.images.iter().map(|image| (image.image.clone(), image.digest.clone())).collect()
    };
    let (now, wanted) = (keyed(now), keyed(wanted));
    for (name, digest) in wanted.iter().filter(|(name, digest)| now.get(*name) != Some(digest)) {
        let request = ImagePublishRequest { image: name.clone(), ..Default::default() };
        let before = now.get(name).cloned().unwrap_or_default();
        let act = Act::Publish(request, digest.clone());
        changes.extend(change(format!("image {name}"), one("digest", before, digest), act));
    }
    for (name, digest) in now.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
        let request = ImageRemoveRequest { image: name.clone(), ..Default::default() };
        changes.extend(change(format!("image {name}"), one("digest", digest, ""), Act::Unpublish(request)));
    }
}

fn protections(wanted: &Settings, now: &Settings, changes: &mut Vec<Change>) {
    let keyed = |settings: &Settings| -> BTreeMap<_, _> {
        settings.protections.iter().map(|vm| (vm.vm.clone(), vm.protection.clone())).collect()
    };
    let (now, wanted) = (keyed(now), keyed(wanted));
    for (name, protection) in &wanted {
        let before = now.get(name).cloned().unwrap_or_default();
        let request =
            VmProtectRequest { vm: name.clone(), protection: protection.clone(), ..Default::default() };
        let act = Act::Protect(Box::new(request));
        changes.extend(change(format!("protection of VM {name}"), fields(&before, protection), act));
    }
    for (name, protection) in now.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
        let why = "it is protected since: nothing gives up a copy of a disk that nobody named";
        let subject = format!("protection of VM {name}");
        changes.extend(change(subject, one("mode", word(&protection.mode), "none"), Act::Cannot(why)));
    }
}

/// A window without its number.
fn planned(window: &WindowSet) -> WindowSet {
    WindowSet { window: String::new(), ..window.clone() }
}

fn windows(wanted: &Settings, now: &Settings, now_ms: u64, changes: &mut Vec<Change>) {
    let subject =
        |window: &WindowSet| format!("maintenance of {}", window.host.as_ref().unwrap_or(&window.region));
    let span = |window: &WindowSet| {
        format!(
            "{} to {}",
            crate::show::words::instant(window.starts_at_ms),
            crate::show::words::instant(window.ends_at_ms)
        )
    };
    let is_there =
        |all: &[WindowSet], one: &WindowSet| all.iter().any(|window| planned(window) == planned(one));
    for window in now.windows.iter().filter(|window| !is_there(&wanted.windows, window)) {
        let request = MaintenanceCancelRequest { window: window.window.clone(), ..Default::default() };
        let fields = one("window", span(window), "");
        changes.extend(change(subject(window), fields, Act::CallOff(request)));
    }
    // One that is over by now is over here as well.
    let open = wanted.windows.iter().filter(|window| window.ends_at_ms > now_ms);
    for window in open.filter(|window| !is_there(&now.windows, window)) {
        let request = MaintenanceScheduleRequest {
            region: window.host.is_none().then(|| window.region.clone()),
            host: window.host.as_ref().map(|host| format!("{}/{host}", window.region)),
            starts_at_ms: window.starts_at_ms,
            duration_ms: window.ends_at_ms.saturating_sub(window.starts_at_ms),
            reason: window.reason.clone(),
            no_placement: window.no_placement,
            dry_run: false,
        };
        let act = match window.starts_at_ms > now_ms {
            true => Act::Plan(request),
            false => Act::Cannot("it would have begun already: plan what is left of it"),
        };
        changes.extend(change(subject(window), one("window", "", span(window)), act));
    }
}
