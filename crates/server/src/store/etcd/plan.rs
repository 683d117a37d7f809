//! From batches to changes of etcd's keys.

use std::collections::BTreeMap;

use dwcp_consensus::Batch;

use super::client::Change;
use super::layout::{Commit, Content, INLINE_BYTES, Index, Kept, Keys, Sum, record};

/// Most changes of a request: etcd takes 128 unless it is told otherwise.
const CHANGES: usize = 120;
/// Most bytes of a request's keys and values; etcd takes 1.5 MiB with everything around them.
const BYTES: usize = (1 << 20) + (64 << 10);

/// What a commit does.
pub(super) struct Plan {
    /// Pieces of long values: nobody looks at them before a record names them.
    pub parts: Vec<Change>,
    /// Changes of records, and pieces that no record names afterwards.
    pub changes: Vec<Change>,
    /// The index afterwards: what is new, and what is gone.
    kept: Vec<(Vec<u8>, Option<Kept>)>,
    /// What the store holds afterwards.
    pub records: u64,
    pub sum: Sum,
}

impl Plan {
    /// What all batches, one after the other, do to a store that holds `index`.
    pub fn make(keys: &Keys, index: &Index, now: (u64, Sum), number: u64, batches: &[Batch]) -> Plan {
        let after = fold(index, batches);
        let (records, sum) = now;
        let mut plan = Plan { parts: Vec::new(), changes: Vec::new(), kept: Vec::new(), records, sum };
        let mut next_part = 0;
        let mut gone: Option<(&[u8], &[u8])> = None;
        for (key, value) in &after {
            let before = index.get(key);
            if let Some(before) = before {
                plan.records -= 1;
                plan.sum.toggle(before.sum);
                plan.changes.extend(before.parts.map(|parts| keys.delete_parts(parts)));
            }
            let Some(value) = value else {
                if before.is_some() {
                    plan.kept.push((key.clone(), None));
                    gone = match gone {
                        Some((from, to)) if beside(index, &after, to, key) => Some((from, key)),
                        Some(run) => {
                            plan.changes.push(delete(keys, run));
                            Some((key, key))
                        }
                        None => Some((key, key)),
                    };
                }
                continue;
            };
            let sum = Sum::of(key, value);
            let mut parts = None;
            let content = if value.len() > INLINE_BYTES {
                let (place, pieces) = keys.split(number, next_part, value);
                next_part += place.count;
                plan.parts.extend(pieces);
                parts = Some(place);
                Content::Parts(place)
            } else {
                Content::Here(value)
            };
            plan.changes.push(Change::Put(keys.record(key), record(sum, &content)));
            plan.records += 1;
            plan.sum.toggle(sum);
            plan.kept.push((key.clone(), Some(Kept { sum, parts })));
        }
        plan.changes.extend(gone.map(|run| delete(keys, run)));
        plan
    }

    /// Whether all of it goes into one request.
    pub fn fits(&self) -> bool {
        let all = || self.parts.iter().chain(&self.changes);
        all().count() <= CHANGES && all().map(Change::bytes).sum::<usize>() <= BYTES
    }

    /// How far the store is afterwards.
    pub fn commit(&self, before: &Commit) -> Commit {
        Commit {
            commits: before.commits + 1,
            records: self.records,
            sum: self.sum.text(),
            journal: None,
            ..before.clone()
        }
    }

    pub fn enter(self, index: &mut Index) {
        for (key, kept) in self.kept {
            match kept {
                Some(kept) => drop(index.insert(key, kept)),
                None => drop(index.remove(&key)),
            }
        }
    }
}

/// Changes as requests of a size that etcd takes.
pub(super) fn requests(changes: &[Change]) -> Vec<&[Change]> {
    let (mut requests, mut rest) = (Vec::new(), changes);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fit = rest.iter().take(CHANGES).take_while(|change| {
            bytes += change.bytes();
            bytes <= BYTES
        });
        let (request, behind) = rest.split_at(fit.count().max(1));
        requests.push(request);
        rest = behind;
    }
    requests
}

/// The value of each key that the batches touch, afterwards; none: it is gone.
fn fold(index: &Index, batches: &[Batch]) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let mut after: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    for batch in batches {
        for (from, to) in batch.delete_ranges.iter().filter(|(from, to)| from < to) {
            let range = || from.clone()..to.clone();
            after.range_mut(range()).for_each(|(_, value)| *value = None);
            after.extend(index.range(range()).map(|(key, _)| (key.clone(), None)));
        }
        after.extend(batch.deletes.iter().map(|key| (key.clone(), None)));
        after.extend(batch.puts.iter().map(|(key, value)| (key.clone(), Some(value.clone()))));
    }
    after
}

/// Whether no key that stays or comes lies between two that go.
fn beside(index: &Index, after: &BTreeMap<Vec<u8>, Option<Vec<u8>>>, left: &[u8], right: &[u8]) -> bool {
    let between = || {
        let (left, right) = (std::ops::Bound::Excluded(left), std::ops::Bound::Excluded(right));
        (left, right)
    };
    let stays = index.range::<[u8], _>(between()).any(|(key, _)| !matches!(after.get(key), Some(None)));
    !stays && !after.range::<[u8], _>(between()).any(|(_, value)| value.is_some())
}

/// Takes the records from the first to the last away, both too.
fn delete(keys: &Keys, (first, last): (&[u8], &[u8])) -> Change {
    let mut to = keys.record(last);
    to.push(0);
    Change::Delete(keys.record(first), to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(keys: &[&str]) -> Index {
        keys.iter().map(|key| (key.as_bytes().to_vec(), Kept { sum: Sum::default(), parts: None })).collect()
    }

    fn text(change: &Change) -> String {
        let show = |key: &[u8]| String::from_utf8_lossy(key).replace("p/records/", "").replace('\0', "+");
        match change {
            Change::Put(key, _) => format!("put {}", show(key)),
            Change::Delete(from, to) => format!("delete {} {}", show(from), show(to)),
        }
    }

    fn changes(before: &[&str], batches: &[Batch]) -> Vec<String> {
        let plan =
            Plan::make(&Keys::new("p/"), &index(before), (before.len() as u64, Sum::default()), 1, batches);
        plan.changes.iter().map(text).collect()
    }

    fn range(from: &str, to: &str, puts: &[&str]) -> Batch {
        let puts = puts.iter().map(|key| (key.as_bytes().to_vec(), b"x".to_vec())).collect();
        Batch { delete_ranges: vec![(from.into(), to.into())], puts, ..Batch::default() }
    }

    #[test]
    fn a_long_range_is_one_deletion_and_never_touches_what_is_written() {
        let all = ["r1", "r2", "r3", "r4", "r5"];
        assert_eq!(changes(&all, &[range("r2", "r5", &[])]), ["delete r2 r4+"]);
        // etcd refuses a request that writes into a range that it deletes.
        let mut cut = changes(&all, &[range("r1", "r9", &["r3", "r4a"])]);
        cut.sort();
        assert_eq!(cut, ["delete r1 r2+", "delete r4 r4+", "delete r5 r5+", "put r3", "put r4a"]);
        assert!(changes(&all, &[range("r6", "r9", &[])]).is_empty(), "what is not there needs no deletion");
    }

    #[test]
    fn a_later_batch_wins_and_each_key_is_changed_once() {
        let twice = changes(&["r1"], &[range("a", "b", &["r1", "r2"]), range("r2", "r3", &["r1"])]);
        assert_eq!(twice, ["put r1"]);
    }
}
