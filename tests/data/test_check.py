from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effiseg.data.check import CheckReport, check_dataset
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.findings import Finding, Kind
from effiseg.data.notices import describe_overlap
from effiseg.data.samples import list_for_training
from effiseg.errors import DataError


def check(file: Path, **options) -> CheckReport:
    return check_dataset(load_dataset_spec(file), **options)


def only(report: CheckReport, kind: Kind) -> Finding:
    """The one finding of a report."""
    assert [finding.kind for finding in report.findings] == [kind]
    assert "\n" not in report.findings[0].message
    return report.findings[0]


def mask_of(file: Path, name: str = "001", split: str = "train") -> Path:
    return file.parent / "labels" / split / f"{name}.png"


def image_of(file: Path, name: str = "001", split: str = "train") -> Path:
    return file.parent / "images" / split / f"{name}.png"


def test_a_clean_data_set(make_dataset) -> None:
    told: list[tuple[int, int]] = []
    report = check(make_dataset(), progress=lambda done, total: told.append((done, total)))
    assert report.findings == []
    assert report.images == {"train": 6, "val": 6}
    assert report.class_pixels["val"].sum() == 6 * 38 * 60
    assert told[-1] == (12, 12)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: list[Callable[[Path], None]] = [
    truncate,
    flip_a_byte,
    lambda path: path.write_bytes(b""),
    lambda path: path.write_text("no image"),
    lambda path: Image.open(image_copy(path)).save(path, format="JPEG") or truncate(path),
]


def image_copy(path: Path) -> Path:
    copy = path.with_name("copy.tmp")
    path.rename(copy)
    return copy


@pytest.mark.parametrize("damage", DAMAGES, ids=["truncated", "flipped", "empty", "text", "truncated JPEG"])
def test_an_image_that_is_not_whole_is_named(make_dataset, damage) -> None:
    file = make_dataset()
    damage(image_of(file))
    finding = only(check(file), "unreadable_image")
    assert finding.files == (str(image_of(file)),)
    assert finding.splits == ("train",)
    assert str(image_of(file)) in finding.message


@pytest.mark.parametrize("damage", DAMAGES[:4], ids=["truncated", "flipped", "empty", "text"])
def test_a_mask_that_is_not_whole_is_named(make_dataset, damage) -> None:
    file = make_dataset()
    damage(mask_of(file))
    assert only(check(file), "unreadable_mask").files == (str(mask_of(file)),)


def test_missing_masks_are_all_named(make_dataset) -> None:
    file = make_dataset()
    for name in ("001", "004"):
        mask_of(file, name).unlink()
    report = check(file)
    assert [finding.kind for finding in report.findings] == ["missing_mask"] * 2
    assert [finding.files for finding in report.findings] == [(str(image_of(file, name)),) for name in ("001", "004")]
    assert report.images["train"] == 4


def test_masks_of_another_size_colour_or_value_are_told_apart(make_dataset) -> None:
    file = make_dataset()
    Image.fromarray(np.zeros((41, 60), np.uint8)).save(mask_of(file, "000"))
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(mask_of(file, "001"))
    labels = np.zeros((40, 60), np.uint8)
    labels[0], labels[1, :5] = 7, 9
    Image.fromarray(labels).save(mask_of(file, "002"))
    Image.fromarray(np.full((40, 60), 255, np.uint8)).save(mask_of(file, "003"))
    report = check(file)
    kinds = {finding.kind: finding for finding in report.findings}
    assert list(kinds) == ["size_mismatch", "colour_mask", "foreign_values", "nothing_labelled"]
    assert "41x60" in kinds["size_mismatch"].message
    assert "mask_format: color" in kinds["colour_mask"].message
    assert kinds["foreign_values"].values == {7: 60, 9: 5}
    assert "7 (60 pixels), 9 (5 pixels)" in kinds["foreign_values"].message
    assert [finding.kind for finding in report.warnings] == ["nothing_labelled"]


def test_unlisted_values_are_a_warning(make_dataset) -> None:
    report = check(make_dataset(splits=("train",), label_mapping={0: 0, 1: 1, 2: 2}, classes=4, names=["a", "b", "c"]))
    assert [finding.kind for finding in report.findings] == ["unlisted_values"] * 6
    assert report.faults == []
    assert all(set(finding.values) == {3} for finding in report.findings)


