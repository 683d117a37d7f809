//! The rule files that come with the product.

use dwcp_config::capacity::Thresholds;

/// Name and text of each. They hold for a whole federation and are evaluated over the metrics of all its regions.
pub const SHIPPED: [(&str, &str); 5] = [
    (CAPACITY, include_str!("../../rules/capacity.yaml")),
    ("health.yaml", include_str!("../../rules/health.yaml")),
    ("protection.yaml", include_str!("../../rules/protection.yaml")),
    ("sla.yaml", include_str!("../../rules/sla.yaml")),
    ("traffic.yaml", include_str!("../../rules/traffic.yaml")),
];

/// The file with the thresholds of capacity.
const CAPACITY: &str = "capacity.yaml";

/// What its alerts begin with, in the order of the thresholds.
const ALERTS: [&str; 5] = ["Cpu", "Memory", "Storage", "Network", "VmCount"];

/// A shipped file's text under these thresholds of capacity.
pub fn capacity(name: &str, text: &str, thresholds: &Thresholds) -> String {
    if name != CAPACITY {
        return text.to_owned();
    }
    let usual = Thresholds::default();
    let mut now: Option<(f64, f64)> = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(alert) = line.trim_start().strip_prefix("- alert: ") {
            now = ALERTS.iter().zip(usual.0.iter().zip(&thresholds.0)).find_map(|(begin, (usual, asked))| {
                match alert.strip_prefix(begin)?.strip_prefix("Utilization")? {
                    "Warning" => Some((usual.warning, asked.warning)),
                    "Critical" => Some((usual.critical, asked.critical)),
                    _ => None,
                }
            });
        }
        let with = now.filter(|_| line.contains("expr: ") || line.contains("threshold is "));
        lines.push(match with {
            Some((usual, asked)) => line
                .replace(&format!("> {usual}"), &format!("> {asked}"))
                .replace(&format!("threshold is {usual} %"), &format!("threshold is {asked} %")),
            None => line.to_owned(),
        });
    }
    lines.join("\n") + "\n"
}
