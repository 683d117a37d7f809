/** Incidents, alerts, silences and messages in a real browser. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { arrive, base, complaints, context, findings, mock, open, page, press, shoot } from "./stage";

describe("incidents, alerts and messages", () => {
  test("filters are in the URL, and a URL with filters shows what they leave", async () => {
    await arrive("/d/incidents", "tbody tr");
    const shown = () => page.locator("section:has(h2:text-is('What goes on')) tbody tr").count();
    assert.equal(await shown(), 3);
    await page.selectOption("label:has-text('Status') select", "all");
    await page.waitForFunction(() => document.body.innerText.includes("INC-20261129-001"));
    assert.equal(page.url(), `${base}/d/incidents?status=all`);
    await arrive("/d/incidents?status=resolved&severity=P1", "tbody tr");
    await page.waitForFunction(() => document.body.innerText.includes("INC-20261129-002"));
    assert.equal(await shown(), 1);
    assert.match(await page.innerText("main"), /over after 55 min/);
  });

  test("a title with markup is text, in the list, in the incident and among the messages", async () => {
    for (const [path, where] of [["/d/incidents", "tbody"], ["/d/incidents/INC-20261129-005", ".big"], ["/d/messages", "tbody"]] as const) {
      await arrive(path, where);
      assert.match(await page.innerText(`main ${where} >> nth=0`), /<script>document.title="taken"<\/script><img src=x/);
      assert.equal(await page.locator("main script, main img").count(), 0);
      assert.notEqual(await page.title(), "taken");
    }
    assert.deepEqual(complaints, []);
  });

  test("the clock of an incident that nobody has taken counts", async () => {
    await arrive("/d/incidents/INC-20261129-003", ".tiles");
    const clock = () => page.innerText(".tiles .mark.bad .num");
    const before = await clock();
    assert.match(before, /overdue by \d+ min/);
    await page.waitForFunction((text) => document.querySelector(".tiles .mark.bad .num")?.textContent !== text, before);
  });

  test("an incident is taken, noted and resolved, the last by typing its id", async () => {
    await arrive("/d/incidents/INC-20261129-003", ".tiles");
    await press("Acknowledge");
    await page.click('dialog button:has-text("Dry run")');
    await page.waitForSelector("dialog .dry");
    assert.equal(mock.state.incidents[2]?.incident.status, "open");
    await page.click("dialog button[type=submit]");
    await page.waitForSelector("dialog .success");
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.querySelector(".tiles")?.textContent?.includes("taken by ana"));
    await press("Add a note");
    await page.fill("dialog input", "the host's fan is broken");
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog .success");
    await page.keyboard.press("Escape");
    await page.waitForSelector("td:has-text('fan is broken')");
    await press("Resolve");
    const submit = page.locator("dialog button[type=submit]");
    await shoot("incident-resolve");
    assert.deepEqual(await findings(), []);
    await submit.click({ force: true });
    assert.equal(mock.state.incidents[2]?.incident.status, "investigating");
    await page.fill("dialog label:has(code) input", "INC-20261129-003");
    await submit.click();
    await page.waitForSelector("dialog .success");
    assert.equal(mock.state.incidents[2]?.incident.status, "resolved");
  });

  test("the draft of a post-mortem is shown as text", async () => {
    await arrive("/d/incidents/INC-20261129-005", "summary");
    await page.click("summary");
    await page.waitForSelector("pre.console");
    assert.match(await page.innerText("pre.console"), /^# INC-20261129-005: <script>/);
    await shoot("incident-draft");
    assert.deepEqual(await findings(), []);
    assert.deepEqual(complaints, []);
  });

  test("an alert is silenced after a dry run, and the silence ended by its id", async () => {
    await arrive("/d/alerts/a1b2c3d4e5f60003", ".facts");
    await press("Silence");
    assert.match(await page.inputValue("dialog textarea"), /^alertname="HostSilent"/);
    await page.fill("dialog label:has-text('Why') input", "its fan is being replaced");
    const submit = page.locator("dialog button[type=submit]");
    assert.equal(await submit.getAttribute("aria-disabled"), "true");
    await page.click('dialog button:has-text("Dry run")');
    await page.waitForSelector("dialog .dry");
    await shoot("silence-dry-run");
    assert.deepEqual(await findings(), []);
    await submit.click();
    await page.waitForSelector("dialog .success");
    assert.equal(mock.state.silences[0]?.silence, "silence-004");
    await arrive("/d/alerts", "tbody tr");
    await page.locator("tr", { hasText: "silence-004" }).locator("button[aria-disabled=false]").click();
    await page.fill("dialog label:has(code) input", "silence-004");
    await page.click("dialog button[type=submit]");
    await page.waitForSelector("dialog .success");
    assert.equal(mock.state.silences[0]?.state, "expired");
  });

  test("a dead letter is tried again, and only that one", async () => {
    await arrive("/d/messages?state=dead", "tbody tr");
    await page.locator("tr", { hasText: "no such mailbox" }).locator("button[aria-disabled=false]").click();
    await page.click("dialog button[type=submit]");
    await page.waitForSelector("dialog .success");
    assert.match(await page.innerText("dialog .success"), /1 message will be tried again/);
    assert.deepEqual(mock.state.messages.filter((one) => one.state === "dead").map((one) => one.receiver), ["old"]);
  });

  test("a viewer sees incidents and messages, and why they can't change them", async () => {
    await context.close();
    await open({ token: "mock-viewer" });
    for (const path of ["/d/incidents/INC-20261129-004", "/d/alerts", "/d/messages"]) {
      await arrive(path, "tbody tr");
      await page.waitForFunction(() => document.body.innerText.includes("your token is a viewer"));
      assert.equal(await page.locator("main button[aria-disabled=false]").count(), 0, path);
    }
  });

  test("a key goes to each page, and the figures of the overview lead to them", async () => {
    await arrive("/d/federation-overview", ".tiles a[href='/d/incidents'] .num");
    assert.match(await page.innerText(".tiles a[href='/d/incidents']"), /^\d+$/);
    assert.equal(await page.innerText(".tiles a[href='/d/slas']"), "99.96 %");
    for (const [key, title] of [["n", "Incidents"], ["a", "Alerts"], ["l", "SLAs"], ["c", "Messages"]] as const) {
      await page.keyboard.press("g");
      await page.keyboard.press(key);
      await page.waitForSelector(`h1:text-is("${title}")`);
    }
  });
});
