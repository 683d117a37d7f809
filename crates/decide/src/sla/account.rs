//! The account of what VMs were up: kept by whoever leads, a look at a time, and gone on with by the next one.
//!
//! An outage begins when it began by the facts, not when it was noticed: what was counted as up since then is counted as down
//! after all. What nobody looked at is unknown. A VM counts from the first time that it served since it was to run.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_types::{FailoverId, RegionId, VmId, Wall};

use super::{Found, Period, Sight, Sights, Stand, Step, Subject, Tally, Times};

/// What lies between two looks farther apart than this was not looked at, ms.
const GAP_MS: u64 = 60_000;
/// Pauses from here on are outages of their own, ms.
const PAUSE_LISTED_MS: u64 = 1_000;

/// A time in which a VM that was to be up was down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    pub vm: VmId,
    pub name: String,
    pub tenant: String,
    /// Where it was when it went down.
    pub region: RegionId,
    pub from: Wall,
    /// None: it is down.
    pub until: Option<Wall>,
    pub cause: String,
    /// What brought it back, or is to.
    pub failover: Option<FailoverId>,
    /// It began within maintenance of its region or host.
    pub planned: bool,
}

/// A day of the account, in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Of tenants, and of VMs that something is promised for.
    pub tallies: BTreeMap<Subject, Tally>,
    /// VMs of each that counted at the last look.
    pub counted: BTreeMap<Subject, u64>,
    /// Those that began in it, in the order in which they were noticed.
    pub outages: Vec<Outage>,
}

impl Day {
    /// Outages that are listed; what is more is counted, and not told one by one.
    pub const OUTAGES_MOST: usize = 16_000;
}

/// A VM that was up at the last look.
#[derive(Clone, Debug)]
struct Run {
    /// Counted as up since then, perhaps with unknown times between.
    since: Wall,
    boot_id: String,
}

/// An outage that has not ended.
#[derive(Clone, Copy, Debug)]
struct Open {
    from: Wall,
    /// Its day and its place there, when it is listed.
    listed: Option<(Wall, usize)>,
}

/// The account.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Everything until then is accounted for; none: nothing was ever looked at.
    pub until: Option<Wall>,
    /// By their beginnings: today, the day before, and those with outages that have not ended.
    pub days: BTreeMap<Wall, Day>,
    /// VMs that are to run and have not served since.
    pub booting: BTreeSet<VmId>,
    /// VMs that are told one by one because something is promised for them.
    pub named: BTreeSet<VmId>,
    runs: BTreeMap<VmId, Run>,
    open: BTreeMap<VmId, Open>,
    /// Somebody else made the last look.
    resumed: bool,
}

/// Between two looks.
#[derive(Clone, Copy)]
struct Span {
    from: Wall,
    now: Wall,
}

impl Span {
    fn unseen(self) -> bool {
        self.now.ms_since(self.from) > GAP_MS
    }
}

/// A VM with what is planned where it is.
struct Subjects<'a> {
    sight: &'a Sight,
    planned: Times,
}

impl Account {
    /// Goes on where somebody stopped: accounted until then, with the days that may still change and the VMs that had not
    /// served yet.
    pub fn resume(until: Wall, days: BTreeMap<Wall, Day>, booting: BTreeSet<VmId>) -> Account {
        let mut open = BTreeMap::new();
        for (day, of) in &days {
            let lasting = of.outages.iter().enumerate().filter(|(_, outage)| outage.until.is_none());
            open.extend(
                lasting.map(|(at, outage)| (outage.vm, Open { from: outage.from, listed: Some((*day, at)) })),
            );
        }
        Account { until: Some(until), days, booting, open, resumed: true, ..Account::default() }
    }

