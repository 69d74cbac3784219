"""Image files: what their header says, and their pixels, upright.

OpenCV decodes, and Pillow where OpenCV cannot. Pillow reads the header first: for the turn that the camera noted in
the EXIF data, and because a small file may claim to hold more pixels than fit into memory. It decodes a closed set of
formats, whatever a file is called: among the others is EPS, for which it starts Ghostscript.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from effiseg.data.decoder_messages import without_jpeg_messages
from effiseg.data.regular_file import AnyPath, open_regular
from effiseg.data.transforms import UInt8Array
from effiseg.errors import DataError, UsageError

PIXEL_LIMIT_VARIABLE = "EFFISEG_MAX_PIXELS"
"""Environment variable: the largest number of pixels of an image or mask that is decoded."""
_DEFAULT_PIXEL_LIMIT = 178_956_970
"""Half a gigabyte as RGB; what Pillow refuses as well."""
_IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "TIFF", "WEBP", "PPM")
"""Formats that Pillow may decode; its DIB is a BMP. JPEG includes its MPO, a JPEG with more pictures behind it."""
_MOST_BYTES_PER_PIXEL, _MOST_BYTES_BESIDE = 16, 2**26
_SUBFILE_TYPE, _REDUCED_OR_MASK = 0x00FE, 0b101
_MOST_PAGES = 1000
_JPEG_START = b"\xff\xd8"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_ORIENTATION = 0x0112  # the EXIF and TIFF tag, 1..8


# What OpenCV says of damaged files it says on the terminal; here they are errors, or Pillow's.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class UnknownImageError(DataError):
    """A file, or bytes, of none of the formats that are decoded."""


class ImageSizeError(DataError):
    """An image of more pixels than are decoded."""


@dataclass(frozen=True)
class ImageHeader:
    """Facts of an image before it is decoded."""

    shape: tuple[int, int]
    """(height, width) of the upright image."""
    orientation: int = 1
    """EXIF orientation, 1..8: how the stored pixels are turned to stand upright; 1: not at all."""

    @property
    def stored_shape(self) -> tuple[int, int]:
        """(height, width) of the stored pixels."""
        return self.shape if self.orientation < 5 else (self.shape[1], self.shape[0])


def turn_upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """(H, W) or (H, W, C) stored pixels → as they are meant to be seen; a view.

    Args:
        pixels: as stored.
        orientation: of EXIF, 1..8: 2 to 4 mirror or turn by 180 degrees, 5 to 8 exchange height and width.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    # Which sides of the (transposed) image are exchanged: 5 is the transposition alone, 7 that and both.
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def pixel_limit() -> int:
    """The largest number of pixels that is decoded.

    Raises:
        UsageError: $EFFISEG_MAX_PIXELS is no whole number from 1 on.
    """
    written = os.environ.get(PIXEL_LIMIT_VARIABLE)
    if not written:
        return _DEFAULT_PIXEL_LIMIT
    if not written.isascii() or not written.isdigit() or int(written) < 1:
        raise UsageError(f"{PIXEL_LIMIT_VARIABLE} must be a whole number from 1 on; found {written!r}")
    return int(written)


