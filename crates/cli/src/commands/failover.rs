//! Failover: started, followed, shown.

use std::time::{Duration, Instant};

use dwcp_api::Page;
use dwcp_api::failover::{
    Failover, FailoverAnswer, FailoverList, FailoverListRequest, FailoverRead, FailoverReadRequest,
    FailoverRequest, FailoverStart, FailoverState, FailoverVmState,
};
use dwcp_config::units::show_duration;

use super::{Ended, LOOK_EVERY, PATIENCE, read};
use crate::Exit;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::{self, FailoverArgs, FailoverCommand};

const RULES: [&str; 4] = ["capacity", "residency", "affinity", "max_time"];

pub fn run(session: &Session, failover: &FailoverArgs) -> Ended {
    match &failover.command {
        None => start(session, &failover.start),
        Some(FailoverCommand::Status { failover_id }) => read(session, || {
            let answer = fetch(session, failover_id)?;
            Ok((shown(&answer.failover).text_block(words::as_of(&answer.as_of)), Exit::Done))
        }),
        Some(FailoverCommand::List { region, limit }) => {
            let request = FailoverListRequest { region: region.clone(), limit: *limit, ..Default::default() };
            read(session, || Ok((list(&session.call::<FailoverList>(&request)?), Exit::Done)))
        }
    }
}

fn fetch(session: &Session, failover: &str) -> Result<FailoverAnswer, Failure> {
    session.call::<FailoverRead>(&FailoverReadRequest { failover: failover.to_owned(), watch: false })
}

fn request_of(wanted: &typed::FailoverStart, dry_run: bool) -> Result<FailoverRequest, Failure> {
    let from = wanted.from_region.clone().unwrap_or_default();
    let mut to = wanted.to_regions.0.clone();
    if to == ["all"] {
        to.clear();
    }
    if to.contains(&from) {
        return Err(Failure::usage(format!("--to-regions: '{from}' is the region to leave")));
    }
    let mut relax = wanted.relax.clone().unwrap_or_default().0;
    if let Some(unknown) = relax.iter().find(|rule| !RULES.contains(&rule.as_str()) && *rule != "partial") {
        return Err(Failure::usage(format!("--relax: '{unknown}' is not one of {}", RULES.join(", "))));
    }
    // `partial` is the word of the refusal's page for moving what fits.
    relax.iter_mut().filter(|rule| *rule == "partial").for_each(|rule| *rule = "capacity".to_owned());
    if wanted.partial && !relax.iter().any(|rule| rule == "capacity") {
        relax.push("capacity".to_owned());
    }
    Ok(FailoverRequest {
        from,
        to,
        priority: wanted.priority,
        max_time_ms: wanted.max_time,
        relax,
        reason: wanted.reason.clone(),
        dry_run,
    })
}

fn start(session: &Session, wanted: &typed::FailoverStart) -> Ended {
    let started = session.call::<FailoverStart>(&request_of(wanted, session.global.dry_run)?)?;
    if session.global.dry_run {
        let document = shown(&started.failover).text_block("dry run: nothing was changed");
        session.show(&document.text_block(words::as_of(&started.as_of)))?;
        return Ok(Exit::Done);
    }
    if started.operation.as_ref().is_some_and(|operation| operation.joined) {
        session.note(&format!("joined {}, which was running already", started.failover.failover));
    }
    if session.global.detach {
        let id = started.failover.failover.clone();
        session.show(&Document::of(&started).text_block(id))?;
        return Ok(Exit::Done);
    }
    let ended = follow(session, started.failover)?;
    session.show(&shown(&ended))?;
    Ok(match ended.state {
        FailoverState::Done => Exit::Done,
        FailoverState::Partly => Exit::Partly,
        _ => Exit::Failed,
    })
}

fn follow(session: &Session, mut failover: Failover) -> Result<Failover, Failure> {
    let began = Instant::now();
    let limit = session.global.timeout.map(Duration::from_millis);
    let mut heard = Instant::now();
    let mut progress = Progress::new(session.global.quiet);
    while matches!(failover.state, FailoverState::Running | FailoverState::Planned) {
        progress.at(failover.done, Some(failover.total), &doing(&failover));
        let silent = heard.elapsed() >= PATIENCE;
        if silent || limit.is_some_and(|limit| began.elapsed() >= limit) {
            progress.end();
            let why = if silent { "no endpoint has answered for a minute" } else { "--timeout is over" };
            let id = &failover.failover;
            return Err(Failure::new(Exit::Unreachable, format!("{id} is not known to have ended"))
                .because(why)
                .and_then("it goes on by itself")
                .suggest(format!("dwcp-cli federation failover status --failover-id {id}")));
        }
        std::thread::sleep(LOOK_EVERY);
        match fetch(session, &failover.failover) {
            Ok(answer) => {
                failover = answer.failover;
                heard = Instant::now();
            }
            Err(failure) if failure.exit == Exit::Unreachable => {}
            Err(failure) => return Err(failure),
        }
    }
    progress.at(failover.done, Some(failover.total), &words::name(&failover.state));
    progress.end();
    Ok(failover)
}

