/** Work of the made-up federation: operations, failovers, moves, windows, drills, events. */

import type { Event, PromisesReport } from "../src/api/region_types";
import type { Drill, Failover, FailoverVm, MaintenanceWindow, Migration, Operation, PhaseName, Vm } from "../src/api/work_types";
import { id, LOST, random, REGIONS } from "./fleet";

const TARGETS = ["us-east-1", "eu-west-1"];

/** When each phase of the running failover began, ms after it started, and when it ended. */
const PHASES: [PhaseName, number, number | null][] = [
  ["detect", -8200, -1900],
  ["agree", -1900, 0],
  ["fence", 0, 9600],
  ["plan", 9600, 10_900],
  ["restart", 10_900, null],
  ["verify", 14_000, null],
];

/** VMs that answer elsewhere, each second. */
const PER_SECOND = 24;

function failoverVm(vm: Vm, n: number, verified: number, next: () => number): FailoverVm {
  const to = TARGETS[n % 2] ?? "";
  const host = `h${String(1 + (n % 70)).padStart(2, "0")}`;
  const base = { vm: vm.vm, name: vm.name, from_host: vm.host };
  if (n % 211 === 210) {
    const reason = "its data may be in BR only (residency), and no other region is there";
    return { ...base, to_region: null, to_host: null, state: "left", reason, took_ms: null, rpo: "none: it did not move" };
  }
  const rpo = n % 3 === 0 ? "at most 12.4 s" : "0 (sync copy)";
  const place = { to_region: to, to_host: host, reason: `score ${(70 + next() * 25).toFixed(1)}: nearest with room, copy of its disk is there`, rpo };
  if (n < verified) return { ...base, ...place, state: "verified", took_ms: 13_000 + Math.floor(n * 38 + next() * 2000) };
  if (n < verified + 40) return { ...base, ...place, state: "running", took_ms: null };
  if (n < verified + 120) return { ...base, ...place, state: "starting", took_ms: null };
  return { ...base, ...place, state: "waiting", took_ms: null };
}

export function makeFailover(vms: Vm[], startedAt: number, now: number): Failover {
  const next = random(23);
  const lost = vms.filter((vm) => vm.region === LOST);
  const verified = Math.min(lost.length, Math.max(0, Math.floor(((now - startedAt - 14_000) / 1000) * PER_SECOND)));
  const moved = lost.map((vm, n) => failoverVm(vm, n, verified, next));
  const left = moved.filter((vm) => vm.state === "left").length;
  const done = moved.filter((vm) => vm.state === "verified").length;
  const over = done + left === lost.length;
  const endedAt = over ? startedAt + 14_000 + (1000 * lost.length) / PER_SECOND : null;
  return {
    failover: "failover-002",
    operation: "op_failover2",
    from: LOST,
    to: TARGETS,
    trigger: "automatic",
    state: over ? "partly" : "running",
    phases: PHASES.map(([name, from, to]) => ({
      name,
      started_at_ms: startedAt + from,
      ended_at_ms: to === null ? endedAt : startedAt + to,
      took_ms: to === null ? (endedAt === null ? null : endedAt - startedAt - from) : to - from,
    })),
    vms: moved,
    total: lost.length,
    done,
    left,
    failed: 0,
    rto_ms: (endedAt ?? now) - startedAt + 8200,
    predicted_rto_ms: 84_000,
    rto_final: over,
    rpo: { acknowledged_writes_lost: 0, evidence: "the log of sa-east-1 up to index 48,112 is held by 3 of 5 regions" },
    cost_change_usd_cents_month: 184_250,
    started_at_ms: startedAt,
    ended_at_ms: endedAt,
    by: "dwcpd",
  };
}

export function makeOldFailover(vms: Vm[], now: number): Failover {
  const startedAt = now - 12 * 86_400_000;
  const rest = makeFailover(vms.filter((vm) => vm.region === LOST).slice(0, 180), startedAt, startedAt + 3_600_000);
  const moved = rest.vms.map((vm) => ({ ...vm, state: "verified" as const, to_region: vm.to_region ?? "us-east-1", to_host: vm.to_host ?? "h03", took_ms: vm.took_ms ?? 15_000 }));
  return { ...rest, failover: "failover-001", operation: "op_failover1", trigger: "manual", by: "ana", state: "done", vms: moved, done: moved.length, left: 0 };
}

