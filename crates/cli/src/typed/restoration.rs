//! What is typed about a control plane that came back from a backup.

use clap::{Args, Subcommand};

/// A control plane that came back from a backup.
#[derive(Debug, Subcommand)]
pub enum RestorationCommand {
    /// From what it was restored, how far it is, and what is lost; exit 7 until everything is adopted and decided.
    Status,
    /// Vouch that a host is off for good, so that it is not waited for. A host that is only cut off may run what is then
    /// started elsewhere.
    WriteOff(WriteOff),
    /// Say what becomes of a VM that no host has.
    Decide(Decide),
}

/// A host that is off.
#[derive(Debug, Args)]
pub struct WriteOff {
    /// Its region.
    #[arg(long)]
    pub region: String,
    /// The host.
    #[arg(long)]
    pub host: String,
    /// Why; it stands in the events.
    #[arg(long)]
    pub reason: Option<String>,
}

/// A VM that no host has.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("choice").required(true).args(["start", "forget"])))]
pub struct Decide {
    /// Its id or name.
    pub vm: String,
    /// Start it again, with a new disk of its image.
    #[arg(long)]
    pub start: bool,
    /// Forget it: it was deleted.
    #[arg(long)]
    pub forget: bool,
    /// Why; it stands in the events.
    #[arg(long)]
    pub reason: Option<String>,
}