    /// Accounts for the time since the last look. True when an outage began or ended.
    pub fn look(&mut self, seen: &Sights, now: Wall) -> bool {
        let span = Span { from: self.until.unwrap_or(now), now };
        if now < span.from {
            // The clock was set back: what is accounted for stays so.
            return false;
        }
        self.days.entry(Period::day(now).from).or_default();
        let mut changed = false;
        let mut there = BTreeSet::new();
        for sight in &seen.vms {
            there.insert(sight.vm);
            let of = Subjects { sight, planned: seen.planned.of(&sight.region, &sight.host) };
            changed |= self.one(&of, span);
        }
        for pause in &seen.pauses {
            let Some(sight) = seen.vms.iter().find(|sight| sight.vm == pause.vm) else { continue };
            if self.runs.contains_key(&pause.vm) {
                let of = Subjects { sight, planned: seen.planned.of(&sight.region, &sight.host) };
                changed |= self.stood_still(&of, pause.at, pause.ms);
            }
        }
        changed |= self.forget(&there, span);
        self.count_counted(seen, now);
        let yesterday = Period::day(Wall(Period::day(now).from.0.saturating_sub(1))).from;
        self.days
            .retain(|day, of| *day >= yesterday || of.outages.iter().any(|outage| outage.until.is_none()));
        (self.until, self.resumed) = (Some(now), false);
        changed
    }

    /// From when on it counts; none: not yet.
    fn counts_from(&mut self, sight: &Sight, span: Span) -> Option<Wall> {
        let known = self.runs.contains_key(&sight.vm) || self.open.contains_key(&sight.vm);
        let before = self.resumed && sight.created_at <= span.from && !self.booting.contains(&sight.vm);
        if known || before {
            return Some(span.from);
        }
        match sight.stand {
            Stand::Up { since } => {
                self.booting.remove(&sight.vm);
                Some(since.clamp(span.from, span.now))
            }
            _ => {
                self.booting.insert(sight.vm);
                None
            }
        }
    }

    fn one(&mut self, of: &Subjects<'_>, span: Span) -> bool {
        let Some(from) = self.counts_from(of.sight, span) else { return false };
        let id = of.sight.vm;
        match (&of.sight.stand, self.open.get(&id).copied()) {
            (Stand::Up { since }, Some(open)) => self.recovered(of, open, *since, span),
            (Stand::Up { since }, None) => {
                self.up(of, from, *since, span);
                false
            }
            (Stand::Down { failover, .. }, Some(open)) => {
                self.count(of, Found::Unknown, from, open.from.clamp(from, span.now));
                self.count(of, Found::Down, open.from.clamp(from, span.now), span.now);
                let listed = open.listed.and_then(|(day, at)| self.days.get_mut(&day)?.outages.get_mut(at));
                let Some(outage) = listed.filter(|one| one.failover.is_none() && failover.is_some()) else {
                    return false;
                };
                outage.failover = *failover;
                true
            }
            (Stand::Down { since, cause, failover }, None) => {
                self.went_down(of, (*since, cause, *failover), from, span);
                true
            }
            (Stand::Untold, open) => {
                let found = if open.is_some() { Found::Down } else { Found::Unknown };
                self.count(of, found, from, span.now);
                false
            }
        }
    }

    fn up(&mut self, of: &Subjects<'_>, from: Wall, since: Wall, span: Span) {
        let boot_id = &of.sight.boot_id;
        let known = self.runs.get(&of.sight.vm);
        let other_boot = known
            .is_some_and(|run| !run.boot_id.is_empty() && !boot_id.is_empty() && run.boot_id != *boot_id);
        let running_since = known.map_or(from, |run| run.since);
        let unknown_until = match () {
            () if span.unseen() => span.now,
            // It was down and came back between two looks; since when is not known.
            () if other_boot => since.clamp(from, span.now),
            () => from,
        };
        self.count(of, Found::Unknown, from, unknown_until);
        self.count(of, Found::Up, unknown_until, span.now);
        self.runs.insert(of.sight.vm, Run { since: running_since, boot_id: boot_id.clone() });
    }

    fn recovered(&mut self, of: &Subjects<'_>, open: Open, since: Wall, span: Span) -> bool {
        // An older sign of life is not what ended it: that is noticed now.
        let until = if since > open.from { since.clamp(span.from, span.now) } else { span.now };
        // Who made the last look had noticed it after what is accounted for.
        let from = open.from.clamp(span.from, until);
        self.count(of, Found::Unknown, span.from, from);
        self.count(of, Found::Down, from, until);
        self.count(of, Found::Up, until, span.now);
        self.end(of.sight.vm, until);
        self.runs.insert(of.sight.vm, Run { since: until, boot_id: of.sight.boot_id.clone() });
        true
    }

