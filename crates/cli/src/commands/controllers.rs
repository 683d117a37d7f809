//! How many controllers each region has.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use dwcp_api::controllers::{
    Controllers, ControllersRead, ControllersRequest, ControllersScale, ControllersScaleRequest,
    RegionControllers,
};
use serde::Serialize;

use super::{Ended, LOOK_EVERY, PATIENCE, read};
use crate::Exit;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{Replicas, Scale};

/// How long controllers may take to come or go without `--timeout`.
const LIMIT: Duration = Duration::from_secs(120);

/// What is printed of a region that was scaled.
#[derive(Serialize)]
struct Scaled {
    region: String,
    before: u64,
    after: u64,
    up: Option<u64>,
    per_second_before: Option<f64>,
    per_second: Option<f64>,
    p95_us_before: Option<u64>,
    p95_us: Option<u64>,
}

/// What is printed of all of them.
#[derive(Serialize)]
struct ScaledAll {
    regions: Vec<Scaled>,
    left_out: Vec<String>,
}

fn look(session: &Session, region: Option<&String>) -> Result<Controllers, Failure> {
    session.call::<ControllersRead>(&ControllersRequest { region: region.cloned() })
}

fn micros(us: Option<u64>) -> Cell {
    words::or_dash(us.map(|us| match us {
        us if us < 1_000 => format!("{us} us"),
        us => format!("{:.1} ms", us as f64 / 1_000.0),
    }))
}

fn rate(per_second: Option<f64>) -> Cell {
    words::or_dash(per_second.map(|rate| format!("{rate:.1}")))
}

/// The controllers, each on a line.
pub fn status(session: &Session, region: &Option<String>) -> Ended {
    read(session, || {
        let all = look(session, region.as_ref())?;
        let mut table =
            Table::new(&["REGION", "CONTROLLER", ">PID", "STATE", ">DECIDED", ">FAILED", ">MEAN", ">LAG"]);
        let mut notes = Vec::new();
        for region in &all.regions {
            rows(&mut table, region);
            let per_second = region.per_second.map_or("?".to_owned(), |rate| format!("{rate:.1}"));
            notes.push(format!(
                "{}: {} of {} up; {per_second} placements/s; P50 {}, P95 {}, P99 {}",
                region.region,
                words::known(region.up).text,
                region.wanted,
                micros(region.p50_us).text,
                micros(region.p95_us).text,
                micros(region.p99_us).text
            ));
            notes.extend(region.troubles.iter().map(|trouble| format!("{}: {trouble}", region.region)));
        }
        let document = Document::of(&all).table(table);
        let document = notes.into_iter().fold(document, Document::text_block);
        Ok((document.text_block(words::as_of(&all.as_of)), Exit::Done))
    })
}

fn rows(table: &mut Table, region: &RegionControllers) {
    let node = if region.up.is_some() { "up" } else { "unknown" };
    table.row(vec![
        Cell::from(&region.region),
        "node".into(),
        words::or_dash(None::<String>),
        node.into(),
        words::or_dash(region.decided_by_node.map(|count| count.to_string())),
        words::or_dash(region.late.zip(region.not_held).map(|_| "0".to_owned())),
        words::or_dash(None::<String>),
        words::or_dash(None::<String>),
    ]);
    for replica in &region.replicas {
        table.row(vec![
            Cell::from(&region.region),
            format!("{}/{}", replica.host, replica.slot).into(),
            replica.pid.into(),
            if replica.ready { "up" } else { "catching up" }.into(),
            replica.decided.into(),
            replica.failed.into(),
            micros(replica.mean_us),
            format!("{} ms", replica.lag_ms).into(),
        ]);
    }
}

