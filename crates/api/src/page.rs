//! Lists in pages, and how old an answer is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

wire! {
    /// How old the facts of one region are in this answer.
    #[derive(Eq)]
    pub struct Freshness {
        /// The region whose facts these are; `federation` for the facts of the federation's own group.
        pub region: String,
        /// Milliseconds since the answering replica last knew itself up to date; `null`: not known.
        pub age_ms: Option<u64>,
        /// Position in the region's log that the answer was read at.
        pub revision: u64,
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give this as `cursor` to get what follows; `null` on the last page.
    pub next_cursor: Option<String>,
    pub as_of: Vec<Freshness>,
}

impl<T> Page<T> {
    /// A list that fits into one page.
    pub fn whole(items: Vec<T>, as_of: Vec<Freshness>) -> Page<T> {
        Page { items, next_cursor: None, as_of }
    }
}

request! {
    /// A request without fields.
    pub struct Nothing {}
}
