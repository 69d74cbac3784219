/** What `effiseg export --format web` says of a page's models, `models.json`. */

export type Resize = "keep_ratio" | "fixed" | "nearest" | "lanczos" | "bilinear" | "bicubic" | "box" | "hamming";

export interface Model {
  /** Its name on the page. */
  name: string;
  /** Its .onnx file beside the page. */
  file: string;
  bytes: number;
  /** (height, width) that pictures are brought to. */
  image_size: [number, number];
  resize: Resize;
  /** Pixels of the network's input, along one axis, that one logit stands for. */
  output_stride: number;
  /** Smallest side of the network's input. */
  least_side: number;
}

export interface Description {
  effiseg: string;
  classes: { name: string; color: [number, number, number] }[];
  models: Model[];
  /** A drawn picture beside the page. */
  scene: string;
  padding_color: [number, number, number];
}

/** A picture without alpha: width * height * 3 bytes, RGB, row by row. */
export interface Picture {
  width: number;
  height: number;
  rgb: Uint8Array;
}

/** A model's answer to a picture. */
export interface Answer {
  /** Class of every pixel, row by row. */
  labels: Uint8Array;
  /** Pixels of every class. */
  areas: number[];
  /** (classes, height, width), row by row, as the network gave them. */
  logits: Float32Array;
  shape: [number, number, number];
  /** (height, width) that all of the logits stand for: the picture's and that of the padding beside it. */
  whole: [number, number];
  /** Milliseconds of the network alone, and with resizing and labels. */
  network: number;
  total: number;
}

export type Request =
  | { kind: "load"; description: Description; base: string; threads: number }
  | { kind: "run"; number: number; picture: Picture };

export type Reply =
  | { kind: "loading"; loaded: number; bytes: number }
  | { kind: "ready" }
  | { kind: "answers"; number: number; answers: Answer[] }
  | { kind: "failed"; number: number | null; reason: string };
