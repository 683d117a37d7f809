//! The store in the region's etcd cluster.
//!
//! Every write is one transaction of etcd that compares who owns the store and how far it is. So a process that was taken for
//! dead and comes back writes nothing any more, and a transaction that is sent again because its answer was lost is carried
//! out once. A commit that is longer than a transaction may be is first laid down in pieces that nobody looks at, then becomes
//! valid by one transaction, then is carried out; whoever opens the store finishes that. The decision is in
//! `docs/decisions/2026-11-28-etcd-store.md`.

mod checkup;
mod client;
mod keeper;
mod layout;
mod opening;
mod plan;
mod reading;

use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dwcp_consensus::Batch;
use serde_json::json;

pub(super) use checkup::Checkup;
use client::{Asked, Change, Client, Transaction};
use keeper::Keeper;
use layout::{Commit, Index, Keys, Owner, Sum};
use plan::{Plan, requests};
use reading::Reading;

use super::lock::Lock;
use super::mark::Mark;
use super::{LOST, Records, StoreError};
use crate::log::Log;

/// What is written between two compactions, bytes and commits.
const COMPACT_BYTES: usize = 32 << 20;
const COMPACT_COMMITS: u64 = 5_000;

/// Between two tries to read.
const READ_AGAIN: Duration = Duration::from_millis(200);

/// Where a store is.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// `http[s]://host:port` of each member.
    pub endpoints: Vec<String>,
    /// PEM file of the authority that members are checked with; the system's without it.
    pub ca: Option<PathBuf>,
    /// PEM file of the certificate that is shown to them.
    pub certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub key: Option<PathBuf>,
    /// In front of every key, with its `/` at the end.
    pub prefix: String,
    /// Whose state it is, so that a prefix is not taken for another region's.
    pub store: String,
    /// Whether history is dropped now and then.
    pub compact: bool,
    /// How long a write waits for an answer.
    pub patience: Duration,
    /// How long a process that is not heard of keeps others out.
    pub lease: Duration,
}

/// The store, open.
pub(super) struct Etcd {
    client: Arc<Client>,
    keys: Keys,
    place: Place,
    owner: Owner,
    /// The revision of the key that says who owns the store.
    owned: u64,
    keeper: Keeper,
    index: Index,
    sum: Sum,
    commit: Commit,
    /// The revision of the key that says how far the store is.
    committed: u64,
    mark: Mark,
    lost: bool,
    broken: bool,
    log: Log,
    /// Alive in every reader as well.
    reading: Arc<()>,
    /// Since the last compaction.
    written: (usize, u64),
    _lock: Lock,
}

