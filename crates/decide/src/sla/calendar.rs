//! Days and months, in UTC.

use dwcp_types::Wall;

use super::Times;

/// A day, ms. UTC days have no leap seconds here, as Unix time has none.
const DAY_MS: u64 = 86_400_000;

/// From one moment, it included, to another, it not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    pub from: Wall,
    pub until: Wall,
}

/// Into what a history is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Day,
    /// Of the calendar: 28 to 31 days.
    Month,
}

impl Period {
    /// How long it is, ms.
    pub fn ms(self) -> u64 {
        self.until.ms_since(self.from)
    }

    /// Its moments.
    pub fn times(self) -> Times {
        Times::new([(self.from, self.until)])
    }

    /// The day of a moment.
    pub fn day(at: Wall) -> Period {
        let from = at.0 - at.0 % DAY_MS;
        Period { from: Wall(from), until: Wall(from.saturating_add(DAY_MS)) }
    }

    /// The month of a moment.
    pub fn month(at: Wall) -> Period {
        let (year, month) = year_and_month(at.0 / DAY_MS);
        let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        let begin = |(year, month): (u64, u64)| Wall(days_before(year, month).saturating_mul(DAY_MS));
        Period { from: begin((year, month)), until: begin(next) }
    }

    /// Its days or months, the first and the last cut to it.
    pub fn cut(self, step: Step) -> Vec<Period> {
        let (mut parts, mut from) = (Vec::new(), self.from);
        while from < self.until {
            let whole = match step {
                Step::Day => Period::day(from),
                Step::Month => Period::month(from),
            };
            // The last moment that can be told has no end of its day behind it.
            let until = if whole.until > from { whole.until.min(self.until) } else { self.until };
            parts.push(Period { from, until });
            from = until;
        }
        parts
    }
}

/// Year and month of a day, counted from 1970-01-01.
///
/// The calendar repeats every 400 years, which have 146,097 days. Years that begin on 1 March have their leap day last.
fn year_and_month(day: u64) -> (u64, u64) {
    let shifted = day + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * in_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month)
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let (year, from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year / 400, year % 400);
    let in_year = (153 * from_march + 2) / 5;
    era * 146_097 + 365 * year + year / 4 - year / 100 + in_year - 719_468
}
