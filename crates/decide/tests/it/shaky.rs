//! Which regions come and go.

use std::collections::{BTreeMap, BTreeSet};

use dwcp_decide::{Observed, STEADY_MS, shaky_regions};
use dwcp_types::RegionId;

use super::world::region;

const ALL: [&str; 5] = ["a", "b", "c", "d", "e"];
const HOUR_MS: u64 = 3_600_000;

/// Everybody has run for `uptime_ms` and heard everybody all that time, except that between the sides the links healed
/// `healed_ms` ago.
fn seen(sides: [&[&str]; 2], uptime_ms: u64, healed_ms: u64) -> BTreeMap<RegionId, Observed> {
    let side = |name: &&str| sides[0].contains(name);
    let by = |by: &str| {
        let heard = ALL
            .into_iter()
            .filter(|on| *on != by)
            .map(|on| (region(on), if side(&by) == side(&on) { uptime_ms } else { healed_ms }));
        Observed { uptime_ms, heard_ms: heard.collect() }
    };
    ALL.into_iter().map(|name| (region(name), by(name))).collect()
}

fn shaky(observed: &BTreeMap<RegionId, Observed>) -> BTreeSet<String> {
    let regions = ALL.map(region);
    shaky_regions(regions.iter(), observed).iter().map(RegionId::to_string).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| name.to_string()).collect()
}

#[test]
fn the_smaller_side_of_a_cut_is_shaky_until_it_has_been_heard_for_a_minute() {
    assert_eq!(shaky(&seen([&["a"], &[]], HOUR_MS, 3_000)), names(&["a"]));
    assert_eq!(shaky(&seen([&["a", "d"], &[]], HOUR_MS, 3_000)), names(&["a", "d"]));
    assert_eq!(shaky(&seen([&["a", "d"], &[]], HOUR_MS, STEADY_MS)), names(&[]));
}

#[test]
fn regions_that_have_only_just_started_are_not_shaky() {
    assert_eq!(shaky(&seen([&ALL, &[]], 2_000, 0)), names(&[]));
    assert_eq!(shaky(&seen([&["a"], &[]], 40_000, 35_000)), names(&[]), "it started a little later");
    assert_eq!(shaky(&seen([&["a"], &[]], 40_000, 20_000)), names(&["a"]));
}

#[test]
fn two_dead_regions_make_only_themselves_shaky() {
    let mut observed = seen([&ALL, &[]], HOUR_MS, 0);
    for dead in ["a", "b"] {
        observed.remove(&region(dead));
        observed.values_mut().for_each(|seen| seen.heard_ms.retain(|name, _| *name != region(dead)));
    }
    assert_eq!(shaky(&observed), names(&["a", "b"]));
}
