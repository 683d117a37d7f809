//! What operators say of a region.

use dwcp_state::{Coordinates, Decommission, PublicEndpoint, Region, RegionSettings, Reminder};
use dwcp_types::Wall;

use super::region;

/// What an operator says of a region, with every part filled.
pub fn settings() -> RegionSettings {
    RegionSettings {
        region: "a".into(),
        display_name: Some("Frankfurt".into()),
        zones: Some(["a".into(), "b".into()].into()),
        coordinates: Coordinates::new(50_110_000, 8_680_000),
        vms_most: Some(500),
        priority: Some(80),
        compliance: Some(["c5".into()].into()),
        jurisdiction: Some("eu".into()),
        prices: Some(region().prices),
    }
}

pub fn endpoint() -> PublicEndpoint {
    PublicEndpoint { ip: "192.0.2.1".into(), port: 443 }
}

/// A region with what operators say of it.
pub fn told_region() -> Region {
    Region {
        endpoints: [endpoint()].into(),
        decommission: Some(Decommission {
            at: Wall(9),
            by: "ann".into(),
            asked_at: Wall(3),
            reason: "lease ends".into(),
            said: Reminder::Day,
        }),
        controllers: 3,
        routers: 2,
        ..region().with(&settings())
    }
}
