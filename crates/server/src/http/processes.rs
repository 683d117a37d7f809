//! What the processes of a component use: asked now, of the processes themselves or through their hosts' agents.

use std::time::{Duration, Instant};

use dwcp_api::Problem;
use dwcp_api::inspection::{Process, ProcessList, ProcessListRequest, Processes};
use dwcp_roles::node::{Reply, Request, SelfAsk};
use dwcp_roles::protocol::{ProcessReport, RouterBeat};
use dwcp_types::{HostId, NodeId, RegionId};
use tokio::task::JoinSet;

use super::call::{Call, bad_value, stopping, unexpected};
use super::names;
use super::routes::Serve;
use crate::handle::View;

/// Shortest and longest time for which processor time is counted, ms.
const WINDOW_MS: (u64, u64) = (100, 20_000);
/// Unless it is said, ms.
const USUAL_WINDOW_MS: u64 = 1_000;
/// A router's word may be this late, and is looked for so often.
const ROUTER_LATE: Duration = Duration::from_secs(3);
const ROUTER_LOOK: Duration = Duration::from_millis(100);
/// Components that are one process of a region.
const OF_THE_NODE: [&str; 3] = ["controller", "state-manager", "monitor"];
const ROUTER: &str = "router";
/// Kinds of the agent's own processes.
const OF_THE_AGENT: [&str; 2] = ["dwcp-agentd", "watchdog"];

/// Whom to ask.
#[derive(Clone)]
enum Place {
    Node(NodeId, RegionId),
    Host(RegionId, HostId),
}

fn places(view: &View<'_>, request: &ProcessListRequest) -> Result<Vec<Place>, Problem> {
    if let Some(region) = &request.region {
        names::region(view, region)?;
    }
    let wanted = |region: &RegionId| request.region.as_ref().is_none_or(|only| region.as_str() == only);
    let agent = request.component == "agent";
    let mut all = Vec::new();
    for facts in view.node.facts().regions.values().filter(|facts| wanted(&facts.name)) {
        match agent {
            true => all.extend(facts.hosts.keys().map(|host| Place::Host(facts.name.clone(), host.clone()))),
            false => all.push(Place::Node(facts.number, facts.name.clone())),
        }
    }
    Ok(all)
}

/// A process as the API shows it.
fn shown(region: &RegionId, host: Option<&HostId>, of: &ProcessReport, age_ms: u64) -> Process {
    Process {
        region: region.as_str().to_owned(),
        host: host.map(|host| host.as_str().to_owned()),
        process: of.kind.clone(),
        pid: Some(of.pid),
        cpu_percent: of.cpu_basis_points.map(|points| points as f64 / 100.0),
        window_ms: of.window_ms,
        memory_mib: of.resident_kib.map(|kib| (kib as f64 / 102.4).round() / 10.0),
        fds: of.fds,
        fd_limit: of.fd_limit,
        threads: of.threads,
        uptime_ms: of.uptime_ms,
        read_bytes: of.read_bytes,
        written_bytes: of.written_bytes,
        age_ms: Some(age_ms),
        trouble: of.trouble.clone(),
    }
}

/// A line for who did not answer.
fn mute(region: &RegionId, host: Option<&HostId>, process: &str, window_ms: u64, why: &str) -> Process {
    let nothing =
        ProcessReport { kind: process.to_owned(), trouble: why.to_owned(), ..ProcessReport::default() };
    Process { pid: None, age_ms: None, window_ms, ..shown(region, host, &nothing, 0) }
}

async fn ask(call: Call, place: Place, window_ms: u64) -> Result<Vec<Process>, Problem> {
    let began = Instant::now();
    // What was counted at its end is no older than what is left of the way.
    let age = |counted_ms: u64| (began.elapsed().as_millis() as u64).saturating_sub(counted_ms);
    match place {
        Place::Node(node, region) => {
            let ask = SelfAsk { window_ms, ..SelfAsk::default() };
            Ok(vec![match call.api.inspector.ask(node, ask).await {
                Some(told) => shown(&region, None, &told.process, age(told.process.window_ms)),
                None => mute(&region, None, "dwcpd", window_ms, "it did not answer"),
            }])
        }
        Place::Host(region, host) => {
            let asked = Request::CheckHost(region.clone(), host.clone(), window_ms, false);
            let check = match call.ask(asked).await? {
                Reply::PoolChecked(check) => check,
                other => return Err(unexpected(&other)),
            };
            let why = match &check {
                None => "its agent did not answer",
                Some(_) => "an agent of an older version does not tell of its processes",
            };
            let all = check.map_or_else(Vec::new, |check| check.checked.processes);
            let own: Vec<Process> = all
                .iter()
                .filter(|of| OF_THE_AGENT.contains(&of.kind.as_str()))
                .map(|of| shown(&region, Some(&host), of, age(of.window_ms)))
                .collect();
            Ok(match own.is_empty() {
                true => vec![mute(&region, Some(&host), "dwcp-agentd", window_ms, why)],
                false => own,
            })
        }
    }
}

