//! Opening a store: what was interrupted is finished or dropped, what is damaged is named and set aside.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, RwLock};

use super::block::{BLOCK, Block, UNFINISHED};
use super::disk::Disk;
use super::head::{Applied, Head, SLOTS};
use super::wal::{Found, NO_SLOT, Segment, Wal, replay, segment_name, segment_number};
use super::{Config, Store, StoreError, Tier};

/// What a damaged block's name ends with from then on.
const SET_ASIDE: &str = ".damaged";

/// What was found when a store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Samples that were read from the log.
    pub replayed: u64,
    /// What was damaged or not written wholly, and what became of it.
    pub found: Vec<String>,
}

impl Store {
    /// Opens the store in a folder, which nothing else may have open.
    ///
    /// # Errors
    /// The disk's, or a configuration that does not work. Damage is no error: see [`Opened::found`].
    pub fn open(disk: Arc<dyn Disk>, config: Config, now_ms: i64) -> Result<(Store, Opened), StoreError> {
        config.check()?;
        let mut opened = Opened::default();
        let names = disk.list().map_err(StoreError::disk("", "listing the store's folder"))?;
        let blocks = open_blocks(&*disk, &names, &mut opened)?;
        let fine = blocks.iter().filter(|block| block.tier() == Tier::Fine);
        let flushed_to_ms = fine.map(|block| block.directory.end_ms).max().unwrap_or(i64::MIN);
        let mut head = Head::new(config.block_ms, flushed_to_ms);
        let segments: BTreeSet<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
        let mut older = Vec::new();
        for number in segments {
            older.push(read_segment(&*disk, number, now_ms, &mut head, &mut opened)?);
        }
        disk.sync().map_err(StoreError::disk("", "syncing the store's folder"))?;
        let wal = Wal::new(Arc::clone(&disk), config.fsync, config.segment_bytes, older);
        let store = Store {
            config,
            disk,
            maintenance: Mutex::new(BTreeSet::new()),
            wal: Mutex::new(wal),
            head: RwLock::new(head),
            blocks: RwLock::new(Arc::new(Vec::new())),
            refused: Default::default(),
        };
        store.replace_blocks(&[], blocks);
        Ok((store, opened))
    }
}

fn open_blocks(
    disk: &dyn Disk,
    names: &[String],
    opened: &mut Opened,
) -> Result<Vec<Arc<Block>>, StoreError> {
    let mut blocks = Vec::new();
    for name in names {
        if name.ends_with(UNFINISHED) {
            disk.remove(name).map_err(StoreError::disk(name, "removing"))?;
        } else if name.ends_with(BLOCK) {
            match Block::open(disk, name) {
                Ok(block) => blocks.push(Arc::new(block)),
                Err(error @ StoreError::Damaged { .. }) => {
                    disk.rename(name, &format!("{name}{SET_ASIDE}"))
                        .map_err(StoreError::disk(name, "setting aside"))?;
                    opened.found.push(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
    }
    // Blocks that were put together to a larger one, which was interrupted before they were removed.
    let is_in = |inner: &Block, outer: &Block| {
        let (inner, outer) = (&inner.directory, &outer.directory);
        inner.tier == outer.tier
            && outer.start_ms <= inner.start_ms
            && inner.end_ms <= outer.end_ms
            && (inner.start_ms, inner.end_ms) != (outer.start_ms, outer.end_ms)
    };
    let (gone, kept): (Vec<_>, Vec<_>) =
        blocks.iter().cloned().partition(|inner| blocks.iter().any(|outer| is_in(inner, outer)));
    for block in gone {
        disk.remove(&block.name).map_err(StoreError::disk(&block.name, "removing"))?;
    }
    Ok(kept)
}

/// Reads a file of the log into memory.
fn read_segment(
    disk: &dyn Disk,
    number: u64,
    now_ms: i64,
    head: &mut Head,
    opened: &mut Opened,
) -> Result<Segment, StoreError> {
    let name = segment_name(number);
    let file = disk.open(&name).map_err(StoreError::disk(&name, "reading"))?;
    let (mut newest_ms, mut nameless) = (i64::MIN, 0u64);
    // From the file's slots to those of now.
    let mut slots: Vec<u32> = Vec::new();
    let found = replay(&*file, &name, |record| {
        for (slot, labels) in record.series {
            let at = slot as usize;
            if at < SLOTS && slots.len() <= at {
                slots.resize(at + 1, NO_SLOT);
            }
            if let Some(place) = slots.get_mut(at) {
                *place = head.find(&labels).or_else(|| head.create(&labels)).unwrap_or(NO_SLOT);
            }
        }
        for (slot, sample) in record.samples {
            newest_ms = newest_ms.max(sample.at_ms);
            let known = slots.get(slot as usize).filter(|slot| **slot != NO_SLOT);
            let Some(&slot) = known else {
                nameless += 1;
                continue;
            };
            if sample.at_ms < head.flushed_to_ms {
                continue;
            }
            if head.apply(slot, sample.at_ms, &sample.value) == Applied::Added {
                opened.replayed += 1;
            }
            head.reached(sample.at_ms.min(now_ms));
        }
    })?;
    tell(&name, &found, nameless, opened);
    if found.end < found.length {
        file.cut(found.end).map_err(StoreError::disk(&name, "cutting"))?;
    }
    // The process before may have been killed before it did this, and what is seen once must stay.
    file.sync().map_err(StoreError::disk(&name, "syncing"))?;
    Ok(Segment { number, bytes: found.end, newest_ms })
}

fn tell(name: &str, found: &Found, nameless: u64, opened: &mut Opened) {
    for (from, to) in &found.damaged {
        opened.found.push(format!(
            "{name} is damaged from byte {from} to {to}: the samples that stood there are lost"
        ));
    }
    if found.end < found.length {
        let bytes = found.length - found.end;
        opened
            .found
            .push(format!("{name} ends with {bytes} bytes that were not written wholly; they were cut off"));
    }
    if nameless > 0 {
        opened.found.push(format!(
            "{name} has {nameless} samples whose series stood where it is damaged; they are lost"
        ));
    }
}
