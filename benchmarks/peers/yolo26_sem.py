"""YOLO26n-sem by its own package, for `benchmarks/peer.py`: trained, exported, and applied to pictures.

It runs in an environment of its own, knows nothing of effiseg and writes files alone. On a machine without a GPU:

    python -m venv /tmp/peer
    /tmp/peer/bin/pip install -c constraints.txt torch numpy openvino onnx onnxscript opencv-python-headless pillow \
        pyyaml requests scipy psutil polars matplotlib ultralytics-thop
    /tmp/peer/bin/pip install --no-deps torchvision==0.28.0 ultralytics==8.4.190
    /tmp/peer/bin/python benchmarks/peers/yolo26_sem.py train --data DIR/data.yaml --out DIR/run --recipe tuned

The package is under the AGPL-3.0; it is a measured peer, never a dependency, and nothing of it is copied here.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_OFFLINE", "1")
os.environ.setdefault("YOLO_AUTOINSTALL", "0")

import numpy as np
import torch
from PIL import Image

# torchvision's binary does not fit a CPU build of torch; without its operators declared it cannot even be imported.
_OPERATORS = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    # Its default accumulates to a nominal batch of 64, about six updates an epoch on a few hundred pictures.
    "tuned": {"nbs": 4, "optimizer": "AdamW", "lr0": 6e-4, "mosaic": 0.0},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, export, or predict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="from random weights; prints its seconds")
    training.add_argument("--data", required=True, help="its YAML file, with masks_dir")
    training.add_argument("--imgsz", type=int, default=192)
    training.add_argument("--epochs", type=int, default=12)
    training.add_argument("--batch", type=int, default=4)
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--recipe", choices=RECIPES, default="tuned")
    training.add_argument("--out", type=Path, required=True)
    exporting = commands.add_parser("export", help="an OpenVINO and an ONNX file, logits at an eighth or labels")
    exporting.add_argument("--weights", default="yolo26n-sem.yaml", help="a .pt file; default: random weights")
    exporting.add_argument("--size", default="512x1024")
    exporting.add_argument("--output", choices=("logits", "labels"), default="logits")
    exporting.add_argument("--out", type=Path, required=True, help="the file's name without its suffix")
    predicting = commands.add_parser("predict", help="label PNGs at the pictures' own size")
    predicting.add_argument("--weights", required=True)
    predicting.add_argument("--imgsz", type=int, default=192)
    predicting.add_argument("--images", required=True)
    predicting.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    {"train": train, "export": export, "predict": predict}[options.command](options)


def train(options: argparse.Namespace) -> None:
    """Train as the package does, with the recipe's settings over its defaults."""
    from ultralytics import YOLO  # type: ignore[import-not-found]

    start = time.perf_counter()
    YOLO("yolo26n-sem.yaml").train(
        data=options.data, imgsz=options.imgsz, epochs=options.epochs, batch=options.batch, seed=options.seed,
        device="cpu", workers=1, plots=False, project=str(options.out.resolve().parent), name=options.out.name,
        exist_ok=True, **RECIPES[options.recipe],
    )  # fmt: skip
    print(f"seconds {time.perf_counter() - start:.1f}")


class _Labels(torch.nn.Module):
    """Labels at the input's size, from logits at an eighth of it."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.nn.functional.interpolate(
            self.network(images), images.shape[2:], mode="bilinear", align_corners=False
        )
        return logits.argmax(1).to(torch.uint8)


def export(options: argparse.Namespace) -> None:
    """Convert the fused network, images already normalized to 0..1."""
    import openvino
    from ultralytics import YOLO

    network = YOLO(options.weights).model.float().eval()
    network.fuse()
    whole: torch.nn.Module = _Labels(network) if options.output == "labels" else network
    height, width = map(int, options.size.split("x"))
    images = torch.zeros(1, 3, height, width)
    with torch.inference_mode():
        print(f"{sum(value.numel() for value in network.parameters())} parameters, {tuple(whole(images).shape)}")
    converted = openvino.convert_model(whole, example_input=images, input=[tuple(images.shape)])
    openvino.save_model(converted, options.out.with_suffix(".xml"), compress_to_fp16=False)
    torch.onnx.export(whole, (images,), options.out.with_suffix(".onnx"), dynamo=True, external_data=False)


def predict(options: argparse.Namespace) -> None:
    """Write the package's own class maps."""
    from ultralytics import YOLO

    options.out.mkdir(parents=True, exist_ok=True)
    for found in YOLO(options.weights).predict(options.images, imgsz=options.imgsz, stream=True, verbose=False):
        mask = found.semantic_mask
        labels = np.asarray(getattr(mask, "data", mask).cpu()).astype(np.uint8).squeeze()
        Image.fromarray(labels).save(options.out / f"{Path(found.path).stem}.png")


if __name__ == "__main__":
    main()
