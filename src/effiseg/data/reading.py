"""Decoding one image or mask, and the checks that every pair must pass.

Images are decoded by OpenCV. Masks are decoded by Pillow, which leaves the ids of palette PNGs alone where
OpenCV would turn them into colours.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from effiseg.data.dataset_spec import IGNORE_LABEL, DatasetSpec
from effiseg.data.samples import Sample
from effiseg.data.transforms import UInt8Array
from effiseg.errors import DataError

RawMask = npt.NDArray[np.integer[Any]]


def read_image(path: str | Path) -> UInt8Array:
    """(H, W, 3) uint8 RGB; grey images are repeated, alpha is dropped, 16 bits become 8.

    Pixels come as they are stored: an EXIF rotation is not applied, because masks carry none.

    Raises:
        DataError: the file cannot be read or is no image.
    """
    try:
        # imread cannot open every name on every system; fromfile can.
        encoded = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: image cannot be read ({error.strerror or error})") from None
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(encoded, flags) if encoded.size else None
    if decoded is None:
        raise DataError(f"{path}: not an image that OpenCV can decode; found {encoded.size} bytes; replace the file")
    image: UInt8Array = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    return image


def read_raw_mask(path: str | Path) -> RawMask:
    """(H, W) integers as stored: palette indices, or 1, 8, 16 or 32-bit grey values.

    Raises:
        DataError: the file cannot be read, or holds colours instead of one value a pixel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # masks are the user's own files
            with Image.open(path) as file:
                file.load()  # asarray alone would hide that the file is cut off
                mode = file.mode
                values = np.asarray(file)
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image that Pillow can decode; replace the mask") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: mask cannot be read ({error})") from None
    if values.ndim != 2 or not (values.dtype == np.bool_ or np.issubdtype(values.dtype, np.integer)):
        raise DataError(
            f"{path}: a mask holds one integer a pixel (greyscale or palette PNG); found mode {mode}; save "
            "class indices, not colours"
        )
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def map_labels(raw: RawMask, spec: DatasetSpec, path: str | Path) -> tuple[UInt8Array, dict[int, int]]:
    """Raw mask values → classes.

    Args:
        raw: (H, W) integers as stored.
        spec: its label_mapping is applied; without one, values are class indices already.
        path: the mask's file, for the error.

    Returns:
        (H, W) uint8 class index or ignore_index, and the values that label_mapping does not list (they were
        ignored) with their number of pixels; ignore_index itself needs no listing.

    Raises:
        DataError: without a label_mapping, a value that is neither a class nor ignore_index.
    """
    if raw.dtype == np.uint8:
        bytes_ = raw.astype(np.uint8, copy=False)
        known, labels_of = _lookup(spec, np.arange(256))
        labels = cv2.LUT(bytes_, labels_of).astype(np.uint8, copy=False)
        if not cv2.countNonZero(cv2.LUT(bytes_, (~known).view(np.uint8))):
            return labels, {}
    values, inverse, counts = np.unique(raw, return_inverse=True, return_counts=True)
    labels_of_values, unlisted = map_values(values, counts, spec, path)
    return labels_of_values[inverse].reshape(raw.shape), unlisted


def map_values(
    values: npt.NDArray[Any], counts: npt.NDArray[Any], spec: DatasetSpec, path: str | Path
) -> tuple[UInt8Array, dict[int, int]]:
    """`map_labels` for the distinct values (V,) of a mask and their numbers of pixels (V,)."""
    known, labels = _lookup(spec, values)
    unlisted = {int(value): int(count) for value, count in zip(values[~known], counts[~known], strict=True)}
    if unlisted and spec.label_mapping is None:
        raise _foreign_values_error(spec, path, unlisted)
    return labels, unlisted


def _foreign_values_error(spec: DatasetSpec, path: str | Path, unlisted: dict[int, int]) -> DataError:
    """The error for mask values that are no class, in a data set without label_mapping."""
    shown = ", ".join(str(value) for value in list(unlisted)[:8]) + (", …" if len(unlisted) > 8 else "")
    return DataError(
        f"{path}: mask values must be classes 0 to {spec.num_classes - 1} or {spec.ignore_index} (ignored); "
        f"found {shown} on {sum(unlisted.values())} pixels; correct the mask, or give the data set a "
        f"label_mapping that lists every value, for example {next(iter(unlisted))}: {IGNORE_LABEL}"
    )


def _lookup(spec: DatasetSpec, values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], UInt8Array]:
    """For each raw value: whether the data set's description knows it, and its label."""
    labels = np.full(values.shape, spec.ignore_index, dtype=np.uint8)
    if spec.label_mapping is None:
        classes = (values >= 0) & (values < spec.num_classes)
        labels[classes] = values[classes]
        return classes | (values == spec.ignore_index), labels
    known = values == spec.ignore_index
    for raw, target in spec.label_mapping.items():
        labels[values == raw] = target
        known |= values == raw
    return known, labels


def read_mask(path: str | Path, spec: DatasetSpec) -> UInt8Array:
    """(H, W) uint8 class index or ignore_index.

    Raises:
        DataError: the file cannot be read, or holds a value that is no class (see `map_labels`).
    """
    return map_labels(read_raw_mask(path), spec, path)[0]


def read_pair(sample: Sample, spec: DatasetSpec) -> tuple[UInt8Array, UInt8Array]:
    """Image (H, W, 3) uint8 RGB and label (H, W) uint8 of a sample.

    Raises:
        DataError: a file cannot be read, the sizes differ, or the mask holds a foreign value.
    """
    image, label = read_image(sample.image), read_mask(sample.mask, spec)
    _check_sizes(sample, image, label)
    return image, label


def _check_sizes(sample: Sample, image: UInt8Array, label: npt.NDArray[Any]) -> None:
    if image.shape[:2] == label.shape:
        return
    turned = label.ndim == 2 and image.shape[:2] == label.shape[::-1]
    fix = "the image's EXIF rotation is not applied: store it upright" if turned else "replace one of them"
    raise DataError(
        f"{sample.mask}: a mask is as large as its image; found {label.shape[0]}x{label.shape[1]} (HxW) "
        f"against {image.shape[0]}x{image.shape[1]} of {sample.image}; {fix}"
    )


def check_samples(spec: DatasetSpec, samples: Sequence[Sample]) -> dict[int, int]:
    """Decode samples and check their sizes and labels, on the CPU.

    Returns:
        Raw values that label_mapping does not list → number of pixels, over all samples.

    Raises:
        DataError: as `read_pair`.
    """
    total: dict[int, int] = {}
    for sample in samples:
        raw = read_raw_mask(sample.mask)
        _check_sizes(sample, read_image(sample.image), raw)
        for value, count in map_labels(raw, spec, sample.mask)[1].items():
            total[value] = total.get(value, 0) + count
    return total