export function failoverOperation(failover: Failover): Operation {
  const at = (name: PhaseName) => failover.phases.find((phase) => phase.name === name);
  return {
    operation: failover.operation ?? "op_failover",
    kind: "failover",
    subject: failover.from,
    related: failover.failover,
    state: failover.state === "planned" ? "waiting" : failover.state,
    steps: failover.phases.map((phase) => {
      const many = phase.name === "restart" || phase.name === "verify";
      return {
        name: phase.name,
        state: phase.ended_at_ms !== null ? ("done" as const) : phase.started_at_ms !== null ? ("running" as const) : ("waiting" as const),
        done: many ? failover.done : at(phase.name)?.ended_at_ms ? 1 : 0,
        total: many ? failover.total : 1,
        note: phase.name === "fence" && phase.ended_at_ms ? "leases of 32 hosts ran out" : "",
        took_ms: phase.took_ms === null ? null : Math.round(phase.took_ms),
      };
    }),
    done: failover.done,
    total: failover.total,
    failed: failover.failed,
    left: failover.vms.filter((vm) => vm.state === "left").map((vm) => `${vm.name}: ${vm.reason}`),
    by: failover.by,
    started_at_ms: failover.started_at_ms,
    ended_at_ms: failover.ended_at_ms === null ? null : Math.round(failover.ended_at_ms),
    joined: false,
    revision: 900,
  };
}

export function makeOperations(vms: Vm[], now: number): Operation[] {
  const next = random(31);
  const kinds = ["vm_create", "vm_stop", "vm_start", "migrate", "drain", "vm_delete"];
  return Array.from({ length: 230 }, (_, n): Operation => {
    const kind = kinds[Math.floor(next() * kinds.length)] ?? "vm_create";
    const vm = vms[Math.floor(next() * vms.length)];
    const total = kind === "drain" ? 48 : 1;
    const failed = n % 29 === 7 ? 1 : 0;
    const started = now - 60_000 - n * 190_000;
    const took = 2000 + Math.floor(next() * 30_000);
    return {
      operation: id("op_", next),
      kind,
      subject: kind === "drain" ? "eu-west-1/h12" : (vm?.name ?? "vm"),
      related: kind === "drain" ? null : (vm?.vm ?? null),
      state: failed ? "failed" : n % 41 === 3 ? "partly" : "done",
      steps: [
        { name: "place", state: "done", done: total, total, note: "", took_ms: 3 },
        {
          name: "start",
          state: failed ? "failed" : "done",
          done: total - failed,
          total,
          note: failed ? "eu-west-1/h07 has not been heard for 41 s" : "",
          took_ms: took,
        },
      ],
      done: total - failed,
      total,
      failed,
      left: failed ? ["eu-west-1/h07 has not been heard for 41 s; it is tried again when it is back"] : [],
      by: n % 3 === 0 ? "ci" : "ana",
      started_at_ms: started,
      ended_at_ms: started + took,
      joined: false,
      revision: 500 + n,
    };
  });
}

export function makeMigrations(vms: Vm[], now: number): Migration[] {
  const next = random(37);
  const moving = vms.filter((vm) => vm.state === "moving").slice(0, 60);
  return moving.map((vm, n): Migration => {
    const over = n >= 6;
    const total = vm.memory_mib * 1024 * 1024;
    const asked = now - 20_000 - n * 60_000;
    return {
      migration: id("mig_", next),
      vm: vm.vm,
      name: vm.name,
      kind: "live",
      from: vm.region,
      from_host: vm.host ?? "h01",
      to: REGIONS.find((one) => one.region !== vm.region)?.region ?? "",
      to_host: "h17",
      state: over ? (n % 9 === 0 ? "failed" : "done") : n > 3 ? "queued" : "running",
      stage: over ? null : n > 3 ? "queued" : "memory",
      bytes_done: over || n > 3 ? null : Math.floor(total * (0.2 + 0.15 * n)),
      bytes_total: over || n > 3 ? null : total,
      rate_bytes_per_s: over || n > 3 ? null : 82_000_000,
      dirty_bytes_per_s: over || n > 3 ? null : 4_000_000,
      throttle_percent: over || n > 3 ? null : 0,
      left_ms: over || n > 3 ? null : Math.floor(total * 0.5 / 82_000),
      took_ms: over ? 18_000 + n * 300 : null,
      downtime_ms: over && n % 9 !== 0 ? 120 + n : null,
      max_downtime_ms: 300,
      operation: id("op_", next),
      reason: over && n % 9 === 0 ? "its target's disk is full: 3 GiB free of 8192" : "rebalance: us-east-1 is 12 % fuller than the mean",
      asked_at_ms: asked,
      started_at_ms: n > 3 && !over ? null : asked + 400,
      ended_at_ms: over ? asked + 18_400 + n * 300 : null,
    };
  });
}

