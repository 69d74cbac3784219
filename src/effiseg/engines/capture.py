"""The deploy form of a model, captured as a graph of operators for one size or for all."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from effiseg.config.engine import Output
from effiseg.engines.record import INPUT_NAME, ExportRecord

AXES = ("batch", "height", "width")
_STDERR = 2


class _Deployed(nn.Module):
    """A fused model of any dtype whose logits are float32; its output carries its name.

    Args:
        network: (B, H, W, 3) uint8 to logits or labels.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 RGB to logits (B, K, ⌈H/stride⌉, ⌈W/stride⌉) float32 or labels (B, H, W) uint8."""
        answer: Tensor = self.network(images)
        return answer.float() if answer.is_floating_point() else answer


def capture(network: nn.Module, record: ExportRecord) -> ExportedProgram:
    """The network as torch.export captures it.

    Args:
        network: (B, H, W, 3) uint8 to a tensor, on the CPU.
        record: says the sizes and numbers of images that it is to take.
    """
    input_size, batch_size, least = record.input_size, record.batch_size, record.least_side
    assert input_size is not None or batch_size is None
    height, width = input_size or (2 * least, 3 * least)
    example = torch.zeros(batch_size or 2, height, width, 3, dtype=torch.uint8)
    sides = {1: Dim(AXES[1], min=least), 2: Dim(AXES[2], min=least)}
    axes = ({0: Dim(AXES[0])} if batch_size is None else {}) | (sides if input_size is None else {})
    with quiet():
        return torch.export.export(_Deployed(network).eval(), (example,), dynamic_shapes={INPUT_NAME: axes or None})


def output_axes(output: Output, classes: int, stride: int) -> tuple[str | int, ...]:
    """Names of the output's axes where they are dynamic; `stride` is the logits'."""
    batch, height, width = AXES
    if output == "labels":
        return batch, height, width
    return batch, classes, f"ceil({height}/{stride})", f"ceil({width}/{stride})"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' progress, warnings and logs to themselves; exceptions pass."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
            warnings.simplefilter("ignore")
            with redirect_stdout(nowhere), redirect_stderr(nowhere):
                yield
    finally:
        logging.disable(level)


@contextmanager
def without_native_lines() -> Iterator[None]:
    """Keep what an engine's libraries say on stderr, past Python, from the terminal."""
    with tempfile.TemporaryFile() as nowhere:
        terminal = os.dup(_STDERR)
        os.dup2(nowhere.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(terminal, _STDERR)
            os.close(terminal)
