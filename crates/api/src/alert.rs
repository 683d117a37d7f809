//! Alerts, the rules that make them, and silences.

use std::collections::BTreeMap;

use crate::{Freshness, Page};

endpoint! {
    #[doc = "Alerts, the gravest first; without `state` those that fire, and with `since_ms` those that were resolved since."]
    AlertList: Get "/v1/alerts", Read, AlertListRequest => Page<Alert>;
    #[doc = "One alert as it is, and how often it fired in the last 7 days."]
    AlertRead: Get "/v1/alerts/{alert}", Read, AlertReadRequest => AlertDetail;
    #[doc = "The rules in force in the region that answers, how their evaluations went, and what is wrong with rule files."]
    AlertRuleList: Get "/v1/alert-rules", Read, AlertRuleListRequest => AlertRules;
    #[doc = "Says what is wrong with a rule file, and changes nothing."]
    AlertRulesCheck: Post "/v1/alert-rules/check", Read, AlertRulesCheckRequest => AlertRulesChecked;
    #[doc = "Makes a silence: alerts that fulfil all its conditions are nobody's incident for a while."]
    SilenceCreate: Post "/v1/silences", Operate, SilenceCreateRequest => Silence;
    #[doc = "Lists silences, the one that ends next first; with `all` also those that are over."]
    SilenceList: Get "/v1/silences", Read, SilenceListRequest => Page<Silence>;
    #[doc = "Ends a silence now."]
    SilenceExpire: Post "/v1/silences/{silence}/expire", Operate, SilenceExpireRequest => Silence;
}

request! {
    /// Which alerts to list.
    pub struct AlertListRequest {
        /// Comma list of `firing`, `pending` and `resolved`.
        pub state: Option<String>,
        /// Those that were resolved within so many milliseconds; at most 7 days are known.
        pub since_ms: Option<u64>,
        /// Comma list of `P0` to `P3`.
        pub severity: Option<String>,
        pub region: Option<String>,
        /// Only those that are muted, or only those that are not.
        pub muted: Option<bool>,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
    }

    /// Which alert.
    pub struct AlertReadRequest {
        /// Its fingerprint, 16 hexadecimal digits.
        pub alert: String,
    }

    /// Which rules to list.
    pub struct AlertRuleListRequest {
        /// Only of this group.
        pub group: Option<String>,
    }

    /// A rule file to check.
    pub struct AlertRulesCheckRequest {
        /// Up to 900,000 bytes.
        pub text: String,
    }

    /// A silence to make.
    pub struct SilenceCreateRequest {
        /// `region="us-east-1"`, `severity=~"P[23]"`, …: up to 20.
        pub conditions: Vec<String>,
        /// Milliseconds since 1970 (UTC); now without it.
        pub starts_at_ms: Option<u64>,
        /// Up to 366 days.
        pub duration_ms: u64,
        /// Why: up to 1,000 bytes.
        pub comment: String,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Which silences to list.
    pub struct SilenceListRequest {
        /// Also those that are over.
        #[serde(default)]
        pub all: bool,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
    }

    /// Which silence to end.
    pub struct SilenceExpireRequest {
        pub silence: String,
        #[serde(default)]
        pub dry_run: bool,
    }
}

wire! {
    /// Where an alert stands.
    #[derive(Copy, Eq, PartialOrd, Ord)]
    #[serde(rename_all = "snake_case")]
    pub enum AlertState {
        Firing,
        /// Not yet for long enough.
        Pending,
        Resolved,
    }

    /// An alert.
    #[derive(Eq)]
    pub struct Alert {
        /// Its fingerprint.
        pub alert: String,
        /// The rule's name.
        pub name: String,
        /// `GROUP/RULE`.
        pub rule: String,
        pub state: AlertState,
        pub severity: String,
        pub labels: BTreeMap<String, String>,
        pub annotations: BTreeMap<String, String>,
        /// What its expression gave last, as Prometheus writes numbers.
        pub value: String,
        /// Since when its expression gives it. Milliseconds since 1970 (UTC), as all moments here.
        pub started_at_ms: u64,
        pub fired_at_ms: Option<u64>,
        pub ended_at_ms: Option<u64>,
        /// Why nobody is told: `silence ID`, `maintenance window-001`, `inhibited by ALERT`; empty: it is told.
        pub muted_by: Vec<String>,
    }

    /// An alert with its past.
    #[derive(Eq)]
    pub struct AlertDetail {
        pub alert: Alert,
        /// The times that it fired before, the latest first.
        pub earlier: Vec<Alert>,
        pub as_of: Vec<Freshness>,
    }

    /// How the last evaluation of a rule went.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum RuleHealth {
        /// There was none yet.
        Unknown,
        Ok,
        Failed,
    }

    /// A rule that makes alerts.
    #[derive(Eq)]
    pub struct AlertRule {
        pub group: String,
        pub name: String,
        /// `shipped/NAME`, or the file's path.
        pub file: String,
        pub severity: String,
        pub expr: String,
        /// An alert fires once its expression gave it for so long.
        pub for_ms: u64,
        pub health: RuleHealth,
        /// Why the last evaluation failed.
        pub error: Option<String>,
        /// The last evaluation that was written down: each minute while there are alerts, otherwise each 10 minutes.
        pub evaluated_at_ms: Option<u64>,
        pub firing: u64,
        pub pending: u64,
        pub labels: BTreeMap<String, String>,
        pub annotations: BTreeMap<String, String>,
    }

    /// A file that is not taken as it is.
    #[derive(Eq)]
    pub struct RuleComplaint {
        pub file: String,
        /// Lines with line and column.
        pub message: String,
    }

    /// Rules in force.
    #[derive(Eq)]
    pub struct AlertRules {
        pub rules: Vec<AlertRule>,
        /// The last valid version of these is in force, if there was one.
        pub complaints: Vec<RuleComplaint>,
        pub as_of: Vec<Freshness>,
    }

    /// What is in a rule file, or wrong with it.
    #[derive(Eq)]
    pub struct AlertRulesChecked {
        pub groups: u64,
        pub alerting: u64,
        pub recording: u64,
        /// `line 5, column 11: groups[0].rules[0].expr: …`
        pub complaints: Vec<String>,
    }

    /// Where a silence is in its life.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum SilenceState { Pending, Active, Expired }

    /// A silence.
    #[derive(Eq)]
    pub struct Silence {
        /// Empty in a dry run.
        pub silence: String,
        pub state: SilenceState,
        pub conditions: Vec<String>,
        /// Milliseconds since 1970 (UTC).
        pub starts_at_ms: u64,
        pub ends_at_ms: u64,
        pub by: String,
        pub comment: String,
        /// Alerts that fire or are pending and that it silences, or would.
        pub alerts: u64,
    }
}
