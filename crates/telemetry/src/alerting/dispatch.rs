//! Alerts that are told together, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Labels;

use super::{Alert, Conditions, Fingerprint, Phase, fingerprint, stored};

/// Which alerts make one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    /// Those that agree in these labels.
    Labels(Vec<String>),
    /// Every alert is a group of its own.
    All,
}

/// Where alerts go, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Who is told; each name once.
    pub receiver: String,
    /// Alerts take the first route whose conditions their labels fulfil.
    pub conditions: Conditions,
    pub group_by: GroupBy,
    /// So long the first of a group waits for others, ms.
    pub group_wait_ms: i64,
    /// So long after a group was looked at it is looked at again, ms.
    pub group_interval_ms: i64,
    /// So long after a group was told it is told again when nothing changed, ms.
    pub repeat_interval_ms: i64,
}

/// Why something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// An alert fires that was not told yet.
    Firing,
    /// An alert that was told is over.
    Resolved,
    /// Nothing changed, for a long time.
    Repeat,
}

/// What a receiver is to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    pub receiver: String,
    /// The same for everything that is told of one group: what a receiver folds repetitions by.
    pub key: String,
    /// What the alerts of the group have in common.
    #[serde(with = "stored::labels")]
    pub group: Labels,
    pub reason: Reason,
    /// All that fire, in the order of their fingerprints.
    pub firing: Vec<Alert>,
    /// Those that were told and are over.
    pub resolved: Vec<Alert>,
    pub at_ms: i64,
}

/// The groups and what was told of them. A plain value: stored with what it gave, it tells nothing twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dispatcher {
    /// In the order of receiver and labels.
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Group {
    receiver: String,
    #[serde(with = "stored::labels")]
    labels: Labels,
    members: BTreeMap<Fingerprint, Member>,
    /// Those that fire and were told.
    told: BTreeSet<Fingerprint>,
    told_at_ms: Option<i64>,
    look_at_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Member {
    alert: Alert,
    muted: bool,
}

impl Dispatcher {
    /// Takes all alerts that fire now, each with whether it is muted, and gives what is to be told.
    ///
    /// An alert that is not among them any more is over. That is told whenever it was told that it fires, muted or not: a page that
    /// was sent gets its end.
    pub fn step(&mut self, routes: &[Route], firing: &[(Alert, bool)], now_ms: i64) -> Vec<Notification> {
        // Over, unless it is among those that fire.
        for member in self.groups.iter_mut().flat_map(|group| group.members.values_mut()) {
            if member.alert.phase != Phase::Resolved {
                member.alert.phase = Phase::Resolved;
                member.alert.ended_at_ms = Some(now_ms);
            }
        }
        for (alert, muted) in firing {
            let Some(route) = routes.iter().find(|route| route.conditions.hold(&alert.labels)) else {
                continue;
            };
            let id = fingerprint(&alert.labels);
            let at = self.group(route, group_labels(&route.group_by, &alert.labels), now_ms);
            self.groups[at].members.insert(id, Member { alert: alert.clone(), muted: *muted });
        }
        let mut told = Vec::new();
        for group in &mut self.groups {
            if group.look_at_ms <= now_ms {
                let route = routes.iter().find(|route| route.receiver == group.receiver);
                told.extend(group.look(route, now_ms));
            }
        }
        self.groups.retain(|group| !group.members.is_empty());
        told
    }

    /// When it is to be asked again even if no alert changes, ms since 1970.
    pub fn next_at_ms(&self) -> Option<i64> {
        self.groups.iter().map(|group| group.look_at_ms).min()
    }

    /// The index of a group, which is made when there is none.
    fn group(&mut self, route: &Route, labels: Labels, now_ms: i64) -> usize {
        let key = (route.receiver.as_str(), &labels);
        match self.groups.binary_search_by(|group| (group.receiver.as_str(), &group.labels).cmp(&key)) {
            Ok(at) => at,
            Err(at) => {
                let group = Group {
                    receiver: route.receiver.clone(),
                    labels,
                    members: BTreeMap::new(),
                    told: BTreeSet::new(),
                    told_at_ms: None,
                    look_at_ms: now_ms.saturating_add(route.group_wait_ms),
                };
                self.groups.insert(at, group);
                at
            }
        }
    }
}

impl Group {
    /// What is to be told of it now, if anything.
    fn look(&mut self, route: Option<&Route>, now_ms: i64) -> Option<Notification> {
        let is_over = |member: &Member| member.alert.phase == Phase::Resolved;
        let fires = self.members.iter().filter(|(_, member)| !is_over(member) && !member.muted);
        let firing: BTreeMap<Fingerprint, Alert> =
            fires.map(|(id, member)| (*id, member.alert.clone())).collect();
        let over = self.members.iter().filter(|(id, member)| is_over(member) && self.told.contains(id));
        let resolved: Vec<Alert> = over.map(|(_, member)| member.alert.clone()).collect();
        self.members.retain(|_, member| !is_over(member));
        let repeat_ms = route.map_or(i64::MAX, |route| route.repeat_interval_ms);
        self.look_at_ms = now_ms.saturating_add(route.map_or(0, |route| route.group_interval_ms.max(1)));
        let due = self.told_at_ms.is_some_and(|told_ms| now_ms.saturating_sub(told_ms) >= repeat_ms);
        let reason = if firing.keys().any(|id| !self.told.contains(id)) {
            Reason::Firing
        } else if !resolved.is_empty() {
            Reason::Resolved
        } else if due && !firing.is_empty() {
            Reason::Repeat
        } else {
            return None;
        };
        self.told.retain(|id| self.members.contains_key(id));
        self.told.extend(firing.keys());
        self.told_at_ms = Some(now_ms);
        Some(Notification {
            receiver: self.receiver.clone(),
            key: format!("{}:{}", self.receiver, fingerprint(&self.labels)),
            group: self.labels.clone(),
            reason,
            firing: firing.into_values().collect(),
            resolved,
            at_ms: now_ms,
        })
    }
}

fn group_labels(by: &GroupBy, labels: &Labels) -> Labels {
    match by {
        GroupBy::All => labels.clone(),
        GroupBy::Labels(names) => Labels::new(
            names.iter().map(|name| (Arc::<str>::from(name.as_str()), Arc::<str>::from(labels.get(name)))),
        ),
    }
}
