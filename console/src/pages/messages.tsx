/** `/d/messages`: what was sent to whom, and what did not arrive. */

import { retryAction } from "../actions/watch_actions";
import { usePaged, withQuery } from "../api/paged";
import type { NotificationRow } from "../api/watch_types";
import * as format from "../format";
import { to, useFilters } from "../router";
import { ActionButton } from "../ui/action";
import { Choice } from "../ui/filters";
import { Mark, type Tone, When } from "../ui/marks";
import { Heading } from "../ui/panel";
import { type Cell, PagedTable } from "../ui/table";

const STATES = ["pending", "delivered", "dead"];
const SINCE: Record<string, number> = { "1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000 };
const TONES: Record<NotificationRow["state"], Tone> = { pending: "busy", delivered: "ok", dead: "bad" };

function About({ id }: { id: string }) {
  return id.startsWith("INC-") ? <a href={to("incidents", id)}>{id}</a> : <>{id}</>;
}

const CELLS: Cell<NotificationRow>[] = [
  { title: "Made", head: true, cell: (one) => <When at={one.created_at_ms} /> },
  { title: "State", cell: (one) => <Mark tone={TONES[one.state]}>{one.state === "dead" ? "dead letter" : one.state}</Mark> },
  {
    title: "To",
    cell: (one) => (
      <>
        {one.receiver} <span class="muted">{format.words(one.kind) || "no longer in the settings"}</span>
      </>
    ),
  },
  { title: "About", cell: (one) => <About id={one.about} /> },
  { title: "What", wrap: true, cell: (one) => <>{one.title} <span class="muted">{one.template}</span></> },
  { title: "Attempts", right: true, cell: (one) => <span class="num">{format.count(one.attempts)}</span> },
  { title: "Said last", wrap: true, cell: (one) => one.said || <span class="muted">nothing</span> },
  {
    title: "Next, or ended",
    cell: (one) => (
      <>
        {one.state === "pending" ? "tried again " : one.state === "dead" ? "given up " : "arrived "}
        <When at={one.at_ms} />
      </>
    ),
  },
  { title: "Action", cell: (one) => (one.state === "dead" ? <ActionButton action={retryAction(one)} /> : <span class="muted">none</span>) },
];

export function Messages() {
  const [filters, change] = useFilters();
  const { state = "", about = "", since = "" } = filters;
  const query = { state, about, since_ms: String(SINCE[since] ?? "") };
  const paged = usePaged<NotificationRow>(withQuery("/v1/notifications", query), 5000, (one) => one.key);
  return (
    <>
      <Heading title="Messages" about="What was sent to whom, the newest first; a message that is given up is a dead letter.">
        <ActionButton action={retryAction(null)} />
      </Heading>
      <div class="filters" role="search">
        <Choice label="State" value={state} options={STATES} change={(value) => change({ state: value })} />
        <Choice label="Within" value={since} options={Object.keys(SINCE)} unset="any time" change={(value) => change({ since: value })} />
        {about !== "" && (
          <button type="button" onClick={() => change({ about: "" })}>
            about {about} ✕
          </button>
        )}
      </div>
      <PagedTable title="Sent, or to be sent" label="Messages" paged={paged} cells={CELLS} rowKey={(one) => one.key} none="No message is like that." />
    </>
  );
}
