//! Who is on call: rotations over the day and the world, and what people changed by hand.

mod ical;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};
use serde::{Deserialize, Serialize};

use super::Role;

pub use ical::calendar;

/// A rotation of people: each has a shift, one after the other, and then the first again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    pub role: Role,
    pub people: Vec<String>,
    /// IANA name of the time zone that everything here is in: `Europe/Berlin`.
    pub zone: String,
    /// When the first shift of the first person began: `2026-11-02T09:00`. Shifts change at that time of the day.
    pub start: String,
    /// How long a shift is, days.
    pub shift_days: u32,
    /// Only at these hours of the day: `["08:00", "16:00"]`, the second one not included; past midnight when it is the smaller one. With
    /// a layer for each part of the world, the duty follows the sun.
    pub hours: Option<[String; 2]>,
}

/// Someone stands in for whoever would be on call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Override {
    pub role: Role,
    pub who: String,
    /// From this moment on, ms since 1970.
    pub from_ms: i64,
    /// Up to this moment, it not included.
    pub until_ms: i64,
}

/// A time in which one person fills a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    pub role: Role,
    pub who: String,
    pub from_ms: i64,
    pub until_ms: i64,
}

/// Layers and overrides that were understood.
#[derive(Clone, Debug)]
pub struct Schedule {
    layers: Vec<Read>,
    overrides: Vec<Override>,
}

#[derive(Clone, Debug)]
struct Read {
    role: Role,
    people: Vec<String>,
    zone: TimeZone,
    start: DateTime,
    shift_days: i64,
    hours: Option<(Time, Time)>,
}

/// Shifts are listed for so many days at most.
pub const DAYS_MAX: i64 = 400;

const DAY_MS: i64 = 86_400_000;

impl Schedule {
    /// Of layers, the first that is on duty counts, and of overrides, which come before them, the last.
    ///
    /// # Errors
    /// Everything that is wrong: layers without people, unknown time zones, times that are none, overrides that end before they begin.
    pub fn new(layers: &[Layer], overrides: &[Override]) -> Result<Schedule, Vec<String>> {
        let mut wrong = Vec::new();
        let mut read = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            match Read::of(layer) {
                Ok(layer) => read.push(layer),
                Err(why) => wrong.push(format!("layers[{index}]: {why}")),
            }
        }
        for (index, one) in overrides.iter().enumerate() {
            if one.until_ms <= one.from_ms {
                wrong.push(format!("overrides[{index}]: it ends before it begins"));
            }
            if one.who.trim().is_empty() {
                wrong.push(format!("overrides[{index}]: it names nobody"));
            }
        }
        if wrong.is_empty() {
            Ok(Schedule { layers: read, overrides: overrides.to_vec() })
        } else {
            Err(wrong)
        }
    }

    /// Who fills a role at a moment.
    pub fn on_call(&self, role: &Role, at_ms: i64) -> Option<&str> {
        if let Role::Person(_) = role {
            return None;
        }
        let stands_in = |one: &&Override| one.role == *role && (one.from_ms..one.until_ms).contains(&at_ms);
        if let Some(one) = self.overrides.iter().rev().find(stands_in) {
            return Some(&one.who);
        }
        let at = Timestamp::from_millisecond(at_ms).ok()?;
        self.layers.iter().filter(|layer| layer.role == *role).find_map(|layer| layer.person(at))
    }

    /// Who fills a role from one moment to another, in order and without gaps where someone does; at most for [`DAYS_MAX`] days.
    pub fn shifts(&self, role: &Role, from_ms: i64, until_ms: i64) -> Vec<Shift> {
        let until_ms = until_ms.min(from_ms.saturating_add(DAYS_MAX * DAY_MS));
        let mut edges = BTreeSet::from([from_ms, until_ms]);
        for one in self.overrides.iter().filter(|one| one.role == *role) {
            edges.extend([one.from_ms, one.until_ms]);
        }
        for layer in self.layers.iter().filter(|layer| layer.role == *role) {
            layer.edges(from_ms, until_ms, &mut edges);
        }
        let inside: Vec<i64> = edges.range(from_ms..=until_ms.max(from_ms)).copied().collect();
        let mut shifts: Vec<Shift> = Vec::new();
        for pair in inside.windows(2) {
            let Some(who) = self.on_call(role, pair[0]) else { continue };
            match shifts.last_mut().filter(|last| last.who == who && last.until_ms == pair[0]) {
                Some(last) => last.until_ms = pair[1],
                None => shifts.push(Shift {
                    role: role.clone(),
                    who: who.to_owned(),
                    from_ms: pair[0],
                    until_ms: pair[1],
                }),
            }
        }
        shifts
    }
}

