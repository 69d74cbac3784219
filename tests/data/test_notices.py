"""What is read without a fault and often is not meant: told by the check of a data set, and by training."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from effiseg.config.training import TrainConfig
from effiseg.data.check import CheckReport, check_dataset
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.findings import Finding
from effiseg.data.samples import list_samples
from effiseg.errors import DataError

RED, GREEN, BLUE = [255, 0, 0], [0, 255, 0], [0, 0, 255]
SHAPE = (6, 8)
WHOLE = [0, 0, 8, 0, 8, 6, 0, 6]


def check(file: Path) -> CheckReport:
    return check_dataset(load_dataset_spec(file), processes=1)


def by_kind(report: CheckReport) -> dict[str, Finding]:
    kinds = [finding.kind for finding in report.findings]
    assert len(kinds) == len(set(kinds))
    return {finding.kind: finding for finding in report.findings}


def set_up(file: Path, **settings: Any) -> SegmentationDataModule:
    small = {"image_size": "32x64", "batch_size": 2, "workers": 0, "device": "cpu", "out": "run", **settings}
    data = SegmentationDataModule(TrainConfig(data=str(file), **small), load_dataset_spec(file))
    data.setup("fit")
    return data


# --- COCO


@pytest.fixture
def coco(tmp_path: Path) -> Any:
    """Writes images a.png and b.png of train and c.png of val, their JSON files and data.yaml; returns the YAML."""

    def write(*annotations: Any, names: tuple[str, ...] = ("a.png", "b.png"), one_file: bool = False) -> Path:
        for index, path in enumerate(("train/a.png", "train/b.png", "val/c.png")):
            (tmp_path / "images" / path).parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(index).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "images" / path)
        categories = [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}]
        for file, listed in (("train.json", names), ("val.json", ("c.png",))):
            images = [
                {"id": index, "file_name": name, "height": SHAPE[0], "width": SHAPE[1]}
                for index, name in enumerate(listed)
            ]
            own = [{"id": 0, "image_id": 0, "category_id": 1, "segmentation": [[0, 0, 8, 0, 8, 6, 0, 3]]}]
            own += [{"id": 1, "image_id": 0, "category_id": 2, "segmentation": [[0, 3, 8, 6, 0, 6]]}]
            own += annotations if file == "train.json" else []
            (tmp_path / file).write_text(json.dumps({"images": images, "annotations": own, "categories": categories}))
        values = {
            "train": "images/train",
            "val": "images/val",
            "names": ["one", "two"],
            "mask_format": "coco",
            "annotations": {"train": "train.json", "val": "train.json" if one_file else "val.json"},
            "background": "ignore_label",
        }
        (tmp_path / "data.yaml").write_text(yaml.safe_dump(values))
        return tmp_path / "data.yaml"

    return write


def annotation(number: int, segmentation: Any, image: object = 1, category: object = 1, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, **more}


def test_annotations_that_show_nowhere_are_counted_and_named(coco: Any) -> None:
    small = [2, 2, 4, 2, 4, 4, 2, 4]
    report = by_kind(
        check(
            coco(
                *[annotation(10 + index, [small]) for index in range(7)],
                annotation(20, [WHOLE]),
                annotation(30, [[0.1, 0.1, 0.9, 0.1, 0.5, 0.8]]),
                annotation(31, [[3, 3, 3.2, 3, 3.2, 3.2]]),
                annotation(40, [WHOLE], image=77),
                annotation(41, [WHOLE], image=78),
            )
        )
    )
    assert set(report) == {"hidden_annotation", "empty_annotation", "unscaled_annotation", "orphan_annotation"}
    assert report["hidden_annotation"].ids == tuple(map(str, range(10, 16)))
    assert "6 end invisible below others: 10, 11, 12, 13, 14, …" in report["hidden_annotation"].message
    assert report["unscaled_annotation"].ids == ("30",)
    assert report["empty_annotation"].ids == ("31",)
    assert report["orphan_annotation"].ids == ("40", "41")
    assert all(finding.severity == "warning" for finding in report.values())
    assert all("train.json: " in finding.message for finding in report.values())


def test_listed_images_that_no_split_finds_are_named_with_what_is_near(coco: Any) -> None:
    decomposed = unicodedata.normalize("NFD", "ü.png")
    file = coco(annotation(5, [WHOLE]), names=("a.png", "b.png", "B.PNG", "gone.png", "c.png", f"x/{decomposed}"))
    Image.new("RGB", SHAPE[::-1], (9, 9, 9)).save(file.parent / "images" / "train" / "ü.png")
    report = by_kind(check(file))
    assert list(report) == ["unfound_image"]
    ids = report["unfound_image"].ids
    assert [name.partition(" (near: ")[0] for name in ids] == ["B.PNG", "gone.png", f"x/{decomposed}"]
    assert ids[0].endswith("images/train/b.png)")
    assert ids[2].endswith("images/train/ü.png)")
    assert any("3 are in none" in line for line in set_up(file).notices)


def test_one_file_for_several_splits_is_silent(coco: Any) -> None:
    file = coco(annotation(5, [WHOLE]), annotation(6, [WHOLE], image=2), names=("a.png", "b.png", "c.png"),
                one_file=True)  # fmt: skip
    assert {finding.kind for finding in check(file).findings} <= {"hidden_annotation", "absent_class"}
    assert not [line for line in set_up(file).notices if "listed" in line]


def test_one_listed_image_is_no_two_of_different_splits(coco: Any) -> None:
    file = coco(names=("a.png", "b.png", "c.png"), one_file=True)
    (file.parent / "images/val/c.png").rename(file.parent / "images/val/a.png")
    for split in ("train", "val"):
        with pytest.raises(
            DataError, match=r"'a\.png' must mean one file of train and val; found .*train/a.* and .*val/a"
        ):
            list_samples(load_dataset_spec(file), split)
    file = coco(names=("/x/train/a.png", "/x/train/b.png", "/x/val/c.png"), one_file=True)
    assert [sample.entry for sample in list_samples(load_dataset_spec(file), "train")] == [0, 1]
    (file.parent / "images/val/c.png").unlink()
    with pytest.raises(DataError, match="must list the images of val; found none of 1"):
        list_samples(load_dataset_spec(file), "val")


def test_what_is_found_by_its_last_part_alone_is_told(coco: Any) -> None:
    file = coco(names=("C:\\mine\\a.png", "b.png"))
    report = by_kind(check(file))
    assert report["loose_name"].ids == (f"/mine/a.png ({file.parent / 'images/train/a.png'})",)
    assert report["loose_name"].severity == "warning"
    assert any("1 are another machine's" in line for line in set_up(file).notices)
    assert "loose_name" not in by_kind(check(coco(names=("C:\\mine\\images\\a.png", "b.png"))))


@pytest.mark.parametrize(
    ("segmentation", "complaint"),
    [
        ([[]], "at least 3 corners"),
        ([[1, 1, 2, 2]], "at least 3 corners"),
        ([WHOLE, [1, 1]], "at least 3 corners"),
        ([], "image_id, category_id, segmentation"),
        ([[0, 6, 42]], "run lengths are"),
        ([[0, 6, 6, 6, 29, 1]], "run lengths are"),
        ([0, 6, 42], "a flat list of x and y"),
        ({"counts": [WHOLE], "size": list(SHAPE)}, "image_id, category_id, segmentation"),
        ({"counts": [10**30], "size": list(SHAPE)}, "the runs fill the image"),
        ({"counts": [2**62, 2**62, 2**62, 2**62, 48], "size": list(SHAPE)}, "must fill 6x8 pixels"),
        ({"counts": "o" * 100, "size": list(SHAPE)}, "longer than any image"),
        ({"counts": [10**12], "size": [10**6, 10**6]}, "of size [1000000, 1000000], the image of [6, 8]"),
        ([[1e400, 1, 2, 2, 3, 3]], "JSON has no Infinity"),
    ],
)
def test_annotations_that_are_none_stand_under_their_own_heading(coco: Any, segmentation: Any, complaint: str) -> None:
    file = coco(annotation(5, segmentation))
    report = check(file)
    assert {finding.kind for finding in report.faults} == {"annotation"}
    assert complaint in report.faults[0].message
    spec = load_dataset_spec(file)
    with pytest.raises(DataError, match=r"train\.json") as caught:
        [sample.read_labels(spec) for sample in list_samples(spec, "train")]
    assert "\n" not in str(caught.value)


def test_numbers_that_tools_write_as_text_are_numbers(coco: Any) -> None:
    file = coco(annotation(5, [WHOLE], image="1", category="2"))
    spec = load_dataset_spec(file)
    assert (list_samples(spec, "train")[1].read_labels(spec).label == 1).all()
    content = json.loads((file.parent / "train.json").read_text())
    content["images"][1]["id"] = content["annotations"][2]["image_id"] = "b-uuid"
    content["categories"][1]["id"] = 2.0
    (file.parent / "train.json").write_text(json.dumps(content))
    assert (list_samples(spec, "train")[1].read_labels(spec).label == 1).all()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"categories": [{"id": 1, "name": "one"}, {"id": 1, "name": "two"}]}, "a category has one name; 1 is called"),
        ({"images": [{"id": 0, "file_name": "a.png", "height": 10**6, "width": 10**6}]}, "an image has at most"),
        ({"images": [{"id": True, "file_name": "a.png", "height": 6, "width": 8}]}, "an image has id, file_name"),
    ],
)
def test_what_a_file_says_of_images_and_categories_is_checked(coco: Any, change: Any, complaint: str) -> None:
    file = coco()
    content = json.loads((file.parent / "train.json").read_text())
    (file.parent / "train.json").write_text(json.dumps(content | change))
    with pytest.raises(DataError, match=complaint):
        list_samples(load_dataset_spec(file), "train")


def test_traced_contours_keep_their_pixels_where_the_border_belongs(coco: Any) -> None:
    line, square = [1, 1, 6, 1], [1, 2, 5, 2, 5, 4, 1, 4]
    file = coco(annotation(5, [square], category=2))
    spec = load_dataset_spec(file)
    assert (list_samples(spec, "train")[1].read_labels(spec).label == 1).sum() == 8
    content = json.loads((file.parent / "train.json").read_text())
    content["annotations"].append(annotation(6, [line]))
    (file.parent / "train.json").write_text(json.dumps(content))
    file.write_text(file.read_text() + "polygon_border: pixels\n")
    spec = load_dataset_spec(file)
    label = list_samples(spec, "train")[1].read_labels(spec).label
    assert (label == 1).sum() == 15
    assert label[1].tolist() == [255, 0, 0, 0, 0, 0, 0, 255]


# --- palettes and pages


def palette_mask(path: Path, values: np.ndarray, colors: list[list[int]]) -> None:
    image = Image.fromarray(values.astype(np.uint8)).convert("P")
    image = Image.fromarray(values.astype(np.uint8), mode="P")
    image.putpalette([part for color in colors for part in color])
    image.save(path)


def masks_of(file: Path, *splits: str) -> list[Path]:
    return [path for split in splits for path in sorted((file.parent / "labels" / split).iterdir())]


def with_palettes(file: Path, colors_of: Any) -> Path:
    """Give every mask the palette colors_of(index)."""
    for index, path in enumerate(masks_of(file, "train", "val")):
        with Image.open(path) as image:
            values = np.minimum(np.asarray(image), 2)
        palette_mask(path, values, colors_of(index))
    return file


def test_palettes_that_differ_between_masks_are_found(make_dataset: Any) -> None:
    file = with_palettes(make_dataset(), lambda index: [RED, GREEN, BLUE] if index % 2 else [GREEN, RED, BLUE])
    report = by_kind(check(file))
    assert list(report) == ["palette"]
    assert report["palette"].severity == "fault"
    assert "mask_format: color" in report["palette"].message
    with pytest.raises(DataError, match=r"one colour; found .*set mask_format: color"):
        set_up(file)
    file.write_text(file.read_text() + "mask_format: index\n")
    assert [(finding.kind, finding.severity) for finding in check(file).findings] == [("stated_palette", "warning")]
    assert any("mask_format: color" in line for line in set_up(file).notices)


def test_palettes_that_contradict_the_description_are_found(make_dataset: Any) -> None:
    file = with_palettes(make_dataset(palette=[RED, GREEN, BLUE]), lambda index: [GREEN, RED, BLUE])
    assert r"found that of 'class 1', [0, 255, 0]" in by_kind(check(file))["palette"].message
    with pytest.raises(DataError, match="set mask_format: color"):
        set_up(file)


@pytest.mark.parametrize("palette", [[RED, GREEN, BLUE], ..., [[1, 1, 1], [2, 2, 2], [3, 3, 3]]])
def test_palettes_that_agree_or_only_show_otherwise_are_silent(make_dataset: Any, palette: Any) -> None:
    file = with_palettes(make_dataset(palette=palette), lambda index: [RED, GREEN, BLUE, [index, 7, 7]])
    assert check(file).findings == []
    assert set_up(file).notices == []


def test_images_of_several_pages_are_told_and_masks_refused(make_dataset: Any) -> None:
    file = make_dataset()
    folder = file.parent / "images" / "train"
    pages = [Image.new("RGB", (60, 40), (shade, 3, 9)) for shade in (40, 80)]
    for index in range(6):
        (folder / f"00{index}.png").unlink()
        pages[0].paste((index, 0, 200), (0, 0, 30, 20))
        pages[0].save(folder / f"00{index}.tif", save_all=True, append_images=pages[1:])
    report = by_kind(check(file))
    assert list(report) == ["several_pages"]
    assert report["several_pages"].ids == tuple(f"00{index}.tif" for index in range(6))
    assert sum("several, of which the first is used" in line for line in set_up(file).notices) == 1
    mask = file.parent / "labels" / "train" / "000.png"
    with Image.open(mask) as image:
        image.load()
    mask.unlink()
    image.save(mask.with_suffix(".tif"), save_all=True, append_images=[image])
    spec = load_dataset_spec(file)
    sample = list_samples(spec, "train")[0]
    with pytest.raises(DataError, match=r"000\.tif: a mask has one page; found 2"):
        sample.read_labels(spec)


# --- what lies beside, and labels of nothing


def test_what_is_passed_over_is_counted(make_dataset: Any) -> None:
    file = make_dataset()
    folder = file.parent
    shutil.copytree(folder / "images" / "train", folder / "images" / "train" / ".old")
    shutil.copytree(folder / "labels" / "train", folder / "labels" / "train" / ".old")
    (folder / "images" / "train" / "__MACOSX").mkdir()
    (folder / "images" / "train" / "000.png").rename(folder / "images" / "train" / "000.jp2")
    (folder / "images" / "train" / "001.png").unlink()
    (folder / "images" / "train" / "notes.md").touch()
    report = by_kind(check(file))
    assert list(report) == ["unsupported_image", "unpaired_mask", "passed_over"]
    assert [len(finding.files) for finding in report.values()] == [1, 1, 2]
    assert set(set_up(file).notices) == {finding.message for finding in report.values()}
    assert "found 2" in report["passed_over"].message
    assert len(list_samples(load_dataset_spec(file), "train")) == 4


def test_training_on_nothing_is_refused_and_less_is_told(make_dataset: Any) -> None:
    file = make_dataset(names=["class 0", "class 1", "class 2", "never"])
    assert [line for line in set_up(file).notices if "1 of 4 never do and cannot be learnt: 'never'" in line]
    Image.fromarray(np.full((40, 60), 255, np.uint8)).save(masks_of(file, "train")[2])
    assert [line for line in set_up(file).notices if "1 of 6 of train are ignored on every pixel" in line]
    for mask in masks_of(file, "val"):
        Image.fromarray(np.full((40, 60), 255, np.uint8)).save(mask)
    assert [line for line in set_up(file).notices if "val should hold labelled pixels" in line]
    for mask in masks_of(file, "train"):
        Image.fromarray(np.full((40, 60), 255, np.uint8)).save(mask)
    with pytest.raises(DataError, match="train should hold labelled pixels; every pixel of its 6 masks is ignored"):
        set_up(file, loss={"class_weights": "none"})


def test_copies_that_splits_share_are_told(make_dataset: Any) -> None:
    file = make_dataset()
    train, val = (file.parent / "images" / split for split in ("train", "val"))
    shutil.copyfile(train / "002.png", val / "004.png")
    os.utime(val / "004.png", (1, 1))
    (line,) = set_up(file).notices
    assert "found 1 of 6 images of val in train too" in line
    assert "val/004.png" in line


def test_a_picture_of_val_that_disappears_is_missed(make_dataset: Any) -> None:
    file = make_dataset()
    data = set_up(file)
    spec: DatasetSpec = data.spec_as_listed
    (file.parent / "images" / "val" / "003.png").unlink()
    samples = list_samples(spec, "val")
    assert len(samples) == 6
    with pytest.raises(DataError, match=r"003\.png: image cannot be read"):
        [sample.read_pair(spec) for sample in samples]
