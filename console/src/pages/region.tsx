/** `/d/regions/:region`: one region, with its hosts, links, deductions and events, and what can be done to it. */

import { drainAction, failbackAction, placementAction, serviceAction, trafficAction } from "../actions/region_actions";
import { failoverAction } from "../actions/work_actions";
import { useQuery } from "../api/query";
import type { FederationStatus, LinkStatus, RegionHealthReport, RegionStatus } from "../api/region_types";
import * as format from "../format";
import { regionPlots } from "../queries";
import { to } from "../router";
import { type Action, Actions } from "../ui/action";
import { State, Unknown, Value, When } from "../ui/marks";
import { Age, Empty, Heading, Panel, ProblemView, Waiting } from "../ui/panel";
import { Charts, SpanChoice } from "../ui/spans";
import { RegionsTable, Silent } from "./regions_table";

function probeAction(region: string): Action {
  return {
    label: "Probe",
    title: `Probe ${region} from every other region`,
    about: "Every region is asked what it sees of it now. Nothing is changed.",
    needs: "read",
    method: "POST",
    path: () => `/v1/regions/${encodeURIComponent(region)}/health-check`,
    body: () => ({}),
    dryRun: "none",
    done: (report: RegionHealthReport) => <State name={report.verdict} />,
    show: (report: RegionHealthReport) => (
      <table>
        <thead>
          <tr>
            <th scope="col">From</th>
            <th scope="col">Verdict</th>
            <th scope="col" class="right">
              Round trip
            </th>
            <th scope="col">What it says</th>
          </tr>
        </thead>
        <tbody>
          {report.probes.map((probe) => (
            <tr key={probe.from}>
              <th scope="row">{probe.from}</th>
              <td>
                <State name={probe.verdict} />
              </td>
              <td class="right">
                <Value v={probe.rtt_ms} as={format.duration} />
              </td>
              <td>{probe.detail}</td>
            </tr>
          ))}
        </tbody>
      </table>
    ),
  };
}

export function RegionPage({ region }: { region: string }) {
  const answer = useQuery<RegionStatus>(`/v1/regions/${encodeURIComponent(region)}`, 4000);
  const federation = useQuery<FederationStatus>("/v1/federation", 5000);
  const found = answer.data;
  const regions = federation.data?.regions.map((one) => one.region) ?? [];
  return (
    <>
      <Heading title={region} about={found && <Age asOf={found.as_of} at={answer.at} />}>
        <SpanChoice />
      </Heading>
      {answer.problem && <ProblemView problem={answer.problem} kept={found !== null} />}
      {!found && !answer.problem && <Waiting />}
      {found && (
        <>
          <Actions
            actions={[
              probeAction(region),
              placementAction(found.summary),
              trafficAction(found.summary),
              failbackAction(found.summary),
              drainAction(found.summary, regions.filter((one) => one !== region)),
              serviceAction(found.summary),
              failoverAction(regions, region),
            ]}
          />
          {federation.data && (
            <Silent
              status={{ ...federation.data, regions: federation.data.regions.filter((one) => one.region === region) }}
              at={federation.at}
            />
          )}
          {federation.data && (
            <Panel title="Now" answer={answer} wide>
              <RegionsTable status={{ ...federation.data, regions: [found.summary] }} at={answer.at} />
            </Panel>
          )}
          <div class="columns">
            <HealthPanel status={found} />
            <Parts status={found} />
            <LinkPanel region={region} links={found.links} />
            <Panel title="Recent events" tools={<a href={`${to("events")}?region=${region}`}>all</a>}>
              {found.recent_events.length === 0 && <Empty>None is kept.</Empty>}
              <ul class="lines">
                {found.recent_events.map((event) => (
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
          </div>
          <Charts plots={regionPlots(region)} />
        </>
      )}
    </>
  );
}

function HealthPanel({ status }: { status: RegionStatus }) {
  const { health, placement } = status.summary;
  return (
    <Panel title="Health">
      <p>
        <State name={health.state} /> {health.score !== null && <span class="num">{health.score} of 100</span>}
      </p>
      <ul class="lines">
        {health.deductions.map((one) => (
          <li key={one.cause}>
            <span class="num points-off">−{one.points}</span>
            <span class="grow">{one.cause}</span>
            {one.muted_by && <span class="tag">muted by {one.muted_by}</span>}
          </li>
        ))}
      </ul>
      {health.deductions.length === 0 && health.score !== null && <Empty>Nothing is taken off.</Empty>}
      {health.maintenance && (
        <p>
          In maintenance {health.maintenance.window} until <When at={health.maintenance.until_at_ms} />: {health.maintenance.reason}
        </p>
      )}
      {!placement.enabled && (
        <p>
          Placement is off{placement.by && ` by ${placement.by}`}
          {placement.since_at_ms !== null && (
            <>
              {" "}
              since <When at={placement.since_at_ms} />
            </>
          )}
          {placement.reason && `: ${placement.reason}`}
        </p>
      )}
    </Panel>
  );
}

function Parts({ status }: { status: RegionStatus }) {
  return (
    <Panel title="Components and zones" tools={<a href={`${to("hosts")}?region=${status.summary.region}`}>hosts</a>}>
      <div class="scroll" tabIndex={0} role="group" aria-label="Components">
        <table>
          <thead>
            <tr>
              <th scope="col">Component</th>
              <th scope="col" class="right">
                Up
              </th>
              <th scope="col">Version</th>
            </tr>
          </thead>
          <tbody>
            {status.components.map((part) => (
              <tr key={part.component}>
                <th scope="row">{part.component}</th>
                <td class="right num">
                  {part.up === null ? <Unknown /> : part.up} of {part.replicas}
                </td>
                <td>{part.version ?? <Unknown why="not known, or not the same everywhere" />}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="muted">
        Zones: {status.zones.map((zone) => `${zone.zone} (${format.many(zone.hosts, "host")})`).join(", ") || "none known"}
      </p>
    </Panel>
  );
}

function LinkPanel({ region, links }: { region: string; links: LinkStatus[] }) {
  const mine = links.filter((link) => link.from === region);
  return (
    <Panel title="Links">
      <div class="scroll" tabIndex={0} role="group" aria-label="Links of the region">
        <table>
          <thead>
            <tr>
              <th scope="col">To</th>
              <th scope="col" class="right">
                p50
              </th>
              <th scope="col" class="right">
                p99
              </th>
              <th scope="col" class="right">
                Loss
              </th>
              <th scope="col" class="right">
                Throughput
              </th>
              <th scope="col" class="right">
                Age
              </th>
            </tr>
          </thead>
          <tbody>
            {mine.map((link) => (
              <tr key={link.to}>
                <th scope="row">
                  {link.to} {link.up === false && <State name="down" />}
                </th>
                <td class="right">
                  <Value v={link.rtt_p50_ms} as={format.duration} />
                </td>
                <td class="right">
                  <Value v={link.rtt_p99_ms} as={format.duration} />
                </td>
                <td class="right">
                  <Value v={link.loss_percent} as={format.percent} />
                </td>
                <td class="right">
                  <Value v={link.throughput_mbit_s} as={(n) => `${format.figure(n)} Mbit/s`} />
                </td>
                <td class="right">
                  <Value v={link.age_ms} as={format.age} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
