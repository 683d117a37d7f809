/** The mock's endpoints of incidents, alerts, silences, messages, who is on call, and promises. */

import type { Incident, Silence } from "../src/api/watch_types";
import { type Asked, asOf, need, newest, page, Refused } from "./answers";
import type { Handler, State } from "./routes";

function none(what: string): Refused {
  return new Refused({ status: 404, title: `there is no ${what}`, code: "DWCP-R0017", cause: [], next: "nothing was changed" });
}

function listIncidents(state: State, { query }: Asked) {
  const [status, severity, since] = ["status", "severity", "since_ms"].map((name) => query.get(name));
  const open = (one: Incident) => one.status === "open" || one.status === "investigating";
  const fits = (one: Incident) => {
    if (status) return status === "open" ? open(one) : one.status === status;
    return since || query.get("all") === "true" ? true : open(one);
  };
  const found = state.incidents
    .map((detail) => detail.incident)
    .filter((one) => fits(one) && (!severity || severity.split(",").includes(one.severity)) && (!since || Date.now() - one.opened_at_ms <= Number(since)));
  return page(found, (one) => newest(one.opened_at_ms, one.incident), query);
}

function incidentOf(state: State, id: string) {
  const found = state.incidents.find((one) => one.incident.incident === id);
  if (!found) throw none(`incident ${id}`);
  return found;
}

function updateIncident(state: State, asked: Asked, id: string) {
  need(asked, "operator");
  const detail = incidentOf(state, id);
  const { status, assignee, note, root_cause, resolution, dry_run } = asked.body;
  const now = Date.now();
  const next: Incident = { ...detail.incident };
  if (status === "investigating") Object.assign(next, { status, assignee: "ana", acknowledged_by: "ana", acknowledged_at_ms: now });
  if (status === "resolved") Object.assign(next, { status, resolved_at_ms: now });
  if (typeof assignee === "string") next.assignee = assignee;
  if (dry_run !== true) {
    detail.incident = next;
    if (typeof root_cause === "string") detail.root_cause = root_cause;
    if (typeof resolution === "string") detail.resolution = resolution;
    if (typeof note === "string") detail.timeline = [...detail.timeline, { at_ms: now, who: "ana", what: note }];
  }
  return { incident: next, as_of: asOf() };
}

function postMortem(state: State, _: Asked, id: string) {
  const { incident, timeline } = incidentOf(state, id);
  const lines = timeline.map((one) => `| ${new Date(one.at_ms).toISOString()} | ${one.who ?? ""} | ${one.what} |`);
  const markdown = [`# ${incident.incident}: ${incident.title}`, "", "## Timeline", "", "| When | Who | What |", "|---|---|---|", ...lines, "", "## Root cause", "", "Why did it happen?"];
  return { incident: id, markdown: markdown.join("\n") };
}

function onCall(state: State) {
  const now = Date.now();
  const duty = ["primary", "secondary"].map((role) => {
    const shift = state.shifts.find((one) => one.role === role && one.from_ms <= now && now < one.until_ms);
    return { role, who: shift?.who ?? null, until_ms: shift?.until_ms ?? null };
  });
  return { at_ms: now, duty, as_of: asOf() };
}

function listAlerts(state: State, { query }: Asked) {
  const states = (query.get("state") ?? "firing").split(",");
  const [severity, region, muted] = ["severity", "region", "muted"].map((name) => query.get(name));
  const found = state.alerts.filter(
    (one) =>
      states.includes(one.state) &&
      (!severity || severity.split(",").includes(one.severity)) &&
      (!region || one.labels["region"] === region) &&
      (!muted || String(one.muted_by.length > 0) === muted),
  );
  return page(found, (one) => one.alert, query);
}

function readAlert(state: State, _: Asked, id: string) {
  const alert = state.alerts.find((one) => one.alert === id);
  if (!alert) throw none(`alert ${id}`);
  const began = alert.started_at_ms - 86_400_000;
  return { alert, earlier: [{ ...alert, state: "resolved", started_at_ms: began, fired_at_ms: began + 60_000, ended_at_ms: began + 900_000 }], as_of: asOf() };
}

