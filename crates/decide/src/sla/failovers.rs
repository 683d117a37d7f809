//! How long failovers took, and what they lost.

use dwcp_types::Wall;

use super::{Objective, Period, Sla, Verdict, part_of};

/// What a failover lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The writes of the last so many ms before it; 0: nothing.
    Writes(u64),
    /// It is not known (yet).
    Unknown,
}

/// A failover that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverOutcome {
    /// Its id, as people know it.
    pub id: String,
    /// When what failed was last heard of.
    pub began: Wall,
    /// When everything was up again elsewhere; none: it goes on.
    pub ended: Option<Wall>,
    /// The largest loss of any VM.
    pub loss: Loss,
}

impl FailoverOutcome {
    /// How long it took, or has taken so far.
    pub fn took_ms(&self, now: Wall) -> u64 {
        self.ended.unwrap_or(now).ms_since(self.began)
    }
}

/// Whether failovers kept a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverResult {
    /// Those that began in the period.
    pub failovers: u64,
    /// The longest, or the largest known loss, ms; none without a failover.
    pub worst_ms: Option<u64>,
    /// Those that broke it.
    pub broken: Vec<String>,
    /// Those of which it is not known.
    pub unknown: Vec<String>,
    pub verdict: Verdict,
}

fn judge<'a>(
    failovers: &'a [FailoverOutcome],
    period: Period,
    at_risk_from_ms: u64,
    look: impl Fn(&'a FailoverOutcome) -> (Option<u64>, Verdict),
) -> FailoverResult {
    let mut result = FailoverResult {
        failovers: 0,
        worst_ms: None,
        broken: vec![],
        unknown: vec![],
        verdict: Verdict::Met,
    };
    for one in failovers.iter().filter(|one| (period.from..period.until).contains(&one.began)) {
        let (value, mut verdict) = look(one);
        match verdict {
            Verdict::Breached => result.broken.push(one.id.clone()),
            Verdict::Unknown => result.unknown.push(one.id.clone()),
            Verdict::Met if value.is_some_and(|value| value > 0 && value >= at_risk_from_ms) => {
                verdict = Verdict::AtRisk;
            }
            _ => {}
        }
        result.failovers += 1;
        result.worst_ms = result.worst_ms.max(value);
        result.verdict = result.verdict.max(verdict);
    }
    result
}

/// Whether the failovers that began in a period were quick enough; none when something else is promised. One that
/// goes on is at risk until it has taken too long.
pub fn failover_time(
    sla: &Sla,
    failovers: &[FailoverOutcome],
    period: Period,
    now: Wall,
) -> Option<FailoverResult> {
    let Objective::FailoverTime { limit_ms } = sla.objective else { return None };
    Some(judge(failovers, period, part_of(limit_ms, sla.at_risk_ppm), |one| {
        let took = one.took_ms(now);
        let verdict = match one.ended {
            _ if took >= limit_ms => Verdict::Breached,
            None => Verdict::AtRisk,
            Some(_) => Verdict::Met,
        };
        (Some(took), verdict)
    }))
}

/// Whether the failovers that began in a period lost no more than promised; none when something else is promised.
pub fn data_loss(sla: &Sla, failovers: &[FailoverOutcome], period: Period) -> Option<FailoverResult> {
    let Objective::DataLoss { limit_ms } = sla.objective else { return None };
    Some(judge(failovers, period, part_of(limit_ms, sla.at_risk_ppm), |one| match one.loss {
        Loss::Writes(ms) if ms > limit_ms => (Some(ms), Verdict::Breached),
        Loss::Writes(ms) => (Some(ms), Verdict::Met),
        Loss::Unknown => (None, Verdict::Unknown),
    }))
}
