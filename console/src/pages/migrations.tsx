/** `/d/migrations`: VMs that move while they run. */

import { usePaged, withQuery } from "../api/paged";
import type { Migration } from "../api/work_types";
import * as format from "../format";
import { to, useFilters } from "../router";
import { Progress, State, Unknown, Value, When } from "../ui/marks";
import { More } from "../ui/more";
import { Heading, Panel } from "../ui/panel";

export function Migrations() {
  const [filters, change] = useFilters();
  const { open = "" } = filters;
  const paged = usePaged<Migration>(withQuery("/v1/migrations", { open }), 2000, (one) => `${one.migration}/${one.vm}`);
  return (
    <>
      <Heading title="Migrations" about="Those that wait or run first, then the newest.">
        <label class="check">
          <input type="checkbox" checked={open !== ""} onChange={(e) => change({ open: e.currentTarget.checked ? "true" : "" })} />
          <span>only those that wait or run</span>
        </label>
      </Heading>
      <Panel title="Moves" answer={paged.answer} wide>
        <div class="scroll" tabIndex={0} role="group" aria-label="Migrations">
          <table>
            <thead>
              <tr>
                <th scope="col">State</th>
                <th scope="col">VM</th>
                <th scope="col">From</th>
                <th scope="col">To</th>
                <th scope="col">Copied, or took</th>
                <th scope="col">Rate, and what is left</th>
                <th scope="col" class="right">
                  Stood still
                </th>
                <th scope="col">Asked</th>
                <th scope="col">Why, or how it ended</th>
              </tr>
            </thead>
            <tbody>
              {paged.items.map((move) => (
                <Line key={`${move.migration}/${move.vm}`} move={move} />
              ))}
            </tbody>
          </table>
        </div>
        <More paged={paged} none="No VM moves or has moved." />
      </Panel>
    </>
  );
}

function Line({ move }: { move: Migration }) {
  const over = move.ended_at_ms !== null;
  const mib = (bytes: number | null) => (bytes === null ? null : Math.round(bytes / (1 << 20)));
  return (
    <tr>
      <td>
        <State name={move.state} work />
        {!over && move.stage && move.stage !== move.state && <span class="muted"> {move.stage}</span>}
      </td>
      <th scope="row">
        <a href={to("vms", move.vm)}>{move.name}</a> <span class="muted">{move.kind}</span>
      </th>
      <td>
        {move.from}/{move.from_host}
      </td>
      <td>
        {move.to}
        {move.to_host && `/${move.to_host}`}
      </td>
      <td>
        {move.bytes_done === null ? (
          over ? (
            <span class="muted">{move.took_ms === null ? "" : format.duration(move.took_ms)}</span>
          ) : (
            <Unknown />
          )
        ) : (
          <>
            <Progress done={mib(move.bytes_done) ?? 0} total={mib(move.bytes_total)} label={`Copy of ${move.name}, MiB`} />
            <span class="muted"> MiB</span>
          </>
        )}
      </td>
      <td>{!over && move.state === "running" && <Pace move={move} />}</td>
      <td class="right">
        {move.downtime_ms === null && !over ? <span class="muted">not yet</span> : <Value v={move.downtime_ms} as={format.duration} />}
      </td>
      <td>
        <When at={move.asked_at_ms} />
      </td>
      <td class="wrap">{move.reason}</td>
    </tr>
  );
}

function Pace({ move }: { move: Migration }) {
  return (
    <>
      <Value v={move.rate_bytes_per_s} as={(n) => `${format.bytes(n)}/s`} />,{" "}
      <Value v={move.left_ms} as={(ms) => `${format.duration(ms)} left`} why="or never at these rates" />
    </>
  );
}
