//! Drills: a region's failure rehearsed, ended, shown.

mod prove;

use std::time::{Duration, Instant};

use dwcp_api::drill::{
    Drill, DrillAnswer, DrillList, DrillListRequest, DrillMode, DrillRead, DrillReadRequest, DrillRequest,
    DrillRestore, DrillRestoreRequest, DrillStart, DrillState, DrillVmState,
};
use dwcp_api::link::{LinkSet, LinkSetRequest};
use dwcp_api::region::{Lifecycle, RegionEnable, RegionEnableRequest, RegionRead, RegionReadRequest};
use dwcp_api::{Page, Problem};
use dwcp_config::units::show_duration;
use dwcp_types::{Code, Refusal};

use super::{Ended, LOOK_EVERY, PATIENCE, all_pages, read};
use crate::Exit;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::{DrillCommand, DrillMetric, SimulateFailure};

pub fn run(session: &Session, command: &DrillCommand) -> Ended {
    match command {
        DrillCommand::SimulateFailure(wanted) => simulate(session, wanted),
        DrillCommand::Restore { region } => restore(session, region),
        DrillCommand::Results { metric, region } => results(session, *metric, region.as_deref()),
        DrillCommand::Prove(wanted) => prove::run(session, wanted),
        DrillCommand::List { region, limit } => read(session, || {
            let page = all_pages::<DrillList, Drill>(session, *limit, |cursor| DrillListRequest {
                region: region.clone(),
                limit: *limit,
                cursor,
            })?;
            Ok((list(&page), Exit::Done))
        }),
    }
}

fn simulate(session: &Session, wanted: &SimulateFailure) -> Ended {
    if session.global.dry_run {
        let what = if wanted.live { "its links would be cut" } else { "copies of its VMs would be lost" };
        let line = format!("dry run: {} would fail: {what}; nothing was changed", wanted.region);
        session.show(&Document::bare(&serde_json::json!({ "region": wanted.region }), line))?;
        return Ok(Exit::Done);
    }
    if wanted.live {
        let again =
            format!("dwcp-cli federation dr-drill simulate-failure --region {} --live", wanted.region);
        let question =
            format!("{} is really cut off: every VM there is lost until it is restored", wanted.region);
        super::confirmed(session, &question, &again)?;
    }
    let request = DrillRequest {
        region: wanted.region.clone(),
        live: wanted.live,
        max_time_ms: Some(wanted.max_time),
        reason: wanted.reason.clone(),
    };
    let mut drill = session.call::<DrillStart>(&request)?.drill;
    if wanted.live {
        session.call::<LinkSet>(&links(&wanted.region, true))?;
    } else {
        drill = follow(session, drill, "copies", |drill| {
            drill.state != DrillState::Running || drill.restoring || !drill.times.is_empty()
        })?;
    }
    session.show(&shown(&drill))?;
    Ok(if drill.state == DrillState::Failed { Exit::Failed } else { Exit::Done })
}

/// All links of a region, cut or as published.
fn links(region: &str, cut: bool) -> LinkSetRequest {
    LinkSetRequest {
        from: region.to_owned(),
        to: "all".to_owned(),
        one_way: false,
        rtt_ms: None,
        loss_percent: None,
        jitter_ms: None,
        rate_mbit_s: None,
        cut: cut.then_some(true),
        heal: !cut,
        dry_run: false,
    }
}

fn fetch(session: &Session, drill: &str) -> Result<DrillAnswer, Failure> {
    session.call::<DrillRead>(&DrillReadRequest { drill: drill.to_owned() })
}

