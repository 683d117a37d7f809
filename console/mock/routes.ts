/** What the mock answers: the shapes of the real API, the paging of the real API, and enough of its refusals. */

import type { Freeze, RegionSummary } from "../src/api/region_types";
import type { Failover, Operation, Role, Vm } from "../src/api/work_types";
import { type Asked, asOf, need, newest, page, Refused } from "./answers";
import { id, LOST, LOST_FOR_MS, makeHosts, makeLinks, makeRegions, makeVms, random, REGIONS } from "./fleet";
import { range } from "./series";
import { makeWatched } from "./watch";
import { WATCHED } from "./watch_routes";
import {
  failoverOperation,
  makeDrills,
  makeEvents,
  makeFailover,
  makeMigrations,
  makeOldFailover,
  makeOperations,
  makePromises,
  makeWindows,
} from "./work";

/** Tokens of the mock, by role. */
export const TOKENS: Record<string, Role> = { "mock-viewer": "viewer", "mock-operator": "operator", "mock-admin": "admin" };

export function makeState(now: number) {
  const vms = makeVms(now);
  const hosts = makeHosts(vms);
  return {
    began: now,
    vms,
    hosts,
    regions: makeRegions(hosts, now),
    links: makeLinks(),
    failoverAt: now - 42_000,
    oldFailover: makeOldFailover(vms, now),
    operations: makeOperations(vms, now),
    migrations: makeMigrations(vms, now),
    windows: makeWindows(now),
    drills: makeDrills(vms, now),
    events: makeEvents(vms, now),
    ...makeWatched(vms, now),
    freeze: { state: "active", local: null, since_at_ms: null, by: null, reason: "", revision: 7 } as Omit<Freeze, "as_of">,
    /** No series, as a server without telemetry. */
    noSeries: false,
    /** Every region answers a query of series. */
    noWarnings: true,
  };
}

export type State = ReturnType<typeof makeState>;

function federation(state: State) {
  const { regions } = state;
  const many = (name: string) => regions.filter((one) => one.health.state === name).length;
  return {
    federation: "atlas",
    answered_by: "us-east-1",
    regions,
    totals: {
      regions: regions.length,
      healthy: many("healthy"),
      degraded: many("degraded"),
      unhealthy: many("unhealthy"),
      unknown: many("unknown"),
      hosts: state.hosts.length,
      vms: state.vms.length,
      vms_unknown_regions: 0,
    },
    placement: { p50_ms: 3.2, p95_ms: 8.9, p99_ms: 14.6 },
    state_sync: { p50_ms: 96, p95_ms: 188, p99_ms: 231 },
    routing: { p50_ms: null, p95_ms: null, p99_ms: null },
    sla_percent: 99.962,
    open_incidents: state.incidents.filter(({ incident }) => incident.status === "open" || incident.status === "investigating").length,
    freeze: state.freeze.state,
    survivability: { region: "eu-west-1", unplaced: 212, age_ms: 4100 },
    leader: "us-east-1",
    as_of: asOf(),
  };
}

function regionOf(state: State, name: string): RegionSummary {
  const found = state.regions.find((one) => one.region === name);
  if (found) return found;
  throw new Refused({
    status: 404,
    title: `there is no region ${name}`,
    code: "DWCP-R0011",
    cause: [`regions are ${REGIONS.map((one) => one.region).join(", ")}`],
    next: "nothing was changed",
    try: ["dwcp-cli federation region list"],
  });
}

function vmOf(state: State, name: string): Vm {
  const found = state.vms.find((one) => one.vm === name || one.name === name);
  if (found) return found;
  throw new Refused({ status: 404, title: `there is no VM ${name}`, code: "DWCP-R0012", cause: [], next: "nothing was changed", try: ["dwcp-cli vm list"] });
}

