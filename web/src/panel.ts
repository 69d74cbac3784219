/** Everything beside the picture: legend with areas, speed, agreement, the names over the picture. */

import type { Answer, Description } from "./description";
import { element } from "./elements";

declare const RUNTIME_VERSION: string;

const share = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;

export class Panel {
  private readonly cells: HTMLTableCellElement[][] = [];
  private readonly times: HTMLElement[] = [];

  constructor(
    private readonly description: Description,
    threads: number,
  ) {
    const { classes, models } = description;
    const several = models.length > 1;
    this.head(several ? models.map((model) => model.name) : ["area"]);
    for (const { name, color } of classes) {
      const row = element("legend-body").appendChild(document.createElement("tr"));
      const title = row.appendChild(document.createElement("th"));
      title.scope = "row";
      const swatch = title.appendChild(document.createElement("span"));
      swatch.className = "swatch";
      swatch.style.setProperty("background-color", `rgb(${color.join(" ")})`);
      title.append(name);
      this.cells.push(models.map(() => row.appendChild(document.createElement("td"))));
    }
    const threading = threads === 1 ? "1 thread" : `${threads} threads`;
    this.fact("Engine", `ONNX Runtime Web ${RUNTIME_VERSION}, WebAssembly with SIMD, ${threading}`);
    for (const model of models) this.times.push(this.fact(model.name, "–"));
    if (several) {
      for (const [place, model] of [["left-name", models[0]], ["right-name", models[1]]] as const) {
        element(place).textContent = model.name;
        element(place).hidden = false;
      }
      element("comparison").hidden = false;
    }
  }

  private head(titles: string[]): void {
    for (const title of ["class", ...titles]) {
      const cell = element("legend-head").appendChild(document.createElement("th"));
      cell.scope = "col";
      cell.textContent = title;
      cell.title = title;
    }
  }

  private fact(name: string, value: string): HTMLElement {
    const list = element("speed");
    list.appendChild(document.createElement("dt")).textContent = name;
    const found = list.appendChild(document.createElement("dd"));
    found.textContent = value;
    return found;
  }

  show(answers: Answer[]): void {
    answers.forEach(({ areas, labels, network, total }, model) => {
      areas.forEach((area, kind) => {
        this.cells[kind][model].textContent = share(area, labels.length);
      });
      const text = `${total.toFixed(0)} ms a picture; of these the network ${network.toFixed(0)} ms`;
      this.times[model].textContent = text;
    });
    if (answers.length < 2) return;
    const [first, second] = answers;
    let equal = 0;
    for (let place = 0; place < first.labels.length; place++) {
      if (first.labels[place] === second.labels[place]) equal++;
    }
    element("agreement").textContent = `The models agree on ${share(equal, first.labels.length)} of the pixels.`;
    element("agreement").hidden = false;
  }

  /** The largest classes, for who cannot see the picture. */
  summary(answers: Answer[]): string {
    const { classes, models } = this.description;
    return answers
      .map(({ areas, labels }, model) => {
        const largest = areas.map((area, kind) => ({ area, kind })).sort((a, b) => b.area - a.area);
        const named = largest.filter(({ area }) => area > 0).slice(0, 5);
        const text = named.map(({ area, kind }) => `${classes[kind].name} ${share(area, labels.length)}`).join(", ");
        return `${models[model].name}: ${text}`;
      })
      .join("; ");
  }
}
