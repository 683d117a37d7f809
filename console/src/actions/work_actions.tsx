/** Actions on VMs, operations, failovers, windows and drills. */

import type { Drill, Failover, FailoverStarted, MaintenanceAnswer, MaintenanceWindow, Operation, Vm, VmChanged } from "../api/work_types";
import * as format from "../format";
import { to } from "../router";
import { type Action, given, REASON } from "../ui/action";
import { State, Value } from "../ui/marks";
import { Notes } from "../ui/panel";

function Asked({ operation }: { operation: Operation | null }) {
  if (!operation) return <>Nothing was to do.</>;
  return (
    <>
      Begun: <a href={to("operations", operation.operation)}>{operation.operation}</a>
      {operation.joined && " (it was running already)"}
    </>
  );
}

function vmAction(vm: Vm, verb: "start" | "stop" | "restart", about: string): Action {
  const label = `${verb.slice(0, 1).toUpperCase()}${verb.slice(1)}`;
  return {
    label,
    title: `${label} ${vm.name}`,
    about,
    needs: "operate",
    method: "POST",
    path: () => `/v1/vms/${encodeURIComponent(vm.vm)}/${verb}`,
    body: () => ({ expected_revision: vm.revision }),
    dryRun: "offered",
    show: (answer: VmChanged) => (
      <p>
        {answer.vm.name} is <State name={answer.vm.state} />
      </p>
    ),
    done: (answer: VmChanged) => <Asked operation={answer.operation} />,
    ...(verb === "start" ? {} : { tone: "danger" as const, type: () => vm.name }),
  };
}

export function vmActions(vm: Vm): Action[] {
  return [
    vm.wanted_running
      ? vmAction(vm, "stop", "The guest is asked to power down, and ended when it does not. Its disk stays.")
      : vmAction(vm, "start", "The VM starts where it has a place."),
    vmAction(vm, "restart", "The VM stops and starts again."),
    {
      label: "Delete",
      title: `Delete ${vm.name}`,
      about: "The VM and its disk are deleted. This can't be undone.",
      needs: "operate",
      method: "DELETE",
      path: () => `/v1/vms/${encodeURIComponent(vm.vm)}`,
      body: () => ({ expected_revision: vm.revision }),
      dryRun: "offered",
      type: () => vm.name,
      done: (answer: VmChanged) => <Asked operation={answer.operation} />,
      tone: "danger",
    },
  ];
}

export function cancelOperation(operation: Operation): Action {
  return {
    label: "Cancel operation",
    title: `Cancel ${operation.operation}`,
    about: "It is asked to stop at its next safe point. What is done stays done.",
    needs: "operate",
    method: "POST",
    path: () => `/v1/operations/${encodeURIComponent(operation.operation)}/cancel`,
    body: (values) => ({ ...given(values, "reason"), expected_revision: operation.revision }),
    fields: [REASON],
    dryRun: "offered",
    type: () => operation.operation,
    tone: "danger",
  };
}

/** VMs without a place that a plan names. */
const MOST_LEFT = 8;

/** The plan of a failover: what it predicts, and what has no place. */
export function FailoverPlan({ failover }: { failover: Failover }) {
  const left = failover.vms.filter((vm) => vm.state === "left").map((vm) => `${vm.name}: ${vm.reason}`);
  const rest = left.length - MOST_LEFT;
  return (
    <>
      <dl class="facts">
        <dt>VMs</dt>
        <dd>{format.count(failover.total)}</dd>
        <dt>Would be left</dt>
        <dd>{format.count(failover.left)}</dd>
        <dt>Predicted recovery time</dt>
        <dd>
          <Value v={failover.predicted_rto_ms} as={format.duration} />
        </dd>
        <dt>Acknowledged writes lost</dt>
        <dd>
          <Value v={failover.rpo.acknowledged_writes_lost} /> <span class="muted">{failover.rpo.evidence}</span>
        </dd>
        <dt>Goes to</dt>
        <dd>{failover.to.join(", ") || "none"}</dd>
      </dl>
      <Notes tone="warn" lines={[...left.slice(0, MOST_LEFT), ...(rest > 0 ? [`and ${format.count(rest)} more`] : [])]} />
    </>
  );
}

const NO_REGIONS = "The regions are not known yet.";

const RELAX = [
  { value: "capacity", label: "capacity: move what fits" },
  { value: "residency", label: "residency" },
  { value: "affinity", label: "affinity" },
  { value: "max_time", label: "max_time" },
];

