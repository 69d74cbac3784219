"""Parts of every engine: a network written as a file, a file that was loaded, and what runs files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from effiseg.config.engine import EngineName, ExportFormat, Output, Precision
from effiseg.engines.record import ExportRecord
from effiseg.errors import ModelError
from effiseg.models.metadata import ModelMetadata

if TYPE_CHECKING:
    import torch
    from torch import nn

    from effiseg.models.fused_blocks import AttentionForm, PointwiseForm
    from effiseg.models.segformer import SegFormer

    Images = npt.NDArray[np.uint8] | torch.Tensor

Pixels = npt.NDArray[np.uint8]
Answer = npt.NDArray[Any]


class LoadedModel:
    """A file that was loaded: images to logits or labels.

    Args:
        path: the file.
        record: what the file says of itself: metadata, output, input size.
        precision: what it computes in here; bfloat16 is float32 where the processor has no instructions for it.
        engine: the word for what runs it.
        run: one pass over as many images as the file takes, contiguous; the answer in memory of its own.
    """

    def __init__(
        self, path: Path, record: ExportRecord, precision: Precision, engine: str, run: Callable[[Pixels], Answer]
    ) -> None:
        self.path = path
        self.record = record
        self.precision: Precision = precision
        self.engine = engine
        self._run = run

    @property
    def metadata(self) -> ModelMetadata:
        """Classes, colours and input size: the record's."""
        return self.record.metadata

    def __call__(self, images: Images) -> Answer:
        """Run the network.

        Args:
            images: (B, H, W, 3) uint8 RGB, an array or a tensor on the CPU.

        Returns:
            Logits (B, K, ⌈H/stride⌉, ⌈W/stride⌉) float32 or labels (B, H, W) uint8, as `record.output` says; memory of
            its own.

        Raises:
            ModelError: the images do not have the form or the size that the file takes.
        """
        array = _as_images(images, self.record, self.path)
        parts = [self._run(group) for group in _in_batches(array, self.record.batch_size)]
        answer = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return answer[: len(array)]

    def close(self) -> None:
        """Give the engine's memory back; the model cannot be called any more."""
        del self._run


class FileFormat(ABC):
    """A form that networks are written in, and how the files are opened to be checked.

    Class attributes hold what differs; the defaults are those of a format that no engine here runs.
    """

    format: ClassVar[ExportFormat]
    """The word of `--format`."""
    suffix: ClassVar[str]
    """How the file's name ends."""
    contents: ClassVar[str]
    """The file, in a few words for a help text."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages whose versions a file records: what writes it and what runs it, beside torch."""
    precisions: ClassVar[tuple[Precision, ...]] = ("float32",)
    """Precisions of a file."""
    outputs: ClassVar[tuple[Output, ...]] = ("logits", "labels")
    """What a file can answer with."""
    takes_any_size: ClassVar[bool] = True
    """Whether a file can take any batch, height and width."""
    half: ClassVar[Precision | None] = None
    """That of the precisions which halves the weights."""
    opsets: ClassVar[range | None] = None
    """Sets of ONNX's operators that it can be written in; None where it has none."""
    usual_opset: ClassVar[int | None] = None
    """The one of them that is written where none is asked for."""
    never_opened: ClassVar[str] = ""
    """Why such a file cannot stand for a MODEL; empty where it can."""
    pointwise: ClassVar[PointwiseForm] = "linear"
    """The deploy form that it runs fastest, see `effiseg.models.fuse.fuse`."""
    attention: ClassVar[AttentionForm] = "sdpa"
    """See `pointwise`."""
    head: ClassVar[PointwiseForm | None] = None
    """See `pointwise`."""
    classes_last: ClassVar[bool] = True
    """See `pointwise`."""

    def absent_packages(self) -> list[str]:
        """Those of its packages that are not installed."""
        return [package for package in self.packages if find_spec(package.replace("-", "_")) is None]

    def deploy_form(self, model: SegFormer, output: Output) -> nn.Module:
        """The fused network, (B, H, W, 3) uint8 in, float32, on the CPU."""
        from effiseg.models.fuse import fuse

        fused = fuse(
            model,
            input="uint8",
            output=output,
            pointwise=self.pointwise,
            attention=self.attention,
            head=self.head,
            classes_last=self.classes_last,
        )
        return fused.cpu().float()

    @abstractmethod
    def write(self, network: nn.Module, path: Path, record: ExportRecord) -> None:
        """Write a network.

        Args:
            network: (B, H, W, 3) uint8 to logits or labels, float32, on the CPU; may be changed.
            path: the file, with the format's suffix.
            record: what is written into the file; it names the sizes and the precision.

        Raises:
            UsageError: a package is not installed.
        """

    @abstractmethod
    def open_written(self, path: Path) -> LoadedModel:
        """A file that this process wrote, to be checked."""

    def parts(self, path: Path) -> list[Path]:
        """All files that belong to one, itself first."""
        return [path]


