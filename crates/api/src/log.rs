//! Logs of every region, merged by time.

endpoint! {
    #[doc = "Lines of the logs of every region; those of a region that is gone come from its copies."]
    LogQuery: Get "/v1/logs", Read, LogQueryRequest => LogLines, measured;
}

request! {
    /// Which lines: those that fulfil everything that is given.
    pub struct LogQueryRequest {
        /// `federation-controller`, `state-manager`, `global-router`, `firewall`, `monitor`, `security`, `agent`; several separated by commas.
        pub component: Option<String>,
        /// `info`, `warning`, `error`; several separated by commas.
        pub level: Option<String>,
        /// Only those not older than this, ms.
        pub since_ms: Option<u64>,
        /// Only those older than this moment. Milliseconds since 1970 (UTC).
        pub until_at_ms: Option<u64>,
        pub region: Option<String>,
        /// A regular expression that the text, or a field as `name=value`, matches.
        pub grep: Option<String>,
        pub request_id: Option<String>,
        pub operation_id: Option<String>,
        /// At most so many; 1,000 without it.
        pub limit: Option<u32>,
        /// The oldest first; otherwise the newest.
        #[serde(default)]
        pub oldest_first: bool,
        /// Goes on where an earlier answer to the same question ended (`next_cursor`), or with what was written since
        /// (`follow_cursor`).
        pub cursor: Option<String>,
    }
}

wire! {
    /// A line of a log.
    #[derive(Eq)]
    pub struct LogLine {
        /// Milliseconds since 1970 (UTC).
        pub at_ms: u64,
        pub region: String,
        pub component: String,
        pub level: String,
        pub text: String,
        pub request_id: Option<String>,
        pub operation_id: Option<String>,
        /// Further names and values.
        #[serde(default)]
        pub fields: std::collections::BTreeMap<String, String>,
        /// Bytes that were left out because it was too long.
        #[serde(default)]
        pub cut_bytes: u32,
    }

    /// Lines in order.
    #[derive(Eq)]
    pub struct LogLines {
        pub lines: Vec<LogLine>,
        /// `null`: there are no more.
        pub next_cursor: Option<String>,
        /// Give this as `cursor` to get what is written from now on.
        pub follow_cursor: Option<String>,
        /// There may be more, which was not looked for: that would have read too much.
        pub truncated: bool,
        /// What is missing, and what could not be read.
        pub warnings: Vec<String>,
        /// Regions that should have answered and did not; lines of theirs are from copies.
        pub missing: Vec<String>,
    }
}
