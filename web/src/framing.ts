/** How a picture meets a network: `effiseg.inference.framed_network`, for pictures in one piece. */

import type { Model, Picture } from "./description";
import { filterPicture } from "./filters";
import { resizePicture } from "./resize";
import { roundHalfEven } from "./rounding";

/** Inputs are padded to multiples of it. */
const MULTIPLE = 32;

export interface Frame {
  /** What the network reads: resized, and padded at the right and the bottom. */
  input: Picture;
  /** (height, width) of the input that stands for the picture and its padding at the picture's own scale. */
  whole: [number, number];
}

/** (height, width) that a picture is brought to: the largest that fits, or exactly the model's. */
export function resizedShape(picture: Picture, model: Pick<Model, "image_size" | "resize">): [number, number] {
  const [height, width] = model.image_size;
  if (model.resize !== "keep_ratio") return [height, width];
  const scale = Math.min(height / picture.height, width / picture.width);
  const side = (own: number, most: number): number => Math.max(1, Math.min(most, roundHalfEven(own * scale)));
  return [side(picture.height, height), side(picture.width, width)];
}

export function frame(picture: Picture, model: Model, paddingColor: readonly number[]): Frame {
  const [height, width] = resizedShape(picture, model);
  const padded = model.resize === "keep_ratio" || model.resize === "fixed";
  const resized = padded
    ? resizePicture(picture, height, width)
    : filterPicture(picture, height, width, model.resize);
  const side = (own: number): number =>
    Math.max(model.least_side, padded ? Math.ceil(own / MULTIPLE) * MULTIPLE : own);
  const input = pad(resized, side(height), side(width), paddingColor);
  const whole: [number, number] = [
    roundHalfEven((input.height * picture.height) / height),
    roundHalfEven((input.width * picture.width) / width),
  ];
  return { input, whole };
}

function pad(picture: Picture, height: number, width: number, color: readonly number[]): Picture {
  if (picture.height === height && picture.width === width) return picture;
  const rgb = new Uint8Array(height * width * 3);
  for (let place = 0; place < rgb.length; place++) rgb[place] = color[place % 3];
  for (let y = 0; y < picture.height; y++) {
    rgb.set(picture.rgb.subarray(y * picture.width * 3, (y + 1) * picture.width * 3), y * width * 3);
  }
  return { width, height, rgb };
}
