"""LiteRT and ExecuTorch: files pass the check, answer as the model does, and say no to what they cannot."""

from __future__ import annotations

import shutil
import zipfile
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

SIZE = (40, 72)


@pytest.mark.parametrize(("suffix", "engine"), [(".tflite", "litert"), (".pte", "executorch")])
def test_what_it_cannot_is_said_before_the_work(suffix: str, engine: str) -> None:
    for changed, line in (
        ({"dynamic": True}, f"--dynamic is not for --format {engine}"),
        ({"precision": "float16"}, "--precision float16 is for --format onnx"),
    ):
        with pytest.raises(UsageError, match=line):
            format_to_write(ExportConfig(Path(f"a{suffix}"), **changed))  # type: ignore[arg-type]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("suffix", "title", "package"), [(".tflite", "LiteRT", "litert_torch"), (".pte", "ExecuTorch", "executorch")]
)
def test_a_file_answers_as_the_model_does_and_damaged_ones_are_refused(
    tmp_path: Path, suffix: str, title: str, package: str
) -> None:
    pytest.importorskip(package, reason=f"the extra of {title} is installed by hand")
    torch.manual_seed(0)
    model = SegFormer("n", 3, patch_norm="dyt", block_norm="dyl").eval()
    model.metadata = ModelMetadata(names=("road", "car", "sky"), image_size=SIZE, mean=(0.4, 0.5, 0.6))
    out = tmp_path / f"n{suffix}"
    export_model(model, ExportConfig(out))
    loaded = load_exported(out, threads=1)
    assert loaded.metadata.names == ("road", "car", "sky")
    images = np.random.default_rng(0).integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = fuse(model, input="uint8")(torch.from_numpy(images)).numpy()
    assert not SAME_NETWORK.complaint(compare(loaded(images), expected, SIZE))
    labels = tmp_path / f"labels{suffix}"
    export_model(model, ExportConfig(labels, output="labels"))
    with torch.no_grad():
        best = fuse(model, input="uint8", output="labels")(torch.from_numpy(images)).numpy()
    assert (load_exported(labels)(images) == best).mean() >= 0.999
    with pytest.raises(UsageError, match=f"{title} computes what the file is, float32"):
        load_exported(out, precision="int8")

    other = tmp_path / f"other{suffix}"
    shutil.copyfile(out, other)
    with zipfile.ZipFile(out) as archive:
        record = archive.read("effiseg.json").decode()
    with zipfile.ZipFile(other, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("effiseg.json", record.replace('\\"sky\\"', '\\"sky\\", \\"sea\\"'))
    with pytest.raises(ModelError, match=rf"other\{suffix}: "):
        load_exported(other)
    other.write_bytes(out.read_bytes()[:1000])
    with pytest.raises(ModelError, match="must be a file that `effiseg export` wrote"):
        load_exported(other)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("effiseg.json", record)
    with pytest.raises(ModelError, match=f"{title} cannot read it"):
        load_exported(other)
