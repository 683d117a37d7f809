//! Links between regions, measured.

use crate::Freshness;

endpoint! {
    #[doc = "Per ordered pair of regions: round trip, loss, throughput."]
    LatencyMatrixRead: Get "/v1/network/latency-matrix", Read, crate::page::Nothing => LatencyMatrix;
}

wire! {
    /// One direction of a link, measured.
    pub struct LinkStatus {
        pub from: String,
        pub to: String,
        /// `null`: not measured.
        pub up: Option<bool>,
        pub rtt_p50_ms: Option<f64>,
        pub rtt_p99_ms: Option<f64>,
        pub loss_percent: Option<f64>,
        pub throughput_mbit_s: Option<f64>,
        /// Age of the measurement; `null`: none.
        pub age_ms: Option<u64>,
    }

    /// All links.
    pub struct LatencyMatrix {
        pub regions: Vec<String>,
        pub links: Vec<LinkStatus>,
        pub as_of: Vec<Freshness>,
    }
}
