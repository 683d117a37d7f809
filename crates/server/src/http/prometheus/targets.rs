//! Hosts as targets: what each measures (`/metrics/hosts/NAME`), where they all are (`/metrics/targets`, as Prometheus' discovery
//! over HTTP reads it), and how every target of the federation does (`/api/v1/targets`).

use std::collections::BTreeSet;
use std::sync::Arc;

use dwcp_api::Problem;
use dwcp_telemetry::exposition::{self, Format};
use dwcp_telemetry::model::{Labels, Value as Sampled};
use dwcp_telemetry::promql::{AnswerValue, Query};
use dwcp_types::{Code, Refusal};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Answered, Api, Refused, bounded, call, engine, unanswered, unescape};
use crate::handle::View;
use crate::telemetry::hosts::{HostName, JOB, families, own_hosts};
use crate::telemetry::regions::Federated;

/// What every target that was scraped of late says of itself.
const UP: &str = "up";

/// Answers what stands behind `/metrics/`.
pub async fn answer(api: &Arc<Api>, rest: &str, accept: &str) -> Result<Answered, Problem> {
    if rest == "targets" {
        return discovery(api).await;
    }
    let name = rest.strip_prefix("hosts/").and_then(unescape).filter(|name| !name.is_empty());
    let unknown =
        || Problem::from(&Refusal::new(Code::UnknownEndpoint, format!("there is no /metrics/{rest} here")));
    host(api, &name.ok_or_else(unknown)?, accept).await
}

/// What a host measures now.
async fn host(api: &Arc<Api>, host: &str, accept: &str) -> Result<Answered, Problem> {
    let unknown = || {
        let why = format!("no host {host} is of this region or linked to it");
        Problem::from(&Refusal::new(Code::UnknownHost, why))
    };
    let named = hosts(api).await?.into_iter().filter(|(_, name)| name == host);
    let wanted = named.min_by_key(|(region, _)| *region != api.region).ok_or_else(unknown)?;
    let silent = |why: &str| {
        Problem::from(
            &Refusal::new(Code::NotReady, format!("{host} does not say what it measures")).because(why),
        )
    };
    let hosts = api.hosts.as_ref().ok_or_else(|| silent("no host is linked to this process"))?;
    let measured = hosts.measure(&wanted).await.map_err(|why| silent(&why))?;
    let vms = measured.figures.vms.iter().map(|of| of.vm).collect();
    let known = hosts.known(&api.node, vms).await.ok_or_else(call::stopping)?;
    let format = Format::accepted(accept);
    let body = exposition::encode(format, &families(&wanted, &measured, &known));
    Ok(Answered { status: StatusCode::OK, media: format.content_type(), body })
}

/// Those that this process asks for its own store.
async fn hosts(api: &Arc<Api>) -> Result<BTreeSet<HostName>, Problem> {
    let own = api.node.look(own_hosts).await.ok_or_else(call::stopping)?;
    Ok(match &api.hosts {
        Some(hosts) => hosts.to_ask(own),
        None => own.into_iter().collect(),
    })
}

/// This process and the hosts that it asks: where each is scraped.
async fn discovery(api: &Arc<Api>) -> Result<Answered, Problem> {
    let address = api.node.look(address).await.ok_or_else(call::stopping)?;
    let target = |path: &str, labels: &[(&str, &str)]| {
        let mut all = serde_json::Map::new();
        all.insert("__metrics_path__".to_owned(), path.into());
        all.extend(labels.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))));
        json!({ "targets": [address], "labels": all })
    };
    let mut all = vec![target("/metrics", &[("job", "dwcpd"), ("instance", &api.region)])];
    for (region, host) in hosts(api).await? {
        let labels = [("job", JOB), ("instance", &*host), ("region", &*region), ("host", &*host)];
        all.push(target(&format!("/metrics/hosts/{host}"), &labels));
    }
    let body = Value::Array(all).to_string().into_bytes();
    Ok(Answered { status: StatusCode::OK, media: "application/json", body })
}

/// Where the API of this region's process answers.
fn address(view: &View<'_>) -> String {
    let region = view.node.facts().core.regions.get(&view.node.config().region);
    let url = region.map_or("", |region| &region.api);
    url.strip_prefix("https://").unwrap_or(url).trim_end_matches('/').to_owned()
}

/// Every target of the federation, as its region scraped it last. Blocks.
pub(super) fn all(source: &Federated, now: i64) -> Result<Value, Refused> {
    let query = Query::parse(UP).map_err(super::failed)?;
    let answer = engine().instant(source, &query, now).and_then(bounded);
    let AnswerValue::Vector(rows) = answer.map_err(|error| unanswered(&error))?.value else {
        return Err(super::failed("no vector"));
    };
    let active: Vec<Value> = rows.iter().map(|(labels, value)| shown(labels, value)).collect();
    Ok(json!({ "activeTargets": active, "droppedTargets": [] }))
}

fn shown(labels: &Labels, value: &Sampled) -> Value {
    let health = if *value == Sampled::Float(1.0) { "up" } else { "down" };
    let of: serde_json::Map<String, Value> = labels
        .iter()
        .filter(|(name, _)| *name != dwcp_telemetry::model::NAME)
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({ "labels": of, "discoveredLabels": of, "health": health, "scrapePool": labels.get("job") })
}
