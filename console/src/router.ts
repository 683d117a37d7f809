/** Paths of the console: `/` and everything below `/d/`. Filters live in the query, so that a page can be sent to a colleague. */

import { Store, useStore } from "./store";

export interface Place {
  path: string;
  search: string;
}

const here = (): Place => ({ path: location.pathname, search: location.search });

export const place = new Store<Place>(here());

export const HOME = "/d/federation-overview";

export function navigate(target: string, replace = false): void {
  if (replace) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  place.set(here());
}

addEventListener("popstate", () => place.set(here()));

/** Links inside the console change the page without loading it anew. */
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const anchor = (event.target as Element | null)?.closest("a");
  const href = anchor?.getAttribute("href");
  if (!anchor || !href || anchor.target || !href.startsWith("/d/")) return;
  event.preventDefault();
  navigate(href);
});

/** The parameters of a path, when it has the shape of `pattern` (`/d/vms/:vm`). */
export function match(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split("/");
  const parts = path.split("/");
  if (wanted.length !== parts.length) return null;
  const params: Record<string, string> = {};
  for (const [i, name] of wanted.entries()) {
    const part = parts[i] ?? "";
    if (name.startsWith(":") && part !== "") {
      try {
        params[name.slice(1)] = decodeURIComponent(part);
      } catch {
        return null;
      }
    } else if (name !== part) return null;
  }
  return params;
}

/** A path below `/d/` with its parts escaped. */
export function to(...parts: string[]): string {
  return `/d/${parts.map(encodeURIComponent).join("/")}`;
}

export type Filters = Record<string, string>;

/** The query of the page, and how to change it; empty values leave it. */
export function useFilters(): [Filters, (change: Filters) => void] {
  const { path, search } = useStore(place);
  const filters = Object.fromEntries(new URLSearchParams(search));
  const change = (more: Filters) => {
    const next = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(more)) {
      if (value === "") next.delete(name);
      else next.set(name, value);
    }
    const text = next.toString();
    navigate(text === "" ? path : `${path}?${text}`, true);
  };
  return [filters, change];
}
