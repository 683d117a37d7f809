/** The console in a real browser against the mock: `node tools/browser.mjs [name]`. Needs `dist` and Debian's chromium. */

import assert from "node:assert/strict";
import { cpus, loadavg } from "node:os";
import { describe, test } from "node:test";
import { arrive, base, complaints, context, findings, mock, open, page, press, shoot } from "./stage";

/** Every page: its path, and what is there when it has come. */
const PAGES: [string, string, string][] = [
  ["overview", "/d/federation-overview", ".tiles + .panel tbody tr, .chart canvas"],
  ["performance", "/d/region-performance", ".chart canvas"],
  ["state-sync", "/d/state-sync", ".matrix td"],
  ["routing", "/d/global-routing", ".chart canvas"],
  ["map", "/d/map", ".points a"],
  ["region", "/d/regions/eu-west-1", ".chart canvas"],
  ["region-lost", "/d/regions/sa-east-1", ".banner"],
  ["vms", "/d/vms", ".row-body .row"],
  ["vm", "/d/vms/api-0001-us", ".facts, .problem"],
  ["hosts", "/d/hosts", ".row-body .row"],
  ["host", "/d/hosts/us-east-1/h04", ".facts"],
  ["incidents", "/d/incidents", "tbody tr"],
  ["incident", "/d/incidents/INC-20261129-004", ".tiles"],
  ["alerts", "/d/alerts?over=true", "tbody tr"],
  ["alert", "/d/alerts/a1b2c3d4e5f60002", ".facts"],
  ["slas", "/d/slas", ".budget"],
  ["breach", "/d/slas/breach-001", "tbody tr"],
  ["messages", "/d/messages", "tbody tr"],
  ["operations", "/d/operations", "tbody tr"],
  ["operation", "/d/operations/op_failover2", ".steps li"],
  ["failovers", "/d/failovers", "tbody tr"],
  ["failover", "/d/failovers/failover-002", ".timeline .bar"],
  ["migrations", "/d/migrations", "tbody tr"],
  ["maintenance", "/d/maintenance", "tbody tr"],
  ["drills", "/d/drills", "tbody tr"],
  ["drill", "/d/drills/drill-002", ".timeline .bar"],
  ["events", "/d/events", "tbody tr"],
];

/** A VM that is there, whatever the mock made up. */
function pathOf(name: string, path: string): string {
  return name === "vm" ? `/d/vms/${mock.state.vms.find((vm) => vm.protection && vm.state === "running")?.vm ?? ""}` : path;
}

describe("every page, in light and in dark colours", () => {
  for (const [name, path, ready] of PAGES) {
    test(`${name} comes without a complaint and is accessible`, async () => {
      await arrive(pathOf(name, path), ready);
      await page.waitForTimeout(400);
      await shoot(`${name}-light`);
      assert.deepEqual(await findings(), []);
      await page.emulateMedia({ colorScheme: "dark" });
      await page.waitForTimeout(200);
      await shoot(`${name}-dark`);
      assert.deepEqual(await findings(["color-contrast", "link-in-text-block"]), []);
      assert.deepEqual(complaints, []);
    });
  }
});

describe("a screen of 360 pixels", () => {
  for (const [name, path, ready] of PAGES) {
    test(`${name} does not scroll sideways`, async () => {
      await context.close();
      await open({ width: 360, height: 740 });
      await arrive(pathOf(name, path), ready);
      await page.waitForTimeout(300);
      await shoot(`${name}-narrow`);
      const wide = await page.evaluate(() => {
        const over = document.documentElement.scrollWidth > 360;
        const all = over ? [...document.querySelectorAll("main *")] : [];
        return all.filter((one) => one.getBoundingClientRect().right > 360 && !one.closest(".scroll, .rows")).map((one) => one.outerHTML.slice(0, 120));
      });
      assert.deepEqual(wide.slice(0, 4), []);
      assert.deepEqual(complaints, []);
    });
  }
});

describe("signing in", () => {
  test("a wrong token is refused with cause, next step and request id, and a right one stays out of the URL", async () => {
    await context.close();
    await open({ token: null });
    await arrive("/d/vms?q=web", ".sign-in input");
    await shoot("sign-in");
    assert.deepEqual(await findings(), []);
    await page.fill(".sign-in input", "wrong");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".problem");
    assert.match(await page.innerText(".problem"), /no token has this secret/);
    assert.match(await page.innerText(".problem"), /web_[0-9a-z]{16}/);
    assert.match(await page.innerText(".problem"), /dwcp-cli login/);
    await shoot("sign-in-refused");
    await page.fill(".sign-in input", "mock-viewer");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".row-body .row");
    await page.waitForSelector(".who .tag");
    assert.match(await page.innerText(".who"), /viewer/);
    assert.equal(page.url(), `${base}/d/vms?q=web`);
    assert.equal(await page.evaluate(() => sessionStorage.getItem("dwcp.token")), "mock-viewer");
    assert.equal(await page.evaluate(() => localStorage.getItem("dwcp.token")), null);
  });
});

