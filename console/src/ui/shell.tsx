/** What surrounds every page: navigation, who is signed in, the freeze switch, shortcuts. */

import { useEffect, useRef, useState } from "preact/hooks";
import { freezeAction } from "../actions/region_actions";
import { ApiError, call } from "../api/client";
import { refreshAll, useQuery } from "../api/query";
import type { FederationStatus, Freeze } from "../api/region_types";
import type { Principal } from "../api/work_types";
import { pageOf, SECTIONS } from "../pages";
import { HOME, navigate, place } from "../router";
import { session, signOut } from "../session";
import { useStore } from "../store";
import { ActionButton, ActionDialogs } from "./action";
import { Help } from "./help";
import { State } from "./marks";
import { Heading } from "./panel";
import { useShortcuts } from "./shortcuts";
import { nextTheme, theme } from "./theme";

export function Shell() {
  const { path } = useStore(place);
  const [help, setHelp] = useState(false);
  const [menu, setMenu] = useState(false);
  const main = useRef<HTMLElement>(null);
  usePrincipal();
  useShortcuts(() => setHelp(true));

  useEffect(() => {
    if (path === "/") navigate(HOME, true);
  }, [path]);
  useArrival(path, main);
  useEffect(() => setMenu(false), [path]);

  const page = pageOf(path);
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => skip(event, main.current)}>
        Skip to the page
      </a>
      <Header menu={menu} flip={() => setMenu(!menu)} help={() => setHelp(true)} />
      <Navigation path={path} shown={menu} />
      <main id="main" ref={main} tabIndex={-1}>
        {page ?? (path === "/" ? null : <Nowhere path={path} />)}
      </main>
      <ActionDialogs />
      {help && <Help close={() => setHelp(false)} />}
    </>
  );
}

function skip(event: MouseEvent, main: HTMLElement | null): void {
  event.preventDefault();
  main?.focus();
}

function Nowhere({ path }: { path: string }) {
  return (
    <>
      <Heading title="There is no such page" about={path} />
      <p>
        <a href={HOME}>Federation overview</a>
      </p>
    </>
  );
}

/** Moving to another page is told: its title, and the focus at its heading. */
function useArrival(path: string, main: { current: HTMLElement | null }): void {
  const before = useRef<string | null>(null);
  useEffect(() => {
    const heading = main.current?.querySelector("h1");
    document.title = `${heading?.textContent ?? "DWCP"} – DWCP console`;
    if (before.current !== null && before.current !== path) {
      scrollTo(0, 0);
      heading?.focus({ preventScroll: true });
    }
    before.current = path;
  }, [path]);
}

function usePrincipal(): void {
  const { token, principal } = useStore(session);
  useEffect(() => {
    if (token === null || principal !== null) return;
    const leaving = new AbortController();
    const ask = () =>
      call<Principal>("/v1/whoami", { signal: leaving.signal }).then(
        (found) => session.set({ token, principal: found, problem: null }),
        (error: unknown) => {
          if (leaving.signal.aborted) return;
          if (!(error instanceof ApiError)) throw error;
          setTimeout(ask, 3000);
        },
      );
    void ask();
    return () => leaving.abort();
  }, [token, principal]);
}

function Header({ menu, flip, help }: { menu: boolean; flip: () => void; help: () => void }) {
  const federation = useQuery<FederationStatus>("/v1/federation", 5000);
  const freeze = useQuery<Freeze>("/v1/freeze", 10_000);
  const { principal } = useStore(session);
  const chosen = useStore(theme);
  return (
    <header>
      <button type="button" class="menu" aria-expanded={menu} aria-controls="navigation" onClick={flip}>
        Menu
      </button>
      <a class="brand" href={HOME}>
        <img src="/favicon.svg" alt="" width={20} height={20} />
        <b>DWCP</b> <span class="federation">{federation.data?.federation ?? ""}</span>
      </a>
      <span class="answered muted">{federation.data && `answered by ${federation.data.answered_by}`}</span>
      <span class="grow" />
      {freeze.data && freeze.data.state !== "active" && <State name={freeze.data.local ?? freeze.data.state} />}
      {freeze.data && <ActionButton action={{ ...freezeAction(freeze.data), label: "Freeze…", button: "plain" }} />}
      <button type="button" onClick={refreshAll} title="Ask for everything on the page again (r)">
        Refresh
      </button>
      <button type="button" onClick={nextTheme} title="Light, dark, or as the system (l)">
        {chosen === "system" ? "Auto" : chosen === "light" ? "Light" : "Dark"}
        <span class="out"> colours; switch</span>
      </button>
      <button type="button" onClick={help} aria-label="Help and shortcuts" title="Help and shortcuts (?)">
        ?
      </button>
      <span class="who">
        {principal ? (
          <>
            {principal.user} <span class="tag">{principal.role}</span>
          </>
        ) : (
          <span class="muted">permission not known yet</span>
        )}
      </span>
      <button type="button" onClick={() => signOut()}>
        Sign out
      </button>
    </header>
  );
}

function Navigation({ path, shown }: { path: string; shown: boolean }) {
  return (
    <nav id="navigation" aria-label="Pages" class={shown ? "shown" : ""}>
      {SECTIONS.map((section) => (
        <div key={section.name}>
          <h2>{section.name}</h2>
          <ul>
            {section.entries.map((entry) => (
              <li key={entry.path}>
                <a
                  href={entry.path}
                  aria-current={path === entry.path ? "page" : path.startsWith(`${entry.path}/`) ? "true" : undefined}
                  title={`g ${entry.letter}`}
                >
                  {entry.title}
                </a>
              </li>
            ))}
          </ul>
        </div>
      ))}
    </nav>
  );
}
