//! Which rules the monitor evaluates besides those that come with it, and who is told.

use crate::Fields;

/// The monitor of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitoring {
    /// Rule files; the name of a file, not of a folder, may have `*` and `?`.
    pub rules: Vec<String>,
    /// File of the thresholds of capacity; the usual ones hold where there is none.
    pub capacity_thresholds: String,
    /// File that says who is told what, and who is on call; nobody is told where there is none.
    pub notifications: String,
}

impl Default for Monitoring {
    fn default() -> Monitoring {
        let capacity_thresholds = "/etc/dwcp/capacity-thresholds.yaml".to_owned();
        let notifications = "/etc/dwcp/notifications.yaml".to_owned();
        Monitoring { rules: Vec::new(), capacity_thresholds, notifications }
    }
}

pub(super) fn read(fields: &mut Fields<'_>) -> Monitoring {
    let standard = Monitoring::default();
    let monitoring = Monitoring {
        rules: fields.texts("rules"),
        capacity_thresholds: fields
            .optional_text("capacity_thresholds")
            .unwrap_or(standard.capacity_thresholds),
        notifications: fields.optional_text("notifications").unwrap_or(standard.notifications),
    };
    for pattern in &monitoring.rules {
        let folder = pattern.rsplit_once('/').map_or("", |(folder, _)| folder);
        if folder.contains(['*', '?']) {
            fields.complain("rules", format!("'{pattern}': only the name of a file may have * and ?"));
        }
    }
    monitoring
}
