/** `/d/alerts` and `/d/alerts/:alert`: what fires, why some of it is muted, and silences. */

import { expireAction, silenceAction } from "../actions/watch_actions";
import { usePaged, withQuery } from "../api/paged";
import { useQuery } from "../api/query";
import type { FederationStatus } from "../api/region_types";
import type { Alert, AlertDetail, Silence } from "../api/watch_types";
import * as format from "../format";
import { to, useFilters } from "../router";
import { ActionButton } from "../ui/action";
import { Choice } from "../ui/filters";
import { State, When } from "../ui/marks";
import { Age, Empty, Heading, Panel, ProblemView, Waiting } from "../ui/panel";
import { type Cell, PagedTable, Table } from "../ui/table";
import { Grave, Moment } from "./incidents";

const STATES = ["firing", "pending", "resolved"];
const MUTED: Record<string, string> = { yes: "true", no: "false" };

/** What mutes an alert, each with where to look. */
function Muted({ by }: { by: string[] }) {
  if (by.length === 0) return <span class="muted">not muted</span>;
  return (
    <>
      {by.map((why) => (
        <div key={why}>
          {why.startsWith("inhibited by ") ? (
            <>
              inhibited by <a href={to("alerts", why.slice("inhibited by ".length))}>{why.slice("inhibited by ".length)}</a>
            </>
          ) : why.startsWith("maintenance ") ? (
            <a href={to("maintenance")}>{why}</a>
          ) : (
            why
          )}
        </div>
      ))}
    </>
  );
}

function Labels({ of }: { of: Record<string, string> }) {
  const shown = Object.entries(of).filter(([name]) => name !== "alertname" && name !== "severity");
  return (
    <>
      {shown.map(([name, value]) => (
        <code class="tag" key={name}>
          {name}={value}
        </code>
      ))}
    </>
  );
}

const CELLS: Cell<Alert>[] = [
  { title: "Alert", head: true, cell: (one) => <a href={to("alerts", one.alert)}>{one.name}</a> },
  { title: "Severity", cell: (one) => <Grave severity={one.severity} /> },
  { title: "State", cell: (one) => <State name={one.state} /> },
  { title: "Value", right: true, cell: (one) => <span class="num">{one.value}</span> },
  { title: "Since", cell: (one) => <When at={one.fired_at_ms ?? one.started_at_ms} /> },
  { title: "What", wrap: true, cell: (one) => one.annotations["summary"] ?? <span class="muted">no summary</span> },
  { title: "Labels", wrap: true, cell: (one) => <Labels of={one.labels} /> },
  { title: "Why it is muted", cell: (one) => <Muted by={one.muted_by} /> },
];

const SILENCES: Cell<Silence>[] = [
  { title: "Silence", head: true, cell: (one) => one.silence },
  { title: "State", cell: (one) => <State name={one.state} /> },
  { title: "Conditions", wrap: true, cell: (one) => one.conditions.map((text) => <code class="tag" key={text}>{text}</code>) },
  { title: "Alerts", right: true, cell: (one) => <span class="num">{format.count(one.alerts)}</span> },
  { title: "Starts", cell: (one) => <When at={one.starts_at_ms} /> },
  { title: "Ends", cell: (one) => <Moment at={one.ends_at_ms} /> },
  { title: "Why", wrap: true, cell: (one) => one.comment },
  { title: "By", cell: (one) => one.by },
  { title: "Action", cell: (one) => (one.state === "expired" ? <span class="muted">none</span> : <ActionButton action={expireAction(one)} />) },
];

