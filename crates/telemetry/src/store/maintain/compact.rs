//! Putting blocks together: pages of samples are copied as they are, only the index is made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Maintained;
use crate::store::block::{Block, BlockWriter, SeriesCursor};
use crate::store::{Store, StoreError, Tier};

impl Store {
    /// Puts the blocks of each span together that is over.
    pub(super) fn compact(
        &self,
        tier: Tier,
        span_ms: i64,
        damaged: &mut BTreeSet<(Tier, i64)>,
        done: &mut Maintained,
    ) {
        let mut spans: BTreeMap<i64, Vec<Arc<Block>>> = BTreeMap::new();
        for block in self.blocks().iter().filter(|block| block.tier() == tier) {
            spans.entry(block.directory.start_ms.div_euclid(span_ms)).or_default().push(Arc::clone(block));
        }
        let over = self.reached_ms(tier).div_euclid(span_ms);
        for (span, blocks) in spans.range(..over).filter(|(_, blocks)| blocks.len() > 1) {
            if damaged.contains(&(tier, *span)) {
                continue;
            }
            match self.put_together(tier, blocks) {
                Ok(()) => done.compacted += 1,
                Err(error) => {
                    if matches!(error, StoreError::Damaged { .. }) {
                        damaged.insert((tier, *span));
                    }
                    done.problems.push(error);
                }
            }
        }
    }

    /// Puts blocks together that are in ascending order of time.
    fn put_together(&self, tier: Tier, blocks: &[Arc<Block>]) -> Result<(), StoreError> {
        let start_ms = blocks.iter().map(|block| block.directory.start_ms).min().unwrap_or(0);
        let end_ms = blocks.iter().map(|block| block.directory.end_ms).max().unwrap_or(0);
        let mut writer = BlockWriter::new(&*self.disk, tier, start_ms, end_ms)?;
        let mut first_pages = Vec::new();
        let mut pages = 0;
        for block in blocks {
            first_pages.push(pages);
            for page in 0..block.directory.pages.len() as u32 {
                let (_, bytes) = block.page_bytes(page)?;
                pages = writer.copy_page(&bytes)? + 1;
            }
        }
        write_series(blocks, &first_pages, &mut writer)?;
        let named = writer.finish()?;
        let made = named.map(|name| Block::open(&*self.disk, &name)).transpose()?;
        self.replace_blocks(blocks, made.into_iter().map(Arc::new).collect());
        self.remove_files(blocks)
    }
}

/// Adds the series of all blocks, each once, with their chunks from all of them.
fn write_series(
    blocks: &[Arc<Block>],
    first_pages: &[u32],
    writer: &mut BlockWriter<'_>,
) -> Result<(), StoreError> {
    let mut cursors = Vec::new();
    for (block, first_page) in blocks.iter().zip(first_pages) {
        let mut cursor = SeriesCursor::new(block);
        if cursor.advance()? {
            cursors.push((cursor, *first_page));
        }
    }
    while !cursors.is_empty() {
        let series = cursors.iter().map(|(cursor, _)| cursor.series()).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = series.iter().map(|series| &series.labels).min() else { break };
        let is_first: Vec<bool> = series.iter().map(|series| series.labels == *first).collect();
        let mut chunks = Vec::new();
        for ((series, (_, first_page)), _) in
            series.iter().zip(&cursors).zip(&is_first).filter(|(_, is)| **is)
        {
            let moved = series.chunks.iter().map(|chunk| {
                let mut chunk = *chunk;
                chunk.page += first_page;
                chunk
            });
            chunks.extend(moved);
        }
        writer.series(first, &chunks)?;
        let mut rest = Vec::with_capacity(cursors.len());
        drop(series);
        for ((mut cursor, first_page), is_first) in cursors.into_iter().zip(is_first) {
            if !is_first || cursor.advance()? {
                rest.push((cursor, first_page));
            }
        }
        cursors = rest;
    }
    Ok(())
}
