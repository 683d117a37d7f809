//! How long requests took, from counts in buckets.

use std::collections::BTreeMap;

use dwcp_types::Wall;

use super::{Objective, Period, Sla, Verdict, WHOLE_PPM, part_of, verdict};

/// Counts of requests by how long they took. Those of two periods, or of two regions, may be added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    /// Requests that took longer than the first, and at most the second, µs. A bucket without a bound has [`u64::MAX`].
    buckets: BTreeMap<(u64, u64), u64>,
}

fn sum<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    counts.fold(0, |sum, count| sum.saturating_add(*count))
}

impl LatencyCounts {
    /// Of a histogram: upper bounds of its buckets in µs, ascending and included, and the requests of each, not added
    /// up; one count more than bounds is that of the requests above the last.
    pub fn new(bounds_us: &[u64], counts: &[u64]) -> LatencyCounts {
        let uppers = bounds_us.iter().copied().chain([u64::MAX]);
        let lowers = [0].into_iter().chain(bounds_us.iter().copied());
        let buckets = lowers.zip(uppers).zip(counts.iter().copied());
        LatencyCounts { buckets: buckets.filter(|(_, count)| *count > 0).collect() }
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        sum(self.buckets.values())
    }

    /// Adds others, whose bounds may differ.
    pub fn add(&mut self, other: &LatencyCounts) {
        for (bounds, count) in &other.buckets {
            let known = self.buckets.entry(*bounds).or_default();
            *known = known.saturating_add(*count);
        }
    }

    /// How many took at most `limit_us`: for certain, and perhaps, because buckets lie across the limit.
    pub fn within(&self, limit_us: u64) -> (u64, u64) {
        let certain = self.buckets.iter().filter(|((_, upper), _)| *upper <= limit_us && *upper < u64::MAX);
        let possible = self.buckets.iter().filter(|((lower, _), _)| *lower < limit_us);
        (sum(certain.map(|(_, count)| count)), sum(possible.map(|(_, count)| count)))
    }

    /// Between which times the request is that `share_ppm` of all are at most as long as: above the first, at most
    /// the second, µs. None of no request; no second when it is longer than the largest bound.
    pub fn quantile_us(&self, share_ppm: u32) -> Option<(u64, Option<u64>)> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        // The smallest number of requests that is at least the share, and one of them.
        let wanted = (total - part_of(total, WHOLE_PPM.saturating_sub(share_ppm))).max(1);
        // Fewer than wanted can be at most as long as this one's lower bound.
        let lowers = self.buckets.keys().map(|(lower, _)| *lower);
        let above = lowers.filter(|lower| self.within(*lower).1 < wanted).max().unwrap_or(0);
        let uppers = self.buckets.keys().map(|(_, upper)| *upper);
        Some((above, uppers.filter(|upper| self.within(*upper).0 >= wanted).min()))
    }
}

/// Whether requests were as quick as promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    pub requests: u64,
    /// How many may take longer, rounded down.
    pub allowed: u64,
    /// How many did for certain.
    pub longer: u64,
    /// How many may have besides: the counts do not tell.
    pub unknown: u64,
    /// Between which times the promised share's slowest request is, µs.
    pub quantile_us: Option<(u64, Option<u64>)>,
    pub verdict: Verdict,
}

/// Compares counts with a promise; none when it promises something else. Of no request it is kept.
pub fn latency(sla: &Sla, counts: &LatencyCounts) -> Option<Latency> {
    let Objective::Latency { share_ppm, limit_us } = sla.objective else { return None };
    let requests = counts.total();
    let (certain, possible) = counts.within(limit_us);
    let allowed = part_of(requests, WHOLE_PPM.saturating_sub(share_ppm));
    let (longer, at_most) = (requests - possible, requests - certain);
    Some(Latency {
        requests,
        allowed,
        longer,
        unknown: at_most - longer,
        quantile_us: counts.quantile_us(share_ppm),
        verdict: verdict(longer, at_most, allowed, sla.at_risk_ppm),
    })
}

/// The times in which a promise was broken without a break for `ms` at least. `parts` are the verdicts on periods, in
/// any order; periods that touch are one.
pub fn sustained(parts: &[(Period, Verdict)], ms: u64) -> Vec<(Wall, Wall)> {
    let broken = parts.iter().filter(|(_, verdict)| *verdict == Verdict::Breached);
    let merged = super::Times::new(broken.map(|(period, _)| (period.from, period.until)));
    merged.iter().filter(|(from, until)| until.ms_since(*from) >= ms).collect()
}
