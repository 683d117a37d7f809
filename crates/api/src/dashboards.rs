//! The four dashboards of the operations guide (1.2) for Grafana, made of the series that the federation measures.
//!
//! Source of the form: grafana.com, *Dashboard JSON model* (schema version 39, which Grafana 10.4 and later read).

use serde_json::{Value, json};

/// A dashboard: `uid` is the last part of its address.
pub struct Dashboard {
    pub uid: &'static str,
    pub title: &'static str,
    pub panels: &'static [Panel],
}

/// A part of one. `$region` in an expression stands for the regions that were chosen.
pub struct Panel {
    pub title: &'static str,
    pub about: &'static str,
    pub kind: Kind,
    /// As Grafana names it: `percent`, `ms`, `bytes`, `Bps`, `short`, `ops`.
    pub unit: &'static str,
    /// Expressions and what their rows are called, `{{label}}` in the place of a label's value.
    pub targets: &'static [(&'static str, &'static str)],
}

/// How a panel looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers of now, a third of the width.
    Stat,
    /// Lines over time, half of the width.
    Lines,
}

/// Columns of the grid.
const COLUMNS: u64 = 24;

impl Kind {
    /// Grafana's name, width in columns, height in rows.
    fn form(self) -> (&'static str, u64, u64) {
        match self {
            Kind::Stat => ("stat", 8, 5),
            Kind::Lines => ("timeseries", 12, 9),
        }
    }
}

const fn stat(title: &'static str, about: &'static str, unit: &'static str, targets: Targets) -> Panel {
    Panel { title, about, kind: Kind::Stat, unit, targets }
}

const fn lines(title: &'static str, about: &'static str, unit: &'static str, targets: Targets) -> Panel {
    Panel { title, about, kind: Kind::Lines, unit, targets }
}

type Targets = &'static [(&'static str, &'static str)];

/// Quantiles of a native histogram over all of its series that `$region` chooses.
macro_rules! quantiles {
    ($selector:literal) => {
        &[
            (concat!("histogram_quantile(0.5, sum(rate(", $selector, "[5m])))"), "p50"),
            (concat!("histogram_quantile(0.95, sum(rate(", $selector, "[5m])))"), "p95"),
            (concat!("histogram_quantile(0.99, sum(rate(", $selector, "[5m])))"), "p99"),
        ]
    };
}

/// All of them, in the order of the guide.
pub const ALL: [Dashboard; 4] = [
    Dashboard { uid: "federation-overview", title: "DWCP federation overview", panels: OVERVIEW },
    Dashboard { uid: "region-performance", title: "DWCP region performance", panels: PERFORMANCE },
    Dashboard { uid: "state-sync", title: "DWCP state synchronization", panels: SYNC },
    Dashboard { uid: "global-routing", title: "DWCP global routing", panels: ROUTING },
];

const OVERVIEW: &[Panel] = &[
    stat(
        "Regions",
        "By health, as most of those see it that see it: healthy from 80, degraded from 60.",
        "short",
        &[
            (
                "sum(min by (region) (dwcp_federation_region_health_score{region=~\"$region\"}) >= bool 80)",
                "healthy",
            ),
            (
                "sum((min by (region) (dwcp_federation_region_health_score{region=~\"$region\"}) >= bool 60) * \
                 (min by (region) (dwcp_federation_region_health_score{region=~\"$region\"}) < bool 80))",
                "degraded",
            ),
            (
                "sum(min by (region) (dwcp_federation_region_health_score{region=~\"$region\"}) < bool 60)",
                "unhealthy",
            ),
        ],
    ),
    stat(
        "VMs",
        "That live in these regions.",
        "short",
        &[("sum(dwcp_federation_active_vms{region=~\"$region\"})", "VMs")],
    ),
    stat(
        "Alerts that fire",
        "By severity; dwcp-cli federation monitoring incidents list tells the incidents.",
        "short",
        &[("sum by (severity) (ALERTS{alertstate=\"firing\"}) or vector(0)", "{{severity}}")],
    ),
    lines(
        "VMs by region",
        "That live in a region.",
        "short",
        &[("sum by (region) (dwcp_federation_active_vms{region=~\"$region\"})", "{{region}}")],
    ),
    lines(
        "SLA compliance",
        "Of what an SLA counts, the share that kept it in the last hour.",
        "percent",
        &[("100 * (1 - sla:dwcp_federation_sla_errors:ratio_rate1h)", "{{sla}}")],
    ),
    lines(
        "Placement latency",
        "Of decisions where a VM goes.",
        "ms",
        quantiles!("dwcp_federation_placement_latency_ms{region=~\"$region\"}"),
    ),
    lines(
        "State sync latency",
        "From a command's append at home until another region can read it.",
        "ms",
        quantiles!("dwcp_federation_state_sync_latency_ms{region=~\"$region\"}"),
    ),
];

