/** What the console computes, without a browser: `node tools/unit.mjs`. */

import "./page_stub";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { ApiError, freshId, readProblem } from "../src/api/client";
import { search } from "../src/api/fleet";
import { withQuery } from "../src/api/paged";
import { align, number, readRange, stepFor } from "../src/api/prometheus";
import * as format from "../src/format";
import { pageOf, SECTIONS } from "../src/pages";
import { silence } from "../src/pages/regions_table";
import { regionPlots } from "../src/queries";
import { match, to } from "../src/router";
import { lacks } from "../src/session";
import { shade } from "../src/ui/matrix";
import { agesOf } from "../src/ui/panel";
import { placeOf, readSorting, sorted } from "../src/ui/rows";
import { ticks } from "../src/ui/timeline";
import { makeState } from "../mock/routes";
import { POLICY } from "../mock/server";

describe("numbers and times", () => {
  test("a length of time has two units at most", () => {
    const cases: [number, string][] = [
      [0, "0 ms"],
      [0.08, "0.08 ms"],
      [7.25, "7.25 ms"],
      [340.4, "340 ms"],
      [2440, "2.4 s"],
      [2000, "2 s"],
      [59_999, "59.9 s"],
      [60_000, "1 min"],
      [185_000, "3 min 5 s"],
      [7_800_000, "2 h 10 min"],
      [356_400_000, "4 d 3 h"],
      [-38_000, "−38 s"],
    ];
    for (const [ms, text] of cases) assert.equal(format.duration(ms), text);
  });

  test("an age is never below zero, and the future is told as such", () => {
    assert.equal(format.age(-5), "0.0 s");
    assert.equal(format.age(252_000), "4 min");
    assert.equal(format.ago(1000, 61_000), "60 s ago");
    assert.equal(format.ago(3_600_000 * 3, 0), "in 3 h");
  });

  test("sizes, shares and counts are short, and a share just below a hundred is not rounded to it", () => {
    assert.equal(format.bytes(0), "0 B");
    assert.equal(format.bytes(1023), "1023 B");
    assert.equal(format.mib(16_384), "16 GiB");
    assert.equal(format.count(15_000), "15,000");
    assert.equal(format.percent(99.9962), "99.99 %");
    assert.equal(format.percent(100), "100 %");
    assert.equal(format.figure(0.0812345), "0.0812");
    assert.equal(format.figure(Infinity), "∞");
    assert.equal(format.many(1, "entry", "entries"), "1 entry");
  });

  test("a moment is told in UTC", () => {
    assert.equal(format.utc(Date.UTC(2026, 10, 29, 10, 32, 4)), "2026-11-29 10:32:04 UTC");
    assert.equal(format.utc(NaN), "no time");
  });

  test("the marks of a time line are about five, for a second and for a day", () => {
    for (const span of [3, 900, 8_200, 69_000, 3_600_000, 86_400_000, 9e9]) {
      const marks = ticks(span);
      assert.ok(marks.length >= 2 && marks.length <= 8, `${span}: ${marks.length}`);
      assert.equal(marks[0], 0);
    }
  });
});

describe("paths", () => {
  test("a host with a slash in its name and a region with a blank come back as they went", () => {
    const path = to("hosts", "eu west", "h/1");
    assert.equal(path, "/d/hosts/eu%20west/h%2F1");
    assert.deepEqual(match("/d/hosts/:region/:host", path), { region: "eu west", host: "h/1" });
  });

  test("a path that can't be decoded, or has an empty part, is no page", () => {
    assert.equal(match("/d/vms/:vm", "/d/vms/%ff"), null);
    assert.equal(match("/d/vms/:vm", "/d/vms/"), null);
    assert.equal(pageOf("/d/vms/a/b"), null);
  });

  test("every entry of the navigation is a page, and no letter goes to two", () => {
    const entries = SECTIONS.flatMap((section) => section.entries);
    for (const entry of entries) assert.notEqual(pageOf(entry.path), null, entry.path);
    assert.equal(new Set(entries.map((entry) => entry.letter)).size, entries.length);
  });

  test("the four dashboards of the operations guide have its paths", () => {
    for (const name of ["federation-overview", "region-performance", "state-sync", "global-routing"]) {
      assert.notEqual(pageOf(`/d/${name}`), null, name);
    }
  });

  test("empty filters stay out of a query", () => {
    assert.equal(withQuery("/v1/events", { region: "", severity: "error" }), "/v1/events?severity=error");
    assert.equal(withQuery("/v1/events", { region: "" }), "/v1/events");
  });
});

