/** Incidents, alerts, silences, messages and promises that the mock makes up. */

import type { Vm } from "../src/api/work_types";
import type { Alert, Incident, IncidentDetail, NotificationRow, OnCallShift, Silence, SlaBreach, SlaPromise, SlaStanding } from "../src/api/watch_types";
import { LOST, LOST_FOR_MS } from "./fleet";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** What somebody types who would like it to be carried out. */
export const MARKUP = '<script>document.title="taken"</script><img src=x onerror="document.title=\'taken\'"> in the title';

type Detail = Omit<IncidentDetail, "as_of">;

function incident(number: number, now: number, ago: number, more: Partial<Incident>, detail: Partial<Detail> = {}): Detail {
  const opened = now - ago;
  const one: Incident = {
    incident: `INC-20261129-${String(number).padStart(3, "0")}`,
    title: "",
    severity: "P2",
    status: "open",
    merged_into: null,
    cause: "",
    opened_at_ms: opened,
    due_at_ms: opened + 30 * MINUTE,
    overdue: false,
    assignee: null,
    acknowledged_by: null,
    acknowledged_at_ms: null,
    resolved_at_ms: null,
    reopened: 0,
    alerts_firing: 0,
    published: false,
    ...more,
  };
  const empty = { timeline_left_out: 0, alerts: [], more_alerts_firing: 0, pages: [], root_cause: "", resolution: "", public_title: null, public_notes: [] };
  return { incident: one, timeline: [{ at_ms: opened, who: null, what: `opened as ${one.severity}: ${one.title}` }], ...empty, ...detail };
}

function lostRegion(now: number): Detail {
  const opened = now - LOST_FOR_MS;
  return incident(
    4,
    now,
    LOST_FOR_MS,
    {
      title: `Region ${LOST} is lost`,
      severity: "P0",
      status: "investigating",
      cause: `region=${LOST}`,
      due_at_ms: opened + 5 * MINUTE,
      assignee: "ana",
      acknowledged_by: "ana",
      acknowledged_at_ms: opened + 20_000,
      alerts_firing: 3,
      published: true,
    },
    {
      timeline: [
        { at_ms: opened, who: null, what: `opened as P0: Region ${LOST} is lost` },
        { at_ms: opened + 1000, who: null, what: "step 1: ana (primary) is paged" },
        { at_ms: opened + 9000, who: null, what: `failover-002 of ${LOST} began` },
        { at_ms: opened + 20_000, who: "ana", what: "taken" },
        { at_ms: opened + 31_000, who: "ana", what: "the power of the building is out; the failover does what it should" },
      ],
      alerts: [
        { name: "RegionLost", severity: "P0", labels: `{region="${LOST}"}`, since_ms: opened, ended_at_ms: null },
        { name: "RegionUnhealthy", severity: "P1", labels: `{region="${LOST}"}`, since_ms: opened - 4000, ended_at_ms: null },
        { name: "QuorumAtRisk", severity: "P1", labels: '{group="federation"}', since_ms: opened, ended_at_ms: opened + 30_000 },
      ],
      more_alerts_firing: 1,
      pages: [{ at_ms: opened + 1000, step: 1, role: "primary", who: "ana" }],
      public_title: "South America is not reachable",
      public_notes: [{ at_ms: opened + 25_000, status: "investigating", text: "VMs are being started in other regions." }],
    },
  );
}

function makeIncidents(now: number): Detail[] {
  return [
    incident(5, now, 4 * MINUTE, { title: MARKUP, severity: "P3", due_at_ms: now + 56 * MINUTE, cause: "by hand" }),
    lostRegion(now),
    incident(3, now, 40 * MINUTE, { title: "eu-west-1/h07 is silent", due_at_ms: now - 10 * MINUTE, overdue: true, cause: "host=eu-west-1/h07", alerts_firing: 1 }, {
      pages: [
        { at_ms: now - 40 * MINUTE, step: 1, role: "primary", who: "ana" },
        { at_ms: now - 10 * MINUTE, step: 2, role: "secondary", who: null },
      ],
    }),
    incident(
      2,
      now,
      2 * DAY,
      {
        title: "Replication to ap-south-1 lags behind by more than 5 s",
        severity: "P1",
        status: "resolved",
        due_at_ms: now - 2 * DAY + 15 * MINUTE,
        assignee: "ken",
        acknowledged_by: "ken",
        acknowledged_at_ms: now - 2 * DAY + 22 * MINUTE,
        resolved_at_ms: now - 2 * DAY + 55 * MINUTE,
        reopened: 1,
      },
      { root_cause: "a line card lost a tenth of its packets", resolution: "traffic was moved to the other line" },
    ),
    incident(1, now, 3 * DAY, { title: "Lag of sa-east-1", status: "merged", merged_into: "INC-20261129-002", cause: "lag" }),
  ];
}

