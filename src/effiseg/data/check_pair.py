"""Everything that can be wrong with one image and its mask, and what comparing images needs."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from effiseg.data.classes import Classes
from effiseg.data.findings import Finding, Kind
from effiseg.data.mask_errors import AnnotationError, MaskColorError, MaskSizeError
from effiseg.data.mask_palettes import Palette
from effiseg.data.oddities import Oddity
from effiseg.data.regular_file import AnyPath
from effiseg.data.sample import Sample
from effiseg.data.transforms import UInt8Array
from effiseg.errors import DataError

_THUMBNAIL = 16
"""Side of the grey thumbnail by which images are compared, pixels."""


class Picture(NamedTuple):
    """An image as it is compared with others."""

    digest: bytes
    """16 bytes of BLAKE2b of the decoded pixels and their shape: equal pixels, whatever the file's format."""
    hash: int
    """64 bits: which of the 8x8 lowest cosine coefficients of the grey image at 32x32 are above their median."""
    thumbnail: UInt8Array
    """(16, 16) grey."""


class Examined(NamedTuple):
    """One sample, examined."""

    findings: list[Finding]
    """Its faults."""
    picture: Picture | None
    """None where the image cannot be read."""
    class_pixels: npt.NDArray[np.int64] | None
    """(K,) pixels of each class; None where the mask cannot be read."""
    oddities: Sequence[Oddity] = ()
    """Warnings: oddities that may be meant so."""
    palette: Palette | None = None
    """Colors of the mask's indices."""


def examine(spec: Classes, item: tuple[str, Sample]) -> Examined:
    """Decode a sample and name its faults; never raises for what files hold.

    Args:
        spec: the classes of the data set.
        item: (split, sample).
    """
    split, sample = item
    findings: list[Finding] = []

    def found(kind: Kind, message: str, file: AnyPath, values: dict[int, int] | None = None) -> None:
        findings.append(Finding(kind, message, (split,), (str(file),), values or {}))

    picture = None
    try:
        picture = describe_picture(sample.read_whole_image())
    except DataError as error:
        found("unreadable_image", str(error), sample.image)
    if not sample.is_labelled:
        return Examined(findings, picture, None, [] if picture is None else sample.oddities())
    classes = _lenient(spec) if sample.holds_indices and spec.label_mapping is None else spec
    try:
        labelled = sample.read_labels_alone(classes) if picture is None else sample.read_labels(classes)
    except DataError as error:
        found(_kind_of_mask_fault(error), str(error), sample.mask)
        labelled = None
    if labelled is None:
        return Examined(findings, picture, None)
    labels, unlisted = labelled
    if unlisted:
        kind: Kind = "foreign_values" if spec.label_mapping is None else "unlisted_values"
        found(kind, _describe_values(sample, spec, unlisted), sample.mask, unlisted)
    pixels_of = np.bincount(labels.reshape(-1), minlength=256)
    if not pixels_of[: spec.num_classes].any() and not unlisted:
        found(
            "nothing_labelled",
            f"{sample.mask}: a mask should hold a class somewhere; found {spec.ignore_index} (ignored) on every pixel; "
            "label it, or leave the image out",
            sample.mask,
        )
    oddities: list[Oddity] = []
    if picture is not None:
        with contextlib.suppress(DataError, ValueError):  # told above
            oddities = sample.oddities()
    return Examined(findings, picture, pixels_of[: spec.num_classes].astype(np.int64), oddities, sample.palette())


def describe_picture(pixels: UInt8Array) -> Picture:
    """The hash of an image's (H, W, 3) RGB pixels, for comparing."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
    lowest = cv2.dct(small.astype(np.float32))[:8, :8]
    bits = np.packbits(lowest > np.median(lowest))
    thumbnail = cv2.resize(grey, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    return Picture(digest.digest(), int.from_bytes(bits.tobytes(), "big"), thumbnail.astype(np.uint8, copy=False))


def _lenient(classes: Classes) -> Classes:
    """A mapping of every class to itself makes foreign values countable instead of an error."""
    return replace(classes, label_mapping={index: index for index in range(classes.num_classes)})


def _kind_of_mask_fault(error: DataError) -> Kind:
    match error:
        case MaskSizeError():
            return "size_mismatch"
        case MaskColorError():
            return "colour_mask"
        case AnnotationError():
            return "annotation"
        case _:
            return "unreadable_mask"


def _describe_values(sample: Sample, spec: Classes, unlisted: dict[int, int]) -> str:
    shown = ", ".join(f"{value} ({pixels} pixels)" for value, pixels in list(unlisted.items())[:8])
    shown += f" and {len(unlisted) - 8} more values" if len(unlisted) > 8 else ""
    if spec.label_mapping is None:
        return (
            f"{sample.mask}: mask values must be classes 0 to {spec.num_classes - 1} or {spec.ignore_index} (ignored); "
            f"found {shown}; correct the mask, or give the data set a label_mapping"
        )
    return (
        f"{sample.mask}: label_mapping should list every value; found {shown}; they are ignored: list them as "
        "ignore_label to say so, or give them a class"
    )
