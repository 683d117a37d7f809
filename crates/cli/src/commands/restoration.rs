//! A control plane that came back from a backup.

use dwcp_api::page::Nothing;
use dwcp_api::restoration::{
    MissingChoice, RestorationDecide, RestorationDecideRequest, RestorationRead, RestorationStatus,
    RestorationWriteOff, RestorationWriteOffRequest,
};

use super::{Ended, confirmed, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::restoration::RestorationCommand;

pub fn run(session: &Session, command: &RestorationCommand) -> Ended {
    if session.global.dry_run && !matches!(command, RestorationCommand::Status) {
        let status = session.call::<RestorationRead>(&Nothing {})?;
        session.show(&shown(&status).dry(session))?;
        return Ok(Exit::Done);
    }
    match command {
        RestorationCommand::Status => read(session, || {
            let status = session.call::<RestorationRead>(&Nothing {})?;
            let missing = status.regions.iter().any(|region| region.missing > 0);
            let exit = if status.done && !missing { Exit::Done } else { Exit::Partly };
            Ok((shown(&status), exit))
        }),
        RestorationCommand::WriteOff(host) => {
            let again = format!(
                "dwcp-cli federation restoration write-off --region {} --host {}",
                host.region, host.host
            );
            let what = format!("{} is off for good and runs nothing", host.host);
            confirmed(session, &what, &again)?;
            let request = RestorationWriteOffRequest {
                region: host.region.clone(),
                host: host.host.clone(),
                reason: host.reason.clone(),
            };
            let status = session.call::<RestorationWriteOff>(&request)?;
            session.show(&shown(&status))?;
            Ok(Exit::Done)
        }
        RestorationCommand::Decide(of) => {
            let choice = if of.start { MissingChoice::Start } else { MissingChoice::Forget };
            let request = RestorationDecideRequest { vm: of.vm.clone(), choice, reason: of.reason.clone() };
            let status = session.call::<RestorationDecide>(&request)?;
            session.show(&shown(&status))?;
            Ok(Exit::Done)
        }
    }
}

fn shown(status: &RestorationStatus) -> Document {
    let Some(id) = status.restoration else {
        return Document::bare(status, "this control plane was never restored from a backup");
    };
    let mut regions = Table::new(&[
        "REGION",
        ">HEARD",
        "AWAITED",
        "WRITTEN OFF",
        ">UNCHANGED",
        ">CHANGED",
        ">UNKNOWN",
        ">MISSING",
        "ADOPTED",
    ]);
    for region in &status.regions {
        regions.row(vec![
            Cell::from(&region.region),
            Cell::from(region.heard.len()),
            Cell::from(region.awaited.join(", ")),
            Cell::from(region.written_off.join(", ")),
            Cell::from(region.unchanged),
            Cell::from(region.changed),
            Cell::from(region.unknown),
            Cell::from(region.missing),
            words::instant_or_dash(region.done_at_ms),
        ]);
    }
    let mut vms = Table::new(&["VM", "NAME", "REGION", "HOST", "WHAT BECAME OF IT"]);
    for vm in &status.vms {
        vms.row(vec![
            Cell::from(&vm.vm),
            Cell::from(&vm.name),
            Cell::from(&vm.region),
            Cell::from(&vm.host),
            Cell::from(&vm.how),
        ]);
    }
    let mut document = Document::of(status)
        .pairs(vec![
            ("restoration", Cell::from(id)),
            ("backup", words::or_dash(status.backup.as_ref())),
            ("lost since", words::instant_or_dash(status.taken_at_ms)),
            ("adopted", Cell::from(if status.done { "everything" } else { "not everything yet" })),
        ])
        .table(regions);
    if !vms.rows.is_empty() {
        document = document.section("VMs that are not as the backup has them", vms);
    }
    let lost: Vec<String> = status.lost.iter().map(|what| format!("lost: {what}")).collect();
    document.text_block(lost.join("\n")).text_block(words::as_of(&status.as_of))
}
