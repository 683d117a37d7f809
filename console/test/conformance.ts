/**
 * The mock answers as the API's own document says: `DWCP_OPENAPI=file node tools/unit.mjs`, where the file is what a
 * dwcpd serves at `/v1/openapi.json`. Without the file nothing is compared.
 */

import "./page_stub";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { answer, makeState } from "../mock/routes";
import * as regions from "../src/actions/region_actions";
import * as watch from "../src/actions/watch_actions";
import * as work from "../src/actions/work_actions";
import type { Freeze } from "../src/api/region_types";
import type { Action } from "../src/ui/action";
import { verifyAction } from "../src/pages/verify";

type Schema = {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  additionalProperties?: Schema | boolean;
};

interface Json {
  content: { "application/json": { schema: Schema } };
}

interface Document {
  paths: Record<string, Record<string, { parameters: { name: string; in: string }[]; requestBody?: Json; responses: { 200: Json } }>>;
  components: { schemas: Record<string, Schema> };
}

/** What of the mock is compared: the path as the document has it, and as it is asked. */
const ASKED: [string, string][] = [
  ["/v1/whoami", "/v1/whoami"],
  ["/v1/federation", "/v1/federation"],
  ["/v1/settings", "/v1/settings"],
  ["/v1/freeze", "/v1/freeze"],
  ["/v1/promises", "/v1/promises"],
  ["/v1/state/lag-matrix", "/v1/state/lag-matrix"],
  ["/v1/state/queue-depth", "/v1/state/queue-depth"],
  ["/v1/state/replication", "/v1/state/replication"],
  ["/v1/network/latency-matrix", "/v1/network/latency-matrix"],
  ["/v1/regions/{region}", "/v1/regions/eu-west-1"],
  ["/v1/regions/{region}", "/v1/regions/sa-east-1"],
  ["/v1/vms", "/v1/vms"],
  ["/v1/hosts", "/v1/hosts"],
  ["/v1/hosts/{host}", "/v1/hosts/us-east-1%2Fh04"],
  ["/v1/incidents", "/v1/incidents"],
  ["/v1/incidents/{incident}", "/v1/incidents/INC-20261129-004"],
  ["/v1/incidents/{incident}/post-mortem", "/v1/incidents/INC-20261129-004/post-mortem"],
  ["/v1/on-call", "/v1/on-call"],
  ["/v1/on-call/schedule", "/v1/on-call/schedule"],
  ["/v1/alerts", "/v1/alerts"],
  ["/v1/alerts/{alert}", "/v1/alerts/a1b2c3d4e5f60002"],
  ["/v1/silences", "/v1/silences"],
  ["/v1/notifications", "/v1/notifications"],
  ["/v1/sla/status", "/v1/sla/status"],
  ["/v1/sla/breaches", "/v1/sla/breaches"],
  ["/v1/sla/breaches/{breach}", "/v1/sla/breaches/breach-001"],
  ["/v1/operations", "/v1/operations"],
  ["/v1/failovers", "/v1/failovers"],
  ["/v1/failovers/{failover}", "/v1/failovers/failover-002"],
  ["/v1/migrations", "/v1/migrations"],
  ["/v1/maintenance", "/v1/maintenance"],
  ["/v1/drills", "/v1/drills"],
  ["/v1/drills/{drill}", "/v1/drills/drill-001"],
  ["/v1/events", "/v1/events"],
];

/** Everything in which a value is not as a schema says, by its place; fields that the schema does not know count too. */
function flaws(document: Document, schema: Schema, value: unknown, at: string): string[] {
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1) ?? "";
    const found = document.components.schemas[name];
    return found ? flaws(document, found, value, at) : [`${at}: no schema ${name}`];
  }
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) {
    const tries = choices.map((choice) => flaws(document, choice, value, at));
    return tries.some((one) => one.length === 0) ? [] : (tries.sort((a, b) => b.length - a.length)[0] ?? []);
  }
  if (schema.const !== undefined) return schema.const === value ? [] : [`${at}: ${JSON.stringify(value)} is not ${JSON.stringify(schema.const)}`];
  if (schema.enum) return schema.enum.includes(value) ? [] : [`${at}: ${JSON.stringify(value)} is none of ${JSON.stringify(schema.enum)}`];
  const types = [schema.type ?? []].flat();
  const is = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  const fits = types.length === 0 || types.includes(is) || (is === "number" && types.includes("integer") && Number.isInteger(value));
  if (!fits) return [`${at}: ${JSON.stringify(value)?.slice(0, 80)} is no ${types.join(" or ")}`];
  if (Array.isArray(value)) return value.slice(0, 50).flatMap((item, i) => (schema.items ? flaws(document, schema.items, item, `${at}[${i}]`) : []));
  if (value !== null && typeof value === "object") return fields(document, schema, value as Record<string, unknown>, at);
  return [];
}

function fields(document: Document, schema: Schema, value: Record<string, unknown>, at: string): string[] {
  const missing = (schema.required ?? []).filter((name) => !(name in value)).map((name) => `${at}: no ${name}`);
  const wrong = Object.entries(value).flatMap(([name, item]) => {
    const known = schema.properties?.[name];
    if (known) return flaws(document, known, item, `${at}.${name}`);
    if (typeof schema.additionalProperties === "object") return flaws(document, schema.additionalProperties, item, `${at}.${name}`);
    return schema.properties ? [`${at}: ${name} is not in the document`] : [];
  });
  return [...missing, ...wrong];
}

