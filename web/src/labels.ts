/** From logits to the best class of every pixel: `effiseg.inference.label_map`. */

import type { Answer, Picture } from "./description";

type Logits = Pick<Answer, "logits" | "shape" | "whole">;

/** Where a pixel lies between two cells of the logits: both, and how far towards the second. */
interface Between {
  first: number;
  second: number;
  weight: number;
}

function between(place: number, cells: number, whole: number): Between {
  const at = Math.max(0, (place + 0.5) * (cells / whole) - 0.5);
  const first = Math.min(Math.floor(at), cells - 1);
  return { first, second: Math.min(first + 1, cells - 1), weight: at - first };
}

/** The class of every pixel of a picture, of equal ones the first: logits enlarged bilinearly by the pixels' centers. */
export function labelMap(found: Logits, picture: Pick<Picture, "width" | "height">): Uint8Array {
  const { logits, whole } = found;
  const [classes, height, width] = found.shape;
  const labels = new Uint8Array(picture.height * picture.width);
  const columns = Array.from({ length: picture.width }, (_, x) => between(x, width, whole[1]));
  const left = Int32Array.from(columns, (column) => column.first * classes);
  const right = Int32Array.from(columns, (column) => column.second * classes);
  const beyond = Float64Array.from(columns, (column) => column.weight);
  const line = new Float32Array(width * classes); // a row between two of the logits', the classes of a cell side by side
  for (let y = 0, place = 0; y < picture.height; y++) {
    const { first, second, weight } = between(y, height, whole[0]);
    for (let kind = 0; kind < classes; kind++) {
      const upper = (kind * height + first) * width;
      const lower = (kind * height + second) * width;
      for (let x = 0; x < width; x++) {
        line[x * classes + kind] = logits[upper + x] + weight * (logits[lower + x] - logits[upper + x]);
      }
    }
    for (let x = 0; x < picture.width; x++) {
      const [near, far, share] = [left[x], right[x], beyond[x]];
      let best = 0;
      let highest = -Infinity;
      for (let kind = 0; kind < classes; kind++) {
        const value = line[near + kind] + share * (line[far + kind] - line[near + kind]);
        if (value > highest) {
          highest = value;
          best = kind;
        }
      }
      labels[place++] = best;
    }
  }
  return labels;
}

/** The probability of every class at one pixel: the softmax of the logits that its label was chosen from. */
export function probabilitiesAt(found: Logits, x: number, y: number): number[] {
  const { logits } = found;
  const [classes, height, width] = found.shape;
  const row = between(y, height, found.whole[0]);
  const column = between(x, width, found.whole[1]);
  const values = Array.from({ length: classes }, (_, kind) => {
    const at = (up: number, across: number): number => logits[(kind * height + up) * width + across];
    const mixed = (across: number): number =>
      at(row.first, across) + row.weight * (at(row.second, across) - at(row.first, across));
    return mixed(column.first) + column.weight * (mixed(column.second) - mixed(column.first));
  });
  const highest = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

export function classAreas(labels: Uint8Array, classes: number): number[] {
  const areas = new Array<number>(classes).fill(0);
  for (const label of labels) areas[label]++;
  return areas;
}
