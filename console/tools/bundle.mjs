// Bundles a TypeScript file for this Node into a temporary folder, and removes the folder when the process ends.
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { build } from "esbuild";

export const root = new URL("..", import.meta.url).pathname;

export async function bundle(...files) {
  const folder = mkdtempSync(join(tmpdir(), "dwcp-console-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  // Packages stay outside of the bundle and are found through this link.
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  await build({
    entryPoints: files.map((file) => join(root, file)),
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    jsx: "automatic",
    jsxImportSource: "preact",
    logLevel: "warning",
    sourcemap: "inline",
  });
  return files.map((file) => join(folder, basename(file).replace(/\.tsx?$/, ".mjs")));
}
