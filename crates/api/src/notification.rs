//! Messages to people: sent by hand, tried, and what became of them.

use crate::{Freshness, Page};

endpoint! {
    #[doc = "Tells people something in the words of a template, along the routes of the settings."]
    NotificationSend: Post "/v1/notifications", Operate, NotificationSendRequest => NotificationsAnswer;
    #[doc = "Sends a test message to one receiver, or to each."]
    NotificationTest: Post "/v1/notifications/test", Operate, NotificationTestRequest => NotificationsAnswer;
    #[doc = "Tries dead letters again."]
    NotificationRetry: Post "/v1/notifications/retry", Operate, NotificationRetryRequest => NotificationsAnswer;
    #[doc = "Lists messages and what became of them, the newest first."]
    NotificationList: Get "/v1/notifications", Read, NotificationListRequest => Page<NotificationRow>;
}

request! {
    /// What is to be told.
    pub struct NotificationSendRequest {
        /// The name of a template, such as `region-failover`.
        pub template: String,
        pub region: Option<String>,
        /// Where it stands: `investigating`, `completed`.
        pub status: Option<String>,
        pub title: Option<String>,
        pub text: Option<String>,
        /// `P0` to `P3`, or its word; `low` without it.
        pub severity: Option<String>,
        #[serde(default)]
        pub dry_run: bool,
    }

    /// Who is to get a test message.
    pub struct NotificationTestRequest {
        /// A receiver's name; without it every receiver.
        pub receiver: Option<String>,
    }

    /// Which dead letters are to be tried again.
    pub struct NotificationRetryRequest {
        /// As listed; without it all of them.
        pub key: Option<String>,
    }

    /// Which messages to list.
    pub struct NotificationListRequest {
        /// `pending`, `delivered` or `dead`.
        pub state: Option<String>,
        /// About this incident or notice.
        pub about: Option<String>,
        /// Only those that were made within the last so many ms.
        pub since_ms: Option<u64>,
        pub limit: Option<u32>,
        pub cursor: Option<String>,
    }
}

wire! {
    /// Where a message to one receiver stands.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum NotificationState { Pending, Delivered, Dead }

    /// A message to one receiver.
    #[derive(Eq)]
    pub struct NotificationRow {
        /// There is one message of a key: `INC-20261129-001#0/trigger/page`.
        pub key: String,
        pub receiver: String,
        /// `pagerduty`, `slack`, `webhook`, `email`, `status_page`, `alertmanager`; empty: the settings have it no more.
        pub kind: String,
        /// The incident or notice.
        pub about: String,
        pub template: String,
        pub title: String,
        pub state: NotificationState,
        /// So often it was tried, of what is remembered.
        pub attempts: u32,
        /// What came of the last attempt; empty: there was none, or nothing was said.
        pub said: String,
        /// Milliseconds since 1970 (UTC).
        pub created_at_ms: u64,
        /// When it is tried next, was delivered, or was given up.
        pub at_ms: u64,
    }

    /// The messages that were made or changed.
    #[derive(Eq)]
    pub struct NotificationsAnswer {
        pub messages: Vec<NotificationRow>,
        /// Why nobody is told, or not everybody.
        pub warnings: Vec<String>,
        pub as_of: Vec<Freshness>,
    }
}
