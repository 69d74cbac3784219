"""Pictures out of requests to labels: one at a time, in a thread beside the server's own."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

from effiseg.data.image_file import decode_stream
from effiseg.inference.predictor import Predictor
from effiseg.inference.segmentation import Segmentation


@dataclass(frozen=True)
class Labeled:
    """A picture's labels, and how long they took."""

    segmentation: Segmentation
    """The labels."""
    milliseconds: float
    """Decoding and labeling."""


class Labeler:
    """A model that answers requests.

    Args:
        predictor: the model.
        name: what answers call it.
        most_pixels: of a picture.
    """

    def __init__(self, predictor: Predictor, name: str, most_pixels: int) -> None:
        self.name = name
        self._predictor = predictor
        self._most_pixels = most_pixels

    def __call__(self, data: bytes) -> Labeled:
        """Decode and label a picture.

        Args:
            data: an image file.

        Raises:
            UnknownImageError: it is no image.
            ImageSizeError: it has too many pixels.
            DataError: it is damaged.
        """
        start = time.perf_counter()
        image, _ = decode_stream(io.BytesIO(data), "the request's body", self._most_pixels)
        segmentation = self._predictor(image)
        return Labeled(segmentation, 1000 * (time.perf_counter() - start))