describe("Prometheus", () => {
  const body = (values: [number, string][]) => ({
    status: "success" as const,
    data: { resultType: "matrix", result: [{ metric: { region: "a" }, values }] },
  });

  test("values that are words are read, and are gaps in a chart", () => {
    assert.ok(Number.isNaN(number("NaN")));
    assert.equal(number("-Inf"), -Infinity);
    const series = readRange(body([[10, "1.5"], [20, "NaN"], [30, "+Inf"], [40, "2"]]));
    assert.deepEqual(align(series), { times: [10, 20, 30, 40], rows: [[1.5, null, null, 2]] });
  });

  test("series of different times share one axis", () => {
    const series = [
      { labels: {}, points: [[10, 1], [30, 3]] as [number, number][] },
      { labels: {}, points: [[20, 2], [30, 4]] as [number, number][] },
    ];
    assert.deepEqual(align(series), { times: [10, 20, 30], rows: [[1, null, 3], [null, 2, 4]] });
  });

  test("an error of the query is a problem with its words", () => {
    assert.throws(
      () => readRange({ status: "error", errorType: "bad_data", error: "parse error at char 3" }),
      (error) => error instanceof ApiError && error.problem.title === "parse error at char 3",
    );
  });

  test("a week has no more points than an hour, about", () => {
    assert.equal(stepFor(900), 15);
    assert.ok(604_800 / stepFor(604_800) <= 180);
  });

  test("a region's name can't leave its place in a query", () => {
    const query = regionPlots('a"} or b')[0]?.queries[0]?.query;
    assert.equal(query, 'avg by (region) (dwcp_federation_cpu_utilization{region="a\\"} or b"})');
  });
});

describe("problems", () => {
  test("an error that is no JSON still has a status and a request id", () => {
    const problem = readProblem(502, "<html>bad gateway</html>", "web_1");
    assert.equal(problem.request_id, "web_1");
    assert.match(problem.title, /502/);
    assert.deepEqual(problem.try, []);
  });

  test("an error in Prometheus' form is told in its words", () => {
    const text = JSON.stringify({ status: "error", errorType: "bad_data", error: "unknown function" });
    const problem = readProblem(400, text, "web_1");
    assert.deepEqual([problem.title, problem.code, problem.request_id], ["unknown function", "bad_data", "web_1"]);
  });

  test("the server's request id wins over the one that was sent", () => {
    const text = JSON.stringify({ title: "no", status: 409, cause: ["x"], request_id: "req_9" });
    const problem = readProblem(409, text, "web_1");
    assert.equal(problem.request_id, "req_9");
    assert.deepEqual(problem.cause, ["x"]);
    assert.deepEqual(problem.try, []);
  });

  test("ids do not repeat", () => {
    assert.match(freshId("web_"), /^web_[0-9a-z]{16}$/);
    assert.equal(new Set(Array.from({ length: 500 }, () => freshId(""))).size, 500);
  });
});

test("the stand-in sends the policy that dwcpd sends", () => {
  const rust = readFileSync("../crates/server/src/http/web_console.rs", "utf8");
  const written = /const POLICY: &str = "([^"]*)"/.exec(rust)?.[1];
  // A line of Rust text that ends with a backslash goes on behind the blanks of the next.
  assert.equal(written?.replace(/\\\n\s*/g, ""), POLICY);
});

