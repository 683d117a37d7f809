//! Commands about versions of the control plane.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Words, words};

#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// List the versions that regions can be upgraded to, and which regions have and run them.
    List,
    /// Hand a signed program in: regions fetch it from each other, and can be upgraded to it.
    ///
    /// Sign it where the key is: dwcpd sign-release --key FILE --out dwcpd.release
    ///
    /// Example: dwcp-cli federation release publish target/release/dwcpd --signed dwcpd.release
    Publish {
        /// The program.
        file: PathBuf,
        /// Its signed description; FILE.release without this.
        #[arg(long, value_name = "FILE")]
        signed: Option<PathBuf>,
        /// The version that is meant: refused when another one was signed.
        #[arg(long)]
        version: Option<String>,
    },
}

/// A region that gets another version.
#[derive(Debug, Args)]
pub struct RegionUpgradeArgs {
    /// The region.
    #[arg(long)]
    pub region: String,
    /// The version, such as v3.2.0: `dwcp-cli federation release list`.
    #[arg(long)]
    pub version: String,
    /// What to replace: controller, state-manager, router, monitor. They run as one process, so it is all of them.
    #[arg(long, value_name = "A,B", value_parser = words)]
    pub component: Option<Words>,
}
