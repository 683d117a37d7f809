//! Durations as Prometheus writes them.

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// `1h30m` in milliseconds: whole numbers with the units y w d h m s ms, each at most once and the larger first; or `0`.
///
/// # Errors
/// It is none, or longer than can be counted.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a duration such as 30s, 5m, 1h30m or 7d");
    if text == "0" {
        return Ok(0);
    }
    let (mut rest, mut total, mut units) = (text, 0u64, &UNITS[..]);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let at = units.iter().position(|(unit, _)| *unit == &rest[..letters]).ok_or_else(wrong)?;
        total = number.checked_mul(units[at].1).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
        (rest, units) = (&rest[letters..], &units[at + 1..]);
    }
    if text.is_empty() || total > i64::MAX as u64 / 1_000_000 { Err(wrong()) } else { Ok(total) }
}
