// Runs the tests in a browser with Node's test runner. SHOTS=folder keeps a picture of every page.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { bundle, root } from "./bundle.mjs";

if (!existsSync(join(root, "dist/index.html"))) {
  console.error("there is no dist: npm run build");
  process.exit(1);
}
const files = await bundle("test/browser.ts", "test/watch_browser.ts");
const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-concurrency=1", ...process.argv.slice(2), ...files], {
  stdio: "inherit",
  env: { ...process.env, CONSOLE_ROOT: root },
});
process.exit(run.status ?? 1);