function regionStatus(state: State, name: string) {
  const summary = regionOf(state, name);
  const lost = name === LOST;
  const part = (component: string, replicas: number) => ({ component, replicas, up: lost ? null : replicas, version: lost ? null : "0.9.0" });
  const hosts = state.hosts.filter((host) => host.region === name);
  return {
    summary,
    zones: (REGIONS.find((one) => one.region === name)?.zones ?? []).map((zone) => ({ zone: `${name}${zone}`, hosts: Math.floor(hosts.length / 2) })),
    hosts,
    components: [part("federation-controller", 2), part("state-manager", 1), part("monitor", 1), part("agent", hosts.length)],
    links: state.links.filter((link) => link.from === name || link.to === name),
    recent_events: state.events.filter((event) => event.region === name).slice(0, 12),
    as_of: asOf().filter((line) => line.region === name || line.region === "federation"),
  };
}

function failovers(state: State): Failover[] {
  return [makeFailover(state.vms, state.failoverAt, Date.now()), state.oldFailover];
}

function operations(state: State): Operation[] {
  return [...failovers(state).slice(0, 1).map(failoverOperation), ...state.operations];
}

function lagMatrix() {
  const names = REGIONS.map((one) => one.region);
  const pairs = names.flatMap((from, i) =>
    names
      .filter((to) => to !== from)
      .map((to, j) => {
        const gone = to === LOST;
        return {
          from,
          to,
          entries: gone ? null : from === "ap-south-1" && to === "au-southeast-1" ? 412 : j % 3,
          lag_ms: gone ? null : from === "ap-south-1" && to === "au-southeast-1" ? 2300 : 90 + 40 * i + 30 * j,
          sync_p50_ms: gone ? null : 96 + 8 * j,
          sync_p99_ms: gone ? null : 210 + 12 * j,
        };
      }),
  );
  return { regions: names, pairs, as_of: asOf() };
}

function queueDepth() {
  const queues = REGIONS.filter((one) => one.region !== "us-east-1").map((one) => ({
    from: "us-east-1",
    to: one.region,
    entries: one.region === LOST ? 18_240 : 0,
    bytes: one.region === LOST ? 7_340_032 : 0,
    oldest_ms: one.region === LOST ? LOST_FOR_MS : null,
  }));
  return { queues, as_of: asOf() };
}

function replication() {
  return {
    replication_workers: 4,
    compression: true,
    sync_interval_ms: 500,
    regions: REGIONS.map((one, i) => ({
      region: one.region,
      append_messages: one.region === LOST ? null : 128,
      compression: one.region === LOST ? null : true,
      framed_bytes: one.region === LOST ? null : 81_000_000_000 + i * 1e9,
      sent_bytes: one.region === LOST ? null : 24_000_000_000 + i * 4e8,
      soft_state_age_ms: one.region === LOST ? LOST_FOR_MS : 300 + i,
    })),
    revision: 12,
    as_of: asOf(),
  };
}

function settings() {
  const regions = REGIONS.map((seed) => ({
    region: seed.region,
    state: "active",
    placement: true,
    traffic_percent: 100,
    priority: 50,
    display_name: seed.city,
    zones: seed.zones.map((zone) => seed.region + zone),
    latitude: seed.at[0],
    longitude: seed.at[1],
    max_vms: 0,
    compliance: [],
    jurisdiction: "",
    vcpu_usd_hour: 0.02,
    memory_gib_usd_hour: 0.004,
    disk_gib_usd_hour: 0.0001,
    endpoints: [],
    decommission_at_ms: null,
    controllers: null,
  }));
  const policies = {
    auto_failover: true,
    loss_after_ms: 8000,
    return_after_ms: 60_000,
    failovers_per_hour: 3,
    cpu_overcommit_percent: 400,
    memory_overcommit_percent: 100,
    rto_target_ms: 120_000,
  };
  const controller = { placement_cache_ttl_ms: 1000, parallel_scoring: true, profile: "balanced", weights: {} };
  return {
    federation: "atlas",
    regions,
    hosts: [],
    policies,
    controller,
    replication: { replication_workers: 4, compression: true, sync_interval_ms: 500 },
    freeze: "active",
    backups: null,
    images: [],
    windows: [],
    protections: [],
    as_of: asOf(),
  };
}

