//! Rules broken on purpose are found: the checkers are not blind.

use dwcp_sim::options::{Mutation, Options};
use dwcp_sim::run;

/// The first seed whose run shows the broken rule.
fn first_caught(mutation: Mutation) -> Option<u64> {
    (0..200).find(|seed| run::swarm(Options::swarm(*seed, Some(mutation))).violation.is_some())
}

#[test]
fn taking_vms_over_without_waiting_for_leases_is_caught() {
    assert!(first_caught(Mutation::SkipLeaseWait).is_some());
}

#[test]
fn acknowledging_before_it_is_durable_is_caught() {
    assert!(first_caught(Mutation::AckBeforeFsync).is_some());
}

#[test]
fn acting_on_old_generations_is_caught() {
    assert!(first_caught(Mutation::IgnoreGeneration).is_some());
}