export function makeWindows(now: number): MaintenanceWindow[] {
  const hour = 3_600_000;
  const window = (n: number, more: Partial<MaintenanceWindow>): MaintenanceWindow => ({
    window: `window-00${n}`,
    region: "au-southeast-1",
    host: null,
    state: "planned",
    starts_at_ms: now,
    ends_at_ms: now,
    reason: "",
    by: "ana",
    no_placement: false,
    notice: "planned",
    cancelled_at_ms: null,
    revision: 300 + n,
    ...more,
  });
  return [
    window(3, { state: "running", starts_at_ms: now - hour, ends_at_ms: now + hour, reason: "new top-of-rack switches", notice: "started", no_placement: true }),
    window(4, { region: "eu-west-1", host: "h07", starts_at_ms: now + 5 * hour, ends_at_ms: now + 7 * hour, reason: "replace a DIMM", notice: "24 hours", by: "ken" }),
    window(5, { region: "us-east-1", starts_at_ms: now + 90 * hour, ends_at_ms: now + 92 * hour, reason: "firmware of the NVMe disks, one host after the other" }),
    window(1, { state: "over", starts_at_ms: now - 200 * hour, ends_at_ms: now - 198 * hour, reason: "kernel update", notice: "ended" }),
    window(2, { state: "cancelled", starts_at_ms: now - 50 * hour, ends_at_ms: now - 48 * hour, reason: "kernel update", cancelled_at_ms: now - 60 * hour }),
  ];
}

export function makeDrills(vms: Vm[], now: number): Drill[] {
  const startedAt = now - 900_000;
  const lost = vms.filter((vm) => vm.region === "ap-south-1").slice(0, 40);
  const cut = startedAt + 60_000;
  const times = [
    { moment: "cut", at_ms: cut, after_ms: 0, note: "the copies were stopped without notice" },
    { moment: "detected", at_ms: cut + 6100, after_ms: 6100, note: "no beat for 6 s" },
    { moment: "agreed", at_ms: cut + 7900, after_ms: 7900, note: "4 of 5 regions" },
    { moment: "fenced", at_ms: cut + 17_400, after_ms: 17_400, note: "waited for leases of 10 s" },
    { moment: "planned", at_ms: cut + 17_900, after_ms: 17_900, note: "" },
    { moment: "restarted", at_ms: cut + 22_300, after_ms: 22_300, note: "" },
    { moment: "verified", at_ms: cut + 27_800, after_ms: 27_800, note: "the last of 40 answered" },
  ] satisfies Drill["times"];
  const done: Drill = {
    drill: "drill-002",
    region: "ap-south-1",
    mode: "isolated",
    state: "done",
    by: "ken",
    started_at_ms: startedAt,
    ends_by_ms: startedAt + 1_800_000,
    measured_at_ms: cut + 27_800,
    ended_at_ms: null,
    restoring: false,
    times,
    vms: lost.map((vm, n) => ({
      of: vm.vm,
      vm: vm.vm.replace("vm_", "vm_copy"),
      name: `drill-002-${vm.name}`,
      from_host: vm.host,
      to_region: n % 2 ? "eu-west-1" : "us-east-1",
      to_host: `h${String(10 + n).padStart(2, "0")}`,
      state: "verified",
      reason: "nearest with room",
      lost: true,
      took_ms: 19_000 + n * 210,
      disk: n % 3 !== 0,
      records_written: n % 3 !== 0 ? 800 + n : null,
      records_kept: n % 3 !== 0 ? 800 + n : null,
    })),
    left_out: 2760,
    lost: lost.length,
    migrated: lost.length,
    success_percent: 100,
    rto_ms: 27_800,
    rpo: { records_lost: 0, evidence: "26 guests counted 21,437 records and had all of them" },
    result: "",
    failover: null,
  };
  return [
    done,
    {
      ...done,
      drill: "drill-001",
      region: "sa-east-1",
      state: "restored",
      by: "ana",
      started_at_ms: startedAt - 9e8,
      ends_by_ms: startedAt - 9e8 + 1_800_000,
      ended_at_ms: startedAt - 9e8 + 400_000,
      migrated: 38,
      success_percent: 95,
      rpo: { records_lost: null, evidence: "nobody counted" },
      result: "ended by ana",
      vms: done.vms.map((vm, n) => (n < 2 ? { ...vm, state: "left", to_region: null, to_host: null, took_ms: null, reason: "no room for 16 GiB" } : vm)),
    },
  ];
}

