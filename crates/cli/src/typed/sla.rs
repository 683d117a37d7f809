//! Commands about what is promised.

use clap::{Args, Subcommand, ValueEnum};
use dwcp_config::units;

#[derive(Debug, Subcommand)]
pub enum SlaCommand {
    /// One line an SLA: target, measured, what is left of its budget, verdict; exit 1 when one is breached.
    Summary,
    /// Each SLA with its period, who suffered most, and what the number comes from; exit 1 when one is breached.
    Status {
        /// Only this one.
        #[arg(long)]
        name: Option<String>,
    },
    /// What was measured of each SLA on each day (UTC), the newest first.
    History {
        /// So far back: up to 62d.
        #[arg(long, value_parser = units::duration_ms, default_value = "30d")]
        range: u64,
        /// Only this one.
        #[arg(long)]
        name: Option<String>,
    },
    /// SLAs that were broken, the newest first.
    Breaches {
        /// So far back.
        #[arg(long, value_parser = units::duration_ms, default_value = "30d")]
        since: u64,
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
    /// One breach with what proves it: outages, failovers, numbers.
    BreachDetails {
        /// breach-001, …
        #[arg(long, value_name = "ID")]
        breach_id: String,
    },
    /// Promise something, or something else under the name of a standard SLA.
    ///
    /// Example: dwcp-cli federation monitoring sla create --name gold --target 99.99% --scope tenant:shop
    /// --measure availability --period 30d --exclude-maintenance
    Create(SlaCreateArgs),
    /// List what is promised.
    List {
        /// At most so many.
        #[arg(long, value_parser = units::count)]
        limit: Option<u32>,
    },
    /// End an SLA; what was measured and broken stays.
    Remove {
        /// Its name.
        #[arg(long)]
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct SlaCreateArgs {
    /// Lower-case letters, digits and -.
    #[arg(long)]
    pub name: String,
    /// Of availability a percentage such as 99.95%; of failover time and data loss a duration, 0s for none; of latency both: 99%:100ms.
    #[arg(long)]
    pub target: String,
    /// federation, tenant:NAME or vm:NAME.
    #[arg(long, default_value = "federation")]
    pub scope: String,
    /// What is measured.
    #[arg(long, value_enum)]
    pub measure: Measure,
    /// month (of the calendar, UTC), or the last days, such as 30d.
    #[arg(long, default_value = "month", value_parser = period)]
    pub period: Period,
    /// Time within maintenance windows of the VM's region or host does not count.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub exclude_maintenance: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    Availability,
    Latency,
    FailoverTime,
    DataLoss,
}

/// Over how many days up to now; none: the calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Option<u32>);

fn period(text: &str) -> Result<Period, String> {
    if text == "month" {
        return Ok(Period(None));
    }
    let wrong = || format!("'{text}' is neither month nor whole days up to 62d");
    let ms = units::duration_ms(text).map_err(|_| wrong())?;
    let days = u32::try_from(ms / 86_400_000).map_err(|_| wrong())?;
    let whole = ms % 86_400_000 == 0 && (1..=62).contains(&days);
    whole.then_some(Period(Some(days))).ok_or_else(wrong)
}
