//! A decision with what it was made of, for people. The same arithmetic as the decision itself.

use serde::Serialize;

use super::choose::{Asked, STAGES, Stage};
use super::plan::Standing;
use super::rate::{Order, Rank, Rated, is_before};
use super::{Algorithm, Choice, Client, Live, Plan, Qos, Terms, Why};

/// A region as a client finds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegionScore {
    pub region: String,
    /// What speaks against it, each from 0 to 1; none: it has no endpoint.
    pub terms: Option<Terms>,
    /// All of that by the algorithm, the lower the better; none: it has no endpoint.
    pub total: Option<f32>,
    /// Round trip to the client, ms; none: unknown.
    pub rtt_ms: Option<f32>,
    /// Distance to the client, km; none: unknown.
    pub distance_km: Option<f32>,
    /// Its health score; none: unknown.
    pub health: Option<u8>,
    /// Endpoints of the service.
    pub endpoints: u32,
    /// Of those: up, serving, and taking new clients.
    pub ready: u32,
    /// Requests and connections under way, of this router.
    pub open: u32,
    /// Those in percent of what its endpoints can carry.
    pub load_percent: f32,
    /// Share of its clients that it takes.
    pub traffic_percent: u8,
    /// The client is in it.
    pub in_share: bool,
    /// 1 is taken first; none: it has no endpoint.
    pub rank: Option<u32>,
    /// Why it is not the one; none: it is the first.
    pub reason: Option<String>,
}

/// A decision with what it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    pub choice: Option<Choice>,
    /// So few endpoints are up that what the federation says of them counts.
    pub doubt: bool,
    /// Every region of the table.
    pub scores: Vec<RegionScore>,
    pub sentence: String,
}

/// A region with where it stands.
struct Ranked<'a> {
    rated: &'a Rated,
    stage: Stage,
    order: Order,
}

impl Plan {
    /// Every region of the table as a client of a service finds it; empty when there is no such service.
    pub fn scores(&self, service: usize, client: &Client, live: &dyn Live) -> Vec<RegionScore> {
        self.explain(service, client, live, &[]).scores
    }

    /// What [`Plan::choose`] answers, and why.
    pub fn explain(&self, service: usize, client: &Client, live: &dyn Live, not: &[u32]) -> Explained {
        let Some(asked) = self.asked(service, client, live, not) else {
            let sentence = "there is no such service".to_owned();
            return Explained { choice: None, doubt: false, scores: Vec::new(), sentence };
        };
        let rated = self.rate(asked.service, client, live, asked.doubt);
        let ranked = ranked(&asked, &rated);
        let choice = self.choose(service, client, live, not);
        Explained {
            choice,
            doubt: asked.doubt,
            scores: (0u16..).zip(&self.regions).map(|(at, _)| self.score(at, &asked, &ranked)).collect(),
            sentence: self.sentence(&asked, choice),
        }
    }

