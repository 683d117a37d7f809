//! How a query is answered.
//!
//! A log is written in order of arrival, which is almost that of time. Extents are read in the order of their first
//! possible record, and the best records so far are kept, up to the limit; it ends when no extent left can have a
//! better one. What is read is bounded: where that ends it, only records are given of which it is certain that none
//! is missing between them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::block::{Header, Peeked, Records, Seen};
use super::grep::Needle;
use super::segment::{Extent, Room, Segment};
use super::store::View;
use super::{Cursor, Fault, Kinds, Order, Origin, Page, Place, Query, QueryError, Record};

pub fn search(logs: &[View], query: &Query) -> Result<Page, QueryError> {
    let filter = Filter::new(query);
    match &query.cursor {
        Some(Cursor::Follow(seen)) => Ok(follow(logs, query, &filter, seen)),
        Some(Cursor::Page(place)) => page(logs, query, &filter, Some(place)),
        None => page(logs, query, &filter, None),
    }
}

/// What a record must fulfil.
struct Filter<'a> {
    query: &'a Query,
    levels: u8,
    /// All must be in a block; the first is looked for in its records.
    needles: Vec<Needle>,
}

impl<'a> Filter<'a> {
    fn new(query: &'a Query) -> Filter<'a> {
        let levels = query.levels.iter().fold(0, |bits, level| bits | level.bit());
        let ids = [query.request_id.as_deref(), query.operation_id.as_deref()].into_iter().flatten();
        let ids = ids.filter(|id| !id.is_empty()).map(|id| Needle::one(id.as_bytes()));
        let trace = query.trace.iter().map(|trace| Needle::one(&trace.bytes()));
        let pattern = query.grep.iter().filter_map(|grep| grep.needle().cloned());
        let needles = trace.chain(ids).chain(pattern).collect();
        Filter { query, levels: if levels == 0 { u8::MAX } else { levels }, needles }
    }

    fn wants(&self, extent: &Extent) -> bool {
        let component =
            |(name, _): &(Arc<str>, u64)| self.query.components.iter().any(|wanted| **wanted == **name);
        extent.levels & self.levels != 0
            && self.query.since_ms.is_none_or(|since| extent.max_ms >= since)
            && self.query.until_ms.is_none_or(|until| extent.min_ms <= until)
            && (self.query.components.is_empty() || extent.names.iter().any(component))
    }

    fn wants_numbers(&self, peeked: &Peeked<'_>) -> bool {
        let kind = match self.query.kinds {
            Kinds::Lines => !peeked.is_span,
            Kinds::Spans => peeked.is_span,
            Kinds::Both => true,
        };
        kind && self.levels & peeked.level.bit() != 0
            && self.query.since_ms.is_none_or(|since| peeked.at_ms >= since)
            && self.query.until_ms.is_none_or(|until| peeked.at_ms <= until)
    }

    fn wants_texts(&self, seen: &Seen<'_>) -> bool {
        let query = self.query;
        query.request_id.as_ref().is_none_or(|id| seen.request_id == id)
            && query.operation_id.as_ref().is_none_or(|id| seen.operation_id == id)
            && query.trace.is_none_or(|trace| seen.trace.is_some_and(|place| place.trace == trace))
            && query.grep.as_ref().is_none_or(|grep| {
                grep.is_match(seen.message) || seen.fields.iter().any(|(_, field)| grep.is_match(field))
            })
    }

    /// Gives the records of a block that are wanted to `take`; `near` says of a time and number whether it may be
    /// wanted at all.
    fn each(
        &self,
        header: &Header,
        plain: &[u8],
        near: &dyn Fn(i64, u64) -> bool,
        take: &mut dyn FnMut(Peeked<'_>, &Seen<'_>),
    ) {
        let mut hit = 0;
        for needle in self.needles.iter().rev() {
            match needle.find(plain, 0) {
                Some(at) => hit = at,
                None => return,
            }
        }
        let wanted = |(name, _): &(Arc<str>, u64)| {
            self.query.components.is_empty()
                || self.query.components.iter().any(|component| **component == **name)
        };
        let components: Vec<bool> = header.names.iter().map(wanted).collect();
        let mut seen = Seen::default();
        for peeked in Records::new(plain) {
            let Ok(peeked) = peeked else { return };
            if let Some(needle) = self.needles.first() {
                if peeked.end <= hit {
                    continue;
                }
                // The needle is in this record; where it is next is where to go on.
                match needle.find(plain, peeked.end) {
                    Some(next) => hit = next,
                    None => hit = usize::MAX,
                }
            }
            let here = components.get(peeked.component) == Some(&true);
            if here
                && self.wants_numbers(&peeked)
                && near(peeked.at_ms, peeked.seq)
                && peeked.read(&mut seen).is_ok()
                && self.wants_texts(&seen)
            {
                take(peeked, &seen);
            }
            if hit == usize::MAX {
                return;
            }
        }
    }
}

/// A record's place, with the log's index instead of its name.
type Key = (i64, usize, u64);

/// The best records so far.
struct Best {
    order: Order,
    limit: usize,
    records: BTreeMap<Key, Record>,
}

impl Best {
    fn worst(&self) -> Option<Key> {
        let last = match self.order {
            Order::NewestFirst => self.records.first_key_value(),
            Order::OldestFirst => self.records.last_key_value(),
        };
        last.filter(|_| self.records.len() >= self.limit).map(|(key, _)| *key)
    }

