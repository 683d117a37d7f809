//! Regions come and go: pools, deployment, replicas, connectivity, removal.

use std::time::{Duration, Instant};

use dwcp_api::membership::{
    Membership, MembershipRead, MembershipRequest, PoolList, PoolListRequest, RegionCleanUp,
    RegionCleanUpRequest, RegionDeploy, RegionDeployRequest, RegionRemove, RegionRemoveRequest,
    RegionReplicate, RegionReplicateRequest,
};
use dwcp_api::region::{
    Lifecycle, ProbeVerdict, RegionHealthCheck, RegionHealthReport, RegionProbe, RegionProbeRequest,
};

use super::{Ended, LOOK_EVERY, PATIENCE, confirmed, dry, read};
use crate::Exit;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::{Deploy, RegionDeployArgs};

/// How long a step may take without `--timeout`.
const LIMIT: Duration = Duration::from_secs(300);
/// A host whose node has ended is connected to another one sooner.
const DIALS_ANEW: Duration = Duration::from_secs(15);
/// What a region's node consists of.
const COMPONENTS: [&str; 4] = ["controller", "state-manager", "router", "monitor"];
/// Its parts that are in this version.
const CARRIED: [&str; 3] = ["controller", "state-manager", "monitor"];

pub fn pools(session: &Session, region: &Option<String>) -> Ended {
    read(session, || {
        let pools = session.call::<PoolList>(&PoolListRequest { region: region.clone() })?;
        let mut table =
            Table::new(&["REGION", "HOST", "ZONE", ">VCPU", ">MEMORY", ">DISK", "RUNS", "NODE AT", "NODE"])
                .or("no host waits for its region");
        for host in &pools.hosts {
            table.row(vec![
                Cell::from(&host.region),
                Cell::from(&host.host),
                Cell::from(&host.zone),
                host.vcpus.into(),
                format!("{}MiB", host.memory_mib).into(),
                format!("{}GiB", host.disk_gib).into(),
                Cell::from(&host.accelerator),
                words::or_dash(host.control.clone()),
                Cell::from(&host.phase),
            ]);
        }
        Ok((Document::of(&pools).table(table).text_block(words::as_of(&pools.as_of)), Exit::Done))
    })
}

/// The node of a region, on a host of its pool.
pub fn deploy(session: &Session, wanted: &Deploy) -> Ended {
    let asked = &wanted.components.0;
    if let Some(unknown) = asked.iter().find(|name| !COMPONENTS.contains(&name.as_str())) {
        return Err(Failure::usage(format!(
            "--components: no '{unknown}'; there are {}",
            COMPONENTS.join(", ")
        )));
    }
    let lacks: Vec<&str> =
        CARRIED.into_iter().filter(|part| !asked.iter().any(|name| name == part)).collect();
    if !lacks.is_empty() {
        let lacks = lacks.join(", ");
        return Err(Failure::usage(format!("--components: without {lacks} a region's node does not run")));
    }
    if asked.iter().any(|name| name == "router") {
        session.note("routers are kept by a service of their hosts: see docs/operations/routing.md");
    }
    added(session, &wanted.region, None)?;
    Ok(Exit::Done)
}

/// All of it: the node, and replicas of the state.
pub fn deploy_region(session: &Session, wanted: &RegionDeployArgs) -> Ended {
    let vcpus = added(session, &wanted.region, wanted.priority)?;
    if let Some((capacity, vcpus)) = wanted.capacity.zip(vcpus).filter(|(capacity, vcpus)| capacity > vcpus) {
        let region = &wanted.region;
        session.warn(&[format!("{region} is to hold {capacity} VMs; its hosts offer {vcpus} vCPUs")]);
    }
    if session.global.dry_run {
        return Ok(Exit::Done);
    }
    replicate(session, &wanted.region)
}

