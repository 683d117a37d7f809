/** Answers that pages share: asked for again while somebody looks, kept with the time at which they came. */

import { useEffect, useState } from "preact/hooks";
import { session } from "../session";
import { ApiError, call, stream } from "./client";
import type { Problem } from "./work_types";

export interface Answer<T> {
  /** The newest answer, also when a later one failed. */
  data: T | null;
  /** When `data` came, by this browser's clock. */
  at: number;
  /** Why the last try failed; `null` when it did not. */
  problem: Problem | null;
}

const NOTHING: Answer<never> = { data: null, at: 0, problem: null };
/** Answers that nobody looks at are forgotten beyond this many. */
const MOST_KEPT = 60;

class Entry {
  answer: Answer<unknown> = NOTHING;
  readonly followers = new Map<() => void, number>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asking = false;

  constructor(private readonly path: string) {}

  follow(follower: () => void, everyMs: number): () => void {
    this.followers.set(follower, everyMs);
    const age = Date.now() - this.answer.at;
    if (this.answer.data === null || age >= everyMs) void this.ask();
    else this.plan();
    return () => {
      this.followers.delete(follower);
      if (this.followers.size === 0) clearTimeout(this.timer);
    };
  }

  async ask(): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    clearTimeout(this.timer);
    try {
      const data = await call<unknown>(this.path);
      this.answer = { data, at: Date.now(), problem: null };
    } catch (error) {
      if (error instanceof ApiError) this.answer = { ...this.answer, problem: error.problem };
      else throw error;
    } finally {
      this.asking = false;
    }
    for (const follower of [...this.followers.keys()]) follower();
    this.plan();
  }

  private plan(): void {
    clearTimeout(this.timer);
    if (this.followers.size === 0) return;
    const everyMs = Math.min(...this.followers.values());
    if (!Number.isFinite(everyMs)) return;
    this.timer = setTimeout(() => {
      if (document.hidden) this.plan();
      else void this.ask();
    }, everyMs);
  }
}

const entries = new Map<string, Entry>();

// Answers belong to the token that asked for them.
session.follow(() => {
  if (session.get().token === null) entries.clear();
});

function entryOf(path: string): Entry {
  let entry = entries.get(path);
  if (!entry) {
    entry = new Entry(path);
    entries.set(path, entry);
    if (entries.size > MOST_KEPT) {
      for (const [key, old] of entries) {
        if (old !== entry && old.followers.size === 0) entries.delete(key);
      }
    }
  }
  return entry;
}

/** Asks for everything on the page again. */
export function refreshAll(): void {
  for (const entry of entries.values()) {
    if (entry.followers.size > 0) void entry.ask();
  }
  document.dispatchEvent(new CustomEvent("dwcp-refresh"));
}

/** The answer to `GET path`, asked for again every `everyMs`; a `null` path asks nothing. */
export function useQuery<T>(path: string | null, everyMs = 5000): Answer<T> & { refresh: () => void } {
  const [, render] = useState(0);
  useEffect(() => {
    if (path === null) return;
    return entryOf(path).follow(() => render((n) => n + 1), everyMs);
  }, [path, everyMs]);
  const entry = path === null ? null : entryOf(path);
  return {
    ...((entry?.answer ?? NOTHING) as Answer<T>),
    refresh: () => {
      if (entry) void entry.ask();
    },
  };
}

/** How long to wait before a stream that ended is opened again, ms. */
const AGAIN_MS = 1500;

/** The newest value of `GET path?watch=true`, followed until `ended` says that no more will come. */
export function useStream<T>(path: string | null, ended: (value: T) => boolean): Answer<T> {
  const [answer, setAnswer] = useState<Answer<T>>(NOTHING);
  useEffect(() => {
    if (path === null) return;
    const leaving = new AbortController();
    setAnswer(NOTHING);
    void follow(path, leaving.signal, ended, setAnswer);
    return () => leaving.abort();
  }, [path]);
  return answer;
}

async function follow<T>(
  path: string,
  signal: AbortSignal,
  ended: (value: T) => boolean,
  tell: (change: (before: Answer<T>) => Answer<T>) => void,
): Promise<void> {
  let over = false;
  while (!over && !signal.aborted) {
    try {
      await stream<T>(path, signal, (data) => {
        over = ended(data);
        tell(() => ({ data, at: Date.now(), problem: null }));
      });
    } catch (error) {
      if (signal.aborted) return;
      const problem = error instanceof ApiError ? error.problem : null;
      if (problem) tell((before) => ({ ...before, problem }));
      if (problem && problem.status >= 400 && problem.status < 500) return;
    }
    if (!over) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}
