// Empties dist but for its .gitignore: the folder itself stays, so that cargo can watch it.
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

const dist = new URL("../dist", import.meta.url).pathname;
for (const name of readdirSync(dist)) {
  if (name !== ".gitignore") rmSync(join(dist, name), { recursive: true });
}
