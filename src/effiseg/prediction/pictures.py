"""A segmentation as encoded files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from effiseg.config.prediction import Saved
from effiseg.inference.segmentation import Segmentation
from effiseg.visualization.label_colours import UInt8Array, colour_table
from effiseg.visualization.legend import area_entries, legend_strip

SUFFIXES: dict[Saved, str] = {"labels": ".png", "color": ".png", "overlay": ".jpg", "probabilities": ".npz"}
_JPEG_QUALITY = 90
_JPEG_LONGEST_SIDE = 65500


def encoded(output: Saved, segmentation: Segmentation, raw_ids: UInt8Array) -> bytes:
    """The content of one file.

    Args:
        output: labels: 8-bit grey PNG of ids, in which every program finds the same numbers. color: palette PNG, which
            programs show in the classes' colours; its indices are the classes. overlay: JPEG. probabilities: see
            `_encode_probabilities`.
        segmentation: with probabilities where these are asked for.
        raw_ids: (256,) uint8, what is written for each label.
    """
    match output:
        case "labels":
            return encode_png(raw_ids[segmentation.labels])
        case "color":
            return _encode_palette_png(segmentation.labels, segmentation.palette)
        case "overlay":
            return _encode_jpeg(_with_legend(segmentation))
        case "probabilities":
            return _encode_probabilities(segmentation)
        case _:
            raise AssertionError(f"{output} is no picture")


def _with_legend(segmentation: Segmentation) -> UInt8Array:
    """The overlay with its classes and their shares under it."""
    picture = segmentation.overlay()
    strip = legend_strip(picture.shape[1], area_entries(segmentation.areas(), segmentation.palette))
    return np.concatenate([picture, strip])


def encode_png(grey: UInt8Array) -> bytes:
    """(H, W) uint8 as 8-bit grey PNG."""
    return _encode(".png", grey, [])


def _encode_jpeg(image: UInt8Array) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG; reduced where a side is longer than the format allows (65500)."""
    longest = max(image.shape[:2])
    if longest > _JPEG_LONGEST_SIDE:
        scale = _JPEG_LONGEST_SIDE / longest
        size = [max(1, int(side * scale)) for side in image.shape[:2]]
        image = np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)
    return _encode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def _encode_probabilities(segmentation: Segmentation) -> bytes:
    """A compressed .npz: probabilities (K, h, w) float16 and extent (2,) as in `Probabilities`, size (2,): H and W."""
    found = segmentation.probabilities
    assert found is not None
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        probabilities=found.values,
        extent=np.array(found.extent),
        size=np.array(segmentation.labels.shape),
    )
    return stream.getvalue()


def _encode(suffix: str, image: Any, options: Sequence[int]) -> bytes:
    done, data = cv2.imencode(suffix, image, options)
    assert done, suffix
    return data.tobytes()


def _encode_palette_png(labels: UInt8Array, palette: Sequence[tuple[int, int, int]]) -> bytes:
    picture = Image.fromarray(labels)
    picture.putpalette(colour_table(palette).tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=3)
    return stream.getvalue()