function explain(state: State, name: string) {
  const vm = vmOf(state, name);
  const factor = (factorName: string, value: number, weight: number) => ({ name: factorName, value, weight, from: "measured" });
  return {
    vm: vm.name,
    candidates: [
      {
        region: vm.region,
        zone: vm.zone,
        host: vm.host,
        score: 87.4,
        factors: [factor("room", 0.82, 0.4), factor("cost", 0.71, 0.3), factor("latency", 0.99, 0.3)],
        ruled_out: [],
      },
      { region: "ap-south-1", zone: null, host: "h09", score: 61.2, factors: [factor("room", 0.9, 0.4), factor("latency", 0.2, 0.3)], ruled_out: [] },
      { region: LOST, zone: null, host: null, score: null, factors: [], ruled_out: ["the region is lost"] },
    ],
    chosen: [],
    reasons: [],
    took_us: null,
    as_of: asOf(),
  };
}

function verdict() {
  return {
    state: "unreachable",
    regions: REGIONS.map((one) => ({
      region: one.region,
      state: one.region === LOST ? "unreachable" : "equal",
      silent_ms: one.region === LOST ? LOST_FOR_MS : null,
      groups: one.region === LOST ? 0 : 6,
      of_groups: 6,
      records: one.region === LOST ? null : 48_211,
      digest: one.region === LOST ? null : "9f86d081884c7d659a2feaa0c55ad015",
      differs: [],
      left_out: one.region === LOST ? [{ group: "sa-east-1", why: "it does not answer" }] : [],
      store: null,
    })),
    groups: [],
    took_ms: 1840,
    as_of: asOf(),
  };
}

function probes(state: State, name: string) {
  const summary = regionOf(state, name);
  return {
    region: name,
    verdict: name === LOST ? "down" : summary.health.state,
    health: summary.health,
    probes: REGIONS.filter((one) => one.region !== name).map((one) => ({
      from: one.region,
      verdict: one.region === LOST ? "unknown" : name === LOST ? "no_answer" : "answers",
      rtt_ms: one.region === LOST || name === LOST ? null : 92,
      silent_ms: name === LOST ? LOST_FOR_MS : 300,
      detail: one.region === LOST ? "it could not be asked" : name === LOST ? "nothing came back within 2000 ms" : "answers",
    })),
    as_of: asOf(),
  };
}

export type Handler = (state: State, asked: Asked, part: string) => unknown;

/** A change of a region: applied unless it is a dry run, refused when the region changed meanwhile. */
function change(state: State, asked: Asked, name: string, apply: (region: RegionSummary) => void) {
  need(asked, "operator");
  const summary = regionOf(state, name);
  const expected = asked.body["expected_revision"];
  if (expected !== undefined && expected !== summary.revision) {
    throw new Refused({
      status: 409,
      title: `region ${name} has changed since it was read`,
      code: "DWCP-R0040",
      cause: [`revision ${String(expected)} was expected, it is ${summary.revision}`],
      next: "nothing was changed",
      try: [`dwcp-cli federation region status --region ${name}`],
    });
  }
  const next = structuredClone(summary);
  apply(next);
  if (asked.body["dry_run"] !== true) {
    next.revision += 1;
    state.regions = state.regions.map((one) => (one.region === name ? next : one));
  }
  return { region: next, changed: true, notes: ["VMs that run there go on"], warnings: name === "us-east-1" ? ["212 VMs would have no place if eu-west-1 were lost"] : [] };
}

function moves(state: State, asked: Asked, name: string) {
  need(asked, "operator");
  const vms = state.vms.filter((vm) => vm.region === name).slice(0, 120);
  const planned = vms.map((vm, n) => ({
    vm: vm.vm,
    name: vm.name,
    from: vm.region,
    from_host: vm.host ?? "",
    to: n % 40 === 39 ? null : "eu-west-1",
    to_host: n % 40 === 39 ? null : `h${String(1 + (n % 70)).padStart(2, "0")}`,
    reason: n % 40 === 39 ? "no region that its rules allow has room" : "nearest with room",
  }));
  const dry = asked.body["dry_run"] === true;
  const [operation] = dry ? [] : state.operations;
  return { operations: operation ? [operation] : [], planned, left: planned.filter((one) => one.to === null).length, warnings: [], notes: [], as_of: asOf() };
}

