//! What a read costs, before it is done.

/// Samples that a read would read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// In chunks that lie wholly in the span asked for.
    pub certain: u64,
    /// These, and of the chunks at its ends as many as lie in it when they are spread evenly.
    pub likely: u64,
}

impl Cost {
    /// Adds a chunk of `count` samples from `first_ms` to `last_ms`, of which those from `start_ms` to `end_ms` are wanted.
    pub fn add(&mut self, count: u32, first_ms: i64, last_ms: i64, start_ms: i64, end_ms: i64) {
        if count == 0 || first_ms > end_ms || last_ms < start_ms {
            return;
        }
        let count = u64::from(count);
        if start_ms <= first_ms && last_ms <= end_ms {
            self.certain += count;
            self.likely += count;
            return;
        }
        let span = |from: i64, to: i64| to.abs_diff(from) as f64 + 1.0;
        let part = span(first_ms.max(start_ms), last_ms.min(end_ms)) / span(first_ms, last_ms);
        self.likely += (count as f64 * part).ceil() as u64;
    }
}
