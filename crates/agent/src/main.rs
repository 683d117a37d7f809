//! `dwcp-agentd`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use dwcp_agent::host_config::HostConfig;
use dwcp_agent::watchdog::{self, WatchdogConfig};
use dwcp_agent::{journal, worker};
use serde_json::json;

/// How long the log's last lines may take.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Runs virtual machines on this host under a lease of its region's leader.
///
/// VMs live as long as this process: it is the watchdog that holds them still when the lease runs out, so without it they
/// are killed by the kernel. Its worker process may die or be replaced at any time without the VMs noticing.
#[derive(Parser)]
#[command(name = "dwcp-agentd", version)]
struct Arguments {
    /// The host's settings.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// On SIGTERM power the VMs down and wait up to 10 s. Without it they end at once, as without a watchdog they may not run.
    #[arg(long)]
    stop_vms: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// The worker; started by the watchdog with its channel on descriptor 3.
    #[command(hide = true)]
    Worker,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match HostConfig::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let done = match arguments.part {
        Some(Part::Worker) => worker::run(config),
        None => watch(&arguments, &config),
    };
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            journal::error("agent-failed", json!({"error": error}));
            ExitCode::FAILURE
        }
    };
    journal::flush(LAST_LINES);
    code
}

fn watch(arguments: &Arguments, config: &HostConfig) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| format!("the program's own path: {e}"))?;
    let file =
        std::path::absolute(&arguments.config).map_err(|e| format!("{}: {e}", arguments.config.display()))?;
    let words = [program.as_os_str(), "--config".as_ref(), file.as_os_str(), "worker".as_ref()];
    let worker = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    watchdog::run(WatchdogConfig { data_dir: config.data_dir.clone(), worker, stop_vms: arguments.stop_vms })
}
