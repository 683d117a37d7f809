//! The decision.

use super::plan::{Candidate, Plan, ServicePart, Standing, mix};
use super::rate::{Order, Rank, Rated, is_before};
use super::{Client, Live};

/// Endpoints that are tried by hash before a region's are gone through in turn.
const TRIES: u64 = 4;

/// Why it goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is the best.
    Best,
    /// It was sent there before and stays.
    Pinned,
    /// Better regions take only a share of the traffic, and this client is not in it.
    Share,
    /// Better regions are full.
    Spilled,
    /// Nothing is well: this is the least bad.
    LeastBad,
}

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index in the service's endpoints.
    pub endpoint: u32,
    /// Index in the table's regions.
    pub region: u16,
    pub why: Why,
}

/// What an endpoint must be, from what is taken first to what is taken when nothing better is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Up, serving and taking new clients.
    Ready,
    /// Up.
    Up,
    /// Serving, as the federation says.
    Serving,
    /// Not tried yet.
    Untried,
    Any,
}

pub(super) const STAGES: [Stage; 5] = [Stage::Ready, Stage::Up, Stage::Serving, Stage::Untried, Stage::Any];

/// One decision.
pub(super) struct Asked<'a> {
    pub service: &'a ServicePart,
    client: &'a Client,
    live: &'a dyn Live,
    /// What the router sees is doubted: what the federation says counts.
    pub doubt: bool,
    not: &'a [u32],
}

impl Plan {
    /// Where a client of a service goes; none only when the service has no endpoint at all. Endpoints that were tried
    /// already and failed are in `not`.
    ///
    /// The live state of every region is looked at, and of a few endpoints of the one that is chosen.
    pub fn choose(&self, service: usize, client: &Client, live: &dyn Live, not: &[u32]) -> Option<Choice> {
        let asked = self.asked(service, client, live, not)?;
        if let Some(choice) = self.pinned(&asked) {
            return Some(choice);
        }
        let rated = self.rate(asked.service, client, live, asked.doubt);
        STAGES.iter().find_map(|stage| asked.choose_at(*stage, &rated))
    }

    pub(super) fn asked<'a>(
        &'a self,
        service: usize,
        client: &'a Client,
        live: &'a dyn Live,
        not: &'a [u32],
    ) -> Option<Asked<'a>> {
        let service = self.services.get(service)?;
        Some(Asked { service, client, live, doubt: self.is_in_doubt(service, live), not })
    }

    fn pinned(&self, asked: &Asked<'_>) -> Option<Choice> {
        let endpoint = asked.client.pinned?;
        let it = asked.service.endpoints.get(endpoint as usize)?;
        let region = self.regions.get(it.region as usize)?;
        let well = if asked.doubt { it.serves } else { asked.live.is_up(endpoint) };
        let stays = well && region.standing != Standing::Out && !asked.not.contains(&endpoint);
        stays.then_some(Choice { endpoint, region: it.region, why: Why::Pinned })
    }
}

