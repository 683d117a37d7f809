/** A line chart of a Prometheus range query. A chart without data says so, and why. */

import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { ApiError } from "../api/client";
import { align, notServed, queryRange, type Series, stepFor } from "../api/prometheus";
import type { Problem } from "../api/work_types";
import * as format from "../format";
import { useStore } from "../store";
import { Age, Notes, ProblemView } from "./panel";
import { shown } from "./theme";

/** What a chart asks and how it shows it. */
export interface Plot {
  title: string;
  /** One or more queries; `name` tells series apart that carry no label. */
  queries: { query: string; name?: string }[];
  unit: (value: number) => string;
  /** The label that tells series of one query apart. */
  by?: string;
  /** The least upper end of the axis, so that noise near 0 looks like noise. */
  atLeast?: number;
  /** Where the axis begins, unless a value is below; none: at 0. */
  from?: number;
  /** Marks of the axis at powers of two, as bytes are counted. */
  binary?: boolean;
}

export interface Named extends Series {
  name: string;
}

/** Spans that can be chosen, in seconds. */
export const SPANS: Record<string, number> = { "15m": 900, "1h": 3600, "6h": 21_600, "24h": 86_400, "7d": 604_800 };

interface Loaded {
  series: Named[];
  at: number;
  start: number;
  end: number;
  problem: Problem | null;
  warnings: string[];
}

function named(series: Series[], plot: Plot, name: string | undefined): Named[] {
  return series.map((one) => {
    const label = plot.by ? one.labels[plot.by] : undefined;
    const parts = [label, name].filter((part): part is string => part !== undefined && part !== "");
    return { ...one, name: parts.join(" ") || Object.values(one.labels).join(" ") || plot.title };
  });
}

async function load(plot: Plot, span: number, signal: AbortSignal): Promise<Loaded> {
  const step = stepFor(span);
  const end = Math.floor(Date.now() / 1000 / step) * step;
  const start = end - span;
  const found = await Promise.all(
    plot.queries.map(async ({ query, name }) => {
      const { series, warnings } = await queryRange(query, start, end, step, signal);
      return { series: named(series, plot, name), warnings };
    }),
  );
  const warnings = [...new Set(found.flatMap((one) => one.warnings))];
  const series = found.flatMap((one) => one.series).filter((one) => one.points.some(([, value]) => Number.isFinite(value)));
  series.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { series, at: Date.now(), start, end, problem: null, warnings };
}

