//! Where another region would help, and what it would cost: every factor with where it comes from, and what is not known said
//! as that.

mod catalogue;
mod cost;

use std::collections::BTreeSet;

use dwcp_state::{Coordinates, Federation, Region};
use dwcp_types::RegionId;

pub use catalogue::{Catalogue, Figure};
pub use cost::{CostAnalysis, CostLine, cost_analysis};

use crate::Measured;

/// Points of each factor, best.
const LATENCY: f64 = 40.0;
const COST: f64 = 30.0;
const COMPLIANCE: f64 = 15.0;
const RISK: f64 = 15.0;
/// A mean round trip that gets no point, ms.
const FAR_MS: f64 = 300.0;
/// What the guide wants to be saved, percent.
pub const WORTH_PERCENT: f64 = 20.0;
/// Regions so far apart share no storm and no quake, km.
const APART_KM: f64 = 1_000.0;

/// One thing that speaks for or against a region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Factor {
    /// `latency`, `cost`, `compliance`, `shared risk`.
    pub name: &'static str,
    /// Points, of `most`; none: not known, and counted as nothing.
    pub points: Option<f64>,
    /// Points of the best.
    pub most: f64,
    /// What was found, or what is missing.
    pub found: String,
    /// Where that comes from.
    pub from: String,
}

/// A region that could be added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub region: String,
    /// It is a region of the federation already.
    pub there: bool,
    /// Points together.
    pub points: f64,
    /// Points that could be judged.
    pub judged: f64,
    /// In the order of their weight.
    pub factors: Vec<Factor>,
}

/// The candidates, best first.
pub fn evaluate(
    view: &Federation,
    measured: &Measured,
    catalogue: &Catalogue,
    names: &BTreeSet<String>,
) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = names
        .iter()
        .map(|name| {
            let factors = vec![
                latency(view, measured, catalogue, name),
                price(view, catalogue, name),
                compliance(view, catalogue, name),
                risk(view, catalogue, name),
            ];
            let judged = factors.iter().filter(|factor| factor.points.is_some()).map(|factor| factor.most);
            Candidate {
                region: name.clone(),
                there: view.core.regions.contains_key(&RegionId::from(name.as_str())),
                points: factors.iter().filter_map(|factor| factor.points).sum(),
                judged: judged.sum(),
                factors,
            }
        })
        .collect();
    all.sort_by(|a, b| b.points.total_cmp(&a.points).then(a.region.cmp(&b.region)));
    all
}

/// The regions that are there, without the candidate.
fn others<'v>(view: &'v Federation, name: &str) -> impl Iterator<Item = &'v Region> {
    let name = RegionId::from(name);
    view.core.regions.values().filter(move |region| region.takes_part() && region.id != name)
}

fn factor(name: &'static str, most: f64, points: Option<f64>, found: String, from: String) -> Factor {
    Factor { name, points: points.map(|points| points.clamp(0.0, most)), most, found, from }
}

/// The mean round trip to where traffic is answered today.
fn latency(view: &Federation, measured: &Measured, catalogue: &Catalogue, name: &str) -> Factor {
    let (mut sum, mut weights, mut missing, mut sources) = (0.0, 0.0, Vec::new(), BTreeSet::new());
    let traffic = |region: &Region| {
        let vms = view.regions.get(&region.id).map_or(0, |facts| facts.vms.len());
        vms as f64 * f64::from(region.traffic_percent)
    };
    let answered: f64 = others(view, name).map(traffic).sum();
    for region in others(view, name) {
        let weight = if answered > 0.0 { traffic(region) } else { 1.0 };
        let known =
            measured.rtt(&RegionId::from(name), &region.id).map(|ms| (ms as f64, "measured".to_owned()));
        let listed =
            || catalogue.rtt_ms(name, region.id.as_str()).map(|(ms, figure)| (ms, figure.source_and_date()));
        match known.or_else(listed) {
            Some((ms, source)) => {
                (sum, weights) = (sum + ms * weight, weights + weight);
                sources.insert(source);
            }
            None if weight > 0.0 => missing.push(region.id.to_string()),
            None => {}
        }
    }
    if weights == 0.0 || !missing.is_empty() {
        let found = format!(
            "no round trip is known to {}",
            if missing.is_empty() { "any region".to_owned() } else { missing.join(", ") }
        );
        return factor("latency", LATENCY, None, found, String::new());
    }
    let ms = sum / weights;
    let of = if answered > 0.0 { "VMs and shares of traffic" } else { "regions alike: there is no VM" };
    let sources: Vec<String> = sources.into_iter().collect();
    factor(
        "latency",
        LATENCY,
        Some(LATENCY * (1.0 - ms / FAR_MS)),
        format!(
            "{ms:.0} ms on average to where traffic is answered today, by {of}; nobody measures where users are"
        ),
        sources.join("; "),
    )
}

