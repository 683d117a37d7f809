/** Comparing all replicas: what was asked and what it found. */

import * as format from "../format";
import type { Freshness } from "../api/region_types";
import type { Action } from "../ui/action";
import { State, Value } from "../ui/marks";
import { Notes } from "../ui/panel";

interface SyncVerdict {
  state: string;
  regions: {
    region: string;
    state: string;
    silent_ms: number | null;
    groups: number;
    of_groups: number;
    records: number | null;
    differs: string[];
    left_out: { group: string; why: string }[];
  }[];
  took_ms: number;
  as_of: Freshness[];
}

export const verifyAction: Action = {
  label: "Verify state",
  title: "Compare every region's state",
  about: "Every replica is compared at one place of each log, and the stores are read back from the disks. Up to 25 s; nothing is changed.",
  needs: "read",
  method: "POST",
  path: () => "/v1/state/verify-sync",
  body: () => ({}),
  dryRun: "none",
  measured: true,
  done: (verdict: SyncVerdict) => (
    <>
      <State name={verdict.state} /> in {format.duration(verdict.took_ms)}
    </>
  ),
  show: (verdict: SyncVerdict) => (
    <>
      <table>
        <thead>
          <tr>
            <th scope="col">Region</th>
            <th scope="col">State</th>
            <th scope="col" class="right">
              Groups
            </th>
            <th scope="col" class="right">
              Records
            </th>
          </tr>
        </thead>
        <tbody>
          {verdict.regions.map((region) => (
            <tr key={region.region}>
              <th scope="row">{region.region}</th>
              <td>
                <State name={region.state} />
                {region.silent_ms !== null && ` silent for ${format.age(region.silent_ms)}`}
              </td>
              <td class="right num">
                {region.groups} of {region.of_groups}
              </td>
              <td class="right">
                <Value v={region.records} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <Notes tone="warn" lines={verdict.regions.flatMap((region) => region.left_out.map((one) => `${region.region}, ${one.group}: ${one.why}`))} />
    </>
  ),
};