function startFailover(state: State, asked: Asked) {
  need(asked, "operator");
  const from = String(asked.body["from"] ?? "");
  regionOf(state, from);
  if (asked.body["dry_run"] === true) {
    const plan = makeFailover(state.vms.map((vm) => (vm.region === from ? { ...vm, region: LOST } : vm)).filter((vm) => vm.region === LOST), Date.now(), Date.now());
    return {
      failover: { ...plan, failover: "failover-plan", operation: null, from, state: "planned", trigger: "manual", rto_ms: null, left: 19, by: "ana" },
      operation: null,
      as_of: asOf(),
    };
  }
  state.failoverAt = Date.now();
  const [failover] = failovers(state);
  if (!failover) throw new Refused({ status: 500, title: "no failover" });
  return { failover: { ...failover, from }, operation: failoverOperation(failover), as_of: asOf() };
}

const TABLE: [string, string, Handler][] = [
  ["GET", "/v1/version", () => ({ version: "0.9.0", api: "v1", state_format: 4, federation: "atlas", region: "us-east-1" })],
  ["GET", "/v1/federation", federation],
  ["GET", "/v1/settings", settings],
  ["GET", "/v1/freeze", (state) => ({ ...state.freeze, as_of: asOf().slice(0, 1) })],
  ["GET", "/v1/promises", () => ({ ...makePromises(), as_of: asOf() })],
  ["GET", "/v1/state/lag-matrix", lagMatrix],
  ["GET", "/v1/state/queue-depth", queueDepth],
  ["GET", "/v1/state/replication", replication],
  ["POST", "/v1/state/verify-sync", verdict],
  ["GET", "/v1/network/latency-matrix", (state) => ({ regions: REGIONS.map((one) => one.region), links: state.links, as_of: asOf() })],
  ["GET", "/v1/regions/*", (state, _, name) => regionStatus(state, name)],
  ["POST", "/v1/regions/*/health-check", (state, _, name) => probes(state, name)],
  ["POST", "/v1/regions/*/disable-placement", (s, a, n) => change(s, a, n, (r) => (r.placement = { enabled: false, since_at_ms: Date.now(), by: "ana", reason: String(a.body["reason"] ?? "") }))],
  ["POST", "/v1/regions/*/enable-placement", (s, a, n) => change(s, a, n, (r) => (r.placement = { enabled: true, since_at_ms: Date.now(), by: "ana", reason: String(a.body["reason"] ?? "") }))],
  ["POST", "/v1/regions/*/disable", (s, a, n) => change(s, a, n, (r) => (r.lifecycle = "disabled"))],
  ["POST", "/v1/regions/*/enable", (s, a, n) => change(s, a, n, (r) => (r.lifecycle = "active"))],
  ["POST", "/v1/regions/*/traffic", (s, a, n) => change(s, a, n, (r) => (r.traffic_percent = Number(a.body["percent"])))],
  ["POST", "/v1/regions/*/drain", moves],
  ["POST", "/v1/regions/*/failback", moves],
  ["POST", "/v1/hosts/*/drain", (s, a, n) => moves(s, a, n.split("/")[0] ?? "")],
  ["GET", "/v1/vms", listVms],
  ["GET", "/v1/vms/*", (state, _, name) => ({ vm: vmOf(state, name), as_of: asOf() })],
  ["GET", "/v1/vms/*/explain", (state, _, name) => explain(state, name)],
  ["POST", "/v1/vms/*/stop", changeVm],
  ["POST", "/v1/vms/*/start", changeVm],
  ["POST", "/v1/vms/*/restart", changeVm],
  ["DELETE", "/v1/vms/*", changeVm],
  ["GET", "/v1/hosts", (state, { query }) => page(state.hosts, (host) => `${host.region}/${host.host}`, query)],
  ["GET", "/v1/hosts/*", readHost],
  ["GET", "/v1/operations", listOperations],
  ["GET", "/v1/operations/*", readOperation],
  ["POST", "/v1/operations/*/cancel", (s, a, n) => (need(a, "operator"), { ...operations(s).find((one) => one.operation === n), state: "cancelling" })],
  ["GET", "/v1/failovers", (state, { query }) => page(failovers(state), (one) => newest(one.started_at_ms, one.failover), query)],
  ["GET", "/v1/failovers/*", readFailover],
  ["POST", "/v1/failovers", startFailover],
  ["GET", "/v1/migrations", (s, { query }) => page(s.migrations.filter((one) => query.get("open") !== "true" || one.ended_at_ms === null), (one) => newest(one.asked_at_ms, one.vm), query)],
  ["GET", "/v1/maintenance", (s, { query }) => page(s.windows.filter((one) => query.get("all") === "true" || ["planned", "running"].includes(one.state)), (one) => `${one.starts_at_ms}${one.window}`, query)],
  ["POST", "/v1/maintenance", schedule],
  ["POST", "/v1/maintenance/*/cancel", (s, a, n) => (need(a, "operator"), { window: { ...s.windows.find((one) => one.window === n), state: "cancelled" }, warnings: [], as_of: asOf() })],
  ["GET", "/v1/drills", (state, { query }) => page(state.drills, (one) => newest(one.started_at_ms, one.drill), query)],
  ["GET", "/v1/drills/*", readDrill],
  ["POST", "/v1/drills", (s, a) => (need(a, "operator"), { drill: s.drills[0], as_of: asOf() })],
  ["POST", "/v1/drills/*/restore", (s, a, n) => (need(a, "operator"), { drill: { ...s.drills.find((one) => one.drill === n), restoring: true }, as_of: asOf() })],
  ["GET", "/v1/events", listEvents],
  ["PUT", "/v1/freeze", setFreeze],
  ["GET", "/api/v1/query_range", queryRange],
  ...WATCHED,
];

