"""Export a model, then label an image with ONNX Runtime, NumPy and Pillow alone.

    python examples/run_without_torch.py --export runs/own/model own.onnx
    python examples/run_without_torch.py own.onnx picture.jpg --out labelled.png

The first line needs effiseg and torch; the second runs on a machine that has neither. Everything it must know
(classes, colours, input size) lies in the file. Normalization is part of the network.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

PADDING = (124, 116, 104)  # what images are padded with in training and evaluation


def export(model: str, file: str) -> None:
    """Write the model for ONNX Runtime, with label maps as its answer."""
    import effiseg

    report = effiseg.export_model(model, file, output="labels")
    agreement = min(check.label_agreement for check in report.verification.sizes)
    print(f"{report.file}: {report.bytes / 1e6:.1f} MB, {100 * agreement:.3f} % of the labels equal the model's")


def open_model(file: str) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """The network, and what the file says of itself: names, palette, input_size, resize, …"""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    facts = {key.removeprefix("effiseg."): json.loads(value) for key, value in properties.items()}
    if facts["output"] != "labels" or facts["input_size"] is None:
        raise SystemExit(f"{file}: export it for one size, with label maps as its answer (see above)")
    return session, facts


def label(session: onnxruntime.InferenceSession, facts: dict[str, Any], image: Image.Image) -> np.ndarray:
    """(H, W) uint8 class indices of an RGB image, at its own size."""
    height, width = facts["input_size"]
    scale = min(height / image.height, width / image.width)
    size = (width, height)
    if facts["resize"] == "keep_ratio":
        size = (min(width, round(image.width * scale)), min(height, round(image.height * scale)))
    canvas = Image.new("RGB", (width, height), PADDING)
    canvas.paste(image if image.size == size else image.resize(size, Image.Resampling.BOX), (0, 0))
    (labels,) = session.run(None, {"images": np.asarray(canvas)[None]})
    valid = Image.fromarray(labels[0, : size[1], : size[0]])
    return np.asarray(valid.resize(image.size, Image.Resampling.NEAREST))


def main() -> None:
    """Export, or run, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", metavar="MODEL", help="write MODEL to FILE, which then stands alone")
    parser.add_argument("file", metavar="FILE", help="the .onnx file")
    parser.add_argument("image", nargs="?", help="the image to label")
    parser.add_argument("--out", type=Path, help="PNG of class indices in their colours")
    args = parser.parse_args()

    if args.export:
        export(args.export, args.file)
    if args.image:
        session, facts = open_model(args.file)
        labels = label(session, facts, Image.open(args.image).convert("RGB"))
        shares = np.bincount(labels.ravel(), minlength=len(facts["names"])) / labels.size
        for name, share in zip(facts["names"], shares, strict=True):
            print(f"{name}: {100 * share:.1f} %")
        if args.out:
            picture = Image.fromarray(labels)
            if facts["palette"]:
                picture.putpalette([part for colour in facts["palette"] for part in colour])
            picture.save(args.out)


if __name__ == "__main__":
    main()
