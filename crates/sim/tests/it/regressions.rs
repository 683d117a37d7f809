//! Runs that once showed a fault, and that one seed means one run.

use dwcp_sim::options::{FaultMix, Options};
use dwcp_sim::run;

/// Runs that once violated a promise, and how. They are written out, so that they stay what they are when runs are drawn in
/// another way.
fn once_failed() -> [(&'static str, Options); 2] {
    let cuts = FaultMix {
        vm_crash: 2,
        region_cut: 5,
        one_way_cut: 1,
        region_kill: 2,
        slow_disk: 5,
        ..FaultMix::default()
    };
    let crashes = FaultMix {
        node_crash: 5,
        node_pause: 1,
        host_crash: 3,
        agent_crash: 3,
        vm_crash: 4,
        region_cut: 5,
        region_kill: 4,
        loss: 2,
        ..FaultMix::default()
    };
    let run = |seed, mix, every_ms| Options { faults_ms: 60_000, mix, every_ms, ..Options::quiet(seed) };
    [
        ("a failover never ended", run(717, cuts, 3_134)),
        ("a lease revived a VM that had just left", run(29, crashes, 6_854)),
    ]
}

#[test]
fn runs_that_once_failed() {
    for (how, options) in once_failed() {
        let ended = run::swarm(options);
        assert_eq!(ended.violation, None, "seed {}, where once {how}", ended.seed);
        assert!(ended.failovers > 0, "seed {} no longer shows what it was kept for", ended.seed);
    }
}

#[test]
fn vms_of_a_killed_region_return_in_time() {
    let ended = run::swarm(Options::swarm(7, None));
    assert_eq!(ended.violation, None);
    assert!(ended.returned_ms.is_some_and(|ms| ms < 30_000), "{:?}", ended.returned_ms);
}

#[test]
fn one_seed_is_one_run() {
    let (first, second) = (run::swarm(Options::swarm(4, None)), run::swarm(Options::swarm(4, None)));
    assert_eq!(first.log, second.log);
    assert_eq!(first.digest, second.digest);
}
