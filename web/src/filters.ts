/**
 * Pillow's resizing by its filters, which models of transformers ask for: one pass along rows, one along columns, bytes
 * between them, weights as whole numbers of which 2^22 is 1. Pillow 13 takes columns first for some shapes, and bytes
 * then differ by 1 here and there.
 */

import type { Picture, Resize } from "./description";
import { clamp } from "./rounding";

const CHANNELS = 3;
const ONE = 2 ** 22;

interface Filter {
  support: number;
  weight: (distance: number) => number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

const FILTERS: Partial<Record<Resize, Filter>> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    weight: (x) => (Math.abs(x) >= 1 ? 0 : sinc(Math.abs(x)) * (0.54 + 0.46 * Math.cos(Math.PI * x))),
  },
  bicubic: {
    support: 2,
    weight: (signed) => {
      const x = Math.abs(signed);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

export function filterPicture(picture: Picture, height: number, width: number, name: Resize): Picture {
  const filter = FILTERS[name];
  if (filter === undefined) return nearest(picture, height, width);
  const wide = picture.width === width ? picture : alongRows(picture, width, filter);
  return wide.height === height ? wide : alongColumns(wide, height, filter);
}

interface Taps {
  first: number;
  weights: number[];
}

function taps(source: number, target: number, filter: Filter): Taps[] {
  const scale = source / target;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  return Array.from({ length: target }, (_, place) => {
    const center = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(source, Math.trunc(center + support + 0.5));
    const weights: number[] = [];
    for (let at = first; at < end; at++) weights.push(filter.weight((at - center + 0.5) / stretch));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return {
      first,
      weights: weights.map((weight) => {
        const share = (sum === 0 ? weight : weight / sum) * ONE;
        return Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
      }),
    };
  });
}

function byte(sum: number): number {
  return clamp(Math.floor((sum + ONE / 2) / ONE), 0, 255);
}

function alongRows(picture: Picture, width: number, filter: Filter): Picture {
  const { height, rgb } = picture;
  const columns = taps(picture.width, width, filter);
  const result = new Uint8Array(height * width * CHANNELS);
  let place = 0;
  for (let y = 0; y < height; y++) {
    for (const { first, weights } of columns) {
      for (let channel = 0; channel < CHANNELS; channel++) {
        let from = (y * picture.width + first) * CHANNELS + channel;
        let sum = 0;
        for (let tap = 0; tap < weights.length; tap++, from += CHANNELS) sum += rgb[from] * weights[tap];
        result[place++] = byte(sum);
      }
    }
  }
  return { width, height, rgb: result };
}

function alongColumns(picture: Picture, height: number, filter: Filter): Picture {
  const { width, rgb } = picture;
  const line = width * CHANNELS;
  const result = new Uint8Array(height * line);
  taps(picture.height, height, filter).forEach(({ first, weights }, y) => {
    for (let at = 0; at < line; at++) {
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap++) sum += rgb[(first + tap) * line + at] * weights[tap];
      result[y * line + at] = byte(sum);
    }
  });
  return { width, height, rgb: result };
}

function nearest(picture: Picture, height: number, width: number): Picture {
  const rgb = new Uint8Array(height * width * CHANNELS);
  const [down, right] = [picture.height / height, picture.width / width];
  for (let y = 0, place = 0; y < height; y++) {
    const start = Math.trunc((y + 0.5) * down) * picture.width;
    for (let x = 0; x < width; x++) {
      const from = (start + Math.trunc((x + 0.5) * right)) * CHANNELS;
      for (let channel = 0; channel < CHANNELS; channel++) rgb[place++] = picture.rgb[from + channel];
    }
  }
  return { width, height, rgb };
}
