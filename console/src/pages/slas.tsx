/** `/d/slas` and `/d/slas/:breach`: what is promised, what is left of its budget, and what was broken. */

import { usePaged } from "../api/paged";
import { useQuery } from "../api/query";
import type { SlaBreach, SlaFailover, SlaOutage, SlaPromise, SlaShare, SlaStanding, SlaStatus } from "../api/watch_types";
import * as format from "../format";
import { to } from "../router";
import { Mark, State, type Tone, Unknown, Value, When } from "../ui/marks";
import { Age, Empty, Heading, Panel, ProblemView, Tile, Waiting } from "../ui/panel";
import { type Cell, PagedTable, Table } from "../ui/table";
import { Moment } from "./incidents";

const minutes = (n: number) => format.duration(Math.round(n * 60_000));

/** Thousandths of a percent, never rounded up: 99.9499 % keeps no promise of 99.95 %. */
export function share(percent: number): string {
  return `${Math.floor(percent * 1000 + 1e-6) / 1000} %`;
}

/** What is promised, in words. */
export function promised(promise: SlaPromise): string {
  const { measure, target_ppm: target, limit_ms: limit } = promise;
  const part = target === null ? "no target" : share(target / 10_000);
  const most = limit === null ? "no limit" : format.duration(limit);
  if (measure === "availability") return `up ${part} of the time`;
  if (measure === "latency") return `${part} of requests within ${most}`;
  return measure === "failover_time" ? `failover within ${most}` : `at most ${most} of writes lost`;
}

function measuredText({ promise, measured }: SlaStanding): string | null {
  if (measured === null) return null;
  return promise.measure === "availability" || promise.measure === "latency" ? share(measured) : format.duration(measured);
}

/** What a bar shows of a budget: how much of it is left, 0 to 100, and in which words. */
export function budget(total: number | null, left: number | null): { percent: number; tone: Tone; text: string } | null {
  if (total === null || left === null) return null;
  const percent = total <= 0 ? (left < 0 ? 0 : 100) : Math.max(0, Math.min(100, (100 * left) / total));
  if (left < 0) return { percent, tone: "bad", text: `overdrawn by ${minutes(-left)} of ${minutes(total)}` };
  return { percent, tone: percent < 25 ? "warn" : "ok", text: `${minutes(left)} of ${minutes(total)} left` };
}

function Budget({ of }: { of: SlaStanding }) {
  const found = budget(of.budget_minutes, of.budget_left_minutes);
  if (!found) return <span class="muted">none</span>;
  return (
    <span class="meter budget">
      <span class={`track ${found.tone}`} aria-hidden="true">
        <span class="fill" style={{ width: `${found.percent}%` }} />
      </span>
      <span class={found.tone === "bad" ? "num stale" : "num"}>{found.text}</span>
    </span>
  );
}

function Shares({ name, of }: { name: string; of: SlaShare[] }) {
  if (of.length === 0) return null;
  const text = of.map((one) => `${one.name} ${minutes(one.down_minutes)}${one.percent === null ? "" : ` (up ${share(one.percent)})`}`);
  return (
    <small>
      {name}: {text.join(", ")}
    </small>
  );
}

function Why({ of }: { of: SlaStanding }) {
  const quiet = !of.note && of.worst_tenants.length + of.worst_vms.length === 0;
  return (
    <>
      {of.note}
      {quiet && <span class="muted">nothing was down</span>}
      <Shares name="Tenants that suffered most" of={of.worst_tenants} />
      <Shares name="VMs that were down longest" of={of.worst_vms} />
      {of.evidence.length > 0 && (
        <details>
          <summary>
            Evidence
          </summary>
          {of.evidence.map((line) => (
            <small key={line}>{line}</small>
          ))}
        </details>
      )}
    </>
  );
}

const PROMISES: Cell<SlaStanding>[] = [
  { title: "SLA", head: true, cell: ({ promise }) => <>{promise.name} <span class="muted">{promise.scope}</span></> },
  { title: "Verdict", cell: (one) => <State name={one.verdict} /> },
  {
    title: "Promised",
    cell: ({ promise }) => (
      <>
        {promised(promise)}
        <small>{promise.period_days === null ? "this month" : `over ${format.many(promise.period_days, "day")}`}</small>
      </>
    ),
  },
  {
    title: "Measured",
    right: true,
    cell: (one) => (
      <>
        <span class="num">{measuredText(one) ?? <Unknown why={one.note} />}</span>
        {one.unknown_minutes !== null && one.unknown_minutes > 0 && <small>{minutes(one.unknown_minutes)} not known</small>}
      </>
    ),
  },
  { title: "Budget", cell: (one) => <Budget of={one} /> },
  { title: "Why", wrap: true, cell: (one) => <Why of={one} /> },
];