export function Alerts() {
  const [filters, change] = useFilters();
  const { state = "", severity = "", region = "", muted = "", over = "" } = filters;
  const federation = useQuery<FederationStatus>("/v1/federation", 30_000);
  const asked = { state: state || "firing,pending", severity, region, muted: MUTED[muted] ?? "" };
  const alerts = usePaged<Alert>(withQuery("/v1/alerts", asked), 5000, (one) => `${one.alert}/${one.started_at_ms}`);
  const silences = usePaged<Silence>(withQuery("/v1/silences", { all: over }), 5000, (one) => one.silence);
  return (
    <>
      <Heading title="Alerts" about="What the rules find, the gravest of those that fire first.">
        <ActionButton action={silenceAction()} />
      </Heading>
      <div class="filters" role="search">
        <Choice label="State" value={state} options={STATES} unset="firing and pending" change={(value) => change({ state: value })} />
        <Choice label="Severity" value={severity} options={["P0", "P1", "P2", "P3"]} change={(value) => change({ severity: value })} />
        <Choice
          label="Region"
          value={region}
          options={federation.data?.regions.map((one) => one.region) ?? []}
          change={(value) => change({ region: value })}
        />
        <Choice label="Muted" value={muted} options={Object.keys(MUTED)} change={(value) => change({ muted: value })} />
      </div>
      <PagedTable title="What the rules find" label="Alerts" paged={alerts} cells={CELLS} rowKey={(one) => `${one.alert}/${one.started_at_ms}`} none="No alert is like that." />
      <PagedTable
        title="Silences"
        label="Silences"
        paged={silences}
        cells={SILENCES}
        rowKey={(one) => one.silence}
        none="Nothing is silenced."
        tools={
          <label class="check">
            <input type="checkbox" checked={over !== ""} onChange={(e) => change({ over: e.currentTarget.checked ? "true" : "" })} />
            <span>also those that are over</span>
          </label>
        }
      />
    </>
  );
}

const EARLIER: Cell<Alert>[] = [
  { title: "Began", head: true, cell: (one) => <Moment at={one.started_at_ms} /> },
  { title: "Ended", cell: (one) => (one.ended_at_ms === null ? <span class="muted">not yet</span> : <When at={one.ended_at_ms} />) },
  { title: "Lasted", right: true, cell: (one) => <span class="num">{one.ended_at_ms === null ? "" : format.duration(one.ended_at_ms - one.started_at_ms)}</span> },
  { title: "Value", right: true, cell: (one) => <span class="num">{one.value}</span> },
];

export function AlertPage({ alert }: { alert: string }) {
  const answer = useQuery<AlertDetail>(`/v1/alerts/${encodeURIComponent(alert)}`, 5000);
  const found = answer.data?.alert;
  return (
    <>
      <Heading title={found ? found.name : alert} about={answer.data && <Age asOf={answer.data.as_of} at={answer.at} />}>
        {found && <ActionButton action={silenceAction(found)} />}
      </Heading>
      {answer.problem && <ProblemView problem={answer.problem} kept={found !== undefined} />}
      {!found && !answer.problem && <Waiting />}
      {found && answer.data && (
        <>
          <AlertFacts alert={found} />
          <Panel title="The last 7 days" wide>
            {answer.data.earlier.length === 0 ? (
              <Empty>It did not fire before.</Empty>
            ) : (
              <Table label="Earlier times" rows={answer.data.earlier} cells={EARLIER} rowKey={(one) => String(one.started_at_ms)} />
            )}
          </Panel>
        </>
      )}
    </>
  );
}

function AlertFacts({ alert }: { alert: Alert }) {
  return (
    <Panel title="What it is">
      <dl class="facts">
        <dt>State</dt>
        <dd>
          <State name={alert.state} /> <Grave severity={alert.severity} />
        </dd>
        <dt>Value</dt>
        <dd class="num">{alert.value}</dd>
        <dt>Found since</dt>
        <dd>
          <Moment at={alert.started_at_ms} />
        </dd>
        <dt>Fires since</dt>
        <dd>{alert.fired_at_ms === null ? <span class="muted">not for long enough yet</span> : <Moment at={alert.fired_at_ms} />}</dd>
        <dt>Why it is muted</dt>
        <dd>
          <Muted by={alert.muted_by} />
        </dd>
        <dt>Rule</dt>
        <dd>{alert.rule}</dd>
        <dt>Labels</dt>
        <dd>
          <Labels of={alert.labels} />
        </dd>
        {Object.entries(alert.annotations).flatMap(([name, text]) => [<dt key={`${name}/name`}>{name}</dt>, <dd key={name}>{text}</dd>])}
        <dt>Id</dt>
        <dd>
          <code>{alert.alert}</code>
        </dd>
      </dl>
    </Panel>
  );
}
