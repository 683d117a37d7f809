/** `/d/drills` and `/d/drills/:drill`: failures rehearsed, and what was measured of them. */

import { drillAction, restoreDrill } from "../actions/work_actions";
import { usePaged } from "../api/paged";
import { useQuery } from "../api/query";
import type { FederationStatus } from "../api/region_types";
import type { Drill, DrillAnswer, DrillVm } from "../api/work_types";
import * as format from "../format";
import { to } from "../router";
import { ActionButton } from "../ui/action";
import { Mark, Progress, State, Unknown, Value, When } from "../ui/marks";
import { Age, Empty, Heading, Notes, Panel, ProblemView, Tile, Waiting } from "../ui/panel";
import { type Column, Rows } from "../ui/rows";
import { type Cell, PagedTable } from "../ui/table";
import { type Lane, Timeline } from "../ui/timeline";

/** A drill that is done has been measured; what it made is still there until it is restored. */
function Stand({ drill }: { drill: Drill }) {
  if (drill.state === "done") return <Mark tone="warn">done, not ended</Mark>;
  if (drill.state === "restored") return <Mark tone="ok">ended</Mark>;
  return <State name={drill.state} work />;
}

const CELLS: Cell<Drill>[] = [
  { title: "Drill", head: true, cell: (one) => <a href={to("drills", one.drill)}>{one.drill}</a> },
  { title: "State", cell: (one) => <Stand drill={one} /> },
  { title: "Region", cell: (one) => one.region },
  { title: "Mode", cell: (one) => one.mode },
  { title: "Came back", cell: (one) => <Progress done={one.migrated} total={one.lost} label={`VMs of ${one.drill} that came back`} /> },
  { title: "Success", right: true, cell: (one) => <Value v={one.success_percent} as={format.percent} /> },
  { title: "Recovery time", right: true, cell: (one) => <Value v={one.rto_ms} as={format.duration} /> },
  { title: "Records lost", right: true, cell: (one) => <Value v={one.rpo.records_lost} why={one.rpo.evidence} /> },
  { title: "Started", cell: (one) => <When at={one.started_at_ms} /> },
  { title: "By", cell: (one) => one.by },
];

export function Drills() {
  const federation = useQuery<FederationStatus>("/v1/federation", 15_000);
  const paged = usePaged<Drill>("/v1/drills", 3000, (one) => one.drill);
  return (
    <>
      <Heading title="Drills" about="The failure of a region, rehearsed on copies of its VMs.">
        <ActionButton action={drillAction(federation.data?.regions.map((one) => one.region) ?? [])} />
      </Heading>
      <PagedTable title="Drills so far" label="Drills" paged={paged} cells={CELLS} rowKey={(one) => one.drill} none="No failure has been rehearsed yet." />
    </>
  );
}

export function DrillPage({ drill }: { drill: string }) {
  const answer = useQuery<DrillAnswer>(`/v1/drills/${encodeURIComponent(drill)}`, 2000);
  const found = answer.data?.drill;
  return (
    <>
      <Heading title={found ? `${drill}: loss of ${found.region}` : drill} about={answer.data && <Age asOf={answer.data.as_of} at={answer.at} />}>
        {found && found.ended_at_ms === null && !found.restoring && <ActionButton action={restoreDrill(found)} />}
      </Heading>
      {answer.problem && <ProblemView problem={answer.problem} kept={found !== undefined} />}
      {!found && !answer.problem && <Waiting />}
      {found && (
        <>
          <Figures drill={found} />
          <Panel title="Time line" wide>
            <Moments drill={found} />
          </Panel>
          <Panel title="VMs" wide>
            <DrillVms vms={found.vms} />
            {found.left_out > 0 && <p class="muted">{format.many(found.left_out, "VM")} left out: a drill takes only so many copies.</p>}
          </Panel>
        </>
      )}
    </>
  );
}

function Figures({ drill }: { drill: Drill }) {
  return (
    <dl class="tiles">
      <Tile
        name="State"
        note={
          drill.ended_at_ms === null ? (
            <>
              ends by itself <When at={drill.ends_by_ms} />
            </>
          ) : (
            drill.result
          )
        }
      >
        <Stand drill={drill} />
      </Tile>
      <Tile
        name="Came back"
        note={
          <>
            success <Value v={drill.success_percent} as={format.percent} />
          </>
        }
      >
        <Progress done={drill.migrated} total={drill.lost} label="VMs that came back" />
      </Tile>
      <Tile name="Recovery time" note="measured, from the failure to the last answer">
        <Value v={drill.rto_ms} as={format.duration} />
      </Tile>
      <Tile name="Records lost" note={drill.rpo.evidence}>
        <Value v={drill.rpo.records_lost} why="not measured" />
      </Tile>
      <Tile name="Mode" note={drill.mode === "isolated" ? "on copies" : "on the region itself"}>
        {drill.mode}
      </Tile>
    </dl>
  );
}

function Moments({ drill }: { drill: Drill }) {
  const first = drill.times[0];
  const last = drill.times.at(-1);
  if (!first || !last) return <Empty>The failure has not come yet.</Empty>;
  const lanes: Lane[] = drill.times.map((time, i) => ({
    name: time.moment,
    from: drill.times[Math.max(0, i - 1)]?.at_ms ?? time.at_ms,
    to: time.at_ms,
    text: i === 0 ? format.clock(time.at_ms) : `after ${format.duration(time.after_ms)}`,
    open: false,
  }));
  return (
    <>
      <Timeline label="Moments" lanes={lanes} start={first.at_ms} end={last.at_ms} />
      <Notes tone="note" lines={drill.times.filter((time) => time.note !== "").map((time) => `${time.moment}: ${time.note}`)} />
    </>
  );
}

const COLUMNS: Column<DrillVm>[] = [
  { name: "name", title: "VM", width: "minmax(140px, 2fr)", cell: (vm) => <a href={to("vms", vm.of)}>{vm.name}</a> },
  { name: "state", title: "State", width: "104px", cell: (vm) => <State name={vm.state} work /> },
  { name: "from", title: "From host", width: "minmax(90px, 1fr)", cell: (vm) => vm.from_host ?? <Unknown />, minor: true },
  {
    name: "to",
    title: "To",
    width: "minmax(130px, 1.5fr)",
    cell: (vm) => (vm.to_region ? `${vm.to_region}${vm.to_host ? `/${vm.to_host}` : ""}` : <span class="muted">nowhere yet</span>),
  },
  { name: "took", title: "Took", width: "90px", right: true, cell: (vm) => <Value v={vm.took_ms} as={format.duration} /> },
  {
    name: "records",
    title: "Records kept",
    width: "120px",
    right: true,
    minor: true,
    cell: (vm) =>
      !vm.disk ? (
        <span class="muted">no disk</span>
      ) : vm.records_kept === null || vm.records_written === null ? (
        <Unknown />
      ) : (
        <span class="num">
          {format.count(vm.records_kept)} of {format.count(vm.records_written)}
        </span>
      ),
  },
  { name: "reason", title: "Why", width: "minmax(160px, 2.5fr)", cell: (vm) => <span title={vm.reason}>{vm.reason}</span>, minor: true },
];

function DrillVms({ vms }: { vms: DrillVm[] }) {
  if (vms.length === 0) return <Empty>It has no VMs yet.</Empty>;
  return <Rows label="VMs of the drill" rows={vms} columns={COLUMNS} rowKey={(vm) => vm.vm} most={14} />;
}
