/** A long table of which only the rows in sight are in the page. Rows are of one height, so that no row is measured. */

import { Component, type ComponentChildren, type VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

export interface Column<T> {
  name: string;
  title: string;
  /** CSS grid track: `120px`, `minmax(140px, 2fr)`. */
  width: string;
  cell: (row: T) => ComponentChildren;
  /** What rows are sorted by; none: the column can't be sorted by. */
  key?: (row: T) => string | number;
  /** Left out where the page is narrow. */
  minor?: boolean;
  right?: boolean;
}

const ROW = 30;
/** Rows beyond the edges, so that a fast scroll shows no gap. */
const SPARE = 5;

export interface Sorting {
  name: string;
  down: boolean;
}

/** The rows in the order of a column; unsorted they stay as they came. */
export function sorted<T>(rows: T[], columns: Column<T>[], by: Sorting | null): T[] {
  const key = by && columns.find((column) => column.name === by.name)?.key;
  if (!by || !key) return rows;
  // Keys are made once a row, not once a comparison.
  const keyed = rows.map((row) => ({ row, key: key(row) }));
  const sign = by.down ? -1 : 1;
  keyed.sort((a, b) => (a.key < b.key ? -sign : a.key > b.key ? sign : 0));
  return keyed.map((one) => one.row);
}

/** The row that somebody chose with the keys: by its key, for rows come, go and move under it. */
export interface Chosen {
  key: string | null;
  /** Where it was when it was chosen. */
  index: number;
}

/** Where the chosen row is now; -1: nowhere. */
export function placeOf<T>(rows: T[], rowKey: (row: T) => string, chosen: Chosen): number {
  if (chosen.key === null) return -1;
  const there = rows[chosen.index];
  if (there !== undefined && rowKey(there) === chosen.key) return chosen.index;
  return rows.findIndex((row) => rowKey(row) === chosen.key);
}

export function readSorting(text: string | undefined): Sorting | null {
  if (!text) return null;
  return text.startsWith("-") ? { name: text.slice(1), down: true } : { name: text, down: false };
}

class Row<T> extends Component<{ row: T; index: number; columns: Column<T>[]; active: boolean; mark: string }> {
  override shouldComponentUpdate(next: Readonly<{ row: T; index: number; columns: Column<T>[]; active: boolean }>): boolean {
    const now = this.props;
    return now.row !== next.row || now.index !== next.index || now.columns !== next.columns || now.active !== next.active;
  }

  render(): VNode {
    const { row, index, columns, active, mark } = this.props;
    return (
      <div
        role="row"
        aria-rowindex={index + 2}
        class={`row ${active ? "here" : ""} ${mark}`}
        style={{ transform: `translateY(${index * ROW}px)` }}
      >
        {columns.map((column) => (
          <div role="cell" key={column.name} class={column.right ? "right" : ""}>
            {column.cell(row)}
          </div>
        ))}
      </div>
    );
  }
}

const narrow = matchMedia("(max-width: 860px)");

function useNarrow(): boolean {
  const [is, setIs] = useState(narrow.matches);
  useEffect(() => {
    const look = () => setIs(narrow.matches);
    narrow.addEventListener("change", look);
    return () => narrow.removeEventListener("change", look);
  }, []);
  return is;
}

export function Rows<T>(props: {
  label: string;
  rows: T[];
  columns: Column<T>[];
  rowKey: (row: T) => string;
  /** Class of a row. */
  mark?: (row: T) => string;
  open?: (row: T) => void;
  sorting?: Sorting | null;
  sort?: (by: Sorting | null) => void;
  /** Rows in sight when the table stands in a page with more. */
  most?: number;
}) {
  const { label, rows, rowKey, open } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const [span, setSpan] = useState({ from: 0, to: 40 });
  const [chosen, setChosen] = useState<Chosen>({ key: null, index: -1 });
  const active = placeOf(rows, rowKey, chosen);
  const slim = useNarrow();
  const columns = useSlim(props.columns, slim);

  const look = () => {
    const box = scroller.current;
    if (!box) return;
    const from = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
    const to = Math.ceil((box.scrollTop + box.clientHeight) / ROW) + SPARE;
    setSpan((old) => (old.from === from && old.to === to ? old : { from, to }));
  };
  useLayoutEffect(() => {
    const box = scroller.current;
    if (!box) return;
    const resized = new ResizeObserver(look);
    resized.observe(box);
    return () => resized.disconnect();
  }, []);
  useLayoutEffect(look, [rows.length]);

  const go = (index: number) => {
    const next = Math.max(0, Math.min(rows.length - 1, index));
    const row = rows[next];
    if (row !== undefined) setChosen({ key: rowKey(row), index: next });
    const box = scroller.current;
    if (!box) return;
    const top = next * ROW;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + 3 * ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + 3 * ROW - box.clientHeight;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.target !== scroller.current) return;
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? ROW) / ROW) - 2);
    // Where the one that is gone was, another is now.
    const gone = active < 0 && chosen.key !== null;
    const from = gone ? chosen.index : active;
    const steps: Record<string, number> = {
      ArrowDown: gone ? chosen.index : active + 1,
      ArrowUp: from - 1,
      PageDown: from + page,
      PageUp: from - page,
      Home: 0,
      End: rows.length - 1,
    };
    const target = steps[event.key];
    const row = rows[active];
    if (target !== undefined) {
      event.preventDefault();
      go(target);
    } else if (event.key === "Enter" && row !== undefined && open) {
      event.preventDefault();
      open(row);
    }
  };

  const seen = rows.slice(span.from, span.to);
  const tracks = columns.map((column) => column.width).join(" ");
  // The first length of a track is its least: narrower than their sum the table scrolls sideways.
  const least = columns.reduce((sum, column) => sum + Number(/\d+/.exec(column.width)?.[0] ?? 0), 0);
  const height = props.most === undefined ? {} : { height: `${(Math.min(rows.length, props.most) + 1) * ROW + 4}px` };
  return (
    <div
      class={props.most === undefined ? "rows fill" : "rows"}
      role="table"
      aria-label={label}
      aria-rowcount={rows.length + 1}
      tabIndex={0}
      ref={scroller}
      onScroll={look}
      onKeyDown={onKeyDown}
      style={{ "--tracks": tracks, "--least": `${least}px`, ...height }}
    >
      <div role="rowgroup" class="row-head">
        <div role="row" aria-rowindex={1} class="row">
          {columns.map((column) => (
            <Head key={column.name} column={column} sorting={props.sorting ?? null} sort={props.sort} />
          ))}
        </div>
      </div>
      <div role="rowgroup" class="row-body" style={{ height: `${rows.length * ROW}px` }}>
        {seen.map((row, i) => (
          <Row
            key={rowKey(row)}
            row={row}
            index={span.from + i}
            columns={columns}
            active={span.from + i === active}
            mark={props.mark?.(row) ?? ""}
          />
        ))}
      </div>
    </div>
  );
}

