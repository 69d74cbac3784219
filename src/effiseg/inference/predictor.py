"""Labels out: images of any size and any form of a model to label maps."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Literal, overload

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from effiseg.config.data import Resize
from effiseg.config.engine import EngineName, Output
from effiseg.data.reading import read_image
from effiseg.data.transforms import UInt8Array, fits, prepare_for_evaluation, prepare_for_windows
from effiseg.errors import UsageError
from effiseg.inference.label_map import enlarged_labels, label_map_of_bands, whole_size
from effiseg.inference.network import ModelSource, load_network, padded_to
from effiseg.inference.segmentation import Probabilities, Segmentation
from effiseg.inference.sliding_window import CELL, Windows, logit_bands, make_windows, with_mirror_image
from effiseg.visualization.palettes import colour_blind_safe_palette

Mode = Literal["whole", "slide"]
ImageSource = str | os.PathLike[str] | UInt8Array | Image.Image
"""A file, an (H, W, 3) uint8 RGB array, or a Pillow image."""


@dataclass(frozen=True)
class Prepared:
    """An image as the network reads it."""

    image: UInt8Array
    """(H, W, 3) uint8 RGB as it came."""
    padded: Tensor
    """(3, h, w) uint8 RGB."""
    valid_size: tuple[int, int]
    """(height, width) of the image in `padded`."""
    source: str | None
    """The file it came from."""

    @property
    def full_size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def whole_size(self) -> tuple[int, int]:
        """What all of `padded` stands for at the image's own size."""
        return whole_size((self.padded.shape[1], self.padded.shape[2]), self.valid_size, self.full_size)


