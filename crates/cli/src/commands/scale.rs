//! How many controllers and routers each region has.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use dwcp_api::controllers::{ControllersScale, ControllersScaleRequest, RegionControllers};
use dwcp_api::routing::{RegionRouters, RouterList, RouterListRequest};
use serde::Serialize;

use super::controllers::{look, micros};
use super::{Ended, LOOK_EVERY, PATIENCE};
use crate::Exit;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{Replicas, Scale};

/// How long they may take to come or go without `--timeout`.
const LIMIT: Duration = Duration::from_secs(120);
const ROUTER: &str = "router";

/// What is printed of a region that was scaled.
#[derive(Serialize)]
struct Scaled {
    region: String,
    before: u64,
    after: u64,
    up: Option<u64>,
    /// Of controllers.
    #[serde(flatten)]
    work: Option<Work>,
}

/// How a region's placements went before, and go now.
#[derive(Serialize)]
struct Work {
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

/// What a region has of a component now.
struct Now {
    region: String,
    up: Option<u64>,
    /// With those that are not up yet, or are on their way out.
    running: Option<u64>,
    trouble: Option<String>,
    /// Placements a second, and how long they take; routers have none.
    work: Option<(Option<f64>, Option<u64>)>,
}

impl From<RegionControllers> for Now {
    fn from(of: RegionControllers) -> Now {
        Now {
            running: of.up.map(|up| up.max(1 + of.replicas.len() as u64)),
            up: of.up,
            trouble: of.troubles.into_iter().next(),
            work: Some((of.per_second, of.p95_us)),
            region: of.region,
        }
    }
}

impl From<RegionRouters> for Now {
    fn from(of: RegionRouters) -> Now {
        let trouble = of.troubles.into_iter().next();
        Now { region: of.region, up: Some(of.up), running: Some(of.up), trouble, work: None }
    }
}

fn find<'a>(all: &'a [Now], region: &str) -> Option<&'a Now> {
    all.iter().find(|of| of.region == region)
}

fn now(session: &Session, wanted: &Scale) -> Result<Vec<Now>, Failure> {
    if wanted.component == ROUTER {
        let request = RouterListRequest { region: wanted.region.clone() };
        return Ok(session.call::<RouterList>(&request)?.regions.into_iter().map(Now::from).collect());
    }
    Ok(look(session, wanted.region.as_ref())?.regions.into_iter().map(Now::from).collect())
}

fn rate(per_second: Option<f64>) -> Cell {
    words::or_dash(per_second.map(|rate| format!("{rate:.1}")))
}

/// More of them, or fewer; waits until they work, or have ended.
pub fn scale(session: &Session, wanted: &Scale) -> Ended {
    let (count, change) = match wanted.replicas {
        Replicas::Count(count) => (Some(count), None),
        Replicas::Change(change) => (None, Some(change)),
    };
    let dry_run = session.global.dry_run;
    let before = now(session, wanted)?;
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
    let after = match waits {
        true => wait(
            session,
            wanted,
            &answer.regions.iter().map(|of| (of.region.clone(), of.after)).collect::<Vec<_>>(),
        )?,
        false => now(session, wanted)?,
    };
    let scaled = answer.regions.iter().map(|of| {
        let then = find(&before, &of.region);
        let now = find(&after, &of.region);
        let work = now.and_then(|now| now.work);
        let work_before = then.and_then(|then| then.work).unwrap_or_default();
        Scaled {
            region: of.region.clone(),
            before: of.before,
            after: of.after,
            up: now.and_then(|now| now.up),
            work: work.map(|(per_second, p95_us)| Work {
                per_second_before: work_before.0,
                per_second,
                p95_us_before: work_before.1,
                p95_us,
            }),
        }
    });
    let all = ScaledAll { regions: scaled.collect(), left_out: answer.left_out };
    session.show(&shown(session, &all))?;
    Ok(if all.left_out.is_empty() { Exit::Done } else { Exit::Partly })
}

fn shown(session: &Session, all: &ScaledAll) -> Document {
    let with_work = all.regions.iter().any(|of| of.work.is_some());
    let mut columns = vec!["REGION", ">BEFORE", ">AFTER", ">UP"];
    if with_work {
        columns.extend([">PLACED/S BEFORE", ">PLACED/S", ">P95 BEFORE", ">P95"]);
    }
    let mut table = Table::new(&columns);
    for of in &all.regions {
        let mut row = vec![Cell::from(&of.region), of.before.into(), of.after.into(), words::known(of.up)];
        if let Some(work) = &of.work {
            row.extend([
                rate(work.per_second_before),
                rate(work.per_second),
                micros(work.p95_us_before),
                micros(work.p95_us),
            ]);
        } else if with_work {
            row.extend(std::iter::repeat_with(|| words::or_dash(None::<String>)).take(4));
        }
        table.row(row);
    }
    let document = Document::of(all).table(table);
    let left = all.left_out.iter().map(|why| format!("left out: {why}"));
    left.fold(document, Document::text_block).dry(session)
}

/// Waits until each region has as many as it is to have, and gives what they are then.
fn wait(session: &Session, wanted: &Scale, aims: &[(String, u64)]) -> Result<Vec<Now>, Failure> {
    let limit = session.global.timeout.map_or(LIMIT, Duration::from_millis);
    let progress = RefCell::new(Progress::new(session.global.quiet));
    let (began, mut heard) = (Instant::now(), Instant::now());
    let ended = loop {
        match now(session, wanted) {
            Ok(all) => {
                heard = Instant::now();
                let open = aims.iter().find_map(|(name, aim)| {
                    let of = find(&all, name);
                    let (up, running) = (of.and_then(|of| of.up), of.and_then(|of| of.running));
                    let there = up == Some(*aim) && running == Some(*aim);
                    let trouble = of.and_then(|of| of.trouble.as_ref());
                    let trouble = trouble.map_or(String::new(), |why| format!(": {why}"));
                    (!there).then(|| format!("{name}: {} of {aim} up{trouble}", words::known(up).text))
                });
                let done = aims
                    .iter()
                    .filter(|(name, aim)| find(&all, name).and_then(|of| of.up) == Some(*aim))
                    .count();
                let Some(open) = open else { break Ok(all) };
                progress.borrow_mut().at(done as u64, Some(aims.len() as u64), &open);
                if began.elapsed() >= limit {
                    let what = format!(
                        "not every {} is there after {} s: {open}",
                        wanted.component,
                        limit.as_secs()
                    );
                    let next = "they come by themselves as soon as they can; this looks again";
                    let suggest = match wanted.component == ROUTER {
                        true => "dwcp-cli routing routers",
                        false => "dwcp-cli federation controller status",
                    };
                    break Err(Failure::new(Exit::Partly, what).and_then(next).suggest(suggest));
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
