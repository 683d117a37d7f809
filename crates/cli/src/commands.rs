//! From what was typed to a request, and from the answer to a document.

mod alerts;
mod backup;
mod capacity;
mod checks;
mod configuration;
mod context;
mod control;
mod controllers;
mod dashboards;
mod ddos;
mod drill;
mod events;
mod failover;
mod federation;
mod hosts;
mod images;
mod incidents;
mod links;
mod local;
mod logs;
mod maintenance;
mod membership;
mod metrics;
mod moves;
mod notifications;
mod on_call;
mod operations;
mod planning;
mod processes;
mod promises;
mod protection;
mod regions;
mod replication;
mod restoration;
mod routes;
mod routing;
mod runbook;
mod scale;
mod site;
mod sla;
mod state_sync;
mod survivability;
mod tokens;
mod traces;
mod traffic;
mod upgrades;
mod verify;
mod vms;
mod vms_shown;

use std::io::IsTerminal;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dwcp_api::{Endpoint, Page};
use dwcp_config::spelling::nearest;
use dwcp_config::units::Moment;
use serde::de::DeserializeOwned;

use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::show::Document;
use crate::typed::{
    CapacityCommand, Command, DevCommand, FederationCommand, FederationVmCommand, InfrastructureCommand,
    MonitoringCommand, ProtectionCommand, SecurityCommand,
};

/// How long the federation may be away while something is followed: controllers may die meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often what is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How a command ends.
pub type Ended = Result<Exit, Failure>;

/// Carries out a command.
pub fn run(session: &Session, command: &Command) -> Ended {
    match command {
        Command::Context(command) => context::run(session, command),
        Command::Login => context::login(session),
        Command::Version => local::version(session),
        Command::Completion(completion) => local::completion(completion),
        Command::Explain(explain) => local::explain(session, explain),
        Command::Help(help) => local::help(help),
        Command::Config(command) => local::config(session, command),
        Command::Operation(command) => operations::run(session, command),
        Command::Vm(command) => vms::run(session, command),
        Command::Host(command) => hosts::run(session, command),
        Command::Image(command) => images::run(session, command),
        Command::Federation(command) => federation(session, command),
        Command::Infrastructure(InfrastructureCommand::Pools { region }) => {
            membership::pools(session, region)
        }
        Command::Infrastructure(InfrastructureCommand::Cleanup { region }) => {
            membership::clean_up(session, region)
        }
        Command::Infrastructure(InfrastructureCommand::Deploy(wanted)) => membership::deploy(session, wanted),
        Command::Infrastructure(InfrastructureCommand::Check { region }) => checks::inspect(session, region),
        Command::Infrastructure(InfrastructureCommand::Metrics(wanted)) => processes::run(session, wanted),
        Command::Infrastructure(InfrastructureCommand::Scale(wanted)) => scale::scale(session, wanted),
        Command::Maintenance(command) => maintenance::run(session, command),
        Command::Notification(command) => notifications::run(session, command),
        Command::Logs(command) => logs::run(session, command),
        Command::Metrics(command) => metrics::run(session, command),
        Command::Dashboards(command) => dashboards::run(session, command),
        Command::Trace(command) => traces::run(session, command),
        Command::Network(_) => federation::latency_matrix(session),
        Command::Security(SecurityCommand::Token(command)) => tokens::run(session, command),
        Command::Security(SecurityCommand::FirewallLogs(wanted)) => logs::firewall(session, wanted),
        Command::Routing(command) => routing::run(session, command),
        Command::Runbook(command) => runbook::run(session, command),
        Command::Dev(DevCommand::Link(command)) => links::run(session, command),
    }
}

fn federation(session: &Session, command: &FederationCommand) -> Ended {
    match command {
        FederationCommand::Status { .. } => federation::status(session),
        FederationCommand::Region(command) => regions::run(session, command),
        FederationCommand::Promises { region } => promises::run(session, region),
        FederationCommand::Capacity(CapacityCommand::Summary { region }) => {
            capacity::summary(session, region)
        }
        FederationCommand::Survivability { region } => survivability::run(session, region),
        FederationCommand::DrDrill(command) => drill::run(session, command),
        FederationCommand::Failover(failover) => failover::run(session, failover),
        FederationCommand::Migrate(migrate) => moves::migrate(session, migrate),
        FederationCommand::MigrateAll(wanted) => moves::migrate_all(session, wanted),
        FederationCommand::Failback(wanted) => moves::failback(session, wanted),
        FederationCommand::Rebalance(wanted) => moves::rebalance(session, wanted),
        FederationCommand::Protection(ProtectionCommand::Status { region }) => {
            protection::status(session, region.as_ref())
        }
        FederationCommand::Vm(FederationVmCommand::HealthCheck(which)) => vms::health_check(session, which),
        FederationCommand::Events(command) => events::run(session, command),
        FederationCommand::Monitoring(MonitoringCommand::Alerts(command)) => alerts::run(session, command),
        FederationCommand::Monitoring(MonitoringCommand::Silence(command)) => {
            alerts::silence(session, command)
        }
        FederationCommand::Monitoring(MonitoringCommand::Sla(command)) => sla::run(session, command),
        FederationCommand::Monitoring(MonitoringCommand::Incidents(command)) => {
            incidents::run(session, command)
        }
        FederationCommand::Monitoring(MonitoringCommand::Oncall(command)) => on_call::run(session, command),
        FederationCommand::State(command) => federation::state(session, command),
        FederationCommand::Restoration(command) => restoration::run(session, command),
        FederationCommand::Network(_) => federation::latency_matrix(session),
        FederationCommand::Controller(command) => control::controller(session, command),
        FederationCommand::Release(command) => upgrades::run(session, command),
        FederationCommand::Freeze(freeze) => control::freeze(session, freeze),
        FederationCommand::Config(command) => configuration::run(session, command),
        FederationCommand::Policy(command) => control::policy(session, command),
    }
}