/// More controllers, or fewer; waits until they decide, or have ended.
pub fn scale(session: &Session, wanted: &Scale) -> Ended {
    let (count, change) = match wanted.replicas {
        Replicas::Count(count) => (Some(count), None),
        Replicas::Change(change) => (None, Some(change)),
    };
    let dry_run = session.global.dry_run;
    let before = look(session, wanted.region.as_ref())?;
    let request = ControllersScaleRequest {
        component: wanted.component.clone(),
        region: wanted.region.clone(),
        count,
        change,
        reason: wanted.reason.clone(),
        dry_run,
    };
    let answer = session.call::<ControllersScale>(&request)?;
    let waits = !dry_run && !session.global.detach;
    let now = match waits {
        true => wait(
            session,
            wanted,
            &answer.regions.iter().map(|of| (of.region.clone(), of.after)).collect::<Vec<_>>(),
        )?,
        false => look(session, wanted.region.as_ref())?,
    };
    let find = |all: &Controllers, name: &str| all.regions.iter().find(|of| of.region == name).cloned();
    let scaled = answer.regions.iter().map(|of| {
        let (then, now) = (find(&before, &of.region), find(&now, &of.region));
        Scaled {
            region: of.region.clone(),
            before: of.before,
            after: of.after,
            up: now.as_ref().and_then(|now| now.up),
            per_second_before: then.as_ref().and_then(|then| then.per_second),
            per_second: now.as_ref().and_then(|now| now.per_second),
            p95_us_before: then.as_ref().and_then(|then| then.p95_us),
            p95_us: now.as_ref().and_then(|now| now.p95_us),
        }
    });
    let all = ScaledAll { regions: scaled.collect(), left_out: answer.left_out };
    session.show(&shown(session, &all))?;
    Ok(if all.left_out.is_empty() { Exit::Done } else { Exit::Partly })
}

fn shown(session: &Session, all: &ScaledAll) -> Document {
    let columns =
        ["REGION", ">BEFORE", ">AFTER", ">UP", ">PLACED/S BEFORE", ">PLACED/S", ">P95 BEFORE", ">P95"];
    let mut table = Table::new(&columns);
    for of in &all.regions {
        table.row(vec![
            Cell::from(&of.region),
            of.before.into(),
            of.after.into(),
            words::known(of.up),
            rate(of.per_second_before),
            rate(of.per_second),
            micros(of.p95_us_before),
            micros(of.p95_us),
        ]);
    }
    let document = Document::of(all).table(table);
    let left = all.left_out.iter().map(|why| format!("left out: {why}"));
    left.fold(document, Document::text_block).dry(session)
}

/// Waits until each region has as many controllers as it is to have, and gives what they are then.
fn wait(session: &Session, wanted: &Scale, aims: &[(String, u64)]) -> Result<Controllers, Failure> {
    let limit = session.global.timeout.map_or(LIMIT, Duration::from_millis);
    let progress = RefCell::new(Progress::new(session.global.quiet));
    let (began, mut heard) = (Instant::now(), Instant::now());
    let ended = loop {
        match look(session, wanted.region.as_ref()) {
            Ok(all) => {
                heard = Instant::now();
                let find = |name: &String| all.regions.iter().find(|of| of.region == *name);
                let open = aims.iter().find_map(|(name, aim)| {
                    let of = find(name);
                    let running = of.and_then(|of| of.up.map(|up| up.max(1 + of.replicas.len() as u64)));
                    let up = of.and_then(|of| of.up);
                    let there = up == Some(*aim) && running == Some(*aim);
                    let trouble =
                        of.and_then(|of| of.troubles.first()).map_or(String::new(), |why| format!(": {why}"));
                    (!there).then(|| format!("{name}: {} of {aim} up{trouble}", words::known(up).text))
                });
                let done =
                    aims.iter().filter(|(name, aim)| find(name).and_then(|of| of.up) == Some(*aim)).count();
                let Some(open) = open else { break Ok(all) };
                progress.borrow_mut().at(done as u64, Some(aims.len() as u64), &open);
                if began.elapsed() >= limit {
                    let what = format!("not all controllers are there after {} s: {open}", limit.as_secs());
                    let next = "they come by themselves as soon as they can; this looks again";
                    break Err(Failure::new(Exit::Partly, what)
                        .and_then(next)
                        .suggest("dwcp-cli federation controller status"));
                }
            }
            Err(failure) if failure.exit == Exit::Unreachable && heard.elapsed() < PATIENCE => {}
            Err(failure) => break Err(failure),
        }
        std::thread::sleep(LOOK_EVERY);
    };
    progress.borrow().end();
    ended
}
