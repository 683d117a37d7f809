//! Commands about images.

use clap::Subcommand;
use dwcp_config::units;

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List images: the catalogue's, then those that hosts have in their image folders only.
    List {
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
    /// Show an image: its parts, and which hosts have what under its name.
    Show {
        /// Its name.
        image: String,
    },
    /// Put what a host has in its image folder into the catalogue.
    ///
    /// Every host then fetches it from one that has it. VMs created from now on get this digest; those that exist keep
    /// theirs. Without --host, all hosts that have an image of that name must have the same.
    ///
    /// Example: dwcp-cli image publish web --host us-east-1/host-1
    Publish {
        /// Its name.
        image: String,
        /// Whose image, by name or region/name.
        #[arg(long)]
        host: Option<String>,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take an image out of the catalogue; refused while VMs use it.
    Remove {
        /// Its name.
        image: String,
        /// Why; it stands in the events and in the audit log.
        #[arg(long)]
        reason: Option<String>,
    },
}
