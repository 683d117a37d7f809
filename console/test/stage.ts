/** The console in a real browser against the mock: what the tests of it share. */

import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, beforeEach } from "node:test";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { createMock, type Mock } from "../mock/server";

const root = process.env["CONSOLE_ROOT"] ?? ".";
const shots = process.env["SHOTS"];
const axeSource = readFileSync(createRequire(join(root, "package.json")).resolve("axe-core/axe.min.js"), "utf8");

interface Finding {
  id: string;
  nodes: { html: string; failureSummary: string }[];
}

export let mock: Mock;
export let base: string;
export let browser: Browser;
export let context: BrowserContext;
export let page: Page;
/** Everything that the page complained of. */
export let complaints: string[] = [];

before(async () => {
  mock = createMock(join(root, "dist"));
  await new Promise<void>((resolve) => mock.server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(mock.server.address() as AddressInfo).port}`;
  browser = await chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
});

after(async () => {
  await browser?.close();
  mock?.server.closeAllConnections();
  mock?.server.close();
});

beforeEach(async () => {
  await context?.close();
  mock.down = false;
  mock.state.noSeries = false;
  mock.state.noWarnings = true;
  await open({});
});

interface Wanted {
  width?: number;
  height?: number;
  dark?: boolean;
  token?: string | null;
}

export async function open({ width = 1440, height = 900, dark = false, token = "mock-operator" }: Wanted): Promise<void> {
  context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    reducedMotion: "reduce",
  });
  // A page's own policy would stop axe from being added to it: it is there before the page, in every document.
  await context.addInitScript({ content: axeSource });
  if (token) await context.addInitScript(`sessionStorage.setItem("dwcp.token", ${JSON.stringify(token)})`);
  page = await context.newPage();
  complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
}

export async function arrive(path: string, ready: string): Promise<void> {
  await page.goto(base + path, { waitUntil: "domcontentloaded" });
  await page.waitForSelector(ready);
}

/** Presses the button of an action once it may be used: what the token permits is not known at first. */
export async function press(name: string): Promise<void> {
  await page.click(`main button[aria-disabled=false]:has-text("${name}")`);
}

/** What axe finds wrong, by all rules of WCAG 2.2 AA and good practice or by those that are named. */
export async function findings(rules?: string[]): Promise<string[]> {
  const found = await page.evaluate(async (only) => {
    const axe = (globalThis as unknown as { axe: { run: (where: object, options: object) => Promise<{ violations: Finding[] }> } }).axe;
    // Rows beyond the first ten are like them.
    const where = { include: document, exclude: ["tbody tr:nth-child(n+11)", ".row-body .row:nth-child(n+11)", ".chips li:nth-child(n+11)"] };
    const runOnly = only ?? ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const result = await axe.run(where, { runOnly, resultTypes: ["violations"] });
    return result.violations;
  }, rules);
  return found.flatMap((one) => one.nodes.slice(0, 3).map((node) => `${one.id}: ${node.html.slice(0, 160)} ${node.failureSummary.replaceAll("\n", " ")}`));
}

export async function shoot(name: string): Promise<void> {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}
