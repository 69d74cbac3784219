"""Joint augmentation of image and mask, and the resizing of evaluation: uint8, OpenCV.

Image and mask pass the same geometry. Images are averaged over areas when they shrink and interpolated when
they grow; masks take the nearest value. All three use half-pixel centres, so labels stay on their pixels.
Normalization is not here: it happens on the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from effiseg.config.data import AugmentationConfig, InputResize, Resize
from effiseg.config.model import LARGEST_STRIDE

UInt8Array = npt.NDArray[np.uint8]

PADDING_COLOUR = (124, 116, 104)
"""RGB of padded image pixels: ImageNet's mean, about 0 after normalization, as the convolutions pad."""
_GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601
# RGB to a luma-chroma basis (the YIQ of analogue television): hue turns its chroma plane, luma stays.
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def sample_generator(seed: int, epoch: int, place: int) -> np.random.Generator:
    """The random numbers of one place in one epoch; a pure function of its arguments."""
    # The spawn key keeps this stream apart from the sampler's, which is seeded by (seed, epoch).
    sequence = np.random.SeedSequence([seed % 2**64, epoch, place], spawn_key=(1,))
    return np.random.Generator(np.random.Philox(sequence))


def resized_shape(shape: tuple[int, int], image_size: tuple[int, int], resize: InputResize) -> tuple[int, int]:
    """(height, width) an image of `shape` is scaled to for a network input of `image_size`.

    keep_ratio: the largest that fits inside image_size; all others: exactly image_size.
    """
    if resize != "keep_ratio":
        return image_size
    scale = min(image_size[0] / shape[0], image_size[1] / shape[1])
    height, width = (max(1, min(limit, round(side * scale))) for side, limit in zip(shape, image_size, strict=True))
    return height, width


def resize_image(image: UInt8Array, shape: tuple[int, int]) -> UInt8Array:
    """Scale (H, W, 3) uint8 to `shape` (height, width): area average when shrinking, bilinear otherwise."""
    if image.shape[:2] == shape:
        return image
    shrinks = shape[0] * shape[1] < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return _uint8(cv2.resize(image, (shape[1], shape[0]), interpolation=method))


def resize_mask(mask: UInt8Array, shape: tuple[int, int]) -> UInt8Array:
    """Scale (H, W) uint8 labels to `shape` (height, width), nearest by pixel centres."""
    if mask.shape == shape:
        return mask
    return _uint8(cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST_EXACT))


def pad_to_multiple(image: UInt8Array, multiple: int = LARGEST_STRIDE) -> UInt8Array:
    """Pad (h, w, 3) at the right and the bottom with PADDING_COLOUR to multiples of `multiple`."""
    height, width = image.shape[:2]
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return image
    return _uint8(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=PADDING_COLOUR))


def prepare_for_evaluation(
    image: UInt8Array, image_size: tuple[int, int], resize: InputResize
) -> tuple[UInt8Array, tuple[int, int]]:
    """Resize and pad an image as evaluation and prediction feed it.

    Args:
        image: (H, W, 3) uint8 RGB.
        image_size: the network's input, (height, width).
        resize: keep_ratio or fixed; or the name of a filter of Pillow's, and nothing is padded.

    Returns:
        The image (h, w, 3), h and w multiples of 32 where it may be padded, and its size (height, width) without the
        padding.
    """
    shape = resized_shape((image.shape[0], image.shape[1]), image_size, resize)
    if resize in ("keep_ratio", "fixed"):
        return pad_to_multiple(resize_image(image, shape)), shape
    method = Image.Resampling[resize.upper()]
    return np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), method)), shape


def prepare_for_windows(
    image: UInt8Array, window: tuple[int, int], image_size: tuple[int, int] | None, resize: InputResize
) -> tuple[UInt8Array, tuple[int, int]]:
    """Resize and pad an image for sliding windows.

    Args:
        image: (H, W, 3) uint8 RGB.
        window: (height, width) of the network's input.
        image_size: what the image is brought to first; None: it keeps its own size, unless it fits in one
            window, which it is brought to as `prepare_for_evaluation` would.
        resize: keep_ratio or fixed; what windows are cut from is padded, so that anything else counts as fixed.

    Returns:
        As `prepare_for_evaluation`.
    """
    own = (image.shape[0], image.shape[1])
    if image_size is None:
        image_size = window if fits(own, window) else own
    return prepare_for_evaluation(image, image_size, "keep_ratio" if resize == "keep_ratio" else "fixed")


def fits(shape: tuple[int, int], window: tuple[int, int]) -> bool:
    """Whether both sides of `shape` are within `window`'s."""
    return shape[0] <= window[0] and shape[1] <= window[1]


