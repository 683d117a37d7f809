//! What needs no federation: help, codes, completion, configuration files.

use std::path::Path;

use clap::CommandFactory;
use dwcp_api::server::VersionRead;
use dwcp_config::capacity::Thresholds;
use dwcp_config::cli::CliConfig;
use dwcp_config::host::HostConfig;
use dwcp_config::region::RegionConfig;
use dwcp_config::{Complaints, spelling, tree};
use dwcp_types::Code;
use serde_json::json;

use super::Ended;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::{Cell, Document, Table, words};
use crate::typed::{Completion, ConfigCommand, ConfigKind, Explain, Help, Typed};
use crate::{Exit, exit};

/// The version of this program always; that of the region that answers when one does.
pub fn version(session: &Session) -> Ended {
    let own = env!("CARGO_PKG_VERSION");
    let target = session.target()?;
    if target.endpoints.is_empty() {
        session.show(
            &Document::of(&json!({ "client": own, "server": null }))
                .pairs(vec![("client", own.into()), ("server", Cell::from("no context is known"))]),
        )?;
        return Ok(Exit::Done);
    }
    match session.call::<VersionRead>(&dwcp_api::page::Nothing {}) {
        Ok(server) => {
            let answered = format!("{} in {} ({})", server.version, server.region, server.federation);
            session.show(&Document::of(&json!({ "client": own, "server": server })).pairs(vec![
                ("client", own.into()),
                ("server", answered.into()),
                ("api", Cell::from(&server.api)),
                ("state format", server.state_format.into()),
            ]))?;
            Ok(Exit::Done)
        }
        Err(failure) => {
            session.show(
                &Document::of(&json!({ "client": own, "server": null }))
                    .pairs(vec![("client", own.into()), ("server", words::unknown())]),
            )?;
            Err(failure)
        }
    }
}

pub fn completion(completion: &Completion) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(completion.shell, &mut Typed::command(), "dwcp-cli", &mut script);
    crate::print_quietly(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}

pub fn explain(session: &Session, explain: &Explain) -> Ended {
    let Some(typed) = &explain.code else {
        let mut table = Table::new(&["CODE", "EXIT", "TITLE"]);
        let mut values = Vec::new();
        for code in Code::ALL {
            let page = code.page();
            table.row(vec![page.code.into(), exit_of(*code).into(), page.title.into()]);
            values.push(json!({ "code": page.code, "exit": exit_of(*code), "title": page.title }));
        }
        session.show(&Document::of(&values).table(table))?;
        return Ok(Exit::Done);
    };
    let padded = typed.parse::<u32>().map_or_else(|_| typed.clone(), |number| format!("R{number:04}"));
    let Some(code) = Code::parse(&padded) else {
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        let failure = Failure::new(Exit::NotFound, format!("there is no code '{typed}'"));
        return Err(match spelling::nearest(&typed.to_uppercase(), codes.iter().copied()) {
            Some(code) => failure.suggest(format!("dwcp-cli explain {code}")),
            None => failure.suggest("dwcp-cli explain"),
        });
    };
    let page = code.page();
    let value = json!({ "code": page.code, "exit": exit_of(code), "title": page.title, "text": page.text });
    let text = format!("{}: {}\n\n{}\n\nexit code {}", page.code, page.title, page.text, exit_of(code));
    session.show(&Document::bare(&value, text))?;
    Ok(Exit::Done)
}

fn exit_of(code: Code) -> u8 {
    let problem = dwcp_api::Problem::from(&dwcp_types::Refusal::new(code, ""));
    Exit::of(&problem) as u8
}

pub fn help(help: &Help) -> Ended {
    if help.topic.first().is_some_and(|topic| topic == "exit-codes") {
        let lines: Vec<String> =
            exit::MEANINGS.iter().map(|(code, meaning)| format!("  {code}  {meaning}\n")).collect();
        crate::print_quietly(&format!("Exit codes of every command:\n{}", lines.concat()));
        return Ok(Exit::Done);
    }
    let mut command = Typed::command();
    command.build();
    for word in &help.topic {
        command = command.find_subcommand(word).cloned().ok_or_else(|| {
            let typed = help.topic.join(" ");
            Failure::usage(format!("there is no command '{typed}'")).suggest("dwcp-cli --help")
        })?;
    }
    crate::print_quietly(&command.render_help().to_string());
    Ok(Exit::Done)
}

pub fn config(session: &Session, command: &ConfigCommand) -> Ended {
    let ConfigCommand::Check { file, kind } = command;
    let text = read_file(file)?;
    let (kind, checked) = match kind {
        Some(kind) => (*kind, check(*kind, &text)),
        None => guess(&text),
    };
    let kind = match kind {
        ConfigKind::Contexts => "contexts of dwcp-cli",
        ConfigKind::Region => "dwcpd.yaml of a region",
        ConfigKind::Host => "host.yaml of an agent",
        ConfigKind::CapacityThresholds => "capacity-thresholds.yaml of a region",
    };
    match checked {
        Ok(()) => {
            let value = json!({ "file": file, "kind": kind, "complaints": [] });
            session.show(&Document::bare(&value, format!("{}: in order ({kind})", file.display())))?;
            Ok(Exit::Done)
        }
        Err(complaints) => Err(complained(file, kind, &complaints)),
    }
}

fn check(kind: ConfigKind, text: &str) -> Result<(), Complaints> {
    match kind {
        ConfigKind::Contexts => CliConfig::parse(text).map(|_| ()),
        ConfigKind::Region => RegionConfig::parse(text).map(|_| ()),
        ConfigKind::Host => HostConfig::parse(text).map(|_| ()),
        ConfigKind::CapacityThresholds => Thresholds::parse(text).map(|_| ()),
    }
}

/// The kind with a key of its own in the file; of a file that is no YAML, either tells the same.
fn guess(text: &str) -> (ConfigKind, Result<(), Complaints>) {
    let top = tree::parse(text).map(|node| node.value);
    let has =
        |name: &str| matches!(&top, Ok(tree::Value::Map(map)) if map.iter().any(|(key, _)| key.name == name));
    let kind = match () {
        () if has("contexts") || has("current") => ConfigKind::Contexts,
        () if has("thresholds") => ConfigKind::CapacityThresholds,
        () if has("host") || has("vm_addresses") => ConfigKind::Host,
        () => ConfigKind::Region,
    };
    (kind, check(kind, text))
}

/// A file that was named on the command line.
pub fn read_file(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{} can't be read: {error}", file.display())))
}

/// A file with mistakes in it: each with its line and column.
pub fn complained(file: &Path, kind: &str, complaints: &Complaints) -> Failure {
    let count = complaints.0.len();
    let mistakes = if count == 1 { "mistake" } else { "mistakes" };
    let start = Failure::usage(format!("{} has {count} {mistakes} ({kind})", file.display()));
    complaints.0.iter().fold(start, |failure, complaint| failure.because(complaint.to_string()))
}
