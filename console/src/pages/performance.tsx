/** `/d/region-performance`, `/d/state-sync`, `/d/global-routing`: the dashboards of the operations guide, section 1.2. */

import { trafficAction } from "../actions/region_actions";
import { useQuery } from "../api/query";
import type { FederationStatus, LagMatrix, QueueDepth, Replication } from "../api/region_types";
import * as format from "../format";
import { ROUTING, regionPlots, STATE_SYNC } from "../queries";
import { to, useFilters } from "../router";
import { ActionButton } from "../ui/action";
import { State, Value } from "../ui/marks";
import { Matrix } from "../ui/matrix";
import { Age, Heading, Panel, ProblemView } from "../ui/panel";
import { Charts, SpanChoice } from "../ui/spans";
import { verifyAction } from "./verify";
import { RegionsTable, Silent } from "./regions_table";

export function RegionPerformance() {
  const [filters, change] = useFilters();
  const status = useQuery<FederationStatus>("/v1/federation", 5000);
  const region = filters["region"] ?? "";
  return (
    <>
      <Heading title="Region performance" about={status.data && <Age asOf={status.data.as_of} at={status.at} />}>
        <label class="inline">
          <span>Region</span>
          <select value={region} onChange={(event) => change({ region: event.currentTarget.value })}>
            <option value="">all</option>
            {status.data?.regions.map((one) => (
              <option key={one.region} value={one.region}>
                {one.region}
              </option>
            ))}
          </select>
        </label>
        <SpanChoice />
      </Heading>
      {status.problem && <ProblemView problem={status.problem} kept={status.data !== null} />}
      {status.data && (
        <>
          <Silent status={status.data} at={status.at} />
          <Panel title="Now" answer={status} wide>
            <RegionsTable
              status={{ ...status.data, regions: status.data.regions.filter((one) => region === "" || one.region === region) }}
              at={status.at}
            />
          </Panel>
        </>
      )}
      <Charts plots={regionPlots(region)} />
    </>
  );
}

/** Lag of every ordered pair, of which the entries stand in the title. */
export function LagTable({ lags }: { lags: LagMatrix }) {
  const pairs = new Map(lags.pairs.map((pair) => [`${pair.from}>${pair.to}`, pair]));
  const cell = (from: string, to: string) => {
    const pair = pairs.get(`${from}>${to}`);
    if (!pair) return null;
    const entries = pair.entries === null ? "entries not known" : `${format.many(pair.entries, "entry", "entries")} behind`;
    const sync = pair.sync_p99_ms === null ? "" : `, readable there after ${format.duration(pair.sync_p99_ms)} (p99)`;
    return {
      value: pair.lag_ms,
      text: pair.lag_ms === null ? "" : format.duration(pair.lag_ms),
      title: `${to} follows ${from}: ${entries}${sync}`,
    };
  };
  return <Matrix label="Replication lag" regions={lags.regions} cell={cell} good={300} bad={5000} />;
}

export function StateSync() {
  const lags = useQuery<LagMatrix>("/v1/state/lag-matrix", 3000);
  const queues = useQuery<QueueDepth>("/v1/state/queue-depth", 3000);
  const replication = useQuery<Replication>("/v1/state/replication", 15_000);
  return (
    <>
      <Heading title="State synchronization" about="How far each region follows the logs of the others.">
        <SpanChoice />
        <ActionButton action={verifyAction} />
      </Heading>
      <div class="columns">
        <Panel title="Replication lag" answer={lags}>
          {lags.data && <LagTable lags={lags.data} />}
        </Panel>
        <Panel title="Waiting to be sent" answer={queues}>
          {queues.data && <Queues queues={queues.data} />}
        </Panel>
      </div>
      <Panel title="How state is replicated" answer={replication} wide>
        {replication.data && <HowReplicated replication={replication.data} />}
      </Panel>
      <Charts plots={STATE_SYNC} />
    </>
  );
}

function Queues({ queues }: { queues: QueueDepth }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Queues">
      <table>
        <thead>
          <tr>
            <th scope="col">From</th>
            <th scope="col">To</th>
            <th scope="col" class="right">
              Entries
            </th>
            <th scope="col" class="right">
              Bytes
            </th>
            <th scope="col" class="right">
              Oldest
            </th>
          </tr>
        </thead>
        <tbody>
          {queues.queues.map((queue) => (
            <tr key={`${queue.from}>${queue.to}`}>
              <td>{queue.from}</td>
              <td>{queue.to}</td>
              <td class="right">
                <Value v={queue.entries} />
              </td>
              <td class="right">
                <Value v={queue.bytes} as={format.bytes} />
              </td>
              <td class="right">
                {queue.oldest_ms === null && queue.entries === 0 ? (
                  <span class="muted">nothing waits</span>
                ) : (
                  <Value v={queue.oldest_ms} as={format.duration} />
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function HowReplicated({ replication }: { replication: Replication }) {
  return (
    <>
      <p>
        {format.many(replication.replication_workers, "worker")}, compression {replication.compression ? "on" : "off"}, soft state
        told every {format.duration(replication.sync_interval_ms)}.
      </p>
      <div class="scroll" tabIndex={0} role="group" aria-label="Replication by region">
        <table>
          <thead>
            <tr>
              <th scope="col">Region</th>
              <th scope="col" class="right">
                Messages under way, most
              </th>
              <th scope="col">Compression</th>
              <th scope="col" class="right">
                Framed
              </th>
              <th scope="col" class="right">
                Sent
              </th>
              <th scope="col" class="right">
                Soft state, age
              </th>
            </tr>
          </thead>
          <tbody>
            {replication.regions.map((region) => (
              <tr key={region.region}>
                <th scope="row">
                  <a href={to("regions", region.region)}>{region.region}</a>
                </th>
                <td class="right">
                  <Value v={region.append_messages} />
                </td>
                <td>{region.compression === null ? <State name="unknown" /> : region.compression ? "on" : "off"}</td>
                <td class="right">
                  <Value v={region.framed_bytes} as={format.bytes} />
                </td>
                <td class="right">
                  <Value v={region.sent_bytes} as={format.bytes} />
                </td>
                <td class="right">
                  <Value v={region.soft_state_age_ms} as={format.age} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

export function GlobalRouting() {
  const status = useQuery<FederationStatus>("/v1/federation", 5000);
  return (
    <>
      <Heading title="Global routing" about="Which share of what it could take each region gets.">
        <SpanChoice />
      </Heading>
      <Panel title="Traffic" answer={status} wide>
        {status.data && (
          <div class="scroll" tabIndex={0} role="group" aria-label="Traffic by region">
            <table>
              <thead>
                <tr>
                  <th scope="col">Region</th>
                  <th scope="col">Health</th>
                  <th scope="col">Life</th>
                  <th scope="col" class="right">
                    Traffic
                  </th>
                  <th scope="col">Action</th>
                </tr>
              </thead>
              <tbody>
                {status.data.regions.map((summary) => (
                  <tr key={summary.region}>
                    <th scope="row">
                      <a href={to("regions", summary.region)}>{summary.region}</a>
                    </th>
                    <td>
                      <State name={summary.health.state} />
                    </td>
                    <td>
                      <State name={summary.lifecycle} />
                    </td>
                    <td class="right">
                      <Value v={summary.traffic_percent} as={format.percent} />
                    </td>
                    <td>
                      <ActionButton action={trafficAction(summary)} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
      <Charts plots={ROUTING} />
    </>
  );
}
