"""From words of a command line to contenders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from effiseg.benchmark.contender import Contender, contenders_of, counterpart_of, why_impossible
from effiseg.errors import EffisegError, UsageError
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer

COMMON: dict[str, Any] = {
    "image_size": (64, 96), "batch_size": 1, "threads": 1, "device": "cpu", "output": "logits"
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A model with LayerNorms and one without."""
    parent = tmp_path_factory.mktemp("models")
    save_pretrained(SegFormer("b0", 4), parent / "plain")
    save_pretrained(SegFormer("b0", 4, "dyt", "dyl"), parent / "tanh")
    return str(parent / "plain"), str(parent / "tanh")


def _named(*models: str) -> list[tuple[str, str]]:
    """Models that the user names by their places."""
    return [(model, model) for model in models]


def test_every_engine_precision_and_counterpart(folders: tuple[str, str]) -> None:
    plain, _ = folders
    found, skipped = contenders_of(
        _named(plain), ["torch", "onnxruntime"], ["float32", "bfloat16"], COMMON, against_transformers=True
    )
    assert [(c.software, c.engine, c.precision) for c in found] == [
        (software, *rest)
        for rest in (("torch", "float32"), ("torch", "bfloat16"), ("onnxruntime", "float32"))
        for software in ("effiseg", "transformers")
    ]
    assert {entry.reason for entry in skipped} == {"ONNX Runtime has no bfloat16 on the CPU"}
    assert len({c.name for c in found}) == len(found)


def test_norms_that_transformers_has_not(folders: tuple[str, str]) -> None:
    found, skipped = contenders_of(_named(folders[1]), ["torch"], ["float32"], COMMON, against_transformers=True)
    assert [(c.software, c.form) for c in found] == [("effiseg", "fused"), ("transformers", "same_shape")]
    assert "another function: LayerNorms" in found[1].name
    assert not skipped


def test_a_contender_survives_json(folders: tuple[str, str]) -> None:
    contender = Contender(model="a", source=folders[0], image_size=(64, 96), threads=2, allocator="default")
    assert Contender.from_dict(json.loads(json.dumps(contender.to_dict()))) == contender
    assert contender.name == "a effiseg torch float32 logits default allocator"
    assert counterpart_of(contender).name == "a transformers torch float32 logits default allocator"
    assert not contender.needs_file
    assert replace(contender, engine="openvino").needs_file


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"precision": "int8"}, "effiseg export --precision int8"),
        ({"engine": "openvino", "precision": "float16"}, "float32 or bfloat16"),
        ({"engine": "openvino", "device": "cuda"}, "on the CPU"),
        ({"engine": "onnxruntime", "precision": "float16", "software": "transformers"}, "float32"),
        ({"source": "a.onnx", "software": "transformers", "form": "file"}, "give the model folder too"),
    ],
)
def test_what_cannot_be(changes: dict[str, Any], reason: str) -> None:
    contender = Contender(model="a", source="a", image_size=(64, 96), threads=1)
    assert why_impossible(contender) is None
    assert reason in (why_impossible(replace(contender, **changes)) or "")


def test_mistakes(folders: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="asked for twice"):
        contenders_of(_named(folders[0], folders[0]), ["torch"], ["float32"], COMMON)
    with pytest.raises(UsageError, match=r"nothing to measure: .*int8"):
        contenders_of(_named(folders[0]), ["torch"], ["int8"], COMMON)
    for model in ("nowhere", str(tmp_path / "no.onnx")):
        with pytest.raises(EffisegError, match="no such f"):
            contenders_of(_named(model), ["torch"], ["float32"], COMMON)
