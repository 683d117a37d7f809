/** A list of which more can be asked for: newest first, as operations and events are. */

import { useEffect, useState } from "preact/hooks";
import { ApiError, call } from "./client";
import { type Answer, useQuery } from "./query";
import type { Page } from "./region_types";
import type { Problem } from "./work_types";

export interface Paged<T> {
  /** The first page, with its age and problem. */
  answer: Answer<Page<T>>;
  items: T[];
  /** Asks for the next page; `null` when there is none. */
  more: (() => void) | null;
  problem: Problem | null;
}

/** The first page of `path` again and again, and the pages behind it that were asked for. */
export function usePaged<T>(path: string, everyMs: number, id: (item: T) => string): Paged<T> {
  const answer = useQuery<Page<T>>(path, everyMs);
  const [tail, setTail] = useState<{ items: T[]; cursor: string | null } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => setTail(null), [path]);

  const head = answer.data?.items ?? [];
  const seen = new Set(head.map(id));
  const items = [...head, ...(tail?.items.filter((item) => !seen.has(id(item))) ?? [])];
  const cursor = tail ? tail.cursor : (answer.data?.next_cursor ?? null);
  const ask = async () => {
    setProblem(null);
    try {
      const joint = path.includes("?") ? "&" : "?";
      const page = await call<Page<T>>(`${path}${joint}cursor=${encodeURIComponent(cursor ?? "")}`);
      // What has moved off the first page since then stays on the list.
      setTail({ items: [...(tail?.items ?? head), ...page.items], cursor: page.next_cursor });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setProblem(error.problem);
    }
  };
  return { answer, items, more: cursor === null ? null : () => void ask(), problem };
}

/** A path with the filters that are set. */
export function withQuery(path: string, fields: Record<string, string>): string {
  const query = new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== ""));
  return query.size === 0 ? path : `${path}?${query}`;
}