function alert(number: number, now: number, name: string, more: Partial<Alert> & { labels: Record<string, string> }): Alert {
  const severity = more.severity ?? "P2";
  const started = more.started_at_ms ?? now - number * 7 * MINUTE;
  return {
    alert: `a1b2c3d4e5f6000${number}`,
    name,
    rule: `federation/${name}`,
    state: "firing",
    severity,
    annotations: {},
    value: "1",
    started_at_ms: started,
    fired_at_ms: started + MINUTE,
    ended_at_ms: null,
    muted_by: [],
    ...more,
    labels: { alertname: name, severity, ...more.labels },
  };
}

function makeAlerts(now: number): Alert[] {
  return [
    alert(1, now, "RegionLost", { severity: "P0", labels: { region: LOST }, annotations: { summary: `Region ${LOST} is lost` } }),
    alert(2, now, "RegionUnhealthy", {
      severity: "P1",
      labels: { region: LOST },
      value: "0",
      annotations: { summary: `Region ${LOST} has a health of 0` },
      muted_by: ["inhibited by a1b2c3d4e5f60001"],
    }),
    alert(3, now, "HostSilent", { labels: { region: "eu-west-1", host: "h07" }, value: "41", annotations: { summary: "h07 has not been heard for 41 s" } }),
    alert(4, now, "StorageNearlyFull", {
      severity: "P3",
      labels: { region: "au-southeast-1" },
      value: "91.4",
      annotations: { summary: "91.4 % of the storage is promised" },
      muted_by: ["silence silence-002", "maintenance window-003"],
    }),
    alert(5, now, "ReplicationLag", { state: "pending", fired_at_ms: null, labels: { region: "ap-south-1" }, value: "5.2", annotations: { summary: "ap-south-1 is 5.2 s behind" } }),
    alert(6, now, "ClockDrift", { state: "resolved", ended_at_ms: now - 12 * MINUTE, labels: { region: "us-east-1", host: "h04" }, value: "0.31" }),
  ];
}

function makeSilences(now: number): Silence[] {
  const one = (number: number, more: Partial<Silence>): Silence => ({
    silence: `silence-00${number}`,
    state: "active",
    conditions: [],
    starts_at_ms: now - HOUR,
    ends_at_ms: now + HOUR,
    by: "ana",
    comment: "",
    alerts: 0,
    ...more,
  });
  return [
    one(2, { conditions: ['alertname="StorageNearlyFull"', 'region="au-southeast-1"'], comment: "new disks come on Tuesday", alerts: 1 }),
    one(3, { state: "pending", starts_at_ms: now + 3 * HOUR, ends_at_ms: now + 5 * HOUR, conditions: ['host=~"h0[1-4]"'], comment: "firmware", by: "ken" }),
    one(1, { state: "expired", starts_at_ms: now - DAY, ends_at_ms: now - 20 * HOUR, conditions: ['severity="P3"'], comment: "a noisy night" }),
  ];
}

function makeMessages(now: number): NotificationRow[] {
  const one = (number: number, about: number, more: Partial<NotificationRow>): NotificationRow => ({
    key: `INC-20261129-00${about}#${number}/trigger/page`,
    receiver: "page",
    kind: "pagerduty",
    about: `INC-20261129-00${about}`,
    template: "incident",
    title: `Region ${LOST} is lost`,
    state: "delivered",
    attempts: 1,
    said: "202: Event processed",
    created_at_ms: now - number * 3 * MINUTE,
    at_ms: now - number * 3 * MINUTE + 900,
    ...more,
  });
  return [
    one(0, 5, { title: MARKUP, receiver: "chat", kind: "slack", state: "pending", attempts: 2, said: "429: ratelimited", at_ms: now + 40_000 }),
    one(1, 4, {}),
    one(2, 4, { receiver: "chat", kind: "slack", said: "ok" }),
    one(3, 4, { receiver: "desk", kind: "email", state: "dead", attempts: 8, said: "550 5.1.1 no such mailbox", at_ms: now - MINUTE }),
    one(9, 3, { receiver: "old", kind: "", state: "dead", attempts: 3, said: "", title: "eu-west-1/h07 is silent" }),
  ];
}

