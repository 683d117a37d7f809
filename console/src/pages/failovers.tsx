/** `/d/failovers`: what would hold if a region died now, and the failovers that were. */

import { failoverAction } from "../actions/work_actions";
import { usePaged } from "../api/paged";
import { useQuery } from "../api/query";
import type { FederationStatus, PromisesReport } from "../api/region_types";
import type { Failover } from "../api/work_types";
import * as format from "../format";
import { to } from "../router";
import { ActionButton } from "../ui/action";
import { Mark, Progress, State, Value, When } from "../ui/marks";
import { More } from "../ui/more";
import { Heading, Panel } from "../ui/panel";

export function Failovers() {
  const federation = useQuery<FederationStatus>("/v1/federation", 5000);
  const promises = useQuery<PromisesReport>("/v1/promises", 15_000);
  const paged = usePaged<Failover>("/v1/failovers", 3000, (one) => one.failover);
  const regions = federation.data?.regions.map((one) => one.region) ?? [];
  return (
    <>
      <Heading title="Failovers" about="The loss of a region, and how its VMs came back elsewhere.">
        <ActionButton action={failoverAction(regions)} />
      </Heading>
      <Panel title="Failovers so far" answer={paged.answer} wide>
        <div class="scroll" tabIndex={0} role="group" aria-label="Failovers">
          <table>
            <thead>
              <tr>
                <th scope="col">Failover</th>
                <th scope="col">State</th>
                <th scope="col">From</th>
                <th scope="col">To</th>
                <th scope="col">Began by</th>
                <th scope="col">VMs</th>
                <th scope="col" class="right">
                  Left
                </th>
                <th scope="col" class="right">
                  Recovery time
                </th>
                <th scope="col" class="right">
                  Writes lost
                </th>
                <th scope="col">Started</th>
              </tr>
            </thead>
            <tbody>
              {paged.items.map((one) => (
                <tr key={one.failover}>
                  <th scope="row">
                    <a href={to("failovers", one.failover)}>{one.failover}</a>
                  </th>
                  <td>
                    <State name={one.state} work />
                  </td>
                  <td>{one.from}</td>
                  <td>{one.to.join(", ")}</td>
                  <td>
                    {one.trigger === "automatic" ? "itself" : one.by} <span class="muted">{one.trigger}</span>
                  </td>
                  <td>
                    <Progress done={one.done} total={one.total} label={`VMs of ${one.failover}`} />
                  </td>
                  <td class={one.left > 0 ? "right stale num" : "right num"}>{format.count(one.left)}</td>
                  <td class="right">
                    <Value v={one.rto_ms} as={format.duration} />
                    {!one.rto_final && <span class="muted"> so far</span>}
                  </td>
                  <td class="right">
                    <Value v={one.rpo.acknowledged_writes_lost} why={one.rpo.evidence} />
                  </td>
                  <td>
                    <When at={one.started_at_ms} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <More paged={paged} none="No region has failed over yet." />
      </Panel>
      <Panel title="If a region died now" answer={promises} wide>
        {promises.data && <Promises report={promises.data} />}
      </Panel>
    </>
  );
}

function Promises({ report }: { report: PromisesReport }) {
  return (
    <>
      <div class="scroll" tabIndex={0} role="group" aria-label="What would hold">
        <table>
          <thead>
            <tr>
              <th scope="col">Region</th>
              <th scope="col">Promise</th>
              <th scope="col" class="right">
                VMs that would move
              </th>
              <th scope="col" class="right">
                Recovery time
              </th>
              <th scope="col" class="right">
                State lost
              </th>
              <th scope="col" class="right">
                Disks behind
              </th>
              <th scope="col" class="right">
                Without a copy
              </th>
              <th scope="col">What keeps it from holding, and what would help</th>
            </tr>
          </thead>
          <tbody>
            {report.regions.map((one) => (
              <tr key={one.region}>
                <th scope="row">
                  <a href={to("regions", one.region)}>{one.region}</a>
                </th>
                <td>{one.kept ? <Mark tone="ok">kept</Mark> : <Mark tone="warn">not kept</Mark>}</td>
                <td class="right num">{format.count(one.vms)}</td>
                <td
                  class="right"
                  title={one.steps.map((step) => `${step.step}: at most ${format.duration(step.at_most_ms)}, ${step.from}`).join("\n")}
                >
                  {one.rto_ms === null ? <span class="muted">none by itself</span> : <Value v={one.rto_ms} as={format.duration} />}
                </td>
                <td class="right">
                  <Value v={one.rpo_ms} as={format.duration} />
                </td>
                <td class="right">
                  {one.disk_rpo_ms === null ? <span class="muted">no copies</span> : <Value v={one.disk_rpo_ms} as={format.duration} />}
                </td>
                <td class="right num">{format.count(one.unprotected)}</td>
                <td class="wrap">{[...one.broken, ...one.helps].join("; ")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="muted">
        Target {format.duration(report.rto_target_ms)}.{report.assumed.length > 0 && ` Assumed, not measured: ${report.assumed.join("; ")}.`}
      </p>
    </>
  );
}
