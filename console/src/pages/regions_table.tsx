/** The regions as a table, and who of them does not answer. */

import type { FederationStatus, RegionSummary } from "../api/region_types";
import * as format from "../format";
import { to } from "../router";
import { useNow } from "../store";
import { Mark, Meter, State, Unknown, Value } from "../ui/marks";
import { OLD_MS } from "../ui/panel";

/** Why a region's numbers can't be taken as current; `null` when they can. */
export function silence(summary: RegionSummary, sinceMs: number): string | null {
  if (summary.lifecycle === "lost") return "is lost";
  if (summary.age_ms === null) return "was never heard";
  const age = summary.age_ms + sinceMs;
  if (age > OLD_MS) return `does not answer: last heard ${format.age(age)} ago`;
  return summary.health.state === "unknown" ? "does not answer" : null;
}

/** One line a region that does not answer. */
export function Silent({ status, at }: { status: FederationStatus; at: number }) {
  const now = useNow();
  const silent = status.regions.flatMap((summary) => {
    const why = silence(summary, Math.max(0, now - at));
    return why ? [{ region: summary.region, why }] : [];
  });
  if (silent.length === 0) return null;
  return (
    <div class="banner bad" role="status">
      <span class="glyph" aria-hidden="true">
        ■
      </span>
      <div>
        {silent.map(({ region, why }) => (
          <p key={region}>
            <a href={to("regions", region)}>{region}</a> {why}; its numbers are the last known.
          </p>
        ))}
      </div>
    </div>
  );
}

function Score({ summary }: { summary: RegionSummary }) {
  const { health } = summary;
  const causes = health.deductions.map((one) => `−${one.points} ${one.cause}${one.muted_by ? ` (muted by ${one.muted_by})` : ""}`);
  return (
    <span title={causes.join("\n") || undefined}>
      <State name={health.state} /> {health.score !== null && <span class="num muted">{health.score}</span>}
      {summary.lifecycle !== "active" && (
        <>
          {" "}
          <State name={summary.lifecycle} />
        </>
      )}
    </span>
  );
}

const vcpus = (n: number) => `${format.count(n)} vCPUs`;
const gib = (n: number) => `${format.count(n)} GiB`;

export function RegionsTable({ status, at }: { status: FederationStatus; at: number }) {
  const now = useNow();
  const since = Math.max(0, now - at);
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Regions">
      <table>
        <thead>
          <tr>
            <th scope="col">Region</th>
            <th scope="col">Health</th>
            <th scope="col" class="right">
              VMs
            </th>
            <th scope="col" class="right">
              Hosts
            </th>
            <th scope="col">CPU</th>
            <th scope="col">Memory</th>
            <th scope="col">Storage</th>
            <th scope="col" class="right">
              Traffic
            </th>
            <th scope="col">Placement</th>
            <th scope="col">Led by</th>
            <th scope="col">Version</th>
            <th scope="col" class="right">
              Age
            </th>
          </tr>
        </thead>
        <tbody>
          {status.regions.map((summary) => {
            const silent = silence(summary, since) !== null;
            return (
              <tr key={summary.region} class={silent ? "old" : ""}>
                <th scope="row">
                  <a href={to("regions", summary.region)}>{summary.region}</a>
                  {summary.health.maintenance && <span class="tag">maintenance</span>}
                </th>
                <td>
                  <Score summary={summary} />
                </td>
                <td class="right">
                  <Value v={summary.vms} />
                </td>
                <td class="right num">{format.count(summary.hosts)}</td>
                <td>
                  <Meter label="CPU" usage={summary.cpu} unit={vcpus} />
                </td>
                <td>
                  <Meter label="Memory" usage={summary.memory} unit={format.mib} />
                </td>
                <td>
                  <Meter label="Storage" usage={summary.storage} unit={gib} />
                </td>
                <td class="right">
                  <Value v={summary.traffic_percent} as={format.percent} />
                </td>
                <td>
                  {summary.placement.enabled ? (
                    <Mark tone="ok">on</Mark>
                  ) : (
                    <span title={summary.placement.reason}>
                      <Mark tone="warn">off</Mark>
                    </span>
                  )}
                </td>
                <td>{summary.leader ?? <Unknown />}</td>
                <td>{summary.version ?? <Unknown />}</td>
                <td class={silent ? "right stale" : "right"}>
                  <Value v={summary.age_ms === null ? null : summary.age_ms + since} as={format.age} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
