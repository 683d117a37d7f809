//! Rules broken on purpose are found: the checkers are not blind.

use dwcp_sim::migrations::{Break, Case, Moment, run_with};
use dwcp_sim::options::{Mutation, Options};
use dwcp_sim::run;
use dwcp_sim::world::World;
use dwcp_types::TokenId;

/// How many seeds may pass before a broken rule is found.
const WITHIN: u64 = 200;

/// Runs seeds until one shows the broken rule; the violation must be the rule's own, and not that nothing works any more.
/// It is looked for from the seed on that showed it last.
fn caught(mutation: Mutation, from: u64, says: &[&str]) {
    let found =
        (from..from + WITHIN).find_map(|seed| run::swarm(Options::swarm(seed, Some(mutation))).violation);
    let violation = found.expect("a seed shows it");
    assert!(says.iter().any(|says| violation.contains(says)), "{violation}");
}

#[test]
fn taking_vms_over_without_waiting_for_leases_is_caught() {
    // A host starts it while the one before it runs it, or lets it go on that has been taken over.
    caught(Mutation::SkipLeaseWait, 6, &["runs twice", "let go on generation"]);
}

#[test]
fn acknowledging_before_it_is_durable_is_caught() {
    caught(Mutation::AckBeforeFsync, 0, &["acknowledges in group"]);
}

#[test]
fn acting_on_old_generations_is_caught() {
    caught(Mutation::IgnoreGeneration, 333, &["launched generation"]);
}

#[test]
fn letting_a_vm_go_on_that_its_host_has_not_released_is_caught() {
    let options = Options { mutation: Some(Mutation::GoOnUnasked), ..Options::quiet(0) };
    let case = Case { moment: Moment::Copied, broke: Break::SourceAgent, protected: false };
    let violation = run_with(options, case).expect_err("both run it");
    assert!(violation.contains("let go on generation 1"), "{violation}");
}

#[test]
fn a_revocation_that_a_node_never_hears_of_is_caught() {
    let mut world = World::new(Options { revocations: true, ..Options::quiet(1) });
    world.run_until(10_000_000).expect("nothing is wrong yet");
    let token = TokenId::from("token-bootstrap");
    world.checkers.revoked.revoked.insert(token, world.now_us);
    assert_eq!(world.run_until(14_000_000), Ok(()), "within the bound it may be taken");
    let violation = world.run_until(20_000_000).expect_err("nobody revoked it");
    assert!(violation.contains("takes token-bootstrap"), "{violation}");
}
