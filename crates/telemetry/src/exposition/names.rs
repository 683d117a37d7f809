//! Names and values of labels as they are read: each kept once, and only as long as allowed.

use std::collections::HashMap;
use std::sync::Arc;

use super::Limits;

/// Names and values that were seen: an exposition repeats few of them many times.
#[derive(Default)]
pub struct Names(HashMap<Arc<str>, Arc<str>>);

impl Names {
    pub fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.0.insert(Arc::clone(&new), Arc::clone(&new));
        new
    }
}

/// Whether one more label is within the limits; `before`: how many there are.
///
/// # Errors
/// Why not.
pub fn check_label(name: &str, value: &str, before: usize, limits: &Limits) -> Result<(), String> {
    if before >= limits.labels {
        return Err(format!("more than {} labels", limits.labels));
    }
    if name.len() > limits.label_name_bytes {
        return Err(format!(
            "a label's name of {} bytes, and at most {} are read",
            name.len(),
            limits.label_name_bytes
        ));
    }
    if value.len() > limits.label_value_bytes {
        let (length, limit) = (value.len(), limits.label_value_bytes);
        return Err(format!("the label {name} has {length} bytes, and at most {limit} are read"));
    }
    Ok(())
}