function useLoaded(plot: Plot, span: number): Loaded | null {
  const [loaded, setLoaded] = useState<Loaded | null>(null);
  const queries = plot.queries.map((one) => one.query).join("\n");
  useEffect(() => {
    const leaving = new AbortController();
    const again = async () => {
      try {
        setLoaded(await load(plot, span, leaving.signal));
      } catch (error) {
        if (leaving.signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        const { problem } = error;
        setLoaded((old) => ({ ...(old ?? { series: [], at: 0, start: 0, end: 0, warnings: [] }), problem }));
      }
    };
    void again();
    const timer = setInterval(() => {
      if (!document.hidden) void again();
    }, Math.max(15_000, stepFor(span) * 1000));
    const now = () => void again();
    document.addEventListener("dwcp-refresh", now);
    return () => {
      leaving.abort();
      clearInterval(timer);
      document.removeEventListener("dwcp-refresh", now);
    };
  }, [queries, span]);
  return loaded;
}

export function Chart({ plot, span }: { plot: Plot; span: number }) {
  const loaded = useLoaded(plot, span);
  const [at, setAt] = useState<number | null>(null);
  const id = `chart-${plot.title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  const none = loaded !== null && loaded.series.length === 0;
  return (
    <section class="panel chart" aria-labelledby={id}>
      <div class="panel-head">
        <h2 id={id}>{plot.title}</h2>
        {loaded && loaded.at > 0 && <Age asOf={[]} at={loaded.at} />}
      </div>
      {loaded?.problem && !notServed(loaded.problem) && <ProblemView problem={loaded.problem} kept={!none} />}
      {loaded === null && <p class="nothing">Asking…</p>}
      {none && (
        <p class="nothing">
          {loaded.problem && notServed(loaded.problem) ? "This region's server keeps no series yet." : "No data in this time."}
        </p>
      )}
      {loaded && !none && <Drawing loaded={loaded} plot={plot} cursor={setAt} />}
      {loaded && <Notes lines={loaded.warnings} tone="warn" />}
      {loaded && !none && <Legend loaded={loaded} plot={plot} at={at} />}
      <details class="query">
        <summary>Query</summary>
        {plot.queries.map(({ query }) => (
          <code key={query}>{query}</code>
        ))}
      </details>
    </section>
  );
}

function valueAt(series: Named, at: number | null): number | undefined {
  if (at === null) return series.points.at(-1)?.[1];
  return series.points.find(([time]) => time === at)?.[1];
}

function Legend({ loaded, plot, at }: { loaded: Loaded; plot: Plot; at: number | null }) {
  return (
    <ul class="legend" aria-label={at === null ? "Latest values" : `Values at ${format.clock(at * 1000)} UTC`}>
      {loaded.series.map((one, i) => {
        const value = valueAt(one, at);
        return (
          <li key={one.name}>
            <span class={`swatch s${i % 8}`} aria-hidden="true" />
            {one.name} <span class="num">{value === undefined || Number.isNaN(value) ? "none" : plot.unit(value)}</span>
            {at === null && <Ended loaded={loaded} series={one} />}
          </li>
        );
      })}
      <li class="muted num">{at === null ? "latest" : `${format.clock(at * 1000)} UTC`}</li>
    </ul>
  );
}

/** A series that stopped is not current: its last value is given with its time. */
function Ended({ loaded, series }: { loaded: Loaded; series: Named }) {
  const last = series.points.at(-1)?.[0] ?? loaded.end;
  if (last >= loaded.end - 3 * stepFor(loaded.end - loaded.start)) return null;
  return <span class="stale"> ▲ ended {format.clock(last * 1000)}</span>;
}

const HEIGHT = 150;

function Drawing({ loaded, plot, cursor }: { loaded: Loaded; plot: Plot; cursor: (at: number | null) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const colours = useStore(shown);
  useEffect(() => {
    const parent = box.current;
    if (!parent) return;
    const { times, rows } = align(loaded.series);
    const drawn = new uPlot(options(loaded, plot, parent.clientWidth, times, cursor), [times, ...rows], parent);
    const resized = new ResizeObserver(() => {
      if (parent.clientWidth !== drawn.width) drawn.setSize({ width: parent.clientWidth, height: HEIGHT });
    });
    resized.observe(parent);
    return () => {
      resized.disconnect();
      drawn.destroy();
    };
  }, [loaded, colours]);
  return <div ref={box} class="plot" role="img" aria-label={summary(loaded, plot)} />;
}

/** What the picture shows, for who can't see it. */
function summary(loaded: Loaded, plot: Plot): string {
  const parts = loaded.series.map((one) => {
    const values = one.points.map(([, value]) => value).filter(Number.isFinite);
    return `${one.name}: ${plot.unit(values.at(-1) ?? NaN)}, from ${plot.unit(Math.min(...values))} to ${plot.unit(Math.max(...values))}`;
  });
  return `${plot.title}. ${parts.join("; ")}.`;
}

function options(loaded: Loaded, plot: Plot, width: number, times: number[], cursor: (at: number | null) => void): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const axis: uPlot.Axis = {
    stroke: colour("--muted"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1, size: 4 },
  };
  const days = loaded.end - loaded.start > 86_400;
  const time = (_: uPlot, splits: number[]) =>
    splits.map((at) => (days ? format.utc(at * 1000).slice(5, 10) : format.utc(at * 1000).slice(11, 16)));
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 8, 0, 0],
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false }, sync: { key: "time" } },
    scales: {
      x: { time: true, range: [loaded.start, loaded.end] },
      y: { range: (_, min, max) => [Math.min(plot.from ?? 0, min), plot.from ? (plot.atLeast ?? max) : Math.max(plot.atLeast ?? 0, max * 1.1) || 1] },
    },
    axes: [
      { ...axis, size: 26, space: 60, values: time },
      {
        ...axis,
        size: 70,
        space: 32,
        values: (_, splits) => splits.map((value) => plot.unit(value)),
        ...(plot.binary ? { incrs: Array.from({ length: 60 }, (_, i) => 2 ** i) } : {}),
      },
    ],
    series: [
      {},
      ...loaded.series.map((one, i) => ({
        label: one.name,
        stroke: colour(`--s${i % 8}`),
        width: 1.5,
        points: { show: false },
      })),
    ],
    hooks: { setCursor: [(drawn) => cursor(drawn.cursor.idx == null ? null : (times[drawn.cursor.idx] ?? null))] },
  };
}
