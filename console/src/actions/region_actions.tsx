/** Actions on regions and hosts, and the freeze switch. */

import type { Freeze, Host, RegionChanged, RegionSummary } from "../api/region_types";
import type { MovesStarted } from "../api/work_types";
import * as format from "../format";
import { to } from "../router";
import { type Action, given, REASON } from "../ui/action";
import { State } from "../ui/marks";

const regionPath = (region: string, verb: string) => `/v1/regions/${encodeURIComponent(region)}/${verb}`;

function Changed({ answer }: { answer: RegionChanged }) {
  const { region, changed } = answer;
  return (
    <p>
      {changed ? "It changes: " : "It is so already: "}
      {region.region} <State name={region.lifecycle} />, placement {region.placement.enabled ? "on" : "off"}, traffic{" "}
      {region.traffic_percent === null ? "unknown" : format.percent(region.traffic_percent)}.
    </p>
  );
}

const changedAction = (answer: RegionChanged) => <Changed answer={answer} />;

/** The operations that moves began, linked. */
export function Begun({ answer }: { answer: MovesStarted }) {
  if (answer.operations.length === 0) return <>Nothing was to move.</>;
  return (
    <>
      Begun:{" "}
      {answer.operations.map((operation) => (
        <a key={operation.operation} href={to("operations", operation.operation)}>
          {operation.operation}
        </a>
      ))}
    </>
  );
}

