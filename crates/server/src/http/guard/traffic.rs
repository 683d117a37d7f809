//! Who sends how much to what.

use std::collections::BTreeMap;

use dwcp_api::Problem;
use dwcp_api::guard::{
    TrafficFlow, TrafficRead, TrafficReadRequest, TrafficSeen, TrafficService, TrafficTalker,
};
use dwcp_decide::ddos::{ServiceTraffic, Talker, Traffic};
use dwcp_telemetry::model::{Labels, Value};
use dwcp_types::RegionId;

use super::super::call::{Call, bad_value};
use super::super::metrics::blocking;
use super::super::routes::Serve;
use super::super::{names, reader};
use crate::clock;
use crate::monitor::attacks::said;
use crate::telemetry::reader::Reader;

/// What is looked back on without an own wish, and at most, ms.
const SINCE_MS: u64 = 600_000;
const LONGEST_MS: u64 = 31 * 86_400_000;
/// Heaviest that are told of each kind.
const MOST: usize = 20;

/// What is counted since then: by labels, from all regions or one.
struct Counted<'a> {
    reader: &'a Reader,
    region: Option<&'a str>,
    since_s: u64,
    at_ms: i64,
}

impl Counted<'_> {
    fn of(&self, by: &str, metric: &str) -> Result<Vec<(Labels, u64)>, String> {
        let only = self.region.map(|region| format!("{{region=\"{region}\"}}")).unwrap_or_default();
        let text = format!("sum by ({by}) (increase({metric}{only}[{}s]))", self.since_s);
        let found = self.reader.evaluate(&text, self.at_ms)?;
        let counted = |(labels, value)| match value {
            Value::Float(count) => Some((labels, count.max(0.0).round() as u64)),
            Value::Histogram(_) => None,
        };
        Ok(found.into_iter().filter_map(counted).collect())
    }
}

fn flows(counted: &Counted<'_>) -> Result<Vec<TrafficFlow>, String> {
    let mut flows: BTreeMap<(String, String), TrafficFlow> = BTreeMap::new();
    let mut add =
        |metric: &str, by: &str, put: &dyn Fn(&mut TrafficFlow, &Labels, u64)| -> Result<(), String> {
            for (labels, count) in counted.of(by, metric)? {
                let name = |label: &str| labels.get(label).to_owned();
                let (service, region) = (name("service"), name("to"));
                let flow = flows.entry((service.clone(), region.clone())).or_insert_with(|| TrafficFlow {
                    service,
                    region,
                    ..TrafficFlow::default()
                });
                put(flow, &labels, count);
            }
            Ok(())
        };
    add("dwcp_federation_requests_total", "service, to", &|flow, _, count| flow.requests = count)?;
    add("dwcp_federation_request_errors_total", "service, to", &|flow, _, count| flow.errors = count)?;
    add(
        "dwcp_federation_request_bytes_total",
        "service, to, direction",
        &|flow, labels, count| match labels.get("direction") {
            "up" => flow.bytes_up = count,
            _ => flow.bytes_down = count,
        },
    )?;
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    flows.values().for_each(|flow| *all.entry(flow.service.clone()).or_default() += flow.requests);
    let mut flows: Vec<TrafficFlow> = flows.into_values().filter(|flow| flow.requests > 0).collect();
    for flow in &mut flows {
        flow.rate = flow.requests as f64 / counted.since_s as f64;
        let of_all = all.get(&flow.service).copied().unwrap_or_default().max(1);
        flow.share_percent = flow.requests as f64 * 100.0 / of_all as f64;
    }
    Ok(flows)
}

fn verdicts(counted: &Counted<'_>) -> Result<BTreeMap<String, u64>, String> {
    let found = counted.of("verdict", "dwcp_federation_ddos_verdicts_total")?;
    let named = |(labels, count): (Labels, u64)| (labels.get("verdict").to_owned(), count);
    Ok(found.into_iter().map(named).filter(|(_, count)| *count > 0).collect())
}

/// What all routers see, put together.
fn together(all: &[Traffic]) -> (Vec<TrafficService>, [Vec<TrafficTalker>; 4]) {
    let requests: u64 = all.iter().flat_map(|one| &one.services).map(|service| service.requests).sum();
    let talkers = |of: fn(&Traffic) -> &Vec<Talker>| heaviest(all.iter().flat_map(of), requests);
    let kinds = [
        talkers(|one| &one.sources),
        talkers(|one| &one.networks),
        talkers(|one| &one.asns),
        talkers(|one| &one.countries),
    ];
    (services(all.iter().flat_map(|one| &one.services)), kinds)
}