describe("what is not known", () => {
  test("a region that does not answer is named, with how long", async () => {
    await arrive("/d/federation-overview", ".banner");
    assert.match(await page.innerText(".banner"), /sa-east-1 is lost/);
    const row = page.locator("tbody tr", { hasText: "sa-east-1" });
    assert.match(await row.innerText(), /unknown/);
  });

  test("without series every chart says so, and the rest of the page is there", async () => {
    mock.state.noSeries = true;
    await arrive("/d/federation-overview", ".tiles");
    await page.waitForFunction(() => document.querySelectorAll(".chart .nothing").length === 4);
    assert.match(await page.innerText(".chart .nothing"), /keeps no series/);
    await shoot("no-series");
  });

  test("a region that is missing in a chart is named there", async () => {
    mock.state.noWarnings = false;
    await arrive("/d/state-sync", ".chart .notes");
    assert.match(await page.innerText(".chart .notes"), /sa-east-1 does not answer/);
  });

  test("a server that stops answering leaves the last answer with its age and a problem with a request id", async () => {
    await arrive("/d/state-sync", ".matrix td");
    mock.down = true;
    await page.waitForSelector(".panel .problem");
    assert.match(await page.innerText(".panel .problem"), /does not answer/);
    assert.match(await page.innerText(".panel .problem"), /web_/);
    assert.equal(await page.locator(".matrix").count(), 1);
    await shoot("server-down");
  });
});

describe("what goes on", () => {
  test("a VM tells why it is where it is, and its console is followed", async () => {
    await arrive(pathOf("vm", ""), ".facts");
    await page.click("text=Why it is there");
    await page.waitForSelector("details tbody tr");
    assert.match(await page.innerText("details tbody"), /the region is lost/);
    await page.click("summary:has-text('Console')");
    await page.waitForFunction(() => (document.querySelector(".console")?.textContent?.split("\n").length ?? 0) > 3);
    await shoot("vm-open");
    assert.deepEqual(await findings(), []);
    assert.deepEqual(complaints, []);
  });

  test("a failover's progress rises while it is looked at", async () => {
    mock.state.failoverAt = Date.now() - 20_000;
    await arrive("/d/failovers/failover-002", ".bar.open");
    const done = () => page.locator(".tiles [role=progressbar]").getAttribute("aria-valuenow").then(Number);
    const before = await done();
    await page.waitForFunction((least) => Number(document.querySelector(".tiles [role=progressbar]")?.getAttribute("aria-valuenow")) > least, before);
    assert.ok((await page.locator(".row-body .row").count()) > 10);
    await shoot("failover-running");
    assert.deepEqual(complaints, []);
  });
});

