//! Commands about messages to people.

use clap::{Args, Subcommand};
use dwcp_config::units;

#[derive(Debug, Subcommand)]
pub enum NotificationCommand {
    /// Tell people something in the words of a template, along the routes of notifications.yaml.
    Send(NotificationSend),
    /// Send a test message to a receiver, or to each, and wait for what becomes of it.
    Test {
        /// Its name in notifications.yaml; without it every receiver.
        #[arg(long, value_name = "NAME")]
        receiver: Option<String>,
        /// Wait at most so long.
        #[arg(long, value_name = "DURATION", value_parser = units::duration_ms, default_value = "30s")]
        timeout: u64,
    },
    /// List messages and what became of them, the newest first.
    List {
        /// Only pending, delivered, or dead: given up.
        #[arg(long, value_name = "STATE", value_parser = ["pending", "delivered", "dead"])]
        state: Option<String>,
        /// Only about this incident or notice.
        #[arg(long, value_name = "ID")]
        about: Option<String>,
        /// Only those of the last so much time.
        #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
        since: Option<u64>,
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
    /// Try dead letters again.
    Retry {
        /// One of them, as listed; without it all.
        #[arg(long)]
        key: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct NotificationSend {
    /// Whose words are used: region-failover, maintenance, …; notifications.yaml may have others.
    #[arg(long, value_name = "NAME")]
    pub template: String,
    /// The region that it is about.
    #[arg(long)]
    pub region: Option<String>,
    /// Where it stands: investigating, completed, …
    #[arg(long)]
    pub status: Option<String>,
    /// A title of its own.
    #[arg(long)]
    pub title: Option<String>,
    /// More words.
    #[arg(long)]
    pub text: Option<String>,
    /// How grave it is: critical, high, medium, low or P0 to P3. Routes look at it.
    #[arg(long)]
    pub severity: Option<String>,
}
