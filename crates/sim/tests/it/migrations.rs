//! A VM moves between regions while things break; `dwcp-sim migrations` runs every moment and every break.

use dwcp_sim::migrations::{Break, Moment, run};

#[test]
fn whatever_breaks_while_a_vm_is_given_away_it_goes_on_in_one_place() {
    for broke in [Break::SourceAgent, Break::Link, Break::SourceHost] {
        let outcome = run(0, Moment::Copied, broke).expect("it runs in one place");
        assert!(outcome.same_boot, "{outcome:?}");
    }
}

#[test]
fn a_guest_that_nothing_befell_goes_on_with_its_memory_wherever_it_moves() {
    let outcome = run(7, Moment::Asked, Break::Nothing).expect("it moves");
    assert!(outcome.same_boot && outcome.on.ends_with("eu-west-1"), "{outcome:?}");
}