fn price(view: &Federation, catalogue: &Catalogue, name: &str) -> Factor {
    let analysis = cost_analysis(view, catalogue, name, 1);
    match analysis.saving_percent {
        Some(saving) => factor(
            "cost",
            COST,
            Some(COST / 2.0 * (1.0 + saving / WORTH_PERCENT)),
            format!("a VM of mean size costs {} than in today's regions", cost::cheaper(saving)),
            analysis.candidate.from.clone(),
        ),
        None => factor("cost", COST, None, analysis.missing.join("; "), String::new()),
    }
}

fn compliance(view: &Federation, catalogue: &Catalogue, name: &str) -> Factor {
    let needed: BTreeSet<&String> = view.vms().flat_map(|(_, vm)| &vm.rules.compliance).collect();
    let record = view.core.regions.get(&RegionId::from(name));
    let law = record.map(|region| region.jurisdiction.clone()).filter(|law| !law.is_empty());
    let law = law.or_else(|| catalogue.get(name, "jurisdiction").map(|figure| figure.value.clone()));
    let law = law.map_or("its jurisdiction is not known".to_owned(), |law| format!("jurisdiction {law}"));
    if needed.is_empty() {
        let found = format!("no VM needs a compliance tag; {law}");
        return factor("compliance", COMPLIANCE, Some(COMPLIANCE), found, "rules of the VMs".to_owned());
    }
    let Some(region) = record else {
        let tags: Vec<&str> = needed.iter().map(|tag| tag.as_str()).collect();
        let found = format!("VMs need {}; nobody has said which tags it carries; {law}", tags.join(", "));
        return factor("compliance", COMPLIANCE, None, found, String::new());
    };
    let lacks: Vec<&str> =
        needed.iter().filter(|tag| !region.compliance.contains(**tag)).map(|tag| tag.as_str()).collect();
    let carried = (needed.len() - lacks.len()) as f64 / needed.len() as f64;
    let lacks = if lacks.is_empty() {
        "every tag that VMs need".to_owned()
    } else {
        format!("not {}", lacks.join(", "))
    };
    let from = "what operators say of the region".to_owned();
    factor("compliance", COMPLIANCE, Some(COMPLIANCE * carried), format!("it carries {lacks}; {law}"), from)
}

/// Latitude and longitude in degrees.
fn place(view: &Federation, catalogue: &Catalogue, name: &str) -> Option<(f64, f64)> {
    let record = view.core.regions.get(&RegionId::from(name));
    let said = record.and_then(|region| region.site.coordinates).map(Coordinates::degrees);
    said.map(|(latitude, longitude)| (latitude as f64 / 1e6, longitude as f64 / 1e6))
        .or_else(|| catalogue.place(name))
}

/// The great circle, km.
fn distance_km(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (from, to) = (a.0.to_radians(), b.0.to_radians());
    let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let chord = half(b.0 - a.0) + from.cos() * to.cos() * half(b.1 - a.1);
    2.0 * 6_371.0 * chord.sqrt().min(1.0).asin()
}

fn risk(view: &Federation, catalogue: &Catalogue, name: &str) -> Factor {
    let grid = |of: &str| catalogue.get(of, "grid").map(|figure| figure.value.clone());
    let Some(own) = place(view, catalogue, name) else {
        return factor("shared risk", RISK, None, "where it lies is not known".to_owned(), String::new());
    };
    let mut nearest: Option<(f64, &RegionId)> = None;
    for region in others(view, name) {
        let Some(other) = place(view, catalogue, region.id.as_str()) else {
            let found = format!("where {} lies is not known", region.id);
            return factor("shared risk", RISK, None, found, String::new());
        };
        let km = distance_km(own, other);
        if nearest.is_none_or(|(least, _)| km < least) {
            nearest = Some((km, &region.id));
        }
    }
    let Some((km, nearest)) = nearest else {
        return factor(
            "shared risk",
            RISK,
            None,
            "there is no region to share a risk with".to_owned(),
            String::new(),
        );
    };
    let shared = grid(name)
        .and_then(|own| others(view, name).find(|region| grid(region.id.as_str()).as_ref() == Some(&own)));
    let (points, with) = match (grid(name), shared) {
        (Some(own), Some(region)) => (0.0, format!("the same electricity grid ({own}) as {}", region.id)),
        (Some(own), None) => {
            (RISK * (km / APART_KM).min(1.0), format!("an electricity grid of its own ({own})"))
        }
        (None, _) => (RISK * (km / APART_KM).min(1.0), "its electricity grid is not known".to_owned()),
    };
    let found = format!("{km:.0} km to the nearest region, {nearest}; {with}");
    factor("shared risk", RISK, Some(points), found, "coordinates of the regions; catalogue".to_owned())
}
