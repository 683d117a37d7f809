//! What is promised: the standard promises of the operations guide, and what was made, changed or ended since.

use std::collections::BTreeMap;

use dwcp_api::sla::{SlaCredit, SlaMeasure, SlaPromise};
use dwcp_decide::sla::{Objective, Period, Sla, Subject};
use dwcp_state::DocumentKind;
use dwcp_types::{Refusal, Wall};

use crate::monitor::documents::{Documents, Draft};

const KIND: DocumentKind = DocumentKind::Sla;
/// Promises that can be made.
pub const MOST: usize = 200;
/// From this part of what is allowed on it is at risk, in parts per million.
const AT_RISK_PPM: u32 = 750_000;
const DAY_MS: u64 = 86_400_000;

/// Operations guide, 9.1.
fn standard() -> [SlaPromise; 4] {
    let credit = |below_ppm, above_ms, for_ms, percent| SlaCredit { below_ppm, above_ms, for_ms, percent };
    let promise = |name: &str, measure, credits| SlaPromise {
        name: name.to_owned(),
        scope: "federation".to_owned(),
        vm: None,
        measure,
        target_ppm: None,
        limit_ms: None,
        period_days: None,
        exclude_maintenance: false,
        credits,
        standard: true,
    };
    let availability = vec![credit(Some(999_000), None, None, 10), credit(Some(990_000), None, None, 25)];
    let latency = vec![credit(None, Some(100), Some(3_600_000), 5)];
    let failover = vec![credit(None, Some(60_000), None, 10)];
    let loss = vec![credit(None, Some(0), None, 100)];
    [
        SlaPromise {
            target_ppm: Some(999_500),
            ..promise("vm-availability", SlaMeasure::Availability, availability)
        },
        SlaPromise {
            target_ppm: Some(990_000),
            limit_ms: Some(100),
            ..promise("p99-latency", SlaMeasure::Latency, latency)
        },
        SlaPromise { limit_ms: Some(30_000), ..promise("failover-time", SlaMeasure::FailoverTime, failover) },
        SlaPromise { limit_ms: Some(0), ..promise("data-loss", SlaMeasure::DataLoss, loss) },
    ]
}

/// Everything that is promised, by name.
///
/// # Errors
/// A later version wrote one.
pub fn all(seen: &Documents) -> Result<Vec<SlaPromise>, Refusal> {
    let mut all: BTreeMap<String, SlaPromise> =
        standard().into_iter().map(|promise| (promise.name.clone(), promise)).collect();
    // None: a standard promise that was ended.
    for (name, made) in seen.all::<Option<SlaPromise>>(KIND)? {
        match made {
            Some(promise) => all.insert(name, promise),
            None => all.remove(&name),
        };
    }
    Ok(all.into_values().collect())
}

/// Drafts a promise.
///
/// # Errors
/// It can't be written.
pub fn put(draft: &mut Draft, promise: &SlaPromise) -> Result<(), Refusal> {
    draft.put(KIND, &promise.name, &Some(promise))
}

/// Drafts that a promise ends.
///
/// # Errors
/// It can't be written.
pub fn end(draft: &mut Draft, name: &str) -> Result<(), Refusal> {
    if standard().iter().any(|promise| promise.name == name) {
        return draft.put(KIND, name, &None::<SlaPromise>);
    }
    draft.remove(KIND, name);
    Ok(())
}

/// As it is computed with.
pub fn sla(promise: &SlaPromise) -> Sla {
    let limit_ms = promise.limit_ms.unwrap_or(0);
    let target_ppm = promise.target_ppm.unwrap_or(0);
    let objective = match promise.measure {
        SlaMeasure::Availability => {
            Objective::Availability { target_ppm, without_maintenance: promise.exclude_maintenance }
        }
        SlaMeasure::Latency => {
            Objective::Latency { share_ppm: target_ppm, limit_us: limit_ms.saturating_mul(1_000) }
        }
        SlaMeasure::FailoverTime => Objective::FailoverTime { limit_ms },
        SlaMeasure::DataLoss => Objective::DataLoss { limit_ms },
    };
    Sla { name: promise.name.clone(), objective, at_risk_ppm: AT_RISK_PPM }
}

/// Whom it is for.
pub fn subject(promise: &SlaPromise) -> Subject {
    match (promise.scope.strip_prefix("tenant:"), promise.vm.as_ref().and_then(|vm| vm.parse().ok())) {
        (Some(tenant), _) => Subject::Tenant(tenant.to_owned()),
        (None, Some(vm)) => Subject::Vm(vm),
        (None, None) => Subject::Federation,
    }
}

/// Its period at a moment: the month, or so many days, today among them as a whole.
pub fn period(promise: &SlaPromise, now: Wall) -> Period {
    let Some(days) = promise.period_days else { return Period::month(now) };
    let today = Period::day(now);
    let before = u64::from(days.saturating_sub(1)).saturating_mul(DAY_MS);
    Period { from: Wall(today.from.0.saturating_sub(before)), until: today.until }
}
