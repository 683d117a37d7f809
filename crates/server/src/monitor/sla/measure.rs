//! Where promises stand: what is kept of the account and of failovers, compared with what was promised.

use std::collections::BTreeMap;

use dwcp_api::sla::{SlaDay, SlaFailover, SlaMeasure, SlaPromise, SlaShare, SlaStanding, SlaVerdict};
use dwcp_decide::sla::{
    Assessed, Day, FailoverOutcome, FailoverResult, Loss, Outage, Period, Step, Subject, Tally, Verdict,
    assess_counted, data_loss, failover_time,
};
use dwcp_state::{DiskProof, DrillMode, Federation};
use dwcp_types::Wall;

use super::promises::{period, sla, subject};
use super::stored::{Kept, day_name};

/// Of the worst so many are named.
const WORST: usize = 5;
const MINUTE_MS: f64 = 60_000.0;

/// A failover as promises look at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    pub outcome: FailoverOutcome,
    pub from_region: String,
}

/// Failovers that count: those of drills are none.
pub fn failovers(facts: &Federation) -> Vec<Failover> {
    let core = &facts.core;
    let of_drill =
        |id| core.drills.values().any(|drill| drill.mode == DrillMode::Live && drill.failover == Some(id));
    let counted = core.failovers.values().filter(|one| !of_drill(one.id));
    counted
        .map(|one| {
            let losses = one.vms.iter().map(|vm| match vm.disk {
                DiskProof::Zero | DiskProof::NoDisk => Loss::Writes(0),
                DiskProof::Point(point) => Loss::Writes(one.first_missed_at.ms_since(point)),
                // Nothing is promised for a disk that nobody wanted to be kept elsewhere.
                DiskProof::Unprotected => match facts.vm(vm.vm) {
                    Some((_, found)) if !found.is_protected() => Loss::Writes(0),
                    _ => Loss::Unknown,
                },
                DiskProof::Unknown => Loss::Unknown,
            });
            let loss = losses.fold(Loss::Writes(0), |worst, loss| match (worst, loss) {
                (Loss::Writes(worst), Loss::Writes(more)) => Loss::Writes(worst.max(more)),
                // What is lost for certain is worse than what is not known.
                (Loss::Writes(lost), Loss::Unknown) | (Loss::Unknown, Loss::Writes(lost)) if lost > 0 => {
                    Loss::Writes(lost)
                }
                _ => Loss::Unknown,
            });
            Failover {
                from_region: one.from.as_str().to_owned(),
                outcome: FailoverOutcome {
                    id: one.id.to_string(),
                    began: one.first_missed_at,
                    ended: one.ended_at,
                    loss,
                },
            }
        })
        .collect()
}

/// A failover as it is shown among what broke a promise.
pub fn shown(one: &Failover, now: Wall) -> SlaFailover {
    SlaFailover {
        failover: one.outcome.id.clone(),
        from_region: one.from_region.clone(),
        began_at_ms: one.outcome.began.0,
        took_ms: one.outcome.took_ms(now),
        lost_ms: match one.outcome.loss {
            Loss::Writes(ms) => Some(ms),
            Loss::Unknown => None,
        },
    }
}

impl Kept {
    /// Days and months in a period. A month counts when it begins in it.
    fn parts(&self, period: Period) -> impl Iterator<Item = &Day> {
        let within = move |from: &Wall| (period.from..period.until).contains(from);
        let all = self.days.iter().chain(self.months.iter());
        all.filter(move |(from, _)| within(from)).map(|(_, day)| day)
    }

    /// What was counted for somebody in a period.
    pub fn tally(&self, whom: &Subject, period: Period) -> Tally {
        self.parts(period).map(|day| tally_of(day, whom)).sum()
    }

    /// Outages of somebody in a period, the longest first, with how long each was within it.
    pub fn outages(&self, whom: &Subject, period: Period, now: Wall) -> Vec<(&Outage, u64)> {
        let of_them = |outage: &&Outage| match whom {
            Subject::Federation => true,
            Subject::Tenant(tenant) => outage.tenant == *tenant,
            Subject::Vm(vm) => outage.vm == *vm,
        };
        let all = self.days.values().flat_map(|day| &day.outages).filter(of_them);
        let within = |outage: &Outage| {
            let until = outage.until.unwrap_or(now).min(period.until);
            until.ms_since(outage.from.max(period.from))
        };
        let mut found: Vec<_> =
            all.map(|outage| (outage, within(outage))).filter(|(_, ms)| *ms > 0).collect();
        found.sort_by_key(|(outage, ms)| (std::cmp::Reverse(*ms), outage.from, outage.vm));
        found
    }

