/** All items of a paged list, kept between pages of the console: 15,000 VMs are fifteen pages of the API. */

import { useEffect } from "preact/hooks";
import { session } from "../session";
import { Store, useStore } from "../store";
import { ApiError, call } from "./client";
import type { Freshness, Page } from "./region_types";
import type { Problem } from "./work_types";

/** The first page is small, so that something is seen at once; the others are as large as the API gives. */
const FIRST = 200;
const MOST = 1000;
/** Loaded anew when older than this while somebody looks, ms. */
const RENEW_MS = 60_000;

/** An item with its searchable text in lower case, made once. */
export interface Found<T> {
  item: T;
  text: string;
}

export interface Fleet<T> {
  items: Found<T>[];
  /** All pages have come. */
  whole: boolean;
  at: number;
  asOf: Freshness[];
  problem: Problem | null;
}

export class FleetList<T> {
  readonly store: Store<Fleet<T>>;
  private loading = false;

  constructor(
    private readonly path: string,
    private readonly text: (item: T) => string,
  ) {
    this.store = new Store<Fleet<T>>(this.none());
    session.follow(() => {
      if (session.get().token === null) this.store.set(this.none());
    });
  }

  private none(): Fleet<T> {
    return { items: [], whole: false, at: 0, asOf: [], problem: null };
  }

  /** Loads all pages; what is shown meanwhile grows the first time and stays afterwards. */
  async load(): Promise<void> {
    if (this.loading) return;
    this.loading = true;
    const first = !this.store.get().whole;
    const items: Found<T>[] = [];
    let cursor: string | null = null;
    try {
      do {
        const query = new URLSearchParams({ limit: String(cursor === null ? FIRST : MOST) });
        if (cursor !== null) query.set("cursor", cursor);
        const page: Page<T> = await call<Page<T>>(`${this.path}?${query}`);
        for (const item of page.items) items.push({ item, text: this.text(item).toLowerCase() });
        cursor = page.next_cursor;
        if (first || cursor === null) {
          this.store.set({ items: items.slice(), whole: cursor === null, at: Date.now(), asOf: page.as_of, problem: null });
        }
      } while (cursor !== null && session.get().token !== null);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.store.set({ ...this.store.get(), problem: error.problem });
    } finally {
      this.loading = false;
    }
  }

  renew(): void {
    const { at, whole } = this.store.get();
    if (!whole || Date.now() - at >= RENEW_MS) void this.load();
  }
}

/** The list, loaded while the component is there. */
export function useFleet<T>(list: FleetList<T>): Fleet<T> {
  useEffect(() => {
    list.renew();
    const timer = setInterval(() => {
      if (!document.hidden) list.renew();
    }, 5000);
    const now = () => void list.load();
    document.addEventListener("dwcp-refresh", now);
    return () => {
      clearInterval(timer);
      document.removeEventListener("dwcp-refresh", now);
    };
  }, [list]);
  return useStore(list.store);
}

/** Items that contain every word. */
export function search<T>(items: Found<T>[], words: string): Found<T>[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length === 0) return items;
  return items.filter(({ text }) => wanted.every((word) => text.includes(word)));
}
