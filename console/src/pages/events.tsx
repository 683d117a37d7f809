/** `/d/events`: what happened, newest first. */

import { useState } from "preact/hooks";
import { usePaged, withQuery } from "../api/paged";
import { useQuery } from "../api/query";
import type { Event, FederationStatus } from "../api/region_types";
import * as format from "../format";
import { to, useFilters } from "../router";
import { Choice } from "../ui/filters";
import { State, When } from "../ui/marks";
import { More } from "../ui/more";
import { Heading, Panel } from "../ui/panel";

const SEVERITIES = ["info", "warning", "error", "critical"];
const SINCE: Record<string, number> = { "15m": 900_000, "1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000 };

export function Events() {
  const [filters, change] = useFilters();
  const { region = "", severity = "", since = "", subject = "" } = filters;
  const federation = useQuery<FederationStatus>("/v1/federation", 30_000);
  const since_ms = String(SINCE[since] ?? "");
  const paged = usePaged<Event>(withQuery("/v1/events", { region, severity, since_ms, subject }), 3000, (one) => one.id);
  return (
    <>
      <Heading title="Events" about="What happened, newest first; who asked for it, and the request." />
      <div class="filters" role="search">
        <Subject value={subject} change={(value) => change({ subject: value })} />
        <Choice
          label="Region"
          value={region}
          options={federation.data?.regions.map((one) => one.region) ?? []}
          change={(value) => change({ region: value })}
        />
        <Choice label="Severity" value={severity} options={SEVERITIES} change={(value) => change({ severity: value })} />
        <Choice label="Since" value={since} options={Object.keys(SINCE)} change={(value) => change({ since: value })} />
      </div>
      <Panel title="Log" answer={paged.answer} wide>
        <div class="scroll" tabIndex={0} role="group" aria-label="Events">
          <table class="top">
            <thead>
              <tr>
                <th scope="col">When, UTC</th>
                <th scope="col">Severity</th>
                <th scope="col">Region</th>
                <th scope="col">Kind</th>
                <th scope="col">What happened</th>
                <th scope="col">By</th>
              </tr>
            </thead>
            <tbody>
              {paged.items.map((event) => (
                <Line key={event.id} event={event} />
              ))}
            </tbody>
          </table>
        </div>
        <More paged={paged} none="Nothing like that has happened." />
      </Panel>
    </>
  );
}

function Subject({ value, change }: { value: string; change: (value: string) => void }) {
  const [text, setText] = useState(value);
  return (
    <form
      class="inline search"
      onSubmit={(event) => {
        event.preventDefault();
        change(text.trim());
      }}
    >
      <label class="inline">
        <span>About</span>
        <input
          type="search"
          data-search
          value={text}
          placeholder="id of a VM, host or operation"
          autocomplete="off"
          onInput={(event) => {
            setText(event.currentTarget.value);
            if (event.currentTarget.value === "") change("");
          }}
        />
      </label>
      <button type="submit">Show</button>
    </form>
  );
}

function Line({ event }: { event: Event }) {
  return (
    <tr>
      <td class="num" title={format.utc(event.at_ms)}>
        {format.clock(event.at_ms)}{" "}
        <span class="muted">
          <When at={event.at_ms} />
        </span>
      </td>
      <td>
        <State name={event.severity} />
        {event.muted_by && <span class="tag">muted by {event.muted_by}</span>}
      </td>
      <td>{event.region ? <a href={to("regions", event.region)}>{event.region}</a> : <span class="muted">federation</span>}</td>
      <td>{format.words(event.kind)}</td>
      <td class="wrap">
        {event.message}
        {(event.before !== null || event.after !== null) && (
          <small>
            {event.before ?? "nothing"} → {event.after ?? "nothing"}
          </small>
        )}
        {event.reason && <small>Reason: {event.reason}</small>}
      </td>
      <td>
        {event.by}
        {event.request_id && (
          <small>
            <code>{event.request_id}</code>
          </small>
        )}
      </td>
    </tr>
  );
}