function useSlim<T>(columns: Column<T>[], slim: boolean): Column<T>[] {
  const kept = useRef<{ from: Column<T>[]; slim: boolean; result: Column<T>[] } | null>(null);
  if (!kept.current || kept.current.from !== columns || kept.current.slim !== slim) {
    kept.current = { from: columns, slim, result: slim ? columns.filter((column) => !column.minor) : columns };
  }
  return kept.current.result;
}

function Head<T>(props: { column: Column<T>; sorting: Sorting | null; sort: ((by: Sorting | null) => void) | undefined }) {
  const { column, sorting, sort } = props;
  const mine = sorting?.name === column.name;
  const aria = mine ? (sorting.down ? "descending" : "ascending") : "none";
  const next = (): Sorting | null => {
    if (!mine) return { name: column.name, down: false };
    return sorting.down ? null : { name: column.name, down: true };
  };
  const shownSort = mine ? (sorting.down ? " ↓" : " ↑") : "";
  return (
    <div role="columnheader" class={column.right ? "right" : ""} aria-sort={column.key && sort ? aria : undefined}>
      {column.key && sort ? (
        <button type="button" class="head" onClick={() => sort(next())}>
          {column.title}
          <span aria-hidden="true">{shownSort}</span>
        </button>
      ) : (
        column.title
      )}
    </div>
  );
}
