// Serves dist and a made-up federation: node tools/mock.mjs [port]. Tokens: mock-viewer, mock-operator, mock-admin.
import { join } from "node:path";
import { bundle, root } from "./bundle.mjs";

const port = Number(process.argv[2] ?? 8090);
const [file] = await bundle("mock/server.ts");
const { createMock } = await import(file);
const { server } = createMock(join(root, "dist"));
server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/ with the token mock-operator`));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
