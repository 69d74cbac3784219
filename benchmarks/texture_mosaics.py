"""Mosaics of six textures of scikit-image's sample photographs: a small labelled data set that is no street.

    pip download --no-deps scikit-image && unzip scikit_image-*.whl 'skimage/data/*'
    python benchmarks/texture_mosaics.py skimage/data mosaics
    effiseg train --data mosaics/mosaics.yaml --image_size 128x128 --batch_size 4 --epochs 30 --out runs/mosaics

The pictures are photographs of bricks, grass, gravel, coins, tissue under a microscope and stars; the wheel holds them
with their licences. Train takes its pieces from the left half of every photograph, val from the right half. The class
of a cell is the photograph that it is cut from; brightness and turns of 90 degrees are drawn for each cell, and color
is taken away.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

PHOTOGRAPHS = {
    "brick": "brick.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "coins": "coins.png",
    "tissue": "ihc.png",
    "stars": "hubble_deep_field.jpg",
}
SIDE = 128
COUNTS = {"train": 60, "val": 60}


def main(arguments: list[str]) -> None:
    """Write the data set of a folder of photographs into another folder."""
    source, target = map(Path, arguments)
    photographs = [cv2.imread(str(source / name), cv2.IMREAD_GRAYSCALE) for name in PHOTOGRAPHS.values()]
    if any(photograph is None for photograph in photographs):
        raise SystemExit(f"{source}: must hold {', '.join(PHOTOGRAPHS.values())}")
    for split, count in COUNTS.items():
        rng = np.random.default_rng([7, split == "val"])
        for index in range(count):
            image, label = mosaic([half(photograph, split) for photograph in photographs], rng)
            for kind, pixels in (("images", image), ("labels", label)):
                path = target / kind / split / f"{index:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)
    names = ", ".join(PHOTOGRAPHS)
    (target / "mosaics.yaml").write_text(f"train: images/train\nval: images/val\nnames: [{names}]\n", encoding="utf-8")


def half(photograph: Any, split: str) -> NDArray[np.uint8]:
    """The part of a photograph that a split is cut from."""
    middle = photograph.shape[1] // 2
    return np.asarray(photograph[:, :middle] if split == "train" else photograph[:, middle:], np.uint8)


def mosaic(
    photographs: list[NDArray[np.uint8]], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two to six cells around scattered points, each of one photograph: image and label, (SIDE, SIDE) uint8."""
    points = rng.uniform(0, SIDE, (int(rng.integers(2, 7)), 2))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    cells = np.argmin([np.hypot(rows - y, columns - x) for y, x in points], axis=0)
    image, label = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    for cell in range(len(points)):
        chosen = int(rng.integers(len(photographs)))
        piece = np.rot90(_piece(photographs[chosen], rng), int(rng.integers(4)))
        lit = np.clip(piece * rng.uniform(0.6, 1.2) + rng.uniform(-20, 20), 0, 255).astype(np.uint8)
        image[cells == cell], label[cells == cell] = lit[cells == cell], chosen
    return image, label


def _piece(photograph: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square of SIDE pixels, cut anywhere at a random scale."""
    side = int(rng.integers(SIDE // 2, min(photograph.shape) + 1))
    row, column = (int(rng.integers(0, length - side + 1)) for length in photograph.shape)
    square = photograph[row : row + side, column : column + side]
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == "__main__":
    main(sys.argv[1:])
