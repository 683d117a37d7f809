//! Numbers as text.

/// Appends a number in its shortest form that reads back the same, as exporters commonly write it: with an exponent below 1e-4 and
/// from 1e21 on.
pub fn write(out: &mut String, value: f64) {
    use std::fmt::Write;
    let magnitude = value.abs();
    let plain = value == 0.0 || (1e-4..1e21).contains(&magnitude);
    let written = match () {
        () if value.is_nan() => out.write_str("NaN"),
        () if value.is_infinite() => out.write_str(if value > 0.0 { "+Inf" } else { "-Inf" }),
        () if plain => write!(out, "{value}"),
        () => write!(out, "{value:e}"),
    };
    written.expect("a string takes everything");
}

/// A number as the value of the labels `le` and `quantile`, always the same for the same number. The form is the canonical one of
/// OpenMetrics: `1.0`, `0.25`, `1e+06`, `+Inf`.
pub fn canonical(value: f64) -> String {
    let mut out = String::new();
    if !value.is_finite() {
        write(&mut out, value);
        return out;
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("`e` is written");
    let exponent: i32 = exponent.parse().expect("an exponent is written");
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    out = value.to_string();
    if !out.contains('.') {
        out.push_str(".0");
    }
    out
}

/// A number as Prometheus reads it: decimal, `Inf`, `NaN`.
pub fn parse(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    // Digits that no float holds are an error, not infinity.
    if value.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit()) { None } else { Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_read_back_the_same() {
        let cases = [
            (0.0, "0", "0.0"),
            (1.0, "1", "1.0"),
            (-2.5, "-2.5", "-2.5"),
            (1e6, "1000000", "1e+06"),
            (123_456_789.0, "123456789", "1.23456789e+08"),
            (0.000_1, "0.0001", "0.0001"),
            (2.5e-5, "2.5e-5", "2.5e-05"),
            (1e300, "1e300", "1e+300"),
            (f64::INFINITY, "+Inf", "+Inf"),
        ];
        for (value, short, label) in cases {
            let mut out = String::new();
            write(&mut out, value);
            assert_eq!((&*out, &*canonical(value)), (short, label));
            assert_eq!((parse(&out), parse(label)), (Some(value), Some(value)));
        }
        assert!(parse("NaN").is_some_and(f64::is_nan));
        assert_eq!((parse("1e999"), parse("0x10"), parse(""), parse("1_0")), (None, None, None, None));
    }
}
