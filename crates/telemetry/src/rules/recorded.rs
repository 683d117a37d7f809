//! What a recording rule writes, from evaluation to evaluation.

use std::collections::BTreeMap;

use crate::model::{Labels, Sample, Value};

use super::Recording;

/// The series that a recording rule wrote last. It may be forgotten: then those that ended meanwhile are not marked as ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded(Vec<Labels>);

impl Recorded {
    /// The samples to write for what the rule's expression gave, in the order of their labels, with a staleness marker for each series
    /// that is not there any more. More series than `limit` (0: any number) are an error.
    ///
    /// # Errors
    /// Too many series, or two that would be one; nothing is written then.
    pub fn evaluate(
        &mut self,
        rule: &Recording,
        found: &[(Labels, Value)],
        limit: usize,
        now_ms: i64,
    ) -> Result<Vec<(Labels, Sample)>, String> {
        if limit > 0 && found.len() > limit {
            return Err(format!("it gave {} series, and the limit is {limit}", found.len()));
        }
        let mut written: BTreeMap<Labels, Value> = BTreeMap::new();
        for (labels, value) in found {
            let series = rule.series(labels);
            if let Some(_two) = written.insert(series.clone(), value.clone()) {
                return Err(format!("it gave two series of the labels {series}"));
            }
        }
        let now = written.keys().cloned().collect();
        for ended in std::mem::replace(&mut self.0, now) {
            written.entry(ended).or_insert_with(Value::stale);
        }
        Ok(written.into_iter().map(|(labels, value)| (labels, Sample { at_ms: now_ms, value })).collect())
    }
}
