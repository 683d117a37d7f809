//! Making a backup: records are cut, deduplicated, compressed, sealed and packed; the entry of the chain comes last, so that
//! what was interrupted before is no backup.

use std::collections::{BTreeMap, HashMap};

use dwcp_types::{GroupId, Wall, encode, hex};
use zstd::bulk::Compressor;

use crate::chain::{Backup, Chain, Head};
use crate::chunk::{Chunker, Record};
use crate::error::Error;
use crate::format::{
    Body, Chunk, Entry, INDEX_NUMBER, Index, Kind, Manifest, PACKS, Pack, Run, index_name, pack_name,
};
use crate::repository::{Repository, Unadded};
use crate::seal::{Bytes32, Sealer, random, sha256};
use crate::workers::each;

/// The size of a pack, bytes: objects are few enough for S3, and small enough that one can be kept in memory.
const PACK: usize = 4 << 20;
/// Raw bytes that are worked on at a time.
pub(crate) const BATCH: usize = 4 << 20;
const LEVEL: i32 = 3;

/// What is to be made.
#[derive(Clone, Debug, Default)]
pub struct Create {
    /// Full or incremental; without a backup before it, it becomes a full one.
    pub kind: Kind,
    /// When its records were taken.
    pub at: Wall,
    /// What is written down about it, such as the revision of each group; sealed like everything else.
    pub metadata: BTreeMap<String, String>,
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// The backup.
    pub backup: Backup,
    /// The chain's newest entry now; to be kept apart from the destination.
    pub head: Head,
}

/// Of a parent: where its chunks lie.
struct Parent {
    sequence: u64,
    index: Index,
    chunks: HashMap<Bytes32, usize>,
    /// By pack: whether enough of it is still in use. Chunks of the others are written anew, so that what removed backups
    /// alone used does not stay for ever.
    worth: Vec<bool>,
    /// By pack: its place in the index that is being made.
    places: HashMap<u32, u32>,
}

impl Parent {
    fn new(sequence: u64, index: Index) -> Parent {
        let mut used = vec![0u64; index.packs.len()];
        let mut chunks = HashMap::new();
        for (at, chunk) in index.chunks.iter().enumerate() {
            if chunks.insert(chunk.id, at).is_none() {
                used[chunk.pack as usize] += chunk.bytes;
            }
        }
        let worth = used.iter().zip(&index.packs).map(|(used, pack)| used * 2 >= pack.bytes).collect();
        Parent { sequence, index, chunks, worth, places: HashMap::new() }
    }

    /// A chunk of the parent, in the terms of the index that is being made.
    fn take(&mut self, id: Bytes32, index: &mut Index) -> Option<Chunk> {
        let chunk = &self.index.chunks[*self.chunks.get(&id)?];
        if !self.worth[chunk.pack as usize] {
            return None;
        }
        let place = *self.places.entry(chunk.pack).or_insert_with(|| {
            let pack = &self.index.packs[chunk.pack as usize];
            let run = &self.index.runs[pack.run as usize];
            let known = index.runs.iter().position(|one| one.name == run.name);
            let run = known.unwrap_or_else(|| {
                index.runs.push(run.clone());
                index.runs.len() - 1
            });
            index.packs.push(Pack { run: run as u32, ..pack.clone() });
            index.packs.len() as u32 - 1
        });
        Some(Chunk { pack: place, ..chunk.clone() })
    }
}

/// A piece of a batch.
struct Piece {
    raw: Vec<u8>,
    id: Bytes32,
    /// Its number in the run, when it must be written.
    number: Option<u64>,
    sealed: Vec<u8>,
}

struct Writing<'r> {
    repository: &'r Repository,
    run: Run,
    sealer: Sealer,
    parent: Option<Parent>,
    known: HashMap<Bytes32, Option<Chunk>>,
    index: Index,
    /// The pack that is open, and its place in the index.
    pack: Vec<u8>,
    place: Option<usize>,
    packs: u64,
    chunks: u64,
    written: u64,
}

