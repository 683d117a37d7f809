//! What the loss of a region, or of two at once, would leave without a place.

use std::collections::BTreeMap;

use dwcp_api::survivability::{
    Loss, Room, SurvivabilityRead, SurvivabilityReadRequest, SurvivabilityReport, WorstLoss,
};

use super::{Ended, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};

pub fn run(session: &Session, region: &Option<String>) -> Ended {
    read(session, || {
        let request = SurvivabilityReadRequest { region: region.clone() };
        let report = session.call::<SurvivabilityRead>(&request)?;
        let survives = ones(&report).all(|loss| loss.unplaced == 0);
        Ok((shown(&report), if survives { Exit::Done } else { Exit::Partly }))
    })
}

/// Losses of one region among those that were asked for.
fn ones(report: &SurvivabilityReport) -> impl Iterator<Item = &Loss> {
    report.losses.iter().filter(|loss| loss.lost.len() == 1)
}

/// How the federation's status says it.
pub fn line(worst: Option<&WorstLoss>) -> Cell {
    match worst {
        None => words::unknown(),
        Some(WorstLoss { region: Some(region), unplaced, .. }) => {
            Cell::toned(format!("{} would not survive the loss of {region}", vms(*unplaced)), Tone::Bad)
        }
        Some(_) => Cell::toned("every VM has a place elsewhere, whichever region is lost", Tone::Good),
    }
}

fn vms(count: u64) -> String {
    if count == 1 { "1 VM".to_owned() } else { format!("{count} VMs") }
}

fn room(room: &Room) -> String {
    let mut parts = Vec::new();
    for (amount, unit) in [(room.vcpus, "vCPU"), (room.memory_mib, "MiB"), (room.disk_gib, "GiB disk")] {
        if amount > 0 {
            parts.push(format!("{amount} {unit}"));
        }
    }
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

/// The reason that most of the listed VMs have, and how many have others.
fn why(loss: &Loss) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for vm in &loss.unplaced_vms {
        *reasons.entry(&vm.why).or_default() += 1;
    }
    let most = reasons.iter().max_by_key(|(why, count)| (**count, std::cmp::Reverse(**why)));
    match (most, reasons.len()) {
        (None, _) => String::new(),
        (Some((why, _)), 1) => (*why).to_owned(),
        (Some((why, _)), 2) => format!("{why} (and 1 other reason)"),
        (Some((why, _)), more) => format!("{why} (and {} other reasons)", more - 1),
    }
}

fn shown(report: &SurvivabilityReport) -> Document {
    let mut table =
        Table::new(&["LOSS", ">VMS", ">STAY~2", ">WOULD NOT FIT", ">BY RULES~1", "ROOM MISSING", "WHY"])
            .or("no region can be lost");
    for loss in &report.losses {
        table.row(vec![
            Cell::from(loss.lost.join(" + ")),
            loss.vms.into(),
            loss.stay.into(),
            Cell::toned(loss.unplaced.to_string(), if loss.unplaced == 0 { Tone::Good } else { Tone::Bad }),
            loss.by_rules.into(),
            Cell::from(room(&loss.missing)),
            Cell::from(why(loss)),
        ]);
    }
    let mut left = Table::new(&["LOST", "VM", ">PRIORITY", "NEEDS~1", "WHY"]);
    for (loss, vm) in ones(report).flat_map(|loss| loss.unplaced_vms.iter().map(move |vm| (loss, vm))) {
        left.row(vec![
            Cell::from(loss.lost.join(" + ")),
            Cell::from(&vm.name),
            Cell::from(vm.priority.0.to_string()),
            Cell::from(room(&vm.needs)),
            Cell::from(&vm.why),
        ]);
    }
    let without: u64 = ones(report).map(|loss| loss.unplaced).sum();
    let mut document =
        Document::of(report).table(table).section("without a place when one region is lost", left.clone());
    let listed = left.rows.len() as u64;
    if listed > 0 && listed < without {
        document = document.text_block(format!("{} more are not listed", without - listed));
    }
    if report.pairs_left_out {
        document = document.text_block("losses of two regions were left out: too many for so many VMs");
    }
    document.text_block(words::as_of(&report.as_of))
}
