//! Reading everything: every byte of every object, and what belongs to nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::chain::Chain;
use crate::error::{Error, Fault};
use crate::format::{
    Chunk, Index, LARGEST_SMALL, PASSPHRASE, Pack, TITLE, index_name, log_name, pack_name, secret_name,
    wrap_name,
};
use crate::key::whole_salt;
use crate::repository::Repository;
use crate::restore::{Opening, open_all};
use crate::seal::{Bytes32, Sealer};

/// What was found by reading everything.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Backups of the chain.
    pub backups: u64,
    /// Packs that were read.
    pub packs: u64,
    /// Their size, bytes.
    pub bytes: u64,
    /// What is not as it must be. Empty: everything that can be restored is whole.
    pub faults: Vec<Fault>,
    /// Objects that belong to nothing: no harm.
    pub remarks: Vec<Fault>,
}

/// A pack and the chunks that backups use of it.
struct Used {
    pack: Pack,
    run: String,
    key: Bytes32,
    chunks: BTreeMap<u64, Chunk>,
}

/// Notes what was damaged; other errors end it.
fn noted<T>(found: Result<T, Error>, faults: &mut Vec<Fault>) -> Result<Option<T>, Error> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(Error::Damaged(more)) => {
            faults.extend(more);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Repository {
    /// Reads every object and names every one that is not as it was written.
    ///
    /// # Errors
    /// The destination's.
    pub fn verify(&self) -> Result<Verified, Error> {
        let chain = Chain::read(self)?;
        let mut verified = Verified { faults: chain.faults.clone(), ..Verified::default() };
        let mut expected: BTreeSet<String> = [TITLE.to_owned(), secret_name(self.key.id())].into();
        for (sequence, known) in &chain.known {
            expected.insert(log_name(*sequence));
            expected.insert(wrap_name(self.key.id(), *sequence, &known.head.entry));
        }
        let mut packs: BTreeMap<String, Used> = BTreeMap::new();
        let mut indexes = Vec::new();
        for (sequence, _, manifest) in chain.manifests() {
            verified.backups += 1;
            expected.insert(index_name(&manifest.run));
            let Some(index) = noted(self.index(sequence, manifest), &mut verified.faults)? else { continue };
            gather(&index, &mut packs);
            indexes.push((sequence, manifest.records, index));
        }
        let mut counts = HashMap::new();
        for (name, used) in packs {
            verified.packs += 1;
            verified.bytes += used.pack.bytes;
            self.verify_pack(&name, &used, &mut counts, &mut verified.faults)?;
            expected.insert(name);
        }
        for (sequence, records, index) in indexes {
            let found: Option<u64> = index.chunks.iter().map(|chunk| counts.get(&chunk.id).copied()).sum();
            // Chunks that could not be read are named by their packs.
            if let Some(found) = found.filter(|found| *found != records) {
                let what = format!("it has {records} records, and its chunks {found}");
                verified.faults.push(Fault::new(log_name(sequence), what));
            }
        }
        self.verify_rest(&chain, &expected, &mut verified)?;
        verified.faults.sort();
        verified.faults.dedup();
        Ok(verified)
    }

    fn verify_pack(
        &self,
        name: &str,
        used: &Used,
        counts: &mut HashMap<Bytes32, u64>,
        faults: &mut Vec<Fault>,
    ) -> Result<(), Error> {
        let Some(bytes) = noted(self.pack(&used.run, &used.pack), faults)? else { return Ok(()) };
        let sealer = Sealer::new(&used.key.0);
        let opening = |chunk: &Chunk| Opening {
            chunk: chunk.clone(),
            sealer: &sealer,
            sealed: bytes[chunk.offset as usize..(chunk.offset + chunk.bytes) as usize].to_vec(),
            records: None,
        };
        let mut openings: Vec<Opening<'_>> = used.chunks.values().map(opening).collect();
        open_all(self, &mut openings);
        for one in openings {
            match one.records {
                Some(records) => drop(counts.insert(one.chunk.id, records.len() as u64)),
                None => {
                    faults.push(Fault::new(name, format!("its chunk at {} does not open", one.chunk.offset)));
                }
            }
        }
        Ok(())
    }

    /// Salts, and objects that belong to nothing.
    fn verify_rest(
        &self,
        chain: &Chain,
        expected: &BTreeSet<String>,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        for listed in self.destination.list("")? {
            if listed.name.starts_with(PASSPHRASE) {
                let bytes = noted(self.fetch(&listed.name, LARGEST_SMALL), &mut verified.faults)?.flatten();
                if let Err(fault) = whole_salt(&listed.name, &bytes.unwrap_or_default()) {
                    verified.faults.push(fault);
                }
                continue;
            }
            let damaged = verified.faults.iter().any(|fault| fault.object == listed.name);
            if expected.contains(&listed.name) || damaged {
                continue;
            }
            let what = if chain.leftovers.contains(&listed.name) {
                "was removed by retention; the next prune deletes it"
            } else {
                "belongs to no backup: an interrupted writer's, or another key's; not checked"
            };
            verified.remarks.push(Fault::new(listed.name, what));
        }
        Ok(())
    }
}

/// Adds the packs and chunks of an index to those of the others.
fn gather(index: &Index, packs: &mut BTreeMap<String, Used>) {
    let names: Vec<String> = index
        .packs
        .iter()
        .map(|pack| {
            let run = &index.runs[pack.run as usize];
            let name = pack_name(&run.name, pack.number);
            packs.entry(name.clone()).or_insert_with(|| Used {
                pack: pack.clone(),
                run: run.name.clone(),
                key: run.key,
                chunks: BTreeMap::new(),
            });
            name
        })
        .collect();
    for chunk in &index.chunks {
        let name = &names[chunk.pack as usize];
        if let Some(used) = packs.get_mut(name) {
            used.chunks.entry(chunk.offset).or_insert_with(|| chunk.clone());
        }
    }
}