impl Asked<'_> {
    /// The best endpoint that is what the stage asks for.
    fn choose_at(&self, stage: Stage, rated: &[Rated]) -> Option<Choice> {
        // What a region's sums promise can be gone when its endpoints are looked at: then the next region is taken.
        let mut spent: Vec<usize> = Vec::new();
        loop {
            let mut best: Option<(&Rated, Order)> = None;
            let mut wanted: Option<(&Rated, Order)> = None;
            for it in rated {
                if !self.has(stage, it) || spent.contains(&it.candidate) {
                    continue;
                }
                let (order, wish) = (self.order(stage, it), it.wish());
                // Of equals the one of the smaller index stays.
                if best.is_none_or(|(_, so_far)| is_before(order, so_far)) {
                    best = Some((it, order));
                }
                if wanted.is_none_or(|(_, so_far)| is_before(wish, so_far)) {
                    wanted = Some((it, wish));
                }
            }
            let ((best, (rank, ..)), (wanted, _)) = (best?, wanted?);
            let of = &self.service.candidates[best.candidate];
            if let Some(endpoint) = self.endpoint(stage, of) {
                return Some(Choice { endpoint, region: of.region, why: why(stage, rank, best, wanted) });
            }
            spent.push(best.candidate);
        }
    }

    /// Where a region stands.
    #[inline]
    pub(super) fn order(&self, stage: Stage, it: &Rated) -> Order {
        // Limits are about what is well.
        let is_full = it.is_full && stage == Stage::Ready;
        it.order(&self.service.candidates[it.candidate], self.client.key, is_full)
    }

    /// True when a region has endpoints of a stage that were not tried.
    #[inline]
    pub(super) fn has(&self, stage: Stage, it: &Rated) -> bool {
        let of = &self.service.candidates[it.candidate];
        let count = match (stage, self.doubt) {
            (Stage::Ready, false) => it.sums.ready,
            (Stage::Ready, true) => of.counted,
            (Stage::Up, false) => it.sums.up,
            (Stage::Up, true) | (Stage::Serving, _) => of.serving,
            (Stage::Untried, _) => of.all,
            (Stage::Any, _) => return of.all > 0,
        };
        count > 0 && (self.not.is_empty() || count as usize > self.tried(stage, of.region))
    }

    /// Endpoints of a region that are what a stage asks for, and were tried.
    fn tried(&self, stage: Stage, region: u16) -> usize {
        let tried = self.not.iter().enumerate().filter(|(at, endpoint)| {
            let known = self.service.endpoints.get(**endpoint as usize);
            known.is_some_and(|known| known.region == region)
                && !self.not[..*at].contains(endpoint)
                && self.is(stage, **endpoint)
        });
        tried.count()
    }

    /// True when an endpoint is what a stage asks for, tried or not.
    fn is(&self, stage: Stage, endpoint: u32) -> bool {
        let Some(it) = self.service.endpoints.get(endpoint as usize) else { return false };
        match stage {
            Stage::Ready => it.counts() && (self.doubt || self.live.is_up(endpoint)),
            Stage::Up if self.doubt => it.serves,
            Stage::Up => self.live.is_up(endpoint),
            Stage::Serving => it.serves,
            Stage::Untried | Stage::Any => true,
        }
    }

    /// Of a region's endpoints: those that take new clients before those that are draining.
    fn endpoint(&self, stage: Stage, of: &Candidate) -> Option<u32> {
        let takes = |at: u32| (stage == Stage::Any || !self.not.contains(&at)) && self.is(stage, at);
        let parts = of.parts(self.service);
        let parts = if stage == Stage::Ready { &parts[..1] } else { &parts[..] };
        parts.iter().find_map(|part| self.of_two(part, takes))
    }

    /// Of two that the key leads to, the one with fewer requests under way.
    fn of_two(&self, part: &[u32], takes: impl Fn(u32) -> bool) -> Option<u32> {
        let count = part.len() as u64;
        let hash = |seed: u64| mix(self.client.key.wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let by_hash = |from: u64, takes: &dyn Fn(u32) -> bool| {
            (from..from + TRIES).map(|seed| part[(hash(seed) % count) as usize]).find(|at| takes(*at))
        };
        if count == 0 {
            return None;
        }
        let one = by_hash(1, &takes).or_else(|| {
            let from = (hash(0) % count) as usize;
            part[from..].iter().chain(&part[..from]).copied().find(|at| takes(*at))
        })?;
        let other = by_hash(1 + TRIES, &|at| at != one && takes(at));
        let fewer = |other: &u32| self.live.open(*other) < self.live.open(one);
        Some(other.filter(fewer).unwrap_or(one))
    }
}

/// Why a region was taken that stands there, when another one was wanted.
fn why(stage: Stage, rank: Rank, best: &Rated, wanted: &Rated) -> Why {
    if stage != Stage::Ready || rank >= Rank::Unhealthy {
        Why::LeastBad
    } else if rank >= Rank::NotInShare {
        Why::Share
    } else if wanted.candidate == best.candidate {
        Why::Best
    } else if !wanted.in_share {
        Why::Share
    } else {
        Why::Spilled
    }
}
