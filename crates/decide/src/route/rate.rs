//! How good each region is for a client, and which comes first.

use serde::Serialize;

use super::plan::{Candidate, Plan, ServicePart, Standing, mix, part_of, scale};
use super::sphere::Point;
use super::{Algorithm, Client, Live, Sums};

/// Makes the hashes of a key that decide about shares and about spreading independent of each other.
const SHARES: u64 = 0x5348_4152_4553;
const SPREADS: u64 = 0x5350_5245_4144;

/// What speaks against a region: 0 is best, 1 is the worst of the regions that have endpoints, or unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Terms {
    /// Its round trip, as part of the longest.
    pub latency: f32,
    /// Its price, as part of the highest.
    pub cost: f32,
    /// Requests under way, as part of what its endpoints that are well can carry.
    pub load: f32,
    /// Its distance, as part of the farthest.
    pub distance: f32,
    /// What its health score lacks to 100.
    pub health: f32,
}

/// Where a region stands for a client, from what is taken first to what is taken last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Healthy,
    /// Its health is unknown.
    Unknown,
    /// Healthy or unknown, with its limit reached: the least full first.
    Full,
    /// Healthy or unknown, and the client is not in its share. Only when it is in no region's: then shares are weights.
    NotInShare,
    /// Both.
    NotInShareFull,
    Unhealthy,
    UnhealthyFull,
    UnhealthyNotInShare,
    /// It takes no traffic.
    Out,
}

/// A region as a client finds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rated {
    /// Index in [`ServicePart::candidates`].
    pub candidate: usize,
    pub standing: Standing,
    pub terms: Terms,
    /// By the algorithm: the lower the better.
    pub total: f32,
    /// Not a number when unknown.
    pub rtt_ms: f32,
    /// Not a number when unknown.
    pub distance_km: f32,
    /// Requests under way, in percent of what its endpoints that are well can carry.
    pub load: f32,
    pub is_full: bool,
    pub in_share: bool,
    pub sums: Sums,
}

/// The smaller comes first.
pub(super) type Order = (Rank, f32, f32);

/// True when `one` comes before `other`. None of the numbers is unknown.
#[inline]
pub(super) fn is_before(one: Order, other: Order) -> bool {
    if one.0 != other.0 {
        return one.0 < other.0;
    }
    one.1 < other.1 || (one.1 == other.1 && one.2 < other.2)
}

impl Rated {
    /// Where it stands, and what is compared among those that stand there.
    #[inline]
    pub fn order(&self, of: &Candidate, key: u64, is_full: bool) -> Order {
        let by_load = |rank| (rank, self.load, self.total);
        let by_share = |rank| (rank, spread(key ^ SHARES, of.salt, of.share as f32), self.total);
        match (self.standing, self.in_share, is_full) {
            (Standing::Out, _, _) | (_, true, false) => self.wish(),
            (Standing::Unhealthy, true, true) => by_load(Rank::UnhealthyFull),
            (Standing::Unhealthy, false, _) => by_share(Rank::UnhealthyNotInShare),
            (_, true, true) => by_load(Rank::Full),
            (_, false, false) => by_share(Rank::NotInShare),
            (_, false, true) => by_load(Rank::NotInShareFull),
        }
    }

    /// As [`Rated::order`] if there were no shares and no limits.
    #[inline]
    pub fn wish(&self) -> Order {
        let rank = match self.standing {
            Standing::Healthy => Rank::Healthy,
            Standing::Unknown => Rank::Unknown,
            Standing::Unhealthy => Rank::Unhealthy,
            Standing::Out => Rank::Out,
        };
        (rank, self.total, self.terms.latency)
    }
}

impl Plan {
    /// True when so few endpoints are up that the router rather doubts what it sees.
    pub(super) fn is_in_doubt(&self, service: &ServicePart, live: &dyn Live) -> bool {
        let least = u64::from(service.counted) * u64::from(self.policy.doubt_below_percent);
        u64::from(live.undoubted()) * 100 < least
    }

    /// Every region that has endpoints, by region.
    pub(super) fn rate(
        &self,
        service: &ServicePart,
        client: &Client,
        live: &dyn Live,
        doubt: bool,
    ) -> Vec<Rated> {
        let from = if service.placed { Point::of(client.place) } else { Point::NOWHERE };
        let to_here_km = from.distance_km(self.here);
        let seen = service.candidates.iter().enumerate();
        let mut rated: Vec<Rated> = seen
            .map(|(at, of)| {
                let (rtt_ms, distance_km) = of.away(from, to_here_km);
                let sums = live.region(of.region);
                let load = self.load(if doubt { of.counted } else { sums.ready }, sums.open);
                Rated {
                    candidate: at,
                    standing: of.standing,
                    terms: Terms {
                        load: (load / 100.0).min(1.0),
                        cost: of.cost,
                        health: of.health,
                        ..Terms::default()
                    },
                    total: 0.0,
                    rtt_ms,
                    distance_km,
                    load,
                    is_full: load >= service.limit,
                    in_share: mix(client.key ^ of.salt ^ SHARES) % 10_000 < of.share,
                    sums,
                }
            })
            .collect();
        let longest = scale(rated.iter().map(|it| it.rtt_ms));
        let farthest = scale(rated.iter().map(|it| it.distance_km));
        for (it, of) in rated.iter_mut().zip(&service.candidates) {
            it.terms.latency = part_of(it.rtt_ms, longest);
            it.terms.distance = part_of(it.distance_km, farthest);
            it.total = self.total(&it.terms, || {
                let can = if doubt { of.counted } else { it.sums.ready };
                let free = self.capacity(can) - it.sums.open as f32;
                spread(client.key ^ SPREADS, of.salt, free)
            });
        }
        rated
    }

    fn capacity(&self, endpoints: u32) -> f32 {
        endpoints as f32 * self.policy.endpoint_capacity.max(1) as f32
    }

    /// Percent; nothing can be carried: full.
    fn load(&self, endpoints: u32, open: u32) -> f32 {
        if endpoints == 0 { 100.0 } else { open as f32 * 100.0 / self.capacity(endpoints) }
    }

    #[inline]
    fn total(&self, terms: &Terms, spread: impl FnOnce() -> f32) -> f32 {
        match self.policy.algorithm {
            Algorithm::Latency => terms.latency,
            Algorithm::Cost => terms.cost,
            Algorithm::GeoProximity => terms.distance,
            Algorithm::LoadBalanced => spread(),
            Algorithm::Hybrid => {
                let weights = &self.policy.weights;
                let parts = [
                    (weights.latency, terms.latency),
                    (weights.cost, terms.cost),
                    (weights.load, terms.load),
                    (weights.distance, terms.distance),
                    (weights.health, terms.health),
                ];
                parts.iter().map(|(weight, term)| *weight as f32 * term).sum::<f32>() / 100.0
            }
        }
    }
}

/// Spreads keys over regions by weight: each key goes where this is lowest, and to a region as often as its part of all
/// weights is. A weight that grows takes keys from others and gives none away (weighted rendezvous hashing).
fn spread(key: u64, salt: u64, weight: f32) -> f32 {
    let part = ((mix(key ^ salt) >> 40) as f32 + 0.5) / (1u32 << 24) as f32;
    -part.ln() / weight.max(1e-3)
}
