/** A federation of five regions and 15,000 VMs, made up: the same at every start. */

import type { Host, LinkStatus, RegionSummary } from "../src/api/region_types";
import type { Protection, Vm, VmState } from "../src/api/work_types";

/** Numbers that look random and are always the same (mulberry32, public domain). */
export function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export interface RegionSeed {
  region: string;
  city: string;
  at: [number, number];
  vms: number;
  hosts: number;
  zones: string[];
}

export const REGIONS: RegionSeed[] = [
  { region: "us-east-1", city: "Northern Virginia", at: [38.9, -77.4], vms: 4200, hosts: 84, zones: ["a", "b", "c"] },
  { region: "eu-west-1", city: "Dublin", at: [53.3, -6.3], vms: 3900, hosts: 78, zones: ["a", "b", "c"] },
  { region: "ap-south-1", city: "Mumbai", at: [19.1, 72.9], vms: 2800, hosts: 56, zones: ["a", "b"] },
  { region: "sa-east-1", city: "São Paulo", at: [-23.5, -46.6], vms: 1600, hosts: 32, zones: ["a", "b"] },
  { region: "au-southeast-1", city: "Sydney", at: [-33.9, 151.2], vms: 2500, hosts: 50, zones: ["a", "b"] },
];

/** The region that does not answer. */
export const LOST = "sa-east-1";
export const LOST_FOR_MS = 252_000;

const KINDS = ["web", "api", "db", "cache", "worker", "queue", "search", "mail", "ci", "edge"];
const TEAMS = ["payments", "identity", "catalogue", "analytics", "platform"];
const SIZES: [number, number, number][] = [
  [1, 1024, 10],
  [2, 2048, 20],
  [2, 4096, 40],
  [4, 8192, 80],
  [8, 16384, 200],
];

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

export function id(prefix: string, next: () => number, length = 13): string {
  return prefix + Array.from({ length }, () => ALPHABET[Math.floor(next() * 32)]).join("");
}

function pick<T>(list: readonly T[], next: () => number): T {
  const found = list[Math.floor(next() * list.length)];
  if (found === undefined) throw new Error("an empty list has nothing to pick");
  return found;
}

function stateOf(region: string, next: () => number): [VmState, string] {
  if (region === LOST) return ["unknown", ""];
  const roll = next();
  if (roll < 0.955) return ["running", ""];
  if (roll < 0.975) return ["stopped", ""];
  if (roll < 0.983) return ["starting", ""];
  if (roll < 0.99) return ["moving", ""];
  if (roll < 0.996) return ["waiting", "no host has 16 GiB of memory free: the best has 11 GiB (eu-west-1/h07)"];
  return ["failed", "its hypervisor ended 3 times in 60 s: exit status 1"];
}

function protectionOf(region: string, now: number, next: () => number): Protection | null {
  const roll = next();
  if (roll < 0.55) return null;
  const sync = roll > 0.9;
  const behind = next() < 0.03;
  const elsewhere = REGIONS.filter((one) => one.region !== region);
  return {
    wanted: { mode: sync ? "sync" : "async", interval_ms: sync ? null : 30_000, on_replica_loss: "stop", region: null },
    state: behind ? "degraded" : "protected",
    since_at_ms: now - Math.floor(next() * 9e8),
    region: pick(elsewhere, next).region,
    host: `h${String(1 + Math.floor(next() * 30)).padStart(2, "0")}`,
    epoch: 1,
    point_at_ms: now - Math.floor(next() * 30_000),
    would_lose_ms: sync && !behind ? 0 : Math.floor(next() * 34_000),
    reason: behind ? "its copy's host has not been heard for 41 s" : "",
  };
}

function policy(): Vm["policy"] {
  return {
    regions_allow: [],
    regions_deny: [],
    zones: [],
    host_labels: {},
    compliance: [],
    residency: [],
    affinity: [],
    anti_affinity: [],
    max_latency: null,
    cost_limit_usd: null,
    failover: "restart",
    tenant: null,
    project: null,
  };
}

function vm(seed: RegionSeed, n: number, now: number, next: () => number): Vm {
  const kind = pick(KINDS, next);
  const [vcpus, memory_mib, disk_gib] = pick(SIZES, next);
  const [state, reason] = stateOf(seed.region, next);
  const runs = state === "running";
  const placed = state !== "waiting";
  const host = 1 + (n % seed.hosts);
  return {
    vm: id("vm_", next),
    name: `${kind}-${String(n).padStart(4, "0")}-${seed.region.slice(0, 2)}`,
    state,
    wanted_running: state !== "stopped",
    region: seed.region,
    zone: placed ? `${seed.region}${seed.zones[host % seed.zones.length]}` : null,
    host: placed ? `h${String(host).padStart(2, "0")}` : null,
    generation: 1 + Math.floor(next() * 4),
    image: pick(["debian-12", "alpine-3.20", "postgres-16"], next),
    image_digest: null,
    vcpus,
    memory_mib,
    disk_gib,
    priority: pick([25, 50, 50, 50, 75, 100], next),
    policy: policy(),
    labels: { team: pick(TEAMS, next), tier: kind },
    network: "user",
    probe: { kind: "http", port: 80, path: "/health" },
    address: runs ? `http://10.${seed.hosts}.${n >> 8}.${n & 255}:8080/` : null,
    healthy: runs ? next() > 0.004 : null,
    reason,
    cost_usd_month: seed.region === "ap-south-1" ? null : Math.round((vcpus * 11 + memory_mib / 250 + disk_gib / 12) * 100) / 100,
    created_at_ms: now - Math.floor(next() * 3e10),
    revision: 1000 + n,
    protection: protectionOf(seed.region, now, next),
    drill: null,
  };
}

