//! The plain way: every endpoint is looked at in every decision.

use dwcp_decide::route::{Algorithm, Client, Live, Place, RegionRow, RoutingPolicy, Table};

/// What is measured of a region: round trip, distance, price, load, what its health lacks.
type Measures = [f64; 5];

/// The well endpoint of the best region by the same terms, with the fewest requests under way.
pub fn choose(table: &Table, client: &Client, live: &dyn Live) -> Option<u32> {
    let (service, policy) = (&table.services[0], &table.policy);
    let mut open = vec![(0u64, 0u64); table.regions.len()];
    for (at, row) in (0u32..).zip(&service.endpoints) {
        let of = &mut open[row.region as usize];
        of.0 += u64::from(live.is_up(at) && row.serves && !row.draining);
        of.1 += u64::from(live.open(at));
    }
    let load = |region: usize| {
        let (ready, open) = open[region];
        open as f64 / (ready.max(1) * u64::from(policy.endpoint_capacity)) as f64
    };
    let measured: Vec<Measures> =
        table.regions.iter().enumerate().map(|(at, row)| measures(row, client.place, load(at))).collect();
    let worst: Measures =
        std::array::from_fn(|term| measured.iter().fold(0.0, |worst, of| f64::max(worst, of[term])));
    let mut best: Option<(u32, (f64, u32))> = None;
    for (at, row) in (0u32..).zip(&service.endpoints) {
        let region = &table.regions[row.region as usize];
        let well = region.takes_part && region.health.is_some_and(|health| health >= policy.least_health);
        let full = load(row.region as usize) * 100.0 >= f64::from(policy.spill.standard);
        if !well || full || !live.is_up(at) || !row.serves || row.draining {
            continue;
        }
        let is = (total(policy, &measured[row.region as usize], &worst), live.open(at));
        if best.is_none_or(|(_, so_far)| is < so_far) {
            best = Some((at, is));
        }
    }
    best.map(|(at, _)| at)
}

fn total(policy: &RoutingPolicy, measures: &Measures, worst: &Measures) -> f64 {
    let part = |term: usize| measures[term] / worst[term].max(f64::MIN_POSITIVE);
    let weights = &policy.weights;
    match policy.algorithm {
        Algorithm::Latency => part(0),
        Algorithm::GeoProximity => part(1),
        Algorithm::Cost => part(2),
        Algorithm::LoadBalanced => measures[3],
        Algorithm::Hybrid => {
            let [latency, distance, cost, load, health] =
                [weights.latency, weights.distance, weights.cost, weights.load, weights.health]
                    .map(f64::from);
            latency * part(0)
                + distance * part(1)
                + cost * part(2)
                + load * measures[3]
                + health * measures[4]
        }
    }
}

fn measures(row: &RegionRow, from: Option<Place>, load: f64) -> Measures {
    let km = from.zip(row.place).map_or(20_000.0, |(from, to)| haversine_km(from, to));
    [km / 100.0 + 5.0, km, row.price_micros as f64, load, 1.0 - f64::from(row.health.unwrap_or(0)) / 100.0]
}

fn haversine_km(from: Place, to: Place) -> f64 {
    let radians = |degrees: f32| f64::from(degrees).to_radians();
    let (north, east) = (radians(to.latitude - from.latitude), radians(to.longitude - from.longitude));
    let half = (north / 2.0).sin().powi(2)
        + radians(from.latitude).cos() * radians(to.latitude).cos() * (east / 2.0).sin().powi(2);
    2.0 * 6_371.0 * half.sqrt().min(1.0).asin()
}
