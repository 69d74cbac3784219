/** The page: where pictures come from, and what is shown of the answers. */

import { Camera } from "./camera";
import type { Description, Picture } from "./description";
import { element } from "./elements";
import { Engine } from "./engine";
import { probabilitiesAt } from "./labels";
import { Panel } from "./panel";
import { decodePicture } from "./pictures";
import { encodePng } from "./png";
import { clamp } from "./rounding";
import { mixed, View } from "./view";

/** More threads of the runtime than this gain little, and the page needs one for itself. */
const MOST_THREADS = 4;
const STEP = 1;
const LARGE_STEP = 20;

function notice(text: string): void {
  element("notice").textContent = text;
  element("notice").hidden = text === "";
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

class Page {
  private readonly view: View;
  private readonly panel: Panel;
  private camera: Camera | null = null;
  /** Changes with every choice of a picture, so that an answer to an earlier one is not shown. */
  private turn = 0;
  /** What downloads are called after. */
  private name = "picture";

  constructor(
    private readonly description: Description,
    private readonly engine: Engine,
    threads: number,
  ) {
    this.view = new View(element<HTMLCanvasElement>("canvas"), description.classes);
    this.panel = new Panel(description, threads);
    this.wireSources();
    this.wireSliders();
    this.wirePointing();
    this.addDownloads();
  }

  /** The drawn picture that came with the page. */
  async showScene(): Promise<void> {
    this.mark(null);
    await this.showFrom("scene", async () => {
      const response = await fetch(this.description.scene);
      if (!response.ok) throw new Error(`cannot be had (${response.status})`);
      return decodePicture(await response.blob());
    });
  }

  private async showFrom(name: string, read: () => Promise<Picture>): Promise<void> {
    this.closeCamera();
    const turn = ++this.turn;
    notice("");
    element("status").textContent = `Labeling ${name}`;
    try {
      await this.label(await read(), name, turn);
    } catch (error) {
      if (turn !== this.turn) return;
      this.mark(null);
      element("status").textContent = "";
      notice(`${name}: ${reasonOf(error)}`);
    }
  }

  private async label(picture: Picture, name: string, turn: number): Promise<void> {
    const answers = await this.engine.run(picture);
    if (turn !== this.turn) return;
    this.name = name.replace(/\.[^.]*$/, "");
    this.view.show({ picture, answers });
    this.panel.show(answers);
    const summary = this.panel.summary(answers);
    element("canvas").setAttribute("aria-label", `${name}, labeled. ${summary}`);
    if (this.camera === null) element("status").textContent = `${name} is labeled. ${summary}`;
    for (const button of element("downloads").querySelectorAll("button")) button.disabled = false;
    document.body.dataset.answered = String(Number(document.body.dataset.answered ?? 0) + 1);
  }

  private wireSources(): void {
    element("scene").onclick = () => void this.showScene();
    const input = element<HTMLInputElement>("files");
    input.onchange = () => {
      this.take([...(input.files ?? [])]);
      input.value = "";
    };
    const stage = element("stage");
    document.ondragover = (event) => {
      event.preventDefault();
      stage.classList.add("over");
    };
    document.ondragleave = (event) => {
      if (event.relatedTarget === null) stage.classList.remove("over");
    };
    document.ondrop = (event) => {
      event.preventDefault();
      stage.classList.remove("over");
      this.take([...(event.dataTransfer?.files ?? [])]);
    };
    const button = element<HTMLButtonElement>("camera");
    const missing = Camera.missing();
    button.disabled = missing !== "";
    button.title = missing;
    button.onclick = () => void (this.camera === null ? this.openCamera() : this.closeCamera());
  }

  /** List the pictures that were chosen or dropped, and label the first. */
  private take(files: File[]): void {
    const list = element("pictures");
    const buttons = files.map((file) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = file.name;
      button.title = file.name;
      button.onclick = () => {
        this.mark(button);
        void this.showFrom(file.name, () => readFile(file));
      };
      list.appendChild(document.createElement("li")).append(button);
      return button;
    });
    list.hidden = list.childElementCount === 0;
    buttons[0]?.click();
  }

  /** Mark the picture of the list that is shown; none where another source is. */
  private mark(chosen: HTMLButtonElement | null): void {
    for (const button of element("pictures").querySelectorAll("button")) button.ariaCurrent = String(button === chosen);
  }

  private async openCamera(): Promise<void> {
    const turn = ++this.turn;
    this.mark(null);
    notice("");
    try {
      const camera = await Camera.open();
      if (turn !== this.turn) return camera.close();
      this.camera = camera;
      element("camera").ariaPressed = "true";
      element("status").textContent = "The camera is on";
      while (this.camera === camera && !camera.ended) await this.label(camera.frame(), "camera", turn);
      if (this.camera === camera) this.closeCamera();
    } catch (error) {
      if (turn !== this.turn) return;
      this.closeCamera();
      notice(`The camera cannot be used: ${reasonOf(error)}`);
    }
  }

  private closeCamera(): void {
    if (this.camera === null) return;
    this.camera.close();
    this.camera = null;
    element("camera").ariaPressed = "false";
    element("status").textContent = "The camera is off";
  }

  private wireSliders(): void {
    for (const name of ["opacity", "divider"] as const) {
      const input = element<HTMLInputElement>(name);
      input.oninput = () => {
        this.view[name] = Number(input.value) / 100;
        element(`${name}-value`).textContent = `${input.value} %`;
        this.view.draw();
      };
    }
  }

  private wirePointing(): void {
    const { canvas } = this.view;
    const readout = element("readout");
    const drag = (event: PointerEvent): void => {
      if (event.buttons === 0 || this.description.models.length < 2) return;
      const input = element<HTMLInputElement>("divider");
      input.value = String(Math.round((100 * this.view.pixelAt(event).x) / canvas.width));
      input.dispatchEvent(new Event("input"));
    };
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      drag(event);
    };
    canvas.onpointermove = (event) => {
      drag(event);
      readout.ariaLive = "off"; // a pointer passes hundreds of pixels
      readout.textContent = this.classesAt(this.view.pixelAt(event));
    };
    canvas.onkeydown = (event) => {
      const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[
        event.key
      ] ?? [0, 0];
      if ((right === 0 && down === 0) || this.view.shown === null) return;
      event.preventDefault();
      const step = event.shiftKey ? LARGE_STEP : STEP;
      const at = this.view.cursor ?? { x: canvas.width >> 1, y: canvas.height >> 1 };
      this.view.cursor = {
        x: clamp(at.x + right * step, 0, canvas.width - 1),
        y: clamp(at.y + down * step, 0, canvas.height - 1),
      };
      this.view.draw();
      readout.ariaLive = "polite";
      readout.textContent = this.classesAt(this.view.cursor);
    };
    canvas.onblur = () => {
      this.view.cursor = null;
      this.view.draw();
    };
  }

  /** What every model says of a pixel, and how sure it is. */
  private classesAt({ x, y }: { x: number; y: number }): string {
    if (this.view.shown === null) return "";
    const { picture, answers } = this.view.shown;
    const { classes, models } = this.description;
    const found = answers.map((answer, model) => {
      const label = answer.labels[y * picture.width + x];
      const sure = (100 * probabilitiesAt(answer, x, y)[label]).toFixed(0);
      const text = `${classes[label].name}, ${sure} % sure`;
      return models.length > 1 ? `${models[model].name}: ${text}` : text;
    });
    return `x ${x}, y ${y}: ${found.join("; ")}`;
  }

  private addDownloads(): void {
    const { models, classes } = this.description;
    const add = (title: string, kind: string, model: number, write: () => Promise<Blob>): void => {
      const button = element("downloads").appendChild(document.createElement("button"));
      const ending = models.length > 1 ? `-${models[model].name.replace(/[^\w.-]+/g, "_")}` : "";
      button.type = "button";
      button.disabled = true;
      button.textContent = models.length > 1 ? `${title} of ${models[model].name}` : title;
      button.onclick = () => void write().then((file) => save(file, `${this.name}${ending}-${kind}.png`));
    };
    models.forEach((_, model) => {
      add("Label PNG", "labels", model, () => {
        const { picture, answers } = this.view.shown!;
        return encodePng(answers[model].labels, picture.width, picture.height, 1);
      });
      add("Overlay", "overlay", model, () => {
        const { picture, answers } = this.view.shown!;
        const rgb = mixed(picture, answers[model].labels, classes, this.view.opacity);
        return encodePng(rgb, picture.width, picture.height, 3);
      });
    });
  }
}