describe("permission", () => {
  test("a viewer lacks what an operator may, and is told which role it takes", () => {
    assert.equal(lacks("read", "viewer"), null);
    assert.equal(lacks("operate", "viewer"), "Needs the role operator; your token is a viewer.");
    assert.equal(lacks("operate", "admin"), null);
    assert.notEqual(lacks("administer", "operator"), null);
  });

  test("before the role is known nothing may be done", () => {
    assert.notEqual(lacks("operate", undefined), null);
  });
});

describe("ages and silence", () => {
  test("an answer ages after it came, and what is not known stays so", () => {
    const asOf = [
      { region: "a", age_ms: 200, revision: 1 },
      { region: "b", age_ms: null, revision: 1 },
    ];
    assert.deepEqual(agesOf(asOf, 1000, 4000), [
      { region: "a", age: 3200 },
      { region: "b", age: null },
    ]);
  });

  test("a region is silent when it is lost, was never heard, or is too old", () => {
    const [first] = makeState(0).regions;
    assert.ok(first);
    assert.equal(silence({ ...first, age_ms: 100 }, 0), null);
    assert.match(silence({ ...first, age_ms: 100 }, 20_000) ?? "", /last heard 20 s ago/);
    assert.match(silence({ ...first, age_ms: null }, 0) ?? "", /never heard/);
    assert.match(silence({ ...first, lifecycle: "lost" }, 0) ?? "", /is lost/);
  });
});

describe("long tables", () => {
  const columns = [
    { name: "n", title: "", width: "1px", cell: () => null, key: (row: { n: number }) => row.n },
    { name: "none", title: "", width: "1px", cell: () => null },
  ];
  const rows = [{ n: 2 }, { n: 10 }, { n: 1 }];

  test("rows are sorted by the column's key, either way, and stay without one", () => {
    assert.deepEqual(sorted(rows, columns, readSorting("n")), [{ n: 1 }, { n: 2 }, { n: 10 }]);
    assert.deepEqual(sorted(rows, columns, readSorting("-n")), [{ n: 10 }, { n: 2 }, { n: 1 }]);
    assert.equal(sorted(rows, columns, readSorting("none")), rows);
    assert.equal(sorted(rows, columns, readSorting(undefined)), rows);
  });

  test("a chosen row stays the chosen one when others come and go, and nothing is chosen in its place", () => {
    const name = (row: string) => row;
    const chosen = { key: "b", index: 1 };
    assert.equal(placeOf(["a", "b", "c"], name, chosen), 1);
    assert.equal(placeOf(["new", "a", "b"], name, chosen), 2);
    assert.equal(placeOf(["b"], name, chosen), 0);
    assert.equal(placeOf(["a", "c"], name, chosen), -1);
    assert.equal(placeOf(["a"], name, { key: null, index: -1 }), -1);
  });

  test("every word has to be found, in any order and case", () => {
    const items = ["Web-1 team=pay", "web-2", "db-1 team=pay"].map((item) => ({ item, text: item.toLowerCase() }));
    assert.deepEqual(search(items, " PAY web ").map(({ item }) => item), ["Web-1 team=pay"]);
    assert.equal(search(items, "  "), items);
  });

  test("fifteen thousand rows are searched and sorted within a frame's budget", () => {
    const items = makeState(0).vms.map((vm) => ({ item: vm, text: `${vm.name} ${vm.region}`.toLowerCase() }));
    const begun = performance.now();
    sorted(search(items, "a -us"), [{ name: "m", title: "", width: "1px", cell: () => null, key: ({ item }) => item.memory_mib }], readSorting("-m"));
    assert.ok(performance.now() - begun < 100);
  });
});

describe("matrices", () => {
  test("shading rises from good to bad", () => {
    assert.deepEqual([0, 300, 301, 2000, 4999, 5000].map((ms) => shade(ms, 300, 5000)), [0, 0, 1, 2, 3, 4]);
  });
});
