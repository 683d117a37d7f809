//! What is promised, what was measured of it, and what was broken.

use crate::{Freshness, Page};

endpoint! {
    #[doc = "Where every promise stands: measured, what is left of its budget, verdict, who suffered most."]
    SlaStatusRead: Get "/v1/sla/status", Read, SlaStatusReadRequest => SlaStatus;
    #[doc = "What was measured of every promise on each day, the newest first."]
    SlaHistoryRead: Get "/v1/sla/history", Read, SlaHistoryReadRequest => SlaHistory;
    #[doc = "Lists promises that were broken, the newest first."]
    SlaBreachList: Get "/v1/sla/breaches", Read, SlaBreachListRequest => Page<SlaBreach>;
    #[doc = "A promise that was broken, with what proves it."]
    SlaBreachRead: Get "/v1/sla/breaches/{breach}", Read, SlaBreachReadRequest => SlaBreach;
    #[doc = "Lists what is promised."]
    SlaList: Get "/v1/sla", Read, SlaListRequest => Page<SlaPromise>;
    #[doc = "Promises something, or something else under the name of a standard promise."]
    SlaCreate: Post "/v1/sla", Administer, SlaCreateRequest => SlaAnswer;
    #[doc = "Ends a promise; what was measured and broken stays."]
    SlaRemove: Delete "/v1/sla/{name}", Administer, SlaRemoveRequest => SlaAnswer;
}

