// Runs the tests that need no browser with Node's test runner.
import { spawnSync } from "node:child_process";
import { bundle } from "./bundle.mjs";

const files = await bundle("test/unit.ts", "test/watch_unit.ts", "test/conformance.ts");
const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-force-exit", ...process.argv.slice(2), ...files], {
  stdio: "inherit",
});
process.exit(run.status ?? 1);