    /// VMs of somebody that count now.
    fn counted_now(&self, whom: &Subject) -> u64 {
        let Some((_, today)) = self.days.last_key_value() else { return 0 };
        let of_them = |subject: &&Subject| match whom {
            Subject::Federation => matches!(subject, Subject::Tenant(_)),
            other => *subject == other,
        };
        today.counted.iter().filter(|(subject, _)| of_them(subject)).map(|(_, vms)| vms).sum()
    }
}

fn tally_of(day: &Day, whom: &Subject) -> Tally {
    match whom {
        Subject::Federation => {
            let tenants = day.tallies.iter().filter(|(subject, _)| matches!(subject, Subject::Tenant(_)));
            tenants.map(|(_, tally)| *tally).sum()
        }
        other => day.tallies.get(other).copied().unwrap_or_default(),
    }
}

/// Whether an availability is kept; none when something else is promised.
pub fn assess(kept: &Kept, promise: &SlaPromise, now: Wall) -> Option<Assessed> {
    let (whom, period) = (subject(promise), period(promise, now));
    let counted = kept.tally(&whom, period).availability(promise.exclude_maintenance);
    let until = kept.until.unwrap_or(now).max(period.from);
    let to_come_ms = kept.counted_now(&whom).saturating_mul(period.until.ms_since(until));
    assess_counted(&sla(promise), counted, to_come_ms, period)
}

fn verdict(verdict: Verdict) -> SlaVerdict {
    match verdict {
        Verdict::Met => SlaVerdict::Met,
        Verdict::AtRisk => SlaVerdict::AtRisk,
        Verdict::Unknown => SlaVerdict::Unknown,
        Verdict::Breached => SlaVerdict::Breached,
    }
}

/// Where a promise stands.
pub fn standing(kept: &Kept, promise: &SlaPromise, failovers: &[Failover], now: Wall) -> SlaStanding {
    let of = period(promise, now);
    let none = SlaStanding {
        promise: promise.clone(),
        from_ms: of.from.0,
        until_ms: of.until.0,
        measured: None,
        budget_minutes: None,
        budget_left_minutes: None,
        unknown_minutes: None,
        failovers: None,
        verdict: SlaVerdict::NoData,
        note: String::new(),
        worst_tenants: Vec::new(),
        worst_vms: Vec::new(),
        evidence: Vec::new(),
    };
    match promise.measure {
        SlaMeasure::Availability => availability(kept, none, now),
        SlaMeasure::Latency => SlaStanding {
            note: "no data: no request was routed, and nothing else measures how long requests take"
                .to_owned(),
            ..none
        },
        SlaMeasure::FailoverTime | SlaMeasure::DataLoss => of_failovers(none, failovers, now),
    }
}

fn availability(kept: &Kept, none: SlaStanding, now: Wall) -> SlaStanding {
    let promise = none.promise.clone();
    let (whom, of) = (subject(&promise), period(&promise, now));
    let Some(found) = assess(kept, &promise, now) else { return none };
    let counted = found.availability;
    if counted.counted_ms() == 0 {
        return SlaStanding { note: "no data: no VM of it was to be up".to_owned(), ..none };
    }
    // As if everything were down together: of the time that one VM of it is due on average.
    let due_ms = counted.counted_ms().saturating_add(
        kept.counted_now(&whom).saturating_mul(of.until.ms_since(kept.until.unwrap_or(now).max(of.from))),
    );
    let vms = (due_ms as f64 / of.ms() as f64).max(f64::MIN_POSITIVE);
    let minutes = |ms: f64| ms / vms / MINUTE_MS;
    let known_ms = counted.up_ms.saturating_add(counted.down_ms);
    let outages = kept.outages(&whom, of, now);
    let (mut tenants, mut vm_downs): (BTreeMap<&str, u64>, BTreeMap<&str, u64>) = Default::default();
    for (outage, ms) in outages.iter().filter(|(one, _)| !(promise.exclude_maintenance && one.planned)) {
        *tenants.entry(&outage.tenant).or_default() += ms;
        *vm_downs.entry(&outage.name).or_default() += ms;
    }
    let of_tenant = |name: &str| {
        let tally =
            kept.tally(&Subject::Tenant(name.to_owned()), of).availability(promise.exclude_maintenance);
        percent(tally.up_ms, tally.up_ms.saturating_add(tally.down_ms))
    };
    SlaStanding {
        measured: percent(counted.up_ms, known_ms),
        budget_minutes: Some(minutes(found.budget.allowed_ms as f64)),
        budget_left_minutes: Some(minutes(found.budget.left_ms() as f64)),
        unknown_minutes: Some(minutes(counted.unknown_ms as f64)),
        verdict: verdict(found.verdict),
        note: match found.verdict {
            Verdict::Unknown => "too much was not measured to tell".to_owned(),
            _ => String::new(),
        },
        worst_tenants: worst(&tenants, of_tenant),
        worst_vms: worst(&vm_downs, |_| None),
        evidence: evidence(&outages, now),
        ..none
    }
}

