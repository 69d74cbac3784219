"""NCNN: files pass the check, answer as the model does, and say no to what they cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from effiseg.config.export import ExportConfig
from effiseg.engines import load_exported
from effiseg.engines.agreement import SAME_NETWORK, compare
from effiseg.errors import ModelError, UsageError
from effiseg.export.checks import format_to_write
from effiseg.export.exporter import export_model
from effiseg.models.fuse import fuse
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer

pytest.importorskip("ncnn", reason="the extra ncnn is installed by hand")
pytest.importorskip("pnnx", reason="the extra ncnn is installed by hand")
SIZE = (40, 72)


@pytest.fixture(scope="module")
def model() -> SegFormer:
    torch.manual_seed(0)
    made = SegFormer("n", 3, patch_norm="dyt", block_norm="dyl")
    made.metadata = ModelMetadata(names=("road", "car", "sky"), image_size=SIZE, mean=(0.4, 0.5, 0.6))
    return made.eval()


@pytest.fixture(scope="module")
def exported(model: SegFormer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """n with tanh norms as n.ncnn.param, checked by the export itself."""
    out = tmp_path_factory.mktemp("ncnn") / "n.ncnn.param"
    report = export_model(model, ExportConfig(out))
    assert report.verification is not None
    return out


def test_a_file_answers_as_the_model_does(model: SegFormer, exported: Path) -> None:
    assert sorted(path.name for path in exported.parent.iterdir()) == [
        "n.ncnn.bin", "n.ncnn.param", "n.ncnn.param.json",
    ]  # fmt: skip
    loaded = load_exported(exported, threads=1)
    assert loaded.metadata.names == ("road", "car", "sky")
    images = np.random.default_rng(0).integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = fuse(model, input="uint8")(torch.from_numpy(images)).numpy()
    answer = loaded(images)
    assert answer.dtype == np.float32
    assert not SAME_NETWORK.complaint(compare(answer, expected, SIZE))


def test_what_it_cannot_is_said_before_the_work() -> None:
    for changed, line in (
        ({"output": "labels"}, "--output labels is not for --format ncnn"),
        ({"dynamic": True}, "--dynamic is not for --format ncnn"),
        ({"precision": "float16"}, "--precision float16 is for --format onnx"),
    ):
        with pytest.raises(UsageError, match=line):
            format_to_write(ExportConfig(Path("a.param"), **changed))  # type: ignore[arg-type]


def test_files_of_others_and_damaged_ones_are_refused(exported: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.param"
    text = exported.read_text()
    for content, line in (
        ("7767517\n1 1\nInput in0 0 1 in0\n", "must be a file that `effiseg export` wrote"),
        (text, "a file of NCNN needs other.bin beside it"),
    ):
        other.write_text(content)
        with pytest.raises(ModelError, match=line):
            load_exported(other)
    other.with_suffix(".bin").write_bytes(exported.with_suffix(".bin").read_bytes())
    load_exported(other)
    other.write_text(text.replace('names=["road", "car", "sky"]', 'names=["road", "car"]'))
    with pytest.raises(ModelError, match=r"other\.param: "):
        load_exported(other)
    other.write_text("nonsense\n" + text)
    with pytest.raises(ModelError, match="NCNN cannot read it"):
        load_exported(other)
    with pytest.raises(UsageError, match="NCNN computes what the file is, float32"):
        load_exported(exported, precision="bfloat16")
