"""Every format: the same answers as the model, one file, facts inside, nothing left when the check fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from effiseg import __version__
from effiseg.config.engine import ExportFormat
from effiseg.config.export import ExportConfig
from effiseg.engines import format_named, load_exported
from effiseg.engines.engine import FileFormat
from effiseg.engines.record import INPUT_LAYOUT, ExportRecord
from effiseg.errors import ModelError, UsageError
from effiseg.export.checks import format_to_write
from effiseg.export.exporter import export_model
from effiseg.models.best_class import best_class
from effiseg.models.segformer import SegFormer

SIZE = (64, 96)


def reference(model: SegFormer, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        return model(model.metadata.normalize(torch.from_numpy(images).permute(0, 3, 1, 2))).numpy()


def images_of(size: tuple[int, int], count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 256, (count, *size, 3)).astype(np.uint8)


@pytest.mark.parametrize("file_format", ["onnx", "openvino"])
def test_logits_of_one_size(file_format: ExportFormat, exported: Callable[..., Path], small_model: SegFormer) -> None:
    path = exported(file_format, image_size=SIZE)
    loaded = load_exported(path, threads=1)
    images = images_of(SIZE, 3)
    logits, expected = loaded(images), reference(small_model, images)
    assert logits.shape == expected.shape
    assert logits.dtype == np.float32
    assert np.abs(logits - expected).max() <= 1e-5 * np.ptp(expected)
    assert np.array_equal(loaded(torch.from_numpy(images)), logits)
    with pytest.raises(ModelError, match=r"exported for images of 64x96; found 32x64; export it with --dynamic"):
        loaded(images_of((32, 64), 1))
    with pytest.raises(ModelError, match=r"must be uint8"):
        loaded(images.astype(np.float32))
    loaded.close()


@pytest.mark.parametrize("opset", [pytest.param(18, marks=pytest.mark.heavy), 23])
def test_other_sets_of_operators(opset: int, exported: Callable[..., Path], small_model: SegFormer) -> None:
    onnx = pytest.importorskip("onnx")
    path = exported("onnx", image_size=SIZE, opset=opset)
    assert [entry.version for entry in onnx.load(path).opset_import if entry.domain == ""] == [opset]
    loaded = load_exported(path, threads=1)
    images = images_of(SIZE, 1)
    expected = reference(small_model, images)
    assert np.abs(loaded(images) - expected).max() <= 1e-5 * np.ptp(expected)
    assert loaded.record.opset == opset


@pytest.mark.parametrize(
    ("name", "opset", "said"),
    [
        ("m.onnx", 17, "--opset must be from 18 to 23, .* found 17"),
        ("m.onnx", 24, "found 24"),
        ("m.xml", 20, "--opset is for --format onnx; found openvino"),
    ],
)
def test_a_set_of_operators_that_is_not_written(name: str, opset: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        format_to_write(ExportConfig(Path(name), opset=opset))


@pytest.mark.parametrize(
    ("file_format", "dynamic"), [pytest.param("onnx", True, marks=pytest.mark.heavy), ("openvino", False)]
)
def test_logits_at_an_eighth(file_format: ExportFormat, dynamic: bool, tmp_path: Path) -> None:
    pytest.importorskip("openvino" if file_format == "openvino" else "onnxruntime")
    model = SegFormer("n", 4).eval()
    size = {} if dynamic else {"image_size": SIZE}
    path = tmp_path / f"n{format_named(file_format).suffix}"
    export_model(model, ExportConfig(path, file_format, dynamic=dynamic, **size), "runs/n")  # type: ignore[arg-type]
    loaded = load_exported(path, threads=1)
    assert (loaded.record.output_stride, loaded.record.least_side) == (8, 64)
    images = images_of((136, 170) if dynamic else SIZE, 2)
    logits, expected = loaded(images), reference(model, images)
    assert logits.shape == expected.shape == (2, 4, *((17, 22) if dynamic else (8, 12)))
    assert np.abs(logits - expected).max() <= 1e-5 * np.ptp(expected)
    loaded.close()


@pytest.mark.heavy
@pytest.mark.parametrize("file_format", ["onnx", "openvino"])
def test_labels_of_any_size(file_format: ExportFormat, exported: Callable[..., Path], small_model: SegFormer) -> None:
    path = exported(file_format, dynamic=True, output="labels")
    loaded = load_exported(path, threads=1)
    for size, count in (((64, 96), 2), ((97, 131), 1)):
        images = images_of(size, count)
        labels = loaded(images)
        expected = best_class(torch.from_numpy(reference(small_model, images)), size).numpy()
        assert labels.shape == expected.shape
        assert labels.dtype == np.uint8
        assert (labels == expected).mean() >= 0.9999
    for size in ((63, 96), (96, 32)):
        with pytest.raises(ModelError, match=rf"takes images with sides from 64 on; found {size[0]}x{size[1]}"):
            loaded(images_of(size, 1))
    report = json.loads(path.with_name(path.name + ".json").read_text())
    assert [check["image_size"] for check in report["verification"]["sizes"]] == [[64, 64], [65, 65]]


@pytest.mark.parametrize("file_format", ["onnx", "openvino"])
def test_what_the_file_says_of_itself(
    file_format: ExportFormat, exported: Callable[..., Path], small_model: SegFormer
) -> None:
    path = exported(file_format, image_size=SIZE)
    record = load_exported(path, threads=1).record
    assert record.metadata == small_model.metadata
    assert (record.output, record.precision, record.input_size, record.batch_size) == ("logits", "float32", SIZE, 1)
    assert record.source == "runs/small"
    assert record.input_layout == INPUT_LAYOUT
    assert record.versions is not None
    assert record.versions["effiseg"] == __version__
    report = json.loads(path.with_name(path.name + ".json").read_text())
    assert report["record"]["names"] == list(small_model.metadata.names)
    assert report["verification"]["sizes"][0]["error"] <= 1e-5
    assert report["verification"]["sizes"][0]["label_agreement"] >= 0.9999
    assert report["bytes"] > 13e6
    expected = {"onnx": ["model.onnx", "model.onnx.json"], "openvino": ["model.bin", "model.xml", "model.xml.json"]}
    assert sorted(entry.name for entry in path.parent.iterdir()) == expected[file_format]


def test_the_onnx_file_for_other_programs(exported: Callable[..., Path]) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported("onnx", dynamic=True, output="labels"))
    axes = [[axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in (model.graph.input[0], model.graph.output[0])]  # fmt: skip
    assert axes == [["batch", "height", "width", 3], ["batch", "height", "width"]]
    assert [(entry.domain, entry.version) for entry in model.opset_import if entry.domain == ""] == [("", 20)]
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    kinds = {node.op_type for node in model.graph.node}
    assert {node.domain for node in model.graph.node} == {""}  # no operator of ONNX Runtime's own
    assert not kinds & {"LayerNormalization", "BatchNormalization", "InstanceNormalization", "ReduceMean"}
    assert str(Path.home()) not in str(model.graph.node[0])


def test_torch_export_is_written_and_never_loaded(exported: Callable[..., Path], small_model: SegFormer) -> None:
    path = exported("torch_export", image_size=SIZE)
    extra = {"effiseg.names": ""}
    program = torch.export.load(path, extra_files=extra).module()
    images = images_of(SIZE, 1)
    expected = reference(small_model, images)
    assert np.abs(program(torch.from_numpy(images)).detach().numpy() - expected).max() <= 1e-5 * np.ptp(expected)
    assert json.loads(extra["effiseg.names"]) == list(small_model.metadata.names)
    with pytest.raises(ModelError, match=r"ends in \.onnx or \.xml or \.param or \.tflite or \.pte; found \.pt2"):
        load_exported(path)


def with_parts(path: Path) -> list[Path]:
    return [part for part in path.parent.iterdir() if part.name != f"{path.name}.json"]


@pytest.mark.parametrize("file_format", ["onnx", "openvino"])
def test_an_export_that_was_killed_over_an_older_one_is_refused(
    file_format: ExportFormat, exported: Callable[..., Path], tmp_path: Path
) -> None:
    half = {"onnx": "float16", "openvino": "bfloat16"}[file_format]
    old, new = exported(file_format, image_size=SIZE), exported(file_format, image_size=SIZE, precision=half)
    shutil.copytree(old.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / old.name
    complaint = rf"must be the file that {copy.name}\.json reports; .* differ: export it again"
    if file_format == "openvino":  # weights of the same size, which OpenVINO itself takes
        weights = copy.with_suffix(".bin")
        data = weights.read_bytes()
        weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(ModelError, match=complaint):
            load_exported(copy, threads=1)
        weights.write_bytes(data)
    for part in sorted(with_parts(new)):  # the weights first, then the graph
        load_exported(copy, threads=1)
        shutil.copy(part, copy.parent)
        with pytest.raises(ModelError, match=f"{complaint}|is the .bin beside it"):
            load_exported(copy, threads=1)
        if part.suffix == ".bin":
            shutil.copy(old.with_suffix(".bin"), copy.parent)
    for part in with_parts(new):
        shutil.copy(part, copy.parent)
    shutil.copy(new.with_name(f"{new.name}.json"), copy.parent)
    assert load_exported(copy, threads=1).record.precision == half


def test_a_report_says_what_its_file_is(exported: Callable[..., Path], tmp_path: Path) -> None:
    shutil.copytree(exported("onnx", image_size=SIZE).parent, tmp_path / "copy")
    file = tmp_path / "copy" / "model.onnx"
    report = tmp_path / "copy" / "model.onnx.json"
    whole = json.loads(report.read_text())
    before = {name: value for name, value in whole.items() if name != "digests"}  # of earlier versions
    for content, complaint in (
        (before, None),
        (before | {"bytes": 7}, "bytes differ"),
        (whole | {"record": whole["record"] | {"names": ["a", "b", "c"]}}, "names differ"),
        (whole | {"digests": {".onnx": "0"}}, r"\.onnx differ"),
        ({"of": "other software"}, None),
        ([], None),
    ):
        report.write_text(json.dumps(content))
        if complaint is None:
            load_exported(file, threads=1)
        else:
            with pytest.raises(ModelError, match=complaint):
                load_exported(file, threads=1)
    report.write_text("{")
    with pytest.raises(ModelError, match=r"model\.onnx\.json: not valid JSON.*remove its report"):
        load_exported(file, threads=1)
    report.unlink()
    load_exported(file, threads=1)


def test_files_get_their_names_in_an_order_that_a_kill_does_not_spoil(
    small_model: SegFormer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    named: list[str] = []
    replace = Path.replace

    def noting(self: Path, target: Path) -> Path:
        named.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noting)
    export_model(small_model, ExportConfig(tmp_path / "model.xml", image_size=(32, 64)))
    assert named[-3:] == ["model.bin", "model.xml", "model.xml.json"]


@pytest.mark.parametrize("file_format", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("batch_size", 10**9, r"images are \(1000000000, 64, 96, 3\), the network takes \(1, 64, 96, 3\)"),
        ("batch_size", None, r"images are \(any, 64, 96, 3\)"),
        ("batch_size", -1, r"images are \(-1,"),
        ("input_size", [10**6, 96], r"images are \(1, 1000000, 96, 3\)"),
        ("input_size", None, r"images are \(1, any, any, 3\)"),
        ("output", "labels", r"labels are uint8 \(1, 64, 96\), the network gives float32 \(1, 3, 16, 24\)"),
        ("names", ["a", "b"], r"logits are float32 \(1, 2, 16, 24\)"),
        ("names", "abc", "cannot be read"),
        ("precision", "int4", "cannot be read"),
    ],
)
def test_a_record_that_says_otherwise_than_its_network_is_refused(
    file_format: ExportFormat, name: str, value: Any, complaint: str, exported: Callable[..., Path], tmp_path: Path
) -> None:
    path = exported(file_format, image_size=SIZE)
    for part in with_parts(path):
        shutil.copy(part, tmp_path)
    copy, text = tmp_path / path.name, json.dumps(value)
    if file_format == "onnx":
        onnx = pytest.importorskip("onnx")
        model = onnx.load(copy)
        next(entry for entry in model.metadata_props if entry.key == f"effiseg.{name}").value = text
        if name == "names":
            next(entry for entry in model.metadata_props if entry.key == "effiseg.palette").value = "null"
        onnx.save(model, copy)
    else:
        written = ElementTree.parse(copy)
        (own,) = written.getroot().iter("effiseg")
        for entry in own:
            if entry.tag == name:
                entry.set("value", text)
            if name == "names" and entry.tag == "palette":
                entry.set("value", "null")
        written.write(copy)
    with pytest.raises(ModelError, match=complaint) as caught:
        load_exported(copy, threads=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file_format", ["onnx", "openvino"])
def test_half(file_format: ExportFormat, exported: Callable[..., Path], small_model: SegFormer) -> None:
    half = {"onnx": "float16", "openvino": "bfloat16"}[file_format]
    assert format_named(file_format).half == half
    path = exported(file_format, image_size=SIZE, precision=half)
    loaded = load_exported(path, threads=1)
    assert loaded.record.precision == half
    images = images_of(SIZE, 1)
    logits, expected = loaded(images), reference(small_model, images)
    assert logits.dtype == np.float32
    assert 1e-6 < np.abs(logits - expected).max() / np.ptp(expected) < 0.1
    assert sum(part.stat().st_size for part in path.parent.iterdir()) < 8.5e6
    if file_format == "openvino":
        exact = load_exported(path, threads=1, precision="float32")(images)
        assert np.abs(exact - expected).max() < np.abs(logits - expected).max() or loaded.precision == "float32"


@pytest.mark.parametrize("file_format", ["onnx", "openvino", "torch_export"])
def test_another_network_is_not_written(
    file_format: ExportFormat, small_model: SegFormer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tampered(self: FileFormat, model: SegFormer, *arguments: Any) -> torch.nn.Module:
        network = original(self, model, *arguments)
        network.get_parameter("head.classifier.weight").mul_(1.01)  # every label stays, and no logit
        return network

    original = FileFormat.deploy_form
    monkeypatch.setattr(FileFormat, "deploy_form", tampered)
    suffix = {"onnx": ".onnx", "openvino": ".xml", "torch_export": ".pt2"}[file_format]
    target = tmp_path / f"model{suffix}"
    with pytest.raises(ModelError, match="not written, because the exported network is not the model: its logits") as e:
        export_model(small_model, ExportConfig(target, file_format, image_size=(32, 32)))
    assert "\n" not in str(e.value)
    assert list(tmp_path.iterdir()) == []


def test_the_record_survives_text(small_model: SegFormer) -> None:
    record = ExportRecord(
        small_model.metadata, "labels", "int8", None, model="SegFormer b0", source="runs/ü", versions={"a": "1"}
    )
    assert ExportRecord.from_properties(record.to_properties(), "x") == record
    assert ExportRecord.from_properties({**record.to_properties(), "later": "3"}, "x") == record
    with pytest.raises(ModelError, match="x: must be a file that `effiseg export` wrote"):
        ExportRecord.from_properties({"names": '["a"]'}, "x")
    with pytest.raises(ModelError, match="cannot be read: output must be logits or labels; found 'maps'"):
        ExportRecord.from_properties({**record.to_properties(), "output": '"maps"'}, "x")
    with pytest.raises(ModelError, match="cannot be read"):
        ExportRecord.from_properties({**record.to_properties(), "input_size": "{"}, "x")
