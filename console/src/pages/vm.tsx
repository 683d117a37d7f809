/** `/d/vms/:vm`: one VM, why it is where it is, what it wrote to its console. */

import { useEffect, useRef, useState } from "preact/hooks";
import { vmActions } from "../actions/work_actions";
import { useQuery, useStream } from "../api/query";
import type { Event, Page } from "../api/region_types";
import type { ConsoleText, PlacementReport, Vm, VmAnswer } from "../api/work_types";
import * as format from "../format";
import { to } from "../router";
import { Actions } from "../ui/action";
import { Id, State, Unknown, Value, When } from "../ui/marks";
import { Age, Empty, Heading, Notes, Panel, ProblemView, Waiting } from "../ui/panel";

export function VmPage({ vm }: { vm: string }) {
  const path = `/v1/vms/${encodeURIComponent(vm)}`;
  const answer = useQuery<VmAnswer>(path, 3000);
  const found = answer.data?.vm;
  return (
    <>
      <Heading title={found?.name ?? vm} about={answer.data && <Age asOf={answer.data.as_of} at={answer.at} />}>
        {found && <Actions actions={vmActions(found)} />}
      </Heading>
      {answer.problem && <ProblemView problem={answer.problem} kept={answer.data !== null} />}
      {!found && !answer.problem && <Waiting />}
      {found && (
        <>
          {found.reason && <Notes tone="warn" lines={[found.reason]} />}
          <div class="columns">
            <Facts vm={found} />
            <Copy vm={found} />
          </div>
          <Explain path={path} />
          <ConsolePanel path={path} />
          <VmEvents vm={found} />
        </>
      )}
    </>
  );
}

function probe(vm: Vm): string {
  const { probe: by } = vm;
  if (by.kind === "http") return `GET ${by.path} on port ${by.port}`;
  if (by.kind === "tcp") return `port ${by.port}`;
  return format.words(by.kind);
}

function Facts({ vm }: { vm: Vm }) {
  return (
    <Panel title="What it is">
      <dl class="facts">
        <dt>State</dt>
        <dd>
          <State name={vm.state} /> <span class="muted">wanted {vm.wanted_running ? "running" : "stopped"}</span>
        </dd>
        <dt>Probe</dt>
        <dd>
          {vm.healthy === null ? <Unknown /> : <State name={vm.healthy ? "answers" : "failed"} />} <span class="muted">{probe(vm)}</span>
        </dd>
        <dt>Place</dt>
        <dd>
          <a href={to("regions", vm.region)}>{vm.region}</a>
          {vm.zone && ` / ${vm.zone}`}
          {vm.host ? (
            <>
              {" / "}
              <a href={to("hosts", vm.region, vm.host)}>{vm.host}</a>
            </>
          ) : (
            ", on no host"
          )}
        </dd>
        <dt>Address</dt>
        <dd>{vm.address ? <code>{vm.address}</code> : <Unknown />}</dd>
        <dt>Size</dt>
        <dd>
          {format.many(vm.vcpus, "vCPU")}, {format.mib(vm.memory_mib)} memory, {vm.disk_gib} GiB disk
        </dd>
        <dt>Image</dt>
        <dd>{vm.image}</dd>
        <dt>Priority</dt>
        <dd class="num">{vm.priority}</dd>
        <dt>Labels</dt>
        <dd>
          {Object.entries(vm.labels).map(([key, value]) => (
            <code key={key} class="tag">
              {key}={value}
            </code>
          ))}
          {Object.keys(vm.labels).length === 0 && <span class="muted">none</span>}
        </dd>
        <dt>Cost a month</dt>
        <dd>
          <Value v={vm.cost_usd_month} as={format.usd} />
        </dd>
        <dt>Created</dt>
        <dd>
          <When at={vm.created_at_ms} />
        </dd>
        <dt>Id</dt>
        <dd>
          <Id>{vm.vm}</Id> <span class="muted">generation {vm.generation}, revision {vm.revision}</span>
        </dd>
      </dl>
    </Panel>
  );
}

