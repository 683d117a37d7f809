//! Health scores, with what was taken off and why.

use dwcp_decide::{HealthInputs, HealthState, health};

fn fine() -> HealthInputs {
    HealthInputs {
        heard_ms: Some(200),
        hosts_up: 4,
        hosts_total: 4,
        links_total: 4,
        vms_total: 10,
        control_plane_up: true,
        cpu_used_percent: Some(40),
        memory_used_percent: Some(50),
        replication_lag_ms: Some(120),
        ..HealthInputs::default()
    }
}

#[test]
fn a_region_in_order_has_a_hundred_points() {
    let score = health(&fine());
    assert_eq!((score.score, score.state, score.deductions.len()), (Some(100), HealthState::Healthy, 0));
}

#[test]
fn a_region_not_heard_of_is_unknown_and_never_healthy() {
    for heard_ms in [None, Some(10_001)] {
        let score = health(&HealthInputs { heard_ms, ..fine() });
        assert_eq!((score.score, score.state), (None, HealthState::Unknown));
        assert_eq!(score.deductions.len(), 1);
    }
    let patient = HealthInputs { heard_ms: Some(10_001), heard_limit_ms: 20_000, ..fine() };
    assert_eq!(health(&patient).state, HealthState::Healthy);
}

#[test]
fn every_fault_takes_points_and_names_its_cause() {
    let cases: Vec<(HealthInputs, u8, &str)> = vec![
        (HealthInputs { control_plane_up: false, ..fine() }, 70, "control plane"),
        (HealthInputs { hosts_up: 3, ..fine() }, 85, "1 of 4 hosts"),
        (HealthInputs { hosts_up: 0, ..fine() }, 40, "4 of 4 hosts"),
        (HealthInputs { hosts_up: 0, hosts_total: 0, ..fine() }, 40, "no hosts"),
        (HealthInputs { links_down: 2, ..fine() }, 80, "2 of 4 links"),
        (HealthInputs { worst_loss_percent: 5, ..fine() }, 90, "loses 5 %"),
        (HealthInputs { worst_loss_percent: 100, ..fine() }, 80, "loses 100 %"),
        (HealthInputs { cpu_used_percent: Some(96), ..fine() }, 80, "96 % of processor"),
        (HealthInputs { memory_used_percent: Some(91), ..fine() }, 90, "91 % of memory"),
        (HealthInputs { replication_lag_ms: Some(5_000), ..fine() }, 85, "5000 ms behind"),
        (HealthInputs { vms_unhealthy: 5, ..fine() }, 80, "5 of 10 VMs"),
    ];
    for (inputs, expected, cause) in cases {
        let score = health(&inputs);
        assert_eq!(score.score, Some(expected), "{cause}");
        assert!(score.deductions[0].cause.contains(cause), "{:?}", score.deductions);
    }
}

#[test]
fn eighty_is_healthy_and_sixty_is_degraded() {
    let states = [(2, HealthState::Healthy), (3, HealthState::Degraded), (4, HealthState::Degraded)];
    for (links_down, state) in states {
        assert_eq!(health(&HealthInputs { links_down, ..fine() }).state, state);
    }
    let worse = HealthInputs { links_down: 4, worst_loss_percent: 1, ..fine() };
    assert_eq!(health(&worse).state, HealthState::Unhealthy);
}

#[test]
fn a_score_never_falls_below_zero() {
    let ruin = HealthInputs {
        hosts_up: 0,
        links_down: 4,
        worst_loss_percent: 100,
        vms_unhealthy: 10,
        control_plane_up: false,
        ..fine()
    };
    assert_eq!(health(&ruin).score, Some(0));
}
