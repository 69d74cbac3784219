"""Data sets that come as Python objects."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

import effiseg
from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.python_data import PythonData, PythonSample
from effiseg.data.samples import check_samples, list_samples
from effiseg.data.statistics import split_statistics
from effiseg.errors import DataError, UsageError
from effiseg.training import trainer
from effiseg.training.run_checks import check_objects

NAMES = ["grey", "red", "blue"]
SMALL: dict[str, Any] = {"image_size": (32, 64), "batch_size": 4, "workers": 0, "device": "cpu", "epochs": 1}


class FromFiles(Dataset[Any]):
    """The pairs of a split of a data set on disk, as its user would read them."""

    def __init__(self, data: Path, split: str) -> None:
        self.images = sorted((data.parent / "images" / split).iterdir())

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray[Any, Any]]:
        path = self.images[index]
        mask = path.parents[2] / "labels" / path.parent.name / path.name
        return Image.open(path), np.asarray(Image.open(mask))


class Items:
    """A list of items."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


@pytest.fixture
def data(colour_data: Path) -> PythonData:
    return PythonData(names=NAMES, train=FromFiles(colour_data, "train"), val=FromFiles(colour_data, "val"))


def pair(height: int = 4, width: int = 6, value: int = 0) -> tuple[Any, Any]:
    return np.zeros((height, width, 3), np.uint8), np.full((height, width), value, np.uint8)


def test_items_are_what_the_files_are(data: PythonData, colour_data: Path) -> None:
    ours, files = data.spec(), load_dataset_spec(colour_data)
    assert (ours.names, ours.palette, ours.ignore_index) == (files.names, files.palette, files.ignore_index)
    for split in ("train", "val"):
        samples = list_samples(ours, split)
        expected = [sample.read_pair(files) for sample in list_samples(files, split)]
        for sample, (image, label) in zip(samples, expected, strict=True):
            found = sample.read_pair(ours)
            assert np.array_equal(found[0], image)
            assert np.array_equal(found[1], label)
            assert np.array_equal(sample.read_image(), image)
        assert check_samples(ours, samples) == {}
    counted = [split_statistics(spec, "train").class_counts for spec in (ours, files)]
    assert np.array_equal(*counted)
    assert [sample.id for sample in list_samples(ours, "train")] == [f"train{index:02d}" for index in range(14)]


@pytest.mark.heavy
def test_training_on_objects_equals_training_on_their_files(
    data: PythonData, colour_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("effiseg.runs.report_at_end", lambda *arguments, **others: None)
    torch.set_num_threads(1)
    files = effiseg.train(data=colour_data, out=tmp_path / "files", **SMALL)
    objects = effiseg.train(data=data, out=tmp_path / "objects", **{**SMALL, "workers": 1})
    expected, found = (run.model().state_dict() for run in (files, objects))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert objects.class_iou == files.class_iou
    assert effiseg.evaluate(objects, data, "val", workers=0).class_iou == files.class_iou
    assert (tmp_path / "objects" / "samples").is_dir()
    assert objects.config.data.endswith("FromFiles")

    (tmp_path / "objects" / "results.json").unlink()
    with pytest.raises(UsageError, match=r"effiseg\.resume") as caught:
        trainer.resume(objects)
    assert "\n" not in str(caught.value)
    assert effiseg.resume(objects, data=data).class_iou == files.class_iou
    (tmp_path / "objects" / "results.json").unlink()
    with pytest.raises(effiseg.RunError, match="have changed"):
        effiseg.resume(objects, data=PythonData(names=NAMES, train=data.val, val=data.val))


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ({"image": 1}, "pair"),
        ((np.zeros((3, 4, 6), np.float32), np.zeros((4, 6), np.uint8)), "float32"),
        ((np.zeros((3, 4, 6), np.uint8), np.zeros((4, 6), np.uint8)), r"\(3, 4, 6\)"),
        ((np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4), np.uint8)), r"\(6, 4\)"),
        ((np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.float32)), "float32"),
        (pair(value=7), "found 7"),
    ],
)
def test_items_that_break_the_rules_are_one_line(item: Any, found: str) -> None:
    spec = PythonData(names=NAMES, train=Items(item)).spec()
    with pytest.raises(DataError, match=found) as caught:
        list_samples(spec, "train")[0].read_pair(spec)
    assert str(caught.value).startswith("train[0]")
    assert "\n" not in str(caught.value)


def test_an_error_of_the_dataset_names_the_item() -> None:
    class Broken(Items):
        def __getitem__(self, index: int) -> Any:
            raise KeyError("mask")

    spec = PythonData(names=NAMES, train=Broken(0)).spec()
    with pytest.raises(DataError, match=r"train\[0\].*KeyError"):
        list_samples(spec, "train")[0].read_pair(spec)


def test_tensors_and_wider_integers() -> None:
    image, label = pair(value=2)
    spec = PythonData(names=NAMES, train=Items((torch.from_numpy(image), torch.from_numpy(label).long()))).spec()
    read = list_samples(spec, "train")[0].read_pair(spec)
    assert (read[0].dtype, read[1].dtype) == (np.uint8, np.uint8)
    assert np.array_equal(read[1], label)


class Stream(IterableDataset[Any]):
    """Has no items by index."""

    def __iter__(self) -> Any:
        return iter(())


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({}, "at least one"),
        ({"train": Items()}, "at least one item"),
        ({"train": Stream()}, "Stream"),
        ({"names": []}, "names"),
        ({"names": ["a", "a"]}, "differ"),
        ({"palette": [(0, 0, 0)]}, "palette"),
        ({"ignore_index": 2}, "ignore_index"),
    ],
)
def test_what_cannot_be_a_data_set(wrong: dict[str, Any], found: str) -> None:
    given = {"train": Items(pair())} if wrong else {}
    with pytest.raises(DataError, match=found):
        PythonData(**{"names": NAMES, **given, **wrong})


def test_what_does_not_go_with_objects(data: PythonData, monkeypatch: pytest.MonkeyPatch) -> None:
    check_objects(small_config("run", data=data.reference, workers=2), data, None)
    with pytest.raises(UsageError, match="cache ram"):
        check_objects(small_config("run", data=data.reference, cache="ram"), data, None)
    with pytest.raises(UsageError, match="leave that out"):
        check_objects(small_config("run"), data, None)
    only_val = PythonData(names=NAMES, val=data.val)
    with pytest.raises(UsageError, match="split train"):
        check_objects(small_config("run", data=only_val.reference), only_val, None)
    local = PythonData(names=NAMES, train=Items(pair(), lambda: None))
    check_objects(small_config("run", data=local.reference, workers=0), local, None)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "spawn")
    check_objects(small_config("run", data=data.reference, workers=2), data, None)
    with pytest.raises(UsageError, match="workers=0"):
        check_objects(small_config("run", data=local.reference, workers=2), local, None)


def small_config(name: str, **settings: Any) -> TrainConfig:
    return TrainConfig(**{"data": "my.yaml", "out": name, "device": "cpu", **settings})


def test_samples_can_be_sent_to_workers(data: PythonData) -> None:
    samples = list_samples(data.spec(), "train")
    sent = pickle.loads(pickle.dumps(samples))
    assert all(isinstance(sample, PythonSample) for sample in sent)
    assert sent[0].dataset is sent[1].dataset
