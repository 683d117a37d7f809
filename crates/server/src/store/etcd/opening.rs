//! Opening a store in etcd: who may have it, whether its content can be trusted, and what its newest commit still owes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{self, Change, Client, Held, Transaction, Trouble};
use super::keeper::Keeper;
use super::layout::{Commit, Content, Index, Kept, Keys, Owner, Sum, read_journal, record};
use super::reading::Reading;
use super::{Etcd, Place, json};
use crate::log::Log;
use crate::setup::random_seed;
use crate::store::lock::Lock;
use crate::store::mark::Mark;
use crate::store::{LOST, SetAside, StoreError};

/// An opening waits no longer than this for answers: whoever started the process should hear.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// How much longer than a lease an opening waits for it to run out.
const BEYOND_LEASE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// No key has it.
const NO_REVISION: u64 = i64::MAX as u64;

/// Who owns a store, and how far it is.
struct Seen {
    owner: Option<(Owner, u64)>,
    commit: Option<Held>,
    cluster: u64,
}

impl Seen {
    fn look(client: &Client, keys: &Keys, patience: Duration) -> Result<Seen, StoreError> {
        let (owner, commit) = (keys.owner(), keys.commit());
        let compare = [(owner.as_slice(), NO_REVISION), (commit.as_slice(), NO_REVISION)];
        let answer = client.transact(&Transaction { compare: &compare, changes: &[] }, patience)?;
        let [owner, commit] = <[Option<Held>; 2]>::try_from(answer.found)
            .map_err(|_| StoreError::Etcd("etcd answered less than it was asked for".to_owned()))?;
        // What is no owner of ours is another's.
        let owner =
            owner.map(|held| (serde_json::from_slice(&held.value).unwrap_or_default(), held.revision));
        Ok(Seen { owner, commit, cluster: answer.cluster })
    }

    fn revisions(&self) -> (u64, u64) {
        (self.owner.as_ref().map_or(0, |(_, at)| *at), self.commit.as_ref().map_or(0, |held| held.revision))
    }
}

/// How far a store is that may be trusted so far, or why it may not.
type Verdict = Result<Commit, String>;

impl Etcd {
    /// Opens the store of a place, makes it when there is none, and tells what was set aside.
    pub(in crate::store) fn open(
        folder: &Path,
        place: &Place,
        log: &Log,
    ) -> Result<(Etcd, Option<SetAside>), StoreError> {
        fs::create_dir_all(folder).map_err(|e| StoreError::io("cannot make the folder", folder, e))?;
        let lock = Lock::take(folder)?;
        let mark = Mark::open(folder)?;
        let client = Arc::new(Client::new(place, log).map_err(StoreError::Etcd)?);
        let keys = Keys::new(&place.prefix);
        let owner = Owner {
            folder: name_of(folder)?,
            process: random_name()?,
            machine: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
            pid: std::process::id(),
        };
        let patience = place.patience.min(OPEN_WITHIN);
        let keeper = Keeper::start(&client, place.lease, patience)?;
        let mut store = Etcd {
            client,
            keys,
            place: Place { patience, ..place.clone() },
            owner,
            owned: 0,
            keeper,
            index: Index::new(),
            sum: Sum::default(),
            commit: Commit::default(),
            committed: 0,
            mark,
            lost: false,
            broken: false,
            log: log.clone(),
            reading: Arc::new(()),
            written: (0, 0),
            _lock: lock,
        };
        let mut why = store.take(patience)?;
        let before = store.committed;
        if why.is_some() {
            store.enter_empty();
        } else {
            why = store.read_all(patience)?;
            if why.is_some() {
                store.begin_anew()?;
            }
        }
        store.mark.set(store.commit.commits)?;
        store.place.patience = place.patience;
        store.lost = store.index.contains_key(LOST);
        let at = format!("{} as of etcd's revision {}, until that is compacted", place.prefix, before - 1);
        Ok((store, why.map(|why| SetAside { place: at, why })))
    }

