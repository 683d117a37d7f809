/**
 * The mock answers as the API's own document says: `DWCP_OPENAPI=file node tools/unit.mjs`, where the file is what a
 * dwcpd serves at `/v1/openapi.json`. Without the file nothing is compared.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { answer, makeState } from "../mock/routes";

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

interface Document {
  paths: Record<string, Record<string, { responses: { 200: { content: { "application/json": { schema: Schema } } } } }>>;
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
