/** Who is signed in. The token stays in this tab's session storage: it ends with the tab and never enters a URL. */

import type { Problem, Principal, Role } from "./api/work_types";
import { Store } from "./store";

const KEY = "dwcp.token";

export interface Session {
  token: string | null;
  /** `null` until the API has told. */
  principal: Principal | null;
  /** Why the last session ended, or the sign-in failed. */
  problem: Problem | null;
}

function stored(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    // Storage is switched off: the session lasts as long as the page.
    return null;
  }
}

export const session = new Store<Session>({ token: stored(), principal: null, problem: null });

export function signIn(token: string, principal: Principal): void {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // See above.
  }
  session.set({ token, principal, problem: null });
}

export function signOut(problem: Problem | null = null): void {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // See above.
  }
  session.set({ token: null, principal: null, problem });
}

/** What an action needs of the caller's role. */
export type Needs = "read" | "operate" | "administer";

const ROLE_FOR: Record<Needs, Role> = { read: "viewer", operate: "operator", administer: "admin" };
const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

/** Why the caller may not do something; `null` when they may. */
export function lacks(needs: Needs, role: Role | undefined): string | null {
  const wanted = ROLE_FOR[needs];
  if (role === undefined) return "Your permission is not known yet.";
  if (RANK[role] >= RANK[wanted]) return null;
  return `Needs the role ${wanted}; your token is a ${role}.`;
}