/// Adds a region, and waits until its node is heard. Returns the vCPUs of its hosts; none when it
/// had begun before.
fn added(session: &Session, region: &str, priority: Option<u8>) -> Result<Option<u64>, Failure> {
    let dry_run = session.global.dry_run;
    let request = RegionDeployRequest { region: region.to_owned(), priority, dry_run };
    let deployed = match session.call::<RegionDeploy>(&request) {
        Err(failure) if failure.exit == Exit::Refused && !dry_run && is_on_its_way(session, region) => {
            session.note(&format!("the deployment of {region} has begun already"));
            wait(session, region, &["added", "founded", "node"])?;
            return Ok(None);
        }
        answer => answer?,
    };
    let hosts = match deployed.hosts {
        1 => "1 host".to_owned(),
        count => format!("{count} hosts"),
    };
    let offer = format!(
        "{hosts}: {} vCPUs, {} MiB of memory, {} GiB of disk",
        deployed.vcpus, deployed.memory_mib, deployed.disk_gib
    );
    if dry_run {
        let (host, address) = (&deployed.host, &deployed.address);
        let line = format!("{region} would be deployed{}", dry(session));
        let document =
            Document::bare(&deployed, line).text_block(format!("  its node on {host} at {address}"));
        session.show(&document.text_block(format!("  {offer}")))?;
        return Ok(Some(deployed.vcpus));
    }
    if !session.global.detach {
        wait(session, region, &["added", "founded", "node"])?;
    }
    let line = format!(
        "{region} is deployed: number {}, its node runs on {} at {}",
        words::known(deployed.number).text,
        deployed.host,
        deployed.address
    );
    session.show(&Document::bare(&deployed, line).text_block(format!("  {offer}")))?;
    Ok(Some(deployed.vcpus))
}

/// True when a region was added and its node has not been heard yet.
fn is_on_its_way(session: &Session, region: &str) -> bool {
    let node = |membership: Membership| membership.steps.iter().any(|step| step.step == "node" && !step.done);
    look(session, region).is_ok_and(node)
}

/// Gives a region replicas of the state, and waits until they have caught up.
pub fn replicate(session: &Session, region: &str) -> Ended {
    let dry_run = session.global.dry_run;
    let request = RegionReplicateRequest { region: region.to_owned(), dry_run };
    let answer = session.call::<RegionReplicate>(&request)?;
    if !dry_run && !session.global.detach {
        wait(session, region, &["node", "replicas"])?;
    }
    let line = match (dry_run, answer.changed) {
        (true, true) => format!("{region} would get replicas of the state{}", dry(session)),
        (true, false) => format!("{region} has replicas of the state already{}", dry(session)),
        (false, _) => format!("{region} has the state of every region"),
    };
    let notes = answer.notes.iter().filter(|_| answer.changed);
    let document = Document::bare(&answer, line);
    session.show(&notes.fold(document, |document, note| document.text_block(format!("  {note}"))))?;
    Ok(Exit::Done)
}

fn look(session: &Session, region: &str) -> Result<Membership, Failure> {
    session.call::<MembershipRead>(&MembershipRequest { region: region.to_owned() })
}

