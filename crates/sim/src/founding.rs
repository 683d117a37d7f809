//! The facts that a simulated federation begins with.

use std::collections::BTreeMap;

use dwcp_state::{Core, Policy, Prices, Region, Role, Token};
use dwcp_types::{NodeId, RegionId, TokenId};

use crate::world::REGIONS;

/// The facts a simulated federation is founded with.
pub fn genesis(regions: usize) -> Core {
    let mut core = Core { name: "sim".to_string(), policy: Policy::default(), ..Core::default() };
    for (index, name) in REGIONS.iter().take(regions).enumerate() {
        let record = Region {
            number: index as NodeId + 1,
            placement: true,
            traffic_percent: 100,
            ..plain_region(name)
        };
        core.regions.insert(record.id.clone(), record);
    }
    core.tokens = bootstrap();
    core
}

fn plain_region(name: &str) -> Region {
    Region {
        id: RegionId::from(name),
        priority: 90,
        prices: Prices { vcpu_micros: 40_000, memory_gib_micros: 5_000, disk_gib_micros: 100 },
        jurisdiction: name.split('-').next().unwrap_or_default().to_string(),
        ..Region::default()
    }
}

/// A region that is not there yet, as somebody adds it.
pub fn further_region(name: &str) -> Region {
    Region { mesh: format!("{name}:7443"), api: format!("https://{name}:7443"), ..plain_region(name) }
}

/// The token that a federation is founded with.
pub(crate) fn bootstrap() -> BTreeMap<TokenId, Token> {
    let id = TokenId::from("token-bootstrap");
    [(id.clone(), Token { id, user: "admin".into(), role: Role::Admin, ..Token::default() })].into()
}
