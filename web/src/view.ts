/** The picture with the classes laid over it: one model's, or two at the sides of a divider. */

import type { Answer, Description, Picture } from "./description";
import { clamp, roundHalfEven } from "./rounding";

export interface Shown {
  picture: Picture;
  answers: Answer[];
}

export class View {
  /** 0 shows the picture, 1 the colors. */
  opacity = 0.5;
  /** Where the second model begins, 0..1 of the width. */
  divider = 0.5;
  /** The pixel that is read out by the keyboard. */
  cursor: { x: number; y: number } | null = null;
  shown: Shown | null = null;
  private readonly context: CanvasRenderingContext2D;
  private photo: OffscreenCanvas | null = null;
  private layers: OffscreenCanvas[] = [];

  constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly classes: Description["classes"],
  ) {
    this.context = canvas.getContext("2d")!;
  }

  show(shown: Shown): void {
    const { picture, answers } = shown;
    this.shown = shown;
    this.photo = painted(picture, (place) => [
      picture.rgb[place * 3],
      picture.rgb[place * 3 + 1],
      picture.rgb[place * 3 + 2],
    ]);
    this.layers = answers.map(({ labels }) => painted(picture, (place) => this.classes[labels[place]].color));
    if (this.canvas.width !== picture.width || this.canvas.height !== picture.height) {
      this.canvas.width = picture.width;
      this.canvas.height = picture.height;
      this.cursor = null;
    }
    this.draw();
  }

  draw(): void {
    if (this.photo === null) return;
    const { context, canvas } = this;
    const edge = this.layers.length > 1 ? Math.round(this.divider * canvas.width) : canvas.width;
    context.globalAlpha = 1;
    context.drawImage(this.photo, 0, 0);
    context.globalAlpha = this.opacity;
    this.layers.forEach((layer, index) => {
      const [left, width] = index === 0 ? [0, edge] : [edge, canvas.width - edge];
      if (width > 0) context.drawImage(layer, left, 0, width, canvas.height, left, 0, width, canvas.height);
    });
    context.globalAlpha = 1;
    const thick = Math.max(1, canvas.width / 400);
    if (this.layers.length > 1) this.lines([[edge, 0, edge, canvas.height]], thick);
    if (this.cursor !== null) {
      const [x, y, arm] = [this.cursor.x + 0.5, this.cursor.y + 0.5, thick * 8];
      this.lines([[x - arm, y, x + arm, y], [x, y - arm, x, y + arm]], thick);
    }
  }

  /** The pixel under a pointer. */
  pixelAt(event: { clientX: number; clientY: number }): { x: number; y: number } {
    const { canvas } = this;
    const box = canvas.getBoundingClientRect();
    // The picture lies in the middle of the element where that is wider than the picture's own shape.
    const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
    const left = box.left + (box.width - canvas.width * scale) / 2;
    const top = box.top + (box.height - canvas.height * scale) / 2;
    return {
      x: clamp(Math.floor((event.clientX - left) / scale), 0, canvas.width - 1),
      y: clamp(Math.floor((event.clientY - top) / scale), 0, canvas.height - 1),
    };
  }

  /** White lines with a dark rim, seen on any picture. */
  private lines(segments: [number, number, number, number][], thick: number): void {
    for (const [color, width] of [["#000", thick * 2.5], ["#fff", thick]] as const) {
      this.context.strokeStyle = color;
      this.context.lineWidth = width;
      this.context.beginPath();
      for (const [fromX, fromY, toX, toY] of segments) {
        this.context.moveTo(fromX, fromY);
        this.context.lineTo(toX, toY);
      }
      this.context.stroke();
    }
  }
}

function painted(
  { width, height }: Picture,
  colorOf: (place: number) => readonly [number, number, number],
): OffscreenCanvas {
  const data = new ImageData(width, height);
  for (let place = 0, to = 0; to < data.data.length; place++, to += 4) {
    const [red, green, blue] = colorOf(place);
    data.data[to] = red;
    data.data[to + 1] = green;
    data.data[to + 2] = blue;
    data.data[to + 3] = 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.putImageData(data, 0, 0);
  return canvas;
}

/** The picture with the colors laid over it as `effiseg predict` mixes them, RGB bytes. */
export function mixed(
  picture: Picture,
  labels: Uint8Array,
  classes: Description["classes"],
  opacity: number,
): Uint8Array {
  const remaining = Math.fround(1 - opacity);
  const rgb = new Uint8Array(picture.rgb.length);
  for (let place = 0; place < labels.length; place++) {
    const { color } = classes[labels[place]];
    for (let channel = 0; channel < 3; channel++) {
      const at = place * 3 + channel;
      rgb[at] = roundHalfEven(
        Math.fround(Math.fround(picture.rgb[at] * remaining) + Math.fround(color[channel] * Math.fround(opacity))),
      );
    }
  }
  return rgb;
}