/// Looks again and again until what is waited for is there; `look` says what is still open. The region that knew it may be gone
/// meanwhile, so for a while nobody has to answer. `late` says what did not come about in time.
fn until(
    session: &Session,
    look: impl Fn() -> Result<Option<String>, Failure>,
    passing: impl Fn(&Failure) -> bool,
    late: impl Fn(Duration, &str) -> Failure,
) -> Result<(), Failure> {
    let limit = session.global.timeout.map_or(LIMIT, Duration::from_millis);
    let (began, mut heard) = (Instant::now(), Instant::now());
    let mut open = String::new();
    loop {
        match look() {
            Ok(None) => return Ok(()),
            Ok(Some(still)) => (open, heard) = (still, Instant::now()),
            Err(failure) if passing(&failure) && heard.elapsed() < PATIENCE => {}
            Err(failure) => return Err(failure),
        }
        if began.elapsed() >= limit {
            return Err(late(limit, &open));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until these steps of a region are done.
fn wait(session: &Session, region: &str, steps: &[&str]) -> Result<(), Failure> {
    let progress = std::cell::RefCell::new(Progress::new(session.global.quiet));
    let still_open = || {
        let membership = look(session, region)?;
        let wanted = membership.steps.iter().filter(|step| steps.contains(&step.step.as_str()));
        let (done, of) = (wanted.clone().filter(|step| step.done).count(), wanted.clone().count());
        let open =
            wanted.clone().find(|step| !step.done).map(|step| format!("{}: {}", step.step, step.detail));
        if let Some(open) = &open {
            progress.borrow_mut().at(done as u64, Some(of as u64), open);
        }
        Ok(open)
    };
    // Who answers may not have heard of the region yet.
    let passing = |failure: &Failure| matches!(failure.exit, Exit::NotFound | Exit::Unreachable);
    let ended = until(session, still_open, passing, |limit, open| {
        let what = format!("{region} is not there yet after {} s: {open}", limit.as_secs());
        Failure::new(Exit::Partly, what).and_then("it goes on by itself; the same command waits again")
    });
    progress.borrow().end();
    ended
}

/// A region that has just come in is reached by the others one after the other: they are given so long.
const LINKS_COME_UP: Duration = Duration::from_secs(30);

/// The probes of a region from every other one; again while it joins and not all of them reach it yet.
fn probes(session: &Session, region: &str) -> Result<RegionHealthReport, Failure> {
    let request = RegionProbeRequest { region: region.to_owned(), timeout_ms: None };
    let began = Instant::now();
    loop {
        let report = session.call::<RegionHealthCheck>(&request)?;
        let all = report.probes.iter().all(|probe| reaches(&probe));
        let joins = || look(session, region).is_ok_and(|of| of.lifecycle == Lifecycle::Joining);
        if all || began.elapsed() >= LINKS_COME_UP || !joins() {
            return Ok(report);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn reaches(probe: &&RegionProbe) -> bool {
    matches!(probe.verdict, ProbeVerdict::Answers | ProbeVerdict::Unwell)
}

/// Every region probes this one; exit 1 unless all of them reach it.
pub fn connectivity(session: &Session, region: &str) -> Ended {
    read(session, || {
        let report = probes(session, region)?;
        let mut table = Table::new(&["FROM", "TO", "REACHED", ">RTT", "DETAIL"]).or("nobody could look");
        for probe in &report.probes {
            let reached = match probe.verdict {
                ProbeVerdict::Answers | ProbeVerdict::Unwell => Cell::toned("yes", Tone::Good),
                ProbeVerdict::NoAnswer => Cell::toned("no", Tone::Bad),
                ProbeVerdict::Unknown => words::unknown(),
            };
            table.row(vec![
                Cell::from(&probe.from),
                Cell::from(&report.region),
                reached,
                words::or_dash(probe.rtt_ms.map(|ms| format!("{ms}ms"))),
                Cell::from(&probe.detail),
            ]);
        }
        let (reached, of) = (report.probes.iter().filter(reaches).count(), report.probes.len());
        let exit = if of > 0 && reached == of { Exit::Done } else { Exit::Failed };
        let line = format!("{reached} of {of} regions reach {region}");
        Ok((Document::of(&report).table(table).text_block(line), exit))
    })
}

/// Lets a region go, and waits until it is forgotten.
pub fn remove(session: &Session, region: &str, reason: &Option<String>) -> Ended {
    let dry_run = session.global.dry_run;
    if !dry_run {
        let again = format!("dwcp-cli federation region remove --region {region}");
        confirmed(session, &format!("{region} leaves the federation for good"), &again)?;
    }
    let request = RegionRemoveRequest { region: region.to_owned(), reason: reason.clone(), dry_run };
    let answer = session.call::<RegionRemove>(&request)?;
    if !dry_run && !session.global.detach {
        wait_gone(session, region)?;
    }
    let line = match dry_run {
        true => format!("{region} would leave the federation{}", dry(session)),
        false => format!("{region} has left the federation"),
    };
    session.show(&Document::bare(&answer, line))?;
    Ok(Exit::Done)
}

fn wait_gone(session: &Session, region: &str) -> Result<(), Failure> {
    let there = || match look(session, region) {
        Ok(_) => Ok(Some(String::new())),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    };
    until(
        session,
        there,
        |failure| failure.exit == Exit::Unreachable,
        |_, _| {
            let what = format!("{region} is on its way out and not forgotten yet");
            Failure::new(Exit::Partly, what).and_then("it goes on by itself; the same command waits again")
        },
    )
}

/// Cleans up after a region that has left, and waits until no connected host has anything of its node.
pub fn clean_up(session: &Session, region: &str) -> Ended {
    let dry_run = session.global.dry_run;
    let request = RegionCleanUpRequest { region: region.to_owned(), dry_run };
    let answer = session.call::<RegionCleanUp>(&request)?;
    if !dry_run && !session.global.detach {
        let began = Instant::now();
        let hosts_left = || {
            let pools = session.call::<PoolList>(&PoolListRequest { region: Some(region.to_owned()) })?;
            // A host that was connected to the region's own node is on its way to another one.
            let awaited = pools.hosts.is_empty() && began.elapsed() < DIALS_ANEW;
            let left = pools.hosts.into_iter().find(|host| host.phase != "nothing");
            Ok(left.map(|host| host.host).or_else(|| awaited.then(|| format!("a host of {region}"))))
        };
        until(
            session,
            hosts_left,
            |failure| failure.exit == Exit::Unreachable,
            |_, _| {
                let what = format!("a host of {region} still has something of its node");
                Failure::new(Exit::Partly, what).suggest("dwcp-cli infrastructure pools")
            },
        )?;
    }
    let line = match dry_run {
        true => format!("{region} would be cleaned up{}", dry(session)),
        false => format!("{region} is cleaned up"),
    };
    let document = Document::bare(&answer, line);
    session.show(&answer.notes.iter().fold(document, |all, note| all.text_block(format!("  {note}"))))?;
    Ok(Exit::Done)
}
