"""Drawn pictures without end: which families there are, and which random numbers each picture is drawn from."""

from __future__ import annotations

from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from effiseg.scenes.shapes import labels as shape_labels
from effiseg.scenes.shapes.picture import draw_shapes
from effiseg.scenes.street import labels as street_labels
from effiseg.scenes.street.scene import draw_scene

Family = Literal["scenes", "shapes"]
"""scenes: embedded street scenes, 19 classes. shapes: layered contours, lines and textures, 24 classes."""
SeedSpace = Literal["data", "pretraining", "demo"]
"""Who draws. Two spaces share no picture, whatever the seeds; `synthetic.synthesize` has a further one."""

FAMILIES: Final[dict[Family, tuple[str, ...]]] = {
    "scenes": tuple(street_labels.CLASSES),
    "shapes": shape_labels.NAMES,
}
"""Family → names of its classes."""
SEED_SPACES: Final[tuple[SeedSpace, ...]] = ("data", "pretraining", "demo")
SPLITS: Final = ("train", "val", "test")
NO_CLASS: Final = 255
"""Label of pixels that belong to no class."""
VERSION: Final = 1
"""Raised whenever the same numbers draw other pixels."""

_TRAIN_IDS: Final = np.full(256, NO_CLASS, np.uint8)
_TRAIN_IDS[list(street_labels.CLASSES.values())] = np.arange(len(street_labels.CLASSES))


def seed_sequence(space: SeedSpace, seed: int, split: str, number: int) -> np.random.SeedSequence:
    """The seed that picture `number` of a split is drawn from; no other arguments give the same.

    Args:
        space: who draws.
        seed: 0 to 2⁶³ - 1.
        split: train, val or test.
        number: 0 to 2³² - 1.
    """
    # Always four words and one key: numpy would let lists of other lengths meet, padded with zeros. The scenes of
    # `synthesize` have no key, and therefore never these words.
    words = [seed & 0xFFFFFFFF, seed >> 32, SPLITS.index(split), number]
    return np.random.SeedSequence(words, spawn_key=(SEED_SPACES.index(space),))


def draw_picture(
    family: Family, sequence: np.random.SeedSequence, height: int, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one picture.

    Args:
        family: scenes or shapes.
        sequence: see `seed_sequence`.
        height: rows, at least 32.
        width: columns, at least 32.

    Returns:
        The image, (height, width, 3) uint8 RGB, and the label, (height, width) uint8: index into the family's names,
        or NO_CLASS.
    """
    rng = np.random.default_rng(sequence)
    match family:
        case "scenes":
            image, raw = draw_scene(rng, height, width)
            return image, np.asarray(cv2.LUT(raw, _TRAIN_IDS), np.uint8)
        case "shapes":
            return draw_shapes(rng, height, width)
