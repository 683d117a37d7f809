//! What routers say comes together the same, in whatever order it is heard.

use dwcp_decide::ddos::{
    Action, Attack, AttackKind, Block, Evidence, Judgement, Merged, RouterReport, Status, Target, Typical,
    Verdict, attack_name, merge,
};
use proptest::prelude::*;

fn attack(key: u8, rate: u64, at_ms: u64, over: bool) -> Attack {
    Attack {
        id: String::new(),
        key: format!("http_flood:web:{key}"),
        kind: AttackKind::HttpFlood,
        target: Target::Asn(key.into()),
        service: "web".to_owned(),
        peak_rate: rate,
        first_ms: at_ms / 2,
        last_ms: at_ms,
        sources: rate / 10,
        status: if over { Status::Over } else { Status::Active },
        evidence: Evidence { rate, ..Evidence::default() },
        typical: Typical::default(),
        judgement: Judgement {
            verdict: if rate > 50 { Verdict::Real } else { Verdict::Unclear },
            reasons: vec![],
        },
    }
}

fn block(what: u8, until_ms: u64) -> Block {
    Block {
        id: format!("auto-{what}"),
        what: Target::Asn(what.into()),
        action: if until_ms.is_multiple_of(2) { Action::Blacklist } else { Action::RateLimit },
        by: "router".to_owned(),
        reason: String::new(),
        at_ms: 0,
        until_ms,
        attack: None,
        limit: None,
    }
}

fn report() -> impl Strategy<Value = RouterReport> {
    let attacks = proptest::collection::vec((0_u8..4, 0_u64..100, any::<bool>()), 0..4);
    let blocks = proptest::collection::vec((0_u8..4, 0_u64..40), 0..4);
    (0_u8..3, 0_u64..20, attacks, blocks).prop_map(|(router, at_ms, attacks, blocks)| RouterReport {
        router: format!("r{router}"),
        at_ms,
        attacks: attacks.into_iter().map(|(key, rate, over)| attack(key, rate, at_ms, over)).collect(),
        blocks: blocks.into_iter().map(|(what, until)| block(what, until)).collect(),
        ..RouterReport::default()
    })
}

fn reports() -> impl Strategy<Value = Vec<RouterReport>> {
    proptest::collection::vec(report(), 0..8)
}

fn joined(mut one: Merged, other: &Merged) -> Merged {
    one.join(other.clone());
    one
}

proptest! {
    #[test]
    fn joining_is_commutative_associative_and_idempotent(a in reports(), b in reports(), c in reports()) {
        let (one, two, three) = (merge(a.clone()), merge(b.clone()), merge(c));
        prop_assert_eq!(joined(one.clone(), &two), joined(two.clone(), &one));
        prop_assert_eq!(
            joined(joined(one.clone(), &two), &three),
            joined(one.clone(), &joined(two.clone(), &three))
        );
        prop_assert_eq!(joined(one.clone(), &one), one.clone());
        let in_turn: Vec<RouterReport> = b.into_iter().rev().chain(a).collect();
        prop_assert_eq!(merge(in_turn), joined(one, &two));
    }
}

#[test]
fn the_newest_of_each_router_counts_and_routers_are_added() {
    let say = |router: &str, at_ms, rate| RouterReport {
        router: router.to_owned(),
        at_ms,
        attacks: vec![attack(1, rate, at_ms, false)],
        ..RouterReport::default()
    };
    let mut all = merge([say("a", 10, 900), say("b", 12, 30), say("a", 11, 40), say("a", 9, 9_000)]);
    let attacks = all.attacks();
    assert_eq!((attacks.len(), attacks[0].peak_rate, attacks[0].sources), (1, 70, 7));
    assert_eq!((attacks[0].first_ms, attacks[0].last_ms), (5, 12));
    all.forget(12);
    assert_eq!(all.attacks()[0].peak_rate, 30);
    all.forget(100);
    assert_eq!(all.attacks(), []);
}

#[test]
fn of_blocks_about_the_same_the_sternest_that_still_lasts_counts() {
    let say = |router: &str, until| RouterReport {
        router: router.to_owned(),
        at_ms: 1,
        blocks: vec![block(1, until)],
        ..RouterReport::default()
    };
    let all = merge([say("a", 100), say("b", 201)]);
    assert_eq!(all.blocks(50)[0].action, Action::Blacklist);
    assert_eq!(all.blocks(150)[0].action, Action::RateLimit);
    assert_eq!(all.blocks(201), []);
}

#[test]
fn an_attack_has_three_digits_at_least() {
    assert_eq!((attack_name(1), attack_name(1_234)), ("attack-001".to_owned(), "attack-1234".to_owned()));
}