request! {
    /// Of which promise.
    pub struct SlaStatusReadRequest {
        /// `null`: of each.
        pub sla: Option<String>,
    }

    /// How far back.
    pub struct SlaHistoryReadRequest {
        /// Up to 62 days; whole days in UTC.
        pub range_ms: u64,
        /// `null`: of each.
        pub sla: Option<String>,
    }

    /// Which breaches to list.
    pub struct SlaBreachListRequest {
        /// Only those not older than this.
        pub since_ms: Option<u64>,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
    }

    /// Which breach.
    pub struct SlaBreachReadRequest {
        /// `breach-001`.
        pub breach: String,
    }

    /// Which promises to list.
    pub struct SlaListRequest {
        pub limit: Option<u32>,
        pub cursor: Option<String>,
    }

    /// A promise to make.
    pub struct SlaCreateRequest {
        /// Lower-case letters, digits and `-`, up to 40.
        pub name: String,
        /// `federation`, `tenant:NAME` or `vm:NAME`.
        pub scope: String,
        pub measure: SlaMeasure,
        /// Of availability: the least share of the time up. Of latency: the share of requests within the limit. In parts per million.
        pub target_ppm: Option<u32>,
        /// Of latency, failover time and data loss: the most.
        pub limit_ms: Option<u64>,
        /// Over so many days up to now, 1 to 62; `null`: over the calendar month, UTC.
        pub period_days: Option<u32>,
        /// Time within maintenance windows does not count.
        #[serde(default)]
        pub exclude_maintenance: bool,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// A promise to end.
    pub struct SlaRemoveRequest {
        pub name: String,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// What is measured.
    #[derive(Copy, Eq, Default)]
    #[serde(rename_all = "snake_case")]
    pub enum SlaMeasure { #[default] Availability, Latency, FailoverTime, DataLoss }

    /// Whether a promise is kept.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum SlaVerdict {
        Met,
        /// Kept, with most of what it allows used up.
        AtRisk,
        /// Too much was not measured to tell.
        Unknown,
        Breached,
        /// Nothing was measured at all.
        NoData,
    }

    /// What is owed back when it was worse than this.
    #[derive(Eq)]
    pub struct SlaCredit {
        /// Availability below this, in parts per million.
        pub below_ppm: Option<u32>,
        /// Longer, or more lost, than this.
        pub above_ms: Option<u64>,
        /// It must last so long to count.
        pub for_ms: Option<u64>,
        /// Of the bill.
        pub percent: u32,
    }

    /// A promise.
    #[derive(Eq)]
    pub struct SlaPromise {
        pub name: String,
        /// `federation`, `tenant:NAME` or `vm:NAME`.
        pub scope: String,
        /// The VM's id, of a scope `vm:NAME`.
        #[serde(default)]
        pub vm: Option<String>,
        pub measure: SlaMeasure,
        pub target_ppm: Option<u32>,
        pub limit_ms: Option<u64>,
        /// `null`: the calendar month, UTC.
        pub period_days: Option<u32>,
        pub exclude_maintenance: bool,
        pub credits: Vec<SlaCredit>,
        /// The operations guide promises it; nobody made it.
        pub standard: bool,
    }

    /// A promise as it is after a change (or would be, in a dry run), or as it was before it ended.
    #[derive(Eq)]
    pub struct SlaAnswer {
        pub promise: SlaPromise,
        pub as_of: Vec<Freshness>,
    }

    /// How much of the down time was whose.
    pub struct SlaShare {
        pub name: String,
        pub down_minutes: f64,
        /// `null`: it is not known how long it was to be up.
        pub percent: Option<f64>,
    }

    /// Where a promise stands in its period.
    pub struct SlaStanding {
        pub promise: SlaPromise,
        /// Milliseconds since 1970 (UTC).
        pub from_ms: u64,
        pub until_ms: u64,
        /// Availability in percent, the longest failover or the largest loss in ms, by what is promised; `null`: nothing was measured.
        pub measured: Option<f64>,
        /// Minutes that everything that is promised may be down together in the period; `null`: nothing is allowed for.
        pub budget_minutes: Option<f64>,
        /// Below 0: overdrawn.
        pub budget_left_minutes: Option<f64>,
        /// Minutes of which nobody knows.
        pub unknown_minutes: Option<f64>,
        /// Failovers that began in the period; `null`: it is not about them.
        pub failovers: Option<u64>,
        pub verdict: SlaVerdict,
        /// Why there is no number, or what to think of it; empty: nothing to say.
        pub note: String,
        pub worst_tenants: Vec<SlaShare>,
        pub worst_vms: Vec<SlaShare>,
        /// What the number comes from, one line each.
        pub evidence: Vec<String>,
    }

    /// Where every promise stands.
    pub struct SlaStatus {
        pub items: Vec<SlaStanding>,
        /// Until when everything is accounted for, ms since 1970; `null`: nothing was accounted for yet.
        pub accounted_until_ms: Option<u64>,
        pub as_of: Vec<Freshness>,
    }

    /// What was measured of a promise on a day.
    pub struct SlaDay {
        /// `2026-11-29`, UTC.
        pub day: String,
        pub sla: String,
        pub scope: String,
        /// As in a standing.
        pub measured: Option<f64>,
        /// How long VMs were to be up, all of them added up.
        pub wanted_vm_minutes: f64,
        pub down_vm_minutes: f64,
        pub unknown_vm_minutes: f64,
        pub failovers: Option<u64>,
    }

    /// What was measured, day by day.
    pub struct SlaHistory {
        pub items: Vec<SlaDay>,
        pub as_of: Vec<Freshness>,
    }

    /// A time in which a VM that was to be up was down.
    #[derive(Eq)]
    pub struct SlaOutage {
        /// `vm_…`.
        pub vm: String,
        pub name: String,
        pub tenant: String,
        pub region: String,
        /// Milliseconds since 1970 (UTC).
        pub from_ms: u64,
        /// `null`: it is down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub until_ms: Option<u64>,
        pub cause: String,
        /// The failover that brought it back, or is to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub failover: Option<String>,
        /// It began within maintenance of its region or host.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub planned: bool,
    }

    /// A failover that broke a promise.
    #[derive(Eq)]
    pub struct SlaFailover {
        pub failover: String,
        pub from_region: String,
        /// Milliseconds since 1970 (UTC).
        pub began_at_ms: u64,
        pub took_ms: u64,
        /// The writes of so long before it are gone; `null`: not known.
        pub lost_ms: Option<u64>,
    }

    /// A promise that was broken.
    #[derive(Eq)]
    pub struct SlaBreach {
        /// `breach-001`.
        pub breach: String,
        /// The promise as it was then.
        pub promise: SlaPromise,
        /// The period in which it was broken; ms since 1970 (UTC).
        pub from_ms: u64,
        pub until_ms: u64,
        /// From when on it was broken.
        pub broken_at_ms: u64,
        /// When that was noticed.
        pub noticed_at_ms: u64,
        /// When it was kept again, of promises over the last days; `null`: not so far, or it can't be.
        pub over_at_ms: Option<u64>,
        /// The incident that it opened.
        pub incident: String,
        /// What was measured, in words.
        pub measured: String,
        /// The longest outages, up to 100.
        pub outages: Vec<SlaOutage>,
        /// How many there were.
        pub outages_in_all: u64,
        pub failovers: Vec<SlaFailover>,
    }
}
