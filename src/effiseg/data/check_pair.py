"""Everything that can be wrong with one image and its mask, and what comparing images needs."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from effiseg.data.colour_mask import labels_of_colours
from effiseg.data.dataset_spec import DatasetSpec
from effiseg.data.findings import Finding, Kind
from effiseg.data.image_file import ImageHeader, decode_image, open_image
from effiseg.data.reading import map_labels, read_colours, read_labels, read_raw_mask
from effiseg.data.samples import Sample
from effiseg.data.transforms import UInt8Array
from effiseg.errors import DataError

_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
THUMBNAIL = 16
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
    """What is wrong with it."""
    picture: Picture | None
    """None where the image cannot be read."""
    class_pixels: npt.NDArray[np.int64] | None
    """(K,) pixels of each class; None where the mask cannot be read."""


def examine(spec: DatasetSpec, item: tuple[str, Sample]) -> Examined:
    """Decode a sample and name its faults; never raises for what files hold.

    Args:
        spec: the data set.
        item: (split, sample).
    """
    split, sample = item
    findings: list[Finding] = []

    def found(kind: Kind, message: str, file: Path, values: dict[int, int] | None = None) -> None:
        findings.append(Finding(kind, message, (split,), (str(file),), values or {}))

    header, picture = None, None
    try:
        _refuse_truncated(sample.image)
        pixels, header = decode_image(sample.image)
        picture = describe_picture(pixels)
    except DataError as error:
        found("unreadable_image", str(error), sample.image)
    try:
        labelled = _lenient_labels(sample, spec, header)
    except DataError as error:
        found(_kind_of_mask_fault(sample, spec), str(error), sample.mask)
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
    return Examined(findings, picture, pixels_of[: spec.num_classes].astype(np.int64))


def describe_picture(pixels: UInt8Array) -> Picture:
    """What comparing needs of an image's (H, W, 3) RGB pixels."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
    lowest = cv2.dct(small.astype(np.float32))[:8, :8]
    bits = np.packbits(lowest > np.median(lowest))
    thumbnail = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return Picture(digest.digest(), int.from_bytes(bits.tobytes(), "big"), thumbnail.astype(np.uint8, copy=False))


def _refuse_truncated(path: Path) -> None:
    """Find a file that ends too early or was damaged: OpenCV decodes such JPEG and PNG files without a word.

    Raises:
        DataError: the file is not whole.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: image cannot be read ({error.strerror or error})") from None
    if data.startswith(_JPEG_START) and data.rstrip(b"\0").endswith(_JPEG_END):
        return  # JPEG has no checksums
    with open_image(io.BytesIO(data), path) as image:
        if data.startswith(_PNG_START) and data.endswith(_PNG_END):
            image.verify()  # the checksums of all chunks, faster than decoding
        else:
            image.load()


def _lenient_labels(
    sample: Sample, spec: DatasetSpec, header: ImageHeader | None
) -> tuple[UInt8Array, dict[int, int]] | None:
    """Labels, and the raw values that are neither classes nor listed.

    Without a header nothing says how large they must be; polygons cannot be drawn then, which gives None.
    """
    if spec.masks.format == "index" and spec.label_mapping is None:
        # A mapping makes foreign values countable instead of an error.
        spec = replace(spec, label_mapping={index: index for index in range(spec.num_classes)})
    if header is not None:
        return read_labels(sample, spec, header)
    match spec.masks.format:
        case "index":
            return map_labels(read_raw_mask(sample.mask), spec, sample.mask)
        case "color":
            return labels_of_colours(read_colours(sample.mask), spec, sample.mask), {}
        case "coco" | "yolo":
            return None


def _kind_of_mask_fault(sample: Sample, spec: DatasetSpec) -> Kind:
    """Which rule a mask breaks that cannot become labels; it is read again, because this is rare."""
    if spec.masks.format in ("coco", "yolo"):
        return "unreadable_mask"
    try:
        colours = read_colours(sample.mask)
    except DataError:
        return "unreadable_mask"
    try:
        if spec.masks.format == "color":
            labels_of_colours(colours, spec, sample.mask)
        else:
            read_raw_mask(sample.mask)
    except DataError:
        return "colour_mask"
    return "size_mismatch"


def _describe_values(sample: Sample, spec: DatasetSpec, unlisted: dict[int, int]) -> str:
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
