/** Light or dark: the system's choice until somebody switches. */

import { Store } from "../store";

export type Theme = "system" | "light" | "dark";

const KEY = "dwcp.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system";
  }
}

export const theme = new Store<Theme>(stored());
/** What is shown now; charts follow it, as a canvas does not read style sheets. */
export const shown = new Store<"light" | "dark">("light");

function apply(): void {
  const now = theme.get() === "system" ? (dark.matches ? "dark" : "light") : theme.get();
  document.documentElement.dataset["theme"] = now;
  shown.set(now === "dark" ? "dark" : "light");
}

export function startTheme(): void {
  apply();
  theme.follow(apply);
  dark.addEventListener("change", apply);
}

export function nextTheme(): void {
  const order: Theme[] = ["system", "light", "dark"];
  const next = order[(order.indexOf(theme.get()) + 1) % order.length] ?? "system";
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // It lasts as long as the page.
  }
  theme.set(next);
}
