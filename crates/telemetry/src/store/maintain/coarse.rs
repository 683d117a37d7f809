//! Thinning out: of each series the last sample of each window, for longer.

use std::sync::Arc;

use super::Maintained;
use crate::model::Sample;
use crate::store::block::{Block, BlockWriter, ChunkRef, SERIES_A_PAGE, SeriesCursor};
use crate::store::read::{Wanted, read_chunks};
use crate::store::{Store, StoreError, Tier};

impl Store {
    /// Makes coarse blocks of the fine ones of each compacted span that is over.
    pub(super) fn thin_out(&self, done: &mut Maintained) -> Result<(), StoreError> {
        let span_ms = self.config.compacted_ms;
        let over_ms = self.reached_ms(Tier::Fine).div_euclid(span_ms).saturating_mul(span_ms);
        let from_ms = self.reached_ms(Tier::Coarse);
        let blocks = self.blocks();
        let is_due = |block: &&Arc<Block>| {
            block.tier() == Tier::Fine
                && block.directory.start_ms >= from_ms
                && block.directory.end_ms <= over_ms
        };
        for block in blocks.iter().filter(is_due) {
            self.thin_out_block(block, done)?;
            done.thinned += 1;
        }
        Ok(())
    }

    fn thin_out_block(&self, block: &Block, done: &mut Maintained) -> Result<(), StoreError> {
        let (start_ms, end_ms) = (block.directory.start_ms, block.directory.end_ms);
        let mut writer = BlockWriter::new(&*self.disk, Tier::Coarse, start_ms, end_ms)?;
        let mut cursor = SeriesCursor::new(block);
        let mut go_on = true;
        while go_on {
            let (mut labels, mut wanted) = (Vec::new(), Vec::new());
            while labels.len() < SERIES_A_PAGE {
                go_on = cursor.advance()?;
                if !go_on {
                    break;
                }
                let series = cursor.series()?;
                let of_series =
                    |chunk: &ChunkRef| Wanted { page: chunk.page, nth: chunk.nth, series: labels.len() };
                wanted.extend(series.chunks.iter().map(of_series));
                let owned =
                    series.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                labels.push(owned.collect::<Vec<_>>());
            }
            let mut kept: Vec<Vec<Sample>> = vec![Vec::new(); labels.len()];
            let found = |series: usize, samples: &mut Vec<Sample>| {
                thin_out(samples, self.config.coarse_ms, &mut kept[series]);
                true
            };
            read_chunks(block, &mut wanted, found, |error| done.problems.push(error));
            for (labels, samples) in labels.iter().zip(&kept).filter(|(_, samples)| !samples.is_empty()) {
                let labels: Vec<_> =
                    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let mut chunks = Vec::new();
                writer.samples(samples, &mut chunks)?;
                writer.series(&labels, &chunks)?;
            }
        }
        let named = writer.finish()?;
        let made = named.map(|name| Block::open(&*self.disk, &name)).transpose()?;
        self.replace_blocks(&[], made.into_iter().map(Arc::new).collect());
        Ok(())
    }
}

/// Appends samples that come after those in `kept`, of each window only the last, and the one before when that is the end.
fn thin_out(samples: &[Sample], window_ms: i64, kept: &mut Vec<Sample>) {
    for sample in samples {
        let same_window =
            |other: &Sample| other.at_ms.div_euclid(window_ms) == sample.at_ms.div_euclid(window_ms);
        let is_end = sample.value.is_stale();
        // Of a window at most two are there: the last, and the mark of an end behind it.
        while kept.last().is_some_and(|last| same_window(last) && (!is_end || last.value.is_stale())) {
            kept.pop();
        }
        kept.push(sample.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;

    #[test]
    fn the_last_of_each_window_is_kept_and_an_end_with_what_was_before_it() {
        let number = |at_ms: i64| Sample { at_ms, value: Value::Float(at_ms as f64) };
        let end = |at_ms: i64| Sample { at_ms, value: Value::stale() };
        let all = [
            number(-1),
            number(0),
            number(99),
            number(100),
            end(150),
            end(160),
            number(201),
            end(202),
            number(210),
            end(301),
        ];
        let mut kept = Vec::new();
        // Chunks end anywhere.
        all.chunks(3).for_each(|some| thin_out(some, 100, &mut kept));
        let times: Vec<i64> = kept.iter().map(|sample| sample.at_ms).collect();
        assert_eq!(times, [-1, 99, 100, 160, 210, 301]);
    }
}
