//! A configuration that was read is run as it is, made smaller where it is too large, and a broken rule shows on it too.

use std::sync::Arc;

use dwcp_sim::layout::{HOSTS, Layout, VMS};
use dwcp_sim::options::{Mutation, Options};
use dwcp_sim::run;

/// A configuration as `GET /v1/configuration` answers it.
fn configuration(regions: usize, hosts: usize, vms: usize) -> String {
    let name = |number: usize| format!("region-{number}");
    let all = || 1..=regions;
    let region = |number: usize| {
        format!(
            r#"{{"region": "{}", "number": {number}, "active": true, "placement": true, "priority": 90, "compliance": ["soc2"],
            "jurisdiction": "eu", "vcpu_micros": 40000, "memory_gib_micros": 5000, "disk_gib_micros": 100}}"#,
            name(number)
        )
    };
    let host = |number: usize, at: usize| {
        format!(
            r#"{{"host": "h{number}-{at}", "region": "{}", "zone": "{}", "labels": {{"rack": "{at}"}}, "vcpus": 8,
            "memory_mib": 4096, "disk_gib": 64, "up": true}}"#,
            name(number),
            ["a", "b"][at % 2]
        )
    };
    let vm = |at: usize| {
        let (home, away) = (name(at % regions + 1), name((at + 1) % regions + 1));
        format!(
            r#"{{"vm": "vm_{at:016x}", "name": "vm-{at}", "state": "running", "wanted_running": true, "region": "{home}",
            "zone": null, "host": null, "generation": 1, "image": "small", "vcpus": 1, "memory_mib": 256, "disk_gib": 0,
            "priority": 50, "policy": {{"regions_deny": ["{away}"]}}, "labels": {{"app": "shop"}}, "network": "user",
            "probe": {{"kind": "http", "port": 80, "path": "/health"}}, "address": null, "healthy": true, "reason": "",
            "cost_usd_month": null, "created_at_ms": 0, "revision": 1}}"#
        )
    };
    let ways = all().flat_map(|from| all().filter(move |to| *to != from).map(move |to| (from, to)));
    let ways = ways.map(|(from, to)| {
        format!(r#"{{"from": "{}", "to": "{}", "rtt_ms": {}}}"#, name(from), name(to), 20 * (from + to))
    });
    let join = |parts: Vec<String>| parts.join(",\n");
    format!(
        r#"{{"federation": "shop", "regions": [{}], "hosts": [{}], "vms": [{}], "ways": [{}], "as_of": [],
        "policies": {{"auto_failover": true, "loss_after_ms": 2500, "return_after_ms": 5000, "failovers_per_hour": 6,
        "cpu_overcommit_percent": 400, "memory_overcommit_percent": 100, "scoring_profile": "balanced", "revision": 1,
        "as_of": []}}}}"#,
        join(all().map(region).collect()),
        join(
            all()
                .flat_map(|number| (0..hosts).map(move |at| (number, at)))
                .map(|(n, at)| host(n, at))
                .collect()
        ),
        join((0..vms).map(vm).collect()),
        join(ways.collect()),
    )
}

#[test]
fn what_is_run_is_what_was_read() {
    let layout = Layout::read(&configuration(4, 2, 9)).expect("it is a configuration");
    assert_eq!((layout.regions.len(), layout.hosts.len(), layout.vms.len()), (4, 8, 9));
    assert_eq!(layout.notes, [""; 0]);
    assert_eq!(layout.delays_us[&(1, 3)], 40_000, "half of 80 ms");
    let (node, vm) = layout.vms.iter().find(|(_, vm)| vm.name == "vm-5").expect("it is run");
    assert_eq!(
        (*node, vm.rules.denied_regions.iter().next().map(|name| name.as_str())),
        (2, Some("region-3"))
    );
    assert!(layout.hosts.iter().all(|host| host.labels.contains_key("rack")));
}

#[test]
fn what_is_too_large_is_made_smaller_and_says_so() {
    let layout = Layout::read(&configuration(5, 10, 300)).expect("it is a configuration");
    assert_eq!((layout.hosts.len(), layout.vms.len()), (5 * HOSTS, VMS));
    assert!(layout.notes.iter().any(|note| note.contains("15 of 50 hosts")), "{:?}", layout.notes);
    assert!(layout.notes.iter().any(|note| note.contains("40 of 300 VMs")), "{:?}", layout.notes);
    for node in 1..=5 {
        assert_eq!(layout.vms.iter().filter(|(of, _)| *of == node).count(), 8, "each region has its share");
    }
    assert!(Layout::read("{}").is_err() && Layout::read(&configuration(3, 0, 1)).is_err());
}

#[test]
fn a_configuration_outlives_a_schedule_of_each_kind() {
    let layout = Arc::new(Layout::read(&configuration(4, 2, 6)).expect("it is a configuration"));
    for seed in 0..4 {
        let ended = run::swarm(Options::proof(seed, Arc::clone(&layout)));
        assert_eq!(ended.violation, None, "seed {seed}");
        assert_eq!(ended.created, 6, "seed {seed}");
    }
}

#[test]
fn a_broken_rule_shows_on_a_configuration_that_was_read() {
    let layout = Arc::new(Layout::read(&configuration(4, 2, 6)).expect("it is a configuration"));
    let found = (0..80).find_map(|seed| {
        let mutation = Some(Mutation::SkipLeaseWait);
        run::swarm(Options { mutation, ..Options::proof(seed, Arc::clone(&layout)) }).violation
    });
    assert!(found.as_ref().is_some_and(|violation| violation.contains("runs twice")), "{found:?}");
}
