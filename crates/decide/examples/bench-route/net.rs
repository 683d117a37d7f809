//! A table of one service, what its router sees, and the facts that such a table is made of.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use dwcp_decide::route::{EndpointRow, Live, Place, RegionRow, ServiceRow, Sums, Table};
use dwcp_state::{Federation, Health, Phase, Probe, Region, Vm};
use dwcp_types::{Rng, VmId};

/// What a router sees, as its data path keeps it.
pub struct Seen {
    up: Vec<AtomicBool>,
    open: Vec<AtomicU32>,
    regions: Vec<[AtomicU32; 3]>,
    ready: AtomicU32,
}

impl Live for Seen {
    fn is_up(&self, endpoint: u32) -> bool {
        self.up[endpoint as usize].load(Relaxed)
    }

    fn open(&self, endpoint: u32) -> u32 {
        self.open[endpoint as usize].load(Relaxed)
    }

    fn region(&self, region: u16) -> Sums {
        let [ready, up, open] = self.regions[region as usize].each_ref().map(|count| count.load(Relaxed));
        Sums { ready, up, open }
    }

    fn undoubted(&self) -> u32 {
        self.ready.load(Relaxed)
    }
}

pub fn place(rng: &mut Rng) -> Option<Place> {
    let mut degrees = |most: u64| rng.below(2 * most * 1_000) as f32 / 1_000.0 - most as f32;
    Some(Place { latitude: degrees(90), longitude: degrees(180) })
}

/// Most is well: of a hundred regions one takes no part, one is unhealthy, one of unknown health and ten take half of their
/// clients; of a hundred endpoints four are down and one is draining. Each has 0 to 99 of 100 requests under way.
pub fn table(regions: usize, endpoints: usize) -> (Table, Seen) {
    let mut rng = Rng::new(11);
    let mut table = Table { here: "region-000".into(), ..Table::default() };
    table.policy.endpoint_capacity = 100;
    let mut service = ServiceRow { name: "web".into(), ..ServiceRow::default() };
    let mut seen = Seen { up: Vec::new(), open: Vec::new(), regions: Vec::new(), ready: AtomicU32::new(0) };
    for region in 0..regions {
        table.regions.push(RegionRow {
            region: format!("region-{region:03}"),
            takes_part: region % 100 != 7,
            traffic_percent: if region % 10 == 3 { 50 } else { 100 },
            health: match region % 100 {
                21 => Some(30),
                22 => None,
                other => Some(100 - other as u8 / 10),
            },
            rtt_ms: Some(rng.below(300) as u32),
            place: place(&mut rng),
            price_micros: 10_000 + rng.below(10_000),
            routers: Vec::new(),
        });
        let (most, mut sums) = (rng.below(100) + 1, Sums::default());
        for number in 0..endpoints {
            let row = EndpointRow {
                id: format!("vm_{region:03}_{number:05}"),
                name: format!("web-{region}-{number}"),
                region: region as u16,
                zone: "a".into(),
                address: ([10, region as u8, (number >> 8) as u8, number as u8], 80).into(),
                serves: true,
                draining: rng.chance(1, 100),
            };
            let (up, open) = (!rng.chance(4, 100), rng.below(most) as u32);
            sums.up += u32::from(up);
            sums.ready += u32::from(up && !row.draining);
            sums.open += open;
            seen.up.push(up.into());
            seen.open.push(open.into());
            service.endpoints.push(row);
        }
        seen.ready.fetch_add(sums.ready, Relaxed);
        seen.regions.push([sums.ready.into(), sums.up.into(), sums.open.into()]);
    }
    table.services.push(service);
    (table, seen)
}

/// Regions with VMs that serve.
pub fn facts(regions: usize, vms: usize) -> Federation {
    let mut view = Federation::default();
    for index in 0..regions {
        let number = index as u64 + 1;
        let region = Region {
            id: format!("region-{index:03}").as_str().into(),
            number,
            traffic_percent: 100,
            ..Region::default()
        };
        view.open_group(number, &region.id);
        let facts = view.regions.get_mut(&region.id).expect("it was opened");
        for vm in 0..vms {
            let id = VmId((index * vms + vm) as u64);
            let mut vm = Vm { id, name: format!("web-{index}-{vm}"), host: "h1".into(), ..Vm::default() };
            vm.labels.insert("app".into(), "shop".into());
            vm.spec.probe = Probe::Http("/".into());
            (vm.observed.phase, vm.observed.health) = (Phase::Running, Health::Healthy);
            vm.observed.address = format!("10.{index}.{}.{}:8080", id.0 >> 8 & 255, id.0 & 255);
            facts.vms.insert(id, vm);
        }
        view.core.regions.insert(region.id.clone(), region);
    }
    view
}
