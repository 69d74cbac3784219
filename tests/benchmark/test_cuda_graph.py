"""The order in which a pass is recorded and replayed, on a stand-in for a GPU that writes down what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from effiseg.benchmark import forward
from effiseg.benchmark.contender import Contender
from effiseg.benchmark.cuda_graph import ReplayedPass


class Recorder:
    """What of torch.cuda a recording needs; a graph's replay runs what was called while it was captured."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def Stream(self) -> Any:  # noqa: N802 - torch's name
        return self._stream("side")

    def current_stream(self) -> Any:
        return self._stream("main")

    def _stream(self, name: str) -> Any:
        recorder = self

        class Stream:
            def __init__(self) -> None:
                self.name = name

            def wait_stream(self, other: Any) -> None:
                recorder.log.append(f"{name} waits for {other.name}")

        return Stream()

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.log.append(f"on {stream.name}")
        yield
        self.log.append(f"off {stream.name}")

    def CUDAGraph(self) -> Any:  # noqa: N802 - torch's name
        recorder = self

        class Graph:
            def replay(self) -> None:
                recorder.log.append("replay")

        return Graph()

    @contextmanager
    def graph(self, graph: Any) -> Iterator[None]:
        self.log.append("capture")
        yield
        self.log.append("captured")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    for name in ("Stream", "current_stream", "stream", "CUDAGraph", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(recorder, name))
    return recorder


def test_warmed_up_aside_recorded_once_then_replayed(gpu: Recorder) -> None:
    images = torch.ones(2)
    answers: list[Tensor] = []

    def call(given: Tensor) -> Tensor:
        assert given is images
        gpu.log.append("pass")
        answers.append(given + len(answers))
        return answers[-1]

    replayed = ReplayedPass(call, images)
    assert gpu.log == []  # loading records nothing, so that what recording takes is measured as memory of the passes
    first = replayed()
    assert gpu.log == [
        "side waits for main", "on side", "pass", "pass", "pass", "off side", "main waits for side",
        "capture", "pass", "captured", "replay",
    ]  # fmt: skip
    assert first is answers[-1]
    gpu.log.clear()
    assert replayed() is first
    assert gpu.log == ["replay"]


def test_what_cannot_be_recorded_is_not_measured(gpu: Recorder) -> None:
    def call(given: Tensor) -> Tensor:
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted"):
        ReplayedPass(call, torch.ones(2))()
    assert "replay" not in gpu.log


@pytest.mark.parametrize(("runtime", "calls", "replays"), [("torch_compile", 2, 0), ("torch_cuda_graph", 4, 2)])
def test_the_compiled_network_is_what_is_recorded(
    gpu: Recorder, monkeypatch: pytest.MonkeyPatch, runtime: Any, calls: int, replays: int
) -> None:
    seen: list[Tensor] = []

    class Network(torch.nn.Module):
        def to(self, *_: Any) -> Network:
            return self

    def compiled(network: Any) -> Any:
        assert isinstance(network, Network)
        return lambda images: (seen.append(images), images.sum())[1]

    contender = Contender("m", "m", (32, 64), 1, runtime=runtime)
    monkeypatch.setattr(forward, "_network", lambda contender: Network())
    monkeypatch.setattr(forward, "_metadata", lambda contender: None)
    monkeypatch.setattr(forward, "_normalized", lambda contender, metadata: torch.rand(1, 3, 32, 64))
    monkeypatch.setattr(torch, "compile", compiled)
    loaded = forward.load(contender)
    assert torch.equal(loaded.run(), loaded.run())
    assert len(seen) == calls
    assert gpu.log.count("replay") == replays
    assert all(images is seen[0] for images in seen)