/// Looks at a drill until it is as awaited.
fn follow(
    session: &Session,
    mut drill: Drill,
    what: &str,
    awaited: impl Fn(&Drill) -> bool,
) -> Result<Drill, Failure> {
    let began = Instant::now();
    let limit = session.global.timeout.map(Duration::from_millis);
    let mut heard = Instant::now();
    let mut progress = Progress::new(session.global.quiet);
    while !awaited(&drill) {
        let settled = drill.vms.iter().filter(|vm| vm.state != DrillVmState::Waiting).count() as u64;
        progress.at(settled, Some(drill.vms.len() as u64), &format!("{what} of {}", drill.region));
        let silent = heard.elapsed() >= PATIENCE;
        if silent || limit.is_some_and(|limit| began.elapsed() >= limit) {
            progress.end();
            let why = if silent { "no endpoint has answered for a minute" } else { "--timeout is over" };
            return Err(Failure::new(
                Exit::Unreachable,
                format!("{} is not known to be that far", drill.drill),
            )
            .because(why)
            .and_then("it goes on by itself, and ends by itself when its time is up")
            .suggest(format!("dwcp-cli federation dr-drill list --region {}", drill.region)));
        }
        std::thread::sleep(LOOK_EVERY);
        match fetch(session, &drill.drill) {
            Ok(answer) => {
                drill = answer.drill;
                heard = Instant::now();
            }
            Err(failure) if failure.exit == Exit::Unreachable => {}
            Err(failure) => return Err(failure),
        }
    }
    progress.end();
    Ok(drill)
}

/// The newest drill, of a region or of all.
fn newest(session: &Session, region: Option<&str>) -> Result<Drill, Failure> {
    let request = DrillListRequest { region: region.map(str::to_owned), limit: Some(1), cursor: None };
    let page = session.call::<DrillList>(&request)?;
    page.items.into_iter().next().ok_or_else(|| {
        let of = region.map_or_else(String::new, |region| format!(" of {region}"));
        let refusal = Refusal::new(Code::UnknownDrill, format!("there has been no drill{of}"));
        let name = region.unwrap_or("REGION");
        let begin = format!("dwcp-cli federation dr-drill simulate-failure --region {name}");
        Failure::from(Problem::from(&refusal.try_this(begin)))
    })
}

fn restore(session: &Session, region: &str) -> Ended {
    let drill = newest(session, Some(region))?;
    if session.global.dry_run {
        let line = format!("dry run: {} would be ended; nothing was changed", drill.drill);
        session.show(&Document::bare(&drill, line))?;
        return Ok(Exit::Done);
    }
    let over = |drill: &Drill| matches!(drill.state, DrillState::Restored | DrillState::Failed);
    let mut ended = drill.clone();
    if !over(&drill) {
        if drill.mode == DrillMode::Live {
            let began = Instant::now();
            // What is cut off is measured first; where nothing fails over by itself there is nothing to wait for.
            follow(session, drill.clone(), "failover", |drill| {
                drill.state != DrillState::Running || began.elapsed() >= PATIENCE
            })?;
            // The leader mends them too; from inside the region that is cut off nobody else is reached.
            session.call::<LinkSet>(&links(region, false))?;
        }
        let request = DrillRestoreRequest { drill: drill.drill.clone(), reason: None };
        let asked = session.call::<DrillRestore>(&request)?.drill;
        ended = follow(session, asked, "what was made", over)?;
    }
    if drill.mode == DrillMode::Live {
        bring_back(session, region)?;
    }
    session.show(&shown(&ended))?;
    Ok(if ended.state == DrillState::Failed { Exit::Failed } else { Exit::Done })
}

/// Waits until a region whose links were healed is heard, and takes it into service again if its return waits for that.
fn bring_back(session: &Session, region: &str) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let request = RegionReadRequest { region: region.to_owned(), watch: false };
        match session.call::<RegionRead>(&request)?.summary.lifecycle {
            Lifecycle::Lost if began.elapsed() < PATIENCE => std::thread::sleep(LOOK_EVERY),
            Lifecycle::Lost => {
                return Err(Failure::new(Exit::Unreachable, format!("{region} is not heard again"))
                    .because(format!("{} s after its links were healed", PATIENCE.as_secs()))
                    .suggest(format!("dwcp-cli federation dr-drill restore --region {region}")));
            }
            Lifecycle::Standby => {
                let request = RegionEnableRequest { region: region.to_owned(), ..Default::default() };
                session.call::<RegionEnable>(&request)?;
                return Ok(());
            }
            _ => return Ok(()),
        }
    }
}

