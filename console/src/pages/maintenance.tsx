/** `/d/maintenance`: windows of regions and hosts. */

import { cancelWindow, scheduleAction } from "../actions/work_actions";
import { usePaged, withQuery } from "../api/paged";
import { useQuery } from "../api/query";
import type { FederationStatus } from "../api/region_types";
import type { MaintenanceWindow } from "../api/work_types";
import * as format from "../format";
import { to, useFilters } from "../router";
import { ActionButton } from "../ui/action";
import { Mark, type Tone, When } from "../ui/marks";
import { Heading } from "../ui/panel";
import { type Cell, PagedTable } from "../ui/table";

const TONES: Record<MaintenanceWindow["state"], Tone> = { planned: "idle", running: "warn", over: "ok", cancelled: "unknown" };

const CELLS: Cell<MaintenanceWindow>[] = [
  { title: "Window", head: true, cell: (one) => one.window },
  { title: "State", cell: (one) => <Mark tone={TONES[one.state]}>{one.state}</Mark> },
  {
    title: "Of",
    cell: ({ region, host }) =>
      host ? (
        <a href={to("hosts", region, host)}>
          {region}/{host}
        </a>
      ) : (
        <a href={to("regions", region)}>{region}</a>
      ),
  },
  {
    title: "Starts",
    cell: (one) => (
      <>
        {format.utc(one.starts_at_ms)}{" "}
        <span class="muted">
          <When at={one.starts_at_ms} />
        </span>
      </>
    ),
  },
  { title: "Length", cell: (one) => <span class="num">{format.duration(one.ends_at_ms - one.starts_at_ms)}</span> },
  { title: "Placement", cell: (one) => (one.no_placement ? "stops" : "goes on") },
  { title: "Reason", wrap: true, cell: (one) => one.reason },
  { title: "By", cell: (one) => one.by },
  { title: "Notice", cell: (one) => one.notice },
  {
    title: "Action",
    cell: (one) => (one.state === "planned" || one.state === "running" ? <ActionButton action={cancelWindow(one)} /> : <span class="muted">none</span>),
  },
];

export function Maintenance() {
  const [filters, change] = useFilters();
  const { all = "" } = filters;
  const federation = useQuery<FederationStatus>("/v1/federation", 15_000);
  const paged = usePaged<MaintenanceWindow>(withQuery("/v1/maintenance", { all }), 5000, (one) => one.window);
  return (
    <>
      <Heading title="Maintenance windows" about="What happens in one is recorded and mutes its region or host.">
        <label class="check">
          <input type="checkbox" checked={all !== ""} onChange={(e) => change({ all: e.currentTarget.checked ? "true" : "" })} />
          <span>also those that are over or called off</span>
        </label>
        <ActionButton action={scheduleAction(federation.data?.regions.map((one) => one.region) ?? [])} />
      </Heading>
      <PagedTable title="Windows" label="Maintenance windows" paged={paged} cells={CELLS} rowKey={(one) => one.window} none="None is planned." />
    </>
  );
}