impl Etcd {
    /// See [`Store::write`](super::Store::write). Whole batches that fit into one transaction share it.
    pub(super) fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Write("an earlier write failed".to_owned()));
        }
        self.broken = true;
        self.commit_all(batches)?;
        self.broken = false;
        Ok(())
    }

    /// See [`Store::renew`](super::Store::renew). What is damaged in a member's copy is written over.
    pub(super) fn renew(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.sweep()?;
        let mut all = Batch { delete_ranges: vec![(Vec::new(), vec![u8::MAX])], ..batch.clone() };
        if self.lost {
            all.puts.push((LOST.to_vec(), vec![1]));
        }
        self.write(&[all])
    }

    /// Takes away what this process did not write.
    fn sweep(&mut self) -> Result<(), StoreError> {
        let reading = Reading { client: &self.client, keys: &self.keys, revision: 0, member: None };
        let found = reading.records(b"", None, false).map_err(|trouble| client::refused(&trouble))?;
        let there = found.index.keys().chain(found.broken.iter().map(|(key, _)| key));
        let strange: Vec<Change> = there
            .filter(|key| !self.index.contains_key(*key))
            .map(|key| self.keys.record(key))
            .map(|key| Change::Delete(key.clone(), [key.as_slice(), &[0]].concat()))
            .collect();
        self.lay_down(&strange)
    }

    pub(super) fn commits(&self) -> u64 {
        self.commit.commits
    }

    pub(super) fn lost(&self) -> bool {
        self.lost
    }

    /// See [`Store::checkup`](super::Store::checkup).
    pub(super) fn checkup(&self) -> Checkup {
        let began = Instant::now();
        let (client, keys, index) = (self.client.clone(), self.keys.clone(), self.index.clone());
        Checkup {
            client,
            keys,
            index,
            revision: self.newest(),
            held_us: began.elapsed().as_micros() as u64,
            _reading: self.reading.clone(),
        }
    }

    /// The cluster's revision now, between two commits: what others changed since the last one is to be seen as well. While
    /// nobody tells it, that of the last commit. The writer waits for it, so not as long as for a long answer.
    fn newest(&self) -> u64 {
        let owner = self.keys.owner();
        let end = [owner.as_slice(), &[0]].concat();
        let answer = self.client.ask(&Asked { long: false, ..client::range(&owner, &end, 1, 0) });
        let header = answer.as_ref().ok().and_then(|answer| answer.get("header"));
        header.map_or(0, |header| client::number(header, "revision")).max(self.committed)
    }

    /// Records with `from <= key < to`, from a member whose copy of them is what this process wrote: nobody else writes, but a
    /// member's own disk may.
    pub(super) fn range(&self, from: &[u8], to: &[u8]) -> Records {
        let written = || self.index.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        let began = Instant::now();
        loop {
            let (mut silent, mut other) = (None, None);
            for member in self.client.in_turn() {
                let member = Some(member);
                let reading = Reading { client: &self.client, keys: &self.keys, revision: 0, member };
                match reading.records(from, Some(to), true) {
                    Ok(found) if found.broken.is_empty() && found.index.iter().eq(written()) => {
                        return found.values.into_iter().collect();
                    }
                    Ok(_) => other = Some("a copy is not what was written".to_owned()),
                    Err(client::Trouble::NoAnswer(why)) => silent = Some(why),
                    Err(trouble) => other = Some(trouble.to_string()),
                }
            }
            if silent.is_none() || began.elapsed() >= self.place.patience {
                let why = other.or(silent).unwrap_or_default();
                panic!("the store was whole when it was opened and can't be read now: {why}")
            };
            thread::sleep(READ_AGAIN);
        }
    }

    fn commit_all(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        let number = self.commit.commits + 1;
        let now = (self.commit.records, self.sum);
        let plan = Plan::make(&self.keys, &self.index, now, number, batches);
        let next = plan.commit(&self.commit);
        if plan.fits() {
            let changes: Vec<Change> = plan.parts.iter().chain(&plan.changes).cloned().collect();
            self.transact(&changes, Some(next))?;
        } else if batches.len() > 1 {
            let (first, second) = batches.split_at(batches.len() / 2);
            self.commit_all(first)?;
            return self.commit_all(second);
        } else {
            self.commit_long(&plan, number, next)?;
        }
        self.sum = plan.sum;
        plan.enter(&mut self.index);
        self.mark.set(self.commit.commits)?;
        self.compact();
        Ok(())
    }

    /// A commit in more than one transaction.
    fn commit_long(&mut self, plan: &Plan, number: u64, next: Commit) -> Result<(), StoreError> {
        self.lay_down(&plan.parts)?;
        if let [_] = requests(&plan.changes).as_slice() {
            return self.transact(&plan.changes, Some(next));
        }
        let (journal, pieces) =
            self.keys.split(number, plan.parts.len() as u32, &layout::journal(&plan.changes));
        self.lay_down(&pieces)?;
        self.transact(&[], Some(Commit { journal: Some(journal), ..next }))?;
        self.finish(&plan.changes)
    }

    fn lay_down(&mut self, pieces: &[Change]) -> Result<(), StoreError> {
        requests(pieces).into_iter().try_for_each(|request| self.transact(request, None))
    }

    /// Carries out what the newest commit owes. Each change may be carried out twice.
    fn finish(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let Some(journal) = self.commit.journal else { return Ok(()) };
        requests(changes).into_iter().try_for_each(|request| self.transact(request, None))?;
        let whole = Commit { journal: None, ..self.commit.clone() };
        self.transact(&[self.keys.delete_parts(journal)], Some(whole))
    }

    /// One transaction, carried out once and only while this process owns the store. With `next` it moves the store on.
    fn transact(&mut self, changes: &[Change], next: Option<Commit>) -> Result<(), StoreError> {
        let (owner, commit) = (self.keys.owner(), self.keys.commit());
        let entry = next.as_ref().map(|next| Change::Put(commit.clone(), json(next)));
        let all: Vec<(&Change, Option<u64>)> = changes.iter().chain(&entry).map(|one| (one, None)).collect();
        self.written.0 += all.iter().map(|(change, _)| change.bytes()).sum::<usize>();
        loop {
            let compare = [(owner.as_slice(), self.owned), (commit.as_slice(), self.committed)];
            let asked = Transaction { compare: &compare, changes: &all };
            let answer = self.client.transact(&asked, self.place.patience)?;
            let found = |at: usize| answer.found.get(at).and_then(Option::as_ref);
            let (holder, held) = (found(0), found(1));
            // An answer may have been lost, and the transaction was carried out all the same.
            let carried_out =
                next.as_ref().is_some_and(|next| held.is_some_and(|held| held.value == json(next)));
            let mine = holder.is_some_and(|holder| holder.revision == self.owned);
            let nobody = holder.is_none();
            if answer.done || (carried_out && (mine || nobody)) {
                if let Some(next) = next {
                    self.committed =
                        if answer.done { answer.revision } else { held.map_or(0, |held| held.revision) };
                    self.commit = next;
                }
                return Ok(());
            }
            if !(nobody && held.map_or(0, |held| held.revision) == self.committed) {
                return Err(self.taken(holder.map(|holder| holder.value.as_slice())));
            }
            // The lease ran out, and nobody came meanwhile.
            self.own_again()?;
        }
    }

    fn taken(&self, holder: Option<&[u8]>) -> StoreError {
        let holder: Owner = holder.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
        if holder.process == self.owner.process {
            return StoreError::Etcd(format!(
                "the store at {} is not as this dwcpd left it: something else wrote there, or the cluster was restored from a backup. \
                 Nothing of that write was acknowledged",
                self.place.prefix
            ));
        }
        let by = match holder.machine.as_str() {
            "" => "another dwcpd".to_owned(),
            machine => format!("dwcpd {} on {machine}", holder.pid),
        };
        StoreError::Etcd(format!(
            "{by} has taken the store at {} over since this one was last heard of there. Nothing that this one had not written was \
             acknowledged; one region has one dwcpd, so stop this one or that one",
            self.place.prefix
        ))
    }

    /// Drops history, which nobody here reads. It is no harm when that fails: it is tried again.
    fn compact(&mut self) {
        self.written.1 += 1;
        let due = self.written.0 >= COMPACT_BYTES || self.written.1 >= COMPACT_COMMITS;
        if !due || !self.place.compact || Arc::strong_count(&self.reading) > 1 {
            return;
        }
        self.written = (0, 0);
        let body = json!({"revision": self.committed.to_string()});
        if let Err(trouble) = self.client.ask(&Asked::new("kv/compaction", &body)) {
            self.log.warning("state-manager", format!("etcd's history was not compacted: {trouble}"));
        }
    }
}

impl Drop for Etcd {
    /// Lets others in at once, where they would wait for the lease to run out.
    fn drop(&mut self) {
        self.keeper.end(&self.client);
    }
}

/// As it lies under its key. Made of plain fields, which always can be written.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain fields")
}
