//! Runs that once showed a fault, and that one seed means one run.

use dwcp_sim::options::Options;
use dwcp_sim::run;

/// Each of these once violated a promise: a failover that never ended; a lease that revived a VM which had just left.
const ONCE_FAILED: [u64; 2] = [717, 29];

#[test]
fn seeds_that_once_failed() {
    for seed in ONCE_FAILED {
        let ended = run::swarm(Options::swarm(seed, None));
        assert_eq!(ended.violation, None, "seed {seed}");
    }
}

#[test]
fn vms_of_a_killed_region_return_in_time() {
    let ended = run::swarm(Options::swarm(3, None));
    assert_eq!(ended.violation, None);
    assert!(ended.returned_ms.is_some_and(|ms| ms < 30_000), "{:?}", ended.returned_ms);
}

#[test]
fn one_seed_is_one_run() {
    let (first, second) = (run::swarm(Options::swarm(4, None)), run::swarm(Options::swarm(4, None)));
    assert_eq!(first.log, second.log);
    assert_eq!(first.digest, second.digest);
}
