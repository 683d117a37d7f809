/** `/d/operations` and `/d/operations/:operation`: long work and its progress, followed live. */

import { cancelOperation } from "../actions/work_actions";
import { usePaged, withQuery } from "../api/paged";
import { useStream } from "../api/query";
import type { Operation, OperationAnswer, OperationState, Step } from "../api/work_types";
import * as format from "../format";
import { to, useFilters } from "../router";
import { useNow } from "../store";
import { ActionButton } from "../ui/action";
import { Choice } from "../ui/filters";
import { Id, Progress, State, When } from "../ui/marks";
import { Age, Heading, Notes, Panel, ProblemView, Waiting } from "../ui/panel";
import { type Cell, PagedTable } from "../ui/table";

const ENDED: OperationState[] = ["done", "partly", "failed", "cancelled"];
const STATES = ["waiting", "running", "cancelling", ...ENDED];

export const ended = (operation: Operation) => ENDED.includes(operation.state);

/** The page of the object that tells more, where the console has one. */
function related(operation: Operation): string | null {
  const { related: of } = operation;
  if (!of) return null;
  if (of.startsWith("failover-")) return to("failovers", of);
  if (of.startsWith("drill-")) return to("drills", of);
  return of.startsWith("vm_") ? to("vms", of) : null;
}

export function Operations() {
  const [filters, change] = useFilters();
  const { state = "", region = "" } = filters;
  const paged = usePaged<Operation>(withQuery("/v1/operations", { state, region }), 2000, (one) => one.operation);
  return (
    <>
      <Heading title="Operations" about="Long work, newest first. It goes on whoever looks, and whichever controller is there." />
      <div class="filters">
        <Choice label="State" value={state} options={STATES} change={(value) => change({ state: value })} />
      </div>
      <PagedTable title="Work" label="Operations" paged={paged} cells={CELLS} rowKey={(one) => one.operation} none="No operation is like that." />
    </>
  );
}

function Doing({ operation }: { operation: Operation }) {
  const step = operation.steps.find((one) => one.state === "running") ?? operation.steps.find((one) => one.state === "failed");
  return step ? <>{format.words(step.name)}</> : <span class="muted">{ended(operation) ? "ended" : "none yet"}</span>;
}

const CELLS: Cell<Operation>[] = [
  { title: "State", cell: (one) => <State name={one.state} work /> },
  {
    title: "What",
    head: true,
    cell: (one) => (
      <a href={to("operations", one.operation)}>
        {format.words(one.kind)} {one.subject}
      </a>
    ),
  },
  {
    title: "Progress",
    cell: (one) => (
      <>
        <Progress done={one.done} total={one.total} label={`Progress of ${one.operation}`} />
        {one.failed > 0 && <span class="stale"> {format.count(one.failed)} failed</span>}
      </>
    ),
  },
  { title: "Step", cell: (one) => <Doing operation={one} /> },
  { title: "By", cell: (one) => one.by },
  { title: "Started", cell: (one) => <When at={one.started_at_ms} /> },
  { title: "Took", cell: (one) => <span class="num"><Took operation={one} /></span> },
  { title: "Id", cell: (one) => <Id>{one.operation}</Id> },
];

function Took({ operation }: { operation: Operation }) {
  const now = useNow();
  const end = operation.ended_at_ms ?? now;
  return <>{format.duration(Math.max(0, end - operation.started_at_ms))}</>;
}

export function OperationPage({ operation }: { operation: string }) {
  const path = `/v1/operations/${encodeURIComponent(operation)}`;
  const answer = useStream<OperationAnswer>(path, (value) => ended(value.operation));
  const found = answer.data?.operation;
  const link = found && related(found);
  return (
    <>
      <Heading
        title={found ? `${format.words(found.kind)} ${found.subject}` : operation}
        about={answer.data && <Age asOf={answer.data.as_of} at={answer.at} />}
      >
        {found && !ended(found) && <ActionButton action={cancelOperation(found)} />}
      </Heading>
      {answer.problem && <ProblemView problem={answer.problem} kept={found !== undefined} />}
      {!found && !answer.problem && <Waiting />}
      {found && (
        <>
          <Panel title="Progress">
            <p class="big">
              <State name={found.state} work />
              <Progress done={found.done} total={found.total} label="Progress" />
              {found.failed > 0 && <span class="stale">{format.count(found.failed)} failed</span>}
            </p>
            <dl class="facts">
              <dt>Asked by</dt>
              <dd>{found.by}</dd>
              <dt>Started</dt>
              <dd>
                <When at={found.started_at_ms} /> <span class="muted">{format.utc(found.started_at_ms)}</span>
              </dd>
              <dt>{found.ended_at_ms === null ? "Runs for" : "Took"}</dt>
              <dd class="num">
                <Took operation={found} />
              </dd>
              {link && (
                <>
                  <dt>More</dt>
                  <dd>
                    <a href={link}>{found.related}</a>
                  </dd>
                </>
              )}
              <dt>Id</dt>
              <dd>
                <Id>{found.operation}</Id>
              </dd>
            </dl>
            <Notes tone="warn" lines={found.left} />
          </Panel>
          <Steps steps={found.steps} />
        </>
      )}
    </>
  );
}

function Steps({ steps }: { steps: Step[] }) {
  return (
    <Panel title="Steps">
      <ol class="steps">
        {steps.map((step) => (
          <li key={step.name} class={step.state}>
            <State name={step.state} work />
            <span class="grow">
              {format.words(step.name)}
              {step.note && <small>{step.note}</small>}
            </span>
            <Progress done={step.done} total={step.total} label={`Progress of ${step.name}`} />
            <span class="num took">{step.took_ms === null ? "" : format.duration(step.took_ms)}</span>
          </li>
        ))}
      </ol>
      {steps.length === 0 && <p class="empty">It has told no steps.</p>}
    </Panel>
  );
}