function makeShifts(now: number): OnCallShift[] {
  const people = ["ana", "ken", "mia"];
  return ["primary", "secondary"].flatMap((role, r) =>
    [0, 1, 2].map((n) => ({ role, who: people[(n + r) % 3] ?? "", from_ms: now + (n * 7 - 3) * DAY, until_ms: now + (n * 7 + 4) * DAY })),
  );
}

function promise(name: string, more: Partial<SlaPromise>): SlaPromise {
  const none = { scope: "federation", vm: null, target_ppm: null, limit_ms: null, period_days: 30, exclude_maintenance: false, credits: [], standard: true };
  return { name, measure: "availability", ...none, ...more };
}

function makeStandings(vms: Vm[], now: number): SlaStanding[] {
  const vm = vms[7]?.name ?? "";
  const one = (of: SlaPromise, more: Partial<SlaStanding>): SlaStanding => ({
    promise: of,
    from_ms: now - 30 * DAY,
    until_ms: now,
    measured: null,
    budget_minutes: null,
    budget_left_minutes: null,
    unknown_minutes: 0,
    failovers: null,
    verdict: "met",
    note: "",
    worst_tenants: [],
    worst_vms: [],
    evidence: [],
    ...more,
  });
  return [
    one(promise("availability", { target_ppm: 999_500 }), {
      measured: 99.962,
      budget_minutes: 324_000,
      budget_left_minutes: 77_760,
      verdict: "at_risk",
      note: "76 % of what may be down is used up",
      worst_tenants: [{ name: "pay", down_minutes: 410.5, percent: 99.91 }],
      worst_vms: [{ name: vm, down_minutes: 41.2, percent: 99.9046 }],
      evidence: ["15,000 VMs were to be up for 648,000,000 minutes", "1,600 outages, 246,240 minutes together"],
    }),
    one(promise("pay-availability", { scope: "tenant:pay", target_ppm: 999_900, period_days: null, standard: false }), {
      measured: 99.982,
      budget_minutes: 43.2,
      budget_left_minutes: -34.6,
      verdict: "breached",
      worst_vms: [{ name: vm, down_minutes: 41.2, percent: 99.9046 }],
    }),
    one(promise("failover-time", { measure: "failover_time", limit_ms: 120_000 }), { measured: 68_900, failovers: 2, unknown_minutes: null }),
    one(promise("data-loss", { measure: "data_loss", limit_ms: 5000 }), { measured: 0, failovers: 2, unknown_minutes: null }),
    one(promise("latency", { measure: "latency", target_ppm: 990_000, limit_ms: 200 }), { verdict: "no_data", unknown_minutes: null, note: "no traffic was routed" }),
  ];
}

function makeBreaches(vms: Vm[], now: number): SlaBreach[] {
  const outages = vms.slice(3, 7).map((vm, n) => ({
    vm: vm.vm,
    name: vm.name,
    tenant: "pay",
    region: vm.region,
    from_ms: now - 9 * HOUR - n * MINUTE,
    ...(n === 0 ? {} : { until_ms: now - 9 * HOUR + n * 11 * MINUTE }),
    cause: n === 1 ? "maintenance of its host" : "its region was lost",
    ...(n > 1 ? { failover: "failover-001" } : {}),
    ...(n === 1 ? { planned: true } : {}),
  }));
  return [
    {
      breach: "breach-001",
      promise: promise("pay-availability", { scope: "tenant:pay", target_ppm: 999_900, period_days: null, standard: false }),
      from_ms: now - 28 * DAY,
      until_ms: now + 2 * DAY,
      broken_at_ms: now - 8 * HOUR,
      noticed_at_ms: now - 8 * HOUR + MINUTE,
      over_at_ms: null,
      incident: "INC-20261129-002",
      measured: "77.8 minutes down of 43.2 that were allowed",
      outages,
      outages_in_all: 31,
      failovers: [{ failover: "failover-001", from_region: LOST, began_at_ms: now - 9 * HOUR, took_ms: 68_900, lost_ms: null }],
    },
  ];
}

export function makeWatched(vms: Vm[], now: number) {
  return {
    incidents: makeIncidents(now),
    alerts: makeAlerts(now),
    silences: makeSilences(now),
    messages: makeMessages(now),
    shifts: makeShifts(now),
    standings: makeStandings(vms, now),
    breaches: makeBreaches(vms, now),
  };
}
