/** The time that charts show, kept in the query of the page. */

import { useFilters } from "../router";
import { Chart, type Plot, SPANS } from "./chart";

const USUAL = "1h";

export function useSpan(): [string, number] {
  const [filters] = useFilters();
  const name = filters["range"] ?? USUAL;
  return SPANS[name] === undefined ? [USUAL, SPANS[USUAL] ?? 3600] : [name, SPANS[name]];
}

export function SpanChoice() {
  const [, change] = useFilters();
  const [name] = useSpan();
  return (
    <div class="segments" role="group" aria-label="Time of the charts">
      {Object.keys(SPANS).map((span) => (
        <button type="button" key={span} aria-pressed={span === name} onClick={() => change({ range: span === USUAL ? "" : span })}>
          {span}
        </button>
      ))}
    </div>
  );
}

export function Charts({ plots }: { plots: Plot[] }) {
  const [, span] = useSpan();
  return (
    <div class="charts">
      {plots.map((plot) => (
        <Chart key={plot.title} plot={plot} span={span} />
      ))}
    </div>
  );
}
