//! Events: what happened, newest first.

use crate::Page;

endpoint! {
    #[doc = "Lists events; watched, a page for each new one."]
    EventList: Get "/v1/events", Read, EventListRequest => Page<Event>, watch;
}

request! {
    /// Which events.
    pub struct EventListRequest {
        pub region: Option<String>,
        /// Only those not older than this.
        pub since_ms: Option<u64>,
        pub severity: Option<Severity>,
        /// VM, host or operation the event is about.
        pub subject: Option<String>,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
        #[serde(default)]
        pub watch: bool,
    }
}

wire! {
    /// How bad an event is.
    #[derive(Copy, Eq, PartialOrd, Ord)]
    #[serde(rename_all = "snake_case")]
    pub enum Severity { Info, Warning, Error, Critical }

    /// Something that happened.
    #[derive(Eq)]
    pub struct Event {
        pub id: String,
        /// Milliseconds since 1970 (UTC).
        pub at_ms: u64,
        /// `null`: of the federation.
        pub region: Option<String>,
        pub severity: Severity,
        /// `region_lost`, `vm_started`, `placement_disabled`, …
        pub kind: String,
        /// VM, host, region or operation.
        pub subject: String,
        pub message: String,
        /// Who or what caused it.
        pub by: String,
        /// Id of the API request that asked for it; `null`: nobody asked.
        #[serde(default)]
        pub request_id: Option<String>,
        /// What it was before; `null`: there is nothing to compare.
        #[serde(default)]
        pub before: Option<String>,
        /// What it is since; `null`: there is nothing to compare.
        #[serde(default)]
        pub after: Option<String>,
        /// Why, in the words of who asked; `null`: none was given.
        #[serde(default)]
        pub reason: Option<String>,
        /// The maintenance window that it happened in and that mutes it; `null`: none. Information is never muted.
        #[serde(default)]
        pub muted_by: Option<String>,
    }
}
