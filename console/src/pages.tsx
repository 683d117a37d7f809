/** Which page belongs to which path. */

import type { VNode } from "preact";
import { AlertPage, Alerts } from "./pages/alerts";
import { DrillPage, Drills } from "./pages/drills";
import { Events } from "./pages/events";
import { FailoverPage } from "./pages/failover";
import { Failovers } from "./pages/failovers";
import { HostPage, Hosts } from "./pages/hosts";
import { IncidentPage } from "./pages/incident";
import { Incidents } from "./pages/incidents";
import { Maintenance } from "./pages/maintenance";
import { MapPage } from "./pages/map";
import { Messages } from "./pages/messages";
import { Migrations } from "./pages/migrations";
import { OperationPage, Operations } from "./pages/operations";
import { Overview } from "./pages/overview";
import { GlobalRouting, RegionPerformance, StateSync } from "./pages/performance";
import { RegionPage } from "./pages/region";
import { BreachPage, Slas } from "./pages/slas";
import { VmPage } from "./pages/vm";
import { Vms } from "./pages/vms";
import { match } from "./router";

export interface Entry {
  path: string;
  title: string;
  /** Letter after `g`. */
  letter: string;
}

export const SECTIONS: { name: string; entries: Entry[] }[] = [
  {
    name: "Dashboards",
    entries: [
      { path: "/d/federation-overview", title: "Federation overview", letter: "o" },
      { path: "/d/region-performance", title: "Region performance", letter: "r" },
      { path: "/d/state-sync", title: "State sync", letter: "s" },
      { path: "/d/global-routing", title: "Global routing", letter: "t" },
      { path: "/d/map", title: "Map and matrices", letter: "m" },
    ],
  },
  {
    name: "Inventory",
    entries: [
      { path: "/d/vms", title: "VMs", letter: "v" },
      { path: "/d/hosts", title: "Hosts", letter: "h" },
    ],
  },
  {
    name: "Watch",
    entries: [
      { path: "/d/incidents", title: "Incidents", letter: "n" },
      { path: "/d/alerts", title: "Alerts", letter: "a" },
      { path: "/d/slas", title: "SLAs", letter: "l" },
      { path: "/d/messages", title: "Messages", letter: "c" },
    ],
  },
  {
    name: "Work",
    entries: [
      { path: "/d/operations", title: "Operations", letter: "p" },
      { path: "/d/failovers", title: "Failovers", letter: "f" },
      { path: "/d/migrations", title: "Migrations", letter: "i" },
      { path: "/d/maintenance", title: "Maintenance", letter: "w" },
      { path: "/d/drills", title: "Drills", letter: "d" },
      { path: "/d/events", title: "Events", letter: "e" },
    ],
  },
];

type Params = Record<string, string>;

const ROUTES: [string, (params: Params) => VNode][] = [
  ["/d/federation-overview", () => <Overview />],
  ["/d/region-performance", () => <RegionPerformance />],
  ["/d/state-sync", () => <StateSync />],
  ["/d/global-routing", () => <GlobalRouting />],
  ["/d/map", () => <MapPage />],
  ["/d/regions/:region", ({ region = "" }) => <RegionPage key={region} region={region} />],
  ["/d/vms", () => <Vms />],
  ["/d/vms/:vm", ({ vm = "" }) => <VmPage key={vm} vm={vm} />],
  ["/d/hosts", () => <Hosts />],
  ["/d/hosts/:region/:host", ({ region = "", host = "" }) => <HostPage key={`${region}/${host}`} region={region} host={host} />],
  ["/d/incidents", () => <Incidents />],
  ["/d/incidents/:incident", ({ incident = "" }) => <IncidentPage key={incident} incident={incident} />],
  ["/d/alerts", () => <Alerts />],
  ["/d/alerts/:alert", ({ alert = "" }) => <AlertPage key={alert} alert={alert} />],
  ["/d/slas", () => <Slas />],
  ["/d/slas/:breach", ({ breach = "" }) => <BreachPage key={breach} breach={breach} />],
  ["/d/messages", () => <Messages />],
  ["/d/operations", () => <Operations />],
  ["/d/operations/:operation", ({ operation = "" }) => <OperationPage key={operation} operation={operation} />],
  ["/d/failovers", () => <Failovers />],
  ["/d/failovers/:failover", ({ failover = "" }) => <FailoverPage key={failover} failover={failover} />],
  ["/d/migrations", () => <Migrations />],
  ["/d/maintenance", () => <Maintenance />],
  ["/d/drills", () => <Drills />],
  ["/d/drills/:drill", ({ drill = "" }) => <DrillPage key={drill} drill={drill} />],
  ["/d/events", () => <Events />],
];

/** The page of a path; `null` when there is none. */
export function pageOf(path: string): VNode | null {
  for (const [pattern, page] of ROUTES) {
    const params = match(pattern, path);
    if (params) return page(params);
  }
  return null;
}
