//! Promises that are broken: found once, with what proves it.

use std::collections::BTreeSet;

use dwcp_api::sla::{SlaBreach, SlaMeasure, SlaPromise};
use dwcp_decide::sla::{Verdict, spent_at};
use dwcp_types::Wall;

use super::measure::{self, Failover};
use super::promises::{period, subject};
use super::stored::{self, Kept};

/// Breaches that are kept.
pub const KEPT: usize = 500;
/// Outages that prove one.
const OUTAGES: usize = 100;

/// What is new about breaches.
#[derive(Debug, Default, PartialEq)]
pub struct News {
    /// Without the incidents that they are to open.
    pub found: Vec<SlaBreach>,
    /// Promises over the last days that are kept again, with when.
    pub over: Vec<SlaBreach>,
}

/// What is broken and not among the known ones, and what is over.
pub fn news(
    promises: &[SlaPromise],
    kept: &Kept,
    failovers: &[Failover],
    known: &[SlaBreach],
    now: Wall,
) -> News {
    let mut news = News::default();
    let numbers =
        known.iter().filter_map(|breach| breach.breach.strip_prefix("breach-")?.parse::<u64>().ok());
    let mut number = numbers.max().unwrap_or(0);
    let mut next = || {
        number += 1;
        format!("breach-{number:03}")
    };
    for promise in promises {
        match promise.measure {
            SlaMeasure::Availability => of_availability(promise, kept, known, now, &mut next, &mut news),
            SlaMeasure::FailoverTime | SlaMeasure::DataLoss => {
                news.found.extend(of_failovers(promise, failovers, known, now, &mut next));
            }
            SlaMeasure::Latency => {}
        }
    }
    news
}

fn is_of(breach: &SlaBreach, promise: &SlaPromise) -> bool {
    (&breach.promise.name, &breach.promise.scope, breach.promise.measure)
        == (&promise.name, &promise.scope, promise.measure)
}

fn of_availability(
    promise: &SlaPromise,
    kept: &Kept,
    known: &[SlaBreach],
    now: Wall,
    next: &mut impl FnMut() -> String,
    news: &mut News,
) {
    let Some(assessed) = measure::assess(kept, promise, now) else { return };
    let of = assessed.period;
    let same = |breach: &&SlaBreach| match promise.period_days {
        None => breach.from_ms == of.from.0,
        Some(_) => breach.over_at_ms.is_none(),
    };
    let before = known.iter().filter(|breach| is_of(breach, promise)).find(same);
    let broken = assessed.verdict == Verdict::Breached;
    if let Some(before) = before {
        if !broken && promise.period_days.is_some() {
            news.over.push(SlaBreach { over_at_ms: Some(now.0), ..before.clone() });
        }
        return;
    }
    if !broken {
        return;
    }
    let counts = |planned: bool| !(promise.exclude_maintenance && planned);
    let mut outages = kept.outages(&subject(promise), of, now);
    outages.retain(|(outage, _)| counts(outage.planned));
    let times: Vec<(Wall, Wall, usize)> = outages
        .iter()
        .map(|(one, _)| (one.from.max(of.from), one.until.unwrap_or(now).min(of.until), 0))
        .collect();
    let broken_at = spent_at(&times, assessed.budget.allowed_ms).unwrap_or(now);
    let counted = assessed.availability;
    let of_known = counted.up_ms.saturating_add(counted.down_ms).max(1);
    let measured = format!(
        "{:.4} % up; {:.1} VM minutes down where {:.1} were allowed",
        counted.up_ms as f64 * 100.0 / of_known as f64,
        assessed.budget.spent_ms as f64 / 60e3,
        assessed.budget.allowed_ms as f64 / 60e3,
    );
    news.found.push(SlaBreach {
        breach: next(),
        promise: promise.clone(),
        from_ms: of.from.0,
        until_ms: of.until.0,
        broken_at_ms: broken_at.0,
        noticed_at_ms: now.0,
        over_at_ms: None,
        incident: String::new(),
        measured,
        outages_in_all: outages.len() as u64,
        outages: outages.iter().take(OUTAGES).map(|(one, _)| stored::shown(one)).collect(),
        failovers: Vec::new(),
    });
}

/// Each failover breaks a promise for itself.
fn of_failovers(
    promise: &SlaPromise,
    failovers: &[Failover],
    known: &[SlaBreach],
    now: Wall,
    next: &mut impl FnMut() -> String,
) -> Vec<SlaBreach> {
    let of = period(promise, now);
    let told: BTreeSet<(&str, u64)> = known
        .iter()
        .filter(|breach| is_of(breach, promise))
        .flat_map(|breach| breach.failovers.iter().map(|one| (&*one.failover, one.began_at_ms)))
        .collect();
    let Some(found) = measure::result(promise, failovers, of, now) else { return Vec::new() };
    let limit_ms = promise.limit_ms.unwrap_or(0);
    let new = failovers.iter().filter(|one| {
        found.broken.contains(&one.outcome.id) && !told.contains(&(&*one.outcome.id, one.outcome.began.0))
    });
    new.map(|one| {
        let shown = measure::shown(one, now);
        let (broken_at_ms, measured) = match promise.measure {
            SlaMeasure::DataLoss => {
                let lost = shown.lost_ms.unwrap_or(0) as f64 / 1e3;
                let at = one.outcome.ended.unwrap_or(now).0;
                (at, format!("{} lost the writes of up to {lost:.1} s", shown.failover))
            }
            _ => {
                let goes_on = if one.outcome.ended.is_none() { " so far" } else { "" };
                let took = shown.took_ms as f64 / 1e3;
                let at = shown.began_at_ms.saturating_add(limit_ms);
                (at, format!("{} of {} took {took:.1} s{goes_on}", shown.failover, shown.from_region))
            }
        };
        SlaBreach {
            breach: next(),
            promise: promise.clone(),
            from_ms: of.from.0,
            until_ms: of.until.0,
            broken_at_ms,
            noticed_at_ms: now.0,
            over_at_ms: None,
            incident: String::new(),
            measured,
            outages: Vec::new(),
            outages_in_all: 0,
            failovers: vec![shown],
        }
    })
    .collect()
}