    /// Becomes the owner, with a commit of its own; when the content can't be trusted, with an empty one. Tells why.
    fn take(&mut self, patience: Duration) -> Result<Option<String>, StoreError> {
        let began = Instant::now();
        let mut verdict: Option<Verdict> = None;
        loop {
            let seen = Seen::look(&self.client, &self.keys, patience)?;
            match &seen.owner {
                Some((owner, at)) if owner.process == self.owner.process => {
                    self.owned = *at;
                    self.committed = seen.commit.map_or(0, |held| held.revision);
                    return Ok(verdict.and_then(Result::err));
                }
                Some((owner, _)) if owner.folder != self.owner.folder => {
                    if began.elapsed() > self.place.lease + BEYOND_LEASE {
                        let (prefix, machine, pid) = (&self.place.prefix, &owner.machine, owner.pid);
                        return Err(StoreError::InUse(format!(
                            "{prefix} in etcd (by process {pid} on {machine})"
                        )));
                    }
                    thread::sleep(LOOK_EVERY);
                    continue;
                }
                // This folder's process before this one: the folder's lock says that it is gone.
                _ => {}
            }
            let judged = self.judge(&seen)?;
            let (mut next, mut changes) = match &judged {
                Ok(commit) => (
                    Commit { commits: commit.commits + 1, ..commit.clone() },
                    // Laid down for a commit that did not come.
                    vec![Change::Delete(self.keys.part(commit.commits + 1, 0), self.keys.parts_end())],
                ),
                Err(_) => self.empty(),
            };
            (next.writer, next.cluster) = (self.owner.process.clone(), seen.cluster);
            changes.push(Change::Put(self.keys.commit(), json(&next)));
            let owner = Change::Put(self.keys.owner(), json(&self.owner));
            let lease = Some(self.keeper.lease());
            let all: Vec<(&Change, Option<u64>)> =
                changes.iter().map(|change| (change, None)).chain([(&owner, lease)]).collect();
            let (owned, committed) = seen.revisions();
            let (owner_key, commit_key) = (self.keys.owner(), self.keys.commit());
            let compare = [(owner_key.as_slice(), owned), (commit_key.as_slice(), committed)];
            // Whatever the answer is, or whether there is one: the next look shows who owns it.
            let answer = self.client.transact(&Transaction { compare: &compare, changes: &all }, patience)?;
            if answer.no_lease {
                // It ran out before it could be used: this process, or etcd, stood still.
                self.keeper.renew(&self.client, self.place.lease, patience)?;
            }
            self.commit = next;
            verdict = Some(judged);
        }
    }

    /// Whether what is there may be what was acknowledged last, as far as its commit says.
    fn judge(&self, seen: &Seen) -> Result<Verdict, StoreError> {
        let before = self.mark.commits();
        let Some(held) = &seen.commit else {
            if before > 0 {
                return Ok(Err(format!("it is gone, but {before} commits were acknowledged")));
            }
            let reading = Reading { client: &self.client, keys: &self.keys, revision: 0, member: None };
            let records = reading.records(b"", None, false).map_err(|trouble| client::refused(&trouble))?;
            if !records.index.is_empty() || !records.broken.is_empty() {
                return Ok(Err("there are records, but nothing says of which commit".to_owned()));
            }
            let store = self.place.store.clone();
            return Ok(Ok(Commit { store, sum: Sum::default().text(), ..Commit::default() }));
        };
        let Ok(commit) = serde_json::from_slice::<Commit>(&held.value) else {
            return Ok(Err("what says how far it is can't be read".to_owned()));
        };
        if commit.store != self.place.store {
            return Err(StoreError::Etcd(format!(
                "{} in etcd holds the state of {}, and this is {}; set another prefix",
                self.place.prefix, commit.store, self.place.store
            )));
        }
        let commits = commit.commits;
        if commits < before {
            return Ok(Err(format!("it holds {commits} commits, but {before} were acknowledged")));
        }
        // A cluster that was made from a backup holds what the backup did. Only this machine's own count can tell that it is all.
        if commit.cluster != seen.cluster && commits != before {
            return Ok(Err(format!(
                "it was written in cluster {:x} and now lies in {:x}, and nothing here says that it is all that was acknowledged",
                commit.cluster, seen.cluster
            )));
        }
        Ok(Ok(commit))
    }

    /// A store with nothing but the word that there was another one; what makes it.
    fn empty(&self) -> (Commit, Vec<Change>) {
        let sum = Sum::of(LOST, &[1]);
        let commit = Commit {
            store: self.place.store.clone(),
            commits: self.commit.commits.max(self.mark.commits()) + 1,
            records: 1,
            sum: sum.text(),
            writer: self.owner.process.clone(),
            ..self.commit.clone()
        };
        let lost = self.keys.record(LOST);
        let mut behind = lost.clone();
        behind.push(0);
        let changes = vec![
            Change::Delete(self.keys.record(b""), lost.clone()),
            Change::Delete(behind, self.keys.records_end()),
            Change::Delete(self.keys.part(0, 0), self.keys.parts_end()),
            Change::Put(lost, record(sum, &Content::Here(&[1]))),
        ];
        (Commit { journal: None, ..commit }, changes)
    }

