//! A region that is there, looked at end to end.
//!
//! With `--full` a small VM is placed there, asked, moved to another region and back while it runs, and deleted. It is deleted
//! whatever fails on the way. When this program dies meanwhile, it is deleted by itself after a quarter of an hour, or by the
//! next run: it carries the time and a label.

mod canary;

use std::time::Instant;

use dwcp_api::host::{Host, HostList, HostListRequest, HostState};
use dwcp_api::membership::{MembershipRead, MembershipRequest};
use dwcp_api::preflight::{Check, CheckVerdict};
use dwcp_api::region::{
    Lifecycle, ProbeVerdict, RegionHealthCheck, RegionHealthReport, RegionProbeRequest, RegionRead,
    RegionReadRequest, RegionStatus,
};
use dwcp_api::site::{EndpointList, EndpointListRequest};
use dwcp_api::state::{SyncState, SyncVerify, SyncVerifyRequest};

use super::{Ended, LOOK_EVERY, all_pages, checks, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Document, words};
use crate::typed::RegionVerifyArgs;

/// A region tells of its hosts in turn, a few times a second.
const LOOKS: usize = 15;

pub fn run(session: &Session, wanted: &RegionVerifyArgs) -> Ended {
    if session.global.dry_run && wanted.full {
        // A region that is not there is none that could be looked at.
        look(session, &wanted.region)?;
        let line = format!(
            "{} would be looked at; a VM would be placed there, moved away and back, and deleted{}",
            wanted.region,
            super::dry(session)
        );
        session.show(&Document::bare(&serde_json::json!({ "region": wanted.region }), line))?;
        return Ok(Exit::Done);
    }
    let once = || -> Result<(Document, Exit), Failure> {
        let began = Instant::now();
        let (mut found, status) = look(session, &wanted.region)?;
        if wanted.full {
            found.extend(canary::run(session, &status.summary)?);
        }
        let mut line = checks::summary(&found);
        if wanted.full {
            line.push_str(&format!("; took {:.1} s", began.elapsed().as_secs_f64()));
        }
        let value = serde_json::json!({ "region": wanted.region, "checks": found, "as_of": status.as_of });
        let document = Document::of(&value).table(checks::table(&found)).text_block(line);
        Ok((document.text_block(words::as_of(&status.as_of)), checks::exit(&found)))
    };
    read(session, once)
}

/// One line.
fn check(of: &str, what: &str, verdict: CheckVerdict, measured: String, advice: &str) -> Check {
    Check {
        subject: Some(of.to_owned()),
        check: what.to_owned(),
        verdict,
        measured,
        limit: String::new(),
        advice: if verdict == CheckVerdict::Ok { String::new() } else { advice.to_owned() },
    }
}

fn look(session: &Session, region: &str) -> Result<(Vec<Check>, RegionStatus), Failure> {
    let status =
        session.call::<RegionRead>(&RegionReadRequest { region: region.to_owned(), watch: false })?;
    let mut found = vec![lifecycle(&status)];
    let membership = session.call::<MembershipRead>(&MembershipRequest { region: region.to_owned() })?;
    for step in membership.steps.iter().filter(|step| ["node", "replicas"].contains(&step.step.as_str())) {
        let verdict = if step.done { CheckVerdict::Ok } else { CheckVerdict::Failed };
        let advice = format!("dwcp-cli federation region health-check --region {region}");
        found.push(check(region, &step.step, verdict, step.detail.clone(), &advice));
    }
    let probe = RegionProbeRequest { region: region.to_owned(), timeout_ms: None };
    found.extend(ways(&session.call::<RegionHealthCheck>(&probe)?));
    found.extend(leases(region, &hosts(session, region)?));
    found.push(state(session, region)?);
    found.push(endpoints(session, region)?);
    Ok((found, status))
}

fn lifecycle(status: &RegionStatus) -> Check {
    let summary = &status.summary;
    let text = format!(
        "{}, placement {}, traffic {}",
        words::name(&summary.lifecycle),
        if summary.placement.enabled { "on" } else { "off" },
        words::percent(summary.traffic_percent).text
    );
    let verdict = match summary.lifecycle {
        Lifecycle::Active if summary.placement.enabled => CheckVerdict::Ok,
        Lifecycle::Lost | Lifecycle::Retired => CheckVerdict::Failed,
        _ => CheckVerdict::Warning,
    };
    let advice = format!("dwcp-cli federation region enable --region {}", summary.region);
    check(&summary.region, "in service", verdict, text, &advice)
}