const PERFORMANCE: &[Panel] = &[
    lines(
        "CPU utilization",
        "Of a region's hosts.",
        "percent",
        &[("avg by (region) (dwcp_federation_cpu_utilization{region=~\"$region\"})", "{{region}}")],
    ),
    lines(
        "Memory utilization",
        "Of a region's hosts.",
        "percent",
        &[("avg by (region) (dwcp_federation_memory_utilization{region=~\"$region\"})", "{{region}}")],
    ),
    lines(
        "Storage utilization",
        "Of a region's hosts.",
        "percent",
        &[("avg by (region) (dwcp_federation_storage_utilization{region=~\"$region\"})", "{{region}}")],
    ),
    lines(
        "VMs",
        "By what they do.",
        "short",
        &[("sum by (region, state) (dwcp_federation_vms{region=~\"$region\"})", "{{region}} {{state}}")],
    ),
    lines(
        "Latency to other regions",
        "Round trips of links, the median of late.",
        "s",
        &[("max by (from, to) (dwcp_link_round_trip_seconds{from=~\"$region\"})", "{{from}} to {{to}}")],
    ),
    lines(
        "Throughput",
        "What links carry.",
        "Bps",
        &[(
            "sum by (from, to) (dwcp_link_throughput_bytes_per_second{from=~\"$region\"})",
            "{{from}} to {{to}}",
        )],
    ),
    lines(
        "Error rate of the API",
        "Answers that are the server's fault, of all.",
        "percentunit",
        &[(
            "(sum by (region) (histogram_count(rate(dwcp_api_request_duration_seconds{status=\"5xx\",region=~\"$region\"}[5m]))) \
             or 0 * sum by (region) (histogram_count(rate(dwcp_api_request_duration_seconds{region=~\"$region\"}[5m])))) \
             / sum by (region) (histogram_count(rate(dwcp_api_request_duration_seconds{region=~\"$region\"}[5m])))",
            "{{region}}",
        )],
    ),
    lines(
        "Errors in the log",
        "Lines of level error.",
        "ops",
        &[(
            "sum by (region) (rate(dwcp_log_lines_total{level=\"error\",region=~\"$region\"}[5m]))",
            "{{region}}",
        )],
    ),
];

const SYNC: &[Panel] = &[
    lines(
        "Replication lag",
        "How old the facts of one region are in another.",
        "s",
        &[(
            "max by (source, target) (dwcp_federation_state_sync_lag_seconds{source=~\"$region\"})",
            "{{source}} in {{target}}",
        )],
    ),
    lines(
        "Sync operations",
        "Entries of the groups' logs that a region applied.",
        "ops",
        &[("sum by (region) (rate(dwcp_group_applied_total{region=~\"$region\"}[5m]))", "{{region}}")],
    ),
    lines(
        "Conflict resolutions",
        "Elections. Writes never conflict, as each group has one leader: who that is is all that is ever contested.",
        "ops",
        &[("sum by (group) (rate(dwcp_group_term_total{region=~\"$region\"}[5m]))", "{{group}}")],
    ),
    lines(
        "State size",
        "The file that holds a region's replicas.",
        "bytes",
        &[("sum by (region) (dwcp_federation_state_size_bytes{region=~\"$region\"})", "{{region}}")],
    ),
    lines(
        "State sync latency",
        "From a command's append at home until another region can read it.",
        "ms",
        quantiles!("dwcp_federation_state_sync_latency_ms{region=~\"$region\"}"),
    ),
    lines(
        "Waiting on links",
        "What is queued for other regions.",
        "bytes",
        &[("sum by (from, to) (dwcp_link_queued_bytes{from=~\"$region\"})", "{{from}} to {{to}}")],
    ),
];

const ROUTING: &[Panel] = &[
    lines(
        "Routing decision latency",
        "Of the router's decisions which region answers.",
        "ms",
        quantiles!("dwcp_federation_routing_decision_latency_ms{region=~\"$region\"}"),
    ),
    lines(
        "Traffic distribution",
        "Share of users' traffic that a region takes, of what it could.",
        "percent",
        &[("avg by (region) (dwcp_federation_traffic_percent{region=~\"$region\"})", "{{region}}")],
    ),
    lines(
        "DDoS detections",
        "Attacks that the router noticed.",
        "ops",
        &[(
            "sum by (region) (rate(dwcp_federation_ddos_detections_total{region=~\"$region\"}[5m]))",
            "{{region}}",
        )],
    ),
    lines(
        "QoS violations",
        "Requests that were slower than their class may be.",
        "ops",
        &[(
            "sum by (region) (rate(dwcp_federation_qos_violations_total{region=~\"$region\"}[5m]))",
            "{{region}}",
        )],
    ),
];

