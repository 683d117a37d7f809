//! Dates and times of day, UTC.

/// What a clock and a calendar show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    pub day: i64,
    /// 0: Sunday.
    pub weekday: i64,
    /// From 1.
    pub day_of_year: i64,
    pub days_in_month: i64,
    pub hour: i64,
    pub minute: i64,
}

impl Calendar {
    /// Of seconds since 1970, a fraction cut off.
    ///
    /// The days of the proleptic Gregorian calendar are counted from 1 March of year 0, so that the leap day is a year's last.
    pub fn of(seconds: f64) -> Calendar {
        let seconds = seconds as i64;
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let from_march = days + 719_468;
        let (era, day_of_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let february = 28 + i64::from(leap);
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let months_before = (month - 1) as usize;
        Calendar {
            year,
            month,
            day,
            weekday: (days + 4).rem_euclid(7),
            day_of_year: lengths[..months_before].iter().sum::<i64>() + day,
            days_in_month: lengths[months_before],
            hour: second / 3600,
            minute: second % 3600 / 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn leap_days_and_centuries_are_known() {
        let date = |seconds: f64| {
            let moment = Calendar::of(seconds);
            (moment.year, moment.month, moment.day, moment.weekday, moment.day_of_year, moment.days_in_month)
        };
        assert_eq!(date(0.0), (1970, 1, 1, 4, 1, 31));
        assert_eq!(date(951_782_400.0), (2000, 2, 29, 2, 60, 29));
        assert_eq!(date(4_107_542_400.0), (2100, 3, 1, 1, 60, 31));
        assert_eq!(date(-1.0), (1969, 12, 31, 3, 365, 31));
        assert_eq!((Calendar::of(-1.0).hour, Calendar::of(-1.0).minute), (23, 59));
    }

    #[test]
    fn no_number_is_too_large() {
        for seconds in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN] {
            assert!((1..=12).contains(&Calendar::of(seconds).month));
        }
    }

    proptest! {
        #[test]
        fn the_next_day_is_the_day_after(day in -1_000_000i64..1_000_000) {
            let (today, tomorrow) = (Calendar::of(day as f64 * 86_400.0), Calendar::of((day + 1) as f64 * 86_400.0));
            prop_assert_eq!((today.weekday + 1) % 7, tomorrow.weekday);
            let next = if today.day == today.days_in_month { 1 } else { today.day + 1 };
            prop_assert_eq!(tomorrow.day, next);
        }
    }
}
