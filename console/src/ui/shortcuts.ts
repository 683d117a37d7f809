/** Single keys, where nobody types: `g` and a letter goes to a page. */

import { useEffect } from "preact/hooks";
import { refreshAll } from "../api/query";
import { SECTIONS } from "../pages";
import { navigate } from "../router";
import { Store } from "../store";
import { nextTheme } from "./theme";

/** How long after `g` its letter counts, ms. */
const WAIT_MS = 1500;

export const KEYS: [string, string][] = [
  ["?", "this help"],
  ["/", "search in the list"],
  ["r", "ask for everything on the page again"],
  ["l", "light, dark, or as the system"],
  ["Esc", "close a dialog"],
  ["↑ ↓ Page Home End", "move in a list, Enter opens"],
];

const KEY = "dwcp.keys";

function stored(): boolean {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}

/** Whether single keys do something: who speaks to the machine, or hits keys by chance, switches them off (WCAG 2.1.4). */
export const singleKeys = new Store(stored());

export function setSingleKeys(on: boolean): void {
  try {
    localStorage.setItem(KEY, on ? "on" : "off");
  } catch {
    // It lasts as long as the page.
  }
  singleKeys.set(on);
}

function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || ["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName);
}

export function useShortcuts(help: () => void): void {
  useEffect(() => {
    let goes = 0;
    const pressed = (event: KeyboardEvent) => {
      if (!singleKeys.get() || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      if (document.querySelector("dialog[open]")) return;
      const going = Date.now() - goes < WAIT_MS;
      goes = event.key === "g" && !going ? Date.now() : 0;
      const entry = going && SECTIONS.flatMap((section) => section.entries).find((one) => one.letter === event.key);
      if (entry) navigate(entry.path);
      else if (event.key === "?") help();
      else if (event.key === "r") refreshAll();
      else if (event.key === "l") nextTheme();
      else if (event.key === "/") {
        const box = document.querySelector<HTMLInputElement>("[data-search]");
        if (!box) return;
        box.focus();
        box.select();
      } else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
}