impl Read {
    fn of(layer: &Layer) -> Result<Read, String> {
        if layer.people.is_empty() || layer.people.iter().any(|name| name.trim().is_empty()) {
            return Err("a layer needs people, each with a name".to_owned());
        }
        if let Role::Person(_) = layer.role {
            return Err("a layer is of the primary or of the secondary".to_owned());
        }
        if layer.shift_days == 0 {
            return Err("a shift lasts a day at least".to_owned());
        }
        let zone = TimeZone::get(&layer.zone).map_err(|_| format!("'{}' is not a time zone", layer.zone))?;
        let wrong = |_| format!("'{}' is not a moment such as 2026-11-02T09:00", layer.start);
        let start: DateTime = layer.start.parse().map_err(wrong)?;
        let time = |text: &String| {
            text.parse::<Time>().map_err(|_| format!("'{text}' is not a time of the day such as 08:00"))
        };
        let hours = match &layer.hours {
            Some([from, until]) => Some((time(from)?, time(until)?)),
            None => None,
        };
        let (role, people) = (layer.role.clone(), layer.people.clone());
        Ok(Read { role, people, zone, start, shift_days: i64::from(layer.shift_days), hours })
    }

    /// Whose shift it is; nobody's before the first one and outside of the hours.
    fn person(&self, at: Timestamp) -> Option<&str> {
        let local = self.zone.to_datetime(at);
        if local < self.start || !self.hours.is_none_or(|hours| within(hours, local.time())) {
            return None;
        }
        let days = i64::from((local.date() - self.start.date()).get_days());
        let days = days - i64::from(local.time() < self.start.time());
        let number = (days / self.shift_days) as usize % self.people.len();
        self.people.get(number).map(String::as_str)
    }

    /// Adds every moment from one day before `from_ms` to one after `until_ms` at which another one may be on duty.
    fn edges(&self, from_ms: i64, until_ms: i64, edges: &mut BTreeSet<i64>) {
        let day = |ms: i64, more: Span| -> Option<Date> {
            let at = Timestamp::from_millisecond(ms).ok()?;
            self.zone.to_datetime(at).date().checked_add(more).ok()
        };
        let (Some(mut date), Some(last)) = (day(from_ms, -1.day()), day(until_ms, 1.day())) else { return };
        let hours = self.hours.iter().flat_map(|(from, until)| [*from, *until]);
        let times: BTreeSet<Time> = hours.chain([self.start.time()]).collect();
        // Setting a clock can begin or end hours, too.
        if let Ok(first) = self.zone.to_timestamp(date.to_datetime(Time::midnight())) {
            let changes = self.zone.following(first).map(|change| change.timestamp().as_millisecond());
            edges.extend(changes.take_while(|at_ms| *at_ms < until_ms));
        }
        while date <= last {
            for time in &times {
                // A clock that is set back passes a time twice.
                let local = date.to_datetime(*time);
                let once = self.zone.to_ambiguous_timestamp(local).earlier();
                let again = self.zone.to_ambiguous_timestamp(local).later();
                edges.extend([once, again].into_iter().flatten().map(|at| at.as_millisecond()));
            }
            match date.checked_add(1.day()) {
                Ok(next) => date = next,
                Err(_) => return,
            }
        }
    }
}

fn within((from, until): (Time, Time), time: Time) -> bool {
    if from < until { (from..until).contains(&time) } else { time >= from || time < until }
}
