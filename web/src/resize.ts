/**
 * The resizing of `effiseg.data.transforms.resize_image`: an average over areas where a picture shrinks, bilinear where it
 * grows, both as OpenCV computes them for bytes. The canvas resizes otherwise, and labels would follow it.
 */

import type { Picture } from "./description";
import { clamp, roundHalfEven } from "./rounding";

const CHANNELS = 3;
/** OpenCV's weights of bilinear interpolation are whole numbers of which this is 1. */
const ONE = 2048;

export function resizePicture(picture: Picture, height: number, width: number): Picture {
  if (picture.height === height && picture.width === width) return picture;
  const shrinks = height * width < picture.height * picture.width;
  const scaleX = 1 / (width / picture.width);
  const scaleY = 1 / (height / picture.height);
  if (!shrinks) return interpolated(picture, height, width, centered(scaleX), centered(scaleY));
  if (scaleX < 1 || scaleY < 1) {
    // OpenCV has no areas to average along an axis that grows, and interpolates along both.
    return interpolated(picture, height, width, cornered(scaleX), cornered(scaleY));
  }
  const [wholeX, wholeY] = [roundHalfEven(scaleX), roundHalfEven(scaleY)];
  if (Math.abs(scaleX - wholeX) < Number.EPSILON && Math.abs(scaleY - wholeY) < Number.EPSILON) {
    return blockMeans(picture, height, width, wholeY, wholeX);
  }
  return areaMeans(picture, height, width, scaleY, scaleX);
}

/** Means of blocks of whole pixels. */
function blockMeans(picture: Picture, height: number, width: number, tall: number, wide: number): Picture {
  const rgb = new Uint8Array(height * width * CHANNELS);
  const share = Math.fround(1 / (tall * wide));
  const pair = tall === 2 && wide === 2;
  let place = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < CHANNELS; channel++) {
        let sum = 0;
        for (let row = y * tall; row < (y + 1) * tall; row++) {
          let from = (row * picture.width + x * wide) * CHANNELS + channel;
          for (let step = 0; step < wide; step++, from += CHANNELS) sum += picture.rgb[from];
        }
        rgb[place++] = pair ? (sum + 2) >> 2 : roundHalfEven(Math.fround(sum * share));
      }
    }
  }
  return { width, height, rgb };
}

/** The source pixels that the target's pixels lie over along one axis, and their shares. */
interface Shares {
  /** Where those of each target pixel begin; one entry more than there are pixels. */
  starts: Int32Array;
  from: Int32Array;
  share: Float32Array;
}

function areaShares(source: number, target: number, scale: number): Shares {
  const starts = new Int32Array(target + 1);
  const from: number[] = [];
  const share: number[] = [];
  for (let place = 0; place < target; place++) {
    const left = place * scale;
    const right = left + scale;
    const cell = Math.min(scale, source - left);
    const last = Math.min(Math.floor(right), source - 1);
    const first = Math.min(Math.ceil(left), last);
    if (first - left > 1e-3) {
      from.push(first - 1);
      share.push((first - left) / cell);
    }
    for (let pixel = first; pixel < last; pixel++) {
      from.push(pixel);
      share.push(1 / cell);
    }
    if (right - last > 1e-3) {
      from.push(last);
      share.push(Math.min(Math.min(right - last, 1), cell) / cell);
    }
    starts[place + 1] = from.length;
  }
  return { starts, from: Int32Array.from(from), share: Float32Array.from(share) };
}

function areaMeans(picture: Picture, height: number, width: number, scaleY: number, scaleX: number): Picture {
  const rows = areaShares(picture.height, height, scaleY);
  const columns = areaShares(picture.width, width, scaleX);
  const rgb = new Uint8Array(height * width * CHANNELS);
  const line = new Float32Array(width * CHANNELS);
  const sums = new Float32Array(width * CHANNELS);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let entry = rows.starts[y]; entry < rows.starts[y + 1]; entry++) {
      const start = rows.from[entry] * picture.width;
      line.fill(0);
      for (let x = 0; x < width; x++) {
        for (let part = columns.starts[x]; part < columns.starts[x + 1]; part++) {
          const from = (start + columns.from[part]) * CHANNELS;
          const share = columns.share[part];
          // Float32Array rounds every sum to single precision, as OpenCV's are.
          for (let channel = 0; channel < CHANNELS; channel++) {
            line[x * CHANNELS + channel] += Math.fround(picture.rgb[from + channel] * share);
          }
        }
      }
      const share = rows.share[entry];
      for (let place = 0; place < line.length; place++) sums[place] += Math.fround(line[place] * share);
    }
    for (let place = 0; place < sums.length; place++) {
      rgb[y * width * CHANNELS + place] = clamp(roundHalfEven(sums[place]), 0, 255);
    }
  }
  return { width, height, rgb };
}

/** Where a target pixel lies between two source pixels: the first of them, and how far towards the next, 0..1. */
type Position = (place: number) => [number, number];

/** Positions by the centers of pixels. */
function centered(scale: number): Position {
  return (place) => {
    const at = Math.fround((place + 0.5) * scale - 0.5);
    const first = Math.floor(at);
    return [first, Math.fround(at - first)];
  };
}

/** Positions by the corners of pixels: what OpenCV takes for areas that grow. */
function cornered(scale: number): Position {
  return (place) => {
    const first = Math.floor(place * scale);
    const beyond = Math.fround(place + 1 - (first + 1) / scale);
    return [first, beyond <= 0 ? 0 : Math.fround(beyond - Math.floor(beyond))];
  };
}

function interpolated(picture: Picture, height: number, width: number, atX: Position, atY: Position): Picture {
  const rgb = new Uint8Array(height * width * CHANNELS);
  const most = picture.width - 1;
  const left = new Int32Array(width);
  const right = new Int32Array(width);
  const weight = new Int32Array(width);
  for (let x = 0; x < width; x++) {
    let [first, beyond] = atX(x);
    if (first < 0 || first >= most) [first, beyond] = [clamp(first, 0, most), 0];
    left[x] = first * CHANNELS;
    right[x] = Math.min(first + 1, most) * CHANNELS;
    weight[x] = roundHalfEven(beyond * ONE);
  }
  const wide = (row: number): Int32Array => {
    const line = new Int32Array(width * CHANNELS);
    const start = row * picture.width * CHANNELS;
    for (let x = 0, place = 0; x < width; x++) {
      for (let channel = 0; channel < CHANNELS; channel++) {
        const near = picture.rgb[start + left[x] + channel];
        line[place++] = near * (ONE - weight[x]) + picture.rgb[start + right[x] + channel] * weight[x];
      }
    }
    return line;
  };
  const kept = new Map<number, Int32Array>();
  for (let y = 0; y < height; y++) {
    const [first, beyond] = atY(y);
    const [above, below] = [clamp(first, 0, picture.height - 1), clamp(first + 1, 0, picture.height - 1)];
    for (const row of kept.keys()) if (row !== above && row !== below) kept.delete(row);
    for (const row of [above, below]) if (!kept.has(row)) kept.set(row, wide(row));
    const upper = kept.get(above)!;
    const lower = kept.get(below)!;
    const down = roundHalfEven(beyond * ONE);
    const up = roundHalfEven(Math.fround(1 - beyond) * ONE);
    const start = y * width * CHANNELS;
    for (let place = 0; place < upper.length; place++) {
      const sum = ((up * (upper[place] >> 4)) >> 16) + ((down * (lower[place] >> 4)) >> 16);
      rgb[start + place] = clamp((sum + 2) >> 2, 0, 255);
    }
  }
  return { width, height, rgb };
}
