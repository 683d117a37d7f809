/** `/d/incidents`: what goes on, who has it, who is on call. */

import { usePaged, withQuery } from "../api/paged";
import { useQuery } from "../api/query";
import type { Incident, IncidentSeverity, OnCall, OnCallDays, OnCallShift } from "../api/watch_types";
import * as format from "../format";
import { to, useFilters } from "../router";
import { useNow } from "../store";
import { Choice } from "../ui/filters";
import { Mark, State, type Tone, When } from "../ui/marks";
import { Empty, Heading, Panel } from "../ui/panel";
import { type Cell, PagedTable, Table } from "../ui/table";

const STATUSES = ["open", "investigating", "resolved", "merged", "all"];
const SEVERITIES = ["P0", "P1", "P2", "P3"];
const SINCE: Record<string, number> = { "24h": 86_400_000, "7d": 604_800_000, "30d": 2_592_000_000 };

const TONES: Record<string, Tone> = { P0: "bad", P1: "bad", P2: "warn", P3: "idle" };

export function Grave({ severity }: { severity: IncidentSeverity | string }) {
  return <Mark tone={TONES[severity] ?? "unknown"}>{severity || "none"}</Mark>;
}

const seconds = (ms: number) => format.duration(Math.floor(Math.max(0, ms) / 1000) * 1000);

/** Where an incident is in the time that it may wait for someone. */
export function clockOf(incident: Incident, now: number): { tone: Tone; text: string } {
  const { opened_at_ms: opened, due_at_ms: due, acknowledged_at_ms: taken, resolved_at_ms: resolved } = incident;
  if (incident.status === "merged") return { tone: "idle", text: `goes on in ${incident.merged_into ?? "another one"}` };
  if (resolved !== null) return { tone: "ok", text: `over after ${seconds(resolved - opened)}` };
  if (taken !== null && taken > due) return { tone: "warn", text: `taken ${seconds(taken - due)} late` };
  if (taken !== null) return { tone: "ok", text: `taken after ${seconds(taken - opened)}` };
  if (incident.overdue || now >= due) return { tone: "bad", text: `overdue by ${seconds(now - due)}` };
  return { tone: "warn", text: `due in ${seconds(due - now)}` };
}

export function Clock({ incident }: { incident: Incident }) {
  const { tone, text } = clockOf(incident, useNow());
  return (
    <Mark tone={tone}>
      <span class="num" title={`Someone must take it by ${format.utc(incident.due_at_ms)}`}>
        {text}
      </span>
    </Mark>
  );
}

const CELLS: Cell<Incident>[] = [
  { title: "Incident", head: true, cell: (one) => <a href={to("incidents", one.incident)}>{one.incident}</a> },
  { title: "Severity", cell: (one) => <Grave severity={one.severity} /> },
  { title: "Status", cell: (one) => <State name={one.status} /> },
  { title: "Clock", cell: (one) => <Clock incident={one} /> },
  { title: "What", wrap: true, cell: (one) => one.title },
  { title: "Who has it", cell: (one) => one.assignee ?? <span class="muted">nobody</span> },
  { title: "Alerts firing", right: true, cell: (one) => <span class="num">{format.count(one.alerts_firing)}</span> },
  { title: "Opened", cell: (one) => <When at={one.opened_at_ms} /> },
];

export function Incidents() {
  const [filters, change] = useFilters();
  const { status = "", severity = "", since = "" } = filters;
  const query = { status: status === "all" ? "" : status, all: status === "all" ? "true" : "", severity, since_ms: String(SINCE[since] ?? "") };
  const paged = usePaged<Incident>(withQuery("/v1/incidents", query), 3000, (one) => one.incident);
  return (
    <>
      <Heading title="Incidents" about="Once a cause, the newest first; whoever is on call is paged until someone takes it." />
      <div class="filters" role="search">
        <Choice label="Status" value={status} options={STATUSES} unset={since === "" ? "not resolved" : "every"} change={(value) => change({ status: value })} />
        <Choice label="Severity" value={severity} options={SEVERITIES} change={(value) => change({ severity: value })} />
        <Choice label="Opened within" value={since} options={Object.keys(SINCE)} unset="any time" change={(value) => change({ since: value })} />
      </div>
      <PagedTable title="What goes on" label="Incidents" paged={paged} cells={CELLS} rowKey={(one) => one.incident} none="No incident is like that." />
      <Duty />
    </>
  );
}

/** The shift that follows whoever is on call now: the first that begins once theirs is over. */
export function nextShift(role: string, after: number, shifts: OnCallShift[]): OnCallShift | null {
  const later = shifts.filter((shift) => shift.role === role && shift.from_ms >= after);
  return later.sort((a, b) => a.from_ms - b.from_ms)[0] ?? null;
}

function Duty() {
  const duty = useQuery<OnCall>("/v1/on-call", 30_000);
  const days = useQuery<OnCallDays>("/v1/on-call/schedule", 60_000);
  const cells: Cell<OnCall["duty"][number]>[] = [
    { title: "Role", head: true, cell: (one) => one.role },
    { title: "Now", cell: (one) => one.who ?? <Mark tone="warn">nobody</Mark> },
    { title: "Until", cell: (one) => (one.until_ms === null ? <span class="muted">no end is near</span> : <Moment at={one.until_ms} />) },
    { title: "Next", cell: (one) => <Next shift={nextShift(one.role, one.until_ms ?? duty.data?.at_ms ?? 0, days.data?.shifts ?? [])} known={days.data !== null} /> },
  ];
  return (
    <Panel title="On call" answer={duty} wide>
      {duty.data?.duty.length === 0 && <Empty>No role is filled: the settings have no on-call schedule.</Empty>}
      {duty.data && duty.data.duty.length > 0 && <Table label="Who is on call" rows={duty.data.duty} cells={cells} rowKey={(one) => one.role} />}
    </Panel>
  );
}

export function Moment({ at }: { at: number }) {
  return (
    <>
      <When at={at} /> <span class="muted">{format.utc(at)}</span>
    </>
  );
}

function Next({ shift, known }: { shift: OnCallShift | null; known: boolean }) {
  if (!shift) return <span class="muted">{known ? "nobody in the next 14 days" : "not known yet"}</span>;
  return (
    <>
      {shift.who}{" "}
      <span class="muted">
        <When at={shift.from_ms} />
      </span>
    </>
  );
}
