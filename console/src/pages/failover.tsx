/** `/d/failovers/:failover`: one failover on its time line, and each of its VMs. */

import { useMemo, useState } from "preact/hooks";
import { useStream } from "../api/query";
import type { Failover, FailoverAnswer, FailoverVm } from "../api/work_types";
import * as format from "../format";
import { navigate, to } from "../router";
import { useNow } from "../store";
import { Choice, SearchBox } from "../ui/filters";
import { Progress, State, Unknown, Value } from "../ui/marks";
import { Age, Heading, Panel, ProblemView, Tile, Waiting } from "../ui/panel";
import { type Column, Rows, sorted, type Sorting } from "../ui/rows";
import { Timeline } from "../ui/timeline";

const RUNNING: Failover["state"][] = ["running", "planned"];

export function FailoverPage({ failover }: { failover: string }) {
  const path = `/v1/failovers/${encodeURIComponent(failover)}`;
  const answer = useStream<FailoverAnswer>(path, (value) => !RUNNING.includes(value.failover.state));
  const found = answer.data?.failover;
  return (
    <>
      <Heading
        title={found ? `${found.failover}: ${found.from} to ${found.to.join(", ")}` : failover}
        about={answer.data && <Age asOf={answer.data.as_of} at={answer.at} />}
      >
        {found?.operation && <a href={to("operations", found.operation)}>operation</a>}
      </Heading>
      {answer.problem && <ProblemView problem={answer.problem} kept={found !== undefined} />}
      {!found && !answer.problem && <Waiting />}
      {found && (
        <>
          <Figures failover={found} />
          <Panel title="Time line" wide>
            <Phases failover={found} />
          </Panel>
          <Panel title="VMs" wide>
            <VmRows vms={found.vms} />
          </Panel>
        </>
      )}
    </>
  );
}

function Figures({ failover }: { failover: Failover }) {
  const cents = failover.cost_change_usd_cents_month;
  return (
    <dl class="tiles">
      <Tile name="State" note={failover.trigger === "automatic" ? "began by itself" : `asked for by ${failover.by}`}>
        <State name={failover.state} work />
      </Tile>
      <Tile
        name="VMs"
        tone={failover.left + failover.failed > 0 ? "warn" : ""}
        note={`${format.count(failover.left)} left, ${format.count(failover.failed)} failed`}
      >
        <Progress done={failover.done} total={failover.total} label="VMs that answer elsewhere" />
      </Tile>
      <Tile
        name={failover.rto_final ? "Recovery time" : "Recovery time so far"}
        note={
          <>
            predicted <Value v={failover.predicted_rto_ms} as={format.duration} />
          </>
        }
      >
        <Value v={failover.rto_ms} as={format.duration} />
      </Tile>
      <Tile name="Acknowledged writes lost" note={failover.rpo.evidence}>
        <Value v={failover.rpo.acknowledged_writes_lost} why="not proven" />
      </Tile>
      <Tile name="Cost a month">
        {cents === null ? <Unknown /> : <span class="num">{`${cents < 0 ? "−" : "+"}${format.usd(Math.abs(cents) / 100)}`}</span>}
      </Tile>
    </dl>
  );
}

function Phases({ failover }: { failover: Failover }) {
  const now = useNow();
  const end = failover.ended_at_ms ?? Math.max(now, failover.started_at_ms + 1);
  const lanes = failover.phases.map((phase) => ({
    name: phase.name,
    from: phase.started_at_ms,
    to: phase.ended_at_ms,
    text:
      phase.started_at_ms === null
        ? "not begun"
        : phase.took_ms !== null
          ? format.duration(phase.took_ms)
          : `${format.duration(Math.max(0, end - phase.started_at_ms))} so far`,
    open: phase.started_at_ms !== null && phase.ended_at_ms === null,
  }));
  const starts = lanes.flatMap((lane) => (lane.from === null ? [] : [lane.from]));
  return <Timeline label="Phases" lanes={lanes} start={Math.min(failover.started_at_ms, ...starts)} end={end} />;
}

const COLUMNS: Column<FailoverVm>[] = [
  { name: "name", title: "VM", width: "minmax(140px, 2fr)", key: (vm) => vm.name, cell: (vm) => <a href={to("vms", vm.vm)}>{vm.name}</a> },
  { name: "state", title: "Phase", width: "104px", key: (vm) => vm.state, cell: (vm) => <State name={vm.state} work /> },
  { name: "from", title: "From host", width: "minmax(90px, 1fr)", key: (vm) => vm.from_host ?? "", cell: (vm) => vm.from_host ?? <Unknown />, minor: true },
  {
    name: "to",
    title: "To",
    width: "minmax(130px, 1.5fr)",
    key: (vm) => vm.to_region ?? "",
    cell: (vm) => (vm.to_region ? `${vm.to_region}${vm.to_host ? `/${vm.to_host}` : ""}` : <span class="muted">nowhere yet</span>),
  },
  {
    name: "took",
    title: "Took",
    width: "90px",
    right: true,
    key: (vm) => vm.took_ms ?? 1e15,
    cell: (vm) => (vm.took_ms === null ? <span class="muted">not yet</span> : <Value v={vm.took_ms} as={format.duration} />),
  },
  { name: "rpo", title: "Lost of its disk", width: "minmax(110px, 1fr)", key: (vm) => vm.rpo, cell: (vm) => vm.rpo || <Unknown />, minor: true },
  { name: "reason", title: "Why", width: "minmax(160px, 2.5fr)", cell: (vm) => <span title={vm.reason}>{vm.reason}</span>, minor: true },
];

const STATES = ["waiting", "starting", "running", "verified", "failed", "left"];

function VmRows({ vms }: { vms: FailoverVm[] }) {
  const [query, setQuery] = useState("");
  const [state, setState] = useState("");
  const [by, setBy] = useState<Sorting | null>(null);
  const counts = useMemo(() => {
    const found = new Map<string, number>();
    for (const vm of vms) found.set(vm.state, (found.get(vm.state) ?? 0) + 1);
    return found;
  }, [vms]);
  const rows = useMemo(() => {
    const words = query.toLowerCase();
    const kept = vms.filter((vm) => (state === "" || vm.state === state) && vm.name.toLowerCase().includes(words));
    return sorted(kept, COLUMNS, by);
  }, [vms, query, state, by]);
  return (
    <>
      <div class="filters">
        <SearchBox label="Search" value="" change={setQuery} url={() => undefined} />
        <Choice label="Phase" value={state} options={STATES} change={setState} />
        <span class="counts">
          {STATES.filter((name) => counts.has(name)).map((name) => (
            <span key={name}>
              <State name={name} work /> <span class="num">{format.count(counts.get(name) ?? 0)}</span>
            </span>
          ))}
        </span>
      </div>
      <Rows
        label="VMs of the failover"
        rows={rows}
        columns={COLUMNS}
        rowKey={(vm) => vm.vm}
        mark={(vm) => (vm.state === "failed" || vm.state === "left" ? "alarm" : "")}
        open={(vm) => navigate(to("vms", vm.vm))}
        sorting={by}
        sort={setBy}
        most={18}
      />
    </>
  );
}
