"""Reading one mask or pair as classes, whatever the data set's format, and the checks that every pair must pass.

Masks are decoded by Pillow, which leaves the ids of palette PNGs alone where OpenCV would turn them into colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from effiseg.data.coco import draw_coco_labels
from effiseg.data.colour_mask import labels_of_colours
from effiseg.data.dataset_spec import IGNORE_LABEL, DatasetSpec
from effiseg.data.image_file import ImageHeader, decode_image, open_image, read_header, turn_upright
from effiseg.data.python_data import PythonSample
from effiseg.data.samples import Sample
from effiseg.data.transforms import UInt8Array
from effiseg.data.yolo import draw_yolo_labels
from effiseg.errors import DataError

RawMask = npt.NDArray[np.integer[Any]]


def read_image(path: str | Path) -> UInt8Array:
    """(H, W, 3) uint8 RGB, turned upright as its EXIF data says; see `effiseg.data.image_file.decode_image`.

    Raises:
        DataError: the file cannot be read, is no image, or has too many pixels.
    """
    return decode_image(path)[0]


def read_sample_image(sample: Sample) -> UInt8Array:
    """`read_image` of a sample, also of one that is no file.

    Raises:
        DataError: as `read_image`, or the item breaks a rule.
    """
    return sample.fetch()[0] if isinstance(sample, PythonSample) else read_image(sample.image)


def read_raw_mask(path: str | Path) -> RawMask:
    """(H, W) integers as stored: palette indices, or 1, 8, 16 or 32-bit grey values.

    Raises:
        DataError: the file cannot be read, has too many pixels, or holds colours instead of one value a pixel.
    """
    with open_image(path, path, "mask") as file:
        file.load()  # asarray alone would hide that the file is cut off
        mode = file.mode
        values = np.asarray(file)
    if values.ndim != 2 or not (values.dtype == np.bool_ or np.issubdtype(values.dtype, np.integer)):
        raise DataError(
            f"{path}: a mask holds one integer a pixel (greyscale or palette PNG); found mode {mode}; save class "
            "indices, or set mask_format: color and a palette"
        )
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def read_colours(path: str | Path) -> UInt8Array:
    """(H, W, 3) uint8 RGB colours of a mask; alpha is dropped, palettes are looked up.

    Raises:
        DataError: the file cannot be read, or has too many pixels.
    """
    with open_image(path, path, "mask") as file:
        file.load()
        return np.asarray(file.convert("RGB"))


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
    """(H, W) uint8 class index or ignore_index of a mask of class indices or raw values, as it is stored.

    Raises:
        DataError: the file cannot be read, or holds a value that is no class (see `map_labels`).
    """
    return map_labels(read_raw_mask(path), spec, path)[0]


def read_labels(
    sample: Sample, spec: DatasetSpec, header: ImageHeader | None = None
) -> tuple[UInt8Array, dict[int, int]]:
    """The labels of a sample, whatever the data set's mask_format. They fit the upright image.

    Args:
        sample: one of the data set.
        spec: the data set.
        header: of the sample's image; read where it is not given.

    Returns:
        (H, W) uint8 class index or ignore_index, and the raw values that label_mapping does not list (they were
        ignored) with their number of pixels.

    Raises:
        DataError: a file cannot be read, the mask is of another size, or it holds what is no class.
    """
    if isinstance(sample, PythonSample):
        return map_labels(sample.fetch()[1], spec, sample.mask)
    header = header or read_header(sample.image)
    unlisted: dict[int, int] = {}
    match spec.masks.format:
        case "index":
            labels, unlisted = map_labels(read_raw_mask(sample.mask), spec, sample.mask)
        case "color":
            labels = labels_of_colours(read_colours(sample.mask), spec, sample.mask)
        case "coco":
            labels, unlisted = draw_coco_labels(sample.image, sample.mask, spec)
        case "yolo":  # shares of the size say nothing of the turn; tools show the image upright
            stored = spec.masks.orientation == "stored"
            labels, unlisted = draw_yolo_labels(sample.mask, header.stored_shape if stored else header.shape, spec)
            return (_turned(labels, header) if stored else labels), unlisted
    return _fitted(labels, sample, spec, header), unlisted


def _fitted(labels: UInt8Array, sample: Sample, spec: DatasetSpec, header: ImageHeader) -> UInt8Array:
    """Labels turned to the upright image, where they fit the stored one."""
    upright, stored = labels.shape == header.shape, labels.shape == header.stored_shape
    if header.orientation == 1 and upright:
        return labels
    match spec.masks.orientation:
        case "stored" if stored:
            return _turned(labels, header)
        case "upright" if upright:
            return labels
        case "auto" if upright and stored:
            raise DataError(
                f"{sample.image}: its EXIF orientation is {header.orientation}, and the size of {sample.mask} does not "
                f"tell whether the mask is turned already; set mask_orientation to upright (it fits what viewers show) "
                f"or stored (it fits the stored pixels) in {spec.source}, or store the image without EXIF orientation"
            )
        case "auto" if upright:
            return labels
        case "auto" if stored:
            return _turned(labels, header)
    raise _size_error(labels, sample, spec, header)


def _turned(labels: UInt8Array, header: ImageHeader) -> UInt8Array:
    return np.ascontiguousarray(turn_upright(labels, header.orientation))


def _size_error(labels: UInt8Array, sample: Sample, spec: DatasetSpec, header: ImageHeader) -> DataError:
    fix = "replace one of them"
    if labels.shape == header.shape[::-1]:
        fix = f"one of them is turned by 90 degrees: turn the mask, or correct mask_orientation in {spec.source}"
    return DataError(
        f"{sample.mask}: a mask is as large as its image; found {labels.shape[0]}x{labels.shape[1]} (HxW) "
        f"against {header.shape[0]}x{header.shape[1]} of {sample.image}; {fix}"
    )


def read_pair(sample: Sample, spec: DatasetSpec) -> tuple[UInt8Array, UInt8Array]:
    """Image (H, W, 3) uint8 RGB and label (H, W) uint8 of a sample, both upright.

    Raises:
        DataError: as `decode_image` and `read_labels`.
    """
    if isinstance(sample, PythonSample):
        image, raw = sample.fetch()
        return image, map_labels(raw, spec, sample.mask)[0]
    image, header = decode_image(sample.image)
    return image, read_labels(sample, spec, header)[0]


def check_samples(spec: DatasetSpec, samples: Sequence[Sample]) -> dict[int, int]:
    """Decode samples and check their sizes and labels, on the CPU.

    Returns:
        Raw values that label_mapping does not list → number of pixels, over all samples.

    Raises:
        DataError: as `read_pair`.
    """
    total: dict[int, int] = {}
    for sample in samples:
        header = None if isinstance(sample, PythonSample) else decode_image(sample.image)[1]
        for value, count in read_labels(sample, spec, header)[1].items():
            total[value] = total.get(value, 0) + count
    return total
