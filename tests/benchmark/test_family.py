"""Sizes before they are trained: the front, and the size that a time leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from effiseg.benchmark.contender import Contender
from effiseg.benchmark.family import PUBLISHED_MIOU, fitted, mark_front, write_untrained
from effiseg.benchmark.latency import Schedule
from effiseg.config.model import Variant
from effiseg.config.parsing import recipe_settings
from effiseg.config.training import TrainConfig
from effiseg.errors import UsageError
from effiseg.models.pretrained import from_pretrained
from effiseg.results import BenchmarkRow

SMALL = {"image_size": "64x96", "device": "cpu"}


def _row(model: str, milliseconds: float, engine: str = "torch") -> BenchmarkRow:
    return BenchmarkRow(
        name=f"{model} {engine}", model=model, software="effiseg", form="fused", engine=engine, precision="float32",
        output="logits", image_size=[64, 96], batch_size=1, device="cpu", threads=1, allocator="tuned",
        latency_ms=milliseconds,
    )  # fmt: skip


class _Stopwatch:
    """Gives sizes the times it is told, and remembers what was timed."""

    def __init__(self, times: dict[str, float]) -> None:
        self.times = times
        self.timed: list[Contender] = []

    def __call__(self, contenders: Sequence[Contender], schedule: Schedule) -> list[BenchmarkRow]:
        assert all(Path(contender.source).is_dir() for contender in contenders)
        self.timed += contenders
        return [_row(contender.model, self.times[contender.model]) for contender in contenders]


def test_rows_have_the_norms_of_the_recipes(tmp_path: Path) -> None:
    written = write_untrained(["n"], tmp_path)
    assert [network.name for network in written] == ["n baseline", "n tanh", "n tanh_linear"]
    for network in written:
        model = from_pretrained(network.folder)
        norms = recipe_settings(network.name.split()[1])["model"]
        assert (model.variant, model.patch_norm, model.block_norm) == ("n", norms["patch_norm"], norms["block_norm"])


def test_the_front_is_what_none_beats_in_time_and_accuracy() -> None:
    rows = [_row("n", 10), _row("b0", 30), _row("b1", 25), _row("s", 5), _row("n", 40, "openvino")]
    sizes: dict[str, Variant] = {"n": "n", "b0": "b0", "b1": "b1", "s": "s"}
    mark_front(rows, sizes)
    # b1 is faster here than b0, and better; nothing is published for s; another engine is another front
    assert [row.on_front for row in rows] == [True, False, True, None, True]
    assert [row.published_miou for row in rows][:2] == [PUBLISHED_MIOU["n"], PUBLISHED_MIOU["b0"]]


@pytest.mark.parametrize(("limit", "size"), [("25ms", "n"), ("40", "b0"), ("0.5s", "b1")])
def test_the_most_accurate_size_that_is_fast_enough(limit: str, size: str) -> None:
    stopwatch = _Stopwatch({"n": 20, "b0": 40, "b1": 90})
    config = TrainConfig(latency=limit, engine="openvino", **SMALL)  # type: ignore[arg-type]
    found = fitted(config, measure=stopwatch, message=lambda text: None)
    assert found.model.variant == size
    assert found.latency_found is not None
    assert found.latency_found.startswith(f"{size}, {stopwatch.times[size]:.1f} ms (openvino float32, 64x96, ")
    assert {(each.engine, each.image_size, each.form) for each in stopwatch.timed} == {("openvino", (64, 96), "fused")}


def test_what_was_found_is_not_timed_again() -> None:
    def never(contenders: Sequence[Contender], schedule: Schedule) -> list[BenchmarkRow]:
        raise AssertionError("timed again")

    begun = TrainConfig(latency="25ms", latency_found="n, 20.0 ms (…)", **SMALL)  # type: ignore[arg-type]
    assert fitted(begun, measure=never) is begun
    unasked = TrainConfig(**SMALL)  # type: ignore[arg-type]
    assert fitted(unasked, measure=never) is unasked


def test_nothing_fits() -> None:
    config = TrainConfig(latency="5ms", **SMALL)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"--latency 5ms: no size is as fast .* nearest is n with 20\.0 ms \(torch"):
        fitted(config, measure=_Stopwatch({"n": 20, "b0": 40, "b1": 90}), message=lambda text: None)


@pytest.mark.parametrize("text", ["fast", "-3ms", "0ms", "25 hours", ""])
def test_a_limit_must_be_a_time(text: str) -> None:
    with pytest.raises(UsageError, match="latency must be"):
        TrainConfig(latency=text)
