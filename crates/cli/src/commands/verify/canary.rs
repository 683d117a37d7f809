//! A small VM that goes through all that VMs go through.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dwcp_api::migration::{
    MigrateRequest, MigrateStart, Migration, MigrationKind, MigrationList, MigrationListRequest,
};
use dwcp_api::operation::{Operation, OperationState};
use dwcp_api::preflight::{Check, CheckVerdict};
use dwcp_api::region::{Lifecycle, RegionList, RegionListRequest, RegionSummary};
use dwcp_api::vm::{
    VmCreate, VmCreateRequest, VmDelete, VmDeleteRequest, VmHealthCheck, VmHealthCheckRequest, VmList,
    VmListRequest, VmRead, VmReadRequest,
};

use super::check;
use crate::Exit;
use crate::commands::operations::follow_within;
use crate::commands::{LOOK_EVERY, all_pages};
use crate::failure::Failure;
use crate::session::Session;
use crate::show::words;

/// The label that every one carries, with the region that it was made for.
const LABEL: &str = "dwcp-canary";
/// It is deleted by itself after so long, ms.
const LIFE_MS: u64 = 15 * 60_000;
/// Longest time of one step.
const STEP: Duration = Duration::from_secs(180);

/// Places one, asks it, moves it away and back, deletes it. What is wrong is a check that failed, not an error.
pub fn run(session: &Session, region: &RegionSummary) -> Result<Vec<Check>, Failure> {
    let mut found = left_over(session, &region.region)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let canary = Canary {
        session,
        region: &region.region,
        name: format!("canary-{}-{:x}", region.region, now & 0xffff_ffff),
    };
    let went = canary.live(&mut found);
    // Whatever went wrong, and also where it is not known whether it was made.
    let gone = canary.delete();
    if let Err(failure) = went {
        let why = told(&failure);
        found.push(check(
            &region.region,
            "canary",
            CheckVerdict::Failed,
            why,
            "look at the step before this one",
        ));
    }
    let deleted = match gone {
        Ok(Some(took)) => (CheckVerdict::Ok, format!("gone after {}", seconds(took))),
        Ok(None) => (CheckVerdict::Ok, "there was none".to_owned()),
        Err(failure) => (CheckVerdict::Failed, told(&failure)),
    };
    let advice = format!("dwcp-cli vm delete {} --yes; it is deleted by itself after 15 min", canary.name);
    found.push(check(&region.region, "canary deleted", deleted.0, deleted.1, &advice));
    Ok(found)
}

