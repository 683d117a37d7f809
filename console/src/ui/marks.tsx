/** Small marks: states, values that may be unknown, ages, meters. A state is never told by colour alone. */

import type { ComponentChildren } from "preact";
import type { Usage } from "../api/region_types";
import * as format from "../format";
import { useNow } from "../store";

export type Tone = "ok" | "warn" | "bad" | "busy" | "idle" | "unknown";

const GLYPH: Record<Tone, string> = { ok: "●", warn: "▲", bad: "■", busy: "◐", idle: "○", unknown: "?" };

export function Mark({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return (
    <span class={`mark ${tone}`}>
      <span class="glyph" aria-hidden="true">
        {GLYPH[tone]}
      </span>
      {children}
    </span>
  );
}

const TONES: Record<string, Tone> = {
  healthy: "ok",
  up: "ok",
  running: "ok",
  active: "ok",
  protected: "ok",
  verified: "ok",
  done: "ok",
  equal: "ok",
  resolved: "ok",
  met: "ok",
  at_risk: "warn",
  answers: "ok",
  degraded: "warn",
  unwell: "warn",
  partly: "warn",
  left: "warn",
  draining: "warn",
  paused: "warn",
  warning: "warn",
  "no-moves": "warn",
  cancelling: "warn",
  standby: "warn",
  unverified: "warn",
  unhealthy: "bad",
  open: "bad",
  firing: "bad",
  breached: "bad",
  failed: "bad",
  lost: "bad",
  silent: "bad",
  fenced: "bad",
  error: "bad",
  critical: "bad",
  frozen: "bad",
  down: "bad",
  differs: "bad",
  damaged: "bad",
  no_answer: "bad",
  unreachable: "bad",
  unknown: "unknown",
  no_data: "unknown",
  investigating: "busy",
  starting: "busy",
  stopping: "busy",
  moving: "busy",
  deleting: "busy",
  syncing: "busy",
  joining: "busy",
};

/** A state by its API name. What runs is work under way unless it is a VM. */
export function State({ name, work = false }: { name: string; work?: boolean }) {
  const tone = work && name === "running" ? "busy" : (TONES[name] ?? "idle");
  return <Mark tone={tone}>{format.words(name)}</Mark>;
}

export function Unknown({ why }: { why?: string }) {
  return (
    <span class="unknown" title={why}>
      unknown
    </span>
  );
}

/** A value, or `unknown`; never 0 for what is not known. */
export function Value({ v, as, why }: { v: number | null | undefined; as?: (value: number) => string; why?: string }) {
  if (v === null || v === undefined || Number.isNaN(v)) return why ? <Unknown why={why} /> : <Unknown />;
  return <span class="num">{(as ?? format.count)(v)}</span>;
}

export function When({ at }: { at: number | null }) {
  const now = useNow();
  if (at === null) return <Unknown />;
  return (
    <time dateTime={new Date(at).toISOString()} title={format.utc(at)} class="num">
      {format.ago(at, now)}
    </time>
  );
}

/** Share of a capacity, as a bar and a figure; used is what is measured, allocated what is promised. */
export function Meter({ label, usage, unit }: { label: string; usage: Usage; unit: (n: number) => string }) {
  const { capacity, allocated, used_percent: used } = usage;
  if (capacity === null || allocated === null) return <Unknown why={`${label}: its region has not told`} />;
  if (capacity === 0) return <span class="muted">none</span>;
  const share = (100 * allocated) / capacity;
  const tone = share > 90 ? "bad" : share > 75 ? "warn" : "ok";
  const text = `${label}: ${unit(allocated)} of ${unit(capacity)} promised, ${
    used === null ? "use not known" : `${format.percent(used)} used`
  }`;
  return (
    <span class="meter" title={text}>
      <span class={`track ${tone}`} aria-hidden="true">
        <span class="fill" style={{ width: `${Math.min(100, share)}%` }} />
        {used !== null && <span class="used" style={{ left: `${Math.min(100, used)}%` }} />}
      </span>
      <span class="num">{Math.round(share)} %</span>
      <span class="out">{text}</span>
    </span>
  );
}

export function Progress({ done, total, label }: { done: number; total: number | null; label: string }) {
  if (total === null) return <span class="num">{format.count(done)} of unknown</span>;
  const share = total === 0 ? 100 : (100 * done) / total;
  return (
    <span class="meter">
      <span
        class="track ok"
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={total}
        aria-valuenow={done}
      >
        <span class="fill" style={{ width: `${Math.min(100, share)}%` }} />
      </span>
      <span class="num">
        {format.count(done)}/{format.count(total)}
      </span>
    </span>
  );
}

export function Id({ children }: { children: string }) {
  return <code class="id">{children}</code>;
}
