//! Metrics: PromQL over the whole federation, and figures a day for a spreadsheet.
//!
//! Beside these, every region answers the HTTP API of Prometheus under `/api/v1` and shows its own metrics at `/metrics`.

use std::collections::BTreeMap;

endpoint! {
    #[doc = "A PromQL expression over every region: now, at a moment, over a window, or step by step."]
    MetricsQuery: Get "/v1/metrics/query", Read, MetricsQueryRequest => MetricsAnswer, measured;
    #[doc = "One row a day of named figures."]
    MetricsExport: Get "/v1/metrics/export", Read, MetricsExportRequest => MetricsDays, measured;
}

request! {
    /// What to evaluate.
    ///
    /// An expression that is nothing but `histogram_quantile(q, NAME)` is taken over all series of the name together, and within
    /// the window when there is one. `*` in a metric's name stands for anything: one row a name.
    pub struct MetricsQueryRequest {
        pub expression: String,
        /// The moment, or the end of the window; now without it. Milliseconds since 1970 (UTC).
        pub at_ms: Option<u64>,
        /// The window before it, ms.
        pub range_ms: Option<u64>,
        /// Between two values of a row, ms; without it one value a row.
        pub step_ms: Option<u64>,
    }

    /// Which figures.
    pub struct MetricsExportRequest {
        /// Names, separated by commas.
        pub metrics: String,
        /// How far back, ms.
        pub range_ms: u64,
        /// The whole federation without it.
        pub region: Option<String>,
    }
}

wire! {
    /// What an expression comes to.
    pub struct MetricsAnswer {
        /// `scalar`, `string`, `vector` or `matrix`.
        pub kind: String,
        pub rows: Vec<MetricsRow>,
        /// Text of an answer that is a string.
        pub text: Option<String>,
        /// What is missing, and what to know about the values.
        pub warnings: Vec<String>,
        /// Regions whose metrics are in it.
        pub regions: Vec<String>,
        /// Regions that should have answered and did not.
        pub missing: Vec<String>,
        /// The moment it was evaluated at. Milliseconds since 1970 (UTC).
        pub at_ms: u64,
    }

    /// One series of an answer.
    pub struct MetricsRow {
        pub labels: BTreeMap<String, String>,
        pub points: Vec<MetricsPoint>,
    }

    /// A value at a moment.
    pub struct MetricsPoint {
        pub at_ms: u64,
        /// As text, so that `NaN`, `+Inf` and `-Inf` get through; of a histogram its count and sum.
        pub value: String,
    }

    /// Figures, one row a day, oldest first.
    pub struct MetricsDays {
        /// The names, in the order asked for.
        pub metrics: Vec<String>,
        pub days: Vec<MetricsDay>,
        /// What is missing, and what to know about the values.
        pub warnings: Vec<String>,
        /// Regions that should have answered and did not.
        pub missing: Vec<String>,
    }

    /// Figures of one day (UTC).
    pub struct MetricsDay {
        /// 1 is the oldest.
        pub day: u64,
        /// `2026-11-29`.
        pub date: String,
        /// One each, the mean over the day; `null`: nothing was measured.
        pub values: Vec<Option<f64>>,
    }
}
