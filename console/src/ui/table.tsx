/** A table of a list of which more can be asked for, and the page of a list that is here as a whole. */

import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { type FleetList, type Found, search, useFleet } from "../api/fleet";
import type { Paged } from "../api/paged";
import * as format from "../format";
import { useFilters } from "../router";
import { Choice, SearchBox } from "./filters";
import { More } from "./more";
import { Age, Empty, Heading, Panel, ProblemView, Waiting } from "./panel";
import { type Column, readSorting, Rows, sorted } from "./rows";

export interface Cell<T> {
  title: string;
  cell: (row: T) => ComponentChildren;
  /** Names the row. */
  head?: boolean;
  right?: boolean;
  /** Long text, over several lines. */
  wrap?: boolean;
}

function classOf<T>({ right, wrap }: Cell<T>): string {
  return [right ? "right" : "", wrap ? "wrap" : ""].filter(Boolean).join(" ");
}

export function Table<T>(props: { label: string; rows: T[]; cells: Cell<T>[]; rowKey: (row: T) => string; top?: boolean }) {
  const { label, rows, cells, rowKey, top } = props;
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={label}>
      <table class={top ? "top" : ""}>
        <thead>
          <tr>
            {cells.map((one) => (
              <th scope="col" key={one.title} class={one.right ? "right" : ""}>
                {one.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)}>
              {cells.map((one) =>
                one.head ? (
                  <th scope="row" key={one.title} class={classOf(one)}>
                    {one.cell(row)}
                  </th>
                ) : (
                  <td key={one.title} class={classOf(one)}>
                    {one.cell(row)}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A panel with a list's first page, its age, and how to see more of it. */
export function PagedTable<T>(props: {
  title: string;
  label: string;
  paged: Paged<T>;
  cells: Cell<T>[];
  rowKey: (row: T) => string;
  none: string;
  tools?: ComponentChildren;
  top?: boolean;
}) {
  const { title, label, paged, cells, rowKey, none, tools, top = false } = props;
  return (
    <Panel title={title} answer={paged.answer} tools={tools} wide>
      {paged.items.length > 0 && <Table label={label} rows={paged.items} cells={cells} rowKey={rowKey} top={top} />}
      <More paged={paged} none={none} />
    </Panel>
  );
}

/** A filter of a list: a parameter of the page's query, and what of an item it is compared with. */
export interface Filter<T> {
  name: string;
  label: string;
  of: (item: T) => string;
  /** Without them the values that there are. */
  options?: string[];
  /** Shown only when it is set, by a link of another page. */
  linked?: boolean;
}

/** The page of a list that is here as a whole: searched, filtered and sorted here, with all of that in the URL. */
export function FleetPage<T>(props: {
  title: string;
  noun: string;
  list: FleetList<T>;
  columns: Column<Found<T>>[];
  filters: Filter<T>[];
  rowKey: (item: T) => string;
  alarm: (item: T) => boolean;
  open: (item: T) => void;
}) {
  const { title, noun, list, columns, filters, rowKey, alarm, open } = props;
  const [chosen, change] = useFilters();
  const [query, setQuery] = useState(chosen["q"] ?? "");
  const fleet = useFleet(list);
  const sort = chosen["sort"];
  const values = filters.map((filter) => chosen[filter.name] ?? "");
  const options = useMemo(
    () => filters.map(({ of, options: fixed }) => fixed ?? [...new Set(fleet.items.map(({ item }) => of(item)))].sort()),
    [fleet, filters],
  );
  const rows = useMemo(() => {
    const found = search(fleet.items, query).filter(({ item }) =>
      filters.every(({ of }, i) => values[i] === "" || of(item) === values[i]),
    );
    return sorted(found, columns, readSorting(sort));
  }, [fleet, query, sort, ...values]);
  return (
    <div class="full">
      <Heading
        title={title}
        about={
          fleet.at > 0 && (
            <>
              <span class="num" role="status">
                {format.count(rows.length)}
                {rows.length !== fleet.items.length && ` of ${format.count(fleet.items.length)}`} {noun}s
              </span>{", "}
              {!fleet.whole && "so far, more is coming; "}
              <Age asOf={fleet.asOf} at={fleet.at} />
            </>
          )
        }
      />
      <div class="filters" role="search">
        <SearchBox label="Search" value={query} change={setQuery} url={(q) => change({ q })} />
        {filters.map((filter, i) => {
          const value = values[i] ?? "";
          const set = (next: string) => change({ [filter.name]: next });
          if (!filter.linked) return <Choice key={filter.name} label={filter.label} value={value} options={options[i] ?? []} change={set} />;
          return (
            value !== "" && (
              <button key={filter.name} type="button" onClick={() => set("")}>
                {filter.label} {value} ✕
              </button>
            )
          );
        })}
      </div>
      {fleet.problem && <ProblemView problem={fleet.problem} kept={fleet.at > 0} />}
      {fleet.at === 0 && !fleet.problem && <Waiting />}
      {fleet.at > 0 && rows.length === 0 && <Empty>No {noun} is like that.</Empty>}
      {rows.length > 0 && (
        <Rows
          label={title}
          rows={rows}
          columns={columns}
          rowKey={({ item }) => rowKey(item)}
          mark={({ item }) => (alarm(item) ? "alarm" : "")}
          open={({ item }) => open(item)}
          sorting={readSorting(sort)}
          sort={(by) => change({ sort: by ? `${by.down ? "-" : ""}${by.name}` : "" })}
        />
      )}
    </div>
  );
}
