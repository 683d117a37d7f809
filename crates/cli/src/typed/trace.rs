//! Traces.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum TraceCommand {
    /// What a request, or a failover, went through in every region, as a tree with times.
    ///
    /// With --format json the spans are the body of an OTLP request to /v1/traces, to be given to a collector.
    ///
    /// Such as: dwcp-cli trace show --request-id req_4bf92f3577b34da6a3ce929d0e0e4736
    Show(TraceShow),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct TraceShow {
    /// A request's id, as failures, events and logs name it.
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// A failover's id: failover-001.
    #[arg(long, value_name = "ID")]
    pub failover: Option<String>,
    /// A trace's id: 32 hexadecimal digits.
    #[arg(long, value_name = "ID")]
    pub trace_id: Option<String>,
}
