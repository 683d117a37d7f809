//! Reading: what is in blocks and in memory, put together.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::block::{Block, ChunkRef};
use super::chunk::Chunk;
use super::cost::Cost;
use super::{Store, StoreError, Tier};
use crate::model::{Labels, Matcher, Sample, Select, Selected, Series, Source, SourceError};

/// Texts that are there once.
#[derive(Default)]
struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn shared(&mut self, text: &str) -> Arc<str> {
        match self.0.get(text) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<str> = text.into();
                self.0.insert(Arc::clone(&new));
                new
            }
        }
    }

    fn labels(&mut self, labels: &[(&str, &str)]) -> Labels {
        let shared: Vec<_> =
            labels.iter().map(|(name, value)| (self.shared(name), self.shared(value))).collect();
        Labels::new(shared)
    }
}

/// A chunk of a block, and the number of the series it is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    pub page: u32,
    pub nth: u32,
    pub series: usize,
}

/// What is to be read of a block: from, to (both included), which chunks.
struct BlockPlan {
    block: Arc<Block>,
    start_ms: i64,
    end_ms: i64,
    wanted: Vec<Wanted>,
}

/// What is to be read.
#[derive(Default)]
struct Plan {
    /// The numbers of the series.
    series: BTreeMap<Labels, usize>,
    /// In ascending order of time.
    blocks: Vec<BlockPlan>,
    /// From memory: of which series.
    head: Vec<(usize, Vec<Chunk>)>,
    /// From here on memory is read, ms.
    head_start_ms: i64,
    cost: Cost,
    warnings: Vec<String>,
}

impl Plan {
    fn number(&mut self, labels: Labels) -> usize {
        let next = self.series.len();
        *self.series.entry(labels).or_insert(next)
    }

    fn refuse_above(&self, limit: u64) -> Result<(), SourceError> {
        if self.cost.certain <= limit {
            return Ok(());
        }
        Err(SourceError::TooMuch { samples: self.cost.likely.max(self.cost.certain), limit })
    }

    fn add_block(
        &mut self,
        block: &Arc<Block>,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<(), StoreError> {
        let mut texts = Texts::default();
        let mut wanted = Vec::new();
        let candidates = block.candidates(matchers)?;
        block.series(&candidates, |series| {
            if !series.fulfils(matchers) {
                return Ok(());
            }
            let overlaps = |chunk: &&ChunkRef| chunk.first_ms <= end_ms && chunk.last_ms >= start_ms;
            let mut chunks = series.chunks.iter().filter(overlaps).peekable();
            if chunks.peek().is_none() {
                return Ok(());
            }
            let number = self.number(texts.labels(&series.labels));
            for chunk in chunks {
                self.cost.add(chunk.count, chunk.first_ms, chunk.last_ms, start_ms, end_ms);
                wanted.push(Wanted { page: chunk.page, nth: chunk.nth, series: number });
            }
            Ok(())
        })?;
        self.blocks.push(BlockPlan { block: Arc::clone(block), start_ms, end_ms, wanted });
        Ok(())
    }
}

/// Reads chunks of a block page by page, and hands their samples to `found` with the number of their series. Of one series the
/// samples come in ascending order of time. What is damaged is left out and handed to `failed`.
pub fn read_chunks(
    block: &Block,
    wanted: &mut [Wanted],
    mut found: impl FnMut(usize, &mut Vec<Sample>) -> bool,
    mut failed: impl FnMut(StoreError),
) {
    wanted.sort_unstable();
    for of_page in wanted.chunk_by(|left, right| left.page == right.page) {
        let page = of_page[0].page;
        let numbers: Vec<u32> = of_page.iter().map(|wanted| wanted.nth).collect();
        let mut go_on = true;
        let read = block.page(page).and_then(|open| {
            let read = open.read(&numbers, |at, samples| go_on &= found(of_page[at].series, samples));
            read.map_err(|why| block.contradicted(page, why))
        });
        if let Err(error) = read {
            failed(error);
        }
        if !go_on {
            return;
        }
    }
}

impl Store {
    /// From where on the samples are taken as they came; before it, the coarse ones.
    fn coarse_before_ms(&self, blocks: &[Arc<Block>], step_ms: i64) -> i64 {
        let of = |tier: Tier| {
            blocks.iter().filter(move |block| block.tier() == tier).map(|block| &block.directory)
        };
        let coarse_to_ms = of(Tier::Coarse).map(|block| block.end_ms).max().unwrap_or(i64::MIN);
        // Two samples that lie a little more than one window apart must not look like a gap.
        if step_ms >= self.config.coarse_ms.saturating_mul(2) {
            return coarse_to_ms;
        }
        let fine_from_ms = of(Tier::Fine).map(|block| block.start_ms).min().unwrap_or(i64::MAX);
        coarse_to_ms.min(fine_from_ms)
    }

