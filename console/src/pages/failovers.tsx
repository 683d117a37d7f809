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
import { Heading, Panel } from "../ui/panel";
import { type Cell, PagedTable, Table } from "../ui/table";

const CELLS: Cell<Failover>[] = [
  { title: "Failover", head: true, cell: (one) => <a href={to("failovers", one.failover)}>{one.failover}</a> },
  { title: "State", cell: (one) => <State name={one.state} work /> },
  { title: "From", cell: (one) => one.from },
  { title: "To", cell: (one) => one.to.join(", ") },
  {
    title: "Began by",
    cell: (one) => (
      <>
        {one.trigger === "automatic" ? "itself" : one.by} <span class="muted">{one.trigger}</span>
      </>
    ),
  },
  { title: "VMs", cell: (one) => <Progress done={one.done} total={one.total} label={`VMs of ${one.failover}`} /> },
  { title: "Left", right: true, cell: (one) => <span class={one.left > 0 ? "stale num" : "num"}>{format.count(one.left)}</span> },
  {
    title: "Recovery time",
    right: true,
    cell: (one) => (
      <>
        <Value v={one.rto_ms} as={format.duration} />
        {!one.rto_final && <span class="muted"> so far</span>}
      </>
    ),
  },
  { title: "Writes lost", right: true, cell: (one) => <Value v={one.rpo.acknowledged_writes_lost} why={one.rpo.evidence} /> },
  { title: "Started", cell: (one) => <When at={one.started_at_ms} /> },
];

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
      <PagedTable title="Failovers so far" label="Failovers" paged={paged} cells={CELLS} rowKey={(one) => one.failover} none="No region has failed over yet." />
      <Panel title="If a region died now" answer={promises} wide>
        {promises.data && <Promises report={promises.data} />}
      </Panel>
    </>
  );
}

const PROMISES: Cell<PromisesReport["regions"][number]>[] = [
  { title: "Region", head: true, cell: (one) => <a href={to("regions", one.region)}>{one.region}</a> },
  { title: "Promise", cell: (one) => (one.kept ? <Mark tone="ok">kept</Mark> : <Mark tone="warn">not kept</Mark>) },
  { title: "VMs that would move", right: true, cell: (one) => <span class="num">{format.count(one.vms)}</span> },
  {
    title: "Recovery time",
    right: true,
    cell: (one) => (
      <span title={one.steps.map((step) => `${step.step}: at most ${format.duration(step.at_most_ms)}, ${step.from}`).join("\n")}>
        {one.rto_ms === null ? <span class="muted">none by itself</span> : <Value v={one.rto_ms} as={format.duration} />}
      </span>
    ),
  },
  { title: "State lost", right: true, cell: (one) => <Value v={one.rpo_ms} as={format.duration} /> },
  {
    title: "Disks behind",
    right: true,
    cell: (one) => (one.disk_rpo_ms === null ? <span class="muted">no copies</span> : <Value v={one.disk_rpo_ms} as={format.duration} />),
  },
  { title: "Without a copy", right: true, cell: (one) => <span class="num">{format.count(one.unprotected)}</span> },
  { title: "What keeps it from holding, and what would help", wrap: true, cell: (one) => [...one.broken, ...one.helps].join("; ") },
];

function Promises({ report }: { report: PromisesReport }) {
  return (
    <>
      <Table label="What would hold" rows={report.regions} cells={PROMISES} rowKey={(one) => one.region} />
      <p class="muted">
        Target {format.duration(report.rto_target_ms)}.{report.assumed.length > 0 && ` Assumed, not measured: ${report.assumed.join("; ")}.`}
      </p>
    </>
  );
}
