// Runs the page's own code on pictures: node framing.mjs FOLDER, which holds cases.json and the pictures as raw RGB.
// Writes every framed picture beside it, and prints the shapes.

import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2];
const sources = join(here, "../../web");
const { build } = createRequire(join(sources, "package.json"))("esbuild");
const bundle = join(folder, "framing.bundle.mjs");
await build({ entryPoints: [join(sources, "src/framing.ts")], outfile: bundle, bundle: true, format: "esm" });
const { frame } = await import(pathToFileURL(bundle));

const shapes = [];
for (const { height, width, model, name } of JSON.parse(await readFile(join(folder, "cases.json"), "utf8"))) {
  const rgb = new Uint8Array(await readFile(join(folder, `${name}.rgb`)));
  const { input, whole } = frame({ height, width, rgb }, model, [124, 116, 104]);
  await writeFile(join(folder, `${name}.framed`), input.rgb);
  shapes.push({ input: [input.height, input.width], whole });
}
console.log(JSON.stringify(shapes));
