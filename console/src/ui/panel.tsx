/** The frame of everything on a page: panels, headings, problems, and how old an answer is. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Answer } from "../api/query";
import type { Freshness } from "../api/region_types";
import type { Problem } from "../api/work_types";
import * as format from "../format";
import { useNow } from "../store";

/** Facts older than this are called old, ms. */
export const OLD_MS = 15_000;

interface Dated {
  as_of: Freshness[];
}

/** Ages of an answer's facts, as of now: those it came with and the time since. */
export function agesOf(asOf: Freshness[], at: number, now: number): { region: string; age: number | null }[] {
  const since = Math.max(0, now - at);
  return asOf.map((line) => ({ region: line.region, age: line.age_ms === null ? null : line.age_ms + since }));
}

function agedWords(old: { region: string; age: number | null }[]): string {
  return old.map((line) => `${line.region} ${line.age === null ? "was never heard" : format.age(line.age)}`).join(", ");
}

/** How old the facts of an answer are; regions that are behind are named. */
export function Age({ asOf, at }: { asOf: Freshness[]; at: number }) {
  const now = useNow();
  const ages = agesOf(asOf, at, now);
  const old = ages.filter((line) => line.age === null || line.age > OLD_MS);
  const fresh = ages.filter((line) => !old.includes(line));
  const worst = Math.max(0, now - at, ...fresh.map((line) => line.age ?? 0));
  const title = ages.map((line) => `${line.region}: ${line.age === null ? "unknown" : format.age(line.age)}`).join("\n");
  return (
    <span class="age" title={title}>
      {(fresh.length > 0 || ages.length === 0) && <span class="num">{format.age(worst)} old</span>}
      {old.length > 0 && <span class="stale"> ▲ {agedWords(old)}</span>}
    </span>
  );
}

export function Panel(props: {
  title: string;
  answer?: Answer<Dated>;
  tools?: ComponentChildren;
  wide?: boolean;
  children: ComponentChildren;
}) {
  const { title, answer, tools, wide, children } = props;
  const id = `panel-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return (
    <section class={wide ? "panel wide" : "panel"} aria-labelledby={id}>
      <div class="panel-head">
        <h2 id={id}>{title}</h2>
        {answer?.data && <Age asOf={answer.data.as_of} at={answer.at} />}
        {tools && <div class="tools">{tools}</div>}
      </div>
      {answer?.problem && <ProblemView problem={answer.problem} kept={answer.data !== null} />}
      {answer && !answer.data && !answer.problem ? <Waiting /> : children}
    </section>
  );
}

export function Waiting() {
  return <p class="waiting">Asking…</p>;
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** Puts text on the clipboard and says so. */
export function Copy({ text, label }: { text: string; label: string }) {
  const [said, setSaid] = useState("");
  const copy = () => {
    const done = navigator.clipboard?.writeText(text);
    if (!done) return setSaid("not possible here");
    done.then(
      () => setSaid("copied"),
      () => setSaid("not allowed here"),
    );
    setTimeout(() => setSaid(""), 2000);
  };
  return (
    <button type="button" class="small" aria-label={label} onClick={copy}>
      <span aria-live="polite">{said || "copy"}</span>
    </button>
  );
}

/** An error as the API tells it: what, why, what happens next, what to type, and the id that finds its log. */
export function ProblemView({ problem, kept = false }: { problem: Problem; kept?: boolean }) {
  return (
    <div class="problem" role="alert">
      <p class="what">
        <span class="glyph" aria-hidden="true">
          ■
        </span>
        {problem.title}
        {problem.code && <code>{problem.code}</code>}
      </p>
      {problem.detail && <p>{problem.detail}</p>}
      <dl>
        {problem.cause.length > 0 && <Lines name="Cause" lines={problem.cause} />}
        {problem.field && <Lines name="Field" lines={[problem.field]} />}
        {problem.next && <Lines name="Next" lines={[problem.next]} />}
        {problem.try.length > 0 && <Lines name="Try" lines={problem.try} code />}
        {problem.request_id && (
          <>
            <dt>Request</dt>
            <dd>
              <code>{problem.request_id}</code> <Copy text={problem.request_id} label="Copy the request id" />
            </dd>
          </>
        )}
      </dl>
      {kept && <p class="muted">What is shown below is the last answer.</p>}
    </div>
  );
}

function Lines({ name, lines, code = false }: { name: string; lines: string[]; code?: boolean }) {
  return (
    <>
      <dt>{name}</dt>
      {lines.map((line) => (
        <dd key={line}>{code ? <code>{line}</code> : line}</dd>
      ))}
    </>
  );
}

/** Lines of notes or warnings under an answer. */
export function Notes({ lines, tone }: { lines: string[]; tone: "note" | "warn" }) {
  if (lines.length === 0) return null;
  return (
    <ul class={`notes ${tone}`}>
      {lines.map((line) => (
        <li key={line}>{line}</li>
      ))}
    </ul>
  );
}

export function Heading({ title, about, children }: { title: string; about?: ComponentChildren; children?: ComponentChildren }) {
  return (
    <div class="heading">
      <div>
        <h1 tabIndex={-1}>{title}</h1>
        {about && <p class="about">{about}</p>}
      </div>
      {children && <div class="tools">{children}</div>}
    </div>
  );
}

/** A figure with its name. */
export function Tile({ name, children, note, tone }: { name: string; children: ComponentChildren; note?: ComponentChildren; tone?: string }) {
  return (
    <div class={`tile ${tone ?? ""}`}>
      <dt>{name}</dt>
      <dd>{children}</dd>
      {note && <dd class="note">{note}</dd>}
    </div>
  );
}
