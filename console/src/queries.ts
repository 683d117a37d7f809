/** The series that the console draws: those of the operations guide (`dwcp_federation_…`), and of links and processes. */

import * as format from "./format";
import type { Plot } from "./ui/chart";

const P = "dwcp_federation_";

const ms = (value: number) => format.duration(value);
const percent = format.percent;
const perSecond = (value: number) => `${format.figure(value)}/s`;

/** Quantiles of a latency, from its native histogram. */
function quantiles(metric: string, where = ""): Plot["queries"] {
  return [0.5, 0.95, 0.99].map((q) => ({
    query: `histogram_quantile(${q}, sum(rate(${P}${metric}${where}[5m])))`,
    name: `p${q * 100}`,
  }));
}

const gauge = (metric: string, where: string) => [{ query: `avg by (region) (${P}${metric}${where})` }];
const summed = (metric: string, where = "") => [{ query: `sum by (region) (${P}${metric}${where})` }];
const rate = (metric: string, where = "", by = "region") => [{ query: `sum by (${by}) (rate(${metric}${where}[5m]))` }];

export const OVERVIEW: Plot[] = [
  { title: "VMs by region", queries: summed("active_vms"), by: "region", unit: format.count },
  { title: "Placement latency", queries: quantiles("placement_latency_ms"), unit: ms },
  { title: "State sync latency", queries: quantiles("state_sync_latency_ms"), unit: ms },
  { title: "SLA compliance", queries: [{ query: `${P}sla_compliance_percent` }], unit: percent, from: 99.5, atLeast: 100 },
];

/** Of one region, or of all when it is empty. */
export function regionPlots(region: string): Plot[] {
  const where = region === "" ? "" : `{region=${JSON.stringify(region)}}`;
  const from = region === "" ? "" : `{from=${JSON.stringify(region)}}`;
  const level = region === "" ? '{level="error"}' : `{region=${JSON.stringify(region)},level="error"}`;
  const end = region === "" ? "from" : "to";
  return [
    { title: "CPU utilization", queries: gauge("cpu_utilization", where), by: "region", unit: percent, atLeast: 100 },
    { title: "Memory utilization", queries: gauge("memory_utilization", where), by: "region", unit: percent, atLeast: 100 },
    { title: "Storage utilization", queries: gauge("storage_utilization", where), by: "region", unit: percent, atLeast: 100 },
    { title: "VMs", queries: summed("active_vms", where), by: "region", unit: format.count },
    {
      title: "Round trip to other regions",
      queries: [{ query: `1000 * max by (${end}) (dwcp_link_round_trip_seconds${from})` }],
      by: end,
      unit: ms,
    },
    {
      title: "Throughput",
      queries: [{ query: `sum by (${end}) (dwcp_link_throughput_bytes_per_second${from})` }],
      by: end,
      unit: (value) => `${format.bytes(Math.round(value))}/s`,
      binary: true,
    },
    { title: "Errors in the log", queries: rate("dwcp_log_lines_total", level), by: "region", unit: perSecond },
  ];
}

export const STATE_SYNC: Plot[] = [
  { title: "Replication lag, worst peer", queries: [{ query: `1000 * max by (source) (${P}state_sync_lag_seconds)` }], by: "source", unit: ms },
  { title: "State sync latency", queries: quantiles("state_sync_latency_ms"), unit: ms },
  { title: "Sync operations", queries: rate("dwcp_group_applied_total"), by: "region", unit: perSecond },
  { title: "Conflict resolutions", queries: rate(`${P}conflict_resolutions_total`), by: "region", unit: perSecond },
  { title: "State size", queries: summed("state_size_bytes"), by: "region", unit: (value) => format.bytes(Math.round(value)), binary: true },
];

export const ROUTING: Plot[] = [
  { title: "Routing decision latency", queries: quantiles("routing_decision_latency_ms"), unit: ms },
  { title: "Share of traffic", queries: gauge("traffic_percent", ""), by: "region", unit: percent, atLeast: 100 },
  { title: "DDoS detections", queries: rate(`${P}ddos_detections_total`), by: "region", unit: perSecond },
  { title: "QoS violations", queries: rate(`${P}qos_violations_total`), by: "region", unit: perSecond },
];
