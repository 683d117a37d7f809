//! A table prepared for decisions: what they read lies together, and what does not change is computed once.

use super::sphere::{Point, rtt_ms};
use super::{EndpointRow, Qos, RegionRow, RoutingPolicy, ServiceRow, Table};

/// A table prepared for decisions.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(super) policy: RoutingPolicy,
    /// Where the router is.
    pub(super) here: Point,
    pub(super) regions: Vec<RegionPart>,
    pub(super) services: Vec<ServicePart>,
}

/// What is said of a region, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Healthy,
    /// Its health is unknown.
    Unknown,
    Unhealthy,
    /// It takes no traffic.
    Out,
}

/// A region. What is unknown of it is not a number.
#[derive(Clone, Debug)]
pub(super) struct RegionPart {
    pub name: String,
    pub takes_part: bool,
    pub traffic_percent: u8,
    pub health: Option<u8>,
    pub standing: Standing,
    /// Makes what keys are hashed to different in each region; the same in every table.
    pub salt: u64,
    /// Of 10,000 clients.
    pub share: u64,
    pub at: Point,
    pub rtt_ms: f32,
    pub price_micros: f32,
}

/// A region in which a service has endpoints.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub region: u16,
    pub standing: Standing,
    pub salt: u64,
    pub share: u64,
    pub at: Point,
    /// Round trip to clients whose place is unknown, ms.
    pub rtt_ms: f32,
    /// From clients whose place is unknown.
    pub distance_km: f32,
    /// The terms of cost and health, 0 to 1.
    pub cost: f32,
    pub health: f32,
    /// Where its endpoints begin in [`ServicePart::order`]: first those that count, then others that take new clients, then
    /// those that are draining.
    pub from: usize,
    /// Endpoints that serve by the facts and take new clients.
    pub counted: u32,
    /// Endpoints that take new clients.
    pub fresh: u32,
    /// Endpoints that serve by the facts.
    pub serving: u32,
    pub all: u32,
}

impl Candidate {
    /// Those that serve and take new clients, others that take new clients, and those that are draining.
    pub fn parts<'a>(&self, part: &'a ServicePart) -> [&'a [u32]; 3] {
        let of = |from: u32, until: u32| &part.order[self.from + from as usize..self.from + until as usize];
        [of(0, self.counted), of(self.counted, self.fresh), of(self.fresh, self.all)]
    }
}

/// What the facts say of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndpointPart {
    pub region: u16,
    pub serves: bool,
    pub draining: bool,
}

impl EndpointPart {
    /// It serves and takes new clients.
    pub fn counts(self) -> bool {
        self.serves && !self.draining
    }
}

/// A service.
#[derive(Clone, Debug)]
pub(super) struct ServicePart {
    pub name: String,
    pub qos: Qos,
    /// A region is full from here on, percent.
    pub limit: f32,
    /// By region.
    pub candidates: Vec<Candidate>,
    /// Indexes of endpoints, region by region.
    pub order: Vec<u32>,
    pub endpoints: Vec<EndpointPart>,
    /// Endpoints in all regions that serve by the facts and take new clients.
    pub counted: u32,
    /// The place of a region is known.
    pub placed: bool,
}

impl Plan {
    /// Of a table. Endpoints of regions that the table does not have are left out.
    pub fn of(table: &Table) -> Plan {
        let policy = table.policy.clone();
        let regions: Vec<RegionPart> =
            table.regions.iter().map(|row| region(row, policy.least_health)).collect();
        let here = regions.iter().find(|region| region.name == table.here);
        let here = here.map_or(Point::NOWHERE, |region| region.at);
        let services = table.services.iter().map(|row| service(row, &regions, here, &policy)).collect();
        Plan { policy, here, regions, services }
    }
}

