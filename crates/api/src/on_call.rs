//! Who is on call.

use crate::Freshness;

endpoint! {
    #[doc = "Who is on call at a moment, and until when."]
    OnCallRead: Get "/v1/on-call", Read, OnCallReadRequest => OnCall;
    #[doc = "Who is on call in the days to come, and who stands in for whom."]
    OnCallSchedule: Get "/v1/on-call/schedule", Read, OnCallScheduleRequest => OnCallDays;
    #[doc = "The same shifts as a calendar (iCalendar, RFC 5545)."]
    OnCallCalendar: Get "/v1/on-call/calendar", Read, OnCallScheduleRequest => Calendar;
    #[doc = "Lets someone stand in for whoever would be on call."]
    OnCallOverride: Post "/v1/on-call/overrides", Operate, OnCallOverrideRequest => StandIn;
    #[doc = "Takes a stand-in back."]
    OnCallRemove: Delete "/v1/on-call/overrides/{id}", Operate, OnCallRemoveRequest => StandIn;
}

request! {
    /// At which moment.
    pub struct OnCallReadRequest {
        /// Milliseconds since 1970 (UTC); now without it.
        pub at_ms: Option<u64>,
    }

    /// For how long.
    pub struct OnCallScheduleRequest {
        /// 1 to 400, from now on; 14 without it.
        pub days: Option<u32>,
    }

    /// Who stands in, and when.
    pub struct OnCallOverrideRequest {
        /// `primary` or `secondary`.
        pub role: String,
        /// Up to 100 bytes.
        pub who: String,
        /// Milliseconds since 1970 (UTC), as `until_ms`, which is not included.
        pub from_ms: u64,
        pub until_ms: u64,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which stand-in.
    pub struct OnCallRemoveRequest {
        /// `override-001`.
        pub id: String,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// A time in which one person fills a role.
    #[derive(Eq)]
    pub struct OnCallShift {
        pub role: String,
        pub who: String,
        /// Milliseconds since 1970 (UTC), as all moments here.
        pub from_ms: u64,
        pub until_ms: u64,
    }

    /// Who fills a role at a moment.
    #[derive(Eq)]
    pub struct OnDuty {
        pub role: String,
        /// `null`: nobody.
        pub who: Option<String>,
        /// Until when; `null`: not within 400 days, or nobody.
        pub until_ms: Option<u64>,
    }

    /// Who is on call.
    #[derive(Eq)]
    pub struct OnCall {
        pub at_ms: u64,
        pub duty: Vec<OnDuty>,
        pub as_of: Vec<Freshness>,
    }

    /// Someone who stands in.
    #[derive(Eq)]
    pub struct StandIn {
        /// `override-001`; empty in a dry run.
        pub id: String,
        pub role: String,
        pub who: String,
        pub from_ms: u64,
        pub until_ms: u64,
        pub by: String,
    }

    /// Who is on call in the days to come.
    #[derive(Eq)]
    pub struct OnCallDays {
        pub shifts: Vec<OnCallShift>,
        /// Those that are not over.
        pub overrides: Vec<StandIn>,
        pub as_of: Vec<Freshness>,
    }

    /// A calendar.
    #[derive(Eq)]
    pub struct Calendar {
        /// Media type `text/calendar`.
        pub ics: String,
    }
}