/// A moment in milliseconds since 1970.
fn moment_ms(moment: Moment) -> u64 {
    match moment {
        Moment::At(ms) => ms,
        Moment::In(ms) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
            (now as u64).saturating_add(ms)
        }
    }
}

/// Shows an answer; with `--watch` again and again, until it is interrupted.
fn read(session: &Session, once: impl Fn() -> Result<(Document, Exit), Failure>) -> Ended {
    let Some(interval_ms) = session.global.watch else {
        let (document, exit) = once()?;
        session.show(&document)?;
        return Ok(exit);
    };
    let terminal = std::io::stdout().is_terminal();
    loop {
        match once() {
            Ok((document, _)) => {
                if terminal {
                    crate::print_quietly("\x1b[H\x1b[2J");
                }
                if !session.show(&document)? {
                    return Ok(Exit::Done);
                }
            }
            // A federation that is away for a moment is what one watches for.
            Err(failure) if failure.exit == Exit::Unreachable => failure.print(session),
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(Duration::from_millis(interval_ms.max(100)));
    }
}

/// Every page of a list, up to the limit asked for; a list is not cut silently.
fn all_pages<E, T>(
    session: &Session,
    limit: Option<u32>,
    request: impl Fn(Option<String>) -> E::Request,
) -> Result<Page<T>, Failure>
where
    E: Endpoint<Response = Page<T>>,
{
    let mut page = session.call::<E>(&request(None))?;
    while let Some(cursor) = page.next_cursor.take() {
        if limit.is_some_and(|limit| page.items.len() >= limit as usize) {
            page.next_cursor = Some(cursor);
            break;
        }
        let next = session.call::<E>(&request(Some(cursor)))?;
        page.items.extend(next.items);
        page.next_cursor = next.next_cursor;
    }
    Ok(page)
}

/// Follows a stream across endpoints that go away. `request` says from where on; `each` shows one value and says
/// whether somebody still reads.
fn follow<E: Endpoint>(
    session: &Session,
    mut request: impl FnMut() -> E::Request,
    mut each: impl FnMut(E::Response) -> bool,
) -> Ended {
    let mut heard: Option<Instant> = None;
    loop {
        let watched = session.client()?.watch::<E>(&request(), |value| Ok(each(value)));
        match watched {
            Ok(true) => return Ok(Exit::Done),
            Ok(false) => heard = Some(Instant::now()),
            // What was heard of a moment ago comes back, or is told to be away.
            Err(failure)
                if failure.exit == Exit::Unreachable && heard.is_some_and(|at| at.elapsed() < PATIENCE) => {}
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Asks before something that can't be undone; `--yes` answers, a pipe can't.
fn confirmed(session: &Session, question: &str, again: &str) -> Result<(), Failure> {
    if session.global.yes || session.global.dry_run {
        return Ok(());
    }
    let refused = || {
        Failure::from(dwcp_api::Problem::from(&dwcp_types::Refusal::new(
            dwcp_types::Code::ConfirmationNeeded,
            question.to_owned(),
        )))
        .suggest(format!("{again} --yes"))
    };
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(refused());
    }
    crate::remark(&format!("{question}. Go on? [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused()) }
}

/// Reads a choice of the API by its name; a wrong one names the flag and what is possible.
fn choice<T: DeserializeOwned>(
    flag: &str,
    typed: &Option<String>,
    words: &[&str],
) -> Result<Option<T>, Failure> {
    let Some(text) = typed else { return Ok(None) };
    let parsed = serde_json::from_value(serde_json::Value::String(text.replace('-', "_")));
    parsed.map(Some).map_err(|_| {
        let failure = Failure::usage(format!("{flag}: '{text}' is not one of {}", words.join(", ")));
        match nearest(text, words.iter().copied()) {
            Some(word) => failure.suggest(format!("{flag} {word}")),
            None => failure,
        }
    })
}

/// A word that is one of a few.
fn one_of(flag: &str, typed: &str, valid: &[&str]) -> Result<(), Failure> {
    if valid.contains(&typed) {
        return Ok(());
    }
    let failure = Failure::usage(format!("{flag}: no '{typed}'; there are {}", valid.join(", ")));
    Err(match nearest(typed, valid.iter().copied()) {
        Some(word) => failure.suggest(format!("{flag} {word}")),
        None => failure,
    })
}

/// How a read ends from which these regions are missing: one region may have been asked for.
fn without(missing: &[String], asked: Option<&String>) -> Exit {
    let lacks = asked.map_or(!missing.is_empty(), |region| missing.contains(region));
    if lacks { Exit::Partly } else { Exit::Done }
}

/// `(dry run)` where nothing was changed.
fn dry(session: &Session) -> &'static str {
    if session.global.dry_run { " (dry run: nothing was changed)" } else { "" }
}
