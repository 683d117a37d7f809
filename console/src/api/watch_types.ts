/** What the API answers about incidents, alerts, messages and promises; the OpenAPI document is the source. `null` is not known. */

import type { Freshness } from "./region_types";

export type IncidentSeverity = "P0" | "P1" | "P2" | "P3";
export type IncidentStatus = "open" | "investigating" | "resolved" | "merged";

export interface Incident {
  incident: string;
  title: string;
  severity: IncidentSeverity;
  status: IncidentStatus;
  merged_into: string | null;
  cause: string;
  opened_at_ms: number;
  due_at_ms: number;
  overdue: boolean;
  assignee: string | null;
  acknowledged_by: string | null;
  acknowledged_at_ms: number | null;
  resolved_at_ms: number | null;
  reopened: number;
  alerts_firing: number;
  published: boolean;
}

export interface IncidentAnswer {
  incident: Incident;
  as_of: Freshness[];
}

export interface IncidentDetail extends IncidentAnswer {
  timeline: { at_ms: number; who: string | null; what: string }[];
  timeline_left_out: number;
  alerts: { name: string; severity: IncidentSeverity; labels: string; since_ms: number; ended_at_ms: number | null }[];
  more_alerts_firing: number;
  pages: { at_ms: number; step: number; role: string; who: string | null }[];
  root_cause: string;
  resolution: string;
  public_title: string | null;
  public_notes: { at_ms: number; status: string; text: string }[];
}

export interface PostMortem {
  incident: string;
  markdown: string;
}

export interface OnCall {
  at_ms: number;
  duty: { role: string; who: string | null; until_ms: number | null }[];
  as_of: Freshness[];
}

export interface OnCallShift {
  role: string;
  who: string;
  from_ms: number;
  until_ms: number;
}

export interface OnCallDays {
  shifts: OnCallShift[];
  overrides: (OnCallShift & { id: string; by: string })[];
  as_of: Freshness[];
}

export interface Alert {
  alert: string;
  name: string;
  rule: string;
  state: "firing" | "pending" | "resolved";
  severity: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  value: string;
  started_at_ms: number;
  fired_at_ms: number | null;
  ended_at_ms: number | null;
  muted_by: string[];
}

export interface AlertDetail {
  alert: Alert;
  earlier: Alert[];
  as_of: Freshness[];
}

export interface Silence {
  silence: string;
  state: "pending" | "active" | "expired";
  conditions: string[];
  starts_at_ms: number;
  ends_at_ms: number;
  by: string;
  comment: string;
  alerts: number;
}

export interface NotificationRow {
  key: string;
  receiver: string;
  kind: string;
  about: string;
  template: string;
  title: string;
  state: "pending" | "delivered" | "dead";
  attempts: number;
  said: string;
  created_at_ms: number;
  at_ms: number;
}

export interface NotificationsAnswer {
  messages: NotificationRow[];
  warnings: string[];
  as_of: Freshness[];
}

export type SlaMeasure = "availability" | "latency" | "failover_time" | "data_loss";
export type SlaVerdict = "met" | "at_risk" | "unknown" | "breached" | "no_data";

export interface SlaPromise {
  name: string;
  scope: string;
  vm: string | null;
  measure: SlaMeasure;
  target_ppm: number | null;
  limit_ms: number | null;
  period_days: number | null;
  exclude_maintenance: boolean;
  credits: { below_ppm: number | null; above_ms: number | null; for_ms: number | null; percent: number }[];
  standard: boolean;
}

export interface SlaShare {
  name: string;
  down_minutes: number;
  percent: number | null;
}

export interface SlaStanding {
  promise: SlaPromise;
  from_ms: number;
  until_ms: number;
  measured: number | null;
  budget_minutes: number | null;
  budget_left_minutes: number | null;
  unknown_minutes: number | null;
  failovers: number | null;
  verdict: SlaVerdict;
  note: string;
  worst_tenants: SlaShare[];
  worst_vms: SlaShare[];
  evidence: string[];
}

export interface SlaStatus {
  items: SlaStanding[];
  accounted_until_ms: number | null;
  as_of: Freshness[];
}

export interface SlaOutage {
  vm: string;
  name: string;
  tenant: string;
  region: string;
  from_ms: number;
  /** Absent: it is down. */
  until_ms?: number;
  cause: string;
  failover?: string;
  planned?: boolean;
}

export interface SlaFailover {
  failover: string;
  from_region: string;
  began_at_ms: number;
  took_ms: number;
  lost_ms: number | null;
}

export interface SlaBreach {
  breach: string;
  promise: SlaPromise;
  from_ms: number;
  until_ms: number;
  broken_at_ms: number;
  noticed_at_ms: number;
  over_at_ms: number | null;
  incident: string;
  measured: string;
  outages: SlaOutage[];
  outages_in_all: number;
  failovers: SlaFailover[];
}
