//! How state is replicated.

use dwcp_api::page::Nothing;
use dwcp_api::state::{Replication, ReplicationConfigure, ReplicationConfigureRequest, ReplicationRead};
use dwcp_config::units::show_duration;

use super::{Ended, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::ReplicationConfigureArgs;

const STAYS: &str =
    "acknowledged commands stay on a majority of disks (RPO 0): the interval is that of soft state only";

pub fn configure(session: &Session, wanted: &ReplicationConfigureArgs) -> Ended {
    let request = ReplicationConfigureRequest {
        replication_workers: wanted.replication_workers,
        compression: wanted.compression,
        sync_interval_ms: wanted.sync_interval,
        expected_revision: None,
        dry_run: session.global.dry_run,
    };
    let answer = session.call::<ReplicationConfigure>(&request)?;
    session.show(&set(&answer).text_block(STAYS).dry(session))?;
    Ok(Exit::Done)
}

fn set(answer: &Replication) -> Document {
    Document::of(answer).pairs(vec![
        ("replication workers", Cell::from(answer.replication_workers)),
        ("compression", Cell::from(answer.compression)),
        ("sync interval", Cell::from(show_duration(answer.sync_interval_ms))),
    ])
}

pub fn show(session: &Session) -> Ended {
    read(session, || -> Result<(Document, Exit), Failure> {
        let answer = session.call::<ReplicationRead>(&Nothing {})?;
        let mut table = Table::new(&["REGION", ">APPENDS", "COMPRESSED", ">BYTES", ">SENT", ">SOFT STATE"]);
        for region in &answer.regions {
            table.row(vec![
                Cell::from(&region.region),
                words::known(region.append_messages),
                words::known(region.compression),
                words::known(region.framed_bytes),
                words::known(region.sent_bytes),
                words::age(region.soft_state_age_ms),
            ]);
        }
        let document = set(&answer).table(table).text_block(STAYS);
        Ok((document.text_block(words::as_of(&answer.as_of)), Exit::Done))
    })
}
