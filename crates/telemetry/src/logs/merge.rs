//! Records of several logs as one.

use super::{Order, Record};

/// Merges records that are in `order` each, by time, then region and log, then number. A record that several have
/// comes once.
pub fn merge<I: Iterator<Item = Record>>(parts: Vec<I>, order: Order) -> impl Iterator<Item = Record> {
    let mut heads: Vec<_> = parts.into_iter().map(Iterator::peekable).collect();
    let mut last: Option<(super::Origin, u64)> = None;
    std::iter::from_fn(move || {
        loop {
            let mut first: Option<(usize, &Record)> = None;
            for (number, head) in heads.iter_mut().enumerate() {
                let Some(record) = head.peek() else { continue };
                if first.is_none_or(|(_, best)| order.compare(record.order(), best.order()).is_lt()) {
                    first = Some((number, record));
                }
            }
            let number = first?.0;
            let record = heads[number].next()?;
            let again =
                last.as_ref().is_some_and(|(origin, seq)| *seq == record.seq && *origin == record.origin);
            if !again {
                last = Some((record.origin.clone(), record.seq));
                return Some(record);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{Entry, Origin};

    fn record(at_ms: i64, origin: &str, seq: u64) -> Record {
        let origin = Origin::parse(origin).expect("an origin");
        Record { origin, seq, entry: Entry { at_ms, ..Entry::default() } }
    }

    #[test]
    fn records_are_merged_by_time_then_region_then_number_and_come_once() {
        let one = vec![record(1, "b", 1), record(5, "b", 2), record(5, "b", 3)];
        let two = vec![record(1, "a", 9), record(5, "b", 2), record(7, "a", 10)];
        let expected = [(1, "a", 9), (1, "b", 1), (5, "b", 2), (5, "b", 3), (7, "a", 10)];
        let both = [one.clone(), two.clone()];
        let merged: Vec<Record> =
            merge(both.iter().cloned().map(Vec::into_iter).collect(), Order::OldestFirst).collect();
        assert_eq!(merged.iter().map(Record::order).collect::<Vec<_>>(), expected);
        let back = both.into_iter().map(|part| part.into_iter().rev()).collect();
        let mut newest: Vec<Record> = merge(back, Order::NewestFirst).collect();
        newest.reverse();
        assert_eq!(newest, merged);
    }
}