export function makeVms(now: number): Vm[] {
  const next = random(7);
  const vms = REGIONS.flatMap((seed) => Array.from({ length: seed.vms }, (_, n) => vm(seed, n, now, next)));
  return vms.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

export function makeHosts(vms: Vm[]): Host[] {
  const next = random(11);
  const on = new Map<string, Vm[]>();
  for (const one of vms) {
    const key = `${one.region}/${one.host}`;
    on.set(key, [...(on.get(key) ?? []), one]);
  }
  return REGIONS.flatMap((seed) =>
    Array.from({ length: seed.hosts }, (_, n): Host => {
      const host = `h${String(n + 1).padStart(2, "0")}`;
      const here = on.get(`${seed.region}/${host}`) ?? [];
      const sum = (of: (vm: Vm) => number) => here.reduce((total, one) => total + of(one), 0);
      const lost = seed.region === LOST;
      const silent = !lost && seed.region === "eu-west-1" && n === 6;
      const usage = (capacity: number, allocated: number) => ({
        capacity: lost ? null : capacity,
        allocated: lost ? null : Math.min(capacity, allocated),
        used_percent: lost || silent ? null : Math.round(1000 * (0.2 + 0.5 * next())) / 10,
      });
      return {
        host,
        region: seed.region,
        zone: `${seed.region}${seed.zones[(n + 1) % seed.zones.length]}`,
        state: lost ? "unknown" : silent ? "silent" : n === 11 ? "draining" : "up",
        labels: { rack: `r${1 + (n % 8)}`, disk: "nvme" },
        lease_left_ms: lost ? null : silent ? -38_000 : 4000 + Math.floor(next() * 5000),
        cpu: usage(256, sum((one) => one.vcpus)),
        memory: usage(524_288, sum((one) => one.memory_mib)),
        storage: usage(8192, sum((one) => one.disk_gib)),
        vms: here.length,
        version: lost ? null : "0.9.0",
        silent_ms: lost ? LOST_FOR_MS : silent ? 41_000 : Math.floor(next() * 900),
        maintenance: null,
        revision: 100 + n,
      };
    }),
  ).sort((a, b) => (`${a.region}/${a.host}` < `${b.region}/${b.host}` ? -1 : 1));
}

export function makeRegions(hosts: Host[], now: number): RegionSummary[] {
  return REGIONS.map((seed, i): RegionSummary => {
    const lost = seed.region === LOST;
    const mine = hosts.filter((host) => host.region === seed.region);
    const usage = (of: "cpu" | "memory" | "storage", used: number) => {
      const sum = (field: "capacity" | "allocated") => mine.reduce((total, host) => total + (host[of][field] ?? 0), 0);
      return { capacity: sum("capacity"), allocated: sum("allocated"), used_percent: lost ? null : used };
    };
    const degraded = seed.region === "eu-west-1";
    return {
      region: seed.region,
      number: i + 1,
      lifecycle: lost ? "lost" : "active",
      health: {
        score: lost ? null : degraded ? 78 : 100 - i,
        state: lost ? "unknown" : degraded ? "degraded" : "healthy",
        deductions: degraded
          ? [
              { points: 12, cause: "1 of 78 hosts is silent: h07, 41 s", muted_by: null },
              { points: 10, cause: "memory promised 91 % of what is there", muted_by: null },
            ]
          : i === 4
            ? [{ points: 4, cause: "link to sa-east-1 loses 100 %", muted_by: "window-003" }]
            : [],
        maintenance: i === 4 ? { window: "window-003", until_at_ms: now + 3_600_000, reason: "new top-of-rack switches" } : null,
      },
      vms: seed.vms,
      hosts: seed.hosts,
      cpu: usage("cpu", 41.5 + i),
      memory: usage("memory", 58.2 - i),
      storage: usage("storage", 33.1 + 2 * i),
      traffic_percent: lost ? 0 : 100,
      replication_lag_ms: lost ? LOST_FOR_MS : 140 + 60 * i,
      leader: lost ? "us-east-1" : seed.region,
      version: lost ? null : "0.9.0",
      placement: lost
        ? { enabled: false, since_at_ms: now - LOST_FOR_MS, by: "dwcpd", reason: "the region is lost" }
        : { enabled: true, since_at_ms: null, by: null, reason: "" },
      age_ms: lost ? LOST_FOR_MS : i === 0 ? 0 : 120 + 55 * i,
      revision: 40 + i,
    };
  });
}

/** Round trips of the published kind, by great circle. */
export function makeLinks(): LinkStatus[] {
  const rad = (deg: number) => (deg * Math.PI) / 180;
  return REGIONS.flatMap((from) =>
    REGIONS.filter((to) => to !== from).map((to): LinkStatus => {
      const [a, b, c, d] = [rad(from.at[0]), rad(from.at[1]), rad(to.at[0]), rad(to.at[1])];
      const angle = Math.acos(Math.sin(a) * Math.sin(c) + Math.cos(a) * Math.cos(c) * Math.cos(b - d));
      const rtt = Math.round((angle * 6371 * 1.6 * 10) / 100) / 10;
      const gone = from.region === LOST || to.region === LOST;
      return {
        from: from.region,
        to: to.region,
        up: gone ? (from.region === LOST ? null : false) : true,
        rtt_p50_ms: gone ? null : rtt,
        rtt_p99_ms: gone ? null : Math.round(rtt * 1.18 * 10) / 10,
        loss_percent: gone ? (from.region === LOST ? null : 100) : rtt > 150 ? 0.4 : 0.02,
        throughput_mbit_s: gone ? null : Math.round(4000 / (1 + rtt / 40)),
        age_ms: from.region === LOST ? LOST_FOR_MS : 800,
      };
    }),
  );
}
