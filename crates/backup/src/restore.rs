//! Reading a backup: every chunk is checked before one record of it is handed out.

use std::collections::VecDeque;

use dwcp_types::GroupId;
use zstd::bulk::Decompressor;

use crate::chain::{Backup, Chain};
use crate::chunk::{Record, decode_records};
use crate::create::{BATCH, chunk_context, index_context};
use crate::error::{Error, Fault};
use crate::format::{Chunk, INDEX_NUMBER, Index, Manifest, Pack, index_name, pack_name, read_index};
use crate::repository::Repository;
use crate::seal::{Sealer, sha256};
use crate::workers::each;

/// Packs that are kept in memory while a backup is read: chunks of several runs lie between each other.
const PACKS_KEPT: usize = 16;

/// The records of a backup, in order. They are handed out chunk by chunk, each checked before; whether the backup as a whole
/// is there, only the end tells. So nothing of it may be taken into use before the iterator has ended without an error.
pub struct Records<'r> {
    repository: &'r Repository,
    backup: Backup,
    index: Index,
    sealers: Vec<Sealer>,
    next: usize,
    ready: VecDeque<Record>,
    packs: VecDeque<(u32, Vec<u8>)>,
    handed: u64,
    last: Option<(GroupId, Vec<u8>)>,
    ended: bool,
}

/// A chunk on its way from a pack to its records.
pub(crate) struct Opening<'s> {
    pub chunk: Chunk,
    pub sealer: &'s Sealer,
    pub sealed: Vec<u8>,
    pub records: Option<Vec<Record>>,
}

