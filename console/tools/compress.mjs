// Lays a compressed copy beside each file of dist, so that dwcpd need not compress, and says how much travels.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const root = new URL("../dist", import.meta.url).pathname;
let total = 0;
for (const name of readdirSync(root, { recursive: true })) {
  const path = join(root, name);
  if (!statSync(path).isFile() || path.endsWith(".gz") || name === ".gitignore") continue;
  // The level and an empty time make the same bytes of the same file, everywhere.
  const small = gzipSync(readFileSync(path), { level: 9 });
  writeFileSync(`${path}.gz`, small);
  total += small.length;
  console.log(`${String(small.length).padStart(7)} B gzip  ${name}`);
}
console.log(`${String(total).padStart(7)} B in all`);
