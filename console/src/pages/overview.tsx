/** `/d/federation-overview`: regions by health, VMs, latencies, promises, what is going on. */

import { failoverAction } from "../actions/work_actions";
import { useQuery } from "../api/query";
import type { Event, FederationStatus, Page, PromisesReport, Quantiles } from "../api/region_types";
import type { Operation } from "../api/work_types";
import * as format from "../format";
import { OVERVIEW } from "../queries";
import { to } from "../router";
import { ActionButton } from "../ui/action";
import { Mark, Progress, State, Unknown, Value, When } from "../ui/marks";
import { Age, Empty, Heading, Panel, ProblemView, Tile, Waiting } from "../ui/panel";
import { Charts, SpanChoice } from "../ui/spans";
import { RegionsTable, Silent } from "./regions_table";

export function Overview() {
  const status = useQuery<FederationStatus>("/v1/federation", 3000);
  const regions = status.data?.regions.map((one) => one.region) ?? [];
  return (
    <>
      <Heading title="Federation overview" about={status.data && <Age asOf={status.data.as_of} at={status.at} />}>
        <SpanChoice />
        <ActionButton action={failoverAction(regions)} />
      </Heading>
      {status.problem && <ProblemView problem={status.problem} kept={status.data !== null} />}
      {!status.data && !status.problem && <Waiting />}
      {status.data && (
        <>
          <Silent status={status.data} at={status.at} />
          <Figures status={status.data} />
          <Panel title="Regions" answer={status} wide>
            <RegionsTable status={status.data} at={status.at} />
          </Panel>
        </>
      )}
      <div class="columns">
        <Running />
        <Recent />
      </div>
      <Charts plots={OVERVIEW} />
    </>
  );
}

function Three({ of }: { of: Quantiles }) {
  if (of.p50_ms === null && of.p95_ms === null && of.p99_ms === null) return <Unknown why="nothing measured" />;
  return (
    <span class="three">
      {(["p50_ms", "p95_ms", "p99_ms"] as const).map((name) => (
        <span key={name}>
          <small>{name.slice(0, 3)}</small> <Value v={of[name]} as={format.duration} why="nothing measured" />
        </span>
      ))}
    </span>
  );
}

function Health({ totals }: { totals: FederationStatus["totals"] }) {
  return (
    <span class="counts">
      <Mark tone="ok">{totals.healthy} healthy</Mark>
      {totals.degraded > 0 && <Mark tone="warn">{totals.degraded} degraded</Mark>}
      {totals.unhealthy > 0 && <Mark tone="bad">{totals.unhealthy} unhealthy</Mark>}
      {totals.unknown > 0 && <Mark tone="unknown">{totals.unknown} unknown</Mark>}
    </span>
  );
}

function Figures({ status }: { status: FederationStatus }) {
  const { totals, survivability, freeze } = status;
  const promises = useQuery<PromisesReport>("/v1/promises", 30_000);
  const broken = promises.data?.regions.filter((one) => !one.kept) ?? [];
  return (
    <dl class="tiles">
      <Tile name="Regions" note={<Health totals={totals} />}>
        <span class="num">{totals.regions}</span>
      </Tile>
      <Tile
        name="VMs"
        note={
          totals.vms_unknown_regions > 0
            ? `without ${format.many(totals.vms_unknown_regions, "region")} whose number is not known`
            : `on ${format.many(totals.hosts, "host")}`
        }
      >
        <a href={to("vms")}>
          <span class="num">{format.count(totals.vms)}</span>
        </a>
      </Tile>
      <Tile
        name="Loss of one region"
        tone={survivability?.region ? "warn" : ""}
        note={survivability && `looked at ${format.age(survivability.age_ms)} ago`}
      >
        {!survivability ? (
          <Unknown why="not looked at yet" />
        ) : survivability.region ? (
          <Mark tone="warn">
            {survivability.region}: {format.many(survivability.unplaced, "VM")} without a place
          </Mark>
        ) : (
          <Mark tone="ok">all VMs have a place</Mark>
        )}
      </Tile>
      <Tile name="Recovery promise" note={promises.data && `target ${format.duration(promises.data.rto_target_ms)}`}>
        {!promises.data ? (
          <Unknown />
        ) : promises.data.kept ? (
          <Mark tone="ok">kept everywhere</Mark>
        ) : (
          <a href={to("failovers")}>
            <Mark tone="warn">not kept in {broken.map((one) => one.region).join(", ")}</Mark>
          </a>
        )}
      </Tile>
      <Tile name="Placement">
        <Three of={status.placement} />
      </Tile>
      <Tile name="State sync">
        <Three of={status.state_sync} />
      </Tile>
      <Tile name="Routing">
        <Three of={status.routing} />
      </Tile>
      <Tile name="SLA" note="this month">
        <a href={to("slas")}>
          <Value v={status.sla_percent} as={format.percent} why="not measured" />
        </a>
      </Tile>
      <Tile name="Open incidents" tone={(status.open_incidents ?? 0) > 0 ? "warn" : ""}>
        <a href={to("incidents")}>
          <Value v={status.open_incidents} />
        </a>
      </Tile>
      <Tile name="Freeze switch" note={status.leader ? `federation led by ${status.leader}` : "no leader known"}>
        <State name={freeze} />
      </Tile>
    </dl>
  );
}

function Running() {
  const operations = useQuery<Page<Operation>>("/v1/operations?limit=8", 3000);
  return (
    <Panel title="Operations" answer={operations} tools={<a href={to("operations")}>all</a>}>
      {operations.data?.items.length === 0 && <Empty>None is kept.</Empty>}
      <ul class="lines">
        {operations.data?.items.map((operation) => (
          <li key={operation.operation}>
            <State name={operation.state} work />
            <a href={to("operations", operation.operation)}>
              {format.words(operation.kind)} {operation.subject}
            </a>
            {operation.ended_at_ms === null ? (
              <Progress done={operation.done} total={operation.total} label={`Progress of ${operation.operation}`} />
            ) : (
              <When at={operation.ended_at_ms} />
            )}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Recent() {
  const events = useQuery<Page<Event>>("/v1/events?limit=8", 5000);
  return (
    <Panel title="Events" answer={events} tools={<a href={to("events")}>all</a>}>
      {events.data?.items.length === 0 && <Empty>Nothing has happened yet.</Empty>}
      <ul class="lines">
        {events.data?.items.map((event) => (
          <li key={event.id}>
            <State name={event.severity} />
            <span class="grow" title={event.message}>
              {event.message}
            </span>
            <When at={event.at_ms} />
          </li>
        ))}
      </ul>
    </Panel>
  );
}