/// Opens chunks and checks what is inside; those that fail have no records.
pub(crate) fn open_all(repository: &Repository, openings: &mut [Opening<'_>]) {
    let decompressor = || Decompressor::new().expect("memory for zstd");
    each(openings, decompressor, |decompressor, one| {
        let context = chunk_context(repository, &one.chunk.id);
        let raw = one.sealer.open(one.chunk.number, &context, &one.sealed).and_then(|packed| {
            let raw = decompressor.decompress(&packed, one.chunk.raw_bytes as usize).ok()?;
            (raw.len() as u64 == one.chunk.raw_bytes && repository.chunk_id(&raw) == one.chunk.id)
                .then_some(raw)
        });
        one.records = raw.and_then(|raw| decode_records(&raw).ok());
        one.sealed = Vec::new();
    });
}

impl Repository {
    /// The index of a backup.
    pub(crate) fn index(&self, sequence: u64, manifest: &Manifest) -> Result<Index, Error> {
        let name = index_name(&manifest.run);
        let fault =
            |what: &str| Error::from(Fault::new(&*name, format!("{what} (the chunks of backup {sequence})")));
        let bytes = self.fetch(&name, manifest.index_bytes)?.ok_or_else(|| fault("is missing"))?;
        if sha256(&bytes) != manifest.index_digest {
            return Err(fault("altered, cut off or another's"));
        }
        let context = index_context(self, &manifest.run);
        let opened = Sealer::new(&manifest.run_key.0).open(INDEX_NUMBER, &context, &bytes);
        let opened = opened.ok_or_else(|| fault("does not open with its key"))?;
        read_index(&opened).map_err(|error| fault(&format!("can't be read: {error}")))
    }

    /// A pack whose every byte is as it was written.
    pub(crate) fn pack(&self, run: &str, pack: &Pack) -> Result<Vec<u8>, Error> {
        let name = pack_name(run, pack.number);
        let Some(bytes) = self.fetch(&name, pack.bytes)? else {
            return Err(Fault::new(name, "is missing").into());
        };
        if bytes.len() as u64 != pack.bytes {
            let what = format!("cut off: {} of {} bytes", bytes.len(), pack.bytes);
            return Err(Fault::new(name, what).into());
        }
        if sha256(&bytes) != pack.digest {
            return Err(Fault::new(name, "altered, or another pack in its place").into());
        }
        Ok(bytes)
    }

    /// A backup and its records: by its number, also when other backups are damaged; or the newest, when nothing in the
    /// chain is.
    ///
    /// # Errors
    /// [`Error::NoBackup`], [`Error::Damaged`]; the destination's.
    pub fn restore(&self, sequence: Option<u64>) -> Result<(Backup, Records<'_>), Error> {
        let chain = Chain::read(self)?;
        let (sequence, at, manifest) = chain.backup(sequence)?;
        let index = self.index(sequence, manifest)?;
        let backup = Backup::of(sequence, at, manifest);
        let records = Records {
            repository: self,
            backup: backup.clone(),
            sealers: index.runs.iter().map(|run| Sealer::new(&run.key.0)).collect(),
            index,
            next: 0,
            ready: VecDeque::new(),
            packs: VecDeque::new(),
            handed: 0,
            last: None,
            ended: false,
        };
        Ok((backup, records))
    }
}

impl Records<'_> {
    fn fetch(&mut self, place: u32) -> Result<(), Error> {
        if let Some(at) = self.packs.iter().position(|(one, _)| *one == place) {
            let found = self.packs.remove(at).expect("just found");
            self.packs.push_back(found);
            return Ok(());
        }
        let pack = &self.index.packs[place as usize];
        let bytes = self.repository.pack(&self.index.runs[pack.run as usize].name, pack)?;
        if self.packs.len() == PACKS_KEPT {
            self.packs.pop_front();
        }
        self.packs.push_back((place, bytes));
        Ok(())
    }

    /// Reads the next chunks.
    fn fill(&mut self) -> Result<(), Error> {
        let (from, mut raw) = (self.next, 0);
        let mut sealed = Vec::new();
        while self.next < self.index.chunks.len() && raw < BATCH as u64 {
            let chunk = self.index.chunks[self.next].clone();
            self.fetch(chunk.pack)?;
            let pack = &self.packs.back().expect("just fetched").1;
            sealed.push(pack[chunk.offset as usize..(chunk.offset + chunk.bytes) as usize].to_vec());
            raw += chunk.raw_bytes;
            self.next += 1;
        }
        let opening = |(chunk, sealed): (&Chunk, Vec<u8>)| {
            let run = self.index.packs[chunk.pack as usize].run;
            Opening { chunk: chunk.clone(), sealer: &self.sealers[run as usize], sealed, records: None }
        };
        let mut openings: Vec<Opening<'_>> =
            self.index.chunks[from..self.next].iter().zip(sealed).map(opening).collect();
        open_all(self.repository, &mut openings);
        for (at, opening) in openings.into_iter().enumerate() {
            let records =
                opening.records.ok_or_else(|| self.fault(from + at, "a chunk in it does not open"))?;
            let place = |record: &Record| (record.group, record.key.clone());
            let joins = match (&self.last, records.first()) {
                (Some(last), Some(first)) => *last < place(first),
                _ => true,
            };
            if !joins || !records.is_sorted_by(|a, b| (a.group, &a.key) < (b.group, &b.key)) {
                return Err(self.fault(from + at, "its records are out of order"));
            }
            self.last = records.last().map(place).or(self.last.take());
            self.ready.extend(records);
        }
        Ok(())
    }

    fn fault(&self, chunk: usize, what: &str) -> Error {
        let pack = &self.index.packs[self.index.chunks[chunk].pack as usize];
        let name = pack_name(&self.index.runs[pack.run as usize].name, pack.number);
        Fault::new(name, format!("{what} (chunk {chunk} of backup {})", self.backup.sequence)).into()
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.ready.is_empty() {
            if let Err(error) = self.fill() {
                self.ended = true;
                return Some(Err(error));
            }
        }
        if let Some(record) = self.ready.pop_front() {
            self.handed += 1;
            return Some(Ok(record));
        }
        self.ended = true;
        let (handed, expected) = (self.handed, self.backup.records);
        (handed != expected).then(|| {
            let what = format!("it has {expected} records, and its chunks {handed}");
            Err(Fault::new(crate::format::log_name(self.backup.sequence), what).into())
        })
    }
}