def test_a_class_that_never_occurs(make_dataset) -> None:
    report = check(make_dataset(names=["a", "b", "c", "d"]))
    assert [(f.kind, f.severity, f.splits) for f in report.findings] == [
        ("absent_class", "fault", ("train",)),
        ("absent_class", "warning", ("val",)),
    ]
    assert all("'d'" in finding.message for finding in report.findings)


def test_images_in_several_splits_and_twice_in_one(make_dataset) -> None:
    file = make_dataset()
    Image.open(image_of(file, "002")).save(image_of(file, "003", "val").with_suffix(".bmp"))
    image_of(file, "003", "val").unlink()
    shutil.copy(image_of(file, "004"), image_of(file, "005"))
    report = check(file)
    shared, repeated = report.findings
    assert (shared.kind, shared.splits, shared.severity) == ("shared_image", ("train", "val"), "fault")
    assert shared.files == (str(image_of(file, "002")), str(image_of(file, "003", "val").with_suffix(".bmp")))
    assert (repeated.kind, repeated.splits, repeated.severity) == ("repeated_image", ("train",), "warning")


def test_splits_that_lead_nowhere_do_not_hide_the_others(make_dataset) -> None:
    file = make_dataset(test="images/test", val=["images/val", "gone/*.png"])
    (file.parent / "images" / "test").mkdir()
    report = check(file)
    assert [finding.kind for finding in report.findings] == ["split"] * 2
    assert report.images == {"train": 6, "val": 6, "test": 0}


def test_lists_with_missing_lines_name_all_of_them(make_dataset) -> None:
    file = make_dataset(train="train.txt")
    (file.parent / "train.txt").write_text("gone.png\nimages/train/000.png\nlost.png\nimages/train/001.png\n")
    report = check(file)
    assert ["line 1" in report.findings[0].message, "line 3" in report.findings[1].message] == [True, True]
    assert report.images["train"] == 2


def test_pairs_that_cannot_be_told_apart(make_dataset) -> None:
    file = make_dataset()
    Image.open(image_of(file)).resize((60, 40)).save(image_of(file).with_suffix(".bmp"))
    kinds = [finding.kind for finding in check(file).findings]
    assert kinds == ["pairing", "pairing", "repeated_image"]


def test_colour_masks_with_unknown_colours(make_dataset) -> None:
    file = make_dataset(mask_format="color", palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2]], ignore_colors=[[255, 255, 255]])
    assert check(file).findings == []
    Image.fromarray(np.full((40, 60, 3), (9, 8, 7), np.uint8)).save(mask_of(file))
    assert "[9, 8, 7] (2400 pixels)" in only(check(file), "colour_mask").message
    truncate(mask_of(file))
    assert only(check(file), "unreadable_mask")


def test_faulty_polygons_are_named(make_dataset) -> None:
    file = make_dataset(mask_format="yolo", background="class 0", masks_dir="polygons")
    for split in ("train", "val"):
        for image in (file.parent / "images" / split).iterdir():
            text = file.parent / "polygons" / split / f"{image.stem}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("1 0 0 1 0 1 0.4\n2 0 1 1 1 1 0.6\n")
    assert check(file).findings == []
    (file.parent / "polygons" / "train" / "003.txt").write_text("1 0 0 1\n")
    assert "003.txt" in only(check(file), "unreadable_mask").message


def test_training_is_told_how_many_faults_there_are(make_dataset) -> None:
    file = make_dataset()
    spec = load_dataset_spec(file)
    train, val = list_for_training(spec)
    assert (len(train), len(val)) == (6, 6)
    for split, name in (("train", "001"), ("train", "003"), ("val", "002")):
        mask_of(file, name, split).unlink()
    with pytest.raises(DataError, match=r"train/001.png: every image .* \(and 2 more: `effiseg data check`"):
        list_for_training(spec)


def test_files_and_links_that_splits_share_are_told_before_training(make_dataset) -> None:
    file = make_dataset()
    spec = load_dataset_spec(file)
    assert describe_overlap(spec, *list_for_training(spec)) is None
    image_of(file, "002", "val").unlink()
    image_of(file, "002", "val").symlink_to(image_of(file, "005"))
    line = describe_overlap(spec, *list_for_training(spec))
    assert line is not None
    assert f"found 1 of 6 images of val in train too, as {image_of(file, '002', 'val')}" in line


def test_processes_find_what_one_finds(make_dataset) -> None:
    file = make_dataset(sizes=((12, 14),) * 40)
    for name in ("003", "039"):
        truncate(mask_of(file, name))
    assert check(file, processes=2).to_dict() == check(file, processes=1).to_dict()