function listVms(state: State, { query }: Asked) {
  const [region, wanted] = [query.get("region"), query.get("state")];
  const found = state.vms.filter((vm) => (!region || vm.region === region) && (!wanted || vm.state === wanted));
  return page(found, (vm) => `${vm.name}/${vm.vm}`, query);
}

function changeVm(state: State, asked: Asked, name: string) {
  need(asked, "operator");
  const vm = vmOf(state, name);
  const dry = asked.body["dry_run"] === true || asked.query.get("dry_run") === "true";
  return { vm, operation: dry ? null : (state.operations[0] ?? null) };
}

function readHost(state: State, _: Asked, name: string) {
  const host = state.hosts.find((one) => `${one.region}/${one.host}` === name);
  if (!host) throw new Refused({ status: 404, title: `there is no host ${name}`, code: "DWCP-R0013", cause: [], try: ["dwcp-cli host list"] });
  return { host, vms: state.vms.filter((vm) => vm.region === host.region && vm.host === host.host).map((vm) => vm.vm), as_of: asOf() };
}

function listOperations(state: State, { query }: Asked) {
  const wanted = query.get("state");
  const found = operations(state).filter((one) => !wanted || one.state === wanted);
  return page(found, (one) => newest(one.started_at_ms, one.operation), query);
}

function readOperation(state: State, _: Asked, name: string) {
  const operation = operations(state).find((one) => one.operation === name || one.related === name);
  if (!operation) throw new Refused({ status: 404, title: `there is no operation ${name}`, code: "DWCP-R0014", cause: [], try: ["dwcp-cli operation list"] });
  return { operation, as_of: asOf() };
}

function readFailover(state: State, _: Asked, name: string) {
  const failover = failovers(state).find((one) => name === "latest" || one.failover === name);
  if (!failover) throw new Refused({ status: 404, title: `there is no failover ${name}`, code: "DWCP-R0015", cause: [], try: ["dwcp-cli federation failover list"] });
  return { failover, as_of: asOf() };
}

function readDrill(state: State, _: Asked, name: string) {
  const drill = state.drills.find((one) => one.drill === name);
  if (!drill) throw new Refused({ status: 404, title: `there is no drill ${name}`, code: "DWCP-R0016", cause: [] });
  return { drill, as_of: asOf() };
}

