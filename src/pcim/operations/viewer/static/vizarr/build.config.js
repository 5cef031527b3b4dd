// The library entry of vizarr, unchanged, as files with fixed names, and the licences of all that is in them.
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  base: "./",
  publicDir: false,
  define: { "import.meta.vitest": "undefined", "process.env.NODE_ENV": '"production"' },
  build: {
    outDir: "pcim",
    license: { fileName: "LICENSES.md" },
    rolldownOptions: {
      input: { vizarr: "src/index.tsx" },
      preserveEntrySignatures: "strict",
      output: { entryFileNames: "[name].js", chunkFileNames: "[name].js", minifyInternalExports: false },
    },
  },
});
