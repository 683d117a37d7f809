/** Calls of the HTTP API of `dwcpd`. */

import { session, signOut } from "../session";
import type { Problem } from "./work_types";

/** How long an answer may take, ms; what is measured while the caller waits takes up to 32 s. */
const USUAL_MS = 20_000;
const MEASURED_MS = 40_000;

/** A call that failed: always with a request id. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.title);
  }
}

/** 80 random bits in letters and digits, also where the page is not in a secure context. */
export function freshId(prefix: string): string {
  const letters = "0123456789abcdefghjkmnpqrstvwxyz";
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return prefix + Array.from(bytes, (byte) => letters[byte & 31]).join("");
}

export function problemOf(status: number, title: string, requestId: string, more: Partial<Problem> = {}): Problem {
  return {
    type: "about:blank",
    title,
    status,
    code: "",
    detail: "",
    cause: [],
    next: "",
    try: [],
    request_id: requestId,
    field: null,
    ...more,
  };
}

/** The problem of an answer that is none: the body's, or what its status tells. */
export function readProblem(status: number, text: string, requestId: string): Problem {
  try {
    const body = JSON.parse(text) as Partial<Problem> & { error?: unknown; errorType?: unknown };
    // The Prometheus HTTP API has errors of its own form.
    if (typeof body.error === "string") return problemOf(status, body.error, requestId, { code: String(body.errorType ?? "") });
    if (typeof body.title === "string") {
      return problemOf(status, body.title, body.request_id || requestId, { ...body, status, request_id: body.request_id || requestId });
    }
  } catch {
    // Not JSON: something between here and dwcpd answered.
  }
  return problemOf(status, `The answer was HTTP ${status} without a reason`, requestId);
}

export interface CallOptions {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  body?: unknown;
  signal?: AbortSignal;
  /** The same key is carried out once. */
  idempotencyKey?: string;
  measured?: boolean;
  /** Instead of the session's. */
  token?: string;
}

function headersOf(options: CallOptions, requestId: string): Record<string, string> {
  const headers: Record<string, string> = { accept: "application/json", "x-request-id": requestId };
  const token = options.token ?? session.get().token;
  if (token) headers["authorization"] = `Bearer ${token}`;
  if (options.body !== undefined) headers["content-type"] = "application/json";
  if (options.idempotencyKey) headers["idempotency-key"] = options.idempotencyKey;
  return headers;
}

async function send(path: string, options: CallOptions, signal: AbortSignal, requestId: string): Promise<Response> {
  const init: RequestInit = {
    method: options.method ?? "GET",
    headers: headersOf(options, requestId),
    signal,
    cache: "no-store",
    credentials: "omit",
  };
  if (options.body !== undefined) init.body = JSON.stringify(options.body);
  const response = await fetch(path, init);
  if (response.ok) return response;
  const problem = readProblem(response.status, await response.text(), response.headers.get("x-request-id") ?? requestId);
  if (response.status === 401 && options.token === undefined) signOut(problem);
  throw new ApiError(problem);
}

/** One answer. Throws an {@link ApiError}, or a `DOMException` named `AbortError` when `signal` ended it. */
export async function call<T>(path: string, options: CallOptions = {}): Promise<T> {
  const requestId = freshId("web_");
  const limit = options.measured ? MEASURED_MS : USUAL_MS;
  const timeout = AbortSignal.timeout(limit);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  try {
    const response = await send(path, options, signal, requestId);
    return (await response.json()) as T;
  } catch (error) {
    if (error instanceof ApiError || options.signal?.aborted) throw error;
    throw new ApiError(unanswered(error, requestId, limit, timeout.aborted));
  }
}

function unanswered(error: unknown, requestId: string, limit: number, late: boolean): Problem {
  const cause = late ? `no answer within ${limit / 1000} s` : String(error instanceof Error ? error.message : error);
  return problemOf(0, "This region's server does not answer", requestId, {
    cause: [cause],
    next: "The page asks again by itself; what is shown is as old as it says.",
    try: ["open the console of another region", "dwcp-cli federation status"],
  });
}

/** Every value of a stream (`watch=true`), one a line, until it ends. */
export async function stream<T>(path: string, signal: AbortSignal, each: (value: T) => void): Promise<void> {
  const requestId = freshId("web_");
  const target = `${path}${path.includes("?") ? "&" : "?"}watch=true&interval_ms=500`;
  const response = await send(target, {}, signal, requestId);
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line !== "") each(JSON.parse(line) as T);
    }
  }
}
