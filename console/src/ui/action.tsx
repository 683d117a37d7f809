/** What an operator can do: through the API only, with what it would do shown first, and severe ones confirmed by typing. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, call, freshId } from "../api/client";
import { refreshAll } from "../api/query";
import type { Problem } from "../api/work_types";
import { place } from "../router";
import { lacks, type Needs, session } from "../session";
import { Store, useStore } from "../store";
import { Dialog } from "./dialog";
import { Notes, ProblemView } from "./panel";

export interface Field {
  name: string;
  label: string;
  kind: "text" | "lines" | "number" | "check" | "choice" | "many" | "time";
  /** What it is when the dialog opens. */
  initial?: string;
  choices?: { value: string; label: string }[];
  required?: boolean;
  note?: string;
}

export type Values = Record<string, string>;

export interface Action {
  label: string;
  title: string;
  about: ComponentChildren;
  needs: Needs;
  method: "POST" | "PUT" | "DELETE";
  path: (values: Values) => string;
  /** The request's fields; with `dry_run` added where the endpoint has it. */
  body: (values: Values) => Record<string, unknown>;
  fields?: Field[];
  /** `first`: a dry run must have succeeded; `offered`: it can be asked for; `none`: there is none. */
  dryRun: "first" | "offered" | "none";
  /** What has to be typed before it is done. */
  type?: (values: Values) => string;
  /** Why it can't be done now whatever the role. */
  unable?: string | null;
  /** What a dry run or the real run answered. */
  show?: (answer: never, dry: boolean) => ComponentChildren;
  /** A line when it is done. */
  done?: (answer: never) => ComponentChildren;
  measured?: boolean;
  tone?: "plain" | "danger";
  /** How its button looks, when it is not as its tone says. */
  button?: "plain";
}

/** The action whose dialog is open. It lives beside the page: what the action changes may take its button away. */
const opened = new Store<Action | null>(null);

/** The place of the dialogs of all actions. */
export function ActionDialogs() {
  const action = useStore(opened);
  const { path } = useStore(place);
  useEffect(() => opened.set(null), [path]);
  return action && <ActionDialog action={action} close={() => opened.set(null)} />;
}

/** The button of an action: not usable without the permission, and it says why. */
export function ActionButton({ action }: { action: Action }) {
  const { principal } = useStore(session);
  const why = lacks(action.needs, principal?.role) ?? action.unable ?? null;
  return (
    <button
      type="button"
      class={action.tone === "danger" && !action.button ? "danger" : ""}
      aria-disabled={why !== null}
      title={why ?? undefined}
      onClick={() => {
        if (why === null) opened.set(action);
      }}
    >
      {action.label}
      {why !== null && <span class="out">: {why}</span>}
    </button>
  );
}

/** A row of actions, with the reason once when none may be used. */
export function Actions({ actions }: { actions: Action[] }) {
  const { principal } = useStore(session);
  const reasons = actions.map((action) => lacks(action.needs, principal?.role));
  const all = reasons.every((reason) => reason !== null) ? reasons[0] : null;
  return (
    <div class="actions">
      {actions.map((action) => (
        <ActionButton key={action.label} action={action} />
      ))}
      {all && <span class="muted">{all}</span>}
    </div>
  );
}

type Stage = { at: "asking" } | { at: "open" } | { at: "done"; answer: unknown };

function initial(fields: Field[]): Values {
  return Object.fromEntries(fields.map((field) => [field.name, field.initial ?? ""]));
}

