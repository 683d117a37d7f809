//! Emulated links of a development federation: a file that every process of it obeys.

use std::path::Path;

use dwcp_api::Problem;
use dwcp_api::link::{Link, LinkList, LinkSet, LinkSetRequest, LinkTable as ApiTable};
use dwcp_api::page::Nothing;
use dwcp_mesh::wan::LinkTable;
use dwcp_types::{Code, Refusal};

use super::call::{Call, bad_value};
use super::names;
use super::routes::Serve;

fn path(call: &Call) -> Result<&Path, Problem> {
    call.api.wan.as_deref().ok_or_else(|| {
        let refusal =
            Refusal::new(Code::OnlyInDevelopment, "links are emulated only in a development federation");
        Problem::from(&refusal.because("`dev: true` and `wan: FILE` are not in this region's dwcpd.yaml"))
    })
}

fn broken(what: &str, error: &std::io::Error) -> Problem {
    Problem::from(
        &Refusal::new(Code::NotReady, format!("the file of emulated links can't be {what}"))
            .because(error.to_string()),
    )
}

/// The table in force; an ideal network where there is no file yet.
fn load(path: &Path) -> Result<LinkTable, Problem> {
    match LinkTable::load(path) {
        Ok(table) => Ok(table),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(LinkTable::default()),
        Err(error) => Err(broken("read", &error)),
    }
}

fn show(table: &LinkTable, regions: &[String]) -> ApiTable {
    let mut links = Vec::new();
    for from in regions {
        for to in regions.iter().filter(|to| *to != from) {
            let shape = table.shape(from, to);
            links.push(Link {
                from: from.clone(),
                to: to.clone(),
                rtt_ms: shape.delay_us as f64 * 2.0 / 1_000.0,
                loss_percent: f64::from(shape.loss_ppm) / 10_000.0,
                jitter_ms: shape.jitter_us as f64 / 1_000.0,
                rate_mbit_s: shape.rate_bps.map(|bps| bps as f64 / 1e6),
                cut: shape.cut,
            });
        }
    }
    ApiTable { links }
}

async fn regions(call: &Call) -> Result<Vec<String>, Problem> {
    call.look(|view| view.node.regions().values().map(|region| region.as_str().to_owned()).collect()).await
}

impl Serve for LinkList {
    async fn answer(call: &Call, _: Nothing) -> Result<ApiTable, Problem> {
        let table = load(path(call)?)?;
        Ok(show(&table, &regions(call).await?))
    }
}

/// A number from 0 to `most`, scaled to the table's unit.
fn scaled(field: &str, value: Option<f64>, most: f64, scale: f64) -> Result<Option<u64>, Problem> {
    match value {
        None => Ok(None),
        Some(value) if value.is_finite() && (0.0..=most).contains(&value) => {
            Ok(Some((value * scale).round() as u64))
        }
        Some(value) => Err(bad_value(field, format!("{value} is not from 0 to {most}"))),
    }
}

struct Change {
    delay_us: Option<u64>,
    jitter_us: Option<u64>,
    loss_ppm: Option<u64>,
    rate_bps: Option<u64>,
    cut: Option<bool>,
    heal: bool,
}

impl Change {
    fn of(request: &LinkSetRequest) -> Result<Change, Problem> {
        Ok(Change {
            delay_us: scaled("rtt_ms", request.rtt_ms, 60_000.0, 500.0)?,
            jitter_us: scaled("jitter_ms", request.jitter_ms, 60_000.0, 1_000.0)?,
            loss_ppm: scaled("loss_percent", request.loss_percent, 100.0, 10_000.0)?,
            rate_bps: scaled("rate_mbit_s", request.rate_mbit_s, 100_000.0, 1e6)?,
            cut: request.cut,
            heal: request.heal,
        })
    }

