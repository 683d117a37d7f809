//! Settings as text, read as far as they can be: a later version may write what this one does not know.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What was read, and what was not.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading<T> {
    pub value: T,
    /// Names of fields; `the text`: all of it.
    pub unread: Vec<String>,
}

/// Reads JSON. A field that can't be read keeps its default; a field that is not known is passed over.
pub(super) fn read<T: Default + Serialize + DeserializeOwned>(text: &str) -> Reading<T> {
    let nothing = || Reading { value: T::default(), unread: vec!["the text".to_owned()] };
    let Ok(whole) = serde_json::from_str::<Value>(text) else { return nothing() };
    let Value::Object(fields) = whole else { return nothing() };
    if let Ok(value) = serde_json::from_value(Value::Object(fields.clone())) {
        return Reading { value, unread: Vec::new() };
    }
    let mut good = Map::new();
    let mut unread = Vec::new();
    for (name, field) in fields {
        let alone = Map::from_iter([(name.clone(), field.clone())]);
        if serde_json::from_value::<T>(Value::Object(alone)).is_ok() {
            good.insert(name, field);
        } else {
            unread.push(name);
        }
    }
    match serde_json::from_value(Value::Object(good)) {
        Ok(value) => Reading { value, unread },
        Err(_) => nothing(),
    }
}