/// What routers say of themselves, twice: what lies between is their use.
async fn routers(call: &Call, request: ProcessListRequest, window_ms: u64) -> Result<Processes, Problem> {
    let before = heard(call, &request).await?;
    let deadline = Instant::now() + Duration::from_millis(window_ms) + ROUTER_LATE;
    tokio::time::sleep(Duration::from_millis(window_ms)).await;
    loop {
        let after = heard(call, &request).await?;
        let use_of = |beat: &RouterBeat| router(before.iter().find(|then| same(then, beat)), beat);
        let processes: Vec<Process> = after.iter().map(use_of).collect();
        let late = processes.iter().any(|process| process.window_ms < window_ms);
        if !late || Instant::now() >= deadline {
            let as_of = call.look(names::as_of_federation).await?;
            let notes = vec![
                "a router says what it uses each half second; one that is not heard is missing".to_owned(),
            ];
            return Ok(Processes { component: request.component, processes, notes, as_of });
        }
        tokio::time::sleep(ROUTER_LOOK).await;
    }
}

async fn heard(call: &Call, request: &ProcessListRequest) -> Result<Vec<RouterBeat>, Problem> {
    let region = request.region.clone();
    call.find(move |view| {
        if let Some(region) = &region {
            names::region(view, region)?;
        }
        let mut all = view.node.routers();
        all.retain(|beat| region.as_ref().is_none_or(|only| beat.region.as_str() == only));
        Ok(all)
    })
    .await
}

fn same(one: &RouterBeat, other: &RouterBeat) -> bool {
    let name = |beat: &RouterBeat| (beat.region.clone(), beat.host.clone(), beat.number, beat.pid);
    name(one) == name(other)
}

/// What a router used between two of its words.
fn router(before: Option<&RouterBeat>, now: &RouterBeat) -> Process {
    let kind = format!("dwcp-routerd/{}", now.number);
    let window_ms = before.map_or(0, |before| now.uptime_ms.saturating_sub(before.uptime_ms));
    let cpu_ms = now
        .usage
        .zip(before.and_then(|before| before.usage))
        .map(|(now, before)| now.cpu_ms.saturating_sub(before.cpu_ms));
    let trouble = match (before, now.usage) {
        (_, None) => "it does not say what it uses",
        (None, _) => "it has begun meanwhile",
        _ if window_ms == 0 => "it has said nothing meanwhile",
        _ => "",
    };
    let report = ProcessReport {
        kind,
        pid: now.pid,
        window_ms,
        cpu_basis_points: cpu_ms.filter(|_| window_ms > 0).map(|ms| ms * 10_000 / window_ms),
        resident_kib: now.usage.and_then(|usage| usage.resident_kib),
        fds: now.usage.and_then(|usage| usage.fds),
        fd_limit: now.fd_limit,
        threads: now.usage.map(|usage| usage.threads),
        uptime_ms: now.usage.map(|_| now.uptime_ms),
        read_bytes: now.usage.and_then(|usage| usage.read_bytes),
        written_bytes: now.usage.and_then(|usage| usage.written_bytes),
        trouble: trouble.to_owned(),
        ..ProcessReport::default()
    };
    // Nobody knows how long its words were on their way.
    Process { age_ms: None, ..shown(&now.region, Some(&now.host), &report, 0) }
}

