"""Label files against the official Cityscapes evaluator, and which file belongs to which sample."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from effiseg.config.training import Protocol
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.errors import DataError, UsageError
from effiseg.evaluation.evaluator import evaluate
from effiseg.evaluation.predictions import PredictionFolder, find_predictions
from effiseg.inference.framing import Framing


def save(path: Path, values: npt.NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def raw_maps(generator: np.random.Generator, ids: list[int], agreement: float) -> list[npt.NDArray[np.uint8]]:
    truth = generator.choice(ids, (61, 83)).astype(np.uint8)
    guess = generator.choice(ids, truth.shape).astype(np.uint8)
    return [truth, np.where(generator.random(truth.shape) < agreement, truth, guess)]


@pytest.mark.parametrize("ids", [list(range(34)), [0, 3, 7, 8, 11, 23, 29, 33]], ids=["every raw id", "classes absent"])
def test_the_official_cityscapes_evaluator(tmp_path: Path, ids: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "cityscapesscripts is the oracle of the evaluation of label files"
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling", reason=reason)
    generator = np.random.default_rng(len(ids))
    truths, predictions = [], []
    for index in range(5):
        name = f"town_{index:06d}_000019"
        truth, prediction = raw_maps(generator, ids, index / 5)
        if index == 0:
            prediction[:30] = 5  # whole regions of a raw id that is no class
        save(tmp_path / f"leftImg8bit/val/town/{name}_leftImg8bit.png", np.zeros((61, 83, 3), np.uint8))
        truths.append(save(tmp_path / f"gtFine/val/town/{name}_gtFine_labelIds.png", truth))
        predictions.append(save(tmp_path / f"results/{name}_mine.png", prediction))
    for name, value in {"evalInstLevelScore": False, "JSONOutput": False, "quiet": True}.items():
        monkeypatch.setattr(official.args, name, value)
    theirs = official.evaluateImgLists([str(p) for p in predictions], [str(p) for p in truths], official.args)

    ours = evaluate(PredictionFolder(tmp_path / "results"), Framing(), load_dataset_spec("cityscapes", tmp_path), "val")
    assert ours.images == 5
    for name, iou in ours.class_iou.items():
        expected = theirs["classScores"][name]
        if math.isnan(expected):
            assert iou is None
        else:
            assert iou is not None
            assert abs(iou / 100 - expected) < 1e-10
    assert ours.miou is not None
    assert abs(ours.miou / 100 - theirs["averageScoreClasses"]) < 1e-10
    assert sum(iou is None for iou in ours.class_iou.values()) == (0 if len(ids) == 34 else 14)


def labels_of(spec: DatasetSpec) -> dict[str, npt.NDArray[np.uint8]]:
    return {path.stem: np.asarray(Image.open(path)) for path in sorted((spec.root / "labels" / "val").glob("*.png"))}


def test_masks_as_predictions_are_perfect(small_spec: DatasetSpec) -> None:
    done: list[tuple[int, int]] = []
    folder = PredictionFolder(small_spec.root / "labels/val")
    result = evaluate(folder, Framing(), small_spec, "val", workers=2, progress=lambda *n: done.append(n))
    assert done == [(index, 5) for index in range(1, 6)]
    assert result.miou == result.pixel_accuracy == result.mean_accuracy == 100
    assert result.class_iou == {"a": 100, "b": 100, "c": 100, "never": None}
    assert result.image_iou == {"s0": 100, "s1": 100, "s2": 100, "s3": 100, "s4": None}
    assert (result.protocol, result.image_size, result.form) == ("full", None, None)


def test_a_value_that_is_no_class_is_a_miss(small_spec: DatasetSpec, tmp_path: Path) -> None:
    for name, label in labels_of(small_spec).items():
        wide = label.astype(np.uint16)
        wide[wide == 1] = 60_000 if name == "s0" else 200
        Image.fromarray(wide).save(tmp_path / f"{name}.png")
    result = evaluate(PredictionFolder(tmp_path), Framing(), small_spec, "val")
    assert result.class_iou == {"a": 100, "b": 0, "c": 100, "never": None}
    assert result.mean_accuracy == pytest.approx(200 / 3)
    b = result.names.index("b")
    assert result.confusion[b] == [
        0,
        0,
        0,
        0,
        sum(int((x == 1).sum()) for x in labels_of(small_spec).values()),
    ]


def test_a_file_goes_to_the_longest_id(tmp_path: Path) -> None:
    for name in (
        "a.png",
        "sub/a_b_pred.png",
        "a_b_c.PNG",
        "other.png",
        ".a_hidden.png",
        "a_c.txt",
        "ab_x.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_predictions(tmp_path, ["a", "a_b", "a_b_c"])
    assert {name: path.name for name, path in found.items()} == {
        "a": "a.png", "a_b": "a_b_pred.png", "a_b_c": "a_b_c.PNG",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.png"], "found none for b .1 of 2 samples"),
        (["a_1.png", "ax.png"], "found none for b .1 of 2 samples"),
        (["a.png", "b.png", "b_x.png"], "found 2: b.png, b_x.png"),
        (["a.png", "b.png", "sub/b.png"], "found 2: b.png, sub/b.png"),
    ],
)
def test_none_or_several_files_are_an_error(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=message) as caught:
        find_predictions(tmp_path, ["a", "b"])
    assert "b.png or b_*.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_a_longer_id_does_not_count_for_the_shorter(tmp_path: Path) -> None:
    (tmp_path / "a_b.png").touch()
    with pytest.raises(DataError, match="found none for a "):
        find_predictions(tmp_path, ["a", "a_b"])


def test_another_size_is_an_error_that_names_both_files(small_spec: DatasetSpec, tmp_path: Path) -> None:
    for name, label in labels_of(small_spec).items():
        save(tmp_path / f"{name}.png", label[::2, ::2] if name == "s2" else label)
    with pytest.raises(DataError, match=r"s2\.png: .*19x35 .*37x70 .*labels/val/s2\.png"):
        evaluate(PredictionFolder(tmp_path), Framing(), small_spec, "val")


def test_colours_are_an_error(small_spec: DatasetSpec, tmp_path: Path) -> None:
    for name, label in labels_of(small_spec).items():
        save(tmp_path / f"{name}.png", np.stack([label] * 3, -1))
    with pytest.raises(DataError, match=r"s0\.png"):
        evaluate(PredictionFolder(tmp_path), Framing(), small_spec, "val")


def test_no_folder(small_spec: DatasetSpec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        evaluate(PredictionFolder(tmp_path / "nowhere"), Framing(), small_spec, "val")


@pytest.mark.parametrize(("framing", "protocol"), [(Framing(flip=True), "full"), (Framing(), "quarter")])
def test_what_concerns_models_is_refused(small_spec: DatasetSpec, framing: Framing, protocol: Protocol) -> None:
    with pytest.raises(UsageError, match=r"--protocol, .*--flip .*concern models"):
        evaluate(PredictionFolder(small_spec.root / "labels/val"), framing, small_spec, "val", protocol=protocol)


def own_predictions(tmp_path: Path, classes: dict[str, str] | None) -> DatasetSpec:
    """A data set with a label_mapping, and perfect predictions of class indices with a record."""
    import json

    generator = np.random.default_rng(0)
    for camera in ("cam1", "cam2"):
        raw = generator.choice([7, 11, 23, 0], (20, 30)).astype(np.uint8)
        save(tmp_path / f"images/val/{camera}/0001.png", np.zeros((20, 30, 3), np.uint8))
        save(tmp_path / f"labels/val/{camera}/0001.png", raw)
        index = np.full(256, 200, np.uint8)
        index[[7, 11, 23]] = 0, 1, 2
        save(tmp_path / f"out/labels/{camera}/0001.png", index[raw])
        save(tmp_path / f"out/color/{camera}/0001.png", np.zeros((20, 30, 3), np.uint8))
        save(tmp_path / f"out/labels/.ipynb_checkpoints/{camera}__0001.png", raw)
    if classes is not None:
        record = {"classes": {value: {"name": name, "color": [0, 0, 0]} for value, name in classes.items()}}
        (tmp_path / "out" / "prediction.json").write_text(json.dumps(record))
    (tmp_path / "data.yaml").write_text(
        "val: images/val\nnames: [road, car, sky]\nlabel_mapping: {0: ignore_label, 7: 0, 11: 1, 23: 2}\n"
    )
    return load_dataset_spec(tmp_path / "data.yaml")


@pytest.mark.parametrize("folder", ["out", "out/labels"])
def test_our_own_predictions_are_read_as_their_record_says(tmp_path: Path, folder: str) -> None:
    spec = own_predictions(tmp_path, {"0": "road", "1": "car", "2": "sky"})
    result = evaluate(PredictionFolder(tmp_path / folder), Framing(), spec, "val")
    assert (result.images, result.miou) == (2, 100.0)
    (tmp_path / "out" / "prediction.json").unlink()
    assert evaluate(PredictionFolder(tmp_path / "out" / "labels"), Framing(), spec, "val").miou == 0.0


def test_a_record_of_raw_ids_or_of_another_order_means_what_it_says(tmp_path: Path) -> None:
    spec = own_predictions(tmp_path, {"0": "car", "1": "road", "2": "sky"})
    assert evaluate(PredictionFolder(tmp_path / "out"), Framing(), spec, "val").class_iou["sky"] == 100
    assert evaluate(PredictionFolder(tmp_path / "out"), Framing(), spec, "val").class_iou["car"] == 0
    own_predictions(tmp_path, {"7": "road", "11": "car", "23": "sky"})
    for camera in ("cam1", "cam2"):
        with Image.open(tmp_path / f"labels/val/{camera}/0001.png") as image:
            image.save(tmp_path / f"out/labels/{camera}/0001.png")
    assert evaluate(PredictionFolder(tmp_path / "out"), Framing(), spec, "val").miou == 100


@pytest.mark.parametrize("classes", [{"0": "tree"}, {"300": "road"}, {"x": "road"}])
def test_a_record_of_other_classes_is_refused(tmp_path: Path, classes: dict[str, str]) -> None:
    spec = own_predictions(tmp_path, classes)
    with pytest.raises(DataError, match=r"prediction\.json: classes must lead from values of 8 bits to names of"):
        evaluate(PredictionFolder(tmp_path / "out"), Framing(), spec, "val")
