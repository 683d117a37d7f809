/** An HTTP server that stands in for dwcpd: the console's files with dwcpd's headers, and the mock's answers. */

import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { extname, join, normalize } from "node:path";
import { type Asked, Refused } from "./answers";
import { answer, consoleText, freshRequestId, makeState, type State, TOKENS } from "./routes";

export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
  "base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

export interface Mock {
  server: Server;
  state: State;
  /** Every connection is cut, as by a region that is down. */
  down: boolean;
  /** Requests of the API so far, `GET /v1/vms`. */
  asked: string[];
}

function file(root: string, path: string, response: ServerResponse): void {
  const page = path === "/" || path.startsWith("/d/");
  const name = page ? "index.html" : normalize(path).replace(/^\/+/, "");
  try {
    const body = readFileSync(join(root, name));
    response.writeHead(200, {
      "content-type": TYPES[extname(name)] ?? "application/octet-stream",
      "content-security-policy": POLICY,
      "x-content-type-options": "nosniff",
      "cache-control": "no-cache",
    });
    response.end(body);
  } catch {
    response.writeHead(404, { "content-type": "text/plain" }).end("no such file\n");
  }
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = "";
  for await (const piece of request) text += String(piece);
  return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}

function refuse(response: ServerResponse, requestId: string, error: unknown): void {
  const problem = error instanceof Refused ? error.problem : { status: 500, title: String(error) };
  response.writeHead(problem.status, { "content-type": "application/problem+json", "x-request-id": requestId });
  const empty = { type: `urn:dwcp:problem:${problem.code ?? ""}`, code: "", detail: "", cause: [], next: "", try: [], field: null };
  response.end(JSON.stringify({ ...empty, ...problem, request_id: requestId }));
}

/** A stream: the answer again and again, one a line. */
function stream(state: State, asked: Asked, response: ServerResponse): void {
  const isConsole = asked.path.endsWith("/console");
  let offset = 0;
  const next = () => {
    if (!isConsole) return answer(state, asked);
    const piece = consoleText(offset);
    offset = piece.next_offset;
    return piece;
  };
  const first = next();
  response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
  response.write(`${JSON.stringify(first)}\n`);
  const timer = setInterval(() => response.write(`${JSON.stringify(next())}\n`), 500);
  response.on("close", () => clearInterval(timer));
}

async function api(mock: Mock, request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
  const requestId = String(request.headers["x-request-id"] ?? freshRequestId());
  mock.asked.push(`${request.method ?? ""} ${url.pathname}`);
  try {
    const token = request.headers.authorization?.replace("Bearer ", "") ?? "";
    const asked: Asked = {
      method: request.method ?? "GET",
      path: url.pathname,
      query: url.searchParams,
      body: await bodyOf(request),
      role: TOKENS[token] ?? null,
    };
    if (url.searchParams.get("watch") === "true" && asked.role) return stream(mock.state, asked, response);
    const body = JSON.stringify(answer(mock.state, asked));
    response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store", "x-request-id": requestId });
    response.end(body);
  } catch (error) {
    refuse(response, requestId, error);
  }
}

/** A server that serves the files below `root`, not yet listening. */
export function createMock(root: string): Mock {
  const mock: Mock = { server: createServer(), state: makeState(Date.now()), down: false, asked: [] };
  mock.server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? "/", "http://mock");
    const isApi = url.pathname.startsWith("/v1/") || url.pathname.startsWith("/api/");
    if (isApi && mock.down) request.socket.destroy();
    else if (isApi) void api(mock, request, response, url);
    else file(root, url.pathname, response);
  });
  return mock;
}