/// Refuses what is no component.
fn check(request: &ProcessListRequest) -> Result<u64, Problem> {
    let component = request.component.as_str();
    if !["agent", ROUTER].contains(&component) && !OF_THE_NODE.contains(&component) {
        let all = format!("{}, {ROUTER}, agent", OF_THE_NODE.join(", "));
        return Err(bad_value("component", format!("one of {all}")));
    }
    let window_ms = request.window_ms.unwrap_or(USUAL_WINDOW_MS);
    if !(WINDOW_MS.0..=WINDOW_MS.1).contains(&window_ms) {
        return Err(bad_value("window_ms", format!("{} to {}", WINDOW_MS.0, WINDOW_MS.1)));
    }
    Ok(window_ms)
}

impl Serve for ProcessList {
    async fn answer(call: &Call, request: ProcessListRequest) -> Result<Processes, Problem> {
        let window_ms = check(&request)?;
        if request.component == ROUTER {
            return routers(call, request, window_ms).await;
        }
        let asked = request.clone();
        let places = call.find(move |view| places(view, &asked)).await?;
        let mut asking = JoinSet::new();
        for place in places {
            asking.spawn(ask(call.clone(), place, window_ms));
        }
        let mut processes = Vec::new();
        while let Some(answered) = asking.join_next().await {
            processes.extend(answered.map_err(|_| stopping())??);
        }
        processes.sort_by(|a, b| (&a.region, &a.host, &a.process).cmp(&(&b.region, &b.host, &b.process)));
        let notes = match OF_THE_NODE.contains(&request.component.as_str()) {
            true => {
                vec![format!("{} are one process of a region in this version: dwcpd", OF_THE_NODE.join(", "))]
            }
            false => vec!["an agent is two processes of its host: dwcp-agentd and its watchdog".to_owned()],
        };
        let as_of = call.look(names::as_of_federation).await?;
        Ok(Processes { component: request.component, processes, notes, as_of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dwcp_roles::protocol::ProcessUse;

    #[test]
    fn what_is_not_known_is_not_0() {
        let report =
            ProcessReport { kind: "dwcpd".into(), pid: 7, window_ms: 1_000, ..ProcessReport::default() };
        let line = shown(&"r".into(), None, &report, 4);
        assert_eq!((line.cpu_percent, line.memory_mib, line.fds, line.age_ms), (None, None, None, Some(4)));
        let report = ProcessReport { cpu_basis_points: Some(1_234), resident_kib: Some(1_536), ..report };
        let line = shown(&"r".into(), None, &report, 4);
        assert_eq!((line.cpu_percent, line.memory_mib), (Some(12.34), Some(1.5)));
        let line = mute(&"r".into(), None, "dwcpd", 1_000, "it did not answer");
        assert_eq!((line.pid, line.age_ms, line.trouble.as_str()), (None, None, "it did not answer"));
    }

    #[test]
    fn a_routers_use_is_what_lies_between_its_words_or_said_to_be_unknown() {
        let said = |uptime_ms, cpu_ms| RouterBeat {
            pid: 7,
            number: 1,
            uptime_ms,
            usage: Some(ProcessUse { cpu_ms, threads: 4, ..ProcessUse::default() }),
            ..RouterBeat::default()
        };
        let line = router(Some(&said(1_000, 100)), &said(3_000, 600));
        assert_eq!((line.cpu_percent, line.window_ms, line.threads), (Some(25.0), 2_000, Some(4)));
        assert_eq!((line.process.as_str(), line.trouble.as_str()), ("dwcp-routerd/1", ""));
        // It fell silent, began meanwhile, or is of a version that does not say.
        for (before, now) in [
            (Some(said(3_000, 600)), said(3_000, 600)),
            (None, said(3_000, 600)),
            (Some(said(1_000, 1)), RouterBeat { usage: None, ..said(3_000, 6) }),
        ] {
            let line = router(before.as_ref(), &now);
            assert!(line.cpu_percent.is_none() && !line.trouble.is_empty(), "{line:?}");
        }
    }

    #[test]
    fn components_that_are_not_there_are_told_apart() {
        let of = |component: &str, window_ms| {
            check(&ProcessListRequest { component: component.into(), region: None, window_ms })
                .map_err(|p| p.code)
        };
        assert_eq!(of("controller", None).unwrap(), 1_000);
        assert_eq!(of("agent", Some(20_000)).unwrap(), 20_000);
        assert_eq!(of("router", Some(100)).unwrap(), 100);
        assert!(of("database", None).is_err());
        assert!(of("agent", Some(99)).is_err() && of("agent", Some(20_001)).is_err());
    }
}