describe("actions", () => {
  test("a viewer sees them, can't use them and is told why", async () => {
    await context.close();
    await open({ token: "mock-viewer" });
    await arrive("/d/regions/us-east-1", ".actions button[aria-disabled=true]");
    await page.waitForFunction(() => document.body.innerText.includes("your token is a viewer"));
    const drain = page.locator(".actions button", { hasText: "Drain" });
    assert.equal(await drain.getAttribute("aria-disabled"), "true");
    await drain.click({ force: true });
    assert.equal(await page.locator("dialog").count(), 0);
  });

  test("placement is disabled after a dry run, and the page shows it", async () => {
    await arrive("/d/regions/ap-south-1", ".actions button");
    await press("Disable placement");
    await page.fill("dialog input", "new hosts are not burnt in");
    await page.click('dialog button:has-text("Dry run")');
    await page.waitForSelector("dialog .dry");
    await shoot("action-dry-run");
    assert.deepEqual(await findings(), []);
    assert.equal(mock.state.regions[2]?.placement.enabled, true);
    await page.click("dialog button[type=submit]");
    await page.waitForSelector("dialog .success");
    assert.equal(mock.state.regions[2]?.placement.enabled, false);
    await page.keyboard.press("Escape");
    await page.waitForSelector("text=Enable placement");
  });

  test("a failover needs its dry run and the region's name", async () => {
    await arrive("/d/failovers", "tbody tr");
    await press("Start failover");
    await page.selectOption("dialog select", "ap-south-1");
    const submit = page.locator("dialog button[type=submit]");
    assert.equal(await submit.getAttribute("aria-disabled"), "true");
    await page.click('dialog button:has-text("Dry run")');
    await page.waitForSelector("dialog .dry");
    assert.equal(await submit.getAttribute("aria-disabled"), "true");
    await page.fill("dialog label:has(code) input", "ap-south-1");
    assert.equal(await submit.getAttribute("aria-disabled"), "false");
    await shoot("failover-plan");
    await submit.click();
    await page.waitForSelector("dialog .success");
    assert.equal(mock.asked.filter((line) => line === "POST /v1/failovers").length, 2);
  });

  test("a refusal shows code, cause, what to try and the request id", async () => {
    await arrive("/d/regions/us-east-1", ".actions button");
    await press("Set traffic");
    const region = mock.state.regions[0];
    if (region) region.revision += 5;
    await page.click("dialog button[type=submit]");
    await page.waitForSelector("dialog .problem");
    const text = await page.innerText("dialog .problem");
    assert.match(text, /DWCP-R0040/);
    assert.match(text, /revision \d+ was expected/);
    assert.match(text, /nothing was changed/);
    assert.match(text, /dwcp-cli federation region status/);
    assert.match(text, /web_/);
    await shoot("action-refused");
  });
});

