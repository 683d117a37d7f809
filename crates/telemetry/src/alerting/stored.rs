//! How labels and numbers are stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Labels as a mapping.
pub mod labels {
    use super::*;
    use crate::model::Labels;

    pub fn serialize<S: Serializer>(labels: &Labels, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(labels.iter())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Labels, D::Error> {
        BTreeMap::<String, String>::deserialize(from).map(Labels::new)
    }
}

/// A number as text, so that those that JSON does not know, such as NaN, are kept.
pub mod number {
    use super::*;

    pub fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
        number.to_string().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
