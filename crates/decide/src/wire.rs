//! The byte forms of a decision: what is asked, what it reads besides the facts, and what comes of it. A tag is never used
//! again for another meaning.

use dwcp_types::codec::{Reader, Writer};
use dwcp_types::{DecodeError, Wire, wire_enum, wire_struct};

use crate::{
    HostVerdict, Measured, PlaceReport, PlaceRequest, Placement, Reason, ReasonKind, RegionVerdict,
    ScoreParts, Suggestion,
};

wire_struct!(PlaceRequest {
    1 vm, 2 users_in, 3 only_regions, 4 exclude_regions, 5 exclude_hosts, 6 for_failover, 7 arrives_at
});
wire_struct!(Placement { 1 region, 2 host, 3 score_milli });
wire_struct!(Measured { 1 rtt_ms, 2 health, 3 shaky });
wire_struct!(PlaceReport { 1 regions, 2 smallest_change });
wire_struct!(Suggestion { 1 change, 2 command, 3 region, 4 host });
wire_struct!(ScoreParts { 1 latency, 2 cost, 3 capacity, 4 health, 5 priority });
wire_struct!(Reason { 1 kind, 2 text });
wire_struct!(RegionVerdict {
    1 region, 2 excluded, 3 score_milli, 4 parts, 5 rtt_ms, 6 monthly_cost_millis, 7 hosts_considered, 8 hosts_excluded,
    9 hosts
});
wire_enum!(ReasonKind {
    1 NotAsked, 2 Closed, 3 Unhealthy, 4 RegionRule, 5 Compliance, 6 Residency, 7 Latency, 8 Cost, 9 Affinity,
    10 AntiAffinity, 11 HostLost, 12 HostClosed, 13 Zone, 14 HostRule, 15 HostLabel, 16 Capacity, 17 NoHost
});

// There may be 100,000 of them in one report: their fields are written one after the other, without tags.
impl Wire for HostVerdict {
    fn put(&self, w: &mut Writer) {
        self.host.put(w);
        self.excluded.put(w);
        self.score_milli.put(w);
        self.left_percent.map(|[vcpus, memory, disk]| (vcpus, (memory, disk))).put(w);
        self.idle.put(w);
    }

    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(HostVerdict {
            host: Wire::get(r)?,
            excluded: Wire::get(r)?,
            score_milli: Wire::get(r)?,
            left_percent: Option::<(u32, (u32, u32))>::get(r)?
                .map(|(vcpus, (memory, disk))| [vcpus, memory, disk]),
            idle: Wire::get(r)?,
        })
    }
}