    fn end(&mut self, vm: VmId, until: Wall) {
        let listed = self.open.remove(&vm).and_then(|open| open.listed);
        if let Some(outage) = listed.and_then(|(day, at)| self.days.get_mut(&day)?.outages.get_mut(at)) {
            outage.until = Some(until.max(outage.from));
        }
    }

    fn went_down(
        &mut self,
        of: &Subjects<'_>,
        (since, cause, failover): (Wall, &str, Option<FailoverId>),
        from: Wall,
        span: Span,
    ) {
        let yesterday = Wall(Period::day(span.now).from.0.saturating_sub(1));
        let floor =
            self.runs.remove(&of.sight.vm).map_or(from, |run| run.since.max(Period::day(yesterday).from));
        let began = since.clamp(floor.min(span.now), span.now);
        self.correct(of, began, span.from);
        let until = began.max(from);
        self.count(of, if span.unseen() { Found::Unknown } else { Found::Up }, from, until);
        self.count(of, Found::Down, until, span.now);
        let listed = self.list(of, began, None, cause, failover);
        self.open.insert(of.sight.vm, Open { from: began, listed });
    }

    fn list(
        &mut self,
        of: &Subjects<'_>,
        from: Wall,
        until: Option<Wall>,
        cause: &str,
        failover: Option<FailoverId>,
    ) -> Option<(Wall, usize)> {
        let day = Period::day(from).from;
        let outages = &mut self.days.entry(day).or_default().outages;
        if outages.len() >= Day::OUTAGES_MOST {
            return None;
        }
        let moment = Period { from, until: Wall(from.0.saturating_add(1)) };
        outages.push(Outage {
            vm: of.sight.vm,
            name: of.sight.name.clone(),
            tenant: of.sight.tenant.clone(),
            region: of.sight.region.clone(),
            from,
            until,
            cause: cause.to_owned(),
            failover,
            planned: !of.planned.and(&moment.times()).is_empty(),
        });
        Some((day, outages.len() - 1))
    }

    fn stood_still(&mut self, of: &Subjects<'_>, until: Wall, ms: u64) -> bool {
        let from = Wall(until.0.saturating_sub(ms));
        self.correct(of, from, until);
        let listed = ms >= PAUSE_LISTED_MS;
        if listed {
            self.list(of, from, Some(until), "it stood still while it moved", None);
        }
        listed
    }

    /// VMs that are not to be up any more.
    fn forget(&mut self, there: &BTreeSet<VmId>, span: Span) -> bool {
        self.runs.retain(|vm, _| there.contains(vm));
        self.booting.retain(|vm| there.contains(vm));
        let over: Vec<VmId> = self.open.keys().filter(|vm| !there.contains(vm)).copied().collect();
        over.iter().for_each(|vm| self.end(*vm, span.from));
        !over.is_empty()
    }

    fn each(&mut self, of: &Subjects<'_>, from: Wall, until: Wall, with: impl Fn(&mut Tally, u64, u64)) {
        let named = self.named.contains(&of.sight.vm).then_some(Subject::Vm(of.sight.vm));
        for part in (Period { from, until }).cut(Step::Day) {
            let planned_ms = of.planned.and(&part.times()).total_ms();
            let day = self.days.entry(Period::day(part.from).from).or_default();
            let tenant = Subject::Tenant(of.sight.tenant.clone());
            for subject in std::iter::once(tenant).chain(named.clone()) {
                with(day.tallies.entry(subject).or_default(), part.ms(), planned_ms);
            }
        }
    }

    fn count(&mut self, of: &Subjects<'_>, found: Found, from: Wall, until: Wall) {
        self.each(of, from, until, |tally, ms, planned_ms| tally.add(found, ms, planned_ms));
    }

    fn correct(&mut self, of: &Subjects<'_>, from: Wall, until: Wall) {
        self.each(of, from, until, Tally::correct);
    }

    fn count_counted(&mut self, seen: &Sights, now: Wall) {
        let mut counted: BTreeMap<Subject, u64> = BTreeMap::new();
        for sight in seen.vms.iter().filter(|sight| !self.booting.contains(&sight.vm)) {
            *counted.entry(Subject::Tenant(sight.tenant.clone())).or_default() += 1;
            if self.named.contains(&sight.vm) {
                counted.insert(Subject::Vm(sight.vm), 1);
            }
        }
        self.days.entry(Period::day(now).from).or_default().counted = counted;
    }
}