function Copy({ vm }: { vm: Vm }) {
  const copy = vm.protection;
  return (
    <Panel title="Copy of its disk">
      {!copy || copy.wanted.mode === "none" ? (
        <Empty>It has none: the content of its disk is on its host alone.</Empty>
      ) : (
        <dl class="facts">
          <dt>State</dt>
          <dd>
            <State name={copy.state} /> <span class="muted">{copy.wanted.mode}</span>
          </dd>
          <dt>Where</dt>
          <dd>{copy.region ? `${copy.region}${copy.host ? ` / ${copy.host}` : ""}` : "not chosen yet"}</dd>
          <dt>Would lose now</dt>
          <dd>{copy.would_lose_ms === null ? "the whole disk" : format.duration(copy.would_lose_ms)}</dd>
          <dt>Newest point</dt>
          <dd>
            <When at={copy.point_at_ms} />
          </dd>
          <dt>Since</dt>
          <dd>
            <When at={copy.since_at_ms} />
          </dd>
          {copy.reason && (
            <>
              <dt>Behind because</dt>
              <dd>{copy.reason}</dd>
            </>
          )}
        </dl>
      )}
    </Panel>
  );
}

function Explain({ path }: { path: string }) {
  const [open, setOpen] = useState(false);
  const report = useQuery<PlacementReport>(open ? `${path}/explain` : null, Infinity);
  return (
    <details class="panel" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <h2>Why it is there</h2>
      </summary>
      {report.problem && <ProblemView problem={report.problem} />}
      {open && !report.data && !report.problem && <Waiting />}
      {report.data && (
        <>
          <Notes tone="note" lines={report.data.reasons} />
          <div class="scroll" tabIndex={0} role="group" aria-label="Places that were considered">
            <table>
              <thead>
                <tr>
                  <th scope="col">Place</th>
                  <th scope="col" class="right">
                    Score
                  </th>
                  <th scope="col">Made of, or ruled out by</th>
                </tr>
              </thead>
              <tbody>
                {report.data.candidates.map((place) => (
                  <tr key={`${place.region}/${place.host}`}>
                    <th scope="row">
                      {place.region}
                      {place.host && `/${place.host}`}
                    </th>
                    <td class="right">
                      {place.score === null ? <span class="muted">ruled out</span> : <Value v={place.score} as={format.figure} />}
                    </td>
                    <td>
                      {place.ruled_out.length > 0
                        ? place.ruled_out.join("; ")
                        : place.factors.map((one) => `${one.name} ${format.figure(one.value)} × ${format.figure(one.weight)}`).join(", ")}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </details>
  );
}

/** Most of a console that is kept in the page, characters. */
const KEPT = 64 << 10;

function ConsolePanel({ path }: { path: string }) {
  const [open, setOpen] = useState(false);
  const answer = useStream<ConsoleText>(open ? `${path}/console?offset=-16384` : null, () => false);
  const [text, setText] = useState("");
  const end = useRef(0);
  const box = useRef<HTMLPreElement>(null);
  useEffect(() => {
    const piece = answer.data;
    if (!piece) return;
    // A stream that was opened again begins with what is there already.
    const again = piece.offset < end.current;
    end.current = piece.next_offset;
    setText((old) => (again ? piece.text : old + piece.text).slice(-KEPT));
  }, [answer.data]);
  useEffect(() => {
    if (open) return;
    setText("");
    end.current = 0;
  }, [open]);
  useEffect(() => {
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [text]);
  return (
    <details class="panel" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <h2>Console</h2>
      </summary>
      {answer.problem && <ProblemView problem={answer.problem} kept={text !== ""} />}
      {open && (
        <pre class="console" tabIndex={0} ref={box} aria-label="What the VM wrote to its console">
          {text || "Nothing yet."}
        </pre>
      )}
    </details>
  );
}

function VmEvents({ vm }: { vm: Vm }) {
  const events = useQuery<Page<Event>>(`/v1/events?limit=20&subject=${encodeURIComponent(vm.vm)}`, 5000);
  return (
    <Panel title="Its events" answer={events}>
      {events.data?.items.length === 0 && <Empty>None is kept.</Empty>}
      <ul class="lines">
        {events.data?.items.map((event) => (
          <li key={event.id}>
            <State name={event.severity} />
            <span class="grow">{event.message}</span>
            <When at={event.at_ms} />
          </li>
        ))}
      </ul>
    </Panel>
  );
}
