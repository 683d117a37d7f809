/** What the pages of incidents, alerts and promises decide, without a browser. */

import "./page_stub";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { condition, incidentActions, lines, retryAction, silenceAction } from "../src/actions/watch_actions";
import type { Incident, SlaPromise } from "../src/api/watch_types";
import { clockOf, nextShift } from "../src/pages/incidents";
import { budget, promised, share } from "../src/pages/slas";
import { makeWatched } from "../mock/watch";

function incident(more: Partial<Incident>): Incident {
  const [first] = makeWatched([], 0).incidents;
  assert.ok(first);
  return { ...first.incident, status: "open", opened_at_ms: 0, due_at_ms: 60_000, overdue: false, ...more };
}

describe("the clock of an incident", () => {
  test("it counts down to when someone must take it, and from then on up", () => {
    assert.deepEqual(clockOf(incident({}), 12_400), { tone: "warn", text: "due in 47 s" });
    assert.deepEqual(clockOf(incident({}), 60_000), { tone: "bad", text: "overdue by 0 ms" });
    assert.deepEqual(clockOf(incident({}), 185_900), { tone: "bad", text: "overdue by 2 min 5 s" });
    assert.deepEqual(clockOf(incident({ overdue: true }), 59_000), { tone: "bad", text: "overdue by 0 ms" }, "the server's clock decides");
  });

  test("it stops when someone took it, and says whether that was too late", () => {
    assert.equal(clockOf(incident({ acknowledged_at_ms: 20_000 }), 999_000).text, "taken after 20 s");
    assert.deepEqual(clockOf(incident({ acknowledged_at_ms: 90_000, overdue: true }), 999_000), { tone: "warn", text: "taken 30 s late" });
    assert.equal(clockOf(incident({ resolved_at_ms: 600_000 }), 999_000).text, "over after 10 min");
    assert.equal(clockOf(incident({ status: "merged", merged_into: "INC-1" }), 0).text, "goes on in INC-1");
  });
});

test("who is next is the first whose shift begins once the present one is over", () => {
  const shift = (role: string, who: string, from_ms: number) => ({ role, who, from_ms, until_ms: from_ms + 10 });
  const shifts = [shift("primary", "c", 30), shift("primary", "now", 0), shift("secondary", "x", 10), shift("primary", "b", 10)];
  assert.equal(nextShift("primary", 10, shifts)?.who, "b");
  assert.equal(nextShift("primary", 31, shifts), null);
});

describe("promises", () => {
  const promise = (more: Partial<SlaPromise>) =>
    ({ name: "a", scope: "federation", vm: null, measure: "availability", target_ppm: null, limit_ms: null, period_days: 30, exclude_maintenance: false, credits: [], standard: true, ...more }) as SlaPromise;

  test("they are told in words, and no share is rounded up to what it does not reach", () => {
    assert.equal(promised(promise({ target_ppm: 999_500 })), "up 99.95 % of the time");
    assert.equal(promised(promise({ measure: "latency", target_ppm: 990_000, limit_ms: 200 })), "99 % of requests within 200 ms");
    assert.equal(promised(promise({ measure: "failover_time", limit_ms: 120_000 })), "failover within 2 min");
    assert.equal(promised(promise({ measure: "data_loss", limit_ms: 5000 })), "at most 5 s of writes lost");
    assert.equal(share(99.9499999), "99.949 %");
    assert.equal(share(99.95), "99.95 %");
    assert.equal(share(100), "100 %");
  });

  test("a budget's bar is what is left of it, empty when it is overdrawn", () => {
    assert.deepEqual(budget(21.6, 10.8), { percent: 50, tone: "ok", text: "10 min 48 s of 21 min 36 s left" });
    assert.deepEqual(budget(20, 2), { percent: 10, tone: "warn", text: "2 min of 20 min left" });
    assert.deepEqual(budget(20, -5), { percent: 0, tone: "bad", text: "overdrawn by 5 min of 20 min" });
    assert.equal(budget(null, null), null);
    assert.equal(budget(0, 0)?.percent, 100);
    assert.equal(budget(0, -1)?.percent, 0);
  });
});

describe("actions", () => {
  const named = (one: Incident, label: string) => {
    const action = incidentActions(one).find((candidate) => candidate.label === label);
    assert.ok(action);
    return action;
  };

  test("an incident that is taken is not taken twice, and one that is over is not resolved", () => {
    assert.equal(named(incident({}), "Acknowledge").unable, null);
    assert.equal(named(incident({ status: "investigating" }), "Acknowledge").unable, "It is taken already.");
    assert.equal(named(incident({ status: "resolved" }), "Resolve").unable, "It is resolved.");
    assert.equal(named(incident({ status: "resolved" }), "Add a note").unable ?? null, null);
  });

  test("resolving asks for the id, and sends only what was filled in", () => {
    const action = named(incident({}), "Resolve");
    assert.equal(action.type?.({}), incident({}).incident);
    assert.deepEqual(action.body({ root_cause: "", resolution: "moved", note: "" }), { status: "resolved", resolution: "moved" });
  });

  test("a silence begins with the alert's labels, quoted", () => {
    const [alert] = makeWatched([], 0).alerts;
    assert.ok(alert);
    assert.equal(condition(["path", 'a"b\\']), 'path="a\\"b\\\\"');
    assert.match(silenceAction(alert).fields?.[0]?.initial ?? "", /^alertname="RegionLost"\n/);
    const body = silenceAction().body({ conditions: ' a="1" \n\n b="2"', minutes: "1.5", comment: "c" });
    assert.deepEqual(body, { conditions: ['a="1"', 'b="2"'], duration_ms: 90_000, comment: "c" });
    assert.deepEqual(lines(undefined), []);
  });

  test("one dead letter is named; all of them have to be typed", () => {
    const [message] = makeWatched([], 0).messages;
    assert.ok(message);
    assert.deepEqual(retryAction(message).body({}), { key: message.key });
    assert.equal(retryAction(message).type, undefined);
    assert.deepEqual(retryAction(null).body({}), {});
    assert.equal(retryAction(null).type?.({}), "all dead letters");
  });
});