fn doing(failover: &Failover) -> String {
    let phase = failover.phases.iter().rev().find(|p| p.started_at_ms.is_some() && p.ended_at_ms.is_none());
    let phase = phase.map_or_else(|| words::name(&failover.state), |phase| words::name(&phase.name));
    format!("VMs of {}: {phase}", failover.from)
}

fn list(page: &Page<Failover>) -> Document {
    let mut table = Table::new(&[
        "FAILOVER",
        "FROM",
        "STATE",
        "TRIGGER~1",
        ">DONE",
        ">LEFT",
        ">FAILED",
        ">RTO",
        "STARTED~2",
    ])
    .or("there was no failover");
    for failover in &page.items {
        table.row(vec![
            Cell::from(&failover.failover),
            Cell::from(&failover.from),
            words::state(&failover.state),
            words::name(&failover.trigger).into(),
            format!("{}/{}", failover.done, failover.total).into(),
            failover.left.into(),
            failover.failed.into(),
            words::duration(failover.rto_ms),
            words::instant(failover.started_at_ms).into(),
        ]);
    }
    Document::page(page, table)
}

fn shown(failover: &Failover) -> Document {
    let to = if failover.to.is_empty() { "all healthy regions".to_owned() } else { failover.to.join(", ") };
    let rto = match (failover.rto_ms, failover.rto_final) {
        (Some(ms), true) => Cell::from(show_duration(ms)),
        (Some(ms), false) => Cell::toned(format!("{} so far", show_duration(ms)), Tone::Warn),
        (None, _) => words::unknown(),
    };
    let rpo = match failover.rpo.acknowledged_writes_lost {
        Some(lost) => Cell::from(format!("{lost} acknowledged writes lost: {}", failover.rpo.evidence)),
        None => words::unknown(),
    };
    let vms = format!(
        "{} in all: {} done, {} left, {} failed",
        failover.total, failover.done, failover.left, failover.failed
    );
    let mut pairs = vec![
        ("failover", Cell::from(&failover.failover)),
        ("state", words::state(&failover.state)),
        ("from", Cell::from(&failover.from)),
        ("to", to.into()),
        ("trigger", format!("{} by {}", words::name(&failover.trigger), failover.by).into()),
        ("operation", words::or_dash(failover.operation.as_ref())),
        ("started", words::instant(failover.started_at_ms).into()),
        ("ended", words::instant_or_dash(failover.ended_at_ms)),
        ("vms", vms.into()),
        ("rto", rto),
        ("predicted rto", words::or_dash(failover.predicted_rto_ms.map(show_duration))),
        ("rpo", rpo),
    ];
    if let Some(cents) = failover.cost_change_usd_cents_month {
        pairs.push(("cost", format!("{:+.2} USD a month", cents as f64 / 100.0).into()));
    }
    let mut phases = Table::new(&["PHASE", "STARTED", "ENDED", ">TOOK"]);
    for phase in &failover.phases {
        phases.row(vec![
            words::name(&phase.name).into(),
            words::instant_or_dash(phase.started_at_ms),
            words::instant_or_dash(phase.ended_at_ms),
            words::or_dash(phase.took_ms.map(show_duration)),
        ]);
    }
    // A server of the version before says nothing about disks.
    let told = failover.vms.iter().any(|vm| !vm.rpo.is_empty());
    let mut heads = vec!["NAME", "STATE", "FROM HOST~2", "TO REGION", "TO HOST~1", ">TOOK~3"];
    heads.extend(told.then_some("DISK LOST"));
    heads.push("REASON");
    let mut vms = Table::new(&heads);
    // What is left or failed is what people look for.
    let trouble = |state| matches!(state, FailoverVmState::Left | FailoverVmState::Failed);
    let (bad, good): (Vec<_>, Vec<_>) = failover.vms.iter().partition(|vm| trouble(vm.state));
    for vm in bad.into_iter().chain(good) {
        let mut row = vec![
            Cell::from(&vm.name),
            words::state(&vm.state),
            words::or_dash(vm.from_host.as_ref()),
            words::or_dash(vm.to_region.as_ref()),
            words::or_dash(vm.to_host.as_ref()),
            words::or_dash(vm.took_ms.map(show_duration)),
        ];
        if told {
            row.push(words::or_dash((!vm.rpo.is_empty()).then_some(&vm.rpo)));
        }
        row.push(Cell::from(&vm.reason));
        vms.row(row);
    }
    Document::of(failover).pairs(pairs).section("phases", phases).section("vms", vms)
}
