/** `/d/vms`: every VM, filtered here; the filters are the page's query. */

import { FleetList, type Found } from "../api/fleet";
import type { Vm } from "../api/work_types";
import * as format from "../format";
import { navigate, to } from "../router";
import { Mark, State } from "../ui/marks";
import type { Column } from "../ui/rows";
import { type Filter, FleetPage } from "../ui/table";

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
    width: "minmax(150px, 1.6fr)",
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
    width: "minmax(90px, 1.3fr)",
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
    width: "128px",
    key: ({ item }) => item.protection?.state ?? "",
    cell: ({ item }) => protection(item),
    minor: true,
  },
  {
    name: "address",
    title: "Address",
    width: "minmax(170px, 1.9fr)",
    key: ({ item }) => item.address ?? "",
    cell: ({ item }) => item.address ?? <span class="unknown">unknown</span>,
    minor: true,
  },
];

const FILTERS: Filter<Vm>[] = [
  { name: "region", label: "Region", of: (vm) => vm.region },
  { name: "state", label: "State", of: (vm) => vm.state, options: STATES },
  { name: "host", label: "host", of: (vm) => vm.host ?? "", linked: true },
];

export function Vms() {
  return (
    <FleetPage
      title="VMs"
      noun="VM"
      list={vms}
      columns={COLUMNS}
      filters={FILTERS}
      rowKey={(vm) => vm.vm}
      alarm={(vm) => vm.state === "failed" || vm.healthy === false}
      open={(vm) => navigate(to("vms", vm.vm))}
    />
  );
}