const BREACHES: Cell<SlaBreach>[] = [
  { title: "Breach", head: true, cell: (one) => <a href={to("slas", one.breach)}>{one.breach}</a> },
  { title: "SLA", cell: ({ promise }) => <>{promise.name} <span class="muted">{promise.scope}</span></> },
  { title: "Promised", cell: ({ promise }) => promised(promise) },
  { title: "Measured", wrap: true, cell: (one) => one.measured },
  { title: "Broken", cell: (one) => <When at={one.broken_at_ms} /> },
  { title: "Kept again", cell: (one) => (one.over_at_ms === null ? <span class="muted">not so far</span> : <When at={one.over_at_ms} />) },
  { title: "Incident", cell: (one) => (one.incident ? <a href={to("incidents", one.incident)}>{one.incident}</a> : <span class="muted">none</span>) },
];

export function Slas() {
  const status = useQuery<SlaStatus>("/v1/sla/status", 15_000);
  const breaches = usePaged<SlaBreach>("/v1/sla/breaches", 15_000, (one) => one.breach);
  const until = status.data?.accounted_until_ms ?? null;
  return (
    <>
      <Heading
        title="SLAs"
        about={
          status.data && (
            <>
              What is promised and what was measured, accounted for until {until === null ? "nothing yet" : <Moment at={until} />}.
            </>
          )
        }
      />
      <Panel title="Promises" answer={status} wide>
        {status.data?.items.length === 0 && <Empty>Nothing is promised.</Empty>}
        {status.data && status.data.items.length > 0 && (
          <Table label="Promises" rows={status.data.items} cells={PROMISES} rowKey={(one) => one.promise.name} top />
        )}
      </Panel>
      <PagedTable title="Breaches" label="Breaches" paged={breaches} cells={BREACHES} rowKey={(one) => one.breach} none="No promise was broken." />
    </>
  );
}

const OUTAGES: Cell<SlaOutage>[] = [
  { title: "VM", head: true, cell: (one) => <a href={to("vms", one.vm)}>{one.name}</a> },
  { title: "Tenant", cell: (one) => one.tenant },
  { title: "Region", cell: (one) => <a href={to("regions", one.region)}>{one.region}</a> },
  { title: "Down from", cell: (one) => format.utc(one.from_ms) },
  {
    title: "For",
    right: true,
    cell: (one) => (one.until_ms === undefined ? <Mark tone="bad">still down</Mark> : <span class="num">{format.duration(one.until_ms - one.from_ms)}</span>),
  },
  { title: "Cause", wrap: true, cell: (one) => <>{one.cause}{one.planned && <span class="tag">planned</span>}</> },
  { title: "Failover", cell: (one) => (one.failover ? <a href={to("failovers", one.failover)}>{one.failover}</a> : <span class="muted">none</span>) },
];

const FAILOVERS: Cell<SlaFailover>[] = [
  { title: "Failover", head: true, cell: (one) => <a href={to("failovers", one.failover)}>{one.failover}</a> },
  { title: "From", cell: (one) => one.from_region },
  { title: "Began", cell: (one) => format.utc(one.began_at_ms) },
  { title: "Took", right: true, cell: (one) => <span class="num">{format.duration(one.took_ms)}</span> },
  { title: "Lost", right: true, cell: (one) => <Value v={one.lost_ms} as={format.duration} /> },
];

export function BreachPage({ breach }: { breach: string }) {
  const answer = useQuery<SlaBreach>(`/v1/sla/breaches/${encodeURIComponent(breach)}`, 15_000);
  const found = answer.data;
  return (
    <>
      <Heading title={breach} about={found && <Age asOf={[]} at={answer.at} />} />
      {answer.problem && <ProblemView problem={answer.problem} kept={found !== null} />}
      {!found && !answer.problem && <Waiting />}
      {found && (
        <>
          <dl class="tiles">
            <Tile name="SLA" note={found.promise.scope}>
              {found.promise.name}
            </Tile>
            <Tile name="Promised">{promised(found.promise)}</Tile>
            <Tile name="Broken" note={format.utc(found.broken_at_ms)}>
              <When at={found.broken_at_ms} />
            </Tile>
            <Tile name="Noticed" note={format.utc(found.noticed_at_ms)}>
              <When at={found.noticed_at_ms} />
            </Tile>
            <Tile name="Incident">{found.incident ? <a href={to("incidents", found.incident)}>{found.incident}</a> : "none"}</Tile>
          </dl>
          <p class="big">{found.measured}</p>
          <Panel title="Outages" wide>
            {found.outages.length === 0 && <Empty>None belongs to it.</Empty>}
            {found.outages.length > 0 && <Table label="Outages" rows={found.outages} cells={OUTAGES} rowKey={(one) => `${one.vm}/${one.from_ms}`} />}
            {found.outages_in_all > found.outages.length && <p class="muted">The longest of {format.count(found.outages_in_all)}.</p>}
          </Panel>
          {found.failovers.length > 0 && (
            <Panel title="Failovers" wide>
              <Table label="Failovers" rows={found.failovers} cells={FAILOVERS} rowKey={(one) => one.failover} />
            </Panel>
          )}
        </>
      )}
    </>
  );
}
