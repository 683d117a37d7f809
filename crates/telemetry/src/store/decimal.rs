//! Floats as whole numbers of a power of ten, where that is exact: most of what is measured was a decimal once.
//!
//! VictoriaMetrics keeps values so, rounding those that do not fit; here a value that would not come back bit for bit is left alone.

/// 10^0 to 10^15: all exact in a double.
pub const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Whole numbers up to here are exact in a double.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;

/// `number` as a whole number of `10^-exponent`, if that is exact.
pub fn whole(number: f64, exponent: u8) -> Option<i64> {
    let scaled = number * POWERS[usize::from(exponent)];
    if scaled.is_nan() || scaled.abs() > WHOLE_MAX {
        return None;
    }
    let rounded = (scaled + 0.5f64.copysign(scaled)) as i64;
    (float(rounded, exponent).to_bits() == number.to_bits()).then_some(rounded)
}

/// The smallest exponent from `least` to `most` at which `number` is whole, and what it is then.
pub fn least_exponent(number: f64, least: u8, most: u8) -> Option<(u8, i64)> {
    (least..=most).find_map(|exponent| whole(number, exponent).map(|whole| (exponent, whole)))
}

/// The float nearest to `whole * 10^-exponent`: what a decimal text of that number is read as.
pub fn float(whole: i64, exponent: u8) -> f64 {
    whole as f64 / POWERS[usize::from(exponent)]
}

/// 10^`by` as a whole number, up to 15.
pub fn scale(by: u8) -> i64 {
    POWERS[usize::from(by)] as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_whole_numbers_of_a_power_of_ten() {
        assert_eq!(least_exponent(12.34, 0, 7), Some((2, 1234)));
        assert_eq!(least_exponent(-0.001, 0, 7), Some((3, -1)));
        assert_eq!(least_exponent(7.0, 2, 7), Some((2, 700)));
        assert_eq!(least_exponent(9_007_199_254_740_992.0, 0, 7), Some((0, 1 << 53)));
    }

    #[test]
    fn what_would_not_come_back_bit_for_bit_is_left_alone() {
        for number in [-0.0, f64::NAN, f64::INFINITY, 1.0 / 3.0, f64::MIN_POSITIVE, 1e300, f64::NEG_INFINITY]
        {
            assert_eq!(least_exponent(number, 0, 15), None, "{number}");
        }
    }
}
