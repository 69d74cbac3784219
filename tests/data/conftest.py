from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
Maker = Callable[..., Path]


@pytest.fixture
def make_dataset(tmp_path: Path) -> Maker:
    """Writes images/SPLIT/NAME.png, labels/SPLIT/NAME.png and data.yaml; returns the YAML's path."""

    def make(
        sizes: tuple[tuple[int, int], ...] = ((40, 60),) * 6,
        classes: int = 3,
        splits: tuple[str, ...] = ("train", "val"),
        **changes: Any,
    ) -> Path:
        generator = np.random.default_rng(0)
        for split in splits:
            for number, (height, width) in enumerate(sizes):
                save(tmp_path / "images" / split / f"{number:03d}.png", noise(generator, height, width))
                labels = generator.integers(0, classes, (height, width), dtype=np.uint8)
                labels[:2] = 255
                save(tmp_path / "labels" / split / f"{number:03d}.png", labels)
        values: dict[str, Any] = {split: f"images/{split}" for split in splits}
        values["names"] = [f"class {index}" for index in range(classes)]
        values |= changes
        return write_yaml(tmp_path / "data.yaml", {k: v for k, v in values.items() if v is not ...})

    return make


def noise(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, values: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def write_yaml(path: Path, values: Any) -> Path:
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture
def cityscapes_samples() -> Path:
    folder = SHARED / "cityscapes_samples"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: Cityscapes may not be shipped")
    return folder


@pytest.fixture
def camvid() -> Path:
    folder = SHARED / "camvid"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: CamVid may not be shipped")
    return folder
