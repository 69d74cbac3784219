"""Full-size image and mask pairs that cost as much to decode as those of Cityscapes.

The embedded street scenes are drawn, and their PNGs decode twice as fast as photographs do. Noise as a camera's
sensor and its demosaicing leave it (correlated between neighbours, so that PNG picks the Paeth filter, as it does
for Cityscapes) gives them the size and the decoding time of Cityscapes' files: 2.1 MB, about 50 ms in OpenCV.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from PIL import Image

from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.reading import map_labels
from effiseg.data.transforms import UInt8Array
from effiseg.environment import available_cores
from effiseg.files import atomic_path, write_yaml
from effiseg.scenes.synthetic import draw_scene, scene_rng

SCENES = 4
"""Different scenes; every image has noise of its own and another part of its scene at its left border."""
NOISE = 6.0
BLUR = 1.0


def make_pairs(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Write `images/train/*.png`, `labels/train/*.png` (19 train ids, 255 ignored) and `data.yaml`.

    What is there already is kept.

    Args:
        folder: made if it does not exist; one for each size.
        count: pairs wanted.
        size: (height, width).

    Returns:
        A YAML file that lists exactly the first `count` pairs.
    """
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True, exist_ok=True)
    missing = [index for index in range(count) if not image_path(folder, index).exists()]
    if missing:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(available_cores(), len(missing)), mp_context=spawn) as pool:
            list(pool.map(partial(write_pair, folder, size), missing))
    listed = folder / f"first-{count}.txt"
    listed.write_text("".join(f"images/train/{image_path(folder, i).name}\n" for i in range(count)), encoding="utf-8")
    data = folder / f"data-{count}.yaml"
    write_yaml(data, {"train": listed.name, "names": list(load_dataset_spec("cityscapes", folder).names)})
    return data


def image_path(folder: Path, index: int) -> Path:
    """Where image `index` lies; its mask has the same name under labels."""
    return folder / "images" / "train" / f"{index:06d}.png"


def mask_path(image: Path) -> Path:
    """The mask of an image."""
    return image.parents[2] / "labels" / "train" / image.name


def write_pair(folder: Path, size: tuple[int, int], index: int) -> None:
    """Draw pair `index` and write it, the image last."""
    scene, labels = draw_labelled_scene(folder, index % SCENES, size)
    generator = np.random.default_rng(index)
    offset = int(generator.integers(size[1]))
    noise = generator.standard_normal(scene.shape, dtype=np.float32) * NOISE
    noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), BLUR))
    pixels = np.clip(np.roll(scene, offset, axis=1) + noise, 0, 255).astype(np.uint8)
    image = image_path(folder, index)
    for path, values in ((mask_path(image), np.roll(labels, offset, axis=1)), (image, pixels)):
        with atomic_path(path) as temporary:
            Image.fromarray(values).save(temporary, format="PNG")


@lru_cache(SCENES)
def draw_labelled_scene(folder: Path, index: int, size: tuple[int, int]) -> tuple[UInt8Array, UInt8Array]:
    """A scene (H, W, 3), slightly blurred, and its train ids (H, W)."""
    image, raw = draw_scene(scene_rng(0, "train", index), *size)
    labels, _ = map_labels(raw, load_dataset_spec("cityscapes", folder), "a drawn scene")
    return np.asarray(cv2.GaussianBlur(image, (0, 0), BLUR), dtype=np.uint8), labels


def describe_pairs(folder: Path, count: int) -> dict[str, Any]:
    """How large the first files are, and what decoding one costs on one thread, ms: the median over at most 8."""
    images = [image_path(folder, index) for index in range(min(count, 8))]

    def milliseconds(decode: Callable[[Path], object], paths: list[Path]) -> float:
        samples = []
        for path in paths:
            start = time.perf_counter()
            decode(path)
            samples.append(1000 * (time.perf_counter() - start))
        return median(samples)

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        opencv = milliseconds(lambda path: cv2.imread(str(path)), images)
    finally:
        cv2.setNumThreads(threads)
    return {
        "pairs": count,
        "png_megabytes": sum(path.stat().st_size for path in images) / len(images) / 1e6,
        "decode_image_opencv_ms": opencv,
        "decode_image_pillow_ms": milliseconds(lambda path: np.asarray(Image.open(path).convert("RGB")), images),
        "decode_mask_pillow_ms": milliseconds(
            lambda path: np.asarray(Image.open(path)), [mask_path(path) for path in images]
        ),
    }
