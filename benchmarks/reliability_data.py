"""What the parts of benchmarks/reliability.py work on: small pictures, a model, and places in a scratch folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer

NAMES = ("grey", "red", "blue")
_COLOURS = np.array([[60, 60, 60], [200, 60, 60], [60, 80, 210]], np.uint8)
SMALL = ("--image_size", "32x64", "--batch_size", "4", "--workers", "0", "--device", "cpu", "--init", "scratch")
"""Options of a training that takes seconds."""


@dataclass(frozen=True)
class Place:
    """A scratch folder with a data set and a model in it."""

    folder: Path
    """All of it."""

    @property
    def data(self) -> Path:
        """YAML file of the data set: 12 pictures of train and 4 of val."""
        return self.folder / "data" / "data.yaml"

    @property
    def model(self) -> Path:
        """An untrained network of its classes."""
        return self.folder / "model"

    def new(self, name: str) -> Path:
        """A new empty folder."""
        path = self.folder / name
        path.mkdir(parents=True)
        return path


def prepare(folder: Path) -> Place:
    """Draw the pictures and write the model."""
    place = Place(folder)
    draw_pairs(place.data.parent, {"train": 12, "val": 4})
    torch.manual_seed(0)
    model = SegFormer("b0", len(NAMES))
    model.metadata = ModelMetadata(names=NAMES, image_size=(32, 64))
    save_pretrained(model, place.model)
    return place


def draw_pairs(folder: Path, counts: dict[str, int], different: int = 16) -> None:
    """Pictures of 48x64 pixels with their masks; after the first `different` ones, links to these."""
    generator = np.random.default_rng(0)
    for split, count in counts.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            image, mask = (folder / kind / split / f"{index:06d}.png" for kind in ("images", "labels"))
            if index < different:
                label = generator.integers(0, len(NAMES), (6, 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
                noise = generator.integers(-30, 31, (*label.shape, 3))
                pixels = np.clip(_COLOURS[label] + noise, 0, 255).astype(np.uint8)
                assert cv2.imwrite(str(image), pixels[..., ::-1])
                assert cv2.imwrite(str(mask), label)
            else:
                first = f"{index % different:06d}.png"
                os.link(image.with_name(first), image)
                os.link(mask.with_name(first), mask)
    lines = [f"{split}: images/{split}" for split in counts]
    (folder / "data.yaml").write_text("\n".join([*lines, f"names: [{', '.join(NAMES)}]"]) + "\n")
