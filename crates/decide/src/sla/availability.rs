//! How much of the time something was up.

use dwcp_types::Wall;

use super::{Objective, Period, Sla, Step, Times, Verdict, WHOLE_PPM, assess_counted, ppm};

/// What was observed of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Up,
    Down,
    /// Nobody could tell.
    Unknown,
    /// Planned and announced; whether it was up meanwhile is told by other observations.
    Maintenance,
}

/// An observation, from one moment, it included, to another, it not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    pub from: Wall,
    pub until: Wall,
    pub state: State,
}

/// Everything that was observed of one thing, in any order. Where observations contradict each other, down counts
/// before unknown, and unknown before up. Where there is none, it is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// When it was to be up: from when a VM was made to when it was removed, without the time that its owner had it
    /// stopped. An end that is not known yet is [`Wall`] of the largest number.
    pub wanted: Vec<(Wall, Wall)>,
    pub observed: Vec<Observed>,
}

/// A time, by what was observed in it. Those of two periods, or of two things, may be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Availability {
    pub up_ms: u64,
    pub down_ms: u64,
    pub unknown_ms: u64,
    /// Maintenance that does not count.
    pub excluded_ms: u64,
}

impl Availability {
    /// What counts: all but what is excluded, ms.
    pub fn counted_ms(self) -> u64 {
        self.up_ms.saturating_add(self.down_ms).saturating_add(self.unknown_ms)
    }

    /// The availability when everything unknown was down, in parts per million rounded down; none of no time.
    pub fn lower_ppm(self) -> Option<u32> {
        ppm(self.up_ms, self.counted_ms())
    }

    /// The availability when everything unknown was up.
    pub fn upper_ppm(self) -> Option<u32> {
        ppm(self.up_ms.saturating_add(self.unknown_ms), self.counted_ms())
    }
}

impl std::ops::Add for Availability {
    type Output = Availability;

    fn add(self, other: Availability) -> Availability {
        Availability {
            up_ms: self.up_ms.saturating_add(other.up_ms),
            down_ms: self.down_ms.saturating_add(other.down_ms),
            unknown_ms: self.unknown_ms.saturating_add(other.unknown_ms),
            excluded_ms: self.excluded_ms.saturating_add(other.excluded_ms),
        }
    }
}

impl std::iter::Sum for Availability {
    fn sum<I: Iterator<Item = Availability>>(parts: I) -> Availability {
        parts.fold(Availability::default(), |sum, part| sum + part)
    }
}

/// The moments of a period, by what was observed in them.
pub(super) struct Sorted {
    pub up: Times,
    pub down: Times,
    pub unknown: Times,
    pub excluded: Times,
}

impl Timeline {
    fn of(&self, state: State) -> Times {
        let those = self.observed.iter().filter(|one| one.state == state);
        Times::new(those.map(|one| (one.from, one.until)))
    }

    /// When it was to be up in a period, and of that what does not count.
    fn due(&self, period: Period, without_maintenance: bool) -> (Times, Times) {
        let wanted = Times::new(self.wanted.iter().copied()).and(&period.times());
        if !without_maintenance {
            return (wanted, Times::default());
        }
        let maintenance = self.of(State::Maintenance);
        (wanted.minus(&maintenance), wanted.and(&maintenance))
    }

    pub(super) fn sorted(&self, period: Period, without_maintenance: bool) -> Sorted {
        let (due, excluded) = self.due(period, without_maintenance);
        let (seen_up, seen_unknown) = (self.of(State::Up), self.of(State::Unknown));
        // Maintenance of which nobody says that it was up all the same.
        let unseen = self.of(State::Maintenance).minus(&seen_up).minus(&seen_unknown);
        let down = due.and(&self.of(State::Down).or(&unseen));
        let up = due.and(&seen_up).minus(&seen_unknown).minus(&down);
        let unknown = due.minus(&down).minus(&up);
        Sorted { up, down, unknown, excluded }
    }
}

/// What was observed in a period. Planned maintenance is no part of it if it is left out; otherwise it is down time,
/// unless it was up.
pub fn measure(timeline: &Timeline, period: Period, without_maintenance: bool) -> Availability {
    let sorted = timeline.sorted(period, without_maintenance);
    Availability {
        up_ms: sorted.up.total_ms(),
        down_ms: sorted.down.total_ms(),
        unknown_ms: sorted.unknown.total_ms(),
        excluded_ms: sorted.excluded.total_ms(),
    }
}

/// What was observed in each day or month of a period, the first and the last cut to it. Added up it is what was
/// observed in the period.
pub fn history(
    timeline: &Timeline,
    period: Period,
    step: Step,
    without_maintenance: bool,
) -> Vec<(Period, Availability)> {
    let parts = period.cut(step).into_iter();
    parts.map(|part| (part, measure(timeline, part, without_maintenance))).collect()
}

/// How much may be down, and how much was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Of the whole period, also of what is still to come, ms rounded down.
    pub allowed_ms: u64,
    /// Down for certain, ms.
    pub spent_ms: u64,
    /// Perhaps down besides, ms.
    pub unknown_ms: u64,
}

impl Budget {
    /// What is left if nothing unknown was down, ms; below 0 when the promise is broken.
    pub fn left_ms(self) -> i64 {
        let left = i128::from(self.allowed_ms) - i128::from(self.spent_ms);
        left.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}

/// How much faster than allowed down time is spent, in thousandths: at 1,000 a whole period like this one spends its
/// budget exactly. None of no time, or when nothing is allowed at all.
pub fn burn_milli(window: Availability, target_ppm: u32) -> Option<u64> {
    let allowed = u128::from(window.counted_ms()) * u128::from(WHOLE_PPM.saturating_sub(target_ppm));
    let burn = (u128::from(window.down_ms) * u128::from(WHOLE_PPM) * 1_000).checked_div(allowed)?;
    Some(u64::try_from(burn).unwrap_or(u64::MAX))
}

/// Whether a promised availability was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assessed {
    pub period: Period,
    /// Until now, or the end of the period.
    pub availability: Availability,
    pub budget: Budget,
    pub verdict: Verdict,
}

/// Compares what was observed of some things (of one VM, or of all VMs of a tenant) with a promise; none when it
/// promises something else. What comes after `now` is not judged, but counts for what is allowed.
pub fn assess(sla: &Sla, of: &[Timeline], period: Period, now: Wall) -> Option<Assessed> {
    let Objective::Availability { without_maintenance, .. } = sla.objective else { return None };
    let so_far = Period { until: period.until.min(now), ..period };
    let availability: Availability = of.iter().map(|one| measure(one, so_far, without_maintenance)).sum();
    let due = of.iter().map(|one| one.due(period, without_maintenance).0.total_ms());
    let due_ms = due.fold(0u64, u64::saturating_add);
    assess_counted(sla, availability, due_ms.saturating_sub(availability.counted_ms()), period)
}
