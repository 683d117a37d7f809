//! What is asked of logs, and the answer.

use std::cmp::Ordering;
use std::fmt;

use super::{Cursor, Fault, Grep, Level, Record, TraceId};

/// Which come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// Lines of the log, spans of traces, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kinds {
    #[default]
    Lines,
    Spans,
    Both,
}

/// Which records are wanted: those that fulfil everything that is given.
#[derive(Clone, Debug)]
pub struct Query {
    /// One of these; empty: any.
    pub components: Vec<String>,
    /// One of these; empty: any.
    pub levels: Vec<Level>,
    pub kinds: Kinds,
    /// From this moment on, it included, ms.
    pub since_ms: Option<i64>,
    /// Up to this moment, it included, ms.
    pub until_ms: Option<i64>,
    pub region: Option<String>,
    /// Matches the message, or a field as `name=value`.
    pub grep: Option<Grep>,
    pub request_id: Option<String>,
    pub operation_id: Option<String>,
    pub trace: Option<TraceId>,
    /// At most so many.
    pub limit: usize,
    pub order: Order,
    /// Goes on where an earlier answer to the same query ended. With [`Cursor::Follow`] records come in the order in
    /// which they were written, merged by time, and `order` has no meaning.
    pub cursor: Option<Cursor>,
    /// Also in copies of other logs, not only in the store's own.
    pub copies: bool,
    /// At most so many plain bytes are read.
    pub max_bytes: u64,
    /// What would read more is refused; otherwise it is cut, and the answer says so.
    pub refuse: bool,
}

impl Default for Query {
    /// The 1,000 newest lines, after reading 256 MiB at most.
    fn default() -> Query {
        Query {
            components: Vec::new(),
            levels: Vec::new(),
            kinds: Kinds::default(),
            since_ms: None,
            until_ms: None,
            region: None,
            grep: None,
            request_id: None,
            operation_id: None,
            trace: None,
            limit: 1_000,
            order: Order::default(),
            cursor: None,
            copies: true,
            max_bytes: 256 << 20,
            refuse: false,
        }
    }
}

/// The answer to a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order asked for, each once.
    pub records: Vec<Record>,
    /// Where to go on; none when there is no more. A page with no records may have one: then so much was read that the rest
    /// is for the next.
    pub next: Option<Cursor>,
    /// Where to go on with what is written from now on.
    pub follow: Option<Cursor>,
    /// There is more, and it was not looked for because that would have read too much.
    pub truncated: bool,
    /// Plain bytes that were read.
    pub read_bytes: u64,
    /// What could not be read.
    pub faults: Vec<Fault>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// It might read so many plain bytes, and may read `limit`.
    TooMuch { bytes: u64, limit: u64 },
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueryError::TooMuch { bytes, limit } = self;
        write!(
            f,
            "it would read up to {bytes} bytes of logs, and may read {limit}: ask for less time, or for one component"
        )
    }
}

impl std::error::Error for QueryError {}

impl Order {
    pub(super) fn compare(self, one: (i64, &str, u64), other: (i64, &str, u64)) -> Ordering {
        match self {
            Order::NewestFirst => other.cmp(&one),
            Order::OldestFirst => one.cmp(&other),
        }
    }
}

impl Page {
    /// The answers of several stores to one query as one. What one of them was cut before is left out of the others'
    /// too, so that the next page has no holes; a record that several have is there once.
    pub fn merged(pages: Vec<Page>, query: &Query) -> Page {
        let following = matches!(query.cursor, Some(Cursor::Follow(_)));
        let order = if following { Order::OldestFirst } else { query.order };
        let mut whole = Page::default();
        let mut horizon = None;
        for page in pages {
            whole.records.extend(page.records);
            whole.truncated |= page.truncated;
            whole.read_bytes += page.read_bytes;
            whole.faults.extend(page.faults);
            whole.follow = later(whole.follow.take(), page.follow);
            match page.next {
                Some(Cursor::Page(place)) => {
                    let key = (place.at_ms, &*place.origin, place.seq);
                    let nearer = horizon.as_ref().is_none_or(|known: &super::Place| {
                        order.compare(key, (known.at_ms, &known.origin, known.seq)).is_lt()
                    });
                    if nearer {
                        horizon = Some(place);
                    }
                }
                next => whole.next = later(whole.next.take(), next),
            }
        }
        whole.records.sort_by(|one, other| order.compare(one.order(), other.order()));
        whole.records.dedup_by(|one, other| one.seq == other.seq && one.origin == other.origin);
        if following {
            return whole;
        }
        if let Some(end) = &horizon {
            let end = (end.at_ms, &*end.origin, end.seq);
            whole.records.retain(|record| order.compare(record.order(), end).is_le());
        }
        if whole.records.len() > query.limit {
            whole.records.truncate(query.limit);
            horizon = whole.records.last().map(Record::place);
        }
        whole.next = horizon.map(Cursor::Page);
        whole
    }
}

/// Of two cursors that follow, the one that has seen what each has seen.
fn later(one: Option<Cursor>, other: Option<Cursor>) -> Option<Cursor> {
    match (one, other) {
        (Some(Cursor::Follow(mut logs)), Some(Cursor::Follow(more))) => {
            for (origin, seq) in more {
                let known = logs.entry(origin).or_default();
                *known = seq.max(*known);
            }
            Some(Cursor::Follow(logs))
        }
        (one, other) => one.or(other),
    }
}
