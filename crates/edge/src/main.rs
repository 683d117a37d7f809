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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = match Settings::load(&arguments.config) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
