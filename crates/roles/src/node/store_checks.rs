//! Reads of a region's store back from its disk: one at a time, whoever asked.

use std::collections::BTreeMap;

use dwcp_types::{GroupId, NodeId, wire_struct};

use super::{Class, Effect, MeshMessage, Node};

/// What came of reading a store back, past every cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreCheck {
    /// What is not as it was written, a line each, with the group whose replica it is of; none: the whole file.
    pub flaws: Vec<(Option<GroupId>, String)>,
    /// Why it could not be read; empty: it was.
    pub unread: String,
    /// Records read and compared with their checksums.
    pub records: u64,
    /// Bytes read from the disk.
    pub bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// How long it took, ms.
    pub took_ms: u64,
    /// How long it held the writer up by itself, µs.
    pub held_us: u64,
    /// The longest commit while it went on, µs; 0: none was made.
    pub longest_commit_us: u64,
}
wire_struct!(StoreCheck {
    1 flaws, 2 records, 3 bytes, 4 file_bytes, 5 took_ms, 6 held_us, 7 longest_commit_us, 8 unread
});

impl StoreCheck {
    /// True when it was read, and everything is there as it was written.
    pub fn is_whole(&self) -> bool {
        self.flaws.is_empty() && self.unread.is_empty()
    }
}

/// Answers that are kept for who asks again.
const KEPT: usize = 16;

/// The reads that were asked for.
#[derive(Default)]
pub(super) struct StoreChecks {
    /// Who asked under which number, and waits for a read that has not begun.
    waiting: Vec<(NodeId, u64)>,
    /// Who waits for the one that goes on: a read begins after it was asked for.
    running: Option<Vec<(NodeId, u64)>>,
    begun: u64,
    done: BTreeMap<(NodeId, u64), (u64, StoreCheck)>,
}

impl Node {
    /// The answer, when it is there; otherwise it is read, and told when it has been.
    pub(super) fn store_asked(&mut self, from: NodeId, number: u64) -> Option<StoreCheck> {
        let asked = (from, number);
        let checks = &mut self.verifies.checks;
        if let Some((_, check)) = checks.done.get(&asked) {
            return Some(check.clone());
        }
        let running = checks.running.as_ref().is_some_and(|running| running.contains(&asked));
        if !running && !checks.waiting.contains(&asked) {
            checks.waiting.push(asked);
        }
        self.begin_store_check();
        None
    }

    fn begin_store_check(&mut self) {
        let checks = &mut self.verifies.checks;
        if checks.running.is_none() && !checks.waiting.is_empty() {
            checks.running = Some(std::mem::take(&mut checks.waiting));
            checks.begun += 1;
            self.out.push(Effect::CheckStore);
        }
    }

    pub(super) fn store_checked(&mut self, check: StoreCheck) {
        let checks = &mut self.verifies.checks;
        let begun = checks.begun;
        let waited = checks.running.take().unwrap_or_default();
        for asked in &waited {
            checks.done.insert(*asked, (begun, check.clone()));
        }
        while checks.done.len() > KEPT {
            let oldest = checks.done.iter().min_by_key(|(_, (begun, _))| *begun).map(|(asked, _)| *asked);
            oldest.and_then(|asked| checks.done.remove(&asked));
        }
        for (node, number) in waited {
            if node == self.config.me {
                self.store_told(node, number, check.clone());
            } else {
                self.send(node, Class::Operations, &MeshMessage::StoreTell((number, check.clone())));
            }
        }
        self.begin_store_check();
    }
}