    fn is_better(&self, key: Key) -> bool {
        self.worst().is_none_or(|worst| match self.order {
            Order::NewestFirst => key > worst,
            Order::OldestFirst => key < worst,
        })
    }

    fn put(&mut self, key: Key, record: Record) {
        if self.records.len() >= self.limit {
            match self.order {
                Order::NewestFirst => self.records.pop_first(),
                Order::OldestFirst => self.records.pop_last(),
            };
        }
        self.records.insert(key, record);
    }
}

/// An extent, and the time of the first record that it may have in the order asked for.
struct Candidate<'a> {
    edge_ms: i64,
    log: usize,
    segment: &'a Segment,
    extent: &'a Extent,
}

fn candidates<'a>(
    logs: &'a [View],
    query: &Query,
    filter: &Filter<'_>,
    from: Option<&Place>,
) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    for (log, (_, segments)) in logs.iter().enumerate() {
        for segment in segments {
            for extent in segment.extents.iter().filter(|extent| filter.wants(extent)) {
                let edge_ms = match query.order {
                    Order::NewestFirst => {
                        let until = query.until_ms.unwrap_or(i64::MAX);
                        // No record has a place without a log: those of its moment stand behind it.
                        let latest =
                            |place: &Place| place.at_ms.saturating_sub(i64::from(place.origin.is_empty()));
                        extent.max_ms.min(until).min(from.map_or(i64::MAX, latest))
                    }
                    Order::OldestFirst => {
                        let since = query.since_ms.unwrap_or(i64::MIN);
                        extent.min_ms.max(since).max(from.map_or(i64::MIN, |place| place.at_ms))
                    }
                };
                if (extent.min_ms..=extent.max_ms).contains(&edge_ms) {
                    found.push(Candidate { edge_ms, log, segment, extent });
                }
            }
        }
    }
    match query.order {
        Order::NewestFirst => found.sort_by_key(|one| std::cmp::Reverse((one.edge_ms, one.extent.last))),
        Order::OldestFirst => found.sort_by_key(|one| (one.edge_ms, one.extent.first)),
    }
    found
}

fn page(logs: &[View], query: &Query, filter: &Filter<'_>, from: Option<&Place>) -> Result<Page, QueryError> {
    let candidates = candidates(logs, query, filter, from);
    let mut page = Page { follow: Some(ends(logs)), ..Page::default() };
    let mut best = Best { order: query.order, limit: query.limit.max(1), records: BTreeMap::new() };
    let (mut room, mut cut) = (Room::default(), None);
    for one in &candidates {
        let reach = match query.order {
            Order::NewestFirst => (one.edge_ms, usize::MAX, u64::MAX),
            Order::OldestFirst => (one.edge_ms, 0, 0),
        };
        if !best.is_better(reach) {
            break;
        }
        if page.read_bytes + one.extent.plain > query.max_bytes {
            let all: u64 = candidates.iter().map(|one| one.extent.plain).sum();
            // Nothing is certain of the moment that the first of them begins with: the next page would be the same.
            if query.refuse || candidates.first().is_some_and(|first| first.edge_ms == one.edge_ms) {
                return Err(QueryError::TooMuch { bytes: all, limit: query.max_bytes });
            }
            cut = Some(one.edge_ms);
            break;
        }
        page.read_bytes += one.extent.plain;
        read(one, logs, filter, from, &mut best, &mut room, &mut page.faults);
    }
    finish(&mut page, best, cut);
    Ok(page)
}

fn read(
    one: &Candidate<'_>,
    logs: &[View],
    filter: &Filter<'_>,
    from: Option<&Place>,
    best: &mut Best,
    room: &mut Room,
    faults: &mut Vec<Fault>,
) {
    let origin = &logs[one.log].0;
    let from = from.map(|place| (place.at_ms, &*place.origin, place.seq));
    let order = best.order;
    one.segment.read(one.extent, room, faults, |header, plain| {
        // The worst of the best so far, as it was before this block: a few more may be looked at than needed.
        let worst = best.worst();
        let near = |at_ms: i64, seq: u64| {
            let key = (at_ms, one.log, seq);
            let better = worst.is_none_or(|worst| match order {
                Order::NewestFirst => key > worst,
                Order::OldestFirst => key < worst,
            });
            better && from.is_none_or(|from| order.compare(from, (at_ms, origin.as_str(), seq)).is_lt())
        };
        filter.each(header, plain, &near, &mut |peeked, seen| {
            let key = (peeked.at_ms, one.log, peeked.seq);
            if !best.is_better(key) {
                return;
            }
            if let Ok(entry) = peeked.entry(seen, &header.names) {
                best.put(key, Record { origin: origin.clone(), seq: peeked.seq, entry });
            }
        });
    });
}