@dataclass(frozen=True)
class TrainingTransform:
    """Image and mask of any size → both at `image_size`, varied at random.

    The resized image is scaled by a factor drawn uniformly from [scale_min, scale_max], flipped, cropped at a
    random place or padded to `image_size`, moved by up to shift_pixels, and its colours are varied. The crop
    is cut from the source before scaling, so only pixels that stay are resized. Padding is PADDING_COLOUR in
    the image and `ignore_index` in the mask. It lies at the right and the bottom as in evaluation, or on all
    sides at random where the scale is random.
    """

    image_size: tuple[int, int]
    """(height, width) of the result."""
    resize: Resize
    """How the image is brought to image_size before it is varied."""
    augmentation: AugmentationConfig
    """Knobs, all of them filled (`AugmentationConfig.filled_from`)."""
    ignore_index: int = 255
    """Label of padding."""

    def __call__(
        self,
        image: UInt8Array,
        mask: UInt8Array,
        generator: np.random.Generator,
        original_shape: tuple[int, int] | None = None,
        focus: int | None = None,
    ) -> tuple[UInt8Array, UInt8Array]:
        """Vary one pair.

        Args:
            image: (H, W, 3) RGB.
            mask: (H, W), as large as the image.
            generator: where the random numbers come from.
            original_shape: (height, width) before both were reduced, if they were: it decides the aspect ratio.
            focus: a label; the crop holds one of its pixels, all equally likely, where the mask has any.

        Returns:
            Image (h, w, 3) and mask (h, w) at image_size; new arrays, contiguous.
        """
        # All draws happen here, always as many and in this order: a knob changes its own effect only.
        draw = generator.random(10)
        geometry = self._geometry(mask.shape, draw, original_shape, self._anchor(mask, generator, focus))
        (patch,) = self._lay_image(image, geometry, draw, (1.0,))
        return patch, self._lay_labels(mask, geometry)

    def views(
        self,
        image: UInt8Array,
        generator: np.random.Generator,
        jitters: tuple[float, ...],
        original_shape: tuple[int, int] | None = None,
    ) -> list[UInt8Array]:
        """Vary an image alone: views of one geometry, whose colours differ in strength.

        Args:
            image: (H, W, 3) RGB.
            generator: where the random numbers come from.
            jitters: a factor on the colour knobs for each view; 1 gives the image that `__call__` returns.
            original_shape: as in `__call__`.

        Returns:
            As many images (h, w, 3) at image_size; new arrays, contiguous.
        """
        draw = generator.random(10)
        geometry = self._geometry((image.shape[0], image.shape[1]), draw, original_shape, None)
        return self._lay_image(image, geometry, draw, jitters)

    def _lay_image(
        self, image: UInt8Array, geometry: _Geometry, draw: npt.NDArray[np.float64], jitters: tuple[float, ...]
    ) -> list[UInt8Array]:
        knobs = self.augmentation
        patch = resize_image(geometry.cut(image), geometry.shape)
        views = [
            vary_colours(
                patch,
                brightness=1 + jitter * _value(knobs.brightness) * (2 * draw[3] - 1),
                contrast=1 + jitter * _value(knobs.contrast) * (2 * draw[4] - 1),
                saturation=1 + jitter * _value(knobs.saturation) * (2 * draw[5] - 1),
                hue=jitter * _value(knobs.hue) * (2 * draw[6] - 1),
            )
            for jitter in jitters
        ]
        return [geometry.lay(view, self.image_size, PADDING_COLOUR) for view in views]

    def crop_labels(self, mask: UInt8Array, generator: np.random.Generator, focus: int | None = None) -> UInt8Array:
        """The labels (h, w) that `__call__` returns for a pair of this mask; the image is not needed."""
        draw = generator.random(10)
        return self._lay_labels(mask, self._geometry(mask.shape, draw, None, self._anchor(mask, generator, focus)))

    @staticmethod
    def _anchor(mask: UInt8Array, generator: np.random.Generator, focus: int | None) -> tuple[int, int] | None:
        """(row, column) of a pixel of `focus`, by one more draw where the mask has any."""
        if focus is None or not (pixels := np.flatnonzero(mask == focus)).size:
            return None
        row, column = divmod(int(pixels[int(generator.random() * pixels.size)]), mask.shape[1])
        return row, column

    def _lay_labels(self, mask: UInt8Array, geometry: _Geometry) -> UInt8Array:
        return geometry.lay(resize_mask(geometry.cut(mask), geometry.shape), self.image_size, self.ignore_index)

    def _geometry(
        self,
        shape: tuple[int, ...],
        draw: npt.NDArray[np.float64],
        original_shape: tuple[int, int] | None,
        anchor: tuple[int, int] | None,
    ) -> _Geometry:
        """The geometry for image and mask of `shape` alike, from the ten draws of `__call__`; a crop holds `anchor`."""
        knobs = self.augmentation
        height, width = shape
        factor = _between(draw[0], _value(knobs.scale_min), _value(knobs.scale_max))
        resized = resized_shape(original_shape or (height, width), self.image_size, self.resize)
        random_place = knobs.scale_min != knobs.scale_max
        row, column = anchor or (None, None)
        shift = int(_value(knobs.shift_pixels))
        return _Geometry(
            _place(height, resized[0] * factor, self.image_size[0], draw[1], random_place, row),
            _place(width, resized[1] * factor, self.image_size[1], draw[2], random_place, column),
            flipped=bool(draw[7] < _value(knobs.flip_probability)),
            down=_integer_between(draw[8], -shift, shift),
            right=_integer_between(draw[9], -shift, shift),
        )


