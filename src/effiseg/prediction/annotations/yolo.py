"""A text file of polygons for each image, as Ultralytics reads them."""

from __future__ import annotations

import numpy as np

from effiseg.prediction.annotations.image import AnnotatedImage

_DECIMALS = 7


def encode_yolo(image: AnnotatedImage) -> bytes:
    """A line for each region: the class, and x and y of its corners as shares of width and height."""
    height, width = image.shape
    lines = []
    for one in image.outlines:
        shares = (one.outer / np.array([width, height])).reshape(-1).tolist()
        lines.append(f"{one.label} " + " ".join(f"{share:.{_DECIMALS}g}" for share in shares) + "\n")
    return "".join(lines).encode()