/// Makes the answer of what was found; when it was cut, of what is on the near side of `cut`, ms.
fn finish(page: &mut Page, best: Best, cut: Option<i64>) {
    let (order, full) = (best.order, best.records.len() >= best.limit);
    let records = best.records.into_values();
    page.records = match order {
        Order::NewestFirst => records.rev().collect(),
        Order::OldestFirst => records.collect(),
    };
    if let Some(edge_ms) = cut {
        page.truncated = true;
        page.records.retain(|record| match order {
            Order::NewestFirst => record.entry.at_ms > edge_ms,
            Order::OldestFirst => record.entry.at_ms < edge_ms,
        });
        // No record has this place: it stands before all of its moment.
        let at_ms = if order == Order::NewestFirst { edge_ms.saturating_add(1) } else { edge_ms };
        page.next = Some(Cursor::Page(Place { at_ms, origin: "".into(), seq: 0 }));
    } else if full {
        page.next = page.records.last().map(|record| Cursor::Page(record.place()));
    }
}

/// The last record of every log.
fn ends(logs: &[View]) -> Cursor {
    let end = |(origin, segments): &View| {
        let extents = segments.iter().flat_map(|segment| &segment.extents);
        (origin.clone(), extents.map(|extent| extent.last).max().unwrap_or(0))
    };
    Cursor::Follow(logs.iter().map(end).collect())
}

/// What is left of one log when it is followed.
struct Tail<'a> {
    origin: &'a Origin,
    /// In the order of their numbers.
    extents: VecDeque<(&'a Segment, &'a Extent)>,
    /// Records that are wanted, read and not given yet.
    ready: VecDeque<Record>,
    /// Everything up to here was read.
    read: u64,
}

impl<'a> Tail<'a> {
    fn new(view: &'a View, after: u64) -> Tail<'a> {
        let all =
            view.1.iter().flat_map(|segment| segment.extents.iter().map(move |extent| (&**segment, extent)));
        let mut extents: Vec<_> = all.filter(|(_, extent)| extent.last > after).collect();
        extents.sort_by_key(|(_, extent)| extent.first);
        Tail { origin: &view.0, extents: extents.into(), ready: VecDeque::new(), read: after }
    }

    /// Reads until a record is ready; false when that would read more than `left` bytes.
    fn fill(
        &mut self,
        filter: &Filter<'_>,
        left: &mut u64,
        room: &mut Room,
        faults: &mut Vec<Fault>,
    ) -> bool {
        while self.ready.is_empty() {
            let Some((segment, extent)) = self.extents.front().copied() else { return true };
            if filter.wants(extent) {
                if *left == 0 {
                    return false;
                }
                *left = left.saturating_sub(extent.plain);
                let (after, origin, ready) = (self.read, self.origin, &mut self.ready);
                segment.read(extent, room, faults, |header, plain| {
                    filter.each(header, plain, &|_, seq| seq > after, &mut |peeked, seen| {
                        if let Ok(entry) = peeked.entry(seen, &header.names) {
                            ready.push_back(Record { origin: origin.clone(), seq: peeked.seq, entry });
                        }
                    });
                });
            }
            self.read = extent.last;
            self.extents.pop_front();
        }
        true
    }

    fn seen(&self) -> u64 {
        self.ready.front().map_or(self.read, |record| record.seq - 1)
    }
}

fn follow(logs: &[View], query: &Query, filter: &Filter<'_>, seen: &BTreeMap<Origin, u64>) -> Page {
    let mut tails: Vec<Tail<'_>> =
        logs.iter().map(|view| Tail::new(view, seen.get(&view.0).copied().unwrap_or(0))).collect();
    let (mut page, mut room, mut left) = (Page::default(), Room::default(), query.max_bytes.max(1));
    while page.records.len() < query.limit.max(1) {
        for tail in &mut tails {
            if !tail.fill(filter, &mut left, &mut room, &mut page.faults) {
                page.truncated = true;
            }
        }
        let first = tails.iter_mut().filter(|tail| !tail.ready.is_empty());
        let first = first.min_by(|one, other| one.ready[0].order().cmp(&other.ready[0].order()));
        match first.and_then(|tail| tail.ready.pop_front()) {
            Some(record) => page.records.push(record),
            None => break,
        }
    }
    let more = tails.iter().any(|tail| !tail.ready.is_empty() || !tail.extents.is_empty());
    // A log that is not here keeps its place.
    let mut ends = seen.clone();
    ends.extend(tails.iter().map(|tail| (tail.origin.clone(), tail.seen())));
    page.read_bytes = query.max_bytes.max(1) - left;
    page.next = more.then(|| Cursor::Follow(ends.clone()));
    page.follow = Some(Cursor::Follow(ends));
    page
}