@contextmanager
def open_image(
    path: AnyPath, kind: str = "image", file: BinaryIO | None = None, most_pixels: int | None = None
) -> Iterator[Image.Image]:
    """Pillow's image of a file, its pixels not yet decoded, its size checked.

    Args:
        path: the file.
        kind: image or mask, for errors.
        file: it, opened already.
        most_pixels: a limit below `pixel_limit`.

    Raises:
        DataError: the file cannot be read (also while its pixels are decoded inside).
        UnknownImageError: it is no image.
        ImageSizeError: it has too many pixels.
    """
    limit = min(pixel_limit(), most_pixels or pixel_limit())
    if limit > _DEFAULT_PIXEL_LIMIT and Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limit)  # the user asked for it
    try:
        with warnings.catch_warnings(), file or open_regular(path, kind) as stream:
            warnings.simplefilter("ignore")  # of damaged tags; and the limit of pixels here is ours
            with Image.open(stream, formats=_IMAGE_FORMATS) as image:
                width, height = image.size
                if width * height > limit:
                    raise Image.DecompressionBombError(f"{height}x{width}")
                yield image
    except UnidentifiedImageError:
        raise UnknownImageError(
            f"{path}: not an image that Pillow can decode as {_known()}; replace the {kind}"
        ) from None
    except Image.DecompressionBombError as error:
        remedy = f", or set the environment variable {PIXEL_LIMIT_VARIABLE} if the file may be trusted"
        raise ImageSizeError(
            f"{path}: at most {limit} pixels are decoded; found more ({error}); reduce or cut the {kind}"
            f"{'' if most_pixels else remedy}"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: {kind} cannot be read ({getattr(error, 'strerror', None) or error})") from None


def read_header(path: AnyPath) -> ImageHeader:
    """The header of an image; its pixels are not read.

    Raises:
        DataError: the file cannot be read, or has too many pixels.
    """
    with open_image(path) as image:
        return _header(image)


def decode_image(path: AnyPath) -> tuple[UInt8Array, ImageHeader]:
    """The pixels of an image file, (H, W, 3) uint8 RGB, upright, and its header.

    Grey is repeated, alpha is dropped, palettes are looked up, CMYK is converted, 16 bits become the upper 8.

    Raises:
        DataError: the file cannot be read, is no image, or has too many pixels.
    """
    with open_regular(path, "image") as stream:
        return decode_stream(stream, path)


def decode_stream(stream: BinaryIO, name: AnyPath, most_pixels: int | None = None) -> tuple[UInt8Array, ImageHeader]:
    """`decode_image` of a file that is open, or of bytes in memory.

    Args:
        stream: at its beginning; it can be sought in.
        name: what it is called in errors.
        most_pixels: see `open_image`.

    Raises:
        DataError, UnknownImageError, ImageSizeError: as `open_image`.
    """
    with open_image(name, file=stream, most_pixels=most_pixels) as image:
        header = _header(image)
        encoded = np.frombuffer(_read_all(stream, image), dtype=np.uint8)
        # Both decoders turn TIFF files themselves.
        turn = 1 if image.format == "TIFF" else header.orientation
        pixels = _decode_with_opencv(encoded)
        if pixels is None:
            pixels = _decode_with_pillow(image, name)
    return np.ascontiguousarray(turn_upright(pixels, turn)), header


def count_pages(image: Image.Image) -> int:
    """How many pictures a file holds; reduced copies and masks inside a TIFF, and what follows a JPEG, are none."""
    if image.format not in ("TIFF", "PNG", "WEBP"):
        return 1
    frames = int(getattr(image, "n_frames", 1))
    if frames == 1 or image.format != "TIFF":
        return frames
    whole = 0
    for frame in range(min(frames, _MOST_PAGES)):
        image.seek(frame)
        kind: Any = getattr(image, "tag_v2", {}).get(_SUBFILE_TYPE, 0)
        whole += not (isinstance(kind, int) and kind & _REDUCED_OR_MASK)
    image.seek(0)
    return max(1, whole)


def read_encoded(path: AnyPath) -> bytes:
    """An image file as it is; the header is read first, because what is no image may be large.

    Raises:
        DataError: as `open_image`.
    """
    with open_regular(path, "image") as stream, open_image(path, file=stream) as image:
        return _read_all(stream, image)


def _read_all(stream: BinaryIO, image: Image.Image) -> bytes:
    """The bytes of the file that an image was opened in; no more than its pixels can need."""
    position = stream.tell()
    stream.seek(0)
    data = stream.read(image.width * image.height * _MOST_BYTES_PER_PIXEL + _MOST_BYTES_BESIDE)
    stream.seek(position)
    return data


def _known() -> str:
    return ", ".join(name for name in _IMAGE_FORMATS if name != "DIB")


def _header(image: Image.Image) -> ImageHeader:
    width, height = image.size
    if image.format == "TIFF":  # of the upright image already
        tags: Any = getattr(image, "tag_v2", {})
        return ImageHeader((height, width), _valid_orientation(tags.get(_ORIENTATION)))
    orientation = _exif_orientation(image)
    return ImageHeader((height, width) if orientation < 5 else (width, height), orientation)


def _exif_orientation(image: Image.Image) -> int:
    written = image.info.get("exif")
    if not written:
        return 1
    exif = Image.Exif()
    try:
        exif.load(written)
        return _valid_orientation(exif.get(_ORIENTATION))
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error):  # damaged: as if it were not there
        return 1


def _valid_orientation(value: object) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decode_with_opencv(encoded: UInt8Array) -> UInt8Array | None:
    """(H, W, 3) RGB as stored; None where OpenCV cannot."""
    if encoded[:8].tobytes() == _PNG_START:
        pixels_alone = _without_asides(encoded)
        if pixels_alone is None:
            return None
        encoded = pixels_alone
    try:
        with without_jpeg_messages() if encoded[:2].tobytes() == _JPEG_START else nullcontext():
            decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # more pixels than it is willing to decode
        return None
    return None if decoded is None else cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _without_asides(png: UInt8Array) -> UInt8Array | None:
    """A PNG of the chunks that its pixels are made of; None where it is damaged.

    libpng writes to the terminal what it thinks of color profiles and of wrong checksums.
    """
    data = memoryview(png)  # type: ignore[arg-type]
    kept, whole, place = [data[:8]], True, 8
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data) or zlib.crc32(data[place + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return None
        if kind in _PNG_PIXEL_CHUNKS:
            kept.append(data[place:end])
        else:
            whole = False
        if kind == b"IEND":
            return png if whole else np.frombuffer(b"".join(kept), np.uint8)
        place = end
    return None


def decode_pillow_image(image: Image.Image, name: str = "a Pillow image") -> UInt8Array:
    """The pixels of a Pillow image, (H, W, 3) uint8 RGB, as `decode_image` reads the file that it was opened from.

    It is turned as its EXIF data says; of several frames the one that it stands at is taken.

    Args:
        image: of any mode that a file may have.
        name: what it is called in errors.

    Raises:
        DataError: its pixels cannot be had, are of 32 bits, or are too many.
    """
    if image.width * image.height > pixel_limit():
        raise DataError(f"{name}: at most {pixel_limit()} pixels are taken; found {image.height}x{image.width}")
    opened: Any = image
    file = getattr(opened, "filename", "")
    try:
        if image.format == "TIFF":
            opened.filename = ""  # Pillow 13 maps the file of a plain one as if it had been turned already
        pixels = _decode_with_pillow(image, name)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{name}: cannot be decoded ({error})") from None
    finally:
        if image.format == "TIFF":
            opened.filename = file
    # A TIFF is turned when it is loaded, and its note of the turn is gone.
    turn = 1 if image.format == "TIFF" else _exif_orientation(image)
    return np.ascontiguousarray(turn_upright(pixels, turn))


def _decode_with_pillow(image: Image.Image, path: AnyPath) -> UInt8Array:
    image.load()
    if image.mode in ("I", "F"):
        raise DataError(f"{path}: an image has 8 or 16 bits a channel; found 32 (mode {image.mode}); convert it")
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"))
