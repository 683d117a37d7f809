//! Which series of the memory have which label.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Labels, MatchOp, Matcher};

/// From label name and value to slots, in no order. It also holds the one copy of each text.
#[derive(Default)]
pub struct Names(BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<u32>>>);

impl Names {
    /// Adds a series; its labels, whose texts are shared with those of other series.
    pub fn add(&mut self, labels: &Labels, slot: u32) -> Labels {
        let mut shared = Vec::with_capacity(labels.len());
        for (name, value) in labels.iter() {
            let name = match self.0.get_key_value(name) {
                Some((name, _)) => Arc::clone(name),
                None => name.into(),
            };
            let values = self.0.entry(Arc::clone(&name)).or_default();
            let value = match values.get_key_value(value) {
                Some((value, _)) => Arc::clone(value),
                None => value.into(),
            };
            values.entry(Arc::clone(&value)).or_default().push(slot);
            shared.push((name, value));
        }
        Labels::new(shared)
    }

    /// Removes series of which `gone` says that they are gone, with these labels.
    pub fn remove<'a>(&mut self, labels: impl Iterator<Item = &'a Labels>, gone: impl Fn(u32) -> bool) {
        let touched: std::collections::BTreeSet<(&str, &str)> = labels.flat_map(Labels::iter).collect();
        for (name, value) in touched {
            let Some(values) = self.0.get_mut(name) else { continue };
            if let Some(slots) = values.get_mut(value) {
                slots.retain(|slot| !gone(*slot));
                if slots.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.0.remove(name);
            }
        }
    }

    /// Slots that may fulfil the matchers, `None`: any. Their labels are to be looked at still.
    pub fn candidates(&self, matchers: &[Matcher]) -> Option<Vec<u32>> {
        let mut fewest: Option<&Vec<u32>> = None;
        for matcher in matchers {
            if let MatchOp::Equal(value) = &matcher.op {
                if !value.is_empty() {
                    let values = self.0.get(matcher.name.as_str());
                    let Some(slots) = values.and_then(|values| values.get(value.as_str())) else {
                        return Some(Vec::new());
                    };
                    if fewest.is_none_or(|fewest| slots.len() < fewest.len()) {
                        fewest = Some(slots);
                    }
                }
            }
        }
        if let Some(fewest) = fewest {
            return Some(fewest.clone());
        }
        let narrow = matchers.iter().find(|matcher| !matcher.holds(""))?;
        let values = self.0.get(narrow.name.as_str()).into_iter().flatten();
        Some(values.filter(|(value, _)| narrow.holds(value)).flat_map(|(_, slots)| slots).copied().collect())
    }

    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    pub fn label_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(|(value, _)| &**value)
    }
}
