/** `/d/vms`: every VM, filtered here; the filters are the page's query. */

import { useMemo, useState } from "preact/hooks";
import { FleetList, type Found, search, useFleet } from "../api/fleet";
import type { Vm } from "../api/work_types";
import * as format from "../format";
import { navigate, to, useFilters } from "../router";
import { Choice, SearchBox } from "../ui/filters";
import { Mark, State } from "../ui/marks";
import { Age, Empty, Heading, ProblemView, Waiting } from "../ui/panel";
import { type Column, readSorting, Rows, sorted } from "../ui/rows";

const words = (vm: Vm) =>
  [vm.name, vm.vm, vm.region, vm.zone, vm.host, vm.image, vm.address, ...Object.entries(vm.labels).map(([k, v]) => `${k}=${v}`)].join(" ");

export const vms = new FleetList<Vm>("/v1/vms", words);

const STATES = ["waiting", "starting", "running", "paused", "stopping", "stopped", "moving", "failed", "deleting", "unknown"];

type Line = Found<Vm>;

function health(vm: Vm) {
  if (vm.healthy === null) return <Mark tone="unknown">unknown</Mark>;
  return vm.healthy ? <Mark tone="ok">answers</Mark> : <Mark tone="bad">fails</Mark>;
}

function protection(vm: Vm) {
  const copy = vm.protection;
  if (!copy || copy.wanted.mode === "none") return <span class="muted">none</span>;
  return (
    <span title={copy.reason}>
      <State name={copy.state} /> {copy.wanted.mode}
    </span>
  );
}

const COLUMNS: Column<Line>[] = [
  {
    name: "name",
    title: "Name",
    width: "minmax(150px, 2fr)",
    key: ({ item }) => item.name,
    cell: ({ item }) => <a href={to("vms", item.vm)}>{item.name}</a>,
  },
  {
    name: "state",
    title: "State",
    width: "104px",
    key: ({ item }) => item.state,
    cell: ({ item }) => (
      <span title={item.reason}>
        <State name={item.state} />
      </span>
    ),
  },
  { name: "healthy", title: "Probe", width: "100px", key: ({ item }) => String(item.healthy), cell: ({ item }) => health(item) },
  { name: "region", title: "Region", width: "minmax(110px, 1fr)", key: ({ item }) => item.region, cell: ({ item }) => item.region },
  {
    name: "host",
    title: "Host",
    width: "minmax(90px, 1fr)",
    key: ({ item }) => item.host ?? "",
    minor: true,
    cell: ({ item }) => (item.host ? <a href={to("hosts", item.region, item.host)}>{item.host}</a> : <span class="muted">none</span>),
  },
  { name: "vcpus", title: "vCPUs", width: "64px", right: true, key: ({ item }) => item.vcpus, cell: ({ item }) => item.vcpus, minor: true },
  {
    name: "memory",
    title: "Memory",
    width: "84px",
    right: true,
    key: ({ item }) => item.memory_mib,
    cell: ({ item }) => format.mib(item.memory_mib),
    minor: true,
  },
  { name: "disk", title: "Disk", width: "78px", right: true, key: ({ item }) => item.disk_gib, cell: ({ item }) => `${item.disk_gib} GiB`, minor: true },
  { name: "priority", title: "Priority", width: "74px", right: true, key: ({ item }) => item.priority, cell: ({ item }) => item.priority, minor: true },
  {
    name: "protection",
    title: "Disk copy",
    width: "150px",
    key: ({ item }) => item.protection?.state ?? "",
    cell: ({ item }) => protection(item),
    minor: true,
  },
  {
    name: "address",
    title: "Address",
    width: "minmax(170px, 1.4fr)",
    key: ({ item }) => item.address ?? "",
    cell: ({ item }) => item.address ?? <span class="unknown">unknown</span>,
    minor: true,
  },
];

export function Vms() {
  const [filters, change] = useFilters();
  const [query, setQuery] = useState(filters["q"] ?? "");
  const fleet = useFleet(vms);
  const { region = "", state = "", host = "", sort } = filters;
  const regions = useMemo(() => [...new Set(fleet.items.map(({ item }) => item.region))].sort(), [fleet]);
  const rows = useMemo(() => {
    const found = search(fleet.items, query).filter(
      ({ item }) =>
        (region === "" || item.region === region) && (state === "" || item.state === state) && (host === "" || item.host === host),
    );
    return sorted(found, COLUMNS, readSorting(sort));
  }, [fleet, query, region, state, host, sort]);
  const filtered = rows.length !== fleet.items.length;
  return (
    <div class="full">
      <Heading
        title="VMs"
        about={
          fleet.at > 0 && (
            <>
              <span class="num" role="status">
                {format.count(rows.length)}
                {filtered && ` of ${format.count(fleet.items.length)}`} VMs
              </span>{", "}
              {!fleet.whole && "so far, more is coming; "}
              <Age asOf={fleet.asOf} at={fleet.at} />
            </>
          )
        }
      />
      <div class="filters" role="search">
        <SearchBox label="Search" value={query} change={setQuery} url={(q) => change({ q })} />
        <Choice label="Region" value={region} options={regions} change={(value) => change({ region: value })} />
        <Choice label="State" value={state} options={STATES} change={(value) => change({ state: value })} />
        {host !== "" && (
          <button type="button" onClick={() => change({ host: "" })}>
            host {host} ✕
          </button>
        )}
      </div>
      {fleet.problem && <ProblemView problem={fleet.problem} kept={fleet.at > 0} />}
      {fleet.at === 0 && !fleet.problem && <Waiting />}
      {fleet.at > 0 && rows.length === 0 && <Empty>No VM is like that.</Empty>}
      {rows.length > 0 && (
        <Rows
          label="VMs"
          rows={rows}
          columns={COLUMNS}
          rowKey={({ item }) => item.vm}
          mark={({ item }) => (item.state === "failed" || item.healthy === false ? "alarm" : "")}
          open={({ item }) => navigate(to("vms", item.vm))}
          sorting={readSorting(sort)}
          sort={(by) => change({ sort: by ? `${by.down ? "-" : ""}${by.name}` : "" })}
        />
      )}
    </div>
  );
}
