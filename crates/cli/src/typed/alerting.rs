//! Commands about alerts and silences.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use dwcp_config::units::{self, Moment};

use super::{Words, words};

#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// List alerts, the gravest of those that fire first; with --since also those that were resolved.
    List(AlertsList),
    /// One alert: labels, texts, why nobody is told, and when it fired before.
    Show {
        /// The alert's fingerprint, as `alerts list` shows it.
        #[arg(value_name = "ALERT")]
        alert: String,
    },
    /// The rules in force with how their evaluations went, and what is wrong with rule files; exit 1 when something is.
    Rules {
        /// Only of this group.
        #[arg(long)]
        group: Option<String>,
    },
    /// Check a file of alerting rules; exit 2 with line and column of every mistake. A region checks it, and keeps nothing of it.
    Check {
        /// The file, in Prometheus' format.
        #[arg(long)]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct AlertsList {
    /// Also those that were resolved within this time, at most 7d.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub since: Option<u64>,
    /// firing, pending, resolved; several with commas [default: firing, and with --since resolved].
    #[arg(long, value_name = "STATE[,STATE…]", value_parser = words)]
    pub state: Option<Words>,
    /// P0 to P3; several with commas.
    #[arg(long, value_name = "SEVERITY[,SEVERITY…]", value_parser = words)]
    pub severity: Option<Words>,
    /// Only of this region.
    #[arg(long)]
    pub region: Option<String>,
    /// Only those of which nobody is told; with --muted=false only the others.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true,
        value_name = "BOOL")]
    pub muted: Option<bool>,
    /// At most so many.
    #[arg(long, value_parser = units::count)]
    pub limit: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub enum SilenceCommand {
    /// Silence alerts for a while: those that fulfil all conditions open no incident, and nobody is told.
    Create(SilenceCreateArgs),
    /// List silences, the one that ends next first.
    List {
        /// Also those that are over.
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
        all: bool,
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
    /// End a silence now.
    Expire {
        /// The silence's id, as `silence list` shows it.
        #[arg(long, value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct SilenceCreateArgs {
    /// A condition on a label: region="us-east-1", severity=~"P[23]", with =, !=, =~ or !~; several times for several.
    #[arg(long = "match", value_name = "CONDITION", required = true)]
    pub conditions: Vec<String>,
    /// How long, at most 366d.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
    pub duration: u64,
    /// When it begins: 2026-11-29T02:00Z (UTC), or from now on: +2h [default: now].
    #[arg(long, value_name = "TIME", value_parser = units::moment)]
    pub start: Option<Moment>,
    /// Why.
    #[arg(long)]
    pub comment: String,
}
