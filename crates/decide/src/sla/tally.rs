//! How much of a time machines were up, added up: what an account of many VMs comes to.

use super::{Assessed, Availability, Budget, Objective, Period, Sla, Verdict, WHOLE_PPM, part_of, verdict};

/// What was seen of a VM in a time that it was to be up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Up,
    Down,
    Unknown,
}

/// Milliseconds of VMs, by what was found. What is planned is a part of the same without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub up_ms: u64,
    pub down_ms: u64,
    pub unknown_ms: u64,
    pub planned_up_ms: u64,
    pub planned_down_ms: u64,
    pub planned_unknown_ms: u64,
}

impl Tally {
    fn slot(&mut self, found: Found) -> (&mut u64, &mut u64) {
        match found {
            Found::Up => (&mut self.up_ms, &mut self.planned_up_ms),
            Found::Down => (&mut self.down_ms, &mut self.planned_down_ms),
            Found::Unknown => (&mut self.unknown_ms, &mut self.planned_unknown_ms),
        }
    }

    /// Adds `ms`, of which `planned_ms` were planned.
    pub fn add(&mut self, found: Found, ms: u64, planned_ms: u64) {
        let (all, planned) = self.slot(found);
        *all = all.saturating_add(ms);
        *planned = planned.saturating_add(planned_ms.min(ms));
    }

    /// What was taken for up was down: `ms`, of which `planned_ms` were planned. What was not counted as up stays what it was.
    pub fn correct(&mut self, ms: u64, planned_ms: u64) {
        let ms = ms.min(self.up_ms);
        let planned_ms = planned_ms.min(ms).min(self.planned_up_ms);
        self.up_ms -= ms;
        self.planned_up_ms = (self.planned_up_ms - planned_ms).min(self.up_ms);
        self.add(Found::Down, ms, planned_ms);
    }

    /// When it was to be up, ms.
    pub fn wanted_ms(&self) -> u64 {
        self.up_ms.saturating_add(self.down_ms).saturating_add(self.unknown_ms)
    }

    /// What counts for a promise. Maintenance is a time like any other, or none at all.
    pub fn availability(&self, without_maintenance: bool) -> Availability {
        if !without_maintenance {
            let Tally { up_ms, down_ms, unknown_ms, .. } = *self;
            return Availability { up_ms, down_ms, unknown_ms, excluded_ms: 0 };
        }
        let planned = [self.planned_up_ms, self.planned_down_ms, self.planned_unknown_ms];
        Availability {
            up_ms: self.up_ms.saturating_sub(self.planned_up_ms),
            down_ms: self.down_ms.saturating_sub(self.planned_down_ms),
            unknown_ms: self.unknown_ms.saturating_sub(self.planned_unknown_ms),
            excluded_ms: planned.into_iter().fold(0, u64::saturating_add),
        }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.add(Found::Up, other.up_ms, other.planned_up_ms);
        self.add(Found::Down, other.down_ms, other.planned_down_ms);
        self.add(Found::Unknown, other.unknown_ms, other.planned_unknown_ms);
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Tally>>(parts: I) -> Tally {
        parts.fold(Tally::default(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}

/// Compares what was counted in a period until now with a promised availability; none when something else is promised.
/// `to_come_ms`: how long everything is to be up together in what is left of the period, for what is allowed.
pub fn assess_counted(sla: &Sla, counted: Availability, to_come_ms: u64, period: Period) -> Option<Assessed> {
    let Objective::Availability { target_ppm, .. } = sla.objective else { return None };
    let due_ms = counted.counted_ms().saturating_add(to_come_ms);
    let budget = Budget {
        allowed_ms: part_of(due_ms, WHOLE_PPM.saturating_sub(target_ppm)),
        spent_ms: counted.down_ms,
        unknown_ms: counted.unknown_ms,
    };
    let possible = budget.spent_ms.saturating_add(budget.unknown_ms);
    let verdict = match counted.counted_ms() {
        // Nothing was to be up: neither kept nor broken.
        0 => Verdict::Unknown,
        _ => verdict(budget.spent_ms, possible, budget.allowed_ms, sla.at_risk_ppm),
    };
    Some(Assessed { period, availability: counted, budget, verdict })
}
