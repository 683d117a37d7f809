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
import { More } from "../ui/more";
import { Heading, Panel } from "../ui/panel";

const TONES: Record<MaintenanceWindow["state"], Tone> = { planned: "idle", running: "warn", over: "ok", cancelled: "unknown" };

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
      <Panel title="Windows" answer={paged.answer} wide>
        <div class="scroll" tabIndex={0} role="group" aria-label="Maintenance windows">
          <table>
            <thead>
              <tr>
                <th scope="col">Window</th>
                <th scope="col">State</th>
                <th scope="col">Of</th>
                <th scope="col">Starts</th>
                <th scope="col">Length</th>
                <th scope="col">Placement</th>
                <th scope="col">Reason</th>
                <th scope="col">By</th>
                <th scope="col">Notice</th>
                <th scope="col">Action</th>
              </tr>
            </thead>
            <tbody>
              {paged.items.map((window) => (
                <tr key={window.window}>
                  <th scope="row">{window.window}</th>
                  <td>
                    <Mark tone={TONES[window.state]}>{window.state}</Mark>
                  </td>
                  <td>
                    {window.host ? (
                      <a href={to("hosts", window.region, window.host)}>
                        {window.region}/{window.host}
                      </a>
                    ) : (
                      <a href={to("regions", window.region)}>{window.region}</a>
                    )}
                  </td>
                  <td>
                    {format.utc(window.starts_at_ms)}{" "}
                    <span class="muted">
                      <When at={window.starts_at_ms} />
                    </span>
                  </td>
                  <td class="num">{format.duration(window.ends_at_ms - window.starts_at_ms)}</td>
                  <td>{window.no_placement ? "stops" : "goes on"}</td>
                  <td class="wrap">{window.reason}</td>
                  <td>{window.by}</td>
                  <td>{window.notice}</td>
                  <td>
                    {window.state === "planned" || window.state === "running" ? <ActionButton action={cancelWindow(window)} /> : <span class="muted">none</span>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <More paged={paged} none="None is planned." />
      </Panel>
    </>
  );
}
