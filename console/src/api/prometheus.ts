/** The Prometheus HTTP API (prometheus.io/docs/prometheus/latest/querying/api): instant and range queries. */

import { ApiError, call, problemOf } from "./client";
import type { Problem } from "./work_types";

export interface Sample {
  labels: Record<string, string>;
  value: number;
}

export interface Series {
  labels: Record<string, string>;
  /** `[seconds since 1970, value]`, ascending. */
  points: [number, number][];
}

export interface Ranged {
  series: Series[];
  warnings: string[];
}

interface Envelope {
  status: "success" | "error";
  data?: { resultType: string; result: unknown };
  errorType?: string;
  error?: string;
  /** What is missing: regions that did not answer, named. */
  warnings?: string[];
}

interface Raw {
  metric: Record<string, string>;
  value?: [number, string];
  values?: [number, string][];
}

/** A value as Prometheus writes it: `NaN` and the infinities are words. */
export function number(text: string): number {
  if (text === "+Inf") return Infinity;
  if (text === "-Inf") return -Infinity;
  return Number(text);
}

function resultOf(body: Envelope): Raw[] {
  if (body.status !== "success" || !body.data) {
    throw new ApiError(problemOf(200, body.error ?? "the query failed", "", { code: body.errorType ?? "" }));
  }
  return body.data.resultType === "vector" || body.data.resultType === "matrix" ? (body.data.result as Raw[]) : [];
}

export function readRange(body: Envelope): Series[] {
  return resultOf(body).map((raw) => ({
    labels: raw.metric,
    points: (raw.values ?? []).map(([at, text]): [number, number] => [at, number(text)]),
  }));
}

export function readInstant(body: Envelope): Sample[] {
  return resultOf(body).flatMap((raw) => (raw.value ? [{ labels: raw.metric, value: number(raw.value[1]) }] : []));
}

/** All series of a query between two times in seconds. */
export async function queryRange(query: string, start: number, end: number, step: number, signal: AbortSignal): Promise<Ranged> {
  const params = new URLSearchParams({ query, start: String(start), end: String(end), step: String(step) });
  const body = await call<Envelope>(`/api/v1/query_range?${params}`, { signal, measured: true });
  return { series: readRange(body), warnings: body.warnings ?? [] };
}

/** Whether a problem only means that this server keeps no series. */
export function notServed(problem: Problem): boolean {
  return problem.status === 404 || problem.status === 501;
}

/** Series in the columns that a chart draws: one row of times, and a row of values for each, `null` where there is none. */
export function align(series: Series[]): { times: number[]; rows: (number | null)[][] } {
  const times = [...new Set(series.flatMap((one) => one.points.map(([at]) => at)))].sort((a, b) => a - b);
  const index = new Map(times.map((at, i) => [at, i]));
  const rows = series.map((one) => {
    const row: (number | null)[] = new Array<number | null>(times.length).fill(null);
    for (const [at, value] of one.points) row[index.get(at) ?? 0] = Number.isFinite(value) ? value : null;
    return row;
  });
  return { times, rows };
}

/** A step that gives about `points` points, in whole seconds and not below the interval of measurements, 15 s. */
export function stepFor(spanSeconds: number, points = 180): number {
  return Math.max(15, Math.ceil(spanSeconds / points));
}
