/** `/d/hosts` and `/d/hosts/:region/:host`. */

import { drainHostAction } from "../actions/region_actions";
import { FleetList, type Found } from "../api/fleet";
import { useQuery } from "../api/query";
import type { Host, HostAnswer } from "../api/region_types";
import * as format from "../format";
import { navigate, to } from "../router";
import { Actions } from "../ui/action";
import { Meter, State, Unknown, Value, When } from "../ui/marks";
import { Age, Empty, Heading, Panel, ProblemView, Waiting } from "../ui/panel";
import type { Column } from "../ui/rows";
import { type Filter, FleetPage } from "../ui/table";

const words = (host: Host) =>
  [host.host, host.region, host.zone, host.version, ...Object.entries(host.labels).map(([k, v]) => `${k}=${v}`)].join(" ");

const hosts = new FleetList<Host>("/v1/hosts", words);

const vcpus = (n: number) => `${format.count(n)} vCPUs`;
const gib = (n: number) => `${format.count(n)} GiB`;
const share = ({ capacity, allocated }: Host["cpu"]) => (capacity && allocated !== null ? allocated / capacity : -1);

type Line = Found<Host>;

const COLUMNS: Column<Line>[] = [
  {
    name: "host",
    title: "Host",
    width: "minmax(110px, 1fr)",
    key: ({ item }) => item.host,
    cell: ({ item }) => <a href={to("hosts", item.region, item.host)}>{item.host}</a>,
  },
  { name: "state", title: "State", width: "104px", key: ({ item }) => item.state, cell: ({ item }) => <State name={item.state} /> },
  { name: "region", title: "Region", width: "minmax(110px, 1fr)", key: ({ item }) => item.region, cell: ({ item }) => item.region },
  { name: "zone", title: "Zone", width: "minmax(90px, 1fr)", key: ({ item }) => item.zone ?? "", cell: ({ item }) => item.zone ?? <Unknown />, minor: true },
  { name: "vms", title: "VMs", width: "60px", right: true, key: ({ item }) => item.vms, cell: ({ item }) => format.count(item.vms) },
  {
    name: "cpu",
    title: "CPU",
    width: "130px",
    key: ({ item }) => share(item.cpu),
    cell: ({ item }) => <Meter label="CPU" usage={item.cpu} unit={vcpus} />,
  },
  {
    name: "memory",
    title: "Memory",
    width: "130px",
    key: ({ item }) => share(item.memory),
    cell: ({ item }) => <Meter label="Memory" usage={item.memory} unit={format.mib} />,
    minor: true,
  },
  {
    name: "storage",
    title: "Storage",
    width: "130px",
    key: ({ item }) => share(item.storage),
    cell: ({ item }) => <Meter label="Storage" usage={item.storage} unit={gib} />,
    minor: true,
  },
  {
    name: "lease",
    title: "Lease left",
    width: "90px",
    right: true,
    key: ({ item }) => item.lease_left_ms ?? -1e9,
    cell: ({ item }) => <Value v={item.lease_left_ms} as={format.duration} />,
    minor: true,
  },
  {
    name: "heard",
    title: "Heard",
    width: "90px",
    right: true,
    key: ({ item }) => item.silent_ms ?? 1e15,
    cell: ({ item }) => <Value v={item.silent_ms} as={format.age} />,
    minor: true,
  },
  { name: "version", title: "Version", width: "84px", key: ({ item }) => item.version ?? "", cell: ({ item }) => item.version ?? <Unknown />, minor: true },
];

const STATES = ["up", "draining", "silent", "fenced", "retired", "unknown"];

const FILTERS: Filter<Host>[] = [
  { name: "region", label: "Region", of: (host) => host.region },
  { name: "state", label: "State", of: (host) => host.state, options: STATES },
];

export function Hosts() {
  return (
    <FleetPage
      title="Hosts"
      noun="host"
      list={hosts}
      columns={COLUMNS}
      filters={FILTERS}
      rowKey={(host) => `${host.region}/${host.host}`}
      alarm={(host) => host.state === "silent" || host.state === "fenced"}
      open={(host) => navigate(to("hosts", host.region, host.host))}
    />
  );
}

export function HostPage({ region, host }: { region: string; host: string }) {
  const answer = useQuery<HostAnswer>(`/v1/hosts/${encodeURIComponent(`${region}/${host}`)}`, 3000);
  const found = answer.data?.host;
  return (
    <>
      <Heading title={`${region} / ${host}`} about={answer.data && <Age asOf={answer.data.as_of} at={answer.at} />}>
        {found && <Actions actions={[drainHostAction(found)]} />}
      </Heading>
      {answer.problem && <ProblemView problem={answer.problem} kept={answer.data !== null} />}
      {!found && !answer.problem && <Waiting />}
      {found && answer.data && (
        <div class="columns">
          <HostFacts host={found} />
          <Panel title="VMs on it" tools={<a href={`${to("vms")}?region=${region}&host=${host}`}>as a list</a>}>
            {answer.data.vms.length === 0 && <Empty>None.</Empty>}
            <ul class="chips">
              {answer.data.vms.map((vm) => (
                <li key={vm}>
                  <a href={to("vms", vm)}>{vm}</a>
                </li>
              ))}
            </ul>
          </Panel>
        </div>
      )}
    </>
  );
}

function HostFacts({ host }: { host: Host }) {
  return (
    <Panel title="What it is">
      <dl class="facts">
        <dt>State</dt>
        <dd>
          <State name={host.state} />
        </dd>
        <dt>Region, zone</dt>
        <dd>
          <a href={to("regions", host.region)}>{host.region}</a>, {host.zone ?? <Unknown />}
        </dd>
        <dt>CPU</dt>
        <dd>
          <Meter label="CPU" usage={host.cpu} unit={vcpus} />
        </dd>
        <dt>Memory</dt>
        <dd>
          <Meter label="Memory" usage={host.memory} unit={format.mib} />
        </dd>
        <dt>Storage</dt>
        <dd>
          <Meter label="Storage" usage={host.storage} unit={gib} />
        </dd>
        <dt>VMs</dt>
        <dd class="num">{format.count(host.vms)}</dd>
        <dt>Lease left</dt>
        <dd>
          <Value v={host.lease_left_ms} as={format.duration} />
        </dd>
        <dt>Last heard</dt>
        <dd>
          <Value v={host.silent_ms} as={(ms) => `${format.age(ms)} ago`} />
        </dd>
        <dt>Version</dt>
        <dd>{host.version ?? <Unknown />}</dd>
        {host.maintenance && (
          <>
            <dt>Maintenance</dt>
            <dd>
              {host.maintenance.window}, ends <When at={host.maintenance.until_at_ms} />: {host.maintenance.reason}
            </dd>
          </>
        )}
        <dt>Labels</dt>
        <dd>
          {Object.entries(host.labels).map(([key, value]) => (
            <code key={key} class="tag">
              {key}={value}
            </code>
          ))}
        </dd>
      </dl>
    </Panel>
  );
}
