//! Whether all regions hold the same facts and still have them; and what makes them.

use dwcp_api::state::{
    RegionSync, StoreVerdict, SyncForce, SyncForceRequest, SyncForced, SyncState, SyncVerdict, SyncVerify,
    SyncVerifyRequest,
};

use super::operations::{exit_of, follow, show as show_operation};
use super::{Ended, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};
use crate::typed::ForceSync;

/// The server answers so much sooner than `--timeout` that its answer still arrives, ms.
const ON_ITS_WAY_MS: u64 = 3_000;
/// Digits of a digest that are shown.
const SHORT: usize = 12;

pub fn verify(session: &Session, region: &Option<String>) -> Ended {
    let timeout_ms = session.global.timeout.map(|ms| ms.saturating_sub(ON_ITS_WAY_MS).max(1_000));
    read(session, || {
        let request = SyncVerifyRequest { region: region.clone(), timeout_ms };
        let verdict = session.call::<SyncVerify>(&request)?;
        Ok((shown(&verdict), exit(&verdict)))
    })
}

fn exit(verdict: &SyncVerdict) -> Exit {
    match verdict.state {
        SyncState::Equal => Exit::Done,
        SyncState::Differs | SyncState::Damaged => Exit::Failed,
        SyncState::Unverified | SyncState::Unreachable => Exit::Partly,
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn disk(store: Option<&StoreVerdict>) -> Cell {
    match store {
        None => words::unknown(),
        Some(store) if store.unread.is_some() => words::unknown(),
        Some(store) if store.flaws.is_empty() => {
            Cell::toned(format!("{} in {}ms", size(store.bytes), store.took_ms), Tone::Good)
        }
        Some(_) => Cell::toned("damaged", Tone::Bad),
    }
}

fn verdict_of(region: &RegionSync) -> Cell {
    let tone = match region.state {
        SyncState::Equal => Tone::Good,
        SyncState::Differs | SyncState::Damaged => Tone::Bad,
        SyncState::Unverified | SyncState::Unreachable => Tone::Warn,
    };
    let mut text = words::name(&region.state);
    if let Some(ms) = region.silent_ms {
        text.push_str(&format!(" {}s", ms / 1_000));
    }
    Cell::toned(text, tone)
}

fn shown(verdict: &SyncVerdict) -> Document {
    let mut table = Table::new(&["REGION", ">GROUPS", ">RECORDS", "DIGEST", "DISK READ", "VERDICT"]);
    for region in &verdict.regions {
        let digest = region.digest.as_ref().map(|digest| digest[..SHORT.min(digest.len())].to_owned());
        table.row(vec![
            Cell::from(&region.region),
            format!("{}/{}", region.groups, region.of_groups).into(),
            words::known(region.records),
            words::known(digest),
            disk(region.store.as_ref()),
            verdict_of(region),
        ]);
    }
    let mut document = Document::of(verdict).table(table);
    let mut differences = Table::new(&["GROUP", "KIND", "RECORD", "DIFFERS IN"]);
    for group in &verdict.groups {
        for found in &group.differences {
            let at = |region: &String| {
                let lacks = if found.missing.contains(region) { " (missing)" } else { "" };
                format!("{region}{lacks}")
            };
            differences.row(vec![
                Cell::from(&group.group),
                Cell::from(&found.kind),
                Cell::from(&found.record),
                Cell::from(found.regions.iter().map(at).collect::<Vec<_>>().join(", ")),
            ]);
        }
    }
    if !differences.rows.is_empty() {
        document = document.section("records that are not the same everywhere", differences);
    }
    for group in verdict.groups.iter().filter(|group| group.more) {
        document = document.text_block(format!("more differs in the group of {}", group.group));
    }
    for region in &verdict.regions {
        document = document.text_block(lines(region).join("\n"));
    }
    document.text_block(format!("took {}ms", verdict.took_ms)).text_block(words::as_of(&verdict.as_of))
}

/// What is wrong with a region, and how its disk was read.
fn lines(region: &RegionSync) -> Vec<String> {
    let name = &region.region;
    let mut lines: Vec<String> = Vec::new();
    for left in &region.left_out {
        lines.push(format!("{name}: group of {} not compared: {}", left.group, left.why));
    }
    let Some(store) = &region.store else { return lines };
    for flaw in &store.flaws {
        let part = flaw.group.as_ref().map_or("store file".to_owned(), |group| format!("group of {group}"));
        lines.push(format!("{name}: {part} is damaged on disk: {}", flaw.what));
    }
    if let Some(why) = &store.unread {
        lines.push(format!("{name}: its store could not be read back: {why}"));
        return lines;
    }
    let commit = match store.longest_commit_us {
        0 => String::new(),
        us => format!(", longest commit meanwhile {:.1}ms", us as f64 / 1_000.0),
    };
    lines.push(format!(
        "{name}: {} records, {} of a file of {} read in {}ms; commits held up {:.1}ms{commit}",
        store.records,
        size(store.bytes),
        size(store.file_bytes),
        store.took_ms,
        store.held_us as f64 / 1_000.0,
    ));
    lines
}

pub fn force(session: &Session, wanted: &ForceSync) -> Ended {
    let targets = &wanted.targets.0;
    if targets.contains(&wanted.source) {
        return Err(Failure::usage(format!("--targets: '{}' is the source", wanted.source)));
    }
    let all = targets.iter().any(|name| name == "all");
    if all && targets.len() > 1 {
        return Err(Failure::usage("--targets: either 'all' or names of regions"));
    }
    let request = SyncForceRequest {
        source: wanted.source.clone(),
        targets: if all { Vec::new() } else { targets.clone() },
        reason: wanted.reason.clone(),
        dry_run: session.global.dry_run,
    };
    let forced = session.call::<SyncForce>(&request)?;
    let Some(operation) = forced.operation.clone() else {
        session.show(&plan(&forced).text_block("dry run: nothing was changed"))?;
        return Ok(Exit::Done);
    };
    if session.global.detach {
        session.show(&Document::of(&operation).text_block(operation.operation.clone()))?;
        return Ok(Exit::Done);
    }
    let ended = follow(session, operation)?;
    session.show(&show_operation(&ended))?;
    Ok(exit_of(&ended))
}

fn plan(forced: &SyncForced) -> Document {
    let mut table = Table::new(&["REGION", "PART", ">BYTES", ">ENTRIES", ">VOTERS LEFT~1", "NOW"])
        .or("nothing to rebuild");
    for step in &forced.steps {
        let part = step.group.clone().unwrap_or_else(|| "store file".to_owned());
        let voters = match step.voters_needed {
            0 => "-".to_owned(),
            needed => format!("{}, {needed} needed", step.voters_left),
        };
        let now = match (&step.group, step.differs) {
            (None, _) => Cell::from("-"),
            (_, true) => Cell::toned("differs", Tone::Bad),
            (_, false) => Cell::toned("equal", Tone::Good),
        };
        table.row(vec![
            Cell::from(&step.region),
            Cell::from(part),
            step.bytes.into(),
            step.entries.into(),
            voters.into(),
            now,
        ]);
    }
    Document::of(forced).table(table)
}
