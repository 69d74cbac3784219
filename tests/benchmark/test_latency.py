"""Timing: what is timed, how often, and that the model comes back as it was."""

from __future__ import annotations

import statistics

import pytest
import torch
from torch import Tensor, nn

from effiseg.benchmark.latency import interleaved_latency, measure_latency


class Recorder(nn.Module):
    """Writes its name into a shared list at every pass."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.name, self.log = name, log
        self.frozen = nn.Dropout().eval()

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        assert images.shape == (1, 3, 32, 64)
        self.log.append(self.name)
        return images * self.scale


def test_one_model() -> None:
    log: list[str] = []
    model = Recorder("a", log).train()
    model.frozen.eval()
    found = measure_latency(model, (32, 64), repeats=5, warmup=2)
    assert len(log) == 7
    assert len(found["samples_ms"]) == 5
    assert found["latency_ms"] == statistics.median(found["samples_ms"]) > 0
    assert found["fps"] == pytest.approx(1000 / found["latency_ms"])
    assert (found["batch_size"], found["image_size"]) == (1, [32, 64])
    assert (found["device"], found["dtype"], found["threads"]) == ("cpu", "float32", torch.get_num_threads())
    assert model.training
    assert not model.frozen.training


def test_models_take_turns() -> None:
    log: list[str] = []
    models = {name: Recorder(name, log) for name in "abc"}
    found = interleaved_latency(models, (32, 64), repeats=3, warmup=1)
    assert "".join(log) == "abc" * 4
    assert set(found) == set("abc")
    assert all(milliseconds > 0 for milliseconds in found.values())
    assert all(model.training for model in models.values())