pub(crate) fn chunk_context(repository: &Repository, id: &Bytes32) -> Vec<u8> {
    [b"dwcp-backup chunk".as_slice(), &repository.title.id, &id.0].concat()
}

pub(crate) fn index_context(repository: &Repository, run: &str) -> Vec<u8> {
    [b"dwcp-backup index".as_slice(), &repository.title.id, run.as_bytes()].concat()
}

impl Writing<'_> {
    fn batch(&mut self, batch: Vec<Vec<u8>>) -> Result<(), Error> {
        let repository = self.repository;
        let new = |raw| Piece { raw, id: Bytes32::default(), number: None, sealed: Vec::new() };
        let mut pieces: Vec<Piece> = batch.into_iter().map(new).collect();
        each(&mut pieces, || (), |(), piece| piece.id = repository.chunk_id(&piece.raw));
        for piece in &mut pieces {
            if self.known.contains_key(&piece.id) {
                continue;
            }
            let found = self.parent.as_mut().and_then(|parent| parent.take(piece.id, &mut self.index));
            if found.is_none() {
                piece.number = Some(self.chunks);
                self.chunks += 1;
            }
            self.known.insert(piece.id, found);
        }
        let sealer = &self.sealer;
        let compressor = || Compressor::new(LEVEL).expect("a level that there is");
        each(&mut pieces, compressor, |compressor, piece| {
            if let Some(number) = piece.number {
                piece.sealed = compressor.compress(&piece.raw).expect("memory to memory");
                sealer.seal(number, &chunk_context(repository, &piece.id), &mut piece.sealed);
            }
        });
        for piece in pieces {
            if let Some(number) = piece.number {
                self.pack(piece, number)?;
            } else {
                let chunk = self.known[&piece.id].clone().expect("written before, or the parent's");
                self.index.chunks.push(chunk);
            }
        }
        Ok(())
    }

    fn pack(&mut self, piece: Piece, number: u64) -> Result<(), Error> {
        if !self.pack.is_empty() && self.pack.len() + piece.sealed.len() > PACK {
            self.put_pack()?;
        }
        let place = *self.place.get_or_insert_with(|| {
            self.index.packs.push(Pack::default());
            self.index.packs.len() - 1
        });
        let chunk = Chunk {
            pack: place as u32,
            offset: self.pack.len() as u64,
            bytes: piece.sealed.len() as u64,
            raw_bytes: piece.raw.len() as u64,
            number,
            id: piece.id,
        };
        self.pack.extend_from_slice(&piece.sealed);
        self.known.insert(piece.id, Some(chunk.clone()));
        self.index.chunks.push(chunk);
        Ok(())
    }

    fn put_pack(&mut self) -> Result<(), Error> {
        let Some(place) = self.place.take() else { return Ok(()) };
        let bytes = std::mem::take(&mut self.pack);
        self.index.packs[place] =
            Pack { run: 0, number: self.packs, bytes: bytes.len() as u64, digest: sha256(&bytes) };
        self.put(&pack_name(&self.run.name, self.packs), &bytes)?;
        self.packs += 1;
        Ok(())
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        // The run's name is random: only a request that was sent twice finds one.
        self.repository.destination.put_new(name, bytes)?;
        Ok(())
    }

    /// Cuts, packs and puts all records and the index; gives the manifest.
    fn records(&mut self, records: impl Iterator<Item = Record>) -> Result<Manifest, Error> {
        let mut chunker = Chunker::new(&self.repository.cut_key);
        let mut batch = Vec::new();
        let (mut count, mut raw_bytes) = (0, 0);
        let mut groups: BTreeMap<GroupId, u64> = BTreeMap::new();
        let mut size = 0;
        for record in records {
            let cut = batch.len();
            chunker.push(&record, &mut batch).map_err(Error::Records)?;
            count += 1;
            *groups.entry(record.group).or_default() += 1;
            size += batch[cut..].iter().map(Vec::len).sum::<usize>();
            if size >= BATCH {
                raw_bytes += size as u64;
                size = 0;
                self.batch(std::mem::take(&mut batch))?;
            }
        }
        chunker.cut(&mut batch);
        raw_bytes += batch.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        self.batch(batch)?;
        self.put_pack()?;
        let mut sealed = encode(&self.index);
        self.sealer.seal(INDEX_NUMBER, &index_context(self.repository, &self.run.name), &mut sealed);
        let name = index_name(&self.run.name);
        self.put(&name, &sealed)?;
        Ok(Manifest {
            kind: if self.parent.is_some() { Kind::Incremental } else { Kind::Full },
            parent: self.parent.as_ref().map(|parent| parent.sequence),
            run: self.run.name.clone(),
            run_key: self.run.key,
            index_digest: sha256(&sealed),
            index_bytes: sealed.len() as u64,
            records: count,
            raw_bytes,
            groups,
            written_bytes: self.written,
            chunks: self.index.chunks.len() as u64,
            new_chunks: self.chunks,
            ..Manifest::default()
        })
    }
}