class FileEngine(FileFormat):
    """A format with the engine that runs it, on the CPU."""

    name: ClassVar[EngineName]
    """The word of `--engine`."""
    title: ClassVar[str]
    """Its name in a sentence."""
    at_load: ClassVar[tuple[Precision, ...]] = ()
    """Precisions to choose from when a float file is loaded; none where the file's own operators say it."""
    missing: ClassVar[Mapping[Precision, str]] = {}
    """Precision → the sentence that says why a network is not run in it."""

    @abstractmethod
    def load(self, path: Path, *, threads: int, precision: Precision | None = None) -> LoadedModel:
        """Load a file that `effiseg export` wrote.

        Args:
            path: the file.
            threads: threads of the engine.
            precision: one of `at_load`, or the file's own; None: the file's own.

        Raises:
            ModelError: the file cannot be read, or was not written by `effiseg export`.
            UsageError: the engine is not installed, or the precision is none that can be chosen.
        """

    def open_written(self, path: Path) -> LoadedModel:
        """See `FileFormat.open_written`."""
        import torch

        return self.load(path, threads=torch.get_num_threads())

    def quantize(
        self, model: SegFormer, plain: Path, path: Path, record: ExportRecord, images: list[Pixels]
    ) -> dict[str, Any]:
        """Write a model in int8.

        Args:
            model: on the CPU.
            plain: the same model as a file in float32.
            path: the file to write.
            record: what is written into it.
            images: calibration images, (1, H, W, 3) each.

        Returns:
            The operators that compute in int8 and in float32, see `operators.sorted_operators`.

        Raises:
            UsageError: a package is not installed.
        """
        raise AssertionError(f"{self.title}: int8 is none of {self.precisions}")

    @abstractmethod
    def write_plain(self, network: nn.Module, images: torch.Tensor, path: Path, purpose: str) -> None:
        """Write any network for images of this size, as the engine's users do it, in float32.

        Args:
            network: of one input.
            images: an example of it.
            path: the file.
            purpose: what for, in the message of a missing package.

        Raises:
            UsageError: a package is not installed.
        """

    @abstractmethod
    def run_plain(self, path: Path, threads: int, precision: Precision) -> Callable[[Answer], Answer]:
        """A pass of any file of one input and one output, under the settings that our own files run under."""

    @abstractmethod
    def profile(self, path: Path, array: Answer, threads: int, precision: Precision, passes: int) -> Counter[str]:
        """Kind of operator → milliseconds of one pass, from the engine's own clocks."""


def _as_images(images: Images, record: ExportRecord, source: Path) -> Pixels:
    """The images as a contiguous array, checked against what the file takes.

    Raises:
        ModelError: another form, type or size.
    """
    array = images if isinstance(images, np.ndarray) else images.cpu().numpy()
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise ModelError(f"{source}: images must be uint8 (B, H, W, 3); found {array.dtype} {array.shape}")
    if record.input_size is not None and tuple(array.shape[1:3]) != record.input_size:
        height, width = record.input_size
        raise ModelError(
            f"{source}: was exported for images of {height}x{width}; found {array.shape[1]}x{array.shape[2]}; "
            "export it with --dynamic to take any size"
        )
    if record.input_size is None and min(array.shape[1:3]) < record.least_side:
        raise ModelError(
            f"{source}: takes images with sides from {record.least_side} on; found {array.shape[1]}x{array.shape[2]}: "
            "pad them, or export it for their size with --image_size"
        )
    return np.ascontiguousarray(array)


def _in_batches(array: Pixels, size: int | None) -> list[Pixels]:
    """The images in groups of `size`, the file's own batch; the last is filled up with zeros. None: all at once."""
    if size is None or len(array) == size:
        return [array]
    groups = [array[start : start + size] for start in range(0, len(array), size)]
    missing = size - len(groups[-1])
    if missing:
        filling = np.zeros((missing, *array.shape[1:]), np.uint8)
        groups[-1] = np.concatenate([groups[-1], filling])
    return groups
