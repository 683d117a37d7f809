//! A source in memory, written down in a short notation: for tests, examples and comparisons.

use std::fmt;

use super::ast::Kind;
use super::parse;
use crate::model::{
    Bucket, CounterReset, Histogram, Labels, Sample, Select, Selected, Series, Source, SourceError, Value,
    labels,
};
use std::sync::Arc;

/// Series in memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    series: Vec<Series>,
}

/// Why a text is no notation of series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotationError(String);

impl fmt::Display for NotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotationError {}

impl Memory {
    pub fn new(mut series: Vec<Series>) -> Memory {
        series.sort_by(|one, two| one.labels.cmp(&two.labels));
        Memory { series }
    }

    /// One series a line: `name{label="value"} | samples`, the first at `start_ms` and the others every `step_ms`.
    ///
    /// A sample is a number; `_`: none; `stale`: the series ends; `5*3`: three times 5; `0..100/10`: from 0 to 100 by 10;
    /// `h(schema=0,sum=5,zero=1,width=0.001,pos=1:2/2:4,neg=1:1,own=1/2,reset)`: a native histogram, whose count is what its
    /// buckets hold. Empty lines mean nothing.
    ///
    /// # Errors
    /// The line that is no series.
    pub fn parse(text: &str, start_ms: i64, step_ms: i64) -> Result<Memory, NotationError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let series = lines.map(|line| {
            read_line(line, start_ms, step_ms).ok_or_else(|| NotationError(format!("{line:?} is no series")))
        });
        Ok(Memory::new(series.collect::<Result<_, _>>()?))
    }

    pub fn series(&self) -> &[Series] {
        &self.series
    }
}

impl Source for Memory {
    fn select(&self, wanted: &Select) -> Result<Selected, SourceError> {
        let mut found = Vec::new();
        let mut count = 0;
        for series in &self.series {
            if !wanted.matchers.iter().all(|matcher| matcher.holds_for(&series.labels)) {
                continue;
            }
            let from = series.samples.partition_point(|sample| sample.at_ms < wanted.start_ms);
            let to = series.samples.partition_point(|sample| sample.at_ms <= wanted.end_ms);
            if from < to {
                count += (to - from) as u64;
                found.push((series, from..to));
            }
        }
        if count > wanted.max_samples {
            return Err(SourceError::TooMuch { samples: count, limit: wanted.max_samples });
        }
        let cut = |(series, range): (&Series, std::ops::Range<usize>)| Series {
            labels: series.labels.clone(),
            samples: series.samples[range].to_vec(),
        };
        Ok(Selected { series: found.into_iter().map(cut).collect(), warnings: Vec::new() })
    }
}

fn read_line(line: &str, start_ms: i64, step_ms: i64) -> Option<Series> {
    let (name, samples) = line.split_once('|')?;
    let Kind::Vector(selector) = parse::parse(name.trim()).ok()?.kind else { return None };
    let pairs = selector.conditions.iter().map(|one| (one.label.as_str(), one.value.as_str()));
    let labels = Labels::new(selector.name.iter().map(|name| (labels::NAME, name.as_str())).chain(pairs));
    let mut values = Vec::new();
    for word in samples.split_whitespace() {
        read_word(word, &mut values)?;
    }
    let sample =
        |(at, value): (i64, Option<Value>)| Some(Sample { at_ms: start_ms + at * step_ms, value: value? });
    Some(Series { labels, samples: (0..).zip(values).filter_map(sample).collect() })
}

fn read_word(word: &str, values: &mut Vec<Option<Value>>) -> Option<()> {
    if let Some((from, rest)) = word.split_once("..") {
        let (to, by) = rest.split_once('/')?;
        let (from, to, by): (f64, f64, f64) = (from.parse().ok()?, to.parse().ok()?, by.parse().ok()?);
        let steps = ((to - from) / by).round() as u32;
        values.extend((0..=steps).map(|step| Some(Value::Float(from + f64::from(step) * by))));
        return Some(());
    }
    let (one, times) = match word.split_once('*') {
        Some((one, times)) => (one, times.parse().ok()?),
        None => (word, 1),
    };
    let value = match one {
        "_" => None,
        "stale" => Some(Value::stale()),
        _ => Some(match one.strip_prefix("h(").and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => Value::Histogram(Arc::new(read_histogram(inner)?)),
            None => Value::Float(one.parse().ok()?),
        }),
    };
    values.extend(std::iter::repeat_n(value, times));
    Some(())
}

fn read_histogram(inner: &str) -> Option<Histogram> {
    let mut made = Histogram::default();
    for field in inner.split(',').filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        match name {
            "schema" => made.schema = value.parse().ok()?,
            "sum" => made.sum = value.parse().ok()?,
            "zero" => made.zero_count = value.parse().ok()?,
            "width" => made.zero_threshold = value.parse().ok()?,
            "pos" => made.positive = read_buckets(value)?,
            "neg" => made.negative = read_buckets(value)?,
            "own" => {
                made.schema = Histogram::CUSTOM;
                made.custom = value.split('/').map(str::parse).collect::<Result<_, _>>().ok()?;
            }
            "reset" => made.reset = CounterReset::Reset,
            "gauge" => made.reset = CounterReset::Gauge,
            _ => return None,
        }
    }
    let buckets = made.positive.iter().chain(&made.negative);
    made.count = made.zero_count + buckets.map(|bucket| bucket.count).sum::<f64>();
    Some(made)
}

fn read_buckets(text: &str) -> Option<Vec<Bucket>> {
    let bucket = |pair: &str| {
        let (index, count) = pair.split_once(':')?;
        Some(Bucket { index: index.parse().ok()?, count: count.parse().ok()? })
    };
    text.split('/').map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_notation_is_a_series() {
        let memory = Memory::parse("a{b=\"c\"} | 1 _ 2*2 0..2/1 stale h(sum=3,pos=1:2,zero=1)", 1000, 10)
            .expect("series");
        let [series] = memory.series() else { panic!("not one series") };
        assert_eq!(series.labels.to_string(), r#"a{b="c"}"#);
        let times: Vec<i64> = series.samples.iter().map(|sample| sample.at_ms).collect();
        assert_eq!(times, [1000, 1020, 1030, 1040, 1050, 1060, 1070, 1080]);
        assert!(series.samples[6].value.is_stale());
        let Value::Histogram(last) = &series.samples[7].value else { panic!("no histogram") };
        assert_eq!((last.count, last.sum), (3.0, 3.0));
        for bad in ["a 1", "a | x", "rate(a[5m]) | 1", "a | h(huh=1)", "a | 1..2"] {
            assert!(Memory::parse(bad, 0, 1).is_err(), "{bad}");
        }
    }
}
