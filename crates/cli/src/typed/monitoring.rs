//! Commands about alerts, incidents and who is on call.

use clap::{Args, Subcommand};
use dwcp_config::units::{self, Moment};

use super::{Words, words};

#[derive(Debug, Subcommand)]
pub enum MonitoringCommand {
    /// What rules found, and the rules.
    #[command(subcommand)]
    Alerts(super::AlertsCommand),
    /// Alerts that nobody wants to hear of for a while.
    #[command(subcommand)]
    Silence(super::SilenceCommand),
    /// What happened, who has it, how it ended.
    #[command(subcommand)]
    Incidents(IncidentsCommand),
    /// Who is on call, now and in the days to come.
    #[command(subcommand)]
    Oncall(OncallCommand),
    /// What is promised (SLAs), where it stands, what was broken.
    #[command(subcommand)]
    Sla(super::SlaCommand),
}

#[derive(Debug, Subcommand)]
pub enum IncidentsCommand {
    /// Open an incident by hand; whoever is on call is paged.
    ///
    /// With --status investigating you have taken it yourself, and nobody is paged.
    Create {
        /// One line: what is wrong.
        #[arg(long)]
        title: String,
        /// P0 to P3, or critical, high, medium, low.
        #[arg(long)]
        severity: String,
        /// open, or investigating [default: open].
        #[arg(long)]
        status: Option<String>,
        /// Into the timeline.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// List incidents, the newest first: those that are not resolved, unless something else is asked for.
    List {
        /// open (everything that is not resolved), investigating, resolved, merged.
        #[arg(long)]
        status: Option<String>,
        /// P0 to P3, or critical, high, medium, low; several with commas.
        #[arg(long, value_name = "SEVERITY[,SEVERITY…]", value_parser = words)]
        severity: Option<Words>,
        /// Only those that were opened within this time: 7d. In every status, unless --status says which.
        #[arg(long, value_name = "DURATION", value_parser = units::duration_ms)]
        since: Option<u64>,
        /// In every status.
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
            hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
        all: bool,
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
    /// One incident: its clock, timeline, alerts, and who was paged.
    Show(IncidentId),
    /// Say why it happened and what helped, add to its timeline, tell the public; what is not given stays.
    Update(IncidentUpdateArgs),
    /// Take it: the clock stops, and nobody else is paged.
    Acknowledge(IncidentId),
    /// Give it to someone.
    Assign {
        #[command(flatten)]
        id: IncidentId,
        /// Who has it from now on.
        #[arg(long, value_name = "NAME")]
        to: String,
    },
    /// It is over. Alerts of it that still fire open nothing until they are over and fire again.
    Resolve {
        #[command(flatten)]
        id: IncidentId,
        /// What ended it.
        #[arg(long, value_name = "TEXT")]
        resolution: Option<String>,
        /// Why it happened.
        #[arg(long, value_name = "TEXT")]
        root_cause: Option<String>,
    },
    /// The draft of a post-mortem, in Markdown, made from the timeline.
    PostMortem(IncidentId),
}

#[derive(Debug, Args)]
pub struct IncidentId {
    /// INC-20261123-001, …
    #[arg(long = "incident-id", value_name = "ID")]
    pub incident: String,
}

#[derive(Debug, Args)]
pub struct IncidentUpdateArgs {
    #[command(flatten)]
    pub id: IncidentId,
    /// Why it happened.
    #[arg(long, value_name = "TEXT")]
    pub root_cause: Option<String>,
    /// What ended it.
    #[arg(long, value_name = "TEXT")]
    pub resolution: Option<String>,
    /// P0 to P3, or critical, high, medium, low.
    #[arg(long)]
    pub severity: Option<String>,
    /// investigating: you take it; resolved: it is over.
    #[arg(long)]
    pub status: Option<String>,
    /// Who has it from now on.
    #[arg(long, value_name = "NAME")]
    pub assignee: Option<String>,
    /// Into the timeline.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// For everybody to read on the status page, which shows the incident from then on.
    #[arg(long, value_name = "TEXT")]
    pub public_note: Option<String>,
    /// What the status page calls it.
    #[arg(long, value_name = "TEXT", requires = "public_note")]
    pub public_title: Option<String>,
    /// On the status page: investigating, identified, monitoring, resolved.
    #[arg(long, value_name = "STATUS", requires = "public_note")]
    pub public_status: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum OncallCommand {
    /// Who is on call.
    Show {
        /// At this moment: 2026-11-29T02:00Z (UTC), or +8h [default: now].
        #[arg(long, value_name = "TIME", value_parser = units::moment)]
        at: Option<Moment>,
    },
    /// Who is on call in the days to come, and who stands in.
    Schedule {
        /// For so many days, at most 400 [default: 14].
        #[arg(long, value_parser = units::count)]
        days: Option<u32>,
    },
    /// Let someone stand in for whoever would be on call.
    Override {
        /// primary or secondary.
        #[arg(long)]
        role: String,
        /// Who stands in.
        #[arg(long, value_name = "NAME")]
        who: String,
        /// From this moment on: 2026-11-29T02:00Z (UTC), or +8h.
        #[arg(long, value_name = "TIME", value_parser = units::moment)]
        from: Moment,
        /// Up to this moment.
        #[arg(long, value_name = "TIME", value_parser = units::moment)]
        until: Moment,
    },
    /// Take a stand-in back.
    Remove {
        /// override-001, …
        #[arg(long, value_name = "ID")]
        id: String,
    },
    /// The shifts as a calendar file (iCalendar); with --output into a file.
    Calendar {
        /// For so many days, at most 400 [default: 14].
        #[arg(long, value_parser = units::count)]
        days: Option<u32>,
    },
}
