//! Runbooks: the operations guide's steps in their order, each a command that could be typed by hand.

mod add_region;
mod decommission;
mod emergency;
mod facts;
mod gates;
mod step;
mod walk;

use clap::Parser as _;

use super::Ended;
use crate::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::typed::{Global, RunbookCommand, RunbookRun, Typed};

const LIST: &str = "\
emergency-failover   a region is down: disable it, fail it over, verify
add-region           a host pool becomes a region: measure, deploy, verify, give traffic little by little
decommission-region  a region leaves: announce, empty, disable, remove, clean up
";

pub fn run(session: &Session, command: &RunbookCommand) -> Ended {
    let RunbookCommand::Run(wanted) = command else {
        crate::print_quietly(LIST);
        return Ok(Exit::Done);
    };
    let global = &session.global;
    let not_here = [
        ("--output", global.output.is_some(), "its steps are printed as they go; redirect what it prints"),
        ("--watch", global.watch.is_some(), "it shows its own progress"),
        (
            "--detach",
            global.detach,
            "this program carries the steps out; typed again, it goes on where it was",
        ),
    ];
    if let Some((flag, _, why)) = not_here.into_iter().find(|(_, given, _)| *given) {
        return Err(Failure::usage(format!("{flag} is not for runbooks")).because(why));
    }
    match wanted {
        RunbookRun::EmergencyFailover(wanted) => emergency::run(session, wanted),
        RunbookRun::AddRegion(wanted) => add_region::run(session, wanted),
        RunbookRun::DecommissionRegion(wanted) => decommission::run(session, wanted),
    }
}

/// A line's words. Names that are filled in have no blanks.
fn split(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Carries out one command as if it had been typed, with the flags that the runbook itself was given.
fn carry_out(session: &Session, command: &[String]) -> Ended {
    let words = std::iter::once("dwcp-cli").chain(command.iter().map(String::as_str));
    let typed = match Typed::try_parse_from(words) {
        Ok(typed) => typed,
        Err(error) => {
            crate::remark(&error.to_string());
            return Ok(Exit::Usage);
        }
    };
    super::run(session, &typed.command)
}

/// How it ended, with what went wrong on stderr.
fn printed(session: &Session, ended: Ended) -> Exit {
    ended.unwrap_or_else(|failure| {
        failure.print(session);
        failure.exit
    })
}

/// The same federation, and nothing is asked: that was done before.
fn unasked(session: &Session) -> Session {
    Session::new(Global { yes: true, ..session.global.clone() })
}
