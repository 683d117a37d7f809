//! `dwcp-routerd`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dwcp_edge::router::{Settings, run};

/// Leads users to the best region and VM: DNS, HTTP, TLS and TCP.
///
/// It makes its table of what its region's node tells, and goes on with the last one, from its disk at a start, when every node is dead.
#[derive(Parser)]
#[command(name = "dwcp-routerd", version)]
struct Arguments {
    /// The router's settings.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// One more router at the same addresses: the N-th after the one whose settings these are.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=15))]
    further: Option<u8>,
    /// Ends when its standard input does: with whoever started it.
    #[arg(long)]
    until_stdin_ends: bool,
    /// Prints what the zone above is to say of the zone's key, a line of a zone file, and ends.
    #[arg(long)]
    ds: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = match Settings::load(&arguments.config, arguments.further) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    if arguments.ds {
        return match settings.ds() {
            Ok(line) => {
                println!("{line}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(2)
            }
        };
    }
    match run(settings, arguments.until_stdin_ends) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
