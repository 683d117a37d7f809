//! What was promised, what was measured, and whether it was kept: availability, latency, failover time, data loss.
//!
//! All of it is whole numbers: milliseconds, requests and parts per million. What was not measured is not taken as
//! good: it is told apart, and a verdict that hangs on it is [`Verdict::Unknown`]. Time is UTC.

mod account;
mod availability;
mod breach;
mod calendar;
mod failovers;
mod latency;
mod sight;
mod tally;
mod times;

use dwcp_types::VmId;

pub use account::{Account, Day, Outage};
pub use availability::{
    Assessed, Availability, Budget, Observed, State, Timeline, assess, burn_milli, history, measure,
};
pub use breach::{Breach, Evidence, availability_breach, failover_breach, latency_breach, spent_at};
pub use calendar::{Period, Step};
pub use failovers::{FailoverOutcome, FailoverResult, Loss, data_loss, failover_time};
pub use latency::{Latency, LatencyCounts, latency, sustained};
pub use sight::{Pause, Planned, Sight, Sights, Stand, sights};
pub use tally::{Found, Tally, assess_counted};
pub use times::Times;

/// One million: parts per million of a whole.
pub const WHOLE_PPM: u32 = 1_000_000;

/// Whom a promise is measured for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Everybody. Availability is of all VMs, each weighing as much as the time that it was to be there.
    Federation,
    /// All VMs and requests of one tenant.
    Tenant(String),
    Vm(VmId),
}

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// At least so much of the time up, in parts per million; planned maintenance is no part of the time if it is left out.
    Availability { target_ppm: u32, without_maintenance: bool },
    /// So many of the requests, in parts per million, take at most `limit_us`.
    Latency { share_ppm: u32, limit_us: u64 },
    /// Every failover takes less than this.
    FailoverTime { limit_ms: u64 },
    /// No failover loses more than the writes of this time; 0: none at all.
    DataLoss { limit_ms: u64 },
}

/// A promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sla {
    /// What it is called, such as `vm-availability`.
    pub name: String,
    pub objective: Objective,
    /// It is at risk from this part of what it allows on, in parts per million.
    pub at_risk_ppm: u32,
}

impl Sla {
    /// What the operations guide promises (9.1) when nothing else is agreed, at risk from three quarters on: 99.95 %
    /// availability with maintenance counted, 99 % of the requests within 100 ms, failovers below 30 s, no data lost.
    pub fn defaults() -> [Sla; 4] {
        let sla = |name: &str, objective| Sla { name: name.into(), objective, at_risk_ppm: 750_000 };
        [
            sla(
                "vm-availability",
                Objective::Availability { target_ppm: 999_500, without_maintenance: false },
            ),
            sla("p99-latency", Objective::Latency { share_ppm: 990_000, limit_us: 100_000 }),
            sla("failover-time", Objective::FailoverTime { limit_ms: 30_000 }),
            sla("data-loss", Objective::DataLoss { limit_ms: 0 }),
        ]
    }
}

/// Whether a promise is kept. When several are true, the last of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is kept, whatever was not measured.
    Met,
    /// It is kept, and most of what it allows is used up.
    AtRisk,
    /// It may or may not have been kept: too much was not measured.
    Unknown,
    /// It is broken for certain; nothing that is still to come or to be found out mends it.
    Breached,
}

impl Verdict {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::AtRisk => "at-risk",
            Verdict::Unknown => "unknown",
            Verdict::Breached => "breached",
        }
    }
}

/// `part / whole` in parts per million, rounded down; none of nothing.
pub(crate) fn ppm(part: u64, whole: u64) -> Option<u32> {
    let share = (u128::from(part) * u128::from(WHOLE_PPM)).checked_div(u128::from(whole))?;
    Some(u32::try_from(share).unwrap_or(u32::MAX))
}

/// `ppm` parts per million of `whole`, rounded down.
pub(crate) fn part_of(whole: u64, ppm: u32) -> u64 {
    let part = u128::from(whole) * u128::from(ppm) / u128::from(WHOLE_PPM);
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// The verdict on what is used up of something that is allowed: `certain` is, `possible` may be.
pub(crate) fn verdict(certain: u64, possible: u64, allowed: u64, at_risk_ppm: u32) -> Verdict {
    if certain > allowed {
        Verdict::Breached
    } else if possible > allowed {
        Verdict::Unknown
    } else if possible > 0 && possible >= part_of(allowed, at_risk_ppm) {
        Verdict::AtRisk
    } else {
        Verdict::Met
    }
}
