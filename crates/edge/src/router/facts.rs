//! From what the node tells to the table in force.

use dwcp_decide::{Serial, route};
use dwcp_roles::protocol::{ReplicaSaid, ReplicaTold};
use dwcp_roles::replica::Replica;
use dwcp_state::Federation;
use dwcp_types::{Mono, RegionId};
use std::sync::Arc;

/// What a change of the facts waits for others, ms: a burst of them makes one table.
const SETTLE_MS: u64 = 20;
/// A table is not made later than this after a change, ms, unless making one takes longer.
const LATEST_MS: u64 = 100;

/// The facts as a router knows them, of one connection to a node.
pub struct Facts {
    here: RegionId,
    replica: Replica,
    /// The node has told everything.
    whole: bool,
    /// Since when something has changed that is in no table yet, and when it last did.
    changed: Option<(Mono, Mono)>,
    /// How long the last table took to make, ms.
    took_ms: u64,
}

impl Facts {
    /// Nothing yet.
    pub fn new(here: RegionId) -> Facts {
        Facts { here, replica: Replica::new(Arc::new(Serial)), whole: false, changed: None, took_ms: 0 }
    }

    /// What a router says first of all.
    pub fn hello() -> ReplicaSaid {
        Replica::hello(std::process::id())
    }

    /// Takes what the node tells.
    ///
    /// # Errors
    /// It can't be read: another version wrote it. These facts are to be dropped, and asked for anew.
    pub fn take(&mut self, now: Mono, told: ReplicaTold) -> Result<(), String> {
        match &told {
            // The first of these comes when all facts have come.
            ReplicaTold::Routers(_) => {
                if !self.whole {
                    (self.whole, self.changed) = (true, Some((now, now)));
                }
            }
            ReplicaTold::AskRouter(_) => {}
            _ => {
                let since = self.changed.map_or(now, |(since, _)| since);
                self.changed = Some((since, now));
            }
        }
        self.replica.take(now, told).map(drop).map_err(|e| format!("what the node says can't be read: {e}"))
    }

    /// The facts themselves.
    pub fn facts(&self) -> &Federation {
        self.replica.facts()
    }

    /// How many frames were taken.
    pub fn taken(&self) -> u64 {
        self.replica.taken()
    }

    /// When the next table is to be made; none: nothing has changed, or the facts are not whole yet.
    pub fn due(&self) -> Option<Mono> {
        let (since, last) = self.changed.filter(|_| self.whole)?;
        let settle_ms = SETTLE_MS.max(5 * self.took_ms);
        Some(last.plus_ms(settle_ms).min(since.plus_ms(LATEST_MS.max(settle_ms))))
    }

    /// Makes a table of the facts, with what is wrong with them.
    pub fn table(&mut self, wall_ms: u64) -> route::Built {
        self.changed = None;
        route::build(self.replica.facts(), self.replica.measured(), &self.here, wall_ms)
    }

    /// Making the last table took so long.
    pub fn took(&mut self, ms: u64) {
        self.took_ms = ms;
    }
}
