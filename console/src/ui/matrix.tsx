/** A table of ordered pairs of regions: rows are from, columns are to. */

import { Unknown } from "./marks";

export interface Cell {
  text: string;
  /** `null` is not known. */
  value: number | null;
  title: string;
}

/** Step of shading, 0 to 4, by how far a value is on the way to `bad`. */
export function shade(value: number, good: number, bad: number): number {
  if (value <= good) return 0;
  if (value >= bad) return 4;
  return 1 + Math.floor((3 * (value - good)) / (bad - good));
}

export function Matrix(props: {
  label: string;
  regions: string[];
  cell: (from: string, to: string) => Cell | null;
  good: number;
  bad: number;
}) {
  const { label, regions, cell, good, bad } = props;
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={label}>
      <table class="matrix">
        <caption class="out">{label}; rows are from, columns are to.</caption>
        <thead>
          <tr>
            <th scope="col">from ↓ to →</th>
            {regions.map((to) => (
              <th scope="col" key={to}>
                {to}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {regions.map((from) => (
            <tr key={from}>
              <th scope="row">{from}</th>
              {regions.map((to) => {
                if (from === to) return <td key={to} class="self" aria-label="itself" />;
                const found = cell(from, to);
                if (!found || found.value === null) {
                  return (
                    <td key={to} class="none">
                      <Unknown why={found?.title ?? `${from} to ${to}: not told`} />
                    </td>
                  );
                }
                return (
                  <td key={to} class={`num h${shade(found.value, good, bad)}`} title={found.title}>
                    {found.text}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