class Predictor:
    """A model, ready to label images.

    Images are resized, padded and normalized as in evaluation, and labels come back at each image's own size.

    Args:
        model: a SegFormer, or what the commands take as MODEL: run folder, model folder, transformers folder, Hub
            id, or a file that `effiseg export` wrote.
        engine: what runs a model that is no file, default torch; a file's own is given by its suffix.
        runtime: the former name of `engine`, accepted for one release.
        device: auto (a GPU where there is one), cpu or cuda; exported files run on the CPU.
        mode: whole brings the image to the network's input. slide keeps its size and moves a window over it, whose
            logits are blended; an image that fits in one window is predicted as whole would.
        window: (height, width) of the window; default: the model's input size.
        stride: pixels from one window to the next; default: two thirds of the window's sides.
        flip: average the logits with those of the mirror image; twice the work.
        image_size: whole: the network's input (height, width), default the model's own. slide: what images are
            brought to before windows are cut; default: they keep their size.
        resize: keep_ratio or fixed, how they are brought there; default: the model's own.
        batch_size: most images, or windows, of one pass.
        threads: threads of an exported file's engine; default: torch's number.
        probabilities: also keep every class's probability, at a quarter of the network's input.

    Raises:
        ModelError: the model cannot be loaded.
        UsageError: options that do not go together, or that this model cannot have.

    Example:
        >>> predictor = Predictor("runs/kd")  # doctest: +SKIP
        >>> predictor("street.jpg").areas()["road"]  # doctest: +SKIP
        0.31
    """

    def __init__(
        self,
        model: ModelSource,
        *,
        engine: EngineName | None = None,
        runtime: EngineName | None = None,
        device: str = "auto",
        mode: Mode = "whole",
        window: tuple[int, int] | None = None,
        stride: int | None = None,
        flip: bool = False,
        image_size: tuple[int, int] | None = None,
        resize: Resize | None = None,
        batch_size: int = 4,
        threads: int | None = None,
        probabilities: bool = False,
    ) -> None:
        if runtime is not None:
            warnings.warn("Predictor(runtime=…) is now Predictor(engine=…)", FutureWarning, stacklevel=2)
        network = load_network(model, engine=engine or runtime, device=device, threads=threads)
        self.metadata = network.metadata
        """Classes, colours, normalization and input size."""
        refuse_without_logits(network.source, network.output, mode, flip, probabilities)
        self.palette = self.metadata.palette or colour_blind_safe_palette(self.metadata.num_classes)
        """One RGB colour a class: the model's, or where it has none colours that stay apart."""
        self._network = network
        self._predict = with_mirror_image(network.predict) if flip else network.predict
        self._resize: Resize = resize or self.metadata.resize
        self.batch_size = batch_size
        """Most images, or windows, of one pass."""
        self._probabilities = probabilities
        self._windows = choose_windows(
            network.source, network.input_size, self.metadata.image_size, mode, window, stride
        )
        self._image_size = image_size
        if self._windows is None:
            self._image_size = choose_image_size(
                network.source, network.input_size, self.metadata.image_size, image_size
            )

    @property
    def images_per_pass(self) -> int:
        """How many images `segment` should get at a time: in mode slide a pass is filled with windows."""
        return self.batch_size if self._windows is None else 1

    @overload
    def __call__(self, images: ImageSource) -> Segmentation: ...  # type: ignore[overload-overlap]  # str is a sequence
    @overload
    def __call__(self, images: Sequence[ImageSource]) -> list[Segmentation]: ...
    def __call__(self, images: ImageSource | Sequence[ImageSource]) -> Segmentation | list[Segmentation]:
        """Label an image, or several.

        Args:
            images: a file, an (H, W, 3) uint8 RGB array or a Pillow image; a sequence of these, or a
                (B, H, W, 3) array, for several. Sizes may differ.

        Returns:
            One segmentation, or a list of them in the order given.

        Raises:
            DataError: a file cannot be read.
            UsageError: an array of another form.
        """
        several = images.ndim == 4 if isinstance(images, np.ndarray) else isinstance(images, (list, tuple))
        if several:
            rest: Iterator[ImageSource] = iter(images)  # type: ignore[arg-type]
            found: list[Segmentation] = []
            while part := [self.prepare(image) for image in islice(rest, self.images_per_pass)]:
                found += self.segment(part)
            return found
        return next(self.segment([self.prepare(images)]))  # type: ignore[arg-type]

    def prepare(self, given: ImageSource) -> Prepared:
        """Read, resize and pad an image, on the CPU; safe to call from several threads.

        Raises:
            DataError: the file cannot be read.
            UsageError: an array of another form.
        """
        source = os.fspath(given) if isinstance(given, (str, os.PathLike)) else None
        image = read_image(source) if source is not None else as_rgb(given)  # type: ignore[arg-type]
        if self._windows is None:
            assert self._image_size is not None
            prepared, valid_size = prepare_for_evaluation(image, self._image_size, self._resize)
        else:
            prepared, valid_size = prepare_for_windows(image, self._windows.size, self._image_size, self._resize)
        # A tensor must not lie in memory that cannot be written, as a Pillow image's.
        padded = torch.from_numpy(prepared if prepared.flags.writeable else prepared.copy()).permute(2, 0, 1)
        return Prepared(image, padded_to(padded, self._input_shape(prepared, valid_size)), valid_size, source)

    def _input_shape(self, prepared: UInt8Array, valid_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) to pad an image to, so that the network, or its windows, can take it."""
        height, width = prepared.shape[:2]
        size = self._network.input_size
        if size is not None and fits(valid_size, size):
            return size
        least_height, least_width = size or (self._network.least_side, self._network.least_side)
        return max(height, least_height), max(width, least_width)

    def segment(self, images: Sequence[Prepared]) -> Iterator[Segmentation]:
        """Label prepared images; neighbours of equal input size share a pass.

        Args:
            images: what `prepare` gave.

        Yields:
            One segmentation an image, in their order.
        """
        if self._windows is not None:
            for image in images:
                bands = logit_bands(self._predict, image.padded, image.valid_size, self._windows, self.batch_size)
                yield self._finish(image, bands)
            return
        for _, group in groupby(images, key=lambda image: image.padded.shape):
            equal = list(group)
            for start in range(0, len(equal), self.batch_size):
                part = equal[start : start + self.batch_size]
                answers = self._predict(torch.stack([image.padded for image in part]))
                for image, answer in zip(part, answers, strict=True):
                    yield self._finish(image, iter([answer]))

    def _finish(self, image: Prepared, bands: Iterator[Tensor]) -> Segmentation:
        kept: list[Tensor] = []
        if self._network.output == "labels":
            labels = enlarged_labels(next(bands), image.whole_size, image.full_size)
        else:
            rows = -(-image.padded.shape[1] // CELL)
            labels = label_map_of_bands(self._keeping(bands, kept), rows, image.whole_size, image.full_size)
        found = None
        if self._probabilities:
            height, width = image.valid_size
            values = torch.cat(kept, 1)[:, : -(-height // CELL), : -(-width // CELL)]
            found = Probabilities(values.numpy(), (height / CELL, width / CELL))
        names = self.metadata.names
        return Segmentation(labels.cpu().numpy(), image.image, names, self.palette, image.source, found)

    def _keeping(self, bands: Iterator[Tensor], kept: list[Tensor]) -> Iterator[Tensor]:
        for band in bands:
            if self._probabilities:
                kept.append(band.float().softmax(0).half().cpu())
            yield band


def refuse_without_logits(source: str, output: Output, mode: Mode, flip: bool, probabilities: bool = False) -> None:
    """Refuse what a file that answers with labels cannot have.

    Raises:
        UsageError: it was asked for.
    """
    for wanted, option in ((mode == "slide", "mode slide"), (flip, "flip"), (probabilities, "probabilities")):
        if wanted and output == "labels":
            raise UsageError(f"{source}: {option} needs logits; this file answers with labels (--output logits)")


def choose_windows(
    source: str,
    input_size: tuple[int, int] | None,
    own_size: tuple[int, int] | None,
    mode: Mode,
    window: tuple[int, int] | None,
    stride: int | None,
) -> Windows | None:
    """The windows of a mode; None for whole.

    Args:
        source: what the model is called in errors.
        input_size: the one size that an exported file takes; None: any.
        own_size: the model's (height, width) in training.
        mode: whole or slide.
        window: what was asked for.
        stride: what was asked for.

    Raises:
        UsageError: window or stride without slide, no size at all, or one that the file does not take.
    """
    if mode == "whole":
        for option, value in (("window", window), ("stride", stride)):
            if value is not None:
                raise UsageError(f"--{option} belongs to --mode slide; found it with whole")
        return None
    size = window or input_size or own_size
    if size is None:
        raise UsageError(f"{source}: does not say its input size; give --window HEIGHTxWIDTH")
    if input_size not in (None, size):
        height, width = input_size
        raise UsageError(
            f"{source}: --window must be the size that the file was exported for, {height}x{width}; found "
            f"{size[0]}x{size[1]}; export it with --dynamic to take any"
        )
    return make_windows(size, stride)


def choose_image_size(
    source: str,
    input_size: tuple[int, int] | None,
    own_size: tuple[int, int] | None,
    wanted: tuple[int, int] | None,
) -> tuple[int, int]:
    """The network's input in mode whole: what was asked for, else the file's, else the model's own.

    Args:
        source: what the model is called in errors.
        input_size: the one size that an exported file takes; None: any.
        own_size: the model's (height, width) in training.
        wanted: what was asked for.

    Raises:
        UsageError: no size at all, or one that the file does not take.
    """
    if input_size is not None and wanted not in (None, input_size):
        height, width = input_size
        raise UsageError(f"{source}: --image_size must be the file's own, {height}x{width}; export it with --dynamic")
    size = wanted or input_size or own_size
    if size is None:
        raise UsageError(f"{source}: does not say its input size; give --image_size HEIGHTxWIDTH")
    return size


def as_rgb(image: npt.NDArray[np.generic] | Image.Image) -> UInt8Array:
    """An image in memory as (H, W, 3) uint8 RGB, contiguous.

    Raises:
        UsageError: an array of another form or type.
    """
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if not isinstance(image, np.ndarray):
        raise UsageError(f"an image is a file, a Pillow image or an array; found {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UsageError(f"an image array must be uint8 RGB of shape (H, W, 3); found {image.dtype} {image.shape}")
    rgb: UInt8Array = np.ascontiguousarray(image)
    return rgb
