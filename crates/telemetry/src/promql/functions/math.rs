//! Functions of one number that the standard library has otherwise.

/// -1, 1, or what it is: 0, -0 or NaN.
pub fn sign(number: f64) -> f64 {
    if number > 0.0 {
        1.0
    } else if number < 0.0 {
        -1.0
    } else {
        number
    }
}

/// The inverse of `sinh`, with the sign of zero kept.
pub fn asinh(number: f64) -> f64 {
    if number == 0.0 { number } else { number.asinh() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_nothing_is_nothing() {
        assert_eq!((sign(-3.0), sign(0.0), sign(f64::INFINITY)), (-1.0, 0.0, 1.0));
        assert!(sign(f64::NAN).is_nan());
        assert!(asinh(-0.0).is_sign_negative());
    }
}
