//! An idempotency key is bound to one group at a time.

use dwcp_state::{ClaimRequest, Command, Envelope, Outcome, RegionFacts};
use dwcp_types::Code;

use super::world::World;

fn claim(
    world: &mut World,
    key: &str,
    digest: u64,
    after_attempt: u64,
    group: u64,
) -> Result<(u64, u64), Code> {
    let command = Command::Claim(ClaimRequest { key: key.into(), after_attempt, group });
    match world.send(1, Envelope { digest, command, ..Envelope::default() }) {
        Outcome::Accepted(receipt) => Ok(receipt.claim.expect("a claim answers who holds it")),
        Outcome::Refused(refusal) => Err(refusal.code),
    }
}

#[test]
fn the_first_claim_holds_and_a_later_one_is_told_so() {
    let mut world = World::new();
    assert_eq!(claim(&mut world, "key", 5, 0, 2), Ok((1, 2)));
    assert_eq!(claim(&mut world, "key", 5, 0, 3), Ok((1, 2)));
}

#[test]
fn after_a_refusal_the_next_attempt_may_go_elsewhere_once() {
    let mut world = World::new();
    assert_eq!(claim(&mut world, "key", 5, 0, 2), Ok((1, 2)));
    assert_eq!(claim(&mut world, "key", 5, 1, 3), Ok((2, 3)));
    assert_eq!(claim(&mut world, "key", 5, 1, 1), Ok((2, 3)), "a repeated message changes nothing");
}

#[test]
fn a_key_stands_for_one_request() {
    let mut world = World::new();
    assert_eq!(claim(&mut world, "key", 5, 0, 2), Ok((1, 2)));
    assert_eq!(claim(&mut world, "key", 6, 1, 3), Err(Code::IdempotencyMismatch));
}

#[test]
fn only_so_many_claims_are_kept_and_the_oldest_go_first() {
    let mut world = World::new();
    for number in 0..=RegionFacts::CLAIMS_KEPT {
        assert_eq!(claim(&mut world, &format!("key-{number}"), 5, 0, 2), Ok((1, 2)));
    }
    assert_eq!(world.facts(1).claims.len(), RegionFacts::CLAIMS_KEPT);
    assert!(!world.facts(1).claims.contains_key("key-0"));
    assert!(world.facts(1).claims.contains_key("key-1"));
}
