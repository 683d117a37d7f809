//! What a decision has before it of one region, gathered in one walk over all of them.

use std::iter::Peekable;

use dwcp_state::RegionFacts;
use dwcp_types::{Amount, RegionId};

use crate::Measured;
use crate::index::RegionTable;
use crate::place::{Ask, Inputs};

/// One region as a decision sees it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen<'a> {
    pub facts: Option<&'a RegionFacts>,
    pub table: Option<&'a RegionTable>,
    /// To where users are, or the mean to the other regions.
    pub rtt_ms: Option<u64>,
    pub health: Option<u8>,
    /// Reserved there.
    pub taken: Amount,
}

/// Walks a sorted map beside another one: a look-up costs a step instead of a search.
struct Beside<I: Iterator>(Peekable<I>);

impl<'a, V, I: Iterator<Item = (&'a RegionId, V)>> Beside<I> {
    fn new(iter: impl IntoIterator<IntoIter = I>) -> Beside<I> {
        Beside(iter.into_iter().peekable())
    }

    fn at(&mut self, region: &RegionId) -> Option<V> {
        while self.0.next_if(|(key, _)| *key < region).is_some() {}
        self.0.next_if(|(key, _)| *key == region).map(|(_, value)| value)
    }
}

/// Every region, in order, as `ask` sees it.
pub(crate) fn all<'a>(inputs: Inputs<'a>, ask: &Ask<'a>) -> Vec<Seen<'a>> {
    let Inputs { view, index, measured, reserved, .. } = inputs;
    let mut facts = Beside::new(&view.regions);
    let mut tables = Beside::new(index.tables());
    let mut health = Beside::new(&measured.health);
    let mut means = Beside::new(index.means());
    let mut near = ask.users_in.map(|users| Beside::new(measured.from(users)));
    let look = |region: &'a RegionId| Seen {
        facts: facts.at(region),
        table: tables.at(region),
        rtt_ms: match (&mut near, ask.users_in) {
            (Some(near), Some(users)) => near.at(region).or_else(|| measured.rtt(users, region)),
            _ => means.at(region).copied(),
        },
        health: health.at(region).copied().flatten(),
        taken: reserved.sum_in(region),
    };
    view.core.regions.keys().map(look).collect()
}

impl Measured {
    /// Round trips that were measured from a region, by region.
    fn from<'a>(&'a self, from: &RegionId) -> impl Iterator<Item = (&'a RegionId, u64)> {
        let from = from.clone();
        let start = (from.clone(), RegionId::default());
        let own = self.rtt_ms.range(start..).take_while(move |((key, _), _)| *key == from);
        own.map(|((_, to), ms)| (to, *ms))
    }
}