export function makeEvents(vms: Vm[], now: number): Event[] {
  const next = random(41);
  const first: [string, Event["severity"], string, string, string][] = [
    [LOST, "critical", "region_lost", LOST, "sa-east-1 is lost: 4 of 5 regions have not heard of it for 8.2 s"],
    [LOST, "warning", "failover_started", "failover-002", "failover-002 of sa-east-1 began: 1,600 VMs to us-east-1, eu-west-1"],
    ["eu-west-1", "warning", "host_silent", "h07", "eu-west-1/h07 has not been heard for 41 s"],
    ["au-southeast-1", "info", "maintenance_started", "window-003", "window-003 of au-southeast-1 began: new top-of-rack switches"],
  ];
  const event = (n: number, at: number, region: string | null, severity: Event["severity"], kind: string, subject: string, message: string): Event => ({
    id: `ev-1-${9000 - n}`,
    at_ms: at,
    region,
    severity,
    kind,
    subject,
    message,
    by: "dwcpd",
    request_id: null,
    before: null,
    after: null,
    reason: null,
    muted_by: null,
  });
  const recent = first.map(([region, severity, kind, subject, message], n) => event(n, now - 20_000 - n * 37_000, region, severity, kind, subject, message));
  const older = Array.from({ length: 1200 }, (_, n): Event => {
    const vm = vms[Math.floor(next() * vms.length)];
    const at = now - 200_000 - n * 41_000;
    const one = event(n + 10, at, vm?.region ?? null, n % 37 === 0 ? "warning" : "info", "vm_started", vm?.vm ?? "", `${vm?.name} runs on ${vm?.region}/${vm?.host}`);
    if (n % 11 !== 0) return one;
    return {
      ...one,
      kind: "placement_disabled",
      message: `placement in ${vm?.region} is off`,
      by: "ana",
      request_id: id("req_", next),
      before: "on",
      after: "off",
      reason: "the new hosts are not burnt in yet",
      muted_by: n % 22 === 0 ? "window-001" : null,
    };
  });
  return [...recent, ...older];
}

export function makePromises(): Omit<PromisesReport, "as_of"> {
  return {
    rto_target_ms: 120_000,
    kept: false,
    assumed: ["boot time of VMs in au-southeast-1: 20 s"],
    regions: REGIONS.map((seed, i) => ({
      region: seed.region,
      vms: seed.region === LOST ? 0 : seed.vms - 60,
      rto_ms: seed.region === LOST ? null : 74_000 + 16_000 * i,
      steps: [
        { step: "detect", at_most_ms: 8000, from: "beats each 500 ms, lost after 8 s" },
        { step: "fence", at_most_ms: 10_000, from: "leases of 10 s" },
        { step: "boot", at_most_ms: 56_000 + 16_000 * i, from: `${seed.vms} VMs at 24 a second` },
      ],
      rpo_ms: seed.region === LOST ? null : 0,
      disk_rpo_ms: seed.region === LOST ? null : 31_000 + i,
      unprotected: Math.floor(seed.vms * 0.55),
      kept: i < 3,
      broken: i < 3 ? [] : seed.region === LOST ? ["the region is lost already"] : ["138 s is more than 120 s: 2,500 VMs boot at 24 a second"],
      helps: i < 3 || seed.region === LOST ? [] : ["more hosts in eu-west-1: each starts 2 VMs at once"],
      boot_ms: 4200,
      boots_measured: i === 4 ? 0 : 1200,
    })),
  };
}
