"""The one road from images to labels: a network, and how images meet it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from effiseg.data.transforms import (
    PADDING_COLOUR,
    UInt8Array,
    fits,
    prepare_for_evaluation,
    prepare_for_windows,
)
from effiseg.inference.framing import Framing
from effiseg.inference.label_map import enlarged_labels, label_map_of_bands, whole_size
from effiseg.inference.network import Network
from effiseg.inference.sliding_window import logit_bands, with_mirror_image

Bands = Iterator[Tensor]
"""The answer for one image: its logits (K, rows, ⌈w/stride⌉) from top to bottom, or its labels (h, w) in one piece."""


@dataclass(frozen=True)
class Frame:
    """An image as a network reads it."""

    pixels: Tensor
    """(3, h, w) uint8 RGB, resized, and padded at the right and the bottom."""
    valid_size: tuple[int, int]
    """(height, width) of the image in `pixels`."""
    full_size: tuple[int, int]
    """(height, width) of the image as it came: that of its label map."""


class FramedNetwork:
    """A network that takes images of any size and labels them at their own size.

    Args:
        network: loaded.
        framing: what was asked for.

    Raises:
        UsageError: see `Framing.completed`.
    """

    def __init__(self, network: Network, framing: Framing) -> None:
        self.network = network
        self.framing = framing.completed(network)
        """Completed."""
        self._predict = with_mirror_image(network.predict) if framing.flip else network.predict

    def frame(self, image: UInt8Array) -> Frame:
        """Resize and pad an image, on the CPU; safe to call from several threads.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        framing = self.framing
        assert framing.resize is not None
        if framing.windows is None:
            assert framing.image_size is not None
            prepared, valid_size = prepare_for_evaluation(image, framing.image_size, framing.resize)
        else:
            prepared, valid_size = prepare_for_windows(image, framing.windows.size, framing.image_size, framing.resize)
        # A tensor must not lie in memory that cannot be written, as a Pillow image's.
        pixels = torch.from_numpy(prepared if prepared.flags.writeable else prepared.copy()).permute(2, 0, 1)
        return self.padded(Frame(pixels, valid_size, (image.shape[0], image.shape[1])))

    def padded(self, frame: Frame) -> Frame:
        """A frame with its padding cut or continued, so that the network, or its windows, can take it.

        Args:
            frame: padded to multiples of 32, or to a window.
        """
        height, width = frame.pixels.shape[1:]
        size = self.network.input_size
        if size is None or not fits(frame.valid_size, size):
            least_height, least_width = size or (self.network.least_side, self.network.least_side)
            size = max(height, least_height), max(width, least_width)
        return Frame(padded_to(frame.pixels, size), frame.valid_size, frame.full_size)

    def answers(self, frames: Iterable[Frame]) -> Iterator[Bands]:
        """Run the network; neighbours of equal size share a pass.

        Args:
            frames: padded; images of one pass or more.

        Yields:
            The bands of each frame, in their order; they are to be taken before the next frame's.
        """
        framing = self.framing
        if framing.windows is not None:
            for frame in frames:
                yield logit_bands(self._predict, frame.pixels, frame.valid_size, framing.windows, framing.batch_size)
            return
        for _, group in groupby(frames, key=lambda frame: frame.pixels.shape):
            equal = [frame.pixels for frame in group]
            for start in range(0, len(equal), framing.batch_size):
                for answer in self._predict(torch.stack(equal[start : start + framing.batch_size])):
                    yield iter([answer])

    def labels(self, frame: Frame, bands: Bands) -> Tensor:
        """The label map of an answer, (H, W) uint8 on its device, at the image's own size.

        Logits are brought there by one bilinear interpolation, labels by the nearest neighbour.
        """
        padded = frame.pixels.shape[1], frame.pixels.shape[2]
        size = whole_size(padded, frame.valid_size, frame.full_size)
        if self.network.output == "labels":
            return enlarged_labels(next(bands), size, frame.full_size)
        return label_map_of_bands(bands, -(-padded[0] // self.network.output_stride), size, frame.full_size)


def padded_to(image: Tensor, size: tuple[int, int]) -> Tensor:
    """An image's padding cut or continued to `size`, which its valid part fits in.

    Args:
        image: (3, h, w) uint8, padded at the right and the bottom.
        size: (height, width) of the result.
    """
    if image.shape[1:] == size:
        return image
    padded = torch.tensor(PADDING_COLOUR, dtype=torch.uint8).view(3, 1, 1).repeat(1, *size)
    height, width = (min(side, most) for side, most in zip(image.shape[1:], size, strict=True))
    padded[:, :height, :width] = image[:, :height, :width]
    return padded
