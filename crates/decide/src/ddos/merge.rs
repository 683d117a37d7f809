//! What several routers say, put together.
//!
//! Reports travel by gossip: late, twice, in any order. The newest of each router on each attack counts, so that everybody who
//! has heard the same comes to the same, in whatever order it was heard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Attack, Block, Status, Target, Traffic};

/// What a router says. Its size is bounded by who makes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouterReport {
    pub router: String,
    pub at_ms: u64,
    /// Those that go on, and those that ended lately.
    pub attacks: Vec<Attack>,
    /// Whom it blocks by itself.
    pub blocks: Vec<Block>,
    pub traffic: Traffic,
    /// What it did with whom, by name: such as `passed` and `denied`.
    pub counters: BTreeMap<String, u64>,
}

/// An attack as one router saw it last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sighting {
    pub at_ms: u64,
    pub attack: Attack,
}

/// A block as one router has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockSeen {
    pub at_ms: u64,
    pub block: Block,
}

/// All that is known of all routers' attacks and blocks. Merging is associative, commutative and idempotent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// By key of the attack, then by router.
    attacks: BTreeMap<String, BTreeMap<String, Sighting>>,
    /// By whom it is about, then by router.
    blocks: BTreeMap<Target, BTreeMap<String, BlockSeen>>,
}

/// Puts reports together.
pub fn merge(reports: impl IntoIterator<Item = RouterReport>) -> Merged {
    reports.into_iter().fold(Merged::default(), |mut all, report| {
        all.hear(report);
        all
    })
}

impl Merged {
    /// One more report.
    pub fn hear(&mut self, report: RouterReport) {
        let RouterReport { router, at_ms, attacks, blocks, .. } = report;
        for attack in attacks {
            let routers = self.attacks.entry(attack.key.clone()).or_default();
            newest(routers, router.clone(), Sighting { at_ms, attack });
        }
        for block in blocks {
            let routers = self.blocks.entry(block.what.clone()).or_default();
            newest(routers, router.clone(), BlockSeen { at_ms, block });
        }
    }

    /// What somebody else knows.
    pub fn join(&mut self, other: Merged) {
        for (key, routers) in other.attacks {
            let mine = self.attacks.entry(key).or_default();
            routers.into_iter().for_each(|(router, seen)| newest(mine, router, seen));
        }
        for (what, routers) in other.blocks {
            let mine = self.blocks.entry(what).or_default();
            routers.into_iter().for_each(|(router, seen)| newest(mine, router, seen));
        }
    }

    /// What is older is dropped.
    pub fn forget(&mut self, before_ms: u64) {
        for routers in self.attacks.values_mut() {
            routers.retain(|_, seen| seen.at_ms >= before_ms);
        }
        self.attacks.retain(|_, routers| !routers.is_empty());
        for routers in self.blocks.values_mut() {
            routers.retain(|_, seen| seen.block.until_ms >= before_ms);
        }
        self.blocks.retain(|_, routers| !routers.is_empty());
    }

    /// Every attack once: rates and sources of all routers added, the evidence of the router that has most of it. A source
    /// that several routers see counts at each.
    pub fn attacks(&self) -> Vec<Attack> {
        self.attacks.values().filter_map(|routers| together(routers.values())).collect()
    }

    /// Every block once: of several about the same the sternest, then the longest.
    pub fn blocks(&self, now_ms: u64) -> Vec<Block> {
        let live = |seen: &&BlockSeen| seen.block.until_ms > now_ms;
        let sternest = |routers: &BTreeMap<String, BlockSeen>| {
            let live = routers.values().filter(live);
            live.max_by_key(|seen| (seen.block.action, seen.block.until_ms, &seen.block)).cloned()
        };
        self.blocks.values().filter_map(sternest).map(|seen| seen.block).collect()
    }
}

/// Keeps what is newer; of the same time, what is greater: any rule does that all have in common.
fn newest<T: Ord>(routers: &mut BTreeMap<String, T>, router: String, seen: T) {
    match routers.get_mut(&router) {
        Some(mine) if *mine >= seen => {}
        Some(mine) => *mine = seen,
        None => drop(routers.insert(router, seen)),
    }
}

fn together<'a>(seen: impl Iterator<Item = &'a Sighting> + Clone) -> Option<Attack> {
    let attacks = seen.map(|seen| &seen.attack);
    let mut all = attacks.clone().max_by_key(|attack| (attack.peak_rate, *attack))?.clone();
    let active = attacks.clone().any(|attack| attack.status == Status::Active);
    all.status = if active { Status::Active } else { Status::Over };
    all.first_ms = attacks.clone().map(|attack| attack.first_ms).min()?;
    all.last_ms = attacks.clone().map(|attack| attack.last_ms).max()?;
    all.peak_rate = attacks.clone().fold(0, |sum, attack| sum.saturating_add(attack.peak_rate));
    all.sources = attacks.clone().fold(0, |sum, attack| sum.saturating_add(attack.sources));
    all.judgement = attacks.map(|attack| &attack.judgement).max()?.clone();
    Some(all)
}
