/** Pictures out of files and of the camera, as bytes. */

import type { Picture } from "./description";

/** More are refused: canvases of all browsers hold them, and memory does. */
const MOST_PIXELS = 16_000_000;

/** The pixels of a file, upright, its colors as they are stored. */
export async function decodePicture(file: Blob): Promise<Picture> {
  const bitmap = await createImageBitmap(file, {
    colorSpaceConversion: "none",
    premultiplyAlpha: "none",
    imageOrientation: "from-image",
  });
  try {
    return readPixels(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

/** The pixels of what a canvas can draw. */
export function readPixels(source: CanvasImageSource, width: number, height: number): Picture {
  if (width * height > MOST_PIXELS) {
    throw new Error(`a picture has at most ${MOST_PIXELS / 1e6} million pixels; found ${width} × ${height}: reduce it`);
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(source, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = data[from];
    rgb[to + 1] = data[from + 1];
    rgb[to + 2] = data[from + 2];
  }
  return { width, height, rgb };
}