function createSilence(state: State, asked: Asked): Silence {
  need(asked, "operator");
  const conditions = asked.body["conditions"] as string[];
  const bad = conditions.find((text) => !/^\w+(=|!=|=~|!~)".*"$/.test(text));
  if (bad !== undefined) {
    throw new Refused({ status: 400, title: "a condition can't be read", code: "DWCP-R0001", cause: [`${bad}: LABEL="VALUE" was expected`], next: "nothing was changed", field: "conditions" });
  }
  const now = Date.now();
  const silence: Silence = {
    silence: asked.body["dry_run"] === true ? "" : `silence-00${state.silences.length + 1}`,
    state: "active",
    conditions,
    starts_at_ms: now,
    ends_at_ms: now + Number(asked.body["duration_ms"]),
    by: "ana",
    comment: String(asked.body["comment"]),
    alerts: state.alerts.filter((one) => Object.entries(one.labels).some(([k, v]) => conditions.includes(`${k}="${v}"`))).length,
  };
  if (silence.silence !== "") state.silences = [silence, ...state.silences];
  return silence;
}

function expireSilence(state: State, asked: Asked, id: string): Silence {
  need(asked, "operator");
  const silence = state.silences.find((one) => one.silence === id);
  if (!silence) throw none(`silence ${id}`);
  const ended: Silence = { ...silence, state: "expired", ends_at_ms: Date.now(), alerts: 0 };
  if (asked.body["dry_run"] !== true) state.silences = state.silences.map((one) => (one === silence ? ended : one));
  return ended;
}

function listMessages(state: State, { query }: Asked) {
  const [wanted, about, since] = ["state", "about", "since_ms"].map((name) => query.get(name));
  const found = state.messages.filter(
    (one) => (!wanted || one.state === wanted) && (!about || one.about === about) && (!since || Date.now() - one.created_at_ms <= Number(since)),
  );
  return page(found, (one) => newest(one.created_at_ms, one.key), query);
}

function retryMessages(state: State, asked: Asked) {
  need(asked, "operator");
  const key = asked.body["key"];
  const wanted = state.messages.filter((one) => one.state === "dead" && (key === undefined || one.key === key));
  if (wanted.length === 0 && key !== undefined) throw none(`dead letter ${String(key)}`);
  const messages = wanted.map((one) => ({ ...one, state: "pending" as const, at_ms: Date.now() }));
  state.messages = state.messages.map((one) => messages.find((changed) => changed.key === one.key) ?? one);
  return { messages, warnings: [], as_of: asOf() };
}

function readBreach(state: State, _: Asked, id: string) {
  const found = state.breaches.find((one) => one.breach === id);
  if (!found) throw none(`breach ${id}`);
  return found;
}

export const WATCHED: [string, string, Handler][] = [
  ["GET", "/v1/incidents", listIncidents],
  ["GET", "/v1/incidents/*", (state, _, id) => ({ ...incidentOf(state, id), as_of: asOf() })],
  ["PUT", "/v1/incidents/*", updateIncident],
  ["GET", "/v1/incidents/*/post-mortem", postMortem],
  ["GET", "/v1/on-call", onCall],
  ["GET", "/v1/on-call/schedule", (state) => ({ shifts: state.shifts, overrides: [], as_of: asOf() })],
  ["GET", "/v1/alerts", listAlerts],
  ["GET", "/v1/alerts/*", readAlert],
  ["GET", "/v1/silences", (s, { query }) => page(s.silences.filter((one) => query.get("all") === "true" || one.state !== "expired"), (one) => `${one.ends_at_ms}${one.silence}`, query)],
  ["POST", "/v1/silences", createSilence],
  ["POST", "/v1/silences/*/expire", expireSilence],
  ["GET", "/v1/notifications", listMessages],
  ["POST", "/v1/notifications/retry", retryMessages],
  ["GET", "/v1/sla/status", (state) => ({ items: state.standings, accounted_until_ms: state.standings[0]?.until_ms ?? null, as_of: asOf() })],
  ["GET", "/v1/sla/breaches", (state, { query }) => page(state.breaches, (one) => newest(one.broken_at_ms, one.breach), query)],
  ["GET", "/v1/sla/breaches/*", readBreach],
];