fn told(failure: &Failure) -> String {
    let problem = &failure.problem;
    let causes = problem.cause.iter().map(|cause| format!(": {cause}"));
    std::iter::once(problem.title.clone()).chain(causes).collect()
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn delete(session: &Session, vm: &str) -> Result<(), Failure> {
    session.call::<VmDelete>(&VmDeleteRequest { vm: vm.to_owned(), ..Default::default() })?;
    let began = Instant::now();
    while let Err(failure) | Ok(Some(failure)) = is_there(session, vm) {
        if began.elapsed() >= STEP {
            return Err(failure);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Why it still counts as there; none: it is gone.
fn is_there(session: &Session, vm: &str) -> Result<Option<Failure>, Failure> {
    match session.call::<VmRead>(&VmReadRequest { vm: vm.to_owned(), watch: false }) {
        Ok(answer) => {
            let state = words::name(&answer.vm.state);
            Ok(Some(Failure::new(Exit::Partly, format!("{vm} is still {state} after {} s", STEP.as_secs()))))
        }
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Deletes what an earlier run left in this region's name.
fn left_over(session: &Session, region: &str) -> Result<Vec<Check>, Failure> {
    let page = all_pages::<VmList, _>(session, None, |cursor| VmListRequest {
        label: vec![format!("{LABEL}={region}")],
        cursor,
        ..Default::default()
    })?;
    let mut found = Vec::new();
    for vm in page.items {
        let (verdict, text) = match delete(session, &vm.vm) {
            Ok(()) => (CheckVerdict::Ok, format!("{} of an earlier run is deleted", vm.name)),
            Err(failure) => (CheckVerdict::Warning, format!("{}: {}", vm.name, told(&failure))),
        };
        found.push(check(region, "left over", verdict, text, "it is deleted by itself after 15 min"));
    }
    Ok(found)
}

struct Canary<'a> {
    session: &'a Session,
    region: &'a str,
    name: String,
}

impl Canary<'_> {
    fn live(&self, found: &mut Vec<Check>) -> Result<(), Failure> {
        let placed = self.place()?;
        found.push(self.passed("canary placed", placed));
        let answered = self.answers()?;
        found.push(self.passed("canary answers", answered));
        let Some(other) = self.other()? else {
            let text = "no other region takes VMs".to_owned();
            found.push(check(
                self.region,
                "canary moves",
                CheckVerdict::Unknown,
                text,
                "enable another region",
            ));
            return Ok(());
        };
        for (from, to) in [(self.region, other.as_str()), (other.as_str(), self.region)] {
            let moved = self.moves(to)?;
            let what = format!("canary moves {from} → {to}");
            let (verdict, advice) = match moved.1 {
                true => (CheckVerdict::Ok, ""),
                false => (
                    CheckVerdict::Warning,
                    "it was stopped and booted there: dwcp-cli federation migrate status",
                ),
            };
            found.push(check(self.region, &what, verdict, moved.0, advice));
            self.answers()?;
        }
        Ok(())
    }

    fn passed(&self, what: &str, text: String) -> Check {
        check(self.region, what, CheckVerdict::Ok, text, "")
    }

    fn done(&self, operation: Option<Operation>) -> Result<(), Failure> {
        let Some(operation) = operation else { return Ok(()) };
        let ended = follow_within(self.session, operation, Some(STEP))?;
        match ended.state {
            OperationState::Done => Ok(()),
            state => {
                let what = format!("{} is {}", ended.kind, words::name(&state));
                Err(ended
                    .left
                    .iter()
                    .fold(Failure::new(Exit::Failed, what), |failure, left| failure.because(left)))
            }
        }
    }

    fn place(&self) -> Result<String, Failure> {
        let began = Instant::now();
        let request = VmCreateRequest {
            name: self.name.clone(),
            labels: BTreeMap::from([(LABEL.to_owned(), self.region.to_owned())]),
            place_in: Some(self.region.to_owned()),
            expires_in_ms: Some(LIFE_MS),
            ..Default::default()
        };
        let created = self.session.call::<VmCreate>(&request)?;
        let decided = began.elapsed();
        self.done(created.operation)?;
        let vm = self.session.call::<VmRead>(&VmReadRequest { vm: self.name.clone(), watch: false })?.vm;
        if vm.region != self.region {
            return Err(Failure::new(Exit::Failed, format!("{} is in {}", self.name, vm.region)));
        }
        let host = vm.host.unwrap_or_default();
        Ok(format!("on {host} after {}, running after {}", seconds(decided), seconds(began.elapsed())))
    }

    /// Waits until its own probe is answered.
    fn answers(&self) -> Result<String, Failure> {
        let began = Instant::now();
        loop {
            let request = VmHealthCheckRequest { vms: vec![self.name.clone()], ..Default::default() };
            let report = self.session.call::<VmHealthCheck>(&request)?;
            if let Some(vm) = report.vms.iter().find(|vm| vm.healthy == Some(true)) {
                let took = vm.took_ms.map_or(String::new(), |ms| format!(" in {ms} ms"));
                return Ok(format!(
                    "{} probe{took}, {} after the step before",
                    vm.probe,
                    seconds(began.elapsed())
                ));
            }
            if began.elapsed() >= STEP {
                let last = report.vms.first().map_or("nobody asked it".to_owned(), |vm| vm.detail.clone());
                return Err(
                    Failure::new(Exit::Failed, format!("{} does not answer", self.name)).because(last)
                );
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The region that it is moved to: the first other one that takes VMs, of those that are healthy if there are any.
    fn other(&self) -> Result<Option<String>, Failure> {
        let regions = all_pages::<RegionList, _>(self.session, None, |cursor| RegionListRequest {
            cursor,
            ..Default::default()
        })?;
        let takes = |region: &&RegionSummary| {
            region.region != self.region && region.lifecycle == Lifecycle::Active && region.placement.enabled
        };
        let mut all: Vec<&RegionSummary> = regions.items.iter().filter(takes).collect();
        all.sort_by_key(|region| (std::cmp::Reverse(region.health.score), region.number));
        Ok(all.first().map(|region| region.region.clone()))
    }

    /// What it took, and whether it ran all the while.
    fn moves(&self, to: &str) -> Result<(String, bool), Failure> {
        let began = Instant::now();
        let mut request = MigrateRequest {
            vms: vec![self.name.clone()],
            to: vec![to.to_owned()],
            reason: Some("the verification of a region".to_owned()),
            ..Default::default()
        };
        let mut went = self.moved(&request);
        if went.is_err() {
            request.cold = true;
            went = self.moved(&request);
        }
        went?;
        let vm = self.session.call::<VmRead>(&VmReadRequest { vm: self.name.clone(), watch: false })?.vm;
        if vm.region != to {
            return Err(Failure::new(
                Exit::Failed,
                format!("{} is in {}, not in {to}", self.name, vm.region),
            ));
        }
        let list =
            MigrationListRequest { vm: Some(self.name.clone()), limit: Some(20), ..Default::default() };
        let moves = self.session.call::<MigrationList>(&list)?.items;
        let last = moves.iter().find(|migration| migration.to == to);
        let live = last.is_some_and(|migration| migration.kind == MigrationKind::Live);
        Ok((format!("{} after {}{}", kind(last), seconds(began.elapsed()), downtime(last)), live))
    }

    fn moved(&self, request: &MigrateRequest) -> Result<(), Failure> {
        let started = self.session.call::<MigrateStart>(request)?;
        if started.operations.is_empty() {
            let why = started.planned.first().map_or("nothing moves".to_owned(), |plan| plan.reason.clone());
            return Err(Failure::new(Exit::Failed, format!("{} can't move", self.name)).because(why));
        }
        started.operations.into_iter().try_for_each(|operation| self.done(Some(operation)))
    }

    /// Deletes it, if it is there; returns what that took.
    fn delete(&self) -> Result<Option<Duration>, Failure> {
        let began = Instant::now();
        match delete(self.session, &self.name) {
            Ok(()) => Ok(Some(began.elapsed())),
            Err(failure) if failure.exit == Exit::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

fn kind(migration: Option<&Migration>) -> String {
    migration.map_or("moved".to_owned(), |migration| words::name(&migration.kind))
}

fn downtime(migration: Option<&Migration>) -> String {
    let ms = migration.and_then(|migration| migration.downtime_ms);
    ms.map_or(String::new(), |ms| format!(", it stood still for {ms} ms"))
}
