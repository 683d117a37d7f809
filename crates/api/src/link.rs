//! Emulated links of a development federation.

endpoint! {
    #[doc = "The emulated links (development federations only)."]
    LinkList: Get "/v1/dev/links", Read, crate::page::Nothing => LinkTable;
    #[doc = "Sets an emulated link: delay, loss, rate, cut, heal (development federations only)."]
    LinkSet: Put "/v1/dev/links", Administer, LinkSetRequest => LinkTable;
}

request! {
    /// Which link, and what to set; what is `null` stays.
    pub struct LinkSetRequest {
        /// A region, or `all`.
        pub from: String,
        /// A region, or `all`.
        pub to: String,
        /// Only this direction; otherwise both.
        #[serde(default)]
        pub one_way: bool,
        /// Added round trip.
        pub rtt_ms: Option<f64>,
        pub loss_percent: Option<f64>,
        pub jitter_ms: Option<f64>,
        pub rate_mbit_s: Option<f64>,
        /// Nothing passes.
        pub cut: Option<bool>,
        /// Back to the published matrix; everything else is ignored.
        #[serde(default)]
        pub heal: bool,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// One direction of an emulated link.
    pub struct Link {
        pub from: String,
        pub to: String,
        pub rtt_ms: f64,
        pub loss_percent: f64,
        pub jitter_ms: f64,
        /// `null`: no limit.
        pub rate_mbit_s: Option<f64>,
        pub cut: bool,
    }

    /// All emulated links.
    pub struct LinkTable {
        pub links: Vec<Link>,
    }
}
