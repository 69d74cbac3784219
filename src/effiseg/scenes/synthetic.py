"""The embedded street scenes on disk: image and label pairs in the official Cityscapes layout.

Scene `i` of a split with seed `n` is a function of (n, split, i) and the size alone, so scenes can be drawn
in any order, and a folder that was cut short is completed by drawing what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from effiseg.config.model import LARGEST_STRIDE
from effiseg.errors import DataError, EffisegError
from effiseg.files import make_folder, read_json, write_json, writing
from effiseg.scenes.street.scene import draw_scene

__all__ = ["MANIFEST", "SPLITS", "draw_scene", "scene_paths", "scene_rng", "synthesize"]

SPLITS: Final = ("train", "val", "test")
MANIFEST: Final = "synthetic.json"

# Raised whenever the same seed draws other pixels, so that one folder never mixes two generators.
_VERSION: Final = 1
_CITY: Final = "synthetic"


def scene_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """The generator that draws scene `index` of `split`."""
    return np.random.default_rng([seed, SPLITS.index(split), index])


def scene_paths(folder: str | os.PathLike[str], split: str, index: int) -> tuple[Path, Path]:
    """Where scene `index` of `split` lies: its image and its label."""
    name = f"{_CITY}_{index:06d}_000019"
    root = Path(folder)
    image = root / "leftImg8bit" / split / _CITY / f"{name}_leftImg8bit.png"
    return image, root / "gtFine" / split / _CITY / f"{name}_gtFine_labelIds.png"


def synthesize(
    folder: str | os.PathLike[str],
    counts: dict[str, int],
    height: int = 128,
    width: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Draw street scenes into `folder`, in the Cityscapes layout.

    `leftImg8bit/SPLIT/synthetic/*_leftImg8bit.png` hold RGB images,
    `gtFine/SPLIT/synthetic/*_gtFine_labelIds.png` the raw label ids. `synthetic.json` says what was asked for
    and whether all of it is there. Called again on its own folder with the same arguments, it draws what is
    missing.

    Args:
        folder: made if it does not exist.
        counts: scenes per split, keys among train, val, test.
        height: rows of every image, at least 32.
        width: columns, at least 32.
        seed: from 0 on; another seed gives other scenes.
        progress: told (scenes done, scenes in all) after each scene.

    Returns:
        How many scenes were drawn; 0 when all of them were there.

    Raises:
        DataError: a count, size or seed that cannot be, or a folder that holds something else.
    """
    _check(counts, height, width, seed)
    root = Path(folder)
    wanted = {split: counts[split] for split in SPLITS if counts.get(split)}
    asked: dict[str, Any] = {
        "generator": _VERSION,
        "seed": seed,
        "height": height,
        "width": width,
        "counts": wanted,
    }
    _claim(root, asked)
    total = sum(wanted.values())
    done = drawn = 0
    for split, count in wanted.items():
        for path in scene_paths(root, split, 0):
            make_folder(path.parent)
        for index in range(count):
            image_path, label_path = scene_paths(root, split, index)
            if not image_path.exists():  # the image is written last: where it is, its label is too
                image, label = draw_scene(scene_rng(seed, split, index), height, width)
                _write_png(label_path, label)
                _write_png(image_path, image[:, :, ::-1])
                drawn += 1
            done += 1
            if progress is not None:
                progress(done, total)
    write_json(root / MANIFEST, {**asked, "complete": True})
    return drawn


def _check(counts: dict[str, int], height: int, width: int, seed: int) -> None:
    unknown = sorted(set(counts) - set(SPLITS))
    if unknown:
        raise DataError(f"scenes are drawn for the splits {', '.join(SPLITS)}; found {unknown[0]!r}")
    for split, count in counts.items():
        if not 0 <= count < 1_000_000:
            raise DataError(f"a split holds 0 to 999999 scenes; found {count} for {split}")
    if not any(counts.values()):
        raise DataError("at least one split must hold a scene; found none in all of them; ask for some")
    if min(height, width) < LARGEST_STRIDE:
        raise DataError(f"scenes are at least {LARGEST_STRIDE}x{LARGEST_STRIDE} pixels; found {height}x{width}")
    if seed < 0:
        raise DataError(f"seed must be a whole number from 0 on; found {seed}")


def _claim(root: Path, asked: dict[str, Any]) -> None:
    """Mark the folder as ours before the first scene, or refuse it.

    Raises:
        DataError: the folder holds files of others, or scenes drawn from other arguments.
    """
    manifest = root / MANIFEST
    if manifest.is_file():
        try:
            found = read_json(manifest)
        except EffisegError as error:
            raise DataError(f"{error}; delete the folder to draw its scenes again") from None
        for key, value in asked.items():
            there = found.get(key) if isinstance(found, dict) else None
            if there != value:
                raise DataError(
                    f"{root}: holds other scenes, {key} there is {there}, asked for is {value}; "
                    "choose another folder or delete it"
                )
        return
    make_folder(root)
    foreign = next(iter(sorted(root.iterdir())), None)
    if foreign is not None:
        raise DataError(f"{root}: must be empty or new; found {foreign.name}; choose another folder")
    write_json(manifest, {**asked, "complete": False})


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a PNG in one step; without fsync, which would cost more than the scene and guards nothing that
    cannot be drawn again."""
    worked, data = cv2.imencode(".png", np.ascontiguousarray(pixels), (cv2.IMWRITE_PNG_COMPRESSION, 1))
    assert worked, f"OpenCV cannot encode {pixels.shape} {pixels.dtype}"
    temporary = path.with_name(f".{path.name}.partial")
    with writing(path):
        try:
            temporary.write_bytes(data.tobytes())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
