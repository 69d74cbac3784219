"""A pass whose GPU kernels are recorded once as a CUDA graph, and launched together from then on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WARMUP_PASSES = 3
"""Passes before the recording, which must not meet compilation, the choice of kernels or the set-up of libraries."""


class ReplayedPass:
    """A pass over one fixed input, recorded when it is first called.

    A pass that cannot be recorded, because it waits for the GPU in its midst, raises torch's error: nothing is
    measured under the name of a graph that ran without one.

    Args:
        call: images to an answer; reads no other memory that changes.
        images: on a GPU. The recording reads this very memory.
    """

    def __init__(self, call: Callable[[Tensor], Tensor], images: Tensor) -> None:
        self._call = call
        self._images = images
        self._graph: torch.cuda.CUDAGraph | None = None
        self._answer: Tensor | None = None

    def __call__(self) -> Tensor:
        """The answer, in memory that the next call writes again; the GPU may still be at work."""
        if self._graph is None:
            self._graph = self._recorded()
        self._graph.replay()
        assert self._answer is not None
        return self._answer

    def _recorded(self) -> torch.cuda.CUDAGraph:
        # As torch's documentation has it: a side stream for the passes before, then the capture.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARMUP_PASSES):
                self._call(self._images)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._answer = self._call(self._images)
        return graph
