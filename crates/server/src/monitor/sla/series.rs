//! Promises as metrics. Whoever keeps the account exports them, nobody else: sums over the federation count each VM once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dwcp_api::sla::{SlaMeasure, SlaPromise, SlaStanding};
use dwcp_decide::sla::{Account, Availability, Loss, Subject, Tally};
use dwcp_telemetry::exposition::Family;
use dwcp_telemetry::model::Labels;
use dwcp_types::Wall;

use super::measure::Failover;
use super::promises::subject;

/// A failover that ended so long ago is no news any more, ms.
const FAILOVER_NEWS_MS: u64 = 3_600_000;

/// What is exported now; empty where the account is not kept. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Exported(Arc<Mutex<Vec<Family>>>);

impl Exported {
    /// As metrics.
    pub fn families(&self) -> Vec<Family> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, families: Vec<Family>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = families;
    }
}

/// Seconds of VMs since this process keeps the account, by promise: all that counted, and those down.
#[derive(Clone, Debug, Default)]
pub struct Counters(BTreeMap<String, (f64, f64)>);

/// What is accounted for somebody since the beginning of a day.
fn sum(account: &Account, whom: &Subject, since: Wall) -> Tally {
    let of_them = |subject: &Subject| match whom {
        Subject::Federation => matches!(subject, Subject::Tenant(_)),
        other => subject == other,
    };
    let tallies = account.days.range(since..).flat_map(|(_, day)| &day.tallies);
    tallies.filter(|(subject, _)| of_them(subject)).map(|(_, tally)| *tally).sum()
}

/// What is accounted for each promised availability since the beginning of a day, by the promise's name.
pub fn sums(promises: &[SlaPromise], account: &Account, since: Wall) -> BTreeMap<String, Availability> {
    let of = promises.iter().filter(|promise| promise.measure == SlaMeasure::Availability);
    let counted = |promise: &SlaPromise| {
        sum(account, &subject(promise), since).availability(promise.exclude_maintenance)
    };
    of.map(|promise| (promise.name.clone(), counted(promise))).collect()
}

impl Counters {
    /// Counts what a look added to the sums; what is not promised any more is forgotten.
    pub fn count(&mut self, before: &BTreeMap<String, Availability>, after: &BTreeMap<String, Availability>) {
        for (name, new) in after {
            let old = before.get(name).copied().unwrap_or(*new);
            let (all, bad) = self.0.entry(name.clone()).or_default();
            *all += new.counted_ms().saturating_sub(old.counted_ms()) as f64 / 1e3;
            *bad += new.down_ms.saturating_sub(old.down_ms) as f64 / 1e3;
        }
        self.0.retain(|name, _| after.contains_key(name));
    }
}

fn family<'a>(
    name: &str,
    help: &str,
    counts: bool,
    label: &'static str,
    observer: &str,
    points: impl IntoIterator<Item = (&'a str, f64)>,
) -> Family {
    let points = points
        .into_iter()
        .map(|(of, value)| (Labels::new([(label, of.to_owned()), ("observer", observer.to_owned())]), value));
    match counts {
        true => Family::counter(name, help, points.collect()),
        false => Family::gauge(name, help, points.collect()),
    }
}

/// Everything about promises, as `observer` counts it.
pub fn families(
    counters: &Counters,
    standings: &[SlaStanding],
    failovers: &[Failover],
    observer: &str,
    now: Wall,
) -> Vec<Family> {
    let of = |name: &str, help: &str, counts: bool, value: &dyn Fn(&SlaStanding) -> Option<f64>| {
        let known = standings.iter().filter_map(|one| Some((&*one.promise.name, value(one)?)));
        family(name, help, counts, "sla", observer, known)
    };
    let counted = |one: &SlaStanding| counters.0.get(&one.promise.name).copied();
    let left = |one: &SlaStanding| {
        let (budget, left) = one.budget_minutes.zip(one.budget_left_minutes)?;
        (budget > 0.0).then(|| left / budget)
    };
    let availability = |one: &SlaStanding| one.promise.measure == SlaMeasure::Availability;
    let objective = |one: &SlaStanding| {
        one.promise.target_ppm.filter(|_| availability(one)).map(|ppm| f64::from(ppm) / 1e6)
    };
    let measured =
        |one: &SlaStanding| one.measured.filter(|_| availability(one)).map(|percent| percent / 100.0);
    let mut all = vec![
        of(
            "dwcp_federation_sla_events_total",
            "Seconds of VMs that count for an SLA, since the observer keeps the account.",
            true,
            &|one| counted(one).map(|(all, _)| all),
        ),
        of(
            "dwcp_federation_sla_bad_events_total",
            "Seconds of those that the VMs were down.",
            true,
            &|one| counted(one).map(|(_, bad)| bad),
        ),
        of(
            "dwcp_federation_sla_objective_ratio",
            "Share of the time that an SLA promises.",
            false,
            &objective,
        ),
        of(
            "dwcp_federation_sla_measured_ratio",
            "Share of the time of an SLA's period that was measured as up.",
            false,
            &measured,
        ),
        of(
            "dwcp_federation_sla_budget_remaining_ratio",
            "What is left of what an SLA allows in its period; below 0: overdrawn.",
            false,
            &left,
        ),
    ];
    all.extend(of_failovers(failovers, observer, now));
    all
}

/// How long failovers took, and which lost something.
fn of_failovers(failovers: &[Failover], observer: &str, now: Wall) -> [Family; 2] {
    let mut last: BTreeMap<&str, f64> = BTreeMap::new();
    let mut lossy: BTreeMap<&str, f64> = BTreeMap::new();
    for one in failovers {
        let ended = one.outcome.ended.filter(|ended| now.ms_since(*ended) < FAILOVER_NEWS_MS);
        if ended.is_some() {
            last.insert(&one.from_region, one.outcome.took_ms(now) as f64 / 1e3);
        }
        let lost = matches!(one.outcome.loss, Loss::Writes(ms) if ms > 0);
        *lossy.entry(&one.from_region).or_default() += f64::from(u8::from(lost));
    }
    [
        family(
            "dwcp_federation_failover_last_duration_seconds",
            "How long the newest failover of a region took that ended within an hour; drills are none.",
            false,
            "region",
            observer,
            last,
        ),
        family(
            "dwcp_federation_lost_writes_total",
            "Failovers of a region, of those that are kept, in which acknowledged writes were lost.",
            true,
            "region",
            observer,
            lossy,
        ),
    ]
}