/// One bare value of the newest drill.
fn results(session: &Session, metric: DrillMetric, region: Option<&str>) -> Ended {
    let drill = newest(session, region)?;
    let value = match metric {
        DrillMetric::Rto => drill.rto_ms.map(seconds),
        DrillMetric::Rpo => drill.rpo.records_lost.map(|lost| match lost {
            1 => "1 record".to_owned(),
            lost => format!("{lost} records"),
        }),
        DrillMetric::VmsMigrated => drill.measured_at_ms.map(|_| drill.migrated.to_string()),
        DrillMetric::SuccessRate => drill.success_percent.map(|percent| format!("{percent}%")),
    };
    if metric == DrillMetric::Rpo {
        session.note(&format!("{}: {}", drill.drill, drill.rpo.evidence));
    } else if value.is_none() {
        session.note(&format!("{} is {}: {}", drill.drill, words::name(&drill.state), not_known(&drill)));
    }
    let known = value.is_some();
    let line = value.unwrap_or_else(|| words::UNKNOWN.to_owned());
    session.show(&Document::bare(&drill, line))?;
    Ok(if known { Exit::Done } else { Exit::Partly })
}

fn not_known(drill: &Drill) -> String {
    match drill.result.as_str() {
        "" => "it is not measured yet".to_owned(),
        result => result.to_owned(),
    }
}

/// `9.2s`.
fn seconds(ms: u64) -> String {
    let tenths = (ms + 50) / 100;
    format!("{}.{}s", tenths / 10, tenths % 10)
}

fn list(page: &Page<Drill>) -> Document {
    let mut table = Table::new(&[
        "DRILL",
        "REGION",
        "MODE~1",
        "STATE",
        ">MIGRATED",
        ">SUCCESS",
        ">RTO",
        ">RECORDS LOST",
        "STARTED~2",
    ])
    .or("there was no drill");
    for drill in &page.items {
        table.row(vec![
            Cell::from(&drill.drill),
            Cell::from(&drill.region),
            words::name(&drill.mode).into(),
            words::state(&drill.state),
            format!("{}/{}", drill.migrated, drill.lost).into(),
            words::known(drill.success_percent.map(|percent| format!("{percent}%"))),
            words::known(drill.rto_ms.map(seconds)),
            words::known(drill.rpo.records_lost),
            words::instant(drill.started_at_ms).into(),
        ]);
    }
    Document::page(page, table)
}

fn shown(drill: &Drill) -> Document {
    let records = match drill.rpo.records_lost {
        Some(lost) => Cell::from(format!("{lost} records ({})", drill.rpo.evidence)),
        None => Cell::toned(format!("{} ({})", words::UNKNOWN, drill.rpo.evidence), Tone::Warn),
    };
    let mut pairs = vec![
        ("drill", Cell::from(&drill.drill)),
        ("region", Cell::from(&drill.region)),
        ("mode", words::name(&drill.mode).into()),
        ("state", words::state(&drill.state)),
        ("started", format!("{} by {}", words::instant(drill.started_at_ms), drill.by).into()),
        ("ends by", words::instant(drill.ends_by_ms).into()),
        ("rto", words::known(drill.rto_ms.map(seconds))),
        ("rpo", records),
        ("migrated", format!("{} of {} that were lost", drill.migrated, drill.lost).into()),
    ];
    if drill.left_out > 0 {
        let kept = drill.vms.len();
        pairs.push((
            "left out",
            format!("{} VMs: only the {kept} most important were copied", drill.left_out).into(),
        ));
    }
    if let Some(failover) = &drill.failover {
        pairs.push(("failover", failover.into()));
    }
    if !drill.result.is_empty() {
        pairs.push(("result", Cell::from(&drill.result)));
    }
    let mut times = Table::new(&["MOMENT", "AT", ">AFTER", "NOTE~1"]);
    for time in &drill.times {
        times.row(vec![
            words::name(&time.moment).into(),
            words::instant(time.at_ms).into(),
            show_duration(time.after_ms).into(),
            Cell::from(&time.note),
        ]);
    }
    let mut vms =
        Table::new(&["NAME", "STATE", "FROM HOST~2", "TO REGION", "TO HOST~1", ">TOOK", "REASON~3"]);
    for vm in &drill.vms {
        vms.row(vec![
            Cell::from(&vm.name),
            words::state(&vm.state),
            words::or_dash(vm.from_host.as_ref()),
            words::or_dash(vm.to_region.as_ref()),
            words::or_dash(vm.to_host.as_ref()),
            words::or_dash(vm.took_ms.map(seconds)),
            Cell::from(&vm.reason),
        ]);
    }
    Document::of(drill).pairs(pairs).section("times", times).section("vms", vms)
}