fn ways(report: &RegionHealthReport) -> Vec<Check> {
    let of = |probe: &dwcp_api::region::RegionProbe| {
        let verdict = match probe.verdict {
            ProbeVerdict::Answers | ProbeVerdict::Unwell => CheckVerdict::Ok,
            ProbeVerdict::NoAnswer => CheckVerdict::Failed,
            ProbeVerdict::Unknown => CheckVerdict::Unknown,
        };
        let text = match probe.rtt_ms {
            Some(ms) => format!("answers in {ms} ms"),
            None => probe.detail.clone(),
        };
        check(
            &report.region,
            &format!("way from {}", probe.from),
            verdict,
            text,
            "look at the link between them",
        )
    };
    report.probes.iter().map(of).collect()
}

/// The hosts of a region; again for a moment while the region that answers has not heard of each one's lease yet.
fn hosts(session: &Session, region: &str) -> Result<Vec<Host>, Failure> {
    for _ in 0..LOOKS {
        let hosts = hosts_now(session, region)?;
        if hosts.iter().all(|host| host.lease_left_ms.is_some()) {
            return Ok(hosts);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    hosts_now(session, region)
}

fn hosts_now(session: &Session, region: &str) -> Result<Vec<Host>, Failure> {
    let page = all_pages::<HostList, _>(session, None, |cursor| HostListRequest {
        region: Some(region.to_owned()),
        cursor,
        ..Default::default()
    })?;
    Ok(page.items)
}

fn leases(region: &str, hosts: &[Host]) -> Vec<Check> {
    if hosts.is_empty() {
        let text = "no host is registered".to_owned();
        return vec![check(region, "leases", CheckVerdict::Failed, text, "start dwcp-agentd on its hosts")];
    }
    let of = |host: &Host| {
        let (verdict, text) = match (host.state, host.lease_left_ms) {
            (HostState::Up, Some(left)) if left > 0 => (CheckVerdict::Ok, format!("{left} ms left")),
            (HostState::Up, Some(left)) => (CheckVerdict::Failed, format!("over for {} ms", -left)),
            (HostState::Up | HostState::Unknown, None) => {
                (CheckVerdict::Unknown, "not known to the region that answered".to_owned())
            }
            (state, _) => (CheckVerdict::Failed, format!("the host is {}", words::name(&state))),
        };
        check(&host.host, "lease", verdict, text, "dwcp-cli host list")
    };
    hosts.iter().map(of).collect()
}

/// What every region holds is compared, and the store of this one read back.
fn state(session: &Session, region: &str) -> Result<Check, Failure> {
    let request = SyncVerifyRequest { region: Some(region.to_owned()), timeout_ms: None };
    let verdict = session.call::<SyncVerify>(&request)?;
    let of = verdict.regions.iter().find(|of| of.region == region);
    let digest =
        of.and_then(|of| of.digest.as_ref()).map_or("none", |digest| digest.get(..12).unwrap_or(digest));
    let groups = of.map_or(String::new(), |of| format!("{} of {} groups, ", of.groups, of.of_groups));
    let text = format!("{groups}digest {digest}, in {}ms", verdict.took_ms);
    let (came_out, text) = match of.map_or(verdict.state, |of| of.state) {
        SyncState::Equal => (CheckVerdict::Ok, format!("equal to the majority's: {text}")),
        SyncState::Differs => (CheckVerdict::Failed, format!("differs: {text}")),
        SyncState::Damaged => (CheckVerdict::Failed, format!("its store is damaged: {text}")),
        SyncState::Unverified | SyncState::Unreachable => {
            (CheckVerdict::Unknown, format!("not compared: {text}"))
        }
    };
    let advice = format!("dwcp-cli federation state verify-sync --region {region}");
    Ok(check(region, "state", came_out, text, &advice))
}

fn endpoints(session: &Session, region: &str) -> Result<Check, Failure> {
    let request = EndpointListRequest { region: Some(region.to_owned()) };
    let found = session.call::<EndpointList>(&request)?;
    let all: Vec<String> = found
        .regions
        .iter()
        .flat_map(|of| &of.endpoints)
        .map(|endpoint| format!("{} port {}", endpoint.ip, endpoint.port))
        .collect();
    let advice = format!("dwcp-cli routing endpoint add --region {region} --ip … --port 443");
    Ok(match all.is_empty() {
        true => check(region, "endpoints", CheckVerdict::Warning, "none is public".to_owned(), &advice),
        false => check(region, "endpoints", CheckVerdict::Ok, all.join(", "), ""),
    })
}
