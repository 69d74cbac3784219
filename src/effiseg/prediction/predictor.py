"""Labels out, whatever comes in: images in memory, files, folders, globs, videos and streams."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal, overload

import numpy as np

from effiseg.data.folders import has_wildcard
from effiseg.inference.predictor import ImageSource, Prepared
from effiseg.inference.predictor import Predictor as ImagePredictor
from effiseg.inference.segmentation import Segmentation
from effiseg.notebook import html_table
from effiseg.prediction.sources import VIDEO_EXTENSIONS, find_sources
from effiseg.prediction.video import FrameReader


class Predictor(ImagePredictor):
    """A model, ready to label images: `effiseg.inference.predictor.Predictor`, whose arguments it takes.

    Beside images it takes folders, globs, videos, a webcam's number and URLs of streams, as `effiseg predict` does.

    Example:
        >>> predictor = Predictor("runs/kd")  # doctest: +SKIP
        >>> predictor("street.jpg").areas()["road"]  # doctest: +SKIP
        0.31
        >>> for found in predictor("drive.mp4", stream=True):  # doctest: +SKIP
        ...     found.overlay()
    """

    @overload
    def __call__(
        self, images: ImageSource | Sequence[ImageSource], *, stream: Literal[True]
    ) -> Iterator[Segmentation]: ...
    @overload
    def __call__(self, images: ImageSource) -> Segmentation: ...  # type: ignore[overload-overlap]  # str is a sequence
    @overload
    def __call__(self, images: Sequence[ImageSource]) -> list[Segmentation]: ...
    def __call__(
        self, images: ImageSource | Sequence[ImageSource], *, stream: bool = False
    ) -> Segmentation | list[Segmentation] | Iterator[Segmentation]:
        """Label an image, or several.

        Args:
            images: a file, an (H, W, 3) uint8 RGB array or a Pillow image; a sequence of these, a (B, H, W, 3) array, a
                folder, a glob, a video, a webcam's number as text or a URL, for several. Sizes may differ.
            stream: give the segmentations one by one as they are made, in place of a list that holds all.

        Returns:
            One segmentation, a list of them in the order given, or an iterator over them. Frames of a video have the
            video as their `path`.

        Raises:
            DataError: a file or a Pillow image cannot be read.
            UsageError: an array of another form.
        """
        given = self._prepared(images)
        if stream:
            return self._in_passes(given)
        found = list(self._in_passes(given))
        return found if _is_several(images) else found[0]

    def _in_passes(self, images: Iterator[Prepared]) -> Iterator[Segmentation]:
        while part := list(islice(images, self.images_per_pass)):
            yield from self.segment(part)

    def _prepared(self, images: ImageSource | Sequence[ImageSource]) -> Iterator[Prepared]:
        if isinstance(images, str | os.PathLike):
            yield from self._of_address(os.fspath(images))
        elif _is_several(images):
            for image in images:  # type: ignore[union-attr]
                yield from self._prepared(image)
        else:
            yield self.prepare(images)  # type: ignore[arg-type]

    def _of_address(self, address: str) -> Iterator[Prepared]:
        if not _names_several(address):
            yield self.prepare(address)
            return
        for source in find_sources([address]):
            if source.kind == "image":
                yield self.prepare(source.address)
                continue
            reader = FrameReader(source.address)
            try:
                while (frame := reader.read()) is not None:
                    yield replace(self.prepare(frame), source=source.address)
            finally:
                reader.close()

    def _repr_html_(self) -> str:
        """The classes and their colours, for notebooks."""
        colors = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in self.palette]
        rows = list(zip(range(len(colors)), self.metadata.names, colors, strict=True))
        return html_table(repr(self), ("", "class", "color"), rows)

    def __repr__(self) -> str:
        size = self.metadata.image_size
        return f"Predictor({self.metadata.num_classes} classes{'' if size is None else f', {size[0]}x{size[1]}'})"


def _is_several(images: object) -> bool:
    """Whether a list is the answer."""
    if isinstance(images, str | os.PathLike):
        return _names_several(os.fspath(images))
    return images.ndim == 4 if isinstance(images, np.ndarray) else isinstance(images, list | tuple)


def _names_several(address: str) -> bool:
    """Whether an address is a folder, a glob, a video or a stream, and no file of an image."""
    path = Path(address).expanduser()
    if path.is_file():
        return path.suffix.lower() in VIDEO_EXTENSIONS
    return path.is_dir() or has_wildcard(address) or "://" in address or address.isdigit()