    /// Finds what is to be read; what is in memory is copied when `and_samples`.
    fn plan(&self, wanted: &Select, and_samples: bool) -> Result<Plan, SourceError> {
        let mut plan = Plan::default();
        let (start_ms, end_ms) = (wanted.start_ms, wanted.end_ms);
        let blocks = {
            // Blocks and memory as they were at one moment: what goes from one to the other is in one of them.
            let head = self.head();
            let blocks = self.blocks();
            // What memory has not forgotten yet and blocks have is read from these.
            let start_ms = start_ms.max(fine_to_ms(&blocks));
            plan.head_start_ms = start_ms;
            let mut slots = head.matching(&wanted.matchers);
            slots.retain(|slot| {
                let before = plan.cost;
                head.cost(*slot, start_ms, end_ms, &mut plan.cost);
                plan.cost != before
            });
            plan.refuse_above(wanted.max_samples)?;
            for slot in slots {
                let number = plan.number(head.labels(slot).clone());
                if and_samples {
                    plan.head.push((number, head.chunks(slot, start_ms, end_ms)));
                }
            }
            blocks
        };
        let fine_from_ms = self.coarse_before_ms(&blocks, wanted.step_ms);
        for block in blocks.iter() {
            let (from, to) = match block.tier() {
                Tier::Coarse => (start_ms, end_ms.min(fine_from_ms.saturating_sub(1))),
                Tier::Fine => (start_ms.max(fine_from_ms), end_ms),
            };
            if from <= to && block.overlaps(from, to) {
                if let Err(error) = plan.add_block(block, &wanted.matchers, from, to) {
                    plan.warnings.push(error.to_string());
                }
            }
        }
        // Coarse ones first, as they are older.
        plan.blocks.sort_by_key(|planned| {
            (planned.start_ms.max(planned.block.directory.start_ms), planned.block.tier())
        });
        plan.refuse_above(wanted.max_samples)?;
        Ok(plan)
    }

    /// The names of labels that series have, in ascending order.
    ///
    /// # Errors
    /// What is kept can't be read.
    pub fn label_names(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<String>, SourceError> {
        let mut names = BTreeSet::new();
        if matchers.is_empty() {
            let (head, blocks) = self.in_span(start_ms, end_ms);
            if head {
                names.extend(self.head().names.label_names().map(str::to_owned));
            }
            for block in blocks {
                names.extend(block.directory.names.iter().map(|(name, _)| name.to_string()));
            }
        } else {
            for labels in self.series(matchers, start_ms, end_ms)? {
                names.extend(labels.iter().map(|(name, _)| name.to_owned()));
            }
        }
        Ok(names.into_iter().collect())
    }

    /// The values of a label that series have, in ascending order.
    ///
    /// # Errors
    /// What is kept can't be read.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<String>, SourceError> {
        let mut values = BTreeSet::new();
        if matchers.is_empty() {
            let (head, blocks) = self.in_span(start_ms, end_ms);
            if head {
                values.extend(self.head().names.label_values(name).map(str::to_owned));
            }
            for block in blocks {
                let mut found = |value: &str| {
                    if !values.contains(value) {
                        values.insert(value.to_owned());
                    }
                };
                block.label_values(name, &mut found).map_err(failed)?;
            }
        } else {
            let all = self.series(matchers, start_ms, end_ms)?;
            let known = all.iter().map(|labels| labels.get(name)).filter(|value| !value.is_empty());
            values.extend(known.map(str::to_owned));
        }
        Ok(values.into_iter().collect())
    }

    /// The series that have samples in a span of time (both ends included; whole chunks are looked at), in ascending order of labels.
    ///
    /// # Errors
    /// What is kept can't be read.
    pub fn series(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<Labels>, SourceError> {
        let matchers = matchers.to_vec();
        let wanted = Select { matchers, start_ms, end_ms, step_ms: i64::MAX, max_samples: u64::MAX };
        Ok(self.plan(&wanted, false)?.series.into_keys().collect())
    }

    /// Whether memory, and which blocks, have to do with a span of time.
    fn in_span(&self, start_ms: i64, end_ms: i64) -> (bool, Vec<Arc<Block>>) {
        let blocks = self.blocks();
        let in_head = end_ms >= fine_to_ms(&blocks);
        (in_head, blocks.iter().filter(|block| block.overlaps(start_ms, end_ms)).cloned().collect())
    }
}

/// What is before this is in blocks.
fn fine_to_ms(blocks: &[Arc<Block>]) -> i64 {
    let fine = blocks.iter().filter(|block| block.tier() == Tier::Fine);
    fine.map(|block| block.directory.end_ms).max().unwrap_or(i64::MIN)
}

fn failed(error: StoreError) -> SourceError {
    SourceError::Failed(error.to_string())
}

impl Source for Store {
    fn select(&self, wanted: &Select) -> Result<Selected, SourceError> {
        let mut plan = self.plan(wanted, true)?;
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); plan.series.len()];
        let mut read = 0u64;
        let mut add = |series: usize, found: &mut Vec<Sample>, start_ms: i64, end_ms: i64| {
            let from = found.partition_point(|sample| sample.at_ms < start_ms);
            let to = found.partition_point(|sample| sample.at_ms <= end_ms);
            read += (to - from) as u64;
            samples[series].extend(found.drain(from..to));
            read
        };
        let refusal = |read: u64| {
            let samples = plan.cost.likely.max(read);
            if read > wanted.max_samples {
                Err(SourceError::TooMuch { samples, limit: wanted.max_samples })
            } else {
                Ok(())
            }
        };
        for BlockPlan { block, start_ms, end_ms, wanted: chunks } in &mut plan.blocks {
            let mut total = 0;
            let found = |series: usize, samples: &mut Vec<Sample>| {
                total = add(series, samples, *start_ms, *end_ms);
                total <= wanted.max_samples
            };
            read_chunks(block, chunks, found, |error| plan.warnings.push(error.to_string()));
            refusal(total)?;
        }
        let mut decoded = Vec::new();
        for (series, chunks) in &plan.head {
            for chunk in chunks {
                decoded.clear();
                chunk
                    .decode(&mut decoded)
                    .map_err(|why| SourceError::Failed(format!("memory is damaged: {why}")))?;
                refusal(add(*series, &mut decoded, plan.head_start_ms, wanted.end_ms))?;
            }
        }
        let series = plan.series.into_iter();
        let series = series.map(|(labels, at)| Series { labels, samples: std::mem::take(&mut samples[at]) });
        let series = series.filter(|series| !series.samples.is_empty()).collect();
        Ok(Selected { series, warnings: plan.warnings })
    }
}