function schedule(state: State, asked: Asked) {
  need(asked, "operator");
  const starts = Number(asked.body["starts_at_ms"]);
  const window = {
    window: asked.body["dry_run"] === true ? "" : "window-006",
    region: String(asked.body["region"] ?? "eu-west-1"),
    host: null,
    state: "planned" as const,
    starts_at_ms: starts,
    ends_at_ms: starts + Number(asked.body["duration_ms"]),
    reason: String(asked.body["reason"]),
    by: "ana",
    no_placement: asked.body["no_placement"] === true,
    notice: "planned",
    cancelled_at_ms: null,
    revision: 310,
  };
  if (window.window !== "") state.windows = [...state.windows, window];
  return { window, warnings: [], as_of: asOf() };
}

function listEvents(state: State, { query }: Asked) {
  const [region, severity, subject, since] = ["region", "severity", "subject", "since_ms"].map((name) => query.get(name));
  const found = state.events.filter(
    (event) =>
      (!region || event.region === region) &&
      (!severity || event.severity === severity) &&
      (!subject || event.subject === subject) &&
      (!since || Date.now() - event.at_ms <= Number(since)),
  );
  return page(found, (event) => newest(event.at_ms, event.id), query);
}

function setFreeze(state: State, asked: Asked) {
  need(asked, "operator");
  const next = { ...state.freeze, state: asked.body["state"] as Freeze["state"], by: "ana", since_at_ms: Date.now(), reason: String(asked.body["reason"] ?? "") };
  if (asked.body["dry_run"] !== true) state.freeze = { ...next, revision: next.revision + 1 };
  return { ...next, as_of: asOf().slice(0, 1) };
}

function queryRange(state: State, { query }: Asked) {
  if (state.noSeries) throw new Refused({ status: 404, title: "no such endpoint", code: "DWCP-R0002", cause: ["the API has no /api/v1/query_range"] });
  const [start, end, step] = ["start", "end", "step"].map((name) => Number(query.get(name)));
  const result = range(query.get("query") ?? "", { start: start ?? 0, end: end ?? 0, step: step ?? 60 }, state.began - LOST_FOR_MS);
  const warnings = state.noWarnings ? [] : [`${LOST} does not answer: what it measured is missing`];
  return { status: "success", data: { resultType: "matrix", result }, warnings };
}

function principal(role: Role) {
  return { token_id: "token-mock", user: role === "viewer" ? "vera" : "ana", role, expires_at_ms: null, federation: "atlas", region: "us-east-1" };
}

/** The part of a path that a pattern's star stands for. */
function starred(pattern: string, path: string): string | null {
  const parts = path.split("/");
  const wanted = pattern.split("/");
  if (parts.length !== wanted.length) return null;
  let found = "";
  for (const [i, part] of wanted.entries()) {
    if (part === "*") found = decodeURIComponent(parts[i] ?? "");
    else if (part !== parts[i]) return null;
  }
  return found;
}

export function answer(state: State, asked: Asked): unknown {
  if (asked.path === "/v1/login") {
    const role = TOKENS[String(asked.body["token"])];
    if (role) return principal(role);
  }
  if (asked.role === null) {
    throw new Refused({ status: 401, title: "no valid token", code: "DWCP-R0004", cause: ["no token has this secret"], next: "nothing was changed", try: ["dwcp-cli login --token TOKEN"] });
  }
  if (asked.path === "/v1/whoami") return principal(asked.role);
  for (const [method, pattern, handler] of TABLE) {
    const part = method === asked.method ? starred(pattern, asked.path) : null;
    if (part !== null) return handler(state, asked, part);
  }
  throw new Refused({ status: 404, title: "no such endpoint", code: "DWCP-R0002", cause: [`the API has no ${asked.path}`], try: ["GET /v1/openapi.json"] });
}

/** What a VM says on its console, a piece at a time. */
export function consoleText(offset: number) {
  const text = `[${(offset / 60).toFixed(3).padStart(10)}] httpd: GET /health 200 in ${1 + (offset % 7)} ms\n`;
  return { offset, next_offset: offset + text.length, text };
}

export const freshRequestId = () => id("req_", random(Date.now() % 1_000_000));