impl Dashboard {
    /// The dashboard as Grafana imports it. Where it gets its data from, and which regions it shows, is chosen there.
    pub fn to_json(&self) -> Value {
        let (mut panels, mut x, mut y, mut row) = (Vec::new(), 0, 0, 0);
        for (panel, id) in self.panels.iter().zip(1u64..) {
            let (_, width, height) = panel.kind.form();
            // A row ends when it is full, or when what comes is of another height.
            if x + width > COLUMNS || x > 0 && height != row {
                (x, y) = (0, y + row);
            }
            panels.push(panel.to_json(id, x, y));
            (x, row) = (x + width, height);
        }
        json!({
            "uid": self.uid, "title": self.title, "tags": ["dwcp"], "schemaVersion": 39, "version": 1,
            "id": null, "editable": true, "graphTooltip": 1, "refresh": "30s", "timezone": "browser",
            "time": { "from": "now-6h", "to": "now" }, "annotations": { "list": [] }, "links": [],
            "templating": { "list": [
                {
                    "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
                    "current": {}, "hide": 0, "includeAll": false, "multi": false, "options": [], "regex": "",
                },
                {
                    "name": "region", "label": "Region", "type": "query", "datasource": datasource(),
                    "definition": "label_values(dwcp_federation_active_vms, region)",
                    "query": { "query": "label_values(dwcp_federation_active_vms, region)", "refId": "regions" },
                    "current": { "text": ["All"], "value": ["$__all"] }, "hide": 0, "includeAll": true, "allValue": ".*",
                    "multi": true, "options": [], "refresh": 2, "regex": "", "sort": 1,
                },
            ] },
            "panels": panels,
        })
    }
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

impl Panel {
    fn to_json(&self, id: u64, x: u64, y: u64) -> Value {
        let (kind, width, height) = self.kind.form();
        let target = |((text, legend), letter): (&(&str, &str), char)| {
            json!({
                "refId": letter.to_string(), "expr": text, "legendFormat": legend, "datasource": datasource(),
                "range": self.kind == Kind::Lines, "instant": self.kind == Kind::Stat, "editorMode": "code",
            })
        };
        let targets: Vec<Value> = self.targets.iter().zip('A'..).map(target).collect();
        let mut options = json!({
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
            "tooltip": { "mode": "multi", "sort": "desc" },
        });
        if self.kind == Kind::Stat {
            options = json!({
                "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                "colorMode": "value", "graphMode": "none", "textMode": "auto",
            });
        }
        json!({
            "id": id, "type": kind, "title": self.title, "description": self.about, "datasource": datasource(),
            "gridPos": { "x": x, "y": y, "w": width, "h": height }, "targets": targets, "options": options,
            "fieldConfig": { "defaults": { "unit": self.unit, "min": 0 }, "overrides": [] },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What Grafana's model asks of every panel.
    fn check(panel: &Value, ids: &mut BTreeSet<u64>, taken: &mut BTreeSet<(u64, u64)>) {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "an id is there twice");
        for text in ["type", "title"] {
            assert!(panel[text].as_str().is_some_and(|text| !text.is_empty()), "{text} of {panel}");
        }
        let at = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        let (x, y, width, height) = (at("x"), at("y"), at("w"), at("h"));
        assert!(width > 0 && height > 0 && x + width <= COLUMNS);
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} lies over another panel", panel["title"]);
        }
        let targets = panel["targets"].as_array().expect("targets");
        let letters: BTreeSet<&str> = targets.iter().filter_map(|target| target["refId"].as_str()).collect();
        assert!(!targets.is_empty() && letters.len() == targets.len());
        for target in targets {
            assert!(target["expr"].as_str().is_some_and(|text| !text.is_empty()));
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            let legend = target["legendFormat"].as_str().expect("a legend");
            assert_eq!(legend.matches("{{").count(), legend.matches("}}").count());
        }
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(defaults["unit"].is_string() && panel["fieldConfig"]["overrides"].is_array());
    }

    #[test]
    fn dashboards_have_the_form_that_grafana_imports() {
        let uids: Vec<&str> = ALL.iter().map(|dashboard| dashboard.uid).collect();
        assert_eq!(uids, ["federation-overview", "region-performance", "state-sync", "global-routing"]);
        for json in ALL.iter().map(Dashboard::to_json) {
            assert!(json["uid"].as_str().is_some_and(|uid| uid.len() <= 40) && json["id"].is_null());
            assert!(json["schemaVersion"].as_u64().is_some_and(|version| version >= 36));
            let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
            json["panels"]
                .as_array()
                .expect("panels")
                .iter()
                .for_each(|panel| check(panel, &mut ids, &mut taken));
            let variables = json["templating"]["list"].as_array().expect("variables");
            let names: Vec<&str> =
                variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
            assert_eq!(names, ["datasource", "region"]);
            assert!(json["time"]["from"].is_string() && json["annotations"]["list"].is_array());
        }
    }
}