async function readFile(file: File): Promise<Picture> {
  try {
    return await decodePicture(file);
  } catch (error) {
    if (error instanceof DOMException) throw new Error("is no picture that this browser can read");
    throw error;
  }
}

function save(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function start(): Promise<void> {
  const loading = element("loading");
  try {
    const response = await fetch("models.json", { cache: "no-cache" });
    if (!response.ok) throw new Error(`models.json cannot be had (${response.status})`);
    const description = (await response.json()) as Description;
    const names = description.models.map((model) => model.name).join(" and ");
    element("title").textContent = names;
    element("version").textContent = description.effiseg;
    document.title = `${names} – effiseg`;
    const threads = window.crossOriginIsolated ? clamp(navigator.hardwareConcurrency, 1, MOST_THREADS) : 1;
    loading.hidden = false;
    const engine = await Engine.load(description, threads, (loaded, bytes) => {
      element<HTMLProgressElement>("progress").value = loaded / bytes;
      const text = `Loading the models: ${(loaded / 1e6).toFixed(1)} of ${(bytes / 1e6).toFixed(1)} MB`;
      element("loading-text").textContent = text;
    });
    element("work").hidden = false;
    await new Page(description, engine, threads).showScene();
  } catch (error) {
    notice(`The models cannot be run here: ${reasonOf(error)}`);
  } finally {
    loading.hidden = true;
  }
}

if (location.protocol === "file:") {
  notice(
    "Browsers run no models out of files. Serve this folder instead, for example with " +
      "“python -m http.server --directory FOLDER”, and open http://localhost:8000 – or put it on any web server.",
  );
} else void start();
