/** `/d/incidents/:incident`: its clock, its alerts, what was done, and the draft of its post-mortem. */

import { useState } from "preact/hooks";
import { incidentActions } from "../actions/watch_actions";
import { useQuery } from "../api/query";
import type { Incident, IncidentDetail, PostMortem } from "../api/watch_types";
import * as format from "../format";
import { to } from "../router";
import { Actions } from "../ui/action";
import { State, When } from "../ui/marks";
import { Age, Empty, Heading, Panel, ProblemView, Tile, Waiting } from "../ui/panel";
import { type Cell, Table } from "../ui/table";
import { Clock, Grave, Moment } from "./incidents";

export function IncidentPage({ incident }: { incident: string }) {
  const path = `/v1/incidents/${encodeURIComponent(incident)}`;
  const answer = useQuery<IncidentDetail>(path, 3000);
  const found = answer.data?.incident;
  return (
    <>
      <Heading title={incident} about={answer.data && <Age asOf={answer.data.as_of} at={answer.at} />}>
        {found && <Actions actions={incidentActions(found)} />}
      </Heading>
      {answer.problem && <ProblemView problem={answer.problem} kept={found !== undefined} />}
      {!found && !answer.problem && <Waiting />}
      {found && answer.data && (
        <>
          <p class="big">{found.title}</p>
          <Figures incident={found} />
          <Panel title="Timeline" wide>
            <Timeline detail={answer.data} />
          </Panel>
          <Panel title="Alerts" tools={<a href={to("alerts")}>all alerts</a>} wide>
            <Alerts detail={answer.data} />
          </Panel>
          <div class="columns">
            <Explained detail={answer.data} />
            <Paged detail={answer.data} />
          </div>
          <Draft path={path} />
        </>
      )}
    </>
  );
}

function Figures({ incident }: { incident: Incident }) {
  return (
    <dl class="tiles">
      <Tile
        name="Status"
        note={
          incident.merged_into !== null ? (
            <>
              goes on in <a href={to("incidents", incident.merged_into)}>{incident.merged_into}</a>
            </>
          ) : (
            incident.reopened > 0 && `came back ${format.many(incident.reopened, "time")}`
          )
        }
      >
        <Grave severity={incident.severity} /> <State name={incident.status} />
      </Tile>
      <Tile name="Clock" note={`due ${format.utc(incident.due_at_ms)}`}>
        <Clock incident={incident} />
      </Tile>
      <Tile
        name="Who has it"
        note={incident.acknowledged_at_ms !== null && <>taken by {incident.acknowledged_by ?? "someone"} <When at={incident.acknowledged_at_ms} /></>}
      >
        {incident.assignee ?? <span class="muted">nobody</span>}
      </Tile>
      <Tile name="Opened" note={format.utc(incident.opened_at_ms)}>
        <When at={incident.opened_at_ms} />
      </Tile>
      <Tile name="Alerts firing">
        <span class="num">{format.count(incident.alerts_firing)}</span>
      </Tile>
    </dl>
  );
}

type Entry = IncidentDetail["timeline"][number] & { number: number };

const ENTRIES: Cell<Entry>[] = [
  { title: "When", head: true, cell: (one) => <Moment at={one.at_ms} /> },
  { title: "Who", cell: (one) => one.who ?? <span class="muted">by itself</span> },
  { title: "What", wrap: true, cell: (one) => one.what },
];

function Timeline({ detail }: { detail: IncidentDetail }) {
  const entries = detail.timeline.map((one, number) => ({ ...one, number }));
  return (
    <>
      <Table label="Timeline" rows={entries} cells={ENTRIES} rowKey={(one) => String(one.number)} top />
      {detail.timeline_left_out > 0 && <p class="muted">{format.many(detail.timeline_left_out, "entry", "entries")} were not kept.</p>}
    </>
  );
}

const ALERTS: Cell<IncidentDetail["alerts"][number]>[] = [
  { title: "Alert", head: true, cell: (one) => one.name },
  { title: "Severity", cell: (one) => <Grave severity={one.severity} /> },
  { title: "State", cell: (one) => <State name={one.ended_at_ms === null ? "firing" : "resolved"} /> },
  { title: "Since", cell: (one) => <When at={one.since_ms} /> },
  { title: "Ended", cell: (one) => (one.ended_at_ms === null ? <span class="muted">not yet</span> : <When at={one.ended_at_ms} />) },
  { title: "Labels", wrap: true, cell: (one) => <code>{one.labels}</code> },
];

function Alerts({ detail }: { detail: IncidentDetail }) {
  if (detail.alerts.length === 0) return <Empty>It was opened by hand: no alert belongs to it.</Empty>;
  return (
    <>
      <Table label="Alerts" rows={detail.alerts} cells={ALERTS} rowKey={(one) => `${one.name}${one.labels}${one.since_ms}`} />
      {detail.more_alerts_firing > 0 && <p class="muted">{format.many(detail.more_alerts_firing, "more fires", "more fire")}.</p>}
    </>
  );
}

function Explained({ detail }: { detail: IncidentDetail }) {
  const nothing = <span class="muted">nothing written yet</span>;
  return (
    <Panel title="Why, and what was done">
      <dl class="facts">
        <dt>Cause of its alerts</dt>
        <dd>{detail.incident.cause || nothing}</dd>
        <dt>Root cause</dt>
        <dd>{detail.root_cause || nothing}</dd>
        <dt>Resolution</dt>
        <dd>{detail.resolution || nothing}</dd>
        <dt>Status page</dt>
        <dd>{detail.public_title ?? <span class="muted">{detail.incident.published ? "published" : "not published"}</span>}</dd>
        {detail.public_notes.map((note) => (
          <dd key={note.at_ms} class="under">
            {note.status}: {note.text} <span class="muted"><When at={note.at_ms} /></span>
          </dd>
        ))}
      </dl>
    </Panel>
  );
}

const PAGES: Cell<IncidentDetail["pages"][number]>[] = [
  { title: "When", head: true, cell: (one) => <When at={one.at_ms} /> },
  { title: "Step", right: true, cell: (one) => <span class="num">{one.step}</span> },
  { title: "Role", cell: (one) => one.role },
  { title: "Who", cell: (one) => one.who ?? <span class="stale">nobody filled it</span> },
];

function Paged({ detail }: { detail: IncidentDetail }) {
  const { incident } = detail.incident;
  return (
    <Panel title="Who was paged" tools={<a href={`${to("messages")}?about=${encodeURIComponent(incident)}`}>its messages</a>}>
      {detail.pages.length === 0 ? (
        <Empty>Nobody.</Empty>
      ) : (
        <Table label="Pages" rows={detail.pages} cells={PAGES} rowKey={(one) => `${one.at_ms}/${one.step}/${one.role}`} />
      )}
    </Panel>
  );
}

function Draft({ path }: { path: string }) {
  const [open, setOpen] = useState(false);
  const draft = useQuery<PostMortem>(open ? `${path}/post-mortem` : null, Infinity);
  return (
    <details class="panel" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <h2>Draft of the post-mortem</h2>
      </summary>
      {draft.problem && <ProblemView problem={draft.problem} kept={draft.data !== null} />}
      {open && !draft.data && !draft.problem && <Waiting />}
      {draft.data && (
        <pre class="console tall" tabIndex={0} aria-label="Draft of the post-mortem, Markdown">
          {draft.data.markdown}
        </pre>
      )}
    </details>
  );
}
