/** Actions on incidents, silences and messages. */

import type { Alert, Incident, IncidentAnswer, NotificationRow, NotificationsAnswer, Silence } from "../api/watch_types";
import * as format from "../format";
import { type Action, type Field, given } from "../ui/action";
import { State } from "../ui/marks";

const NOTE: Field = { name: "note", label: "Note", kind: "text", note: "Into the timeline; up to 2,000 bytes." };

const isOver = (incident: Incident) => incident.status === "resolved" || incident.status === "merged";

function change(incident: Incident, more: Pick<Action, "label" | "title" | "about" | "body"> & Partial<Action>): Action {
  return {
    needs: "operate",
    method: "PUT",
    path: () => `/v1/incidents/${encodeURIComponent(incident.incident)}`,
    dryRun: "offered",
    show: (answer: IncidentAnswer) => (
      <p>
        {answer.incident.incident} is <State name={answer.incident.status} />
        {answer.incident.assignee !== null && `, and ${answer.incident.assignee} has it`}
      </p>
    ),
    ...more,
  };
}

export function incidentActions(incident: Incident): Action[] {
  const { incident: id, status } = incident;
  const over = isOver(incident) ? `It is ${status}.` : null;
  return [
    change(incident, {
      label: "Acknowledge",
      title: `Take ${id}`,
      about: "You take it: the escalation ends, and it says who has it.",
      body: (values) => ({ status: "investigating", ...given(values, "note") }),
      fields: [NOTE],
      unable: over ?? (status === "investigating" ? "It is taken already." : null),
    }),
    change(incident, {
      label: "Assign",
      title: `Assign ${id}`,
      about: "Someone else has it from now on.",
      body: (values) => given(values, "assignee", "note"),
      fields: [{ name: "assignee", label: "To", kind: "text", initial: incident.assignee ?? "", required: true }, NOTE],
      unable: over,
    }),
    change(incident, {
      label: "Add a note",
      title: `Note on ${id}`,
      about: "Something that whoever reads the timeline should know.",
      body: (values) => given(values, "note"),
      fields: [{ ...NOTE, required: true }],
    }),
    change(incident, {
      label: "Resolve",
      title: `Resolve ${id}`,
      about: "It is over: those who were told of it are told so. An alert that fires again opens it again.",
      body: (values) => ({ status: "resolved", ...given(values, "root_cause", "resolution", "note") }),
      fields: [
        { name: "root_cause", label: "Root cause", kind: "text" },
        { name: "resolution", label: "What was done", kind: "text" },
        NOTE,
      ],
      unable: over,
      type: () => id,
      tone: "danger",
    }),
  ];
}

/** Lines with something on them. */
export function lines(text: string | undefined): string[] {
  return (text ?? "").split("\n").map((line) => line.trim()).filter(Boolean);
}

/** A condition that the label fulfils, quoted as PromQL quotes. */
export function condition([label, value]: [string, string]): string {
  return `${label}=${JSON.stringify(value)}`;
}

/** Of an alert: its name and labels are the conditions to begin with. */
export function silenceAction(alert: Alert | null = null): Action {
  return {
    label: "Silence",
    title: alert ? `Silence ${alert.name}` : "Silence alerts",
    about: "Alerts that fulfil all conditions are nobody's incident for a while. The dry run says how many there are now.",
    needs: "operate",
    method: "POST",
    path: () => "/v1/silences",
    body: (values) => ({
      conditions: lines(values["conditions"]),
      duration_ms: Math.round(Number(values["minutes"]) * 60_000),
      comment: values["comment"],
    }),
    fields: [
      {
        name: "conditions",
        label: "Conditions, one a line",
        kind: "lines",
        initial: alert ? Object.entries(alert.labels).map(condition).join("\n") : "",
        required: true,
        note: 'region="us-east-1", severity=~"P[23]"; up to 20.',
      },
      { name: "minutes", label: "Minutes", kind: "number", initial: "120", required: true },
      { name: "comment", label: "Why", kind: "text", required: true },
    ],
    dryRun: "first",
    show: (answer: Silence) => (
      <p>
        {format.many(answer.alerts, "alert")} now, until {format.utc(answer.ends_at_ms)}
      </p>
    ),
  };
}

export function expireAction(silence: Silence): Action {
  return {
    label: "Expire",
    title: `End ${silence.silence} now`,
    about: `${format.many(silence.alerts, "alert")} that it silences can be somebody's incident again at once.`,
    needs: "operate",
    method: "POST",
    path: () => `/v1/silences/${encodeURIComponent(silence.silence)}/expire`,
    body: () => ({}),
    dryRun: "offered",
    type: () => silence.silence,
    tone: "danger",
    button: "plain",
  };
}

/** Of one dead letter, or of all without it. */
export function retryAction(message: NotificationRow | null): Action {
  return {
    label: message ? "Retry" : "Retry all dead letters",
    title: message ? `Try ${message.receiver} again` : "Try all dead letters again",
    about: message ? `“${message.title}” is sent to ${message.receiver} again.` : "Every message that was given up is sent again, old ones too.",
    needs: "operate",
    method: "POST",
    path: () => "/v1/notifications/retry",
    body: () => (message ? { key: message.key } : {}),
    dryRun: "none",
    done: (answer: NotificationsAnswer) => `${format.many(answer.messages.length, "message")} will be tried again.`,
    ...(message ? {} : { type: () => "all dead letters", tone: "danger" as const, button: "plain" as const }),
  };
}
