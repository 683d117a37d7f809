//! Which promised times the federation could not keep.

use dwcp_api::promises::{PromisesRead, PromisesReadRequest, PromisesReport, RegionPromise};
use dwcp_config::units::show_duration;

use super::{Ended, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, Tone, words};

pub fn run(session: &Session, region: &Option<String>) -> Ended {
    read(session, || {
        let request = PromisesReadRequest { region: region.clone() };
        let report = session.call::<PromisesRead>(&request)?;
        Ok((shown(&report), if report.kept { Exit::Done } else { Exit::Failed }))
    })
}

fn seconds(ms: u64) -> String {
    format!("{}.{}s", ms / 1_000, ms % 1_000 / 100)
}

/// The longest time of a step; a dash where nothing would move.
fn step(promise: &RegionPromise, name: &str) -> Cell {
    let found = promise.steps.iter().find(|step| step.step == name);
    words::or_dash(found.map(|step| seconds(step.at_most_ms)))
}

fn shown(report: &PromisesReport) -> Document {
    let mut table = Table::new(&[
        "REGION",
        ">VMS",
        "KEPT",
        ">RTO",
        ">DETECT~1",
        ">AGREE~2",
        ">FENCE~3",
        ">HAND OVER~4",
        ">BOOT~1",
        ">RPO STATE",
        ">RPO DISKS",
        ">UNPROTECTED~5",
    ])
    .or("no region can die");
    for promise in &report.regions {
        table.row(vec![
            Cell::from(&promise.region),
            promise.vms.into(),
            match promise.kept {
                true => Cell::toned("yes", Tone::Good),
                false => Cell::toned("no", Tone::Bad),
            },
            match (promise.rto_ms, promise.vms) {
                (Some(ms), _) => Cell::from(seconds(ms)),
                (None, 0) => words::or_dash::<&str>(None),
                (None, _) => Cell::toned("never", Tone::Bad),
            },
            step(promise, "detect"),
            step(promise, "agree"),
            step(promise, "fence"),
            step(promise, "hand over"),
            step(promise, "boot"),
            match promise.rpo_ms {
                Some(ms) => Cell::from(seconds(ms)),
                None => words::unknown(),
            },
            words::or_dash(promise.disk_rpo_ms.map(seconds)),
            promise.unprotected.into(),
        ]);
    }
    let mut broken = Table::new(&["REGION", "NOT KEPT BECAUSE"]);
    let mut helps = Table::new(&["REGION", "WHAT WOULD HELP"]);
    for promise in &report.regions {
        promise.broken.iter().for_each(|why| broken.row(vec![Cell::from(&promise.region), Cell::from(why)]));
        promise.helps.iter().for_each(|help| helps.row(vec![Cell::from(&promise.region), Cell::from(help)]));
    }
    let mut document = Document::of(report)
        .text_block(format!(
            "promised: every VM answers elsewhere within {} of the death of its region",
            show_duration(report.rto_target_ms)
        ))
        .table(table)
        .section("not kept", broken)
        .section("helps", helps);
    for assumed in &report.assumed {
        document = document.text_block(format!("assumed: {assumed}"));
    }
    let disks: u64 = report.regions.iter().map(|promise| promise.unprotected).sum();
    if disks > 0 {
        document = document.text_block(format!(
            "disks: those of {disks} VMs are not protected: what they wrote is on one host and is lost with it"
        ));
    }
    document.text_block(words::as_of(&report.as_of))
}
