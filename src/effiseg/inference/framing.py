"""How an image meets a network: what it is brought to, in one piece or by windows, and how many share a pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from effiseg.config.data import InputResize
from effiseg.config.framing import FramingConfig, Mode
from effiseg.config.model import LARGEST_STRIDE
from effiseg.environment import require_memory
from effiseg.errors import UsageError

if TYPE_CHECKING:
    from effiseg.inference.network import Network


@dataclass(frozen=True)
class Windows:
    """How an image is cut up; see `make_windows`."""

    size: tuple[int, int]
    """(height, width) of a window in pixels, multiples of `cell`."""
    stride: tuple[int, int]
    """From one window to the next, down and to the right, multiples of `cell`."""
    cell: int = 4
    """Pixels of the image, along one axis, that one logit stands for."""


@dataclass(frozen=True)
class Framing:
    """How an image meets a network. None leaves a choice to the network, see `completed`.

    Raises:
        UsageError: window or stride without slide.
    """

    image_size: tuple[int, int] | None = None
    """whole: the network's input (height, width); default: the file's, else the model's own. slide: what images are
    brought to before windows are cut; default: they keep their size."""
    resize: InputResize | None = None
    """How images are brought there, see `prepare_for_evaluation`; default: the model's own."""
    mode: Mode = "whole"
    """whole brings the image to the network's input. slide keeps its size and moves a window over it, whose logits are
    blended; an image that fits in one window is predicted as whole would."""
    window: tuple[int, int] | None = None
    """slide: (height, width) of the window; default: the network's input."""
    stride: int | None = None
    """slide: pixels from one window to the next; default: two thirds of the window's sides."""
    flip: bool = False
    """Average the logits with those of the mirror image; twice the work."""
    batch_size: int = 4
    """Most images, or windows, of one pass."""
    cell: int | None = None
    """The network's output stride, which `completed` fills in; it is not asked for."""

    def __post_init__(self) -> None:
        if self.mode == "whole":
            for option, value in (("window", self.window), ("stride", self.stride)):
                if value is not None:
                    raise UsageError(f"--{option} belongs to --mode slide; found it with whole")

    @classmethod
    def of(cls, config: FramingConfig) -> Framing:
        """The framing that the settings of a command or function say."""
        return cls(
            config.image_size, config.resize, config.mode, config.window, config.stride, config.flip, config.batch_size
        )

    def completed(self, network: Network) -> Framing:
        """The framing with the network's own choices where none was made.

        Raises:
            UsageError: no size is known, or one that the network does not take; or what needs logits of a file that
                answers with labels.
        """
        for wanted, option in ((self.mode == "slide", "mode slide"), (self.flip, "flip")):
            if wanted:
                network.require_logits(option)
        own, source = network.metadata.image_size, network.source
        resize = self.resize or network.metadata.resize
        if (self.mode == "slide" or self.flip) and resize != "keep_ratio":
            resize = "fixed"  # both need padded inputs
        completed = replace(self, resize=resize, cell=network.output_stride)
        if self.mode == "whole":
            size = known_size(source, self.image_size, network.input_size, own)
            if network.input_size not in (None, size):
                raise UsageError(
                    f"{source}: --image_size must be the file's own, {size_text(network.input_size)}; export it with "
                    "--dynamic"
                )
            require_memory(self.batch_size, size, str(network.device))
            return replace(completed, image_size=size)
        size = known_size(source, self.window, network.input_size, own, fix="give --window HEIGHTxWIDTH")
        if network.input_size not in (None, size):
            raise UsageError(
                f"{source}: --window must be the size that the file was exported for, {size_text(network.input_size)}; "
                f"found {size_text(size)}; export it with --dynamic to take any"
            )
        require_memory(self.batch_size, size, str(network.device))
        completed = replace(completed, window=size)
        assert completed.windows is not None  # they are refused here, not at the first image
        return completed

    @cached_property
    def windows(self) -> Windows | None:
        """The windows of a completed framing; None for whole.

        Raises:
            UsageError: see `make_windows`.
        """
        if self.window is None:
            return None
        assert self.cell is not None
        return make_windows(self.window, self.stride, self.cell)

    @property
    def images_per_pass(self) -> int:
        """How many images share a pass; in mode slide it is filled with one image's windows."""
        return self.batch_size if self.mode == "whole" else 1

    def described(self) -> dict[str, Any]:
        """The completed framing as a results file has it: image_size, resize and inference."""
        inference = "whole"
        if self.windows is not None:
            down, right = self.windows.stride
            inference = f"slide {size_text(self.windows.size)}, stride {down}" + (f"x{right}" if right != down else "")
        return {
            "image_size": None if self.image_size is None else list(self.image_size),
            "resize": self.resize,
            "inference": inference + (" + mirror image" if self.flip else ""),
        }


def make_windows(size: tuple[int, int], stride: int | None = None, cell: int = 4) -> Windows:
    """Windows of a size.

    Args:
        size: (height, width) in pixels.
        stride: pixels from one window to the next; default: two thirds of the window's side on each axis.
        cell: pixels of the image, along one axis, that one logit stands for.

    Raises:
        UsageError: a side or the stride is not a multiple of `cell`, a side is under 32, or the stride is larger than
            the window, which would leave gaps.
    """
    height, width = size
    if min(size) < LARGEST_STRIDE or height % cell or width % cell:
        raise UsageError(
            f"--window must have sides from {LARGEST_STRIDE} on that are multiples of {cell}, which one logit "
            f"stands for; found {size_text(size)}"
        )
    if stride is None:
        return Windows(size, (2 * height // 3 // cell * cell, 2 * width // 3 // cell * cell), cell)
    if stride < cell or stride % cell or stride > min(size):
        raise UsageError(
            f"--stride must be a multiple of {cell} and at most the window's shorter side, {min(size)}, so that no gap "
            f"is left; found {stride}"
        )
    return Windows(size, (stride, stride), cell)


def known_size(
    source: str, *sizes: tuple[int, int] | None, fix: str = "give --image_size HEIGHTxWIDTH"
) -> tuple[int, int]:
    """The first input size that is known.

    Args:
        source: what the model is called in errors.
        sizes: (height, width) that was asked for, then of the file, then of the model.
        fix: what the user can do about it.

    Raises:
        UsageError: none is.
    """
    for size in sizes:
        if size is not None:
            return size
    raise UsageError(f"{source}: does not say its input size; {fix}")


def size_text(size: tuple[int, int] | None) -> str:
    """HEIGHTxWIDTH."""
    assert size is not None
    return f"{size[0]}x{size[1]}"
