//! Retention: which backups are kept, and the removal of the others, which is written down before it happens.

use std::collections::BTreeSet;
use std::time::Duration;

use dwcp_types::Wall;

use crate::chain::{Chain, Head};
use crate::destination::Listed;
use crate::error::Error;
use crate::format::{
    Body, Entry, KEYS, LOG, PACKS, Removal, index_name, leading_number, pack_name, wrap_name,
};
use crate::repository::Repository;

/// How often a prune begins anew because other writers came between.
const TRIES: usize = 5;

/// What is kept: a backup that either rule keeps, and every one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many; one is kept in any case.
    pub keep_last: usize,
    /// Those that are no older.
    pub keep_within: Duration,
}

impl Retention {
    /// The oldest backup that is kept, of `backups` (number and time, oldest first); none when there is none.
    pub fn oldest_kept(&self, backups: &[(u64, Wall)], now: Wall) -> Option<u64> {
        let within_ms = u64::try_from(self.keep_within.as_millis()).unwrap_or(u64::MAX);
        let last = backups.len().saturating_sub(self.keep_last.max(1));
        let kept = backups
            .iter()
            .enumerate()
            .find(|(at, (_, made))| *at >= last || now.ms_since(*made) <= within_ms);
        kept.map(|(_, (sequence, _))| *sequence)
    }
}

/// What a prune did.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// The backups that were removed.
    pub removed: Vec<u64>,
    /// Objects that were deleted, with what interrupted writers had left.
    pub objects: u64,
    /// Their size, bytes.
    pub bytes: u64,
    /// The chain's newest entry now, when something was done.
    pub head: Option<Head>,
}

/// What the kept backups need.
struct Needed {
    floor: u64,
    packs: BTreeSet<String>,
    wraps: BTreeSet<String>,
    replaced: Vec<String>,
}

impl Needed {
    /// Reads the index of every backup from `floor` on.
    fn by(repository: &Repository, chain: &Chain, floor: u64) -> Result<Needed, Error> {
        let mut packs = BTreeSet::new();
        for (sequence, _, manifest) in chain.manifests().filter(|(sequence, _, _)| *sequence >= floor) {
            packs.insert(index_name(&manifest.run));
            let index = repository.index(sequence, manifest)?;
            packs.extend(index.packs.iter().map(|p| pack_name(&index.runs[p.run as usize].name, p.number)));
        }
        let kept = chain.known.range(floor..);
        let key = repository.key.id();
        let wraps = kept.map(|(n, known)| wrap_name(key, *n, &known.head.entry)).collect();
        let replaced = chain.known.values().filter_map(|known| match &known.entry.body {
            Body::NewKey(new) => Some(format!("{KEYS}{}/", new.from)),
            _ => None,
        });
        Ok(Needed { floor, packs, wraps, replaced: replaced.collect() })
    }

    /// Whether an object belongs to nothing any more, as judged by entry `at` of the chain. What a writer that is at work now
    /// has written belongs to nothing yet: but its run or its data key names an entry before `at`, so that it finds the
    /// removal when it adds its own entry, and begins anew.
    fn useless(&self, key: &str, name: &str, at: u64) -> bool {
        if let Some(rest) = name.strip_prefix(LOG) {
            return leading_number(rest).is_some_and(|n| n < self.floor && rest.len() == 10);
        }
        let number = |prefix: &str| name.strip_prefix(prefix).and_then(leading_number);
        if number(PACKS).is_some_and(|n| n < at) {
            return !self.packs.contains(name);
        }
        // Who tried for the number of the removal, or one before it, came too late.
        if number(&format!("{KEYS}{key}/")).is_some_and(|n| n <= at) {
            return !self.wraps.contains(name);
        }
        self.replaced
            .iter()
            .any(|prefix| name.starts_with(prefix) && !prefix.starts_with(&format!("{KEYS}{key}/")))
    }

    fn sort_out(&self, repository: &Repository, at: u64) -> Result<Vec<Listed>, Error> {
        let mut listed = repository.destination.list("")?;
        listed.retain(|one| self.useless(repository.key.id(), &one.name, at));
        // Entries first: what they need must not go before them.
        listed.sort_by_key(|one| !one.name.starts_with(LOG));
        Ok(listed)
    }
}

impl Repository {
    /// Removes the backups that `retention` does not keep, and what interrupted writers left. The chain says so before
    /// anything is deleted; a prune that is interrupted is finished by the next.
    ///
    /// # Errors
    /// [`Error::Damaged`]: nothing is removed from a damaged repository. The destination's.
    pub fn prune(&self, retention: Retention, now: Wall) -> Result<Pruned, Error> {
        let mut outcome = Err(Error::Overtaken(String::new()));
        for _ in 0..TRIES {
            outcome = self.prune_once(retention, now);
            if !matches!(outcome, Err(Error::Overtaken(_))) {
                break;
            }
        }
        outcome
    }

    fn prune_once(&self, retention: Retention, now: Wall) -> Result<Pruned, Error> {
        let mut chain = Chain::read(self)?;
        if !chain.faults.is_empty() {
            return Err(Error::Damaged(chain.faults));
        }
        chain.writable(self)?;
        let backups: Vec<(u64, Wall)> = chain.manifests().map(|(n, at, _)| (n, at)).collect();
        let Some(floor) = retention.oldest_kept(&backups, now) else { return Ok(Pruned::default()) };
        let mut needed = Needed::by(self, &chain, floor)?;
        let base = chain.head.sequence;
        let removed: Vec<(u64, Wall)> = backups.into_iter().filter(|(n, _)| *n < floor).collect();
        if removed.is_empty() && needed.sort_out(self, base)?.is_empty() {
            return Ok(Pruned::default());
        }
        let removal = Removal {
            floor,
            before: chain.known[&floor].entry.previous,
            removed: removed.clone(),
            reason: format!(
                "retention keeps the last {} and those of {} s",
                retention.keep_last.max(1),
                retention.keep_within.as_secs()
            ),
        };
        let mut entry = Entry { at: now, body: Body::Removal(removal), ..Entry::default() };
        let judge = |chain: &Chain| match chain.head.sequence == base {
            true => Ok(()),
            false => {
                Err(Error::Overtaken("other writers came first each time; it can be tried again".to_owned()))
            }
        };
        let added = self.append(&mut chain, &mut entry, judge, |_, _| Ok(())).map_err(|e| e.error)?;
        let head = added.head;
        needed.wraps.insert(added.wrap);
        let mut pruned = Pruned {
            removed: removed.into_iter().map(|(n, _)| n).collect(),
            head: Some(head),
            ..Pruned::default()
        };
        for one in needed.sort_out(self, head.sequence)? {
            self.destination.delete(&one.name)?;
            pruned.objects += 1;
            pruned.bytes += one.bytes;
        }
        Ok(pruned)
    }
}
