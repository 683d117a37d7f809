/** Made-up series, as the Prometheus HTTP API answers them. Some queries have no data, as on a young federation. */

import { LOST, REGIONS } from "./fleet";

/** Queries that find nothing. */
const NOTHING = ["ddos_detections", "qos_violations", "conflict_resolutions"];

/** Level and swing of a query's values. */
const LEVELS: [string, number, number][] = [
  ["cpu_utilization", 46, 14],
  ["memory_utilization", 61, 6],
  ["storage_utilization", 36, 3],
  ["active_vms", 2900, 60],
  ["placement_latency_ms", 9, 4],
  ["state_sync_latency_ms", 190, 60],
  ["routing_decision_latency_ms", 0.08, 0.03],
  ["sla_compliance_percent", 99.96, 0.03],
  ["link_round_trip_seconds", 180, 12],
  ["link_throughput_bytes_per_second", 38e6, 12e6],
  ["log_lines_total", 0.4, 0.4],
  ["state_sync_lag_seconds", 240, 120],
  ["group_applied_total", 420, 90],
  ["state_size_bytes", 91e6, 4e6],
  ["traffic_percent", 90, 5],
];

interface Ranged {
  metric: Record<string, string>;
  values: [number, string][];
}

export interface Span {
  start: number;
  end: number;
  step: number;
}

function valueAt(at: number, level: number, swing: number, phase: number): number {
  const day = Math.sin((2 * Math.PI * at) / 86_400 + phase);
  const wave = Math.sin(at / 190 + phase * 5) * 0.3 + Math.sin(at / 37 + phase * 11) * 0.15;
  return Math.max(0, level + swing * (0.6 * day + wave));
}

export function range(query: string, { start, end, step }: Span, lostAt: number): Ranged[] {
  const found = LEVELS.find(([name]) => query.includes(name));
  if (!found || NOTHING.some((name) => query.includes(name))) return [];
  const [, level, swing] = found;
  const quantile = Number(/histogram_quantile\(([\d.]+)/.exec(query)?.[1] ?? 0);
  const by = /by \((\w+)\)/.exec(query)?.[1];
  const only = /region="([^"]+)"/.exec(query)?.[1];
  const names = by && quantile === 0 ? REGIONS.map((one) => one.region).filter((one) => !only || one === only) : [""];
  return names.map((name, i) => {
    const values: [number, string][] = [];
    const factor = quantile === 0 ? 1 + 0.12 * i : { 0.5: 0.4, 0.95: 1, 0.99: 1.6 }[quantile] ?? 1;
    for (let at = start; at <= end; at += step) {
      if (name === LOST && at > lostAt / 1000) break;
      values.push([at, String(valueAt(at, level * factor, swing * factor, i))]);
    }
    return { metric: by && name ? { [by]: name } : {}, values };
  });
}
