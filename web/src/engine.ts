/** The networks, in a thread of their own. */

import type { Answer, Description, Picture, Reply, Request } from "./description";

interface Waiting {
  resolve: (answers: Answer[]) => void;
  reject: (reason: Error) => void;
}

export class Engine {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private count = 0;

  private constructor() {
    this.worker = new Worker(new URL("worker.js", document.baseURI), { type: "module", name: "networks" });
  }

  /** An engine with all models loaded. */
  static load(
    description: Description,
    threads: number,
    told: (loaded: number, bytes: number) => void,
  ): Promise<Engine> {
    const engine = new Engine();
    return new Promise((resolve, reject) => {
      engine.worker.onerror = (event) => {
        const error = new Error(event.message || "worker.js cannot be run");
        reject(error);
        engine.fail(error);
      };
      engine.worker.onmessage = ({ data }: MessageEvent<Reply>) => {
        if (data.kind === "loading") told(data.loaded, data.bytes);
        else if (data.kind === "ready") resolve(engine);
        else if (data.kind === "failed" && data.number === null) reject(new Error(data.reason));
        else engine.finish(data);
      };
      engine.post({ kind: "load", description, base: document.baseURI, threads });
    });
  }

  /** The answers of all models to a picture, which is copied. */
  run(picture: Picture): Promise<Answer[]> {
    const number = this.count++;
    return new Promise((resolve, reject) => {
      this.waiting.set(number, { resolve, reject });
      this.post({ kind: "run", number, picture });
    });
  }

  /** Nobody waits for a thread that has ended. */
  private fail(error: Error): void {
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  private post(request: Request): void {
    this.worker.postMessage(request);
  }

  private finish(reply: Exclude<Reply, { kind: "loading" | "ready" }>): void {
    const waiting = reply.number === null ? undefined : this.waiting.get(reply.number);
    if (waiting === undefined || reply.number === null) return;
    this.waiting.delete(reply.number);
    if (reply.kind === "answers") waiting.resolve(reply.answers);
    else waiting.reject(new Error(reply.reason));
  }
}
