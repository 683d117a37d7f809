//! Samples of drills.

use dwcp_state::*;
use dwcp_types::*;

/// One with a value in every field.
pub fn drill() -> Drill {
    Drill {
        id: DrillId(2),
        region: "a".into(),
        mode: DrillMode::Live,
        by: "ann".into(),
        started_at: Wall(10),
        vms: vec![DrillVm {
            of: VmId(1),
            vm: VmId(2),
            name: "drill-002-web".into(),
            priority: Priority(70),
            from_host: "h1".into(),
            to_region: Some("b".into()),
            to_host: Some("h2".into()),
            generation: Generation(2),
            state: DrillVmState::Verified,
            reason: "score 1".into(),
            lost: true,
            answered_at: Some(Wall(60)),
            disk: true,
            written: Some(9),
            kept: Some(8),
        }],
        left_out: 3,
        times: vec![DrillTime { moment: DrillMoment::Cut, at: Wall(20), note: "by hand".into() }],
        state: DrillState::Done,
        measured_at: Some(Wall(70)),
        restoring_since: Some(Wall(80)),
        ended_at: Some(Wall(90)),
        result: "1 of 1".into(),
        failover: Some(FailoverId(4)),
        limit_ms: 60_000,
    }
}

pub fn drill_news() -> DrillNews {
    let Drill { vms, times, failover, .. } = drill();
    DrillNews { drill: DrillId(2), vms, times, failover }
}
