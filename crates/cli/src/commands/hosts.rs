//! Hosts.

use dwcp_api::host::{Host, HostList, HostListRequest, HostRead, HostReadRequest};

use super::{Ended, all_pages, moves, read};
use crate::Exit;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::HostCommand;

pub fn run(session: &Session, command: &HostCommand) -> Ended {
    match command {
        HostCommand::List { region, limit } => {
            let request = HostListRequest { region: region.clone(), limit: *limit, ..Default::default() };
            read(session, || {
                let page = all_pages::<HostList, _>(session, *limit, |cursor| HostListRequest {
                    cursor,
                    ..request.clone()
                })?;
                let table = table(&page.items);
                Ok((Document::page(&page, table), Exit::Done))
            })
        }
        HostCommand::Drain(wanted) => moves::drain_host(session, wanted),
        HostCommand::Show { host } => read(session, || {
            let answer = session.call::<HostRead>(&HostReadRequest { host: host.clone() })?;
            let vms = if answer.vms.is_empty() { "none".to_owned() } else { answer.vms.join(", ") };
            let host = &answer.host;
            let labels: Vec<String> =
                host.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let document = Document::of(&answer).pairs(vec![
                ("host", Cell::from(&host.host)),
                ("region", Cell::from(&host.region)),
                ("zone", words::or_dash(host.zone.as_ref())),
                ("state", state(host)),
                ("last heard", words::duration(host.silent_ms)),
                ("lease left", words::known(host.lease_left_ms.map(|ms| format!("{ms}ms")))),
                ("cpu", words::usage(&host.cpu, "vCPU").into()),
                ("memory", words::usage(&host.memory, "MiB").into()),
                ("storage", words::usage(&host.storage, "GiB").into()),
                ("labels", words::or_dash((!labels.is_empty()).then(|| labels.join(", ")))),
                ("version", words::known(host.version.as_ref())),
                ("vms", vms.into()),
                ("revision", host.revision.into()),
            ]);
            Ok((document.text_block(words::as_of(&answer.as_of)), Exit::Done))
        }),
    }
}

/// Its state, and until when it is in maintenance.
fn state(host: &Host) -> Cell {
    let mut cell = words::state(&host.state);
    if let Some(window) = &host.maintenance {
        cell.text.push_str(&format!(", in maintenance until {}", words::instant(window.until_at_ms)));
    }
    cell
}

/// Hosts, one a line.
pub fn table(hosts: &[Host]) -> Table {
    let mut table = Table::new(&[
        "HOST",
        "REGION",
        "STATE",
        ">VMS",
        "CPU",
        "MEMORY~1",
        "STORAGE~2",
        ">HEARD",
        ">LEASE~3",
        "VERSION~4",
    ])
    .or("no hosts");
    for host in hosts {
        let share = |usage: &dwcp_api::region::Usage| match (usage.allocated, usage.capacity) {
            (Some(given), Some(all)) => Cell::from(format!("{given}/{all}")),
            _ => words::unknown(),
        };
        table.row(vec![
            Cell::from(&host.host),
            Cell::from(&host.region),
            state(host),
            host.vms.into(),
            share(&host.cpu),
            share(&host.memory),
            share(&host.storage),
            words::age(host.silent_ms),
            words::known(host.lease_left_ms.map(|ms| format!("{ms}ms"))),
            words::known(host.version.as_ref()),
        ]);
    }
    table
}
