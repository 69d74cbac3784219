"""Files of annotations: read within bounds, parsed once in a process, their faults in one line."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import os
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast
from xml.parsers.expat import XMLParserType

import numpy as np

from effiseg.data.image_file import open_image, pixel_limit
from effiseg.data.mask_errors import AnnotationError
from effiseg.data.polygons import BoolArray, Points
from effiseg.data.regular_file import open_regular
from effiseg.data.yaml_values import is_integer
from effiseg.errors import DataError
from effiseg.files import json_limit, parse_json

Parsed = TypeVar("Parsed")
_MOST_GROWTH = 100
"""Of a compressed picture when it is decompressed."""


def parse_once(parse: Callable[..., Parsed], file: str | Path, *more: object) -> Parsed:
    """The outcome of `parse(file, *more)`, kept in this process for as long as the file does not change.

    Args:
        parse: a function of the file's name; it is not kept for what it raises.
        file: the file.
        more: what else decides the outcome.

    Raises:
        AnnotationError: the file cannot be read, or whatever `parse` raises.
    """
    try:
        state = os.stat(file)  # noqa: PTH116 - for every image
    except OSError as error:
        raise AnnotationError(f"{file}: annotations cannot be read ({error.strerror})") from None
    return cast("Parsed", _parsed(parse, str(file), state.st_mtime_ns, state.st_size, *more))


@lru_cache(maxsize=8)
def _parsed(parse: Callable[..., Any], file: str, _changed: int, _size: int, *more: object) -> Any:
    return parse(file, *more)


def read_annotations(file: str | Path) -> bytes:
    """The bytes of a file of annotations.

    Raises:
        AnnotationError: it cannot be read, is no regular file, or does not fit into memory when parsed.
    """
    try:
        with open_regular(file, "annotations") as stream:
            data = stream.read(json_limit() + 1)
    except DataError as error:
        raise AnnotationError(str(error)) from None
    except OSError as error:
        raise AnnotationError(f"{file}: annotations cannot be read ({error.strerror})") from None
    if len(data) > json_limit():
        raise AnnotationError(
            f"{file}: annotations of more than {json_limit() / 1e9:.1f} GB do not fit into memory here"
        )
    return data


def read_json_annotations(file: str | Path) -> Any:
    """The parsed JSON of a file of annotations.

    Raises:
        AnnotationError: as `read_annotations`, or it is no JSON.
    """
    return parse_json(read_annotations(file), f"{file}: annotations", AnnotationError)


def complaint(file: str | Path, rule: str, entry: Any) -> AnnotationError:
    """The error for an entry of the file: the file, the rule and the beginning of the entry.

    Args:
        file: the file.
        rule: what is wanted.
        entry: what was found instead.
    """
    shown = json.dumps(entry, ensure_ascii=False, default=str)
    return AnnotationError(f"{file}: {rule}; found {shown[:100] + '…' if len(shown) > 100 else shown}")


def text_of(entry: Any, key: str) -> str | None:
    """The text at a key; None where there is none, or the entry is no mapping."""
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else None


def parse_corners(values: Any, least: int = 3) -> Points | None:
    """Corners (N, 2) from pairs of finite numbers; None where they are none, or fewer than `least`."""
    try:
        corners = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < least or not np.isfinite(corners).all():
        return None
    return corners.astype(np.float32)


def parse_size(height: Any, width: Any) -> tuple[int, int] | None:
    """A size in pixels that may be decoded; None where it is none."""
    if not is_integer(height) or not is_integer(width) or min(height, width) < 1 or height * width > pixel_limit():
        return None
    return height, width


def rectangle(
    left: float, top: float, right: float, bottom: float, degrees: float = 0.0, about_its_corner: bool = False
) -> Points:
    """The corners (4, 2) of a rectangle, turned clockwise about its centre, or about its first corner."""
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return _turned(corners, corners[0] if about_its_corner else corners.mean(axis=0), degrees)


def ellipse(x: float, y: float, x_radius: float, y_radius: float, degrees: float = 0.0) -> Points:
    """Corners of an ellipse, turned clockwise about its centre, close enough together that no pixel is lost."""
    count = min(720, max(24, math.ceil(2 * math.pi * max(x_radius, y_radius))))
    angles = np.arange(count) * (2 * math.pi / count)
    corners = np.stack([x + x_radius * np.cos(angles), y + y_radius * np.sin(angles)], axis=1)
    return _turned(corners, np.array([x, y]), degrees)


def decode_picture(text: object, file: str | Path) -> BoolArray | None:
    """The pixels (H, W) of a small picture in base64 that are not 0, its alpha's where it has one; None: it is none.

    Args:
        text: what stands for it in a file of annotations; a data URL will do.
        file: the file, for errors.

    Raises:
        DataError: it cannot be decoded, or has too many pixels.
    """
    if not isinstance(text, str):
        return None
    try:
        data = base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if data[:1] == b"x":  # compressed once more, as Supervisely does; PNG does not shrink
        expander = zlib.decompressobj()
        try:
            data = expander.decompress(data, len(data) * _MOST_GROWTH + 1000)
        except zlib.error:
            return None
        if expander.unconsumed_tail:
            return None
    with open_image(file, "mask", io.BytesIO(data)) as picture:
        bands = picture.getbands()
        transparent = "A" in bands or "transparency" in picture.info
        values = np.asarray(picture.convert("RGBA"))[..., 3] if transparent else np.asarray(picture)
    return np.asarray(values.reshape(*values.shape[:2], -1).any(axis=2), dtype=np.bool_)


def _turned(corners: np.ndarray[Any, np.dtype[Any]], about: np.ndarray[Any, np.dtype[Any]], degrees: float) -> Points:
    turn = math.radians(degrees)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return np.asarray((corners - about) @ matrix.T + about, dtype=np.float32)


def refuse_doctype(parser: XMLParserType, file: str | Path) -> None:
    """Let an XML parser stop at a document type: entities, which may grow without end or name files, come with one."""

    def refuse(*_: object) -> None:
        raise AnnotationError(f"{file}: annotations: XML with a document type (<!DOCTYPE …>) is not read; remove it")

    parser.StartDoctypeDeclHandler = refuse