const file = process.env["DWCP_OPENAPI"];

test("the mock answers as the API's document says", { skip: file ? false : "DWCP_OPENAPI names no document" }, () => {
  const document = JSON.parse(readFileSync(file ?? "", "utf8")) as Document;
  const state = makeState(Date.now());
  for (const [pattern, path] of ASKED) {
    const schema = document.paths[pattern]?.["get"]?.responses[200].content["application/json"].schema;
    assert.ok(schema, pattern);
    const value: unknown = JSON.parse(JSON.stringify(answer(state, { method: "GET", path, query: new URLSearchParams(), body: {}, role: "admin" })));
    assert.deepEqual(flaws(document, schema, value, pattern).slice(0, 5), []);
  }
});

/** Every action as the pages make it, and values as somebody would type them. */
function everyAction(): [Action, Record<string, string>][] {
  const state = makeState(Date.now());
  const [summary] = state.regions;
  const [host] = state.hosts;
  const vm = state.vms.find((one) => one.wanted_running);
  const [operation] = state.operations;
  const [window] = state.windows;
  const [drill] = state.drills;
  const [detail] = state.incidents;
  const [alert] = state.alerts;
  const [silence] = state.silences;
  const [message] = state.messages;
  assert.ok(summary && host && vm && operation && window && drill && detail && alert && silence && message);
  const names = state.regions.map((one) => one.region);
  const freeze = { ...state.freeze, as_of: [] } as Freeze;
  const reason = "because";
  return [
    [regions.placementAction(summary), { reason }],
    [regions.placementAction({ ...summary, placement: { ...summary.placement, enabled: false } }), {}],
    [regions.serviceAction(summary), { reason, fence: "true" }],
    [regions.serviceAction({ ...summary, lifecycle: "disabled" }), { traffic: "50" }],
    [regions.trafficAction(summary), { percent: "30", reason }],
    [regions.drainAction(summary, names), { to: "eu-west-1,ap-south-1", minutes: "10", reason }],
    [regions.failbackAction(summary), { reason }],
    [regions.drainHostAction(host), { reason }],
    [regions.freezeAction(freeze), { state: "no-moves", reason, local: "" }],
    [regions.freezeAction(freeze), { state: "frozen", local: "true" }],
    ...work.vmActions(vm).map((action): [Action, Record<string, string>] => [action, {}]),
    ...work.vmActions({ ...vm, wanted_running: false }).map((action): [Action, Record<string, string>] => [action, {}]),
    [work.cancelOperation(operation), { reason }],
    [work.failoverAction(names), { from: "eu-west-1", to: "", relax: "capacity", priority: "100", reason }],
    [work.scheduleAction(names), { region: "eu-west-1", starts: "2027-01-02T03:04", minutes: "90", reason }],
    [work.scheduleAction(names), { host: "eu-west-1/h07", starts: "2027-01-02T03:04", minutes: "90", reason, no_placement: "true" }],
    [work.cancelWindow(window), { reason }],
    [work.drillAction(names), { region: "eu-west-1", minutes: "30", reason }],
    [work.restoreDrill(drill), {}],
    ...watch.incidentActions(detail.incident).map((action): [Action, Record<string, string>] => [
      action,
      { note: "n", assignee: "ken", root_cause: "c", resolution: "r" },
    ]),
    [watch.silenceAction(alert), { conditions: 'region="eu-west-1"', minutes: "30", comment: "because" }],
    [watch.expireAction(silence), {}],
    [watch.retryAction(message), {}],
    [watch.retryAction(null), {}],
    [verifyAction, {}],
  ];
}

function found(document: Document, method: string, path: string): [string, NonNullable<Document["paths"][string]>[string]] {
  const parts = path.split("/");
  const fits = (pattern: string) => {
    const wanted = pattern.split("/");
    return wanted.length === parts.length && wanted.every((part, i) => part.startsWith("{") || part === parts[i]);
  };
  const patterns = Object.keys(document.paths).filter((pattern) => fits(pattern) && document.paths[pattern]?.[method]);
  const [best] = patterns.sort((a, b) => a.split("{").length - b.split("{").length);
  const endpoint = best === undefined ? undefined : document.paths[best]?.[method];
  assert.ok(best && endpoint, `${method} ${path} is not in the document`);
  return [best, endpoint];
}

test("every action sends what the API's document takes", { skip: file ? false : "DWCP_OPENAPI names no document" }, () => {
  const document = JSON.parse(readFileSync(file ?? "", "utf8")) as Document;
  for (const [action, values] of everyAction()) {
    const [pattern, endpoint] = found(document, action.method.toLowerCase(), action.path(values));
    const body = { ...action.body(values), ...(action.dryRun === "none" ? {} : { dry_run: true }) };
    if (action.method === "DELETE") {
      const known = endpoint.parameters.map((one) => one.name);
      assert.deepEqual(Object.keys(body).filter((name) => !known.includes(name)), [], pattern);
    } else {
      const schema = endpoint.requestBody?.content["application/json"].schema;
      assert.ok(schema, pattern);
      const sent: unknown = JSON.parse(JSON.stringify(body));
      assert.deepEqual(flaws(document, { additionalProperties: false, ...schema }, sent, pattern), []);
    }
  }
});
