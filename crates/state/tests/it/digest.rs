//! The digest tree stands for every byte of the facts, and leads down to the records that differ.

use std::collections::BTreeSet;

use dwcp_state::{Federation, Tree};
use dwcp_types::{GroupId, VmId};

use super::samples;

fn federation() -> Federation {
    let mut view = Federation::default();
    view.open_group(1, &"a".into());
    view.core = samples::core();
    view.core.drills.insert(dwcp_types::DrillId(2), samples::drill());
    view.core.windows.insert(dwcp_types::WindowId(3), samples::window());
    let mut facts = samples::region_facts();
    facts.migrations.insert(VmId(1), samples::migration());
    facts.migrated.push_back(samples::migration());
    facts.arrivals.insert(samples::arrival().vm.id, samples::arrival());
    facts.replicas.insert(VmId(1), samples::replica());
    view.regions.insert("a".into(), facts);
    view
}

/// The records that differ, found as two replicas find them: only children of what differs are looked at.
fn differing(one: &Tree, other: &Tree) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let of = |tree: &Tree| tree.children(&path).unwrap_or_default();
        let (ours, theirs) = (of(one), of(other));
        let names: BTreeSet<&String> = ours.iter().chain(&theirs).map(|(name, _)| name).collect();
        for name in names {
            let digest =
                |all: &[(String, _)]| all.iter().find(|(of, _)| of == name).map(|(_, digest)| *digest);
            if digest(&ours) == digest(&theirs) {
                continue;
            }
            let deeper = [path.clone(), vec![name.clone()]].concat();
            if deeper.len() == Tree::DEPTH {
                found.insert(format!("{} {name}", path[0]));
            } else {
                open.push(deeper);
            }
        }
    }
    found
}

#[test]
fn a_changed_record_is_found_by_name_and_nothing_else_is() {
    let one = federation();
    let mut other = one.clone();
    other.regions.get_mut(&"a".into()).expect("the region").vms.values_mut().for_each(|vm| {
        vm.spec.size.memory_mib ^= 1;
    });
    let name = format!("vms {}", samples::vm().id);
    assert_eq!(differing(&one.digest_tree(1), &other.digest_tree(1)), BTreeSet::from([name]));
    assert_eq!(one.digest_tree(0), other.digest_tree(0));

    let mut other = one.clone();
    other.core.tokens.clear();
    let found = differing(&one.digest_tree(0), &other.digest_tree(0));
    assert_eq!(found, BTreeSet::from(["tokens token-1".to_string()]), "a record that is missing");
    assert_ne!(one.digest_tree(0).root(), other.digest_tree(0).root());
    assert_eq!(one.digest_tree(0).records(), other.digest_tree(0).records() + 1);

    let mut other = one.clone();
    other.core.ledger.order.push_front("never".into());
    let found = differing(&one.digest_tree(0), &other.digest_tree(0));
    assert_eq!(found, BTreeSet::from(["requests in order all".to_string()]), "order counts");
}

/// Every bit of every byte: either the facts that it gives have the same bytes again, or another root, and records to show.
#[test]
fn roots_are_equal_exactly_when_the_facts_have_the_same_bytes() {
    let view = federation();
    let mut changed = 0;
    for group in [0, 1] as [GroupId; 2] {
        let bytes = view.snapshot(group);
        let tree = view.digest_tree(group);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut rotten = bytes.clone();
                rotten[at] ^= 1 << bit;
                let mut other = view.clone();
                if other.restore(group, &rotten).is_err() {
                    continue;
                }
                let same = other.snapshot(group) == bytes;
                let found = other.digest_tree(group);
                assert_eq!(found.root() == tree.root(), same, "group {group}, byte {at}, bit {bit}");
                assert_eq!(differing(&tree, &found).is_empty(), same, "group {group}, byte {at}, bit {bit}");
                changed += usize::from(!same);
            }
        }
    }
    assert!(changed > 2_000, "{changed} changes were looked at");
}

#[test]
fn records_spread_evenly_over_the_buckets_whatever_their_ids_look_like() {
    let ids: [fn(u64) -> String; 3] = [
        |n| format!("r{n}"),
        |n| VmId(n.wrapping_mul(0x2545_f491_4f6c_dd1d)).to_string(),
        |n| format!("ops/key-of-a-request/{n:08}"),
    ];
    for id in ids {
        let mut view = federation();
        view.core.tokens = (0..6_400).map(|n| (id(n).as_str().into(), samples::token())).collect();
        let tree = view.digest_tree(0);
        let buckets = tree.children(&["tokens".to_string()]).expect("tokens");
        assert_eq!(buckets.len(), 64, "{}", id(1));
        for (bucket, _) in buckets {
            let held = tree.children(&["tokens".to_string(), bucket.clone()]).expect("a bucket").len();
            assert!((40..200).contains(&held), "{}: bucket {bucket} holds {held} of 6400", id(1));
        }
    }
}

#[test]
fn a_path_that_leads_nowhere_has_no_children() {
    let tree = federation().digest_tree(0);
    let path = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    for words in [&["nothing"][..], &["tokens", "99"], &["tokens", "1", "token-1", "x"]] {
        assert_eq!(tree.children(&path(words)), None, "{words:?}");
    }
}
