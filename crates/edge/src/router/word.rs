//! What this router tells the node about itself, and hears of the others.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use dwcp_decide::ddos::RouterReport;
use dwcp_roles::node::Opaque;
use dwcp_roles::protocol::{FlowWord, RouterBeat, RouterFigures, RouterWord, SHIELD_BYTES_MOST, TimesWord};
use dwcp_types::{RegionId, VERSION};

use super::{Shared, shielded};
use crate::figures::{Flow, Times};

/// Decisions are summed up at these percentiles.
const PERCENTILES: [f64; 3] = [0.50, 0.95, 0.99];

/// What it is doing, and what it counted.
pub fn word(shared: &Shared) -> RouterWord {
    let figures = &shared.current.figures;
    let flows: Vec<FlowWord> =
        figures.flows().iter().map(|((service, region), flow)| flow_word(service, region, flow)).collect();
    let dns = [
        ("answered", &figures.dns_answered),
        ("truncated", &figures.dns_truncated),
        ("dropped", &figures.dns_dropped),
        ("malformed", &figures.dns_malformed),
    ];
    let dns = dns.map(|(name, count)| (name.to_owned(), count.load(Relaxed))).to_vec();
    let decisions = times_word(&figures.decisions);
    let report = shared.shield.report();
    let kept_out = report.counters.clone().into_iter().collect();
    let early_packets = shared.early.lock().unwrap_or_else(PoisonError::into_inner).dropped.packets;
    let spilled = figures.spilled.load(Relaxed);
    let attacks = shielded::attacks(shared, &report);
    let beat = beat(shared, &flows, &decisions, &report);
    let lines = shielded::kept_out(shared);
    let figures = RouterFigures { decisions, flows, dns, kept_out, spilled, attacks, early_packets };
    RouterWord { beat, figures, lines }
}

fn beat(shared: &Shared, flows: &[FlowWord], decisions: &TimesWord, report: &RouterReport) -> RouterBeat {
    let (config, routes) = (&shared.settings.config, shared.current.routes());
    let addresses =
        |all: &[std::net::SocketAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let answers = |class: usize| -> u64 { flows.iter().filter_map(|flow| flow.answers.get(class)).sum() };
    let figures = &shared.current.figures;
    RouterBeat {
        pid: std::process::id(),
        version: VERSION.to_string(),
        http: addresses(&config.http),
        https: addresses(&config.https),
        dns: addresses(&config.dns),
        table_revision: routes.table.revisions.get(&0).copied().unwrap_or(0),
        table_made_at_ms: routes.table.made_at_ms,
        services: routes.table.services.len() as u64,
        endpoints: routes.table.services.iter().map(|row| row.endpoints.len() as u64).sum(),
        endpoints_up: routes.pools.iter().map(|pool| u64::from(pool.up())).sum(),
        connections: figures.connections.load(Relaxed),
        requests: (0..6).map(answers).sum(),
        dns_answers: figures.dns_answered.load(Relaxed),
        failures: answers(0) + answers(5),
        remembered: shared.current.remembered.used.load(Relaxed),
        decided: decisions.buckets.iter().map(|(_, count)| count).sum(),
        decision_ns: quantiles(decisions),
        trouble: shared.troubles(),
        shield: Opaque(passed_on(report.clone())),
        usage: dwcp_machine::process::used(std::process::id()),
        fd_limit: fd_limit(),
        dpdk: super::early::dpdk_program(&shared.settings).is_some_and(|program| program.is_file()),
        uptime_ms: shared.begun.elapsed().as_millis() as u64,
        ..RouterBeat::default()
    }
}

/// The most files that this process may have open; none: no limit.
fn fd_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one struct of ours.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (done == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// A report as far as it is passed on: the blocks that end last go first, and as many attacks as fit beside them.
fn passed_on(mut report: RouterReport) -> Vec<u8> {
    report.blocks.sort_by_key(|block| std::cmp::Reverse(block.until_ms));
    loop {
        let bytes = serde_json::to_vec(&report).unwrap_or_default();
        if bytes.len() <= SHIELD_BYTES_MOST {
            return bytes;
        }
        let (blocks, attacks) = (report.blocks.len(), report.attacks.len());
        match attacks > blocks / 8 {
            true => report.attacks.truncate(attacks / 2),
            false => report.blocks.truncate(blocks / 2),
        }
        if blocks + attacks == 0 {
            return Vec::new();
        }
    }
}

fn times_word(times: &Times) -> TimesWord {
    let (buckets, sum_ns) = times.read();
    TimesWord { buckets: buckets.into_iter().map(|(bucket, count)| (bucket.into(), count)).collect(), sum_ns }
}

fn flow_word(service: &str, region: &str, flow: &Flow) -> FlowWord {
    FlowWord {
        service: service.to_owned(),
        region: RegionId::from(region),
        answers: flow.answers.iter().map(|count| count.load(Relaxed)).collect(),
        retries: flow.retries.load(Relaxed),
        upstream: times_word(&flow.upstream),
        bytes_in: flow.bytes_in.load(Relaxed),
        bytes_out: flow.bytes_out.load(Relaxed),
    }
}

/// The upper ends of the buckets in which the percentiles lie, ns; nothing before the first decision.
fn quantiles(times: &TimesWord) -> Vec<u64> {
    let all: u64 = times.buckets.iter().map(|(_, count)| count).sum();
    let at = |share: f64| {
        let rank = (all as f64 * share).ceil() as u64;
        let mut below = 0;
        let found = times.buckets.iter().find(|(_, count)| {
            below += count;
            below >= rank
        });
        found.map_or(0, |(bucket, _)| (*bucket as f64 / 8.0).exp2().ceil() as u64)
    };
    if all == 0 { Vec::new() } else { PERCENTILES.map(at).to_vec() }
}

#[cfg(test)]
mod tests {
    use dwcp_decide::ddos::{Action, Block, Target, Traffic};

    use super::*;

    #[test]
    fn what_is_passed_on_of_attackers_fits_and_is_whole() {
        let block = |number: u32| Block {
            id: format!("block-{number}"),
            what: Target::Asn(number),
            action: Action::Blacklist,
            by: "router h1/0".into(),
            reason: "it sends two thousand requests a second and is alone with that".into(),
            at_ms: 1,
            until_ms: u64::from(number),
            attack: None,
            limit: None,
        };
        let mut report: RouterReport = serde_json::from_value(serde_json::json!({
            "router": "h1/0", "at_ms": 1, "attacks": [], "blocks": [], "counters": {},
            "traffic": serde_json::to_value(Traffic::default()).expect("text"),
        }))
        .expect("a report");
        report.blocks = (0..1_024).map(block).collect();
        let bytes = passed_on(report);
        let read: RouterReport = serde_json::from_slice(&bytes).expect("whole");
        assert!(bytes.len() <= SHIELD_BYTES_MOST && read.blocks.len() >= 256, "{}", read.blocks.len());
        assert!(read.blocks.iter().all(|block| block.until_ms >= 512), "those that end last");
    }

    #[test]
    fn a_percentile_is_the_end_of_its_bucket() {
        let times = TimesWord { buckets: vec![(80, 98), (96, 1), (160, 1)], sum_ns: 0 };
        assert_eq!(quantiles(&times), vec![1024, 1024, 4096]);
        assert_eq!(quantiles(&TimesWord::default()), Vec::<u64>::new());
    }
}
