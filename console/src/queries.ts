/** The series that the console draws, by the names of the operations guide (`dwcp_federation_…`). */

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
const rate = (metric: string, where = "", by = "region") => [{ query: `sum by (${by}) (rate(${P}${metric}${where}[5m]))` }];

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
  return [
    { title: "CPU utilization", queries: gauge("cpu_utilization", where), by: "region", unit: percent, atLeast: 100 },
    { title: "Memory utilization", queries: gauge("memory_utilization", where), by: "region", unit: percent, atLeast: 100 },
    { title: "Storage utilization", queries: gauge("storage_utilization", where), by: "region", unit: percent, atLeast: 100 },
    { title: "VMs", queries: summed("active_vms", where), by: "region", unit: format.count },
    {
      title: "Round trip to other regions",
      queries: [{ query: `max by (${region === "" ? "from" : "to"}) (${P}link_rtt_ms${from})` }],
      by: region === "" ? "from" : "to",
      unit: ms,
    },
    {
      title: "Throughput",
      queries: rate("network_bytes_total", where),
      by: "region",
      unit: (value) => `${format.bytes(Math.round(value))}/s`,
      binary: true,
    },
    { title: "Errors", queries: rate("errors_total", where), by: "region", unit: perSecond },
  ];
}

export const STATE_SYNC: Plot[] = [
  { title: "Replication lag, worst peer", queries: [{ query: `max by (from) (${P}replication_lag_ms)` }], by: "from", unit: ms },
  { title: "State sync latency", queries: quantiles("state_sync_latency_ms"), unit: ms },
  { title: "Sync operations", queries: rate("state_sync_operations_total"), by: "region", unit: perSecond },
  { title: "Conflict resolutions", queries: rate("conflict_resolutions_total"), by: "region", unit: perSecond },
  { title: "State size", queries: summed("state_size_bytes"), by: "region", unit: (value) => format.bytes(Math.round(value)), binary: true },
];

export const ROUTING: Plot[] = [
  { title: "Routing decision latency", queries: quantiles("routing_decision_latency_ms"), unit: ms },
  { title: "Traffic by region", queries: rate("routed_requests_total"), by: "region", unit: perSecond },
  { title: "DDoS detections", queries: rate("ddos_detections_total"), by: "region", unit: perSecond },
  { title: "QoS violations", queries: rate("qos_violations_total"), by: "region", unit: perSecond },
];
