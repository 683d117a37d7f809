//! Durations, moments, sizes, counts and percentages as people write them.

mod moment;

pub use moment::{Moment, moment};

/// `10m`, `24h`, `1h30m`, `250ms`, `7d`, `2w` in milliseconds. A number without a unit is refused, `0` is not.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a duration such as 500ms, 30s, 10m, 24h or 7d");
    let text_trimmed = text.trim();
    if text_trimmed == "0" {
        return Ok(0);
    }
    let mut rest = text_trimmed;
    let mut total = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit_ms: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        total = number.checked_mul(unit_ms).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
    }
    if text_trimmed.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// Milliseconds as people read them: `850ms`, `12.4s`, `3m05s`, `2h10m`, `4d6h`.
pub fn show_duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{}.{}s", seconds, ms % 1_000 / 100),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// `512MiB`, `4GiB`, `1T`, `512M`, `4GB` in bytes. `K M G T` and `KiB MiB GiB TiB` are powers of 1024, `KB MB GB TB` of 1000.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a size such as 512MiB or 4GiB");
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let unit: u64 = match trimmed[digits..].trim().to_ascii_lowercase().as_str() {
        "b" => 1,
        "k" | "kib" | "ki" => 1 << 10,
        "m" | "mib" | "mi" => 1 << 20,
        "g" | "gib" | "gi" => 1 << 30,
        "t" | "tib" | "ti" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "" if trimmed == "0" => 1,
        _ => return Err(wrong()),
    };
    let number = &trimmed[..digits];
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(unit),
        Err(_) => match number.parse::<f64>() {
            Ok(part) if (part * unit as f64) < 9e15 => Some((part * unit as f64) as u64),
            _ => None,
        },
    };
    bytes.ok_or_else(wrong)
}

/// A size in MiB; a bare number is MiB already. Less than one MiB is refused.
pub fn size_mib(text: &str) -> Result<u64, String> {
    bare_or_size(text, 1 << 20, "MiB")
}

/// A size in GiB; a bare number is GiB already. What is no whole number of GiB is refused.
pub fn size_gib(text: &str) -> Result<u64, String> {
    bare_or_size(text, 1 << 30, "GiB")
}

fn bare_or_size(text: &str, unit: u64, name: &str) -> Result<u64, String> {
    if let Ok(number) = text.trim().parse::<u64>() {
        return Ok(number);
    }
    let bytes = size_bytes(text)?;
    if bytes % unit != 0 {
        return Err(format!("'{text}' is not a whole number of {name}"));
    }
    Ok(bytes / unit)
}

/// `10` or `10%`, from 0 to 100.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%');
    match number.parse::<f64>() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        Ok(value) => Err(format!("'{text}' is out of range: {value} is not from 0 to 100")),
        Err(_) => Err(format!("'{text}' is not a percentage such as 10 or 10%")),
    }
}

/// `10` or `10%`, a whole number from 0 to 100.
pub fn whole_percent(text: &str) -> Result<u8, String> {
    let value = percent(text)?;
    if value.fract() == 0.0 { Ok(value as u8) } else { Err(format!("'{text}' is not a whole percentage")) }
}

/// A count that is set or changed: `5`, `+2`, `-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountChange {
    To(u32),
    More(u32),
    Fewer(u32),
}

/// `5`, `+2`, `-1`.
pub fn count_change(text: &str) -> Result<CountChange, String> {
    let wrong = |_| format!("'{text}' is not a count such as 5, +2 or -1");
    let trimmed = text.trim();
    match trimmed.as_bytes().first() {
        Some(b'+') => trimmed[1..].parse().map(CountChange::More).map_err(wrong),
        Some(b'-') => trimmed[1..].parse().map(CountChange::Fewer).map_err(wrong),
        _ => trimmed.parse().map(CountChange::To).map_err(wrong),
    }
}

/// A count from 1 on.
pub fn count(text: &str) -> Result<u32, String> {
    match text.trim().parse::<i64>() {
        Ok(number) if number < 1 => Err(format!("'{text}' is out of range: at least 1 is needed")),
        Ok(number) => u32::try_from(number).map_err(|_| format!("'{text}' is too large")),
        Err(_) => Err(format!("'{text}' is not a count such as 5")),
    }
}

/// `a,b,c`; empty parts are refused.
pub fn list(text: &str) -> Result<Vec<String>, String> {
    let parts: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
    if parts.iter().any(String::is_empty) {
        return Err(format!("'{text}' is an empty list, or has an empty part"));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        for (text, ms) in
            [("10m", 600_000), ("24h", 86_400_000), ("7d", 604_800_000), ("1h30m", 5_400_000), ("250ms", 250)]
        {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for text in ["", "10", "-5m", "m", "10x", "1.5h", "99999999999999w"] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_show_short() {
        for (ms, text) in [(850, "850ms"), (12_400, "12.4s"), (185_000, "3m05s"), (7_800_000, "2h10m")] {
            assert_eq!(show_duration(ms), text);
        }
    }

    #[test]
    fn sizes_read_as_written() {
        assert_eq!(size_mib("4GiB"), Ok(4096));
        assert_eq!(size_mib("64"), Ok(64));
        assert_eq!(size_gib("1TiB"), Ok(1024));
        assert_eq!(size_bytes("1.5G"), Ok(3 << 29));
        for text in ["", "4XB", "-1GiB", "GiB", "100KiB"] {
            assert!(size_mib(text).is_err(), "{text}");
        }
    }

    #[test]
    fn percentages_and_counts_have_bounds() {
        assert_eq!(whole_percent("10%"), Ok(10));
        assert!(whole_percent("101").unwrap_err().contains("0 to 100"));
        assert!(whole_percent("-1").is_err());
        assert_eq!(count_change("+2"), Ok(CountChange::More(2)));
        assert_eq!(count_change("-1"), Ok(CountChange::Fewer(1)));
        assert!(count("-3").is_err() && count("0").is_err() && count("x").is_err());
        assert!(list("a,,b").is_err() && list("").is_err());
    }
}
