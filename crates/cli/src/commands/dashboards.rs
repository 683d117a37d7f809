//! Dashboards for Grafana, as files.

use std::path::Path;

use dwcp_api::dashboards::ALL;
use serde_json::json;

use super::Ended;
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::settings::write_atomically;
use crate::show::{Document, Table};
use crate::typed::{DashboardsCommand, Global};

pub fn run(session: &Session, command: &DashboardsCommand) -> Ended {
    match command {
        DashboardsCommand::Export => export(session),
    }
}

fn export(session: &Session) -> Ended {
    let folder = session.global.output.as_deref().unwrap_or(Path::new("."));
    let cannot = |path: &Path, error: std::io::Error| {
        Failure::usage(format!("--output: {} can't be written: {error}", path.display()))
    };
    if !session.global.dry_run {
        std::fs::create_dir_all(folder).map_err(|error| cannot(folder, error))?;
    }
    let mut table = Table::new(&["DASHBOARD", ">PANELS", "FILE"]);
    let mut files = Vec::new();
    for dashboard in &ALL {
        let path = folder.join(format!("{}.json", dashboard.uid));
        let mut text = serde_json::to_string_pretty(&dashboard.to_json()).unwrap_or_default();
        text.push('\n');
        if !session.global.dry_run {
            write_atomically(&path, text.as_bytes(), 0o644).map_err(|error| cannot(&path, error))?;
        }
        let shown = path.display().to_string();
        table.row(vec![dashboard.title.into(), dashboard.panels.len().into(), shown.as_str().into()]);
        files.push(json!({ "uid": dashboard.uid, "title": dashboard.title, "file": shown }));
    }
    let mut document = Document::of(&files).table(table);
    if session.global.dry_run {
        document = document.text_block("dry run: nothing was written");
    }
    // `--output` is where the dashboards go, and not where the answer is written.
    Session::new(Global { output: None, ..session.global.clone() }).show(&document)?;
    Ok(Exit::Done)
}
