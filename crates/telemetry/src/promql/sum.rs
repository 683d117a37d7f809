//! Sums that don't lose small numbers next to large ones, and what is made of them.

/// A sum with the rounding error of each addition kept beside it (Neumaier 1974, an improvement of Kahan's).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    sum: f64,
    error: f64,
}

impl Sum {
    pub fn add(&mut self, number: f64) {
        let next = self.sum + number;
        if next.is_infinite() {
            self.error = 0.0;
        } else if self.sum.abs() >= number.abs() {
            self.error += (self.sum - next) + number;
        } else {
            self.error += (number - next) + self.sum;
        }
        self.sum = next;
    }

    pub fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.error }
    }
}

impl FromIterator<f64> for Sum {
    fn from_iter<I: IntoIterator<Item = f64>>(numbers: I) -> Sum {
        let mut sum = Sum::default();
        numbers.into_iter().for_each(|number| sum.add(number));
        sum
    }
}

/// A mean that grows number by number; it holds where the sum of them would not fit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean {
    sum: Sum,
    count: f64,
    /// Once the sum no longer fits.
    running: Option<Sum>,
}

impl Mean {
    pub fn add(&mut self, number: f64) {
        self.count += 1.0;
        if let Some(running) = &mut self.running {
            let mean = running.value();
            running.add(number / self.count - mean / self.count);
            return;
        }
        let before = self.sum;
        self.sum.add(number);
        if self.sum.value().is_infinite() && number.is_finite() && before.value().is_finite() {
            let mut running = Sum::default();
            running.add(before.value() / self.count);
            running.add(number / self.count);
            self.running = Some(running);
        }
    }

    /// NaN of nothing.
    pub fn value(self) -> f64 {
        self.running.map_or_else(|| self.sum.value() / self.count, Sum::value)
    }
}

/// A variance that grows number by number (Welford 1962), of the whole population.
#[derive(Clone, Copy, Debug, Default)]
pub struct Variance {
    count: f64,
    mean: Sum,
    squares: Sum,
}

impl Variance {
    /// That of one number is 0, even if it is infinite.
    pub fn from_first(number: f64) -> Variance {
        Variance { count: 1.0, mean: [number].into_iter().collect(), squares: Sum::default() }
    }

    pub fn add(&mut self, number: f64) {
        self.count += 1.0;
        let delta = number - self.mean.value();
        self.mean.add(delta / self.count);
        self.squares.add(delta * (number - self.mean.value()));
    }

    /// NaN of nothing.
    pub fn value(self) -> f64 {
        self.squares.value() / self.count
    }
}

/// The quantile `q` of some numbers, between two of them by their distance; NaN counts as the smallest.
/// NaN of nothing; -Inf for `q < 0`, +Inf for `q > 1`.
pub fn quantile(q: f64, numbers: &mut [f64]) -> f64 {
    if numbers.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    numbers.sort_unstable_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let rank = q * (numbers.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(numbers.len() - 1);
    let weight = rank - rank.floor();
    numbers[lower] * (1.0 - weight) + numbers[upper] * weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_small_number_survives_between_two_large_ones() {
        assert_eq!([1e100, 1.0, -1e100].into_iter().collect::<Sum>().value(), 1.0);
        assert_eq!([f64::INFINITY, 1.0].into_iter().collect::<Sum>().value(), f64::INFINITY);
        assert!([f64::INFINITY, f64::NEG_INFINITY].into_iter().collect::<Sum>().value().is_nan());
    }

    #[test]
    fn a_mean_holds_where_the_sum_would_not_fit() {
        let mut mean = Mean::default();
        [f64::MAX, f64::MAX, f64::MAX].into_iter().for_each(|number| mean.add(number));
        assert_eq!(mean.value(), f64::MAX);
        let mut endless = Mean::default();
        [1.0, f64::INFINITY, 2.0].into_iter().for_each(|number| endless.add(number));
        assert_eq!(endless.value(), f64::INFINITY);
        assert!(Mean::default().value().is_nan());
    }

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        assert_eq!(quantile(0.5, &mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(0.25, &mut [0.0, 1.0]), 0.25);
        assert_eq!(quantile(-0.1, &mut [1.0]), f64::NEG_INFINITY);
        assert_eq!(quantile(1.1, &mut [1.0]), f64::INFINITY);
        assert!(quantile(0.5, &mut []).is_nan() && quantile(0.0, &mut [1.0, f64::NAN]).is_nan());
    }

    proptest! {
        #[test]
        fn a_quantile_never_leaves_the_numbers(mut numbers in prop::collection::vec(-1e9..1e9f64, 1..50), q in 0.0..=1.0f64) {
            let found = quantile(q, &mut numbers);
            let (least, most) = (numbers[0], numbers[numbers.len() - 1]);
            prop_assert!(found >= least - 1e-6 && found <= most + 1e-6);
        }

        #[test]
        fn mean_and_variance_are_those_of_two_passes(numbers in prop::collection::vec(-1e3..1e3f64, 1..50)) {
            let (mut mean, mut variance) = (Mean::default(), Variance::default());
            for number in &numbers {
                mean.add(*number);
                variance.add(*number);
            }
            let count = numbers.len() as f64;
            let plain = numbers.iter().sum::<f64>() / count;
            let squares = numbers.iter().map(|number| (number - plain).powi(2)).sum::<f64>() / count;
            prop_assert!((mean.value() - plain).abs() < 1e-9 && (variance.value() - squares).abs() < 1e-6);
        }
    }
}
