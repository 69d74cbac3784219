/** The thread that runs the networks, so that the page stays awake. */

import * as ort from "onnxruntime-web/wasm";

import type { Answer, Description, Model, Picture, Reply, Request } from "./description";
import { frame } from "./framing";
import { classAreas, labelMap } from "./labels";

interface Loaded {
  model: Model;
  session: ort.InferenceSession;
}

let description: Description;
const networks: Loaded[] = [];

function reply(message: Reply, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}

async function load(request: Extract<Request, { kind: "load" }>): Promise<void> {
  description = request.description;
  const runtime = (name: string): URL => new URL(`ort/${name}`, request.base);
  ort.env.wasm.wasmPaths = {
    mjs: runtime("ort-wasm-simd-threaded.mjs"),
    wasm: runtime("ort-wasm-simd-threaded.wasm"),
  };
  ort.env.wasm.numThreads = request.threads;
  ort.env.logLevel = "error";
  const bytes = description.models.reduce((sum, model) => sum + model.bytes, 0);
  let before = 0;
  for (const model of description.models) {
    const data = await fetchAll(new URL(model.file, request.base), model.bytes, (loaded) =>
      reply({ kind: "loading", loaded: before + loaded, bytes }),
    );
    before += model.bytes;
    const session = await ort.InferenceSession.create(data, {
      executionProviders: ["wasm"],
      freeDimensionOverrides: { batch: 1 },
    });
    networks.push({ model, session });
  }
  reply({ kind: "ready" });
}

async function fetchAll(url: URL, bytes: number, told: (loaded: number) => void): Promise<Uint8Array> {
  const response = await fetch(url);
  if (!response.ok || response.body === null) throw new Error(`${url.pathname} cannot be had (${response.status})`);
  const data = new Uint8Array(bytes);
  const reader = response.body.getReader();
  let loaded = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (loaded + value.length > bytes) throw new Error(`${url.pathname} is longer than models.json says`);
    data.set(value, loaded);
    loaded += value.length;
    told(loaded);
  }
  if (loaded !== bytes) throw new Error(`${url.pathname} is shorter than models.json says`);
  return data;
}

async function answer({ model, session }: Loaded, picture: Picture): Promise<Answer> {
  const start = performance.now();
  const { input, whole } = frame(picture, model, description.padding_color);
  const images = new ort.Tensor("uint8", input.rgb, [1, input.height, input.width, 3]);
  const begun = performance.now();
  const output = (await session.run({ images })).logits;
  const network = performance.now() - begun;
  const [, classes, height, width] = output.dims;
  const found = {
    logits: output.data as Float32Array,
    shape: [classes, height, width] as [number, number, number],
    whole,
  };
  const labels = labelMap(found, picture);
  return { ...found, labels, areas: classAreas(labels, classes), network, total: performance.now() - start };
}

async function run({ number, picture }: Extract<Request, { kind: "run" }>): Promise<void> {
  const answers: Answer[] = [];
  for (const network of networks) answers.push(await answer(network, picture));
  const buffers = answers.flatMap((each) => [each.labels.buffer, each.logits.buffer]);
  reply({ kind: "answers", number, answers }, buffers);
}

self.onmessage = ({ data }: MessageEvent<Request>): void => {
  const work = data.kind === "load" ? load(data) : run(data);
  work.catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    reply({ kind: "failed", number: data.kind === "run" ? data.number : null, reason });
  });
};
