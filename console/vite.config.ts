import { defineConfig } from "vite";

// Everything is a file of its own origin: the Content-Security-Policy that dwcpd sends allows nothing else.
export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
    emptyOutDir: false,
    reportCompressedSize: false,
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8090", "/api": "http://127.0.0.1:8090" } },
});