/** The longest time between two frames while something is done, ms. */
async function longestFrame(act: () => Promise<void>): Promise<number> {
  await page.evaluate(() => {
    const watch = { longest: 0, last: performance.now(), on: true };
    Object.assign(globalThis, { watch });
    const frame = () => {
      const now = performance.now();
      watch.longest = Math.max(watch.longest, now - watch.last);
      watch.last = now;
      if (watch.on) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  await act();
  return page.evaluate(() => {
    const { watch } = globalThis as unknown as { watch: { longest: number; on: boolean } };
    watch.on = false;
    return watch.longest;
  });
}

interface Times {
  first: number;
  scrolling: number;
  filtering: number;
  sorting: number;
  /** The most that the page's own thread worked for one wheel, key or click: processor time, whoever else is busy. */
  work: number;
}

/** Loads the list anew and uses it. */
async function measureList(): Promise<Times> {
  const begun = Date.now();
  await arrive("/d/vms", ".row-body .row");
  const first = Date.now() - begun;
  await page.waitForFunction(() => document.querySelector(".heading .about")?.textContent?.startsWith("15,000 VMs,"));
  assert.ok((await page.locator(".row-body .row").count()) < 100);

  const devtools = await context.newCDPSession(page);
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
  const worked = async () => {
    const { metrics } = await devtools.send("Performance.getMetrics");
    return 1000 * (metrics.find((one) => one.name === "TaskDuration")?.value ?? NaN);
  };
  let work = 0;
  const each = async (act: () => Promise<unknown>) => {
    const before = await worked();
    await act();
    await page.waitForTimeout(50);
    work = Math.max(work, (await worked()) - before);
  };

  const scrolling = await longestFrame(async () => {
    await page.hover(".rows");
    for (let i = 0; i < 24; i++) await each(() => page.mouse.wheel(0, i % 2 ? 900 : 6000));
    await each(() => page.evaluate(() => document.querySelector(".rows")?.scrollTo(0, 1e9)));
  });
  const filtering = await longestFrame(async () => {
    await page.click("[data-search]");
    for (const key of "web team=pay") await each(() => page.keyboard.press(key === " " ? "Space" : key));
    for (let i = 0; i < 12; i++) await each(() => page.keyboard.press("Backspace"));
    await each(() => page.selectOption(".filters select >> nth=0", "eu-west-1"));
    await each(() => page.selectOption(".filters select >> nth=0", ""));
  });
  const sorting = await longestFrame(async () => {
    for (const name of ["Memory", "State", "Name"]) await each(() => page.click(`.row-head >> text=${name}`));
  });
  await devtools.detach();
  return { first, scrolling, filtering, sorting, work };
}

/** More runs than there are processors: times by the clock then say little of the page. */
const crowded = loadavg()[0]! > cpus().length;

describe("15,000 VMs", () => {
  // By the clock the best of a few tries is judged; what others do to the machine is not the page's.
  test("the first rows are there within a second, and scrolling and filtering never stop for 100 ms", async () => {
    const patience = crowded ? 4 : 1;
    const bounds: Times = { first: 1000 * patience, scrolling: 100 * patience, filtering: 100 * patience, sorting: 100 * patience, work: 100 };
    const best: Times = { first: Infinity, scrolling: Infinity, filtering: Infinity, sorting: Infinity, work: Infinity };
    const names = Object.keys(bounds) as (keyof Times)[];
    const kept = () => names.every((name) => best[name] < bounds[name]);
    for (let i = 0; i < 4 && !kept(); i++) {
      const times = await measureList();
      for (const name of names) best[name] = Math.min(best[name], times[name]);
    }
    const text = names.map((name) => `${name} ${Math.round(best[name])}`).join(", ");
    console.log(`15,000 VMs, ms${crowded ? " on a crowded machine" : ""}: ${text}`);
    assert.ok(kept(), text);
  });

  test("the filters are in the URL and come back from it", async () => {
    await arrive("/d/vms?q=web&region=eu-west-1&state=stopped&sort=-memory", ".row-body .row");
    await page.waitForFunction(() => !document.querySelector(".heading .about")?.textContent?.includes("so far"));
    const wanted = mock.state.vms.filter((vm) => vm.region === "eu-west-1" && vm.state === "stopped" && `${vm.name} ${vm.labels["tier"]}`.includes("web"));
    assert.match(await page.innerText(".heading .about"), new RegExp(`^${wanted.length} of 15,000`));
    await page.selectOption(".filters select >> nth=1", "running");
    assert.match(page.url(), /state=running/);
  });
});

describe("the keyboard alone", () => {
  test("walks from the skip link to a VM and back", async () => {
    await arrive("/d/federation-overview", ".tiles");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement?.className), "skip");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
    await page.keyboard.press("g");
    await page.keyboard.press("v");
    await page.waitForSelector(".row-body .row");
    assert.equal(await page.evaluate(() => document.activeElement?.tagName), "H1");
    await page.keyboard.press("/");
    await page.keyboard.type("db");
    // From the search box past the two choices into the table.
    for (let i = 0; i < 3; i++) await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("aria-label")), "VMs");
    for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowDown");
    const name = await page.innerText(".row.here a");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".facts");
    assert.equal(await page.innerText("h1"), name);
    await page.goBack();
    await page.waitForSelector(".row-body .row");
    assert.match(page.url(), /q=db/);
  });

  test("help opens with a question mark, keeps the focus and gives it back", async () => {
    await arrive("/d/events", "tbody tr");
    await page.focus("nav a[href='/d/events']");
    await page.keyboard.press("?");
    await page.waitForSelector("dialog[open]");
    await shoot("help");
    assert.deepEqual(await findings(), []);
    for (let i = 0; i < 6; i++) {
      await page.keyboard.press("Tab");
      assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement?.closest("dialog") !== null));
    }
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("dialog").count(), 0);
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("href")), "/d/events");
  });

  test("single keys can be switched off", async () => {
    await arrive("/d/events", "tbody tr");
    await page.keyboard.press("?");
    await page.uncheck("dialog input[type=checkbox]");
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    assert.equal(await page.locator("dialog").count(), 0);
    await page.reload();
    await page.waitForSelector("tbody tr");
    await page.keyboard.press("g");
    await page.keyboard.press("v");
    assert.match(page.url(), /events/);
  });

  test("every place that can be reached shows where the focus is", async () => {
    await arrive("/d/federation-overview", ".tiles");
    const seen = new Set<string>();
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press("Tab");
      const [what, outline] = await page.evaluate(() => {
        const at = document.activeElement as HTMLElement;
        return [at.outerHTML.slice(0, 80), getComputedStyle(at).outlineStyle];
      });
      seen.add(what ?? "");
      assert.notEqual(outline, "none", what);
    }
    assert.ok(seen.size > 30, `only ${seen.size} places`);
  });
});

describe("colours", () => {
  test("the switch goes from the system's to light to dark, and charts follow", async () => {
    await arrive("/d/federation-overview", ".chart canvas");
    const now = () => page.evaluate(() => document.documentElement.dataset["theme"]);
    assert.equal(await now(), "light");
    await page.keyboard.press("l");
    await page.keyboard.press("l");
    assert.equal(await now(), "dark");
    assert.equal(await page.evaluate(() => localStorage.getItem("dwcp.theme")), "dark");
    await page.waitForSelector(".chart canvas");
    assert.deepEqual(complaints, []);
  });
});
