from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.errors import DataError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def describe(folder: Path, **values: Any) -> DatasetSpec:
    file = folder / "data.yaml"
    file.write_text(yaml.safe_dump({"train": "images/train", "names": ["a", "b"]} | values))
    return load_dataset_spec(file)


def listed(spec: DatasetSpec, split: str = "train") -> list[tuple[str, str, str]]:
    return [
        (sample.id, str(sample.image.relative_to(spec.root)), str(sample.mask.relative_to(spec.root)))
        for sample in list_samples(spec, split)
    ]


def test_a_folder_is_searched_with_its_subfolders(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "images/train/b.jpg",
        "images/train/x/a.PNG",
        "images/train/._b.jpg",
        "images/train/notes.md",
    )
    touch(tmp_path, "labels/train/b.png", "labels/train/x/a.tif")
    assert listed(describe(tmp_path)) == [
        ("b", "images/train/b.jpg", "labels/train/b.png"),
        ("a", "images/train/x/a.PNG", "labels/train/x/a.tif"),
    ]


def test_globs_lists_and_several_entries_name_an_image_once(tmp_path: Path) -> None:
    touch(tmp_path, "images/a1.jpg", "images/a2.jpg", "images/b1.jpg", "images/c1.jpg")
    touch(tmp_path, *(f"labels/{stem}.png" for stem in ("a1", "a2", "b1", "c1")))
    touch(tmp_path, "lists/none")
    (tmp_path / "lists" / "train.txt").write_text("# a list\n\n./../images/a2.jpg\nimages/b1.jpg\r\n")
    spec = describe(tmp_path, train=["images/a*.jpg", "lists/train.txt", str(tmp_path / "images" / "c1.jpg")])
    assert [name for name, _, _ in listed(spec)] == ["a1", "a2", "b1", "c1"]


def test_the_last_images_part_is_replaced(tmp_path: Path) -> None:
    root = tmp_path / "images" / "set"
    touch(root, "images/train/a.jpg", "fine/masks/train/a.png")
    spec = describe(root, masks_dir="fine/masks")
    assert listed(spec) == [("a", "images/train/a.jpg", "fine/masks/train/a.png")]


