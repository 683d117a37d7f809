/** Lanes on a common time axis: phases of a failover, moments of a drill. */

import * as format from "../format";

export interface Lane {
  name: string;
  /** Milliseconds since 1970; `null`: not begun. */
  from: number | null;
  /** `null`: it goes on. */
  to: number | null;
  text: string;
  open: boolean;
}

/** Marks of the axis: about five, at round times. */
export function ticks(spanMs: number): number[] {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400].map((s) => s * 1000);
  const tens = [1, 2, 5, 10, 20, 50, 100, 200, 500];
  const step = [...tens, ...steps].find((one) => spanMs / one <= 6) ?? spanMs / 5;
  return Array.from({ length: Math.floor(spanMs / step) + 1 }, (_, i) => i * step);
}

export function Timeline({ label, lanes, start, end }: { label: string; lanes: Lane[]; start: number; end: number }) {
  const span = Math.max(1, end - start);
  const share = (at: number) => Math.max(0, Math.min(100, (100 * (at - start)) / span));
  return (
    <div class="timeline">
      <ol aria-label={label}>
        {lanes.map((lane) => {
          const left = lane.from === null ? 0 : share(lane.from);
          const right = lane.from === null ? 0 : share(lane.to ?? end);
          return (
            <li key={lane.name}>
              <span class="lane-name">{lane.name}</span>
              <span class="lane">
                {lane.from !== null && (
                  <span class={lane.open ? "bar open" : "bar"} style={{ left: `${left}%`, width: `${Math.max(0.4, right - left)}%` }} />
                )}
              </span>
              <span class="lane-text num">{lane.text}</span>
            </li>
          );
        })}
      </ol>
      <div class="axis" aria-hidden="true">
        <span class="lane">
          {ticks(span).map((at) => (
            <span key={at} class="tick num" style={{ left: `${share(start + at)}%` }}>
              {at === 0 ? "0" : format.duration(at)}
            </span>
          ))}
        </span>
      </div>
      <p class="muted">
        From {format.utc(start)} to {format.utc(end)}
      </p>
    </div>
  );
}
