//! `histogram_quantile(q, NAME)` with nothing around a bare name, as operators type it: over all series of the name together, and
//! over what was observed within a window when there is one.
//!
//! PromQL has no such thing: it gives a row for each series, and of a window `rate` and `increase` leave out what was observed
//! before a series' first sample. Here a series that begins within the window counts from zero, as its process began then: a
//! federation that was started a minute ago has a quantile of its last day.

use std::sync::Arc;

use super::{Dialect, Query, QueryError, ast, histogram};
use crate::model::{Histogram, Matcher, Select, Series, Source, SourceError, Value};

/// The two arguments of an expression that is nothing but `histogram_quantile(q, NAME)`; matchers may stand behind the name.
#[derive(Clone, Debug)]
pub struct Bare {
    pub quantile: f64,
    pub matchers: Vec<Matcher>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// None: nothing was observed.
    pub quantile: Option<f64>,
    pub warnings: Vec<String>,
}

impl Bare {
    /// Whether an expression is one; `None` for every other.
    pub fn of(query: &Query) -> Option<Bare> {
        let ast::Kind::Call { function, args } = &query.expr().unwrapped().kind else { return None };
        let [quantile, selector] = &args[..] else { return None };
        match (&quantile.unwrapped().kind, &selector.unwrapped().kind) {
            (ast::Kind::Number(quantile), ast::Kind::Vector(selector))
                if function.name == "histogram_quantile" && selector.moment == ast::Moment::default() =>
            {
                Some(Bare { quantile: *quantile, matchers: selector.matchers.clone() })
            }
            _ => None,
        }
    }

    /// The quantile of everything that all series together observed from `start_ms` (not included) to `end_ms`; `lookback_ms`: how old
    /// the sample may be that says where a series stood at the beginning. With `start_ms` none, of all they ever observed.
    ///
    /// # Errors
    /// The samples can't be read, or are too many.
    pub fn quantile(
        &self,
        source: &dyn Source,
        (start_ms, end_ms): (Option<i64>, i64),
        lookback_ms: i64,
        max_samples: u64,
    ) -> Result<Observed, QueryError> {
        let from_ms = start_ms.unwrap_or(end_ms).saturating_sub(lookback_ms);
        let matchers = self.matchers.clone();
        let wanted = Select { matchers, start_ms: from_ms, end_ms, step_ms: 0, max_samples };
        let found = source.select(&wanted).map_err(|error| match error {
            SourceError::TooMuch { samples, limit } => QueryError::TooMuch { samples, limit },
            SourceError::Failed(why) => QueryError::Source(why),
        })?;
        let (mut sum, mut warnings) = (None::<Histogram>, found.warnings);
        for series in &found.series {
            let Some(within) = within(series, start_ms) else { continue };
            sum = match sum {
                None => Some(within),
                Some(sum) => match histogram::add(&sum, &within) {
                    Some(both) => Some(both),
                    None => {
                        warnings.push(format!("{} has other buckets and is left out", series.labels));
                        Some(sum)
                    }
                },
            };
        }
        let quantile =
            sum.map(|sum| histogram::quantile::quantile(self.quantile, &sum, Dialect::Prometheus3));
        Ok(Observed { quantile: quantile.filter(|value| !value.is_nan()), warnings })
    }
}

/// What a series observed behind `start_ms`, none when it has no histograms.
fn within(series: &Series, start_ms: Option<i64>) -> Option<Histogram> {
    let histograms = series.samples.iter().filter(|sample| !sample.value.is_stale());
    let mut histograms = histograms.filter_map(|sample| match &sample.value {
        Value::Histogram(histogram) => Some((sample.at_ms, histogram)),
        Value::Float(_) => None,
    });
    let Some(start_ms) = start_ms else { return histograms.next_back().map(|(_, last)| (**last).clone()) };
    let mut before: Option<&Arc<Histogram>> = None;
    let mut sum: Option<Histogram> = None;
    for (at_ms, now) in histograms {
        if at_ms > start_ms {
            let more = match before {
                Some(before) if !histogram::is_reset(now, before) => histogram::subtract(now, before)?,
                _ => (**now).clone(),
            };
            sum = match sum {
                None => Some(more),
                Some(sum) => histogram::add(&sum, &more),
            };
        }
        before = Some(now);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bucket, Labels, Sample, Selected};

    /// So many observations in each of two buckets, at most 1 and at most 2.
    fn counts(low: f64, high: f64) -> Value {
        Value::Histogram(Arc::new(Histogram {
            count: low + high,
            sum: low + 2.0 * high,
            positive: vec![Bucket { index: 0, count: low }, Bucket { index: 1, count: high }],
            ..Histogram::default()
        }))
    }

    struct Fixed(Vec<Series>);

    impl Source for Fixed {
        fn select(&self, wanted: &Select) -> Result<Selected, SourceError> {
            let mut series = self.0.clone();
            let within = wanted.start_ms..=wanted.end_ms;
            series.iter_mut().for_each(|of| of.samples.retain(|sample| within.contains(&sample.at_ms)));
            Ok(Selected { series, warnings: vec![] })
        }
    }

    fn series(region: &str, samples: Vec<(i64, Value)>) -> Series {
        let samples = samples.into_iter().map(|(at_ms, value)| Sample { at_ms, value }).collect();
        Series { labels: Labels::new([("__name__", "h"), ("region", region)]), samples }
    }

    fn bare() -> Bare {
        Bare::of(&Query::parse("histogram_quantile(0.5, h)").expect("an expression")).expect("it is one")
    }

    #[test]
    fn only_a_bare_name_is_one() {
        let is = |text: &str| Bare::of(&Query::parse(text).expect("an expression")).is_some();
        assert!(is(" histogram_quantile( 0.99 , h{region=\"a\"} ) "));
        for other in [
            "histogram_quantile(0.99, rate(h[5m]))",
            "histogram_quantile(0.99, sum(h))",
            "histogram_quantile(0.99, h offset 1h)",
            "histogram_quantile(0.99, h) + 1",
            "h",
        ] {
            assert!(!is(other), "{other}");
        }
    }

    #[test]
    fn a_window_counts_what_was_observed_in_it_and_what_begins_in_it_from_zero() {
        let old =
            series("a", vec![(0, counts(100.0, 0.0)), (50, counts(100.0, 0.0)), (90, counts(100.0, 10.0))]);
        let new = series("b", vec![(80, counts(0.0, 4.0)), (95, counts(0.0, 4.0))]);
        let source = Fixed(vec![old, new]);
        let asked = |window| bare().quantile(&source, window, 60, 100).expect("an answer").quantile;
        // Of late all were between 1 and 2, of all time most were at most 1.
        assert!(asked((Some(50), 100)).is_some_and(|q| q > 1.0));
        assert!(asked((None, 100)).is_some_and(|q| q <= 1.0));
        // Nothing new, and nothing there.
        assert_eq!(asked((Some(96), 100)), None);
        assert_eq!(bare().quantile(&Fixed(vec![]), (Some(0), 9), 60, 100).expect("an answer").quantile, None);
    }

    #[test]
    fn a_process_that_began_anew_counts_from_zero_again() {
        let source = Fixed(vec![series(
            "a",
            vec![(10, counts(50.0, 0.0)), (20, counts(0.0, 3.0)), (30, counts(0.0, 9.0))],
        )]);
        let asked = bare().quantile(&source, (Some(15), 30), 60, 100).expect("an answer");
        assert!(asked.quantile.is_some_and(|q| q > 1.0));
    }
}