export function failoverAction(regions: string[], from = ""): Action {
  const choices = regions.map((value) => ({ value, label: value }));
  const list = (text: string | undefined) => (text ?? "").split(",").filter(Boolean);
  return {
    label: "Start failover",
    title: "Fail a region over",
    about: "Moves all VMs of a region to others, the most important first. The dry run shows the plan; the same failover twice joins the running one.",
    needs: "operate",
    method: "POST",
    path: () => "/v1/failovers",
    body: (values) => ({
      from: values["from"],
      to: list(values["to"]).filter((region) => region !== values["from"]),
      relax: list(values["relax"]),
      priority: Number(values["priority"]),
      ...given(values, "reason"),
    }),
    fields: [
      { name: "from", label: "From", kind: "choice", initial: from, required: true, choices: [{ value: "", label: "choose a region" }, ...choices] },
      { name: "to", label: "To", kind: "many", choices, note: "None: all that are healthy." },
      {
        name: "priority",
        label: "Priority",
        kind: "choice",
        initial: "100",
        choices: [
          { value: "100", label: "critical" },
          { value: "75", label: "high" },
          { value: "50", label: "normal" },
          { value: "25", label: "low" },
        ],
      },
      { name: "relax", label: "Set aside", kind: "many", choices: RELAX },
      REASON,
    ],
    unable: regions.length === 0 ? NO_REGIONS : null,
    dryRun: "first",
    type: (values) => values["from"] ?? "",
    show: (answer: FailoverStarted, dry) => dry && <FailoverPlan failover={answer.failover} />,
    done: (answer: FailoverStarted) => (
      <>
        Begun: <a href={to("failovers", answer.failover.failover)}>{answer.failover.failover}</a>
        {answer.operation?.joined && " (it was running already)"}
      </>
    ),
    tone: "danger",
  };
}

export function scheduleAction(regions: string[]): Action {
  return {
    label: "Plan a window",
    title: "Plan a maintenance window",
    about: "Of a region or of one host. What it mutes is still recorded.",
    needs: "operate",
    method: "POST",
    path: () => "/v1/maintenance",
    body: (values) => ({
      ...(values["host"] ? { host: values["host"] } : { region: values["region"] }),
      starts_at_ms: Date.parse(`${values["starts"]}Z`),
      duration_ms: Math.round(Number(values["minutes"]) * 60_000),
      reason: values["reason"],
      no_placement: values["no_placement"] === "true",
    }),
    fields: [
      { name: "region", label: "Region", kind: "choice", initial: regions[0] ?? "", choices: regions.map((value) => ({ value, label: value })) },
      { name: "host", label: "Host, instead of the whole region", kind: "text", note: "region/name" },
      { name: "starts", label: "Starts, UTC", kind: "time", initial: new Date(Date.now() + 3_600_000).toISOString().slice(0, 16), required: true },
      { name: "minutes", label: "Minutes", kind: "number", initial: "120", required: true },
      { name: "no_placement", label: "Stop placement meanwhile", kind: "check" },
      { ...REASON, required: true },
    ],
    unable: regions.length === 0 ? NO_REGIONS : null,
    dryRun: "offered",
    show: (answer: MaintenanceAnswer) => (
      <p>
        {answer.window.region}
        {answer.window.host && `/${answer.window.host}`}: {format.utc(answer.window.starts_at_ms)} to {format.utc(answer.window.ends_at_ms)}
      </p>
    ),
  };
}

export function cancelWindow(window: MaintenanceWindow): Action {
  return {
    label: window.state === "running" ? "End now" : "Call off",
    title: `Call ${window.window} off`,
    about: "A window that has begun ends at once.",
    needs: "operate",
    method: "POST",
    path: () => `/v1/maintenance/${encodeURIComponent(window.window)}/cancel`,
    body: (values) => ({ ...given(values, "reason"), expected_revision: window.revision }),
    fields: [REASON],
    dryRun: "offered",
  };
}

export function drillAction(regions: string[]): Action {
  return {
    label: "Start a drill",
    title: "Rehearse the failure of a region",
    about: "Copies of the region's VMs are lost and brought back elsewhere; the VMs that people run are not touched.",
    needs: "operate",
    method: "POST",
    path: () => "/v1/drills",
    body: (values) => ({
      region: values["region"],
      max_time_ms: Math.round(Number(values["minutes"]) * 60_000),
      ...given(values, "reason"),
    }),
    fields: [
      { name: "region", label: "Region", kind: "choice", initial: regions[0] ?? "", choices: regions.map((value) => ({ value, label: value })), required: true },
      { name: "minutes", label: "Ends by itself after, minutes", kind: "number", initial: "30", required: true },
      REASON,
    ],
    unable: regions.length === 0 ? NO_REGIONS : null,
    dryRun: "none",
    type: (values) => values["region"] ?? "",
    done: (answer: { drill: Drill }) => (
      <>
        Runs: <a href={to("drills", answer.drill.drill)}>{answer.drill.drill}</a>
      </>
    ),
  };
}

export function restoreDrill(drill: Drill): Action {
  return {
    label: "End the drill",
    title: `End ${drill.drill}`,
    about: "What it made is deleted; its results stay.",
    needs: "operate",
    method: "POST",
    path: () => `/v1/drills/${encodeURIComponent(drill.drill)}/restore`,
    body: (values) => given(values, "reason"),
    fields: [REASON],
    dryRun: "none",
  };
}
