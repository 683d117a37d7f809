//! The clocks, read together.

use std::time::{SystemTime, UNIX_EPOCH};

use dwcp_types::{Mono, Now, Wall};

/// Both clocks now.
pub fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}

/// The system's monotonic clock, µs.
pub fn mono() -> Mono {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which lives through it.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    assert_eq!(failed, 0, "every Linux has a monotonic clock");
    Mono(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000)
}

/// The system's wall clock, ms since 1970.
pub fn wall() -> Wall {
    Wall(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
}

/// The same, µs.
pub fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    i64::try_from(since).unwrap_or(i64::MAX)
}

/// The wall clock as stores of metrics and logs count it.
pub fn wall_ms() -> i64 {
    ms(wall().0)
}

/// Milliseconds as stores of metrics and logs count them.
pub fn ms(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A wall time as people and machines read it: `2026-11-23T14:05:09.042Z`.
pub fn utc(wall: Wall) -> String {
    let (days, ms) = (wall.0 / 86_400_000, wall.0 % 86_400_000);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_utc() {
        assert_eq!(utc(Wall(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(Wall(951_782_400_000)), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(Wall(1_795_442_709_042)), "2026-11-23T14:05:09.042Z");
    }
}