def test_suffixes_select_images_and_make_ids(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/a_rgb.png", "images/train/a_depth.png", "images/train/a_ids.png")
    spec = describe(tmp_path, masks_dir="images", image_suffix="_rgb.png", mask_suffix="_ids.png")
    assert listed(spec) == [("a", "images/train/a_rgb.png", "images/train/a_ids.png")]
    without_extension = describe(tmp_path, masks_dir="images", image_suffix="_rgb", mask_suffix="_ids")
    assert listed(without_extension) == listed(spec)


def test_names_that_repeat_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    names = ["v1/0001", "v2/0001", "v2/0002"]
    touch(
        tmp_path,
        *(f"images/train/{name}.jpg" for name in names),
        *(f"labels/train/{name}.png" for name in names),
    )
    assert [name for name, _, _ in listed(describe(tmp_path))] == ["v1__0001", "v2__0001", "0002"]


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/a.jpg", "labels/train/a.png")
    (tmp_path / "images" / "train" / "again").symlink_to(tmp_path / "images" / "train")
    assert [name for name, _, _ in listed(describe(tmp_path))] == ["a"]


@pytest.mark.parametrize(
    ("files", "values", "split", "expected"),
    [
        (["images/train/a.jpg"], {}, "val", "no split 'val'; found train"),
        ([], {}, "train", "train must lead to images; found neither a folder nor a match for"),
        (["images/train/a.txt"], {}, "train", "must hold images"),
        (["images/train/a.jpg"], {"image_suffix": "_rgb.png"}, "train", "names ending in _rgb.png"),
        (["images/train/a.jpg"], {}, "train", "labels/train is missing or empty"),
        (
            ["images/train/a.jpg", "labels/train/b.png"],
            {},
            "train",
            "a.jpg: every image needs a mask; expected",
        ),
        (
            ["images/train/a.jpg", "labels/train/a.jpg"],
            {},
            "train",
            "JPEG, which does not keep class indices",
        ),
        (["images/train/a.jpg", "labels/train/a.txt"], {}, "train", "set mask_format: yolo"),
        (["images/train/a.jpg", "labels/train/a_m.png"], {}, "train", "found a_m.png: set mask_suffix"),
        (
            ["pics/a.jpg"],
            {"train": "pics"},
            "train",
            "found no such part: rename the folder or set images_dir",
        ),
        (["list.txt"], {"train": "gone.txt"}, "train", "no such file"),
        (
            ["images/train/a.jpg", "images/train/a.png", "labels/train/a.png"],
            {},
            "train",
            "belongs to one image",
        ),
        (
            [f"images/train/{name}.jpg" for name in ("x/a", "y/a", "x__a")]
            + [f"labels/train/{name}.png" for name in ("x/a", "y/a", "x__a")],
            {},
            "train",
            "sample ids must differ",
        ),
    ],
)
def test_faults_are_one_line(
    tmp_path: Path, files: list[str], values: dict[str, Any], split: str, expected: str
) -> None:
    touch(tmp_path, *files)
    with pytest.raises(DataError) as caught:
        list_samples(describe(tmp_path, **values), split)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_names_the_line_that_is_wrong(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "labels/a.png")
    (tmp_path / "train.txt").write_text("images/a.jpg\nimages/b.jpg\n")
    with pytest.raises(DataError, match=r"train\.txt: line 2 .* found 'images/b\.jpg'"):
        list_samples(describe(tmp_path, train="train.txt"), "train")
    (tmp_path / "train.txt").write_text("images/a.jpg\n")
    with pytest.raises(DataError, match="line 1 must end in _rgb"):
        list_samples(describe(tmp_path, train="train.txt", image_suffix="_rgb"), "train")


@pytest.mark.parametrize("images", [2, 40])
def test_folders_are_listed_once_however_many_images_they_hold(
    tmp_path: Path, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(images):
        touch(tmp_path, f"images/train/{number}.png", f"labels/train/{number}.png")
    spec = describe(tmp_path)
    walked: list[str] = []
    for name in ("scandir", "listdir"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path=".", ask=original: walked.append(os.fspath(path)) or ask(path))
    assert len(list_samples(spec, "train")) == images
    assert sorted(set(walked)) == [str(tmp_path / "images" / "train"), str(tmp_path / "labels" / "train")]
    assert len(walked) <= 4  # a search of the mask folder for every image would take minutes


def test_a_list_may_hold_bare_ids_pairs_and_paths_of_another_machine(tmp_path: Path) -> None:
    touch(
        tmp_path, "pics/a.jpg", "pics/b c.png", "marks/a.png", "marks/b c.png", "elsewhere/d e.png", "marks x/d e.png"
    )
    (tmp_path / "ids.txt").write_text("a\nb c\n")
    (tmp_path / "pairs.txt").write_text("/home/me/set/elsewhere/d e.png\t/home/me/set/marks x/d e.png\n")
    settings = {"images_dir": "pics", "masks_dir": ["none", "marks"]}
    assert listed(describe(tmp_path, train="ids.txt", **settings)) == [
        ("a", "pics/a.jpg", "marks/a.png"),
        ("b c", "pics/b c.png", "marks/b c.png"),
    ]
    pair = ("d e", "elsewhere/d e.png", "marks x/d e.png")
    assert listed(describe(tmp_path, train="pairs.txt")) == [pair]
    (tmp_path / "pairs.txt").write_text("elsewhere/d e.png marks x/d e.png\nelsewhere/d e.png,marks x/d e.png\n")
    assert listed(describe(tmp_path, train="pairs.txt")) == [pair]
    (tmp_path / "pairs.txt").write_text("C:\\sets\\elsewhere\\d e.png marks x/d e.png\n")
    assert listed(describe(tmp_path, train="pairs.txt")) == [pair]
    (tmp_path / "pairs.txt").write_text("old/elsewhere/d e.png marks x/d e.png\n")
    with pytest.raises(DataError, match=r"line 1 must name an image, .* found 'old/elsewhere/d e\.png marks x"):
        list_samples(describe(tmp_path, train="pairs.txt"), "train")
    (tmp_path / "pairs.txt").write_text("elsewhere/d e.png marks x/d e.png\nelsewhere/d e.png marks/a.png\n")
    with pytest.raises(DataError, match="an image has one mask; found"):
        list_samples(describe(tmp_path, train="pairs.txt"), "train")


def test_mask_folders_may_be_named_after_the_images_folder(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.png", "train_labels/a_L.png", "val/b.png", "val_labels/b_L.png")
    spec = describe(
        tmp_path, train="train", val="val", images_dir=["train", "val"], masks_dir="*_labels", mask_suffix="_L.png"
    )
    assert listed(spec) == [("a", "train/a.png", "train_labels/a_L.png")]
    assert listed(spec, "val") == [("b", "val/b.png", "val_labels/b_L.png")]
