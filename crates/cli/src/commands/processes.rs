//! What the processes of a component use.

use dwcp_api::inspection::{Process, ProcessList, ProcessListRequest, Processes};
use dwcp_config::units::show_duration;

use super::{Ended, one_of, read};
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::ProcessMetrics;

const COMPONENTS: [&str; 5] = ["controller", "state-manager", "router", "monitor", "agent"];
const METRICS: [&str; 7] = ["cpu", "memory", "fds", "threads", "uptime", "io", "all"];
/// Shortest and longest time for which processor time is counted, ms.
const WINDOW_MS: (u64, u64) = (100, 20_000);

fn check(wanted: &ProcessMetrics) -> Result<(), Failure> {
    one_of("--component", &wanted.component, &COMPONENTS)?;
    one_of("--metric", &wanted.metric, &METRICS)?;
    match (WINDOW_MS.0..=WINDOW_MS.1).contains(&wanted.window) {
        true => Ok(()),
        false => Err(Failure::usage("--window: 100ms to 20s")),
    }
}

pub fn run(session: &Session, wanted: &ProcessMetrics) -> Ended {
    check(wanted)?;
    read(session, || {
        let request = ProcessListRequest {
            component: wanted.component.clone(),
            region: wanted.region.clone(),
            window_ms: Some(wanted.window),
        };
        let found = session.call::<ProcessList>(&request)?;
        let exit = match found.processes.iter().all(|of| of.trouble.is_empty()) {
            true => Exit::Done,
            false => Exit::Partly,
        };
        Ok((document(&found, &wanted.metric), exit))
    })
}

/// Columns of a metric.
fn heads(metric: &str) -> Vec<&'static str> {
    match metric {
        "cpu" => vec![">CPU", ">OVER"],
        "memory" => vec![">MEMORY"],
        "fds" => vec![">OPEN", ">LIMIT"],
        "threads" => vec![">THREADS"],
        "uptime" => vec![">UP"],
        "io" => vec![">READ", ">WRITTEN"],
        _ => METRICS[..6].iter().flat_map(|metric| heads(metric)).collect(),
    }
}

fn cells(metric: &str, of: &Process) -> Vec<Cell> {
    let mib =
        |bytes: Option<u64>| words::decimal(bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)), "MiB");
    match metric {
        "cpu" => vec![words::decimal(of.cpu_percent, "%"), show_duration(of.window_ms).into()],
        "memory" => vec![words::decimal(of.memory_mib, "MiB")],
        "fds" => vec![words::known(of.fds), words::known(of.fd_limit)],
        "threads" => vec![words::known(of.threads)],
        "uptime" => vec![words::known(of.uptime_ms.map(show_duration))],
        "io" => vec![mib(of.read_bytes), mib(of.written_bytes)],
        _ => METRICS[..6].iter().flat_map(|metric| cells(metric, of)).collect(),
    }
}

fn document(found: &Processes, metric: &str) -> Document {
    let mut columns = vec!["REGION", "HOST", "PROCESS", ">PID"];
    columns.extend(heads(metric));
    columns.extend([">AGE", "TROUBLE"]);
    let mut table = Table::new(&columns).or("nobody to ask");
    for of in &found.processes {
        let mut row = vec![
            Cell::from(&of.region),
            words::or_dash(of.host.as_ref()),
            Cell::from(&of.process),
            words::known(of.pid),
        ];
        row.extend(cells(metric, of));
        row.push(words::age(of.age_ms));
        row.push(words::text_or_dash(&of.trouble));
        table.row(row);
    }
    let document = Document::of(found).table(table);
    let document = found.notes.iter().fold(document, |all, note| all.text_block(note.clone()));
    document.text_block(words::as_of(&found.as_of))
}