fn region(row: &RegionRow, least_health: u8) -> RegionPart {
    let standing = match row.health {
        _ if !row.takes_part || row.traffic_percent == 0 => Standing::Out,
        None => Standing::Unknown,
        Some(health) if health < least_health => Standing::Unhealthy,
        Some(_) => Standing::Healthy,
    };
    RegionPart {
        name: row.region.clone(),
        takes_part: row.takes_part,
        traffic_percent: row.traffic_percent,
        health: row.health,
        standing,
        salt: salt(&row.region),
        share: u64::from(row.traffic_percent.min(100)) * 100,
        at: Point::of(row.place),
        rtt_ms: row.rtt_ms.map_or(f32::NAN, |ms| ms as f32),
        price_micros: if row.price_micros == 0 { f32::NAN } else { row.price_micros as f32 },
    }
}

fn service(row: &ServiceRow, regions: &[RegionPart], here: Point, policy: &RoutingPolicy) -> ServicePart {
    let endpoints: Vec<EndpointPart> = row.endpoints.iter().map(endpoint).collect();
    let known = |at: &u32| endpoints.get(*at as usize).is_some_and(|it| (it.region as usize) < regions.len());
    let mut order: Vec<u32> = (0..endpoints.len() as u32).filter(known).collect();
    let part = |it: EndpointPart| if it.draining { 2 } else { u8::from(!it.serves) };
    order.sort_by_key(|at| {
        let it = endpoints[*at as usize];
        (it.region, part(it), *at)
    });
    let mut candidates = Vec::new();
    let mut from = 0;
    for of in order.chunk_by(|one, next| endpoints[*one as usize].region == endpoints[*next as usize].region)
    {
        let count = |fits: fn(EndpointPart) -> bool| {
            of.iter().filter(|at| fits(endpoints[**at as usize])).count() as u32
        };
        let index = endpoints[of[0] as usize].region;
        let region = &regions[index as usize];
        candidates.push(Candidate {
            region: index,
            standing: region.standing,
            salt: region.salt,
            share: region.share,
            at: region.at,
            rtt_ms: region.rtt_ms,
            distance_km: here.distance_km(region.at),
            cost: region.price_micros,
            health: region.health.map_or(1.0, |health| f32::from(100 - health.min(100)) / 100.0),
            from,
            counted: count(EndpointPart::counts),
            fresh: count(|it| !it.draining),
            serving: count(|it| it.serves),
            all: of.len() as u32,
        });
        from += of.len();
    }
    let dearest = scale(candidates.iter().map(|of| of.cost));
    candidates.iter_mut().for_each(|of| of.cost = part_of(of.cost, dearest));
    let limit = match row.qos {
        Qos::Critical => policy.spill.critical,
        Qos::Standard => policy.spill.standard,
        Qos::Bulk => policy.spill.bulk,
    };
    ServicePart {
        name: row.name.clone(),
        qos: row.qos,
        limit: limit as f32,
        counted: candidates.iter().map(|of| of.counted).sum(),
        placed: candidates.iter().any(|of| of.at.is_known()),
        candidates,
        order,
        endpoints,
    }
}

fn endpoint(row: &EndpointRow) -> EndpointPart {
    EndpointPart { region: row.region, serves: row.serves, draining: row.draining }
}

impl Candidate {
    /// Round trip (ms) and distance (km) to a client; what is unknown is not a number. A region whose place is unknown is
    /// reached by way of the router.
    pub fn away(&self, client: Point, to_here_km: f32) -> (f32, f32) {
        if !client.is_known() {
            return (self.rtt_ms, self.distance_km);
        }
        let distance_km = client.distance_km(self.at);
        if distance_km.is_nan() {
            return (rtt_ms(to_here_km) + self.rtt_ms, distance_km);
        }
        (rtt_ms(distance_km), distance_km)
    }
}

/// One divided by the worst of what is known; 0 when nothing is, or all is 0.
pub(super) fn scale(values: impl Iterator<Item = f32>) -> f32 {
    let worst = values.fold(0.0, f32::max);
    if worst > 0.0 { 1.0 / worst } else { 0.0 }
}

/// A value as a part of the worst one that is known. What is unknown counts as the worst.
#[inline]
pub(super) fn part_of(value: f32, scale: f32) -> f32 {
    // The minimum with something that is not a number is the other one.
    (value * scale).min(1.0)
}

/// FNV-1a of a name.
fn salt(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Spreads: the finish of SplitMix64.
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