impl Repository {
    /// Makes a backup of records that come sorted by group and key, each once.
    ///
    /// # Errors
    /// Nothing that was there has changed, and what was written of the new backup is removed, or left for
    /// [`Repository::prune`] when the destination does not allow it. [`Error::Overtaken`] when a prune came between: the records are needed again.
    pub fn create_backup(
        &self,
        create: Create,
        records: impl Iterator<Item = Record>,
    ) -> Result<Created, Error> {
        let mut chain = Chain::read(self)?;
        chain.writable(self)?;
        let base = chain.head.sequence;
        let parent = match create.kind {
            Kind::Full => None,
            Kind::Incremental => {
                let newest = chain.manifests().next_back();
                newest
                    .map(|(n, _, manifest)| Ok::<_, Error>(Parent::new(n, self.index(n, manifest)?)))
                    .transpose()?
            }
        };
        let name = format!("{base:010}-{}", hex(&random::<8>()));
        let run = Run { name: name.clone(), key: Bytes32(random()) };
        let mut writing = Writing {
            repository: self,
            sealer: Sealer::new(&run.key.0),
            parent,
            known: HashMap::new(),
            index: Index { runs: vec![run.clone()], ..Index::default() },
            run,
            pack: Vec::new(),
            place: None,
            packs: 0,
            chunks: 0,
            written: 0,
        };
        let added = writing.records(records).map_err(Unadded::from).and_then(|manifest| {
            let manifest = Manifest { metadata: create.metadata, ..manifest };
            let body = Body::Backup(Box::new(manifest.clone()));
            let mut entry = Entry { at: create.at, body, ..Entry::default() };
            let judge = |chain: &Chain| still_holds(chain, base);
            let head = self.append(&mut chain, &mut entry, judge, |_, _| Ok(()))?.head;
            Ok(Created { backup: Backup::of(head.sequence, create.at, &manifest), head })
        });
        added.map_err(|unadded| {
            if !unadded.can_be_there {
                // What can't be removed now is removed by a prune.
                for left in self.destination.list(&format!("{PACKS}{name}/")).unwrap_or_default() {
                    let _ = self.destination.delete(&left.name);
                }
            }
            unadded.error
        })
    }
}

/// Whether what was begun behind entry `base` may still be added: a removal since then may have taken what it uses, and
/// takes what belongs to nobody.
fn still_holds(chain: &Chain, base: u64) -> Result<(), Error> {
    let removal =
        chain.known.range(base + 1..).find(|(_, known)| matches!(known.entry.body, Body::Removal(_)));
    match removal {
        None => Ok(()),
        Some((sequence, _)) => Err(Error::Overtaken(format!(
            "backups were removed (entry {sequence}) while this one was made: it was taken back, and is to be made again"
        ))),
    }
}