function ActionDialog({ action, close }: { action: Action; close: () => void }) {
  const fields = action.fields ?? [];
  const [values, setValues] = useState<Values>(() => initial(fields));
  const [typed, setTyped] = useState("");
  const [stage, setStage] = useState<Stage>({ at: "open" });
  const [dry, setDry] = useState<{ of: string; answer: unknown } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  // One key a dialog: pressing twice, or again after a lost answer, does it once. Other values are another command.
  const [key, setKey] = useState(() => freshId("console_"));

  const now = JSON.stringify(values);
  const missing = fields.find((field) => field.required && !values[field.name]);
  const wanted = action.type?.(values) ?? null;
  const blocked = missing
    ? `${missing.label} is missing`
    : action.dryRun === "first" && dry?.of !== now
      ? "Look at the dry run first"
      : wanted !== null && typed !== wanted
        ? `Type ${wanted} to go on`
        : null;

  const run = async (dryRun: boolean) => {
    setStage({ at: "asking" });
    setProblem(null);
    try {
      const body = action.body(values);
      const answer = await call<unknown>(pathOf(action, values, body, dryRun), {
        method: action.method,
        ...(action.method === "DELETE" ? {} : { body: dryRun ? { ...body, dry_run: true } : body }),
        ...(dryRun ? {} : { idempotencyKey: key }),
        measured: action.measured ?? false,
      });
      if (dryRun) setDry({ of: now, answer });
      setStage(dryRun ? { at: "open" } : { at: "done", answer });
      if (!dryRun) refreshAll();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setProblem(error.problem);
      if (error.problem.status !== 0) setKey(freshId("console_"));
      setStage({ at: "open" });
    }
  };
  const change = (name: string, value: string) => {
    setValues((old) => ({ ...old, [name]: value }));
    setKey(freshId("console_"));
  };

  if (stage.at === "done") {
    return (
      <Dialog title={action.title} close={close} wide={action.show !== undefined}>
        <div role="status">
          <p class="success">{action.done?.(stage.answer as never) ?? "Done."}</p>
          <Shown action={action} answer={stage.answer} dry={false} />
        </div>
        <div class="buttons">
          <button type="button" class="primary" onClick={close} ref={(button) => button?.focus()}>
            Close
          </button>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title={action.title} close={close} wide={action.show !== undefined}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          if (blocked === null && stage.at === "open") void run(false);
        }}
      >
        <div class="about">{action.about}</div>
        {fields.map((field) => (
          <Input key={field.name} field={field} value={values[field.name] ?? ""} change={(value) => change(field.name, value)} />
        ))}
        {problem && <ProblemView problem={problem} />}
        {dry && dry.of === now && (
          <div class="dry" role="status">
            <h3>Dry run: nothing was changed</h3>
            <Shown action={action} answer={dry.answer} dry />
          </div>
        )}
        {wanted !== null && (
          <label class="field">
            <span>
              Type <code>{wanted || "…"}</code> to confirm
            </span>
            <input value={typed} onInput={(event) => setTyped(event.currentTarget.value)} autocomplete="off" spellcheck={false} />
          </label>
        )}
        <div class="buttons">
          {action.dryRun !== "none" && (
            <button type="button" onClick={() => void run(true)} disabled={stage.at === "asking" || missing !== undefined}>
              Dry run
            </button>
          )}
          <button
            type="submit"
            class={action.tone === "danger" ? "danger" : "primary"}
            aria-disabled={blocked !== null || stage.at === "asking"}
          >
            {stage.at === "asking" ? "Asking…" : action.label}
          </button>
          {blocked && <span class="muted">{blocked}</span>}
        </div>
      </form>
    </Dialog>
  );
}

/** What travels in the query of a DELETE travels in the body of the others. */
function pathOf(action: Action, values: Values, body: Record<string, unknown>, dryRun: boolean): string {
  const path = action.path(values);
  if (action.method !== "DELETE") return path;
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(body)) query.set(name, String(value));
  if (dryRun) query.set("dry_run", "true");
  return query.size === 0 ? path : `${path}?${query}`;
}

function Shown({ action, answer, dry }: { action: Action; answer: unknown; dry: boolean }) {
  const told = answer as { notes?: string[]; warnings?: string[] };
  return (
    <>
      {action.show?.(answer as never, dry)}
      <Notes lines={told.warnings ?? []} tone="warn" />
      <Notes lines={told.notes ?? []} tone="note" />
    </>
  );
}

const INPUT: Record<string, string> = { text: "text", number: "number", time: "datetime-local" };

function Input({ field, value, change }: { field: Field; value: string; change: (value: string) => void }) {
  const { kind, label, note } = field;
  if (kind === "check") {
    return (
      <label class="check">
        <input type="checkbox" checked={value === "true"} onChange={(e) => change(e.currentTarget.checked ? "true" : "")} />
        <span>
          {label}
          {note && <small>{note}</small>}
        </span>
      </label>
    );
  }
  if (kind === "many") {
    const chosen = new Set(value.split(",").filter(Boolean));
    const flip = (name: string) => {
      if (chosen.has(name)) chosen.delete(name);
      else chosen.add(name);
      change([...chosen].join(","));
    };
    return (
      <fieldset class="field">
        <legend>{label}</legend>
        <div class="choices">
          {field.choices?.map((choice) => (
            <label class="check" key={choice.value}>
              <input type="checkbox" checked={chosen.has(choice.value)} onChange={() => flip(choice.value)} />
              <span>{choice.label}</span>
            </label>
          ))}
        </div>
        {note && <small>{note}</small>}
      </fieldset>
    );
  }
  return (
    <label class="field">
      <span>{label}</span>
      {kind === "choice" ? (
        <select value={value} onChange={(e) => change(e.currentTarget.value)} required={field.required}>
          {field.choices?.map((choice) => (
            <option key={choice.value} value={choice.value}>
              {choice.label}
            </option>
          ))}
        </select>
      ) : kind === "lines" ? (
        <textarea rows={4} value={value} required={field.required} spellcheck={false} onInput={(e) => change(e.currentTarget.value)} />
      ) : (
        <input
          type={INPUT[kind] as "text"}
          value={value}
          required={field.required}
          autocomplete="off"
          onInput={(e) => change(e.currentTarget.value)}
        />
      )}
      {note && <small>{note}</small>}
    </label>
  );
}

/** `{ [name]: value }` when there is a value, nothing otherwise. */
export function given(values: Values, ...names: string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (values[name] ? [[name, values[name]]] : [])));
}

export const REASON: Field = { name: "reason", label: "Reason", kind: "text", note: "Kept with the change, for whoever comes after you." };
