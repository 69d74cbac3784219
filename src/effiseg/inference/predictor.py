"""Labels out: images of any size and any form of a model to label maps."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import overload

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from effiseg.config.data import Resize
from effiseg.config.engine import EngineName
from effiseg.config.framing import Mode
from effiseg.data.image_file import decode_pillow_image
from effiseg.data.reading import read_image
from effiseg.data.transforms import UInt8Array
from effiseg.errors import UsageError
from effiseg.inference.framed_network import Bands, Frame, FramedNetwork
from effiseg.inference.framing import Framing
from effiseg.inference.network import ModelSource, load_network
from effiseg.inference.segmentation import Probabilities, Segmentation
from effiseg.visualization.palettes import colour_blind_safe_palette

ImageSource = str | os.PathLike[str] | UInt8Array | Image.Image
"""A file, an (H, W, 3) uint8 RGB array, or a Pillow image."""


@dataclass(frozen=True)
class Prepared:
    """An image, and what the network reads of it."""

    image: UInt8Array
    """(H, W, 3) uint8 RGB as it came."""
    frame: Frame
    """The image as the network reads it."""
    source: str | None
    """The file it came from."""


class Predictor:
    """A model, ready to label images.

    Images are resized, padded and normalized as in evaluation, and labels come back at each image's own size.

    Args:
        model: a SegFormer, ours or transformers', or what the commands take as MODEL: run folder, model folder,
            transformers folder, Hub id, or a file that `effiseg export` wrote.
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
        probabilities: also keep every class's probability, at the size of the logits.

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
        framing = Framing(image_size, resize, mode, window, stride, flip, batch_size)
        network = load_network(model, engine=engine or runtime, device=device, threads=threads)
        if probabilities:
            network.require_logits("probabilities")
        self.metadata = network.metadata
        """Classes, colours, normalization and input size."""
        self.palette = self.metadata.palette or colour_blind_safe_palette(self.metadata.num_classes)
        """One RGB colour a class: the model's, or where it has none colours that stay apart."""
        self._framed = FramedNetwork(network, framing)
        self._probabilities = probabilities

    @property
    def images_per_pass(self) -> int:
        """How many images `segment` should get at a time: in mode slide a pass is filled with windows."""
        return self._framed.framing.images_per_pass

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
            DataError: a file or a Pillow image cannot be read.
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
        image = read_image(given) if source is not None else _as_rgb(given)  # type: ignore[arg-type]
        return Prepared(image, self._framed.frame(image), source)

    def segment(self, images: Sequence[Prepared]) -> Iterator[Segmentation]:
        """Label prepared images; neighbours of equal input size share a pass.

        Args:
            images: what `prepare` gave.

        Yields:
            One segmentation an image, in their order.
        """
        frames = [image.frame for image in images]
        for image, bands in zip(images, self._framed.answers(frames), strict=True):
            yield self._finish(image, bands)

    def _finish(self, image: Prepared, bands: Bands) -> Segmentation:
        kept: list[Tensor] = []
        labels = self._framed.labels(image.frame, self._keeping(bands, kept) if self._probabilities else bands)
        found = None
        if self._probabilities:
            height, width = image.frame.valid_size
            cell = self._framed.network.output_stride
            values = torch.cat(kept, 1)[:, : -(-height // cell), : -(-width // cell)]
            found = Probabilities(values.numpy(), (height / cell, width / cell))
        names = self.metadata.names
        return Segmentation(labels.cpu().numpy(), image.image, names, self.palette, image.source, found)

    def _keeping(self, bands: Bands, kept: list[Tensor]) -> Bands:
        for band in bands:
            kept.append(band.float().softmax(0).half().cpu())
            yield band


def _as_rgb(image: npt.NDArray[np.generic] | Image.Image) -> UInt8Array:
    """An image in memory as (H, W, 3) uint8 RGB, contiguous; one of Pillow as its file is read.

    Raises:
        DataError: an image of Pillow that cannot be decoded, or whose pixels are of 32 bits.
        UsageError: an array of another form or type.
    """
    if isinstance(image, Image.Image):
        return decode_pillow_image(image)
    if not isinstance(image, np.ndarray):
        raise UsageError(f"an image is a file, a Pillow image or an array; found {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UsageError(f"an image array must be uint8 RGB of shape (H, W, 3); found {image.dtype} {image.shape}")
    rgb: UInt8Array = np.ascontiguousarray(image)
    return rgb
