//! Traces: what one request went through in every region.

use std::collections::BTreeMap;

endpoint! {
    #[doc = "The spans of a trace, of every region; those of a region that is gone come from its copies."]
    TraceRead: Get "/v1/traces/{id}", Read, TraceRequest => Trace, measured;
}

request! {
    /// Which trace.
    pub struct TraceRequest {
        /// The id of a request of it, that of a failover (`failover-001`), or its own: 32 hexadecimal digits.
        pub id: String,
    }
}

wire! {
    /// A trace.
    pub struct Trace {
        /// 32 hexadecimal digits.
        pub trace_id: String,
        /// By when they began; none: nobody knows any.
        pub spans: Vec<TraceSpan>,
        /// There are more.
        pub truncated: bool,
        /// What is missing, and what could not be read.
        pub warnings: Vec<String>,
        /// Regions that should have answered and did not; spans of theirs are from copies.
        pub missing: Vec<String>,
        /// The same spans as the body of an OTLP request to `/v1/traces`, in JSON.
        pub otlp: serde_json::Value,
    }

    /// A piece of work.
    #[derive(Eq)]
    pub struct TraceSpan {
        /// 16 hexadecimal digits.
        pub span_id: String,
        /// The span that it is part of. What has that id may be kept nowhere.
        pub parent_id: Option<String>,
        pub name: String,
        /// Where it was done.
        pub region: String,
        pub component: String,
        /// Microseconds since 1970 (UTC), by the clock of its region.
        pub start_us: i64,
        pub duration_us: u64,
        pub failed: bool,
        pub request_id: Option<String>,
        /// Further names and values.
        pub fields: BTreeMap<String, String>,
    }
}
