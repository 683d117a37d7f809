/** What the API answers about VMs and about work: operations, failovers, moves, windows, drills. `null` is not known. */

import type { Freshness } from "./region_types";

export type Role = "viewer" | "operator" | "admin";

export interface Principal {
  token_id: string;
  user: string;
  role: Role;
  expires_at_ms: number | null;
  federation: string;
  region: string;
}

/** An error body (RFC 9457): what failed, why, what DWCP does next, what to type. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: string;
  detail: string;
  cause: string[];
  next: string;
  try: string[];
  request_id: string;
  field: string | null;
}

export type VmState =
  | "waiting"
  | "starting"
  | "running"
  | "paused"
  | "stopping"
  | "stopped"
  | "moving"
  | "failed"
  | "deleting"
  | "unknown";

export interface Protection {
  wanted: { mode: "none" | "async" | "sync"; interval_ms: number | null; on_replica_loss: string; region: string | null };
  state: "waiting" | "syncing" | "protected" | "degraded";
  since_at_ms: number;
  region: string | null;
  host: string | null;
  epoch: number;
  point_at_ms: number | null;
  would_lose_ms: number | null;
  reason: string;
}

export type Probe =
  | { kind: "http"; port: number; path: string }
  | { kind: "tcp"; port: number }
  | { kind: "guest_agent" }
  | { kind: "process" };

export interface Vm {
  vm: string;
  name: string;
  state: VmState;
  wanted_running: boolean;
  region: string;
  zone: string | null;
  host: string | null;
  generation: number;
  image: string;
  image_digest: string | null;
  vcpus: number;
  memory_mib: number;
  disk_gib: number;
  priority: number;
  policy: Record<string, unknown>;
  labels: Record<string, string>;
  network: string;
  probe: Probe;
  address: string | null;
  healthy: boolean | null;
  reason: string;
  cost_usd_month: number | null;
  created_at_ms: number;
  revision: number;
  protection: Protection | null;
  drill: string | null;
}

export interface VmAnswer {
  vm: Vm;
  as_of: Freshness[];
}

export interface VmChanged {
  vm: Vm;
  operation: Operation | null;
}

export interface PlacementReport {
  vm: string;
  candidates: {
    region: string;
    zone: string | null;
    host: string | null;
    score: number | null;
    factors: { name: string; value: number; weight: number; from: string }[];
    ruled_out: string[];
  }[];
  chosen: { vm: string; region: string; host: string; score: number }[];
  reasons: string[];
  took_us: number | null;
  as_of: Freshness[];
}

export interface ConsoleText {
  offset: number;
  next_offset: number;
  text: string;
}

export type OperationState = "waiting" | "running" | "cancelling" | "done" | "partly" | "failed" | "cancelled";

export interface Step {
  name: string;
  state: "waiting" | "running" | "done" | "failed" | "skipped";
  done: number;
  total: number | null;
  note: string;
  took_ms: number | null;
}

export interface Operation {
  operation: string;
  kind: string;
  subject: string;
  related: string | null;
  state: OperationState;
  steps: Step[];
  done: number;
  total: number | null;
  failed: number;
  left: string[];
  by: string;
  started_at_ms: number;
  ended_at_ms: number | null;
  joined: boolean;
  revision: number;
}

export interface OperationAnswer {
  operation: Operation;
  as_of: Freshness[];
}

export type PhaseName = "detect" | "agree" | "fence" | "plan" | "restart" | "verify";

export interface FailoverVm {
  vm: string;
  name: string;
  from_host: string | null;
  to_region: string | null;
  to_host: string | null;
  state: "waiting" | "starting" | "running" | "verified" | "failed" | "left";
  reason: string;
  took_ms: number | null;
  rpo: string;
}

export interface Failover {
  failover: string;
  operation: string | null;
  from: string;
  to: string[];
  trigger: "automatic" | "manual";
  state: "planned" | "running" | "done" | "partly" | "failed" | "cancelled";
  phases: { name: PhaseName; started_at_ms: number | null; ended_at_ms: number | null; took_ms: number | null }[];
  vms: FailoverVm[];
  total: number;
  done: number;
  left: number;
  failed: number;
  rto_ms: number | null;
  predicted_rto_ms: number | null;
  rto_final: boolean;
  rpo: { acknowledged_writes_lost: number | null; evidence: string };
  cost_change_usd_cents_month: number | null;
  started_at_ms: number;
  ended_at_ms: number | null;
  by: string;
}

export interface FailoverAnswer {
  failover: Failover;
  as_of: Freshness[];
}

export interface FailoverStarted {
  failover: Failover;
  operation: Operation | null;
  as_of: Freshness[];
}

export interface MovesStarted {
  operations: Operation[];
  planned: {
    vm: string;
    name: string;
    from: string;
    from_host: string;
    to: string | null;
    to_host: string | null;
    reason: string;
  }[];
  left: number;
  warnings: string[];
  notes: string[];
  as_of: Freshness[];
}

export interface Migration {
  migration: string;
  vm: string;
  name: string;
  kind: "live" | "cold" | "failover";
  from: string;
  from_host: string;
  to: string;
  to_host: string | null;
  state: "queued" | "running" | "done" | "failed" | "cancelled" | "taken_over" | "lost" | "left";
  stage: string | null;
  bytes_done: number | null;
  bytes_total: number | null;
  rate_bytes_per_s: number | null;
  dirty_bytes_per_s: number | null;
  throttle_percent: number | null;
  left_ms: number | null;
  took_ms: number | null;
  downtime_ms: number | null;
  max_downtime_ms: number;
  operation: string;
  reason: string;
  asked_at_ms: number;
  started_at_ms: number | null;
  ended_at_ms: number | null;
}

export interface MaintenanceWindow {
  window: string;
  region: string;
  host: string | null;
  state: "planned" | "running" | "over" | "cancelled";
  starts_at_ms: number;
  ends_at_ms: number;
  reason: string;
  by: string;
  no_placement: boolean;
  notice: string;
  cancelled_at_ms: number | null;
  revision: number;
}

export interface MaintenanceAnswer {
  window: MaintenanceWindow;
  warnings: string[];
  as_of: Freshness[];
}

export type DrillMoment = "cut" | "detected" | "agreed" | "fenced" | "planned" | "restarted" | "verified";

export interface DrillVm {
  of: string;
  vm: string;
  name: string;
  from_host: string | null;
  to_region: string | null;
  to_host: string | null;
  state: "waiting" | "ready" | "lost" | "moving" | "verified" | "left" | "failed";
  reason: string;
  lost: boolean;
  took_ms: number | null;
  disk: boolean;
  records_written: number | null;
  records_kept: number | null;
}

export interface Drill {
  drill: string;
  region: string;
  mode: "isolated" | "live";
  state: "running" | "done" | "restored" | "failed";
  by: string;
  started_at_ms: number;
  ends_by_ms: number;
  measured_at_ms: number | null;
  ended_at_ms: number | null;
  restoring: boolean;
  times: { moment: DrillMoment; at_ms: number; after_ms: number; note: string }[];
  vms: DrillVm[];
  left_out: number;
  lost: number;
  migrated: number;
  success_percent: number | null;
  rto_ms: number | null;
  rpo: { records_lost: number | null; evidence: string };
  result: string;
  failover: string | null;
}

export interface DrillAnswer {
  drill: Drill;
  as_of: Freshness[];
}
