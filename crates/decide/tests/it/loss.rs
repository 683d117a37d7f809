//! When regions count as lost, and when they are taken back.

use dwcp_decide::{LossView, regions_to_declare_lost, regions_to_return};
use dwcp_state::{Core, Failover, FailoverState, Freeze, Standing, Trigger};
use dwcp_types::{Code, FailoverId, RegionId, Wall};

use super::world::{World, region};

const ALL: [&str; 5] = ["a", "b", "c", "d", "e"];

fn core() -> Core {
    World::new(&ALL, 0).view.core
}

/// Everybody hears everybody, except that `silent` is not heard by `observers`.
fn view(silent: &[&str], observers: &[&str]) -> LossView {
    let mut view = LossView {
        proposer: region("e"),
        voters: ALL.map(region).to_vec(),
        now: Wall(10_000_000),
        ..LossView::default()
    };
    for observer in ALL {
        for subject in ALL.into_iter().filter(|subject| *subject != observer) {
            let gone = silent.contains(&subject) && observers.contains(&observer);
            let (silent_ms, heard_ms) = if gone { (3_000, 0) } else { (100, 60_000) };
            view.hearing.entry(region(observer)).or_default().insert(region(subject), silent_ms);
            view.heard_for.entry(region(observer)).or_default().insert(region(subject), heard_ms);
        }
    }
    view
}

fn lost(core: &Core, view: &LossView) -> Vec<RegionId> {
    let verdicts = regions_to_declare_lost(core, view);
    verdicts.into_iter().filter(|verdict| verdict.refusal.is_none()).map(|verdict| verdict.region).collect()
}

#[test]
fn a_region_that_a_majority_cant_hear_is_lost() {
    let verdicts = regions_to_declare_lost(&core(), &view(&["a"], &["b", "c", "d"]));
    assert_eq!(verdicts.len(), 1);
    assert_eq!(verdicts[0].region, region("a"));
    assert_eq!(verdicts[0].witnesses, ["b", "c", "d"].map(region));
    assert_eq!((verdicts[0].silent_ms, verdicts[0].refusal.is_none()), (3_000, true));
}

#[test]
fn two_witnesses_of_five_are_not_enough() {
    assert!(lost(&core(), &view(&["a"], &["b", "c"])).is_empty());
}

#[test]
fn a_silence_shorter_than_the_policys_is_none() {
    let mut core = core();
    core.policy.loss_after_ms = 3_001;
    assert!(lost(&core, &view(&["a"], &["b", "c", "d", "e"])).is_empty());
}

#[test]
fn what_was_not_reported_is_not_silence() {
    let mut view = view(&["a"], &["b", "c", "d"]);
    view.hearing.remove(&region("d"));
    assert!(lost(&core(), &view).is_empty());
}

#[test]
fn an_observer_that_is_cut_off_is_no_witness() {
    let mut view = view(&["a"], &["b", "c", "d"]);
    for subject in ["b", "c", "e"] {
        view.hearing.entry(region("d")).or_default().insert(region(subject), 9_000);
    }
    assert!(lost(&core(), &view).is_empty());
}

#[test]
fn a_minority_that_hears_nobody_declares_nobody_lost() {
    let view = view(&["c", "d", "e"], &["a", "b"]);
    assert!(lost(&core(), &view).is_empty());
}

#[test]
fn a_region_whose_hosts_are_heard_is_not_lost() {
    let mut view = view(&["a"], &["b", "c", "d", "e"]);
    view.hosts_heard.insert(region("a"), 1);
    assert!(lost(&core(), &view).is_empty());
}

#[test]
fn two_regions_can_be_lost_at_once() {
    assert_eq!(lost(&core(), &view(&["a", "b"], &["c", "d", "e"])), ["a", "b"].map(region));
}

#[test]
fn without_automatic_failover_nothing_is_declared() {
    let mut core = core();
    core.policy.auto_failover = false;
    assert!(regions_to_declare_lost(&core, &view(&["a"], &["b", "c", "d"])).is_empty());
}

#[test]
fn the_freeze_switch_and_the_hourly_cap_refuse() {
    let seen = view(&["a", "b"], &["c", "d", "e"]);
    let mut frozen = core();
    frozen.freeze = Freeze::NoMoves;
    let codes = |core: &Core| -> Vec<Option<Code>> {
        let verdicts = regions_to_declare_lost(core, &seen);
        verdicts.into_iter().map(|verdict| verdict.refusal.map(|refusal| refusal.code)).collect()
    };
    assert_eq!(codes(&frozen), vec![Some(Code::Frozen), Some(Code::Frozen)]);
    let mut capped = core();
    capped.policy.failovers_per_hour = 1;
    assert_eq!(codes(&capped), vec![None, Some(Code::HourlyCap)]);
    let before = Failover {
        trigger: Trigger::Automatic,
        first_missed_at: Wall(9_000_000),
        state: FailoverState::Done,
        ..Failover::default()
    };
    capped.failovers.insert(FailoverId(1), before);
    assert_eq!(codes(&capped), vec![Some(Code::HourlyCap), Some(Code::HourlyCap)]);
}

#[test]
fn a_region_that_is_lost_already_is_not_lost_again() {
    let mut core = core();
    let seen = view(&["a"], &["b", "c", "d", "e"]);
    core.regions.entry(region("a")).and_modify(|a| a.standing = Standing::Lost);
    assert!(lost(&core, &seen).is_empty());
    core.regions.entry(region("a")).and_modify(|a| a.standing = Standing::Returned);
    assert!(lost(&core, &seen).is_empty(), "nothing lives there");
    let populated = LossView { populated: [region("a")].into(), ..seen };
    assert_eq!(lost(&core, &populated), [region("a")]);
}

#[test]
fn who_was_heard_only_since_a_moment_ago_attests_no_silence() {
    let core = core();
    let mut seen = view(&["a"], &["c", "d", "e"]);
    assert_eq!(lost(&core, &seen), [region("a")]);
    let heard = |view: &mut LossView, ms: u64| {
        view.heard_for.entry(region("e")).or_default().insert(region("d"), ms);
    };
    heard(&mut seen, 200);
    assert!(lost(&core, &seen).is_empty(), "d's word may be from before it was reached again");
    heard(&mut seen, core.policy.loss_after_ms);
    assert_eq!(lost(&core, &seen), [region("a")]);
}

fn returned(core: &Core, view: &LossView) -> Vec<RegionId> {
    regions_to_return(core, view).into_iter().map(|verdict| verdict.region).collect()
}

#[test]
fn a_lost_region_returns_when_a_majority_has_heard_it_for_long_enough() {
    let mut core = core();
    core.regions.entry(region("a")).and_modify(|a| (a.standing, a.epoch) = (Standing::Lost, 3));
    assert_eq!(returned(&core, &view(&["a"], &["b"])), [region("a")]);
    assert_eq!(regions_to_return(&core, &view(&[], &[]))[0].epoch, 3);
    assert!(returned(&core, &view(&["a"], &["b", "c"])).is_empty());
    core.policy.return_after_ms = 60_001;
    assert!(returned(&core, &view(&[], &[])).is_empty());
}

#[test]
fn a_region_does_not_return_while_its_failover_runs() {
    let mut core = core();
    core.regions.entry(region("a")).and_modify(|a| a.standing = Standing::Lost);
    core.failovers.insert(FailoverId(1), Failover { from: region("a"), ..Failover::default() });
    assert!(returned(&core, &view(&[], &[])).is_empty());
}

#[test]
fn a_region_that_is_present_has_nowhere_to_return_from() {
    assert!(returned(&core(), &view(&[], &[])).is_empty());
}
