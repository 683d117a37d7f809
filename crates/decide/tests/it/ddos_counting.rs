//! Counting in bounded memory, and policies.

use std::collections::BTreeMap;

use dwcp_decide::ddos::sketch::{Counts, Distinct, Heavy, hash};
use dwcp_decide::ddos::{Action, GuardPolicy, Target, Whitelisted};
use dwcp_types::Rng;
use proptest::prelude::*;

#[test]
fn a_count_is_never_too_low_and_hardly_too_high() {
    let mut counts = Counts::<2>::new(1_024);
    let mut real: BTreeMap<u64, u32> = BTreeMap::new();
    let mut rng = Rng::new(1);
    for _ in 0..50_000 {
        let key = rng.below(5_000) * rng.below(2) + rng.below(10);
        counts.add(hash(7, key.into()), 1, 1);
        *real.entry(key).or_default() += 1;
    }
    let excess = |(key, count): (&u64, &u32)| {
        let told = counts.of(hash(7, (*key).into()));
        assert!(told[1] >= *count, "{key}: {told:?} < {count}");
        assert_eq!(told[0], 0);
        told[1] - count
    };
    let worst = real.iter().map(excess).max().unwrap();
    assert!(worst <= 50_000 / 1_024, "{worst} too many");
    counts.clear();
    assert_eq!(counts.of(hash(7, 3)), [0, 0]);
}

#[test]
fn a_count_that_is_full_stays_full() {
    let mut counts = Counts::<1>::new(16);
    assert_eq!(counts.add(1, 0, u32::MAX - 1), u32::MAX - 1);
    assert_eq!(counts.add(1, 0, 5), u32::MAX);
    assert_eq!(counts.add(1, 9, 5), 0);
}

#[test]
fn distinct_ones_are_estimated_within_their_error() {
    for (real, percent) in [(1_u64, 1), (10, 5), (1_000, 6), (100_000, 10), (3_000_000, 10)] {
        let mut distinct = Distinct::<1024>::default();
        for key in 0..real {
            distinct.add(hash(3, key.into()));
            distinct.add(hash(3, key.into()));
        }
        let told = distinct.estimate();
        assert!(told.abs_diff(real) * 100 <= real * percent, "{told} for {real}");
    }
}

#[test]
fn joined_distinct_ones_count_once() {
    let (mut one, mut other) = (Distinct::<1024>::default(), Distinct::<1024>::default());
    (0..2_000_u128).for_each(|key| one.add(hash(3, key)));
    (1_000..3_000_u128).for_each(|key| other.add(hash(3, key)));
    one.join(&other);
    assert!(one.estimate().abs_diff(3_000) < 300, "{}", one.estimate());
}

proptest! {
    #[test]
    fn who_is_more_than_a_part_of_all_is_among_the_heaviest(
        keys in proptest::collection::vec((0_u64..200, 1_u64..20), 1..2_000),
        capacity in 1_usize..40,
    ) {
        let mut heavy: Heavy<u64, u64> = Heavy::new(capacity);
        let mut real: BTreeMap<u64, u64> = BTreeMap::new();
        for (key, amount) in &keys {
            *heavy.add(*key, hash(5, (*key).into()), *amount) += amount;
            *real.entry(*key).or_default() += amount;
        }
        let all: u64 = real.values().sum();
        let top = heavy.top(capacity);
        prop_assert!(top.len() <= capacity);
        for (key, count) in &real {
            match top.iter().find(|one| one.key == *key) {
                Some(one) => {
                    prop_assert!(one.least <= *count && *count <= one.count);
                    prop_assert!(*one.kept <= *count && *one.kept >= one.least);
                    prop_assert_eq!(heavy.get(*key, hash(5, (*key).into())), Some(one.kept));
                }
                None => prop_assert!(*count <= all / capacity as u64),
            }
        }
        prop_assert!(top.windows(2).all(|two| two[0].count >= two[1].count));
    }
}

#[test]
fn the_usual_policy_is_right_and_reads_back() {
    let policy = GuardPolicy::default();
    assert_eq!(policy.check(), Vec::<String>::new());
    assert_eq!((policy.threshold_requests, policy.block_ms), (1_000, 600_000));
    let text = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<GuardPolicy>(&text).unwrap(), policy);
    let typed: GuardPolicy =
        serde_json::from_str(r#"{"threshold_requests":2000,"actions":["challenge_response"]}"#).unwrap();
    assert_eq!(typed.threshold_requests, 2_000);
    assert!(typed.actions.contains(&Action::ChallengeResponse) && typed.actions.len() == 1);
}

#[test]
fn a_wrong_policy_is_told_all_that_is_wrong() {
    let everybody = Target::Service("web".to_owned());
    let policy = GuardPolicy {
        threshold_requests: 0,
        error_percent: 101,
        challenge_bits: 60,
        whitelist: vec![Whitelisted {
            what: everybody,
            owner: "ops".to_owned(),
            reason: String::new(),
            until_ms: None,
        }],
        ..GuardPolicy::default()
    };
    let wrong = policy.check();
    assert_eq!(wrong.len(), 4, "{wrong:?}");
    assert!(wrong[0].contains("threshold_requests is 0"), "{wrong:?}");
}
