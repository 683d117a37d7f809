//! The records of a group that begins from a state that is not empty: every replica finds the same, as if each had just
//! installed the same snapshot.

use crate::records::{self, Hard, StoredSnapshot};
use crate::{Batch, GroupId, NodeId};
use raft::eraftpb::ConfState;

/// Where a restored group begins, on every one of its replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who learns.
    pub learners: Vec<NodeId>,
    /// Its log goes on behind this index.
    pub index: u64,
    /// Its terms go on above this one: no vote was ever given in it, and none will be.
    pub term: u64,
    /// The content of the state machine.
    pub data: Vec<u8>,
}

/// The count of openings that a restored group is written with. No other reaches it: they count from 0, or from this and a time in
/// µs, which is never 0 or 1 where a disk can be lost.
const NEVER_OPENED: u64 = 1 << 62;

/// Whether this is the first opening of a restored group: since it was restored this replica has heard no leader and given no
/// vote.
pub(crate) fn opened_first(boot: u64) -> bool {
    boot == NEVER_OPENED + 1
}

/// What a disk without records of the group must hold so that [`crate::MultiRaft::open`] begins there.
pub fn restored(group: GroupId, beginning: Beginning) -> Batch {
    let Beginning { voters, learners, index, term, data } = beginning;
    let mut members = ConfState::default();
    members.voters = voters;
    members.learners = learners;
    let snapshot =
        StoredSnapshot { index, term, members, before_index: index, before_term: term, data: Some(data) };
    let mut hard = Hard { boot: NEVER_OPENED, term, commit: index, snapshot: index, ..Hard::default() };
    (hard.last_index, hard.last_term) = (index, term);
    let mut puts: Vec<(Vec<u8>, Vec<u8>)> =
        records::hard_keys(group).map(|key| (key.clone(), records::encode_hard(&key, &hard))).into();
    let key = records::snapshot_key(group);
    puts.push((key.clone(), records::encode_snapshot(&key, &snapshot)));
    Batch { puts, ..Batch::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, GroupSetup, MultiRaft, examine};

    struct Records(std::collections::BTreeMap<Vec<u8>, Vec<u8>>);

    impl crate::Disk for Records {
        fn range(&self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + '_> {
            let range = self.0.range(from.to_vec()..to.to_vec());
            Box::new(range.map(|(key, value)| (key.clone(), value.clone())))
        }
    }

    #[test]
    fn a_restored_group_opens_whole_with_its_content_its_members_and_its_term() {
        let beginning = Beginning {
            voters: vec![1, 2, 3],
            learners: vec![4],
            index: 1_000_000,
            term: 2_000_000,
            data: b"facts".to_vec(),
        };
        let disk = Records(restored(7, beginning).puts.into_iter().collect());
        assert_eq!(examine(7, &disk).flaws, Vec::<String>::new());
        let mut raft = MultiRaft::new(Config::new(2, 9));
        // The setup speaks of a founding that is not this one's.
        let setup = GroupSetup { group: 7, voters: vec![2], ..GroupSetup::default() };
        let opened = raft.open(5, setup, &disk).expect("it is whole");
        assert!(!opened.damaged);
        let snapshot = opened.snapshot.expect("it has content");
        assert_eq!(
            (snapshot.index, snapshot.term, &snapshot.data[..]),
            (1_000_000, 2_000_000, &b"facts"[..])
        );
        let status = raft.status(7).expect("it is open");
        assert_eq!((status.voters, status.learners, status.term), (vec![1, 2, 3], vec![4], 2_000_000));
    }
}
