//! What regions have of each resource, what of it is used, and for how long it lasts.

use std::collections::BTreeMap;

use dwcp_api::Problem;
use dwcp_api::capacity::{CapacityRead, CapacityReadRequest, CapacityRow, CapacityState, CapacitySummary};
use dwcp_api::region::{RegionSummary, Usage};
use dwcp_config::capacity::{RESOURCES, Threshold};
use dwcp_telemetry::model::Value;

use super::call::Call;
use super::metrics::blocking;
use super::routes::Serve;
use super::{names, reader, regions};
use crate::clock;
use crate::telemetry::reader::Reader;

/// The use of each of [`RESOURCES`] by region, percent: as the rules of capacity have it.
const USED: [&str; 5] = [
    "avg by (region) (dwcp_federation_cpu_utilization)",
    "avg by (region) (dwcp_federation_memory_utilization)",
    "avg by (region) (dwcp_federation_storage_utilization)",
    "avg by (region) (dwcp_federation_network_utilization)",
    "100 * sum by (region) (dwcp_federation_active_vms) / (sum by (region) (dwcp_federation_vm_capacity) > 0)",
];
const ACTIVE_VMS: &str = "sum by (region) (dwcp_federation_active_vms)";
const VM_CAPACITY: &str = "sum by (region) (dwcp_federation_vm_capacity)";
/// Growth is that of a week, of which at least a day must have been measured.
const SPAN: &str = "7d:1h";
const LEAST_HOURS: u32 = 24;
const DAY_S: f64 = 86_400.0;
/// Slower growth than this is none, percentage points a day.
const FLAT: f64 = 1e-3;

type ByRegion = BTreeMap<String, f64>;
/// What can be given away, and what is.
type Amounts = (Option<u64>, Option<u64>);

/// What was measured.
struct Measured {
    used: [ByRegion; 5],
    growth: [ByRegion; 5],
    vms: ByRegion,
    vm_capacity: ByRegion,
    warnings: Vec<String>,
}

impl Measured {
    fn read(reader: &Reader, at_ms: i64) -> Measured {
        let mut warnings = Vec::new();
        let mut ask = |text: &str| match reader.evaluate(text, at_ms) {
            Ok(found) => found
                .into_iter()
                .filter_map(|(labels, value)| match value {
                    Value::Float(value) if value.is_finite() => {
                        Some((labels.get("region").to_owned(), value))
                    }
                    _ => None,
                })
                .collect(),
            Err(why) => {
                warnings.push(why);
                ByRegion::new()
            }
        };
        let used = USED.map(&mut ask);
        let growth = USED.map(|text| {
            let known = format!("count_over_time(({text})[{SPAN}]) >= {LEAST_HOURS}");
            ask(&format!("deriv(({text})[{SPAN}]) * {DAY_S} and on (region) {known}"))
        });
        let (vms, vm_capacity) = (ask(ACTIVE_VMS), ask(VM_CAPACITY));
        warnings.sort_unstable();
        warnings.dedup();
        warnings.extend(reader.missing().iter().map(|(region, why)| format!("{region} is missing: {why}")));
        Measured { used, growth, vms, vm_capacity, warnings }
    }
}

fn state(used: Option<f64>, threshold: &Threshold) -> CapacityState {
    match used {
        None => CapacityState::Unknown,
        Some(used) if used > threshold.critical => CapacityState::Critical,
        Some(used) if used > threshold.warning => CapacityState::Warning,
        Some(_) => CapacityState::Ok,
    }
}

/// Days until a use that grows is critical.
fn days(used: Option<f64>, growth: Option<f64>, critical: f64) -> Option<f64> {
    let used = used?;
    if used > critical {
        return Some(0.0);
    }
    growth.filter(|growth| *growth > FLAT).map(|growth| (critical - used) / growth)
}

/// The rows of a region.
fn rows(region: &RegionSummary, measured: &Measured, thresholds: &[Threshold; 5]) -> Vec<CapacityRow> {
    let name = &region.region;
    let amount = |of: &ByRegion| of.get(name).map(|amount| amount.max(0.0) as u64);
    let given = |usage: &Usage| (usage.capacity, usage.allocated);
    let amounts = [
        ("vCPU", given(&region.cpu)),
        ("MiB", given(&region.memory)),
        ("GiB", given(&region.storage)),
        ("", (None, None)),
        ("VMs", (amount(&measured.vm_capacity), amount(&measured.vms))),
    ];
    let row = |(at, (unit, (capacity, allocated))): (usize, (&str, Amounts))| {
        let threshold = &thresholds[at];
        let used = measured.used[at].get(name).copied();
        let growth = measured.growth[at].get(name).copied();
        CapacityRow {
            region: name.clone(),
            resource: RESOURCES[at].to_owned(),
            unit: unit.to_owned(),
            capacity,
            allocated,
            headroom: capacity.zip(allocated).map(|(all, given)| all.saturating_sub(given)),
            used_percent: used,
            warning_percent: threshold.warning,
            critical_percent: threshold.critical,
            state: state(used, threshold),
            growth_per_day: growth,
            days_to_critical: days(used, growth, threshold.critical),
        }
    };
    amounts.into_iter().enumerate().map(row).collect()
}

impl Serve for CapacityRead {
    async fn answer(call: &Call, request: CapacityReadRequest) -> Result<CapacitySummary, Problem> {
        let lately = call.api.outlook.lately();
        let (regions, as_of) = call
            .find(move |view| {
                if let Some(region) = &request.region {
                    names::region(view, region)?;
                }
                let wanted = |summary: &RegionSummary| {
                    request.region.as_ref().is_none_or(|only| *only == summary.region)
                };
                let all: Vec<RegionSummary> =
                    regions::summaries(view, &lately).into_iter().filter(wanted).collect();
                Ok((all, names::as_of(view)))
            })
            .await?;
        let reader = reader(&call.api).await?;
        let thresholds = call.api.monitor().rules.in_force().thresholds.0;
        let measured = blocking(move || Ok(Measured::read(&reader, clock::wall_ms()))).await?;
        let rows = regions.iter().flat_map(|region| rows(region, &measured, &thresholds)).collect();
        Ok(CapacitySummary { rows, warnings: measured.warnings, as_of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_told_by_its_thresholds_and_by_the_days_that_are_left() {
        let threshold = Threshold { warning: 70.0, critical: 85.0 };
        let told = |used| state(used, &threshold);
        assert_eq!(told(None), CapacityState::Unknown);
        assert_eq!(told(Some(70.0)), CapacityState::Ok);
        assert_eq!(told(Some(70.1)), CapacityState::Warning);
        assert_eq!(told(Some(85.1)), CapacityState::Critical);
        assert_eq!(days(Some(65.0), Some(2.0), 85.0), Some(10.0));
        assert_eq!(days(Some(90.0), Some(-1.0), 85.0), Some(0.0));
        for (used, growth) in
            [(None, Some(1.0)), (Some(10.0), None), (Some(10.0), Some(0.0)), (Some(10.0), Some(-3.0))]
        {
            assert_eq!(days(used, growth, 85.0), None);
        }
    }
}
