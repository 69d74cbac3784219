// Builds the page into a folder of the Python package: `make web`.
//
//   node build.mjs [FOLDER]     default ../src/effiseg/web/page
//
// The runtime's two files are copied as they come from the npm package; everything else is bundled into app.js (a classic
// script, so that it also runs where the page is opened as a file, and can say what to do) and worker.js.

import { build } from "esbuild";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "../src/effiseg/web/page"));
const runtime = join(here, "node_modules/onnxruntime-web");
const { version } = JSON.parse(await readFile(join(runtime, "package.json"), "utf8"));

await rm(out, { recursive: true, force: true });
await mkdir(join(out, "ort"), { recursive: true });
const common = {
  bundle: true,
  minify: true,
  target: "es2022",
  legalComments: "inline",
  conditions: ["onnxruntime-web-use-extern-wasm"],
  define: { RUNTIME_VERSION: JSON.stringify(version) },
  logLevel: "warning",
};
await build({ ...common, entryPoints: [join(here, "src/app.ts")], outfile: join(out, "app.js"), format: "iife" });
await build({ ...common, entryPoints: [join(here, "src/worker.ts")], outfile: join(out, "worker.js"), format: "esm" });
for (const name of ["ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]) {
  await cp(join(runtime, "dist", name), join(out, "ort", name));
}
for (const name of ["LICENSE", "ThirdPartyNotices.txt"]) {
  await cp(join(here, "licenses/onnxruntime", name), join(out, "ort", name));
}
for (const name of ["index.html", "style.css"]) await cp(join(here, "src", name), join(out, name));
await writeFile(join(out, "ort/VERSION"), `onnxruntime-web ${version}\n`);
