/** What every answer of the mock is made with: refusals, ages, pages, permission. */

import type { Freshness, Page } from "../src/api/region_types";
import type { Problem, Role } from "../src/api/work_types";
import { LOST, LOST_FOR_MS, REGIONS } from "./fleet";

export class Refused extends Error {
  constructor(readonly problem: Partial<Problem> & { status: number; title: string }) {
    super(problem.title);
  }
}

export interface Asked {
  method: string;
  path: string;
  query: URLSearchParams;
  body: Record<string, unknown>;
  role: Role | null;
}

export const asOf = (): Freshness[] => [
  { region: "federation", age_ms: 210, revision: 4711 },
  ...REGIONS.map((seed, i) => ({
    region: seed.region,
    age_ms: seed.region === LOST ? LOST_FOR_MS : i === 0 ? 0 : 120 + 55 * i,
    revision: 90_000 + i,
  })),
];

/** A page whose cursor is the key of its last item, as the real API has it. */
export function page<T>(items: T[], key: (item: T) => string, query: URLSearchParams): Page<T> {
  const limit = Number(query.get("limit") ?? 100);
  if (!(limit >= 1 && limit <= 1000)) {
    throw new Refused({ status: 400, title: "the request can't be read", code: "DWCP-R0001", cause: ["limit: 1 to 1000"], field: "limit" });
  }
  const cursor = query.get("cursor");
  const rest = cursor === null ? items : items.filter((item) => key(item) > cursor);
  const kept = rest.slice(0, limit);
  const last = kept.at(-1);
  return { items: kept, next_cursor: rest.length > kept.length && last ? key(last) : null, as_of: asOf() };
}

/** Keys that put newer things first. */
export const newest = (at: number, rest: string) => `${(1e15 - at).toString().padStart(17, "0")}-${rest}`;

export const need = (asked: Asked, role: Role) => {
  const rank = { viewer: 0, operator: 1, admin: 2 };
  if (asked.role === null || rank[asked.role] < rank[role]) {
    throw new Refused({ status: 403, title: "the token may not do this", code: "DWCP-R0005", cause: [`it needs the role ${role}`], next: "nothing was changed" });
  }
};