    fn begin_anew(&mut self) -> Result<(), StoreError> {
        let (next, changes) = self.empty();
        self.transact(&changes, Some(next))?;
        self.enter_empty();
        Ok(())
    }

    fn enter_empty(&mut self) {
        self.sum = Sum::of(LOST, &[1]);
        self.index = Index::from([(LOST.to_vec(), Kept { sum: self.sum, parts: None })]);
    }

    /// Carries out what the newest commit owes, and reads everything from the first member whose copy is whole. Tells why none
    /// is.
    fn read_all(&mut self, patience: Duration) -> Result<Option<String>, StoreError> {
        let began = Instant::now();
        if let Some(parts) = self.commit.journal {
            let reading = Reading { client: &self.client, keys: &self.keys, revision: 0, member: None };
            let bytes = reading.parts(parts).map_err(|trouble| client::refused(&trouble))?;
            let Some(changes) = bytes.as_deref().and_then(read_journal) else {
                return Ok(Some("a part of its newest commit is missing".to_owned()));
            };
            self.finish(&changes)?;
        }
        loop {
            let mut flaw = None;
            let mut silent = None;
            for member in self.client.in_turn() {
                let member = Some(member);
                let reading = Reading { client: &self.client, keys: &self.keys, revision: 0, member };
                match reading.records(b"", None, false) {
                    Ok(found) => match found.flaw(&self.commit) {
                        Some(why) => flaw = Some(why),
                        None => {
                            self.sum = found.sum();
                            self.index = found.index;
                            return Ok(None);
                        }
                    },
                    Err(Trouble::NoAnswer(why)) => silent = Some(why),
                    Err(other) => return Err(client::refused(&other)),
                }
            }
            // A member that is away for a moment may have it whole: only the word of all is enough to begin anew.
            let Some(silent) = silent else { return Ok(flaw) };
            if began.elapsed() > patience {
                let flaw = flaw.map(|flaw| format!(", and elsewhere {flaw}")).unwrap_or_default();
                return Err(StoreError::Etcd(format!(
                    "no member of etcd gave the whole content of the store: {silent}{flaw}. A member that is gone for good has to be \
                     taken out of state.etcd.endpoints"
                )));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Becomes the owner again after the lease ran out, if nobody else was it meanwhile.
    pub(super) fn own_again(&mut self) -> Result<(), StoreError> {
        self.keeper.renew(&self.client, self.place.lease, self.place.patience)?;
        let (owner, commit) = (self.keys.owner(), self.keys.commit());
        let compare = [(owner.as_slice(), 0), (commit.as_slice(), self.committed)];
        let put = Change::Put(owner.clone(), json(&self.owner));
        let changes = [(&put, Some(self.keeper.lease()))];
        let asked = Transaction { compare: &compare, changes: &changes };
        let answer = self.client.transact(&asked, self.place.patience)?;
        if answer.no_lease {
            // It ran out before it could be used. Whoever wants to write finds that nobody owns the store, and comes again.
            return Ok(());
        }
        let mut found = answer.found.into_iter();
        let (holder, held) = (found.next().flatten(), found.next().flatten());
        self.owned = match holder {
            _ if answer.done => answer.revision,
            // An answer was lost.
            Some(holder)
                if holder.value == json(&self.owner)
                    && held.is_some_and(|held| held.revision == self.committed) =>
            {
                holder.revision
            }
            holder => return Err(self.taken(holder.as_ref().map(|holder| holder.value.as_slice()))),
        };
        self.log.warning("state-manager", "the lease of the store in etcd had run out; it is held again");
        Ok(())
    }
}

/// The name of a folder, which only one process at a time speaks for.
fn name_of(folder: &Path) -> Result<String, StoreError> {
    let path = folder.join("store.owner");
    if let Ok(name) = fs::read_to_string(&path)
        && !name.is_empty()
    {
        return Ok(name);
    }
    let name = random_name()?;
    let beside = folder.join("store.owner.new");
    let put = fs::write(&beside, &name).and_then(|()| fs::rename(&beside, &path));
    put.map_err(|error| StoreError::io("cannot write", &path, error))?;
    Ok(name)
}

fn random_name() -> Result<String, StoreError> {
    let half = || random_seed().map_err(StoreError::Etcd);
    Ok(format!("{:016x}{:016x}", half()?, half()?))
}