/// A share in percent of what is known; none of nothing.
fn percent(part_ms: u64, of_ms: u64) -> Option<f64> {
    (of_ms > 0).then(|| part_ms as f64 * 100.0 / of_ms as f64)
}

fn worst(downs: &BTreeMap<&str, u64>, percent: impl Fn(&str) -> Option<f64>) -> Vec<SlaShare> {
    let mut sorted: Vec<(&&str, &u64)> = downs.iter().collect();
    sorted.sort_by_key(|(name, ms)| (std::cmp::Reverse(**ms), **name));
    let share = |(name, ms): (&&str, &u64)| SlaShare {
        name: (*name).to_owned(),
        down_minutes: *ms as f64 / MINUTE_MS,
        percent: percent(name),
    };
    sorted.into_iter().take(WORST).map(share).collect()
}

fn evidence(outages: &[(&Outage, u64)], now: Wall) -> Vec<String> {
    let mut lines: Vec<String> = outages
        .iter()
        .take(WORST)
        .map(|(outage, ms)| {
            let lasts = if outage.until.is_none_or(|until| until > now) { " so far" } else { "" };
            format!(
                "{} in {} from {} for {:.1} s{lasts}: {}",
                outage.name,
                outage.region,
                outage.from.utc(),
                *ms as f64 / 1e3,
                outage.cause
            )
        })
        .collect();
    if let Some(more) = outages.len().checked_sub(WORST).filter(|more| *more > 0) {
        lines.push(format!("and {more} shorter outages"));
    }
    lines
}

/// Whether failovers kept a promise about them; none when something else is promised.
pub fn result(promise: &SlaPromise, failovers: &[Failover], of: Period, now: Wall) -> Option<FailoverResult> {
    let outcomes: Vec<FailoverOutcome> = failovers.iter().map(|one| one.outcome.clone()).collect();
    let sla = sla(promise);
    failover_time(&sla, &outcomes, of, now).or_else(|| data_loss(&sla, &outcomes, of))
}

fn of_failovers(none: SlaStanding, failovers: &[Failover], now: Wall) -> SlaStanding {
    let of = period(&none.promise, now);
    let Some(found) = result(&none.promise, failovers, of, now) else { return none };
    let told = failovers.iter().filter(|one| found.broken.contains(&one.outcome.id));
    let evidence = told.map(|one| {
        let shown = shown(one, now);
        let lost = match shown.lost_ms {
            Some(0) => "nothing lost".to_owned(),
            Some(ms) => format!("writes of {:.1} s lost", ms as f64 / 1e3),
            None => "loss not known".to_owned(),
        };
        format!(
            "{} of {} at {}: {:.1} s, {lost}",
            shown.failover,
            shown.from_region,
            one.outcome.began.utc(),
            shown.took_ms as f64 / 1e3
        )
    });
    SlaStanding {
        measured: found.worst_ms.map(|ms| ms as f64),
        failovers: Some(found.failovers),
        verdict: verdict(found.verdict),
        note: if found.failovers == 0 { "no failover in the period".to_owned() } else { String::new() },
        evidence: evidence.collect(),
        ..none
    }
}

/// What was measured of a promise on each day of a period, the newest first.
pub fn days(kept: &Kept, promise: &SlaPromise, failovers: &[Failover], of: Period, now: Wall) -> Vec<SlaDay> {
    let whom = subject(promise);
    let day = |part: Period| {
        let found = result(promise, failovers, part, now);
        let tally = match promise.measure {
            SlaMeasure::Availability => kept.tally(&whom, part),
            _ => Tally::default(),
        };
        let counted = tally.availability(promise.exclude_maintenance);
        let up = percent(counted.up_ms, counted.up_ms.saturating_add(counted.down_ms));
        SlaDay {
            day: day_name(part.from),
            sla: promise.name.clone(),
            scope: promise.scope.clone(),
            measured: found.as_ref().map_or(up, |found| found.worst_ms.map(|ms| ms as f64)),
            wanted_vm_minutes: counted.counted_ms() as f64 / MINUTE_MS,
            down_vm_minutes: counted.down_ms as f64 / MINUTE_MS,
            unknown_vm_minutes: counted.unknown_ms as f64 / MINUTE_MS,
            failovers: found.map(|found| found.failovers),
        }
    };
    of.cut(Step::Day).into_iter().rev().map(day).collect()
}
