/** What the API answers about regions, hosts and links; the OpenAPI document (`/v1/openapi.json`) is the source. `null` is not known. */

export interface Freshness {
  region: string;
  age_ms: number | null;
  revision: number;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
  as_of: Freshness[];
}

export type HealthState = "healthy" | "degraded" | "unhealthy" | "unknown";
export type Lifecycle = "joining" | "standby" | "active" | "draining" | "disabled" | "lost" | "retired";
export type FreezeState = "active" | "no-moves" | "frozen";
export type Severity = "info" | "warning" | "error" | "critical";

/** CPU in vCPUs, memory in MiB, storage in GiB. */
export interface Usage {
  capacity: number | null;
  allocated: number | null;
  used_percent: number | null;
}

export interface InMaintenance {
  window: string;
  until_at_ms: number;
  reason: string;
}

export interface Deduction {
  points: number;
  cause: string;
  muted_by: string | null;
}

export interface Health {
  score: number | null;
  state: HealthState;
  deductions: Deduction[];
  maintenance: InMaintenance | null;
}

export interface PlacementSwitch {
  enabled: boolean;
  since_at_ms: number | null;
  by: string | null;
  reason: string;
}

export interface RegionSummary {
  region: string;
  number: number;
  lifecycle: Lifecycle;
  health: Health;
  vms: number | null;
  hosts: number;
  cpu: Usage;
  memory: Usage;
  storage: Usage;
  traffic_percent: number | null;
  replication_lag_ms: number | null;
  leader: string | null;
  version: string | null;
  placement: PlacementSwitch;
  age_ms: number | null;
  revision: number;
}

export interface LinkStatus {
  from: string;
  to: string;
  up: boolean | null;
  rtt_p50_ms: number | null;
  rtt_p99_ms: number | null;
  loss_percent: number | null;
  throughput_mbit_s: number | null;
  age_ms: number | null;
}

export interface Host {
  host: string;
  region: string;
  zone: string | null;
  state: "up" | "draining" | "silent" | "fenced" | "retired" | "unknown";
  labels: Record<string, string>;
  lease_left_ms: number | null;
  cpu: Usage;
  memory: Usage;
  storage: Usage;
  vms: number;
  version: string | null;
  silent_ms: number | null;
  maintenance: InMaintenance | null;
  revision: number;
}

export interface HostAnswer {
  host: Host;
  vms: string[];
  as_of: Freshness[];
}

export interface Event {
  id: string;
  at_ms: number;
  region: string | null;
  severity: Severity;
  kind: string;
  subject: string;
  message: string;
  by: string;
  request_id: string | null;
  before: string | null;
  after: string | null;
  reason: string | null;
  muted_by: string | null;
}

export interface RegionStatus {
  summary: RegionSummary;
  zones: { zone: string; hosts: number }[];
  hosts: Host[];
  components: { component: string; replicas: number; up: number | null; version: string | null }[];
  links: LinkStatus[];
  recent_events: Event[];
  as_of: Freshness[];
}

export interface RegionChanged {
  region: RegionSummary;
  changed: boolean;
  notes: string[];
  warnings: string[];
}

export interface RegionHealthReport {
  region: string;
  verdict: string;
  health: Health;
  probes: { from: string; verdict: string; rtt_ms: number | null; silent_ms: number | null; detail: string }[];
  as_of: Freshness[];
}

export interface Quantiles {
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
}

export interface Totals {
  regions: number;
  healthy: number;
  degraded: number;
  unhealthy: number;
  unknown: number;
  hosts: number;
  vms: number;
  vms_unknown_regions: number;
}

export interface FederationStatus {
  federation: string;
  answered_by: string;
  regions: RegionSummary[];
  totals: Totals;
  placement: Quantiles;
  state_sync: Quantiles;
  routing: Quantiles;
  sla_percent: number | null;
  open_incidents: number | null;
  freeze: FreezeState;
  survivability: { region: string | null; unplaced: number; age_ms: number } | null;
  leader: string | null;
  as_of: Freshness[];
}

export interface Lag {
  from: string;
  to: string;
  entries: number | null;
  lag_ms: number | null;
  sync_p50_ms: number | null;
  sync_p99_ms: number | null;
}

export interface LagMatrix {
  regions: string[];
  pairs: Lag[];
  as_of: Freshness[];
}

export interface QueueDepth {
  queues: { from: string; to: string; entries: number | null; bytes: number | null; oldest_ms: number | null }[];
  as_of: Freshness[];
}

export interface LatencyMatrix {
  regions: string[];
  links: LinkStatus[];
  as_of: Freshness[];
}

export interface Replication {
  replication_workers: number;
  compression: boolean;
  sync_interval_ms: number;
  regions: {
    region: string;
    append_messages: number | null;
    compression: boolean | null;
    framed_bytes: number | null;
    sent_bytes: number | null;
    soft_state_age_ms: number | null;
  }[];
  revision: number;
  as_of: Freshness[];
}

export interface Freeze {
  state: FreezeState;
  local: FreezeState | null;
  since_at_ms: number | null;
  by: string | null;
  reason: string;
  revision: number;
  as_of: Freshness[];
}

export interface PromisesReport {
  rto_target_ms: number;
  regions: {
    region: string;
    vms: number;
    rto_ms: number | null;
    rpo_ms: number | null;
    disk_rpo_ms: number | null;
    unprotected: number;
    kept: boolean;
    broken: string[];
    helps: string[];
    boot_ms: number;
    boots_measured: number;
    steps: { step: string; at_most_ms: number; from: string }[];
  }[];
  assumed: string[];
  kept: boolean;
  as_of: Freshness[];
}

/** The part of `GET /v1/settings` that the map reads. */
export interface Settings {
  regions: { region: string; display_name: string; latitude: number | null; longitude: number | null }[];
  as_of: Freshness[];
}