    fn score(&self, at: u16, asked: &Asked<'_>, ranked: &[Ranked<'_>]) -> RegionScore {
        let part = &self.regions[at as usize];
        let of = |it: &Ranked<'_>| &asked.service.candidates[it.rated.candidate];
        let place = ranked.iter().position(|it| of(it).region == at);
        let it = place.map(|place| &ranked[place]);
        let known = |value: Option<f32>| value.filter(|value| !value.is_nan());
        let reason = match place {
            None => Some("it has no endpoint of the service".to_owned()),
            Some(0) => None,
            Some(place) => Some(self.reason(&ranked[place], &ranked[0], asked)),
        };
        RegionScore {
            region: part.name.clone(),
            terms: it.map(|it| it.rated.terms),
            total: it.map(|it| it.rated.total),
            rtt_ms: known(it.map(|it| it.rated.rtt_ms)),
            distance_km: known(it.map(|it| it.rated.distance_km)),
            health: part.health,
            endpoints: it.map_or(0, |it| of(it).all),
            ready: it.map_or(0, |it| it.rated.sums.ready),
            open: it.map_or(0, |it| it.rated.sums.open),
            load_percent: it.map_or(0.0, |it| it.rated.load),
            traffic_percent: part.traffic_percent,
            in_share: it.is_some_and(|it| it.rated.in_share),
            rank: place.map(|place| place as u32 + 1),
            reason,
        }
    }

    /// Why a region is not the first.
    fn reason(&self, it: &Ranked<'_>, first: &Ranked<'_>, asked: &Asked<'_>) -> String {
        match it.stage {
            Stage::Ready => {}
            Stage::Up => return "none of its endpoints serves and takes new clients".to_owned(),
            Stage::Serving => return "none of its endpoints answers the router".to_owned(),
            Stage::Untried => return "none of its endpoints is well".to_owned(),
            Stage::Any => return "all of its endpoints were tried and failed".to_owned(),
        }
        let region =
            |it: &Ranked<'_>| &self.regions[asked.service.candidates[it.rated.candidate].region as usize];
        let (part, best) = (region(it), region(first));
        let percent = part.traffic_percent;
        match it.order.0 {
            Rank::Out if !part.takes_part => "it takes no part in users' traffic".to_owned(),
            Rank::Out => "its share of the traffic is 0 %".to_owned(),
            Rank::Unhealthy | Rank::UnhealthyFull | Rank::UnhealthyNotInShare => {
                let health = part.health.unwrap_or_default();
                format!("its health score is {health}, below {}", self.policy.least_health)
            }
            Rank::NotInShare | Rank::NotInShareFull => {
                format!("it takes {percent} % of its clients, and this one is not among them")
            }
            Rank::Full => format!(
                "it is full: {:.0} % of what it can carry, and {} requests go elsewhere from {:.0} % on",
                it.rated.load,
                qos(asked.service.qos),
                asked.service.limit
            ),
            Rank::Unknown if first.rated.standing == Standing::Healthy => "its health is unknown".to_owned(),
            Rank::Unknown | Rank::Healthy => {
                format!("{} is better: {:.3} against {:.3}", best.name, first.rated.total, it.rated.total)
            }
        }
    }

    fn sentence(&self, asked: &Asked<'_>, choice: Option<Choice>) -> String {
        let service = &asked.service.name;
        let Some(choice) = choice else { return format!("service {service} has no endpoint") };
        let region = self.regions.get(choice.region as usize).map_or("", |region| &region.name);
        let by = match self.policy.algorithm {
            Algorithm::Latency => "round trip",
            Algorithm::Cost => "price",
            Algorithm::LoadBalanced => "free capacity",
            Algorithm::GeoProximity => "distance",
            Algorithm::Hybrid => "all weights together",
        };
        let why = match choice.why {
            Why::Best => format!("it is the best by {by}"),
            Why::Pinned => "the client was sent there before and stays".to_owned(),
            Why::Share => {
                "better regions take only a share of their clients, and this one is not in it".to_owned()
            }
            Why::Spilled => format!("better regions are full for {} requests", qos(asked.service.qos)),
            Why::LeastBad => "nothing is well, and this is the least bad".to_owned(),
        };
        let doubt = if asked.doubt {
            format!(
                "; fewer than {} % of the endpoints seem to be up, so that what the federation says of them counts",
                self.policy.doubt_below_percent
            )
        } else {
            String::new()
        };
        format!("service {service} goes to {region}: {why}{doubt}")
    }
}

/// What is taken first comes first.
fn ranked<'a>(asked: &Asked<'_>, rated: &'a [Rated]) -> Vec<Ranked<'a>> {
    let stage = |it: &Rated| STAGES.into_iter().find(|stage| asked.has(*stage, it)).unwrap_or(Stage::Any);
    let mut ranked: Vec<Ranked<'_>> = rated
        .iter()
        .map(|rated| {
            let stage = stage(rated);
            Ranked { rated, stage, order: asked.order(stage, rated) }
        })
        .collect();
    ranked.sort_by(|one, other| {
        one.stage.cmp(&other.stage).then_with(|| {
            let before = |one: &Ranked<'_>, other: &Ranked<'_>| is_before(one.order, other.order);
            before(other, one).cmp(&before(one, other))
        })
    });
    ranked
}

fn qos(qos: Qos) -> &'static str {
    match qos {
        Qos::Critical => "critical",
        Qos::Standard => "standard",
        Qos::Bulk => "bulk",
    }
}