def vary_colours(image: UInt8Array, *, brightness: float, contrast: float, saturation: float, hue: float) -> UInt8Array:
    """Colour jitter as one affine map of RGB, in one pass over the pixels.

    Brightness multiplies; contrast scales around the image's mean grey; saturation scales towards (or away
    from) each pixel's grey; hue turns the chroma plane of YIQ by `hue` full turns, which keeps the grey.

    Args:
        image: (H, W, 3) uint8 RGB.
        brightness: factor, 1 changes nothing.
        contrast: factor, 1 changes nothing.
        saturation: factor, 1 changes nothing, 0 gives grey.
        hue: share of a full turn, 0 changes nothing.
    """
    if brightness == contrast == saturation == 1 and hue == 0:
        return image
    angle = 2 * math.pi * hue
    turn = np.array([[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])
    chroma = np.linalg.inv(_TO_YIQ) @ turn @ _TO_YIQ
    grey = np.broadcast_to(_GREY, (3, 3))
    linear = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * grey) @ chroma
    mean_grey = brightness * float(_GREY @ np.asarray(cv2.mean(image)[:3]))
    offset = np.full((3, 1), (1 - contrast) * mean_grey)
    return _uint8(cv2.transform(image, np.hstack([linear, offset]).astype(np.float32)))


@dataclass(frozen=True)
class _Place:
    """Along one axis: which source pixels are taken, to how many they are scaled, and where they start."""

    source: slice
    length: int
    start: int


@dataclass(frozen=True)
class _Geometry:
    """Which part of a pair is taken and where it lies in the result."""

    rows: _Place
    columns: _Place
    flipped: bool
    down: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) to which the part is scaled."""
        return self.rows.length, self.columns.length

    def cut(self, array: UInt8Array) -> UInt8Array:
        return array[self.rows.source, self.columns.source]

    def lay(self, part: UInt8Array, shape: tuple[int, int], filling: int | tuple[int, ...]) -> UInt8Array:
        """The scaled part on a canvas of `shape`."""
        part = _uint8(cv2.flip(part, 1)) if self.flipped else part
        return _paste(part, shape, self.rows.start + self.down, self.columns.start + self.right, filling)


def _place(side: int, scaled: float, target: int, draw: float, random_place: bool, anchor: int | None = None) -> _Place:
    """Crop or pad one axis.

    Args:
        side: source pixels.
        scaled: how many they would become.
        target: how many are wanted.
        draw: in [0, 1), decides the place of the crop or of the padding.
        random_place: whether padding may lie on both sides.
        anchor: source pixel that a crop must hold; None: any.
    """
    length = max(1, round(scaled))
    if length > target:
        window = max(1, min(side, round(target * side / scaled)))
        least, most = 0, side - window
        if anchor is not None:
            least, most = max(least, anchor - window + 1), min(most, anchor)
        first = _integer_between(draw, least, most)
        return _Place(slice(first, first + window), target, 0)
    start = _integer_between(draw, 0, target - length) if random_place else 0
    return _Place(slice(0, side), length, start)


def _paste(
    content: UInt8Array, shape: tuple[int, int], top: int, left: int, filling: int | tuple[int, ...]
) -> UInt8Array:
    """`content` at (top, left) of a canvas of `shape`; what lies outside is cut, the rest is `filling`."""
    first_row, first_column = max(0, top), max(0, left)
    last_row, last_column = min(shape[0], top + content.shape[0]), min(shape[1], left + content.shape[1])
    visible = content[first_row - top : max(0, last_row - top), first_column - left : max(0, last_column - left)]
    if not visible.size:
        return np.full((*shape, *content.shape[2:]), filling, dtype=np.uint8)
    borders = (first_row, shape[0] - last_row, first_column, shape[1] - last_column)
    return _uint8(cv2.copyMakeBorder(visible, *borders, cv2.BORDER_CONSTANT, value=filling))


def _between(draw: float, low: float, high: float) -> float:
    return low + draw * (high - low)


def _integer_between(draw: float, low: int, high: int) -> int:
    """`draw` in [0, 1) → an integer from low to high, both included, equally likely."""
    return low + int(draw * (high - low + 1))


def _value(knob: float | None) -> float:
    assert knob is not None, "augmentation knobs must be filled from a preset"
    return knob


def _uint8(array: npt.NDArray[np.generic]) -> UInt8Array:
    """OpenCV's stubs promise any number type; uint8 in is uint8 out."""
    assert array.dtype == np.uint8
    return array  # type: ignore[return-value]
