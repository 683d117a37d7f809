//! Commands about the configuration of the whole federation.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum ConfigurationCommand {
    /// Write everything that operators have set into a tar.gz of YAML files (--output): regions, policies, controllers, freeze
    /// switch, backups, images, maintenance windows, protections, and what hosts declare. No secret, no token, no VM.
    ///
    /// The same configuration has the same bytes, whenever and wherever it is written: keys and names are in order, and there is no
    /// time and no owner in it.
    ///
    /// Example: dwcp-cli federation config backup --output /backups/config-20261123.tar.gz
    Backup,
    /// Put the configuration back as a backup has it; exit 7 when something stays as it is, each with its reason.
    ///
    /// The difference is shown setting by setting, and undone by the ordinary commands with their own checks; with --dry-run they only
    /// check. What no command undoes is named: regions and hosts that came or went, what a host's own settings declare. A file of
    /// another federation, of a later version, or damaged is refused before anything changes.
    ///
    /// Example: dwcp-cli federation config restore --input /backups/config-20261123.tar.gz --dry-run
    Restore(ConfigurationRestore),
}

#[derive(Debug, Args)]
pub struct ConfigurationRestore {
    /// What `backup` wrote.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Why; it stands in the events and in the audit log.
    #[arg(long)]
    pub reason: Option<String>,
}