    fn apply(&self, table: &mut LinkTable, from: &str, to: &str) {
        if self.heal {
            return table.mend(from, to);
        }
        table.edit(from, to, |shape| {
            shape.delay_us = self.delay_us.unwrap_or(shape.delay_us);
            shape.jitter_us = self.jitter_us.unwrap_or(shape.jitter_us);
            shape.loss_ppm = self.loss_ppm.map_or(shape.loss_ppm, |ppm| ppm as u32);
            if let Some(bps) = self.rate_bps {
                // 0 lifts the limit.
                shape.rate_bps = (bps > 0).then_some(bps);
            }
            shape.cut = self.cut.unwrap_or(shape.cut);
        });
    }
}

/// The ordered pairs that a request names.
fn pairs(request: &LinkSetRequest, regions: &[String]) -> Result<Vec<(String, String)>, Problem> {
    let ends = |name: &str| -> Result<Vec<String>, Problem> {
        if name == "all" {
            return Ok(regions.to_vec());
        }
        let known = regions.iter().any(|region| region == name);
        if known { Ok(vec![name.to_owned()]) } else { Err(names::unknown_region(name)) }
    };
    let (from, to) = (ends(&request.from)?, ends(&request.to)?);
    if request.from == request.to && request.from != "all" {
        return Err(bad_value("to", "a region's inside is never emulated: name two regions"));
    }
    let mut pairs = Vec::new();
    for a in &from {
        for b in to.iter().filter(|b| *b != a) {
            pairs.push((a.clone(), b.clone()));
            if !request.one_way {
                pairs.push((b.clone(), a.clone()));
            }
        }
    }
    Ok(pairs)
}

impl Serve for LinkSet {
    async fn answer(call: &Call, request: LinkSetRequest) -> Result<ApiTable, Problem> {
        let path = path(call)?;
        let regions = regions(call).await?;
        let pairs = pairs(&request, &regions)?;
        let change = Change::of(&request)?;
        let _one_at_a_time = call.api.editing_links.lock().await;
        let mut table = load(path)?;
        for (from, to) in &pairs {
            change.apply(&mut table, from, to);
        }
        if !request.dry_run {
            table.store(path).map_err(|error| broken("written", &error))?;
        }
        Ok(show(&table, &regions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions() -> Vec<String> {
        ["us-east-1", "eu-west-1", "ap-south-1"].map(str::to_owned).to_vec()
    }

    fn request(from: &str, to: &str) -> LinkSetRequest {
        LinkSetRequest { from: from.to_owned(), to: to.to_owned(), ..LinkSetRequest::default() }
    }

    #[test]
    fn a_link_is_two_directions_unless_one_way() {
        assert_eq!(pairs(&request("us-east-1", "eu-west-1"), &regions()).expect("pairs").len(), 2);
        let one_way = LinkSetRequest { one_way: true, ..request("us-east-1", "all") };
        assert_eq!(pairs(&one_way, &regions()).expect("pairs").len(), 2);
        assert_eq!(pairs(&request("mars-1", "all"), &regions()).expect_err("unknown").status, 404);
        assert_eq!(pairs(&request("us-east-1", "us-east-1"), &regions()).expect_err("same").status, 400);
    }

    #[test]
    fn a_round_trip_is_shown_as_it_was_set() {
        let asked = LinkSetRequest {
            rtt_ms: Some(80.5),
            loss_percent: Some(2.5),
            ..request("us-east-1", "eu-west-1")
        };
        let mut table = LinkTable::default();
        Change::of(&asked).expect("change").apply(&mut table, "us-east-1", "eu-west-1");
        let shown = show(&table, &regions()).links;
        let link =
            shown.iter().find(|link| link.from == "us-east-1" && link.to == "eu-west-1").expect("link");
        assert_eq!((link.rtt_ms, link.loss_percent), (80.5, 2.5));
        assert!(Change::of(&LinkSetRequest { loss_percent: Some(101.0), ..asked }).is_err());
    }
}
