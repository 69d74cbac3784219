"""`effiseg evaluate`, `predict`, `export`, `benchmark`, `inspect-norms` and `push`: wrong words, wrong files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

NONE_SUCH = "nowhere: no such folder; MODEL must be a run folder"
EVALUATE = (
    ("evaluate", "--data is missing"),
    ("evaluate {model}", "--data is missing"),
    ("evaluate --data {data}", "give either MODEL or --predictions DIR; found neither"),
    ("evaluate {model} --predictions {images} --data {data}", "give either MODEL or --predictions DIR; found both"),
    ("evaluate '' --data {data}", "MODEL must be a run folder"),
    ("evaluate nowhere --data {data}", NONE_SUCH),
    ("evaluate {model} --data nowhere", "data set nowhere: no such YAML file"),
    ("evaluate {data} --data {data}", "data.yaml: is a file; MODEL must be"),
    ("evaluate {images} --data {data}", "holds neither config.json nor model/config.json"),
    ("evaluate org/name/more --data {data}", "org/name/more: no such folder"),
    ("evaluate x.onnx --data {data}", "x.onnx: no such folder"),
    ("evaluate x.pt2 --data {data}", "x.pt2: a .pt2 file is never opened, loading one can run code"),
    ("evaluate {model} {model} --data {data}", "effiseg evaluate takes one MODEL"),
    ("evaluate {model} --data {data} --split tset", "no split 'tset'; found train, val"),
    ("evaluate {model} --data {data} --mode tile", "--mode: "),
    ("evaluate {model} --data {data} --window 64x64", "--window belongs to --mode slide; found it with whole"),
    ("evaluate {model} --data {data} --stride 32", "--stride belongs to --mode slide; found it with whole"),
    ("evaluate {model} --data {data} --mode slide --stride 0", "stride must be at least 1; found 0"),
    ("evaluate {model} --data {data} --mode slide --window 16x16", "window must be at least 32x32"),
    ("evaluate {model} --data {data} --mode slide --window 64x64 --stride 100", "so that no gap is left; found 100"),
    ("evaluate {model} --data {data} --image_size 64x", "image_size must be HEIGHTxWIDTH"),
    ("evaluate {model} --data {data} --image_size 99999x64", "image_size must be at most 16384x16384"),
    ("evaluate {model} --data {data} --batch_size 0", "batch_size must be at least 1; found 0"),
    ("evaluate {model} --data {data} --workers -2", "workers must be at least 0; found -2"),
    ("evaluate {model} --data {data} --protocol half", "--protocol: "),
    ("evaluate {model} --data {data} --device gpu", "--device: "),
    ("evaluate {model} --data {data} --flip 2", "unknown argument '2'"),
    ("evaluate {model} --data {data} --json {good}", "a folder of that name is in the way"),
    ("evaluate {model} --data {data} --json {data}/x.json", "a part of its path is a file"),
    ("evaluate --predictions nowhere --data {data}", "--predictions needs the folder of the label PNGs"),
    ("evaluate --predictions {data} --data {data}", "--predictions needs the folder of the label PNGs"),
    ("evaluate --predictions {here} --data {data}", "every sample needs exactly one PNG named 000.png or 000_*.png"),
    ("evaluate --predictions {pairs} --data {data}", "every sample needs exactly one PNG"),
    ("evaluate --predictions {images} --data {data}", "a mask holds one integer a pixel"),
    ("evaluate --predictions {images} --data {data} --flip", "--predictions are labels already"),
)
PREDICT = (
    ("predict", "MODEL is missing"),
    ("predict {model}", "SOURCE is missing"),
    ("predict {model} {images} --out ''", "--out: "),
    ("predict nowhere {images} --out {out}", NONE_SUCH),
    ("predict {images} {images} --out {out}", "holds neither config.json nor model/config.json"),
    ("predict {model} nowhere.png --out {out}", "nowhere.png: no such file or folder; SOURCE is an image"),
    ("predict {model} 'nowhere/*.png' --out {out}", "must hold images (.jpg .jpeg"),
    ("predict {model} {model} --out {out}", "must hold images (.jpg .jpeg"),
    ("predict {model} /dev/null --out {out}", "/dev/null: SOURCE must be a regular file; found a device"),
    ("predict {model} {images} --out {good}/model", "must be new or empty; found"),
    ("predict {model} {images} --out {data}", "cannot be written (Not a directory)"),
    ("predict {model} {images} --out {data}/x", "a part of its path is a file"),
    ("predict {model} {images} --out {out} --save mask", "--save: "),
    ("predict {model} {images} --out {out} --save ''", "--save: "),
    ("predict {model} {images} --out {out} --save coco,voc", "--save: "),
    ("predict {model} {images} --out {out} --save coco --polygon_tolerance -1", "polygon_tolerance must be "),
    ("predict {model} {images} --out {out} --save yolo --polygon_tolerance nan", "polygon_tolerance must be "),
    ("predict {model} {images} --out {out} --save labelme --polygon_area -1", "polygon_area must be "),
    ("predict {model} {images} --out {out} --save cvat --polygon_area 1.5", "--polygon_area: "),
    ("predict {model} {images} --out {out} --existing append", "--existing: "),
    ("predict {model} {images} --out {out} --mode slide --stride -5", "stride must be at least 1; found -5"),
    ("predict {model} {images} --out {out} --image_size 1x1", "image_size must be at least 32x32"),
    ("predict {model} {images} --out {out} --batch_size 1.5", "--batch_size: "),
    ("predict {model} {images} --out {out} --device 0", "--device: "),
    ("predict {model} {images} --out {out} --overlay", "unknown option '--overlay'"),
)
EXPORT = (
    ("export", "MODELS is missing"),
    ("export {model}", "--out is missing"),
    ("export nowhere --out {here}/x.onnx", NONE_SUCH),
    ("export {images} --out {here}/x.onnx", "holds neither config.json nor model/config.json"),
    (
        "export {model} {model} --out {here}/x.onnx",
        "a file holds one model, and --format web shows two; found 2",
    ),
    ("export {model} --out {here}/x", "must end in .onnx, .xml, .param, .tflite, .pte, .pt2, which says the format"),
    (
        "export {model} --out {here}/x.mlmodel",
        "must end in .onnx, .xml, .param, .tflite, .pte, .pt2, which says the format",
    ),
    ("export {model} --out {here}/x.onnx --format openvino", "--out must end in .xml for --format openvino"),
    ("export {model} --out {here}/x.onnx --format coreml", "--format: "),
    ("export {model} --out {here}/x --format web --precision float16", "--precision is for files of one model"),
    ("export {model} {model} {model} --out {here}/x --format web", "the page shows one or two models; found 3"),
    ("export {model} --out {here}/x.onnx --precision int8", "--precision int8 needs images to calibrate on"),
    ("export {model} --out {here}/x.onnx --precision bfloat16", "--precision bfloat16 is for --format openvino"),
    ("export {model} --out {here}/x.xml --precision float16", "--precision float16 is for --format onnx"),
    ("export {model} --out {here}/x.pt2 --precision float16", "found torch_export, which has float32"),
    ("export {model} --out {here}/x.pt2 --precision int8 --data {data}", "found torch_export, which has float32"),
    ("export {model} --out {here}/x.onnx --half --int8", "give one --precision; found both --half and --int8"),
    ("export {model} --out {here}/x.onnx --image_size 30x30", "image_size must be at least 32x32"),
    ("export {model} --out {here}/x.onnx --image_size 32x64 --dynamic", "give either --image_size or --dynamic"),
    ("export {model} --out {here}/x.onnx --output masks", "--output: "),
    ("export {model} --out {here}/x.onnx --data_root x", "--data_root concerns --data; found no --data"),
    ("export {model} --out {here}/x.onnx --data nowhere", "data set nowhere: no such YAML file"),
    ("export {model} --out {here}/x.onnx --data {data} --split tset", "no split 'tset'; found train, val"),
    ("export {model} --out {here}/x.onnx --calibration_images 0", "calibration_images must be at least 1; found 0"),
    ("export {model} --out {here}/x.onnx --evaluation_images 0", "evaluation_images must be at least 1; found 0"),
    ("export {model} --out {data}/x.onnx", "cannot be written ("),
    (f"export {{model}} --out {'n' * 300}.xml", "cannot be written (File name too long)"),
)
OTHERS = (
    ("benchmark", "nothing to time: give MODEL, or --variants"),
    ("benchmark nowhere", NONE_SUCH),
    ("benchmark nowhere.onnx", "nowhere.onnx: no such file"),
    ("benchmark {images}", "holds neither config.json nor model/config.json"),
    ("benchmark {model} --engine tensorrt", "--engine: "),
    ("benchmark {model} --engine ''", "--engine: "),
    ("benchmark {model} --precision int8", "int8 needs calibration images"),
    ("benchmark {model} --rounds 0", "rounds must be at least 1; found 0"),
    ("benchmark {model} --passes 0", "passes must be at least 1; found 0"),
    ("benchmark {model} --warmup 0", "warmup must be at least 1; found 0"),
    ("benchmark {model} --threads 0", "threads must be at least 1; found 0"),
    ("benchmark {model} --batch_size 0", "batch_size must be at least 1; found 0"),
    ("benchmark {model} --image_size 16x16", "image_size must be at least 32x32"),
    ("benchmark {model} --against mmseg", "--against: "),
    ("benchmark {model} --output mask", "--output: "),
    ("benchmark {model} --json {good}", "a folder of that name is in the way"),
    ("inspect-norms", "MODEL is missing"),
    ("inspect-norms {model}", "--data is missing"),
    ("inspect-norms {model} --data {data}", "--out is missing"),
    ("inspect-norms nowhere --data {data} --out {out}", NONE_SUCH),
    ("inspect-norms {model} --data nowhere --out {out}", "data set nowhere: no such YAML file"),
    ("inspect-norms {model} --data {data} --out {out} --images 0", "images must be at least 1; found 0"),
    ("inspect-norms {model} --data {data} --out {out} --seed -1", "seed must be at least 0; found -1"),
    ("inspect-norms {model} --data {data} --out {out} --split tset", "no split 'tset'; found train, val"),
    ("inspect-norms {model} --data {data} --out {out} --image_size 5x5", "image_size must be at least 32x32"),
    ("push", "MODEL is missing"),
    ("push {model}", "REPOSITORY is missing"),
    ("push {model} name", "name"),
    ("push {model} a/b/c", "a/b/c"),
    ("push nowhere a/b", "nowhere: "),
    ("push {images} a/b", "holds neither config.json nor model/config.json"),
)
CONFIGS: tuple[tuple[dict[str, Any] | str, str], ...] = (
    ("", "not valid JSON, line 1"),
    ("[]", "must hold a JSON object; found list"),
    ("{}", "config.json: "),
    ({"model_type": "bert"}, "config.json: "),
    ({"hidden_sizes": [1, 2, 3]}, "config.json: "),
    ({"hidden_sizes": [10**9] * 4}, "config.json: "),
    ({"depths": [10**6] * 4}, "config.json: depths must be 4 whole numbers from 1 to 128"),
    ({"depths": [2, 2, 2, -2]}, "config.json: "),
    ({"depths": "2222"}, "config.json: "),
    ({"id2label": {"0": "a"}}, ""),
    ({"num_channels": 4}, "num_channels"),
    ({"effiseg": 5}, "config.json: "),
    ({"model_type": "effiseg_segformer"}, "config.json: "),
    ({"model_type": "effiseg_segformer", "effiseg": {"patch_norm": "dyt"}}, "config.json: "),
    ({"model_type": "effiseg_segformer", "effiseg": {"patch_norm": "x", "block_norm": "x", "norm_eps": 1}}, "norm"),
)
WEIGHTS = (b"", b"\x00" * 100, b"\xff" * 8 + b"{}", b"\x80\x04K\x05.", None)


@pytest.mark.parametrize(("words", "line"), EVALUATE)
def test_evaluate(words: str, line: str, refused) -> None:
    refused(words, line)


@pytest.mark.parametrize(("words", "line"), PREDICT)
def test_predict(words: str, line: str, refused) -> None:
    refused(words, line)


@pytest.mark.parametrize(("words", "line"), EXPORT)
def test_export(words: str, line: str, refused) -> None:
    refused(words, line)


@pytest.mark.parametrize(("words", "line"), OTHERS)
def test_benchmark_inspect_norms_and_push(words: str, line: str, refused) -> None:
    refused(words, line)


DOORS = (
    "evaluate {here}/model --data {data}",
    "predict {here}/model {images} --out {out}",
    "export {here}/model --out {here}/x.onnx",
    "inspect-norms {here}/model --data {data} --out {out}",
)


@pytest.fixture
def model(good: Path, tmp_path: Path) -> Path:
    """A copy of the good model, to be spoilt."""
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(good / "model" / "config.json", folder)
    (folder / "model.safetensors").hardlink_to(good / "model" / "model.safetensors")
    return folder


@pytest.mark.parametrize(("change", "line"), CONFIGS)
def test_a_damaged_config(change: dict[str, Any] | str, line: str, refused, model: Path) -> None:
    config = model / "config.json"
    plain = {name: value for name, value in json.loads(config.read_text()).items() if name != "effiseg"}
    config.write_text(change if isinstance(change, str) else json.dumps(plain | change))
    assert len({refused(door, line).partition(": ")[2] for door in DOORS}) == 1


@pytest.mark.parametrize("content", WEIGHTS)
def test_damaged_weights(content: bytes | None, refused, model: Path) -> None:
    (model / "model.safetensors").unlink()
    if content is not None:
        (model / "model.safetensors").write_bytes(content)
    assert len({refused(door, "{here}/model").partition(": ")[2] for door in DOORS}) == 1


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 50])
@pytest.mark.parametrize("name", ["x.onnx", "x.xml"])
def test_exported_files_that_are_none(name: str, content: bytes, refused, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    for door in ("evaluate {here}/" + name + " --data {data}", "predict {here}/" + name + " {images} --out {out}"):
        refused(door, name)


@pytest.mark.parametrize("name", ["x.pth", "x.bin", "x.pkl", "x.ckpt", "x.engine"])
def test_files_of_other_software(name: str, refused, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04K\x05.")
    for command in ("evaluate {here}/" + name + " --data {data}", "export {here}/" + name + " --out {here}/x.onnx"):
        refused(command, name)
