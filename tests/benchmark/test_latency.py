"""Timing: who runs when, what a row says, and that unequal networks are refused. No test looks at a time."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from effiseg.benchmark import latency
from effiseg.benchmark.contender import Contender
from effiseg.benchmark.latency import Schedule, measure, percentile, ratio, speedups, summarize, turn_order
from effiseg.errors import EffisegError, ModelError
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.results import BenchmarkResult, BenchmarkRow

CONTENDER = Contender(model="m", source="m", image_size=(32, 64), threads=1)


def row(samples: list[float], **fields: Any) -> BenchmarkRow:
    made = BenchmarkRow(
        **{
            "name": "a", "model": "m", "software": "effiseg", "form": "fused", "engine": "torch",
            "precision": "float32", "output": "logits", "image_size": [32, 64], "batch_size": 1, "device": "cpu",
            "threads": 1, "allocator": "tuned", "samples_ms": samples, **fields,
        }
    )  # fmt: skip
    summarize(made)
    return made


class FakeWorker:
    """Answers like a worker, and writes down who was asked to run."""

    log: ClassVar[list[tuple[str, int, int]]] = []
    allocator = "tuned"

    def __init__(self, name: str, threads: int, allocator: str = "tuned") -> None:
        self.name = name

    def ask(self, do: str, **arguments: Any) -> Any:
        match do:
            case "load":
                if "broken" in self.name:
                    raise ModelError("broken: cannot be loaded")
                return {"params": 7, "file_mb": None, "memory_before_mib": 1.0}
            case "turn":
                self.log.append((self.name.split()[0], arguments["passes"], arguments["untimed"]))
                return [10.0] * arguments["passes"]
            case "memory":
                return 2.0
            case _:
                raise AssertionError(do)

    def __enter__(self) -> FakeWorker:
        return self

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeWorker]:
    monkeypatch.setattr(latency, "WorkerProcess", FakeWorker)
    monkeypatch.setattr(FakeWorker, "log", [])
    return FakeWorker


def files(*names: str) -> list[Contender]:
    return [replace(CONTENDER, model=name, form="file", engine="onnxruntime", file=f"{name}.onnx") for name in names]


def test_contenders_take_turns_there_and_back(fake: type[FakeWorker]) -> None:
    told: list[tuple[int, int]] = []
    rows = measure(files("a", "b", "c"), Schedule(3, 2, 4), progress=lambda done, total: told.append((done, total)))
    assert "".join(name for name, *_ in fake.log) == "abc" + "abc" + "cba" + "abc"
    assert fake.log[:3] == [(name, 0, 4) for name in "abc"]
    assert {entry[1:] for entry in fake.log[3:]} == {(2, latency.UNTIMED_PASSES)}
    assert [len(row.samples_ms) for row in rows] == [6, 6, 6]
    assert [row.name.split()[0] for row in rows] == ["a", "b", "c"]
    assert told == [(done, 12) for done in range(1, 13)]


def test_a_contender_that_fails_is_left_out_or_ends_it(fake: type[FakeWorker]) -> None:
    failed: list[tuple[str, str]] = []
    contenders = files("a", "broken", "c")
    rows = measure(contenders, Schedule(1, 1, 1), failed=lambda c, error: failed.append((c.model, str(error))))
    assert [row.model for row in rows] == ["a", "c"]
    assert failed == [("broken", "broken: cannot be loaded")]
    with pytest.raises(ModelError, match="broken"):
        measure(contenders, Schedule(1, 1, 1))


def test_orders() -> None:
    assert [turn_order(3, number) for number in range(3)] == [[0, 1, 2], [2, 1, 0], [0, 1, 2]]


def test_statistics() -> None:
    made = row([4.0, 1.0, 2.0, 100.0], batch_size=3)
    assert made.latency_ms == statistics.median(made.samples_ms) == 3.0
    assert made.fps == 1000.0
    assert made.p95_ms == 100.0
    assert percentile(list(range(1, 101)), 0.95) == 95
    assert percentile([5.0], 0.95) == 5.0


def test_ratios_are_of_medians_and_only_between_counterparts() -> None:
    ours = row([10.0, 10.0, 70.0], name="ours")
    theirs = row([30.0, 30.0, 30.0], name="theirs", software="transformers", form="published")
    other = row([5.0], name="other", software="transformers", form="published", engine="openvino")
    alone = row([5.0], name="alone", precision="bfloat16")
    speedups([ours, theirs, other, alone])
    assert (ours.speedup, ours.counterpart) == (3.0, "theirs")
    assert ratio(theirs, ours) == 3.0
    assert {entry.speedup for entry in (theirs, other, alone)} == {None}
    twice = row([20.0], batch_size=2)
    assert ratio(theirs, twice) == 3.0  # per image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with weights that make distinct labels."""
    path = tmp_path_factory.mktemp("model") / "b0"
    torch.manual_seed(0)
    model = SegFormer("b0", 4)
    torch.nn.init.normal_(model.decode_head.classifier.weight)
    save_pretrained(model, path)
    return path


@pytest.mark.heavy
def test_two_real_processes(folder: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is what is measured against")
    ours = replace(CONTENDER, model="b0", source=str(folder), image_size=(64, 96))
    theirs = replace(ours, software="transformers", form="published", allocator="default")
    rows = measure([ours, theirs], Schedule(2, 2, 1), operators=True)
    result = BenchmarkResult(rows, {}, {"rounds": 2}, {}, "command")
    assert BenchmarkResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    for made in rows:
        assert len(made.samples_ms) == 4
        assert made.error is not None
        assert made.error < 1e-5
        assert made.label_agreement == 1.0
        assert made.peak_memory_mib > made.memory_before_mib > 10
        assert made.gmacs_attention == rows[0].gmacs_attention > 0
        assert sum(entry["share"] for entry in made.operators) <= 1 + 1e-9
        assert made.operators[0]["ms"] >= made.operators[-1]["ms"] > 0
    assert [made.allocator for made in rows][1] == "default"
    assert rows[0].gmacs < rows[1].gmacs  # the composed head computes less
    assert rows[0].params < rows[1].params


@pytest.mark.heavy
def test_unequal_networks_are_not_timed(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = SegFormer("b0", 4)
    torch.nn.init.normal_(other.decode_head.classifier.weight)
    contender = replace(CONTENDER, model="b0", source=str(folder), image_size=(64, 96))
    reference = tmp_path / "reference.npy"

    class Wrong(latency._References):
        def of(self, contender: Contender) -> Path:
            save_pretrained(other, tmp_path / "other")
            return super().of(replace(contender, source=str(tmp_path / "other"))) or reference

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "_References", Wrong)
        with pytest.raises(EffisegError, match="only equal networks are timed side by side") as caught:
            measure([contender], Schedule(1, 1, 1))
    assert "\n" not in str(caught.value)


def test_a_result_of_an_earlier_version_is_read() -> None:
    result = BenchmarkResult([row([1.0], engine="openvino")], {}, {"rounds": 1}, {}, "command")
    value = result.to_dict()
    value["rows"][0]["runtime"] = value["rows"][0].pop("engine")
    assert BenchmarkResult.from_dict(value, "old.json") == result