fn services<'a>(all: impl Iterator<Item = &'a ServiceTraffic>) -> Vec<TrafficService> {
    let mut found: BTreeMap<&str, (TrafficService, u64)> = BTreeMap::new();
    for one in all {
        let empty = || (TrafficService { service: one.service.clone(), ..TrafficService::default() }, 0);
        let (sum, most) = found.entry(&one.service).or_insert_with(empty);
        sum.requests += one.requests;
        sum.errors += one.errors;
        sum.bytes += one.bytes;
        sum.sources += one.sources;
        sum.usual = [sum.usual, one.usual].into_iter().flatten().reduce(|a, b| a + b);
        // The path of the router that has most of it.
        if one.requests >= *most {
            *most = one.requests;
            sum.top_path.clone_from(&one.top_path);
            sum.top_path_percent = one.top_path_percent;
        }
    }
    let mut all: Vec<TrafficService> = found.into_values().map(|(service, _)| service).collect();
    all.sort_by(|a, b| (b.requests, &a.service).cmp(&(a.requests, &b.service)));
    all
}

fn heaviest<'a>(all: impl Iterator<Item = &'a Talker>, requests: u64) -> Vec<TrafficTalker> {
    let mut found: BTreeMap<&str, TrafficTalker> = BTreeMap::new();
    for one in all {
        let sum = found
            .entry(&one.who)
            .or_insert_with(|| TrafficTalker { who: one.who.clone(), ..TrafficTalker::default() });
        sum.requests += one.requests;
        sum.connections += one.connections;
        sum.bytes += one.bytes;
        sum.errors += one.errors;
    }
    let mut all: Vec<TrafficTalker> = found.into_values().collect();
    for one in &mut all {
        one.share_percent = (one.requests * 100 / requests.max(1)).min(100) as u32;
    }
    all.sort_by(|a, b| {
        (b.requests, b.connections, b.bytes, &a.who).cmp(&(a.requests, a.connections, a.bytes, &b.who))
    });
    all.truncate(MOST);
    all
}

impl Serve for TrafficRead {
    async fn answer(call: &Call, request: TrafficReadRequest) -> Result<TrafficSeen, Problem> {
        let since_ms = request.since_ms.unwrap_or(SINCE_MS);
        if !(1_000..=LONGEST_MS).contains(&since_ms) {
            return Err(bad_value("since_ms", "1 s to 31 days"));
        }
        let only = request.region.clone();
        let (said, as_of) = call
            .find(move |view| {
                if let Some(region) = &only {
                    names::region(view, region)?;
                }
                Ok((said(view), names::as_of_federation(view)))
            })
            .await?;
        let only = &request.region;
        let wanted = |region: &RegionId| only.as_ref().is_none_or(|only| only == region.as_str());
        let told = said.read().into_iter().filter(|(region, _)| wanted(region));
        let traffic: Vec<Traffic> = told.map(|(_, report)| report.traffic).collect();
        let mut warnings = Vec::new();
        if traffic.is_empty() {
            warnings.push("no router is heard of".to_owned());
        }
        let reader = reader(&call.api).await?;
        let region = request.region.clone();
        let counts = move || {
            let counted = Counted {
                reader: &reader,
                region: region.as_deref(),
                since_s: since_ms.div_ceil(1_000),
                at_ms: clock::wall_ms(),
            };
            Ok((flows(&counted), verdicts(&counted), reader.missing()))
        };
        let (flows, verdicts, missing) = blocking(counts).await?;
        warnings.extend([flows.as_ref().err(), verdicts.as_ref().err()].into_iter().flatten().cloned());
        warnings.extend(missing.iter().map(|(region, why)| format!("{region} is missing: {why}")));
        let (services, [sources, networks, asns, countries]) = together(&traffic);
        Ok(TrafficSeen {
            since_ms,
            flows: flows.unwrap_or_default(),
            services,
            sources,
            networks,
            asns,
            countries,
            verdicts: verdicts.unwrap_or_default(),
            warnings,
            as_of,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_routers_see_of_the_same_is_added_and_the_heaviest_come_first() {
        let talker = |who: &str, requests| Talker { who: who.to_owned(), requests, ..Talker::default() };
        let shop = |requests, path: &str, usual| ServiceTraffic {
            service: "shop".to_owned(),
            requests,
            sources: 2,
            usual,
            top_path: path.to_owned(),
            ..ServiceTraffic::default()
        };
        let one = Traffic {
            services: vec![shop(30, "/", Some(10))],
            sources: vec![talker("10.0.0.1", 20), talker("10.0.0.2", 10)],
            ..Traffic::default()
        };
        let two = Traffic {
            services: vec![shop(70, "/login", None)],
            sources: vec![talker("10.0.0.2", 70)],
            ..Traffic::default()
        };
        let (services, [sources, ..]) = together(&[one, two]);
        assert_eq!(
            (services[0].requests, services[0].sources, services[0].usual, services[0].top_path.as_str()),
            (100, 4, Some(10), "/login")
        );
        let told: Vec<(&str, u64, u32)> =
            sources.iter().map(|one| (one.who.as_str(), one.requests, one.share_percent)).collect();
        assert_eq!(told, [("10.0.0.2", 80, 80), ("10.0.0.1", 20, 20)]);
    }
}
