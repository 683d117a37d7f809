//! Promises that were broken, with what proves it.

use dwcp_types::Wall;

use super::{
    Assessed, FailoverOutcome, FailoverResult, Latency, Loss, Objective, Period, Sla, Subject, Timeline,
    Verdict,
};

/// What proves that a promise was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It was down; `which` of the timelines.
    Outage { which: usize, from: Wall, until: Wall },
    /// Of so many requests so many took longer than the limit.
    Requests { requests: u64, longer: u64, allowed: u64 },
    /// A failover took too long.
    Failover { id: String, took_ms: u64 },
    /// A failover lost writes.
    Lost { id: String, writes_ms: u64 },
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Such as `breach-001`.
    pub id: String,
    /// The promise's name.
    pub sla: String,
    pub subject: Subject,
    pub period: Period,
    /// From when on it was broken.
    pub at: Wall,
    /// In order of time.
    pub evidence: Vec<Evidence>,
}

/// The breach that an assessment found, if it did; `id` names it. It is broken from the moment on in which the down
/// times of all together were longer than allowed, and every outage of the period is evidence.
pub fn availability_breach(
    sla: &Sla,
    subject: &Subject,
    of: &[Timeline],
    assessed: &Assessed,
    now: Wall,
    id: impl FnOnce() -> String,
) -> Option<Breach> {
    let Objective::Availability { without_maintenance, .. } = sla.objective else { return None };
    if assessed.verdict != Verdict::Breached {
        return None;
    }
    let so_far = Period { until: assessed.period.until.min(now), ..assessed.period };
    let mut outages: Vec<(Wall, Wall, usize)> = Vec::new();
    for (which, one) in of.iter().enumerate() {
        let down = one.sorted(so_far, without_maintenance).down;
        outages.extend(down.iter().map(|(from, until)| (from, until, which)));
    }
    outages.sort_unstable();
    let at = spent_at(&outages, assessed.budget.allowed_ms)?;
    let evidence =
        outages.into_iter().map(|(from, until, which)| Evidence::Outage { which, from, until }).collect();
    Some(breach(sla, subject, assessed.period, at, evidence, id))
}

/// When the down times together exceeded what is allowed; none when they did not. Outages of several things may overlap, and then
/// count several times at once.
pub fn spent_at(outages: &[(Wall, Wall, usize)], allowed_ms: u64) -> Option<Wall> {
    let mut edges: Vec<(Wall, i64)> =
        outages.iter().flat_map(|(from, until, _)| [(*from, 1), (*until, -1)]).collect();
    edges.sort_unstable();
    let (mut down, mut spent, mut since) = (0i64, 0u64, Wall(0));
    for (at, change) in edges {
        let many = down.unsigned_abs();
        let more = at.ms_since(since).saturating_mul(many);
        if many > 0 && spent.saturating_add(more) > allowed_ms {
            return Some(Wall(since.0 + (allowed_ms - spent) / many));
        }
        (spent, down, since) = (spent + more, down + change, at);
    }
    None
}

/// The breach that the latency of a period is, if it is one. It is broken with the end of the period, or now.
pub fn latency_breach(
    sla: &Sla,
    subject: &Subject,
    period: Period,
    found: &Latency,
    now: Wall,
    id: impl FnOnce() -> String,
) -> Option<Breach> {
    let Latency { requests, longer, allowed, .. } = *found;
    let evidence = vec![Evidence::Requests { requests, longer, allowed }];
    let at = period.until.min(now);
    (found.verdict == Verdict::Breached).then(|| breach(sla, subject, period, at, evidence, id))
}

/// The breach that failovers of a period are, if they are one: of the promised time or of the promised loss.
pub fn failover_breach(
    sla: &Sla,
    subject: &Subject,
    period: Period,
    failovers: &[FailoverOutcome],
    found: &FailoverResult,
    now: Wall,
    id: impl FnOnce() -> String,
) -> Option<Breach> {
    let mut broken: Vec<&FailoverOutcome> =
        failovers.iter().filter(|one| found.broken.contains(&one.id)).collect();
    broken.sort_by_key(|one| one.began);
    let first = broken.first()?;
    let at = match sla.objective {
        Objective::FailoverTime { limit_ms } => Wall(first.began.0.saturating_add(limit_ms)),
        _ => first.ended.unwrap_or(now),
    };
    let evidence = broken.iter().map(|one| match (sla.objective, one.loss) {
        (Objective::DataLoss { .. }, Loss::Writes(writes_ms)) => {
            Evidence::Lost { id: one.id.clone(), writes_ms }
        }
        _ => Evidence::Failover { id: one.id.clone(), took_ms: one.took_ms(now) },
    });
    Some(breach(sla, subject, period, at, evidence.collect(), id))
}

fn breach(
    sla: &Sla,
    subject: &Subject,
    period: Period,
    at: Wall,
    evidence: Vec<Evidence>,
    id: impl FnOnce() -> String,
) -> Breach {
    Breach { id: id(), sla: sla.name.clone(), subject: subject.clone(), period, at, evidence }
}
