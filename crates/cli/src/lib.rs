//! dwcp-cli: the operator's command. What was typed ([`typed`]) becomes a request ([`commands`]), the answer a
//! [`show::Document`], and that the text of the chosen format.

pub mod argv;
mod client;
mod commands;
mod exit;
mod failure;
pub mod guide;
mod key;
mod progress;
mod session;
mod settings;
mod show;
pub mod typed;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

pub use exit::Exit;
use failure::Failure;
use session::Session;

/// Carries out one command line; the first word is the program's name.
pub fn run(words: Vec<OsString>) -> ExitCode {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words = argv::normal(argv::by_name(words));
    let typed = match typed::Typed::try_parse_from(&words) {
        Ok(typed) => typed,
        Err(error) => return refused_typing(&words, &error),
    };
    let session = Session::new(typed.global);
    match commands::run(&session, &typed.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print(&session);
            failure.exit.into()
        }
    }
}

/// What clap can't place is help, a command of a later version, or a mistake.
fn refused_typing(words: &[String], error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        print_quietly(&error.to_string());
        return Exit::Done.into();
    }
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(command) = guide::unavailable(words)
    {
        let failure = Failure::usage(format!("'dwcp-cli {command}' is not available in this version"))
            .because("the operations guide names it, this version does not carry it out")
            .and_then("nothing was changed")
            .suggest("dwcp-cli --help");
        remark(&failure.text());
        return failure.exit.into();
    }
    remark(&error.to_string());
    Exit::Usage.into()
}

/// Prints to stdout and says whether somebody still reads. A reader that has gone away is no error.
fn print_quietly(text: &str) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Prints to stderr; a reader that has gone away is no error.
fn remark(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