/** A plan of moves: how many, and the first of them. */
export function Moves({ answer }: { answer: MovesStarted }) {
  const first = answer.planned.slice(0, 50);
  return (
    <>
      <p>
        {format.many(answer.planned.length - answer.left, "VM")} would move, {format.count(answer.left)} have no place.
      </p>
      <div class="scroll short" tabIndex={0} role="group" aria-label="Planned moves">
        <table>
          <thead>
            <tr>
              <th scope="col">VM</th>
              <th scope="col">From</th>
              <th scope="col">To</th>
              <th scope="col">Why</th>
            </tr>
          </thead>
          <tbody>
            {first.map((move) => (
              <tr key={move.vm}>
                <td>{move.name}</td>
                <td>
                  {move.from}/{move.from_host}
                </td>
                <td>{move.to ? `${move.to}/${move.to_host ?? "?"}` : "stays"}</td>
                <td>{move.reason}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {answer.planned.length > first.length && <p class="muted">and {format.count(answer.planned.length - first.length)} more</p>}
    </>
  );
}

export function placementAction(summary: RegionSummary): Action {
  const { region, placement, revision } = summary;
  const verb = placement.enabled ? "disable" : "enable";
  return {
    label: placement.enabled ? "Disable placement" : "Enable placement",
    title: `${placement.enabled ? "Disable" : "Enable"} placement in ${region}`,
    about: placement.enabled ? "No new VM is placed there; those that run go on." : "New VMs may be placed there again.",
    needs: "operate",
    method: "POST",
    path: () => regionPath(region, `${verb}-placement`),
    body: (values) => ({ ...given(values, "reason"), expected_revision: revision }),
    fields: [REASON],
    dryRun: "offered",
    show: changedAction,
  };
}

export function serviceAction(summary: RegionSummary): Action {
  const { region, revision } = summary;
  if (summary.lifecycle === "active") {
    return {
      label: "Disable region",
      title: `Disable ${region}`,
      about: "Placement and traffic of the region stop. Fenced, its hosts' leases are not renewed: its VMs stop running there.",
      needs: "operate",
      method: "POST",
      path: () => regionPath(region, "disable"),
      body: (values) => ({ ...given(values, "reason"), fence: values["fence"] === "true", expected_revision: revision }),
      fields: [REASON, { name: "fence", label: "Also fence it", kind: "check" }],
      dryRun: "first",
      type: () => region,
      show: changedAction,
      tone: "danger",
    };
  }
  return {
    label: "Enable region",
    title: `Enable ${region}`,
    about: "The region comes into service: placement and traffic.",
    needs: "operate",
    method: "POST",
    path: () => regionPath(region, "enable"),
    body: (values) => ({
      ...given(values, "reason"),
      ...(values["traffic"] ? { traffic_percent: Number(values["traffic"]) } : {}),
      expected_revision: revision,
    }),
    fields: [{ name: "traffic", label: "Traffic, percent", kind: "number", initial: "100" }, REASON],
    dryRun: "offered",
    show: changedAction,
  };
}

export function trafficAction(summary: RegionSummary): Action {
  const { region, revision } = summary;
  return {
    label: "Set traffic",
    title: `Traffic of ${region}`,
    about: "The region's share of what it could take.",
    needs: "operate",
    method: "POST",
    path: () => regionPath(region, "traffic"),
    body: (values) => ({ ...given(values, "reason"), percent: Number(values["percent"]), expected_revision: revision }),
    fields: [
      { name: "percent", label: "Percent, 0 to 100", kind: "number", initial: String(summary.traffic_percent ?? 100), required: true },
      REASON,
    ],
    dryRun: "offered",
    show: changedAction,
  };
}

export function drainAction(summary: RegionSummary, others: string[]): Action {
  const { region } = summary;
  return {
    label: "Drain",
    title: `Drain ${region}`,
    about: "Moves every VM of the region to others by its rules, while it runs, until the time is over.",
    needs: "operate",
    method: "POST",
    path: () => regionPath(region, "drain"),
    body: (values) => ({
      ...given(values, "reason"),
      to: (values["to"] ?? "").split(",").filter(Boolean),
      timeout_ms: Math.round(Number(values["minutes"]) * 60_000),
    }),
    fields: [
      { name: "to", label: "Only to", kind: "many", choices: others.map((value) => ({ value, label: value })), note: "None: wherever the rules allow." },
      { name: "minutes", label: "Within, minutes", kind: "number", initial: "10", required: true, note: "What has not moved by then stays." },
      REASON,
    ],
    dryRun: "first",
    type: () => region,
    show: (answer: MovesStarted, dry) => dry && <Moves answer={answer} />,
    done: (answer: MovesStarted) => <Begun answer={answer} />,
    tone: "danger",
  };
}

export function failbackAction(summary: RegionSummary): Action {
  return {
    label: "Fail back",
    title: `Bring VMs home to ${summary.region}`,
    about: "VMs that were created there and live elsewhere move home while they run.",
    needs: "operate",
    method: "POST",
    path: () => regionPath(summary.region, "failback"),
    body: (values) => given(values, "reason"),
    fields: [REASON],
    dryRun: "first",
    show: (answer: MovesStarted, dry) => dry && <Moves answer={answer} />,
    done: (answer: MovesStarted) => <Begun answer={answer} />,
  };
}

export function drainHostAction(host: Host): Action {
  return {
    label: "Drain host",
    title: `Drain ${host.region}/${host.host}`,
    about: "Moves the host's VMs while they run: within its region if there is room, else to others.",
    needs: "operate",
    method: "POST",
    path: () => `/v1/hosts/${encodeURIComponent(`${host.region}/${host.host}`)}/drain`,
    body: (values) => given(values, "reason"),
    fields: [REASON],
    dryRun: "first",
    show: (answer: MovesStarted, dry) => dry && <Moves answer={answer} />,
    done: (answer: MovesStarted) => <Begun answer={answer} />,
    tone: "danger",
  };
}

const FREEZE = [
  { value: "active", label: "active: everything is done" },
  { value: "no-moves", label: "no-moves: VMs start and stop, none moves" },
  { value: "frozen", label: "frozen: nothing changes" },
];

export function freezeAction(freeze: Freeze): Action {
  return {
    label: "Set the freeze switch",
    title: "Freeze switch",
    about: (
      <>
        What DWCP may do by itself. Now: <State name={freeze.state} />
        {freeze.local && (
          <>
            , and set by hand in the answering region: <State name={freeze.local} />
          </>
        )}
        {freeze.reason && <>; {freeze.reason}</>}
      </>
    ),
    needs: "operate",
    method: "PUT",
    path: () => "/v1/freeze",
    body: (values) => ({
      state: values["state"],
      ...given(values, "reason"),
      local: values["local"] === "true",
      ...(values["local"] === "true" ? {} : { expected_revision: freeze.revision }),
    }),
    fields: [
      { name: "state", label: "State", kind: "choice", initial: freeze.state, choices: FREEZE, required: true },
      REASON,
      { name: "local", label: "Only the answering region, without asking the others", kind: "check", note: "Works without a quorum." },
    ],
    dryRun: "offered",
    type: (values) => values["state"] ?? "",
    show: (answer: Freeze) => (
      <p>
        State: <State name={answer.state} />
      </p>
    ),
    tone: "danger",
  };
}
