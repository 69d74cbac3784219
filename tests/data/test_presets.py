"""A tiny tree in each data set's official layout, as its preset reads it."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effiseg.data.dataset_spec import load_dataset_spec, preset_names
from effiseg.data.samples import list_samples
from effiseg.scenes.synthetic import synthesize

SHAPE = (2, 4)


def image(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SHAPE[::-1]).save(root / name)


def mask(root: Path, name: str, values: list[int], palette: bool = False) -> None:
    """The values in the first row, the last of them to the end of both."""
    whole = np.full(SHAPE, values[-1], dtype=np.uint8)
    whole[0, : len(values)] = values
    picture = Image.fromarray(whole, "P" if palette else "L")
    if palette:
        picture.putpalette([value for value in range(256) for _ in range(3)])
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    picture.save(root / name)


def read(preset: str, root: Path) -> dict[str, list[tuple[str, list[int]]]]:
    """Split → (sample id, the first row of its labels)."""
    spec = load_dataset_spec(preset, root)
    return {
        split: [(sample.id, sample.read_labels(spec)[0][0].tolist()) for sample in list_samples(spec, split)]
        for split in spec.splits
    }


def test_ade20k(tmp_path: Path) -> None:
    image(tmp_path, "images/training/ADE_train_00000001.jpg", "images/validation/ADE_val_00000001.jpg")
    mask(tmp_path, "annotations/training/ADE_train_00000001.png", [0, 1, 2, 150])
    mask(tmp_path, "annotations/validation/ADE_val_00000001.png", [150])
    assert read("ade20k", tmp_path) == {
        "train": [("ADE_train_00000001", [255, 0, 1, 149])],
        "val": [("ADE_val_00000001", [149] * 4)],
    }
    names = load_dataset_spec("ade20k", tmp_path).names
    assert (names[0], names[12], names[149], len(names)) == ("wall", "person", "flag", 150)


@pytest.mark.parametrize("folder", ["annotations", "stuffthingmaps"])
def test_coco_stuff(tmp_path: Path, folder: str) -> None:
    for split in ("train2017", "val2017"):
        image(tmp_path, f"images/{split}/000000000009.jpg")
        mask(tmp_path, f"{folder}/{split}/000000000009.png", [0, 12, 91, 181])
    assert read("coco_stuff", tmp_path)["train"] == [("000000000009", [0, 11, 80, 170])]
    mask(tmp_path, f"{folder}/train2017/000000000009.png", [89, 90, 255])
    assert read("coco_stuff", tmp_path)["train"] == [("000000000009", [79, 255, 255, 255])]
    names = load_dataset_spec("coco_stuff", tmp_path).names
    # The maps hold the official number less one: 1 person, 13 stop sign, 90 toothbrush, 92 banner, 182 wood.
    assert [names[index] for index in (0, 11, 79, 80, 170)] == ["person", "stop sign", "toothbrush", "banner", "wood"]


def test_voc(tmp_path: Path) -> None:
    for split, names in {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}.items():
        (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
        (tmp_path / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            image(tmp_path, f"JPEGImages/{name}.jpg")
            mask(tmp_path, f"SegmentationClass/{name}.png", [0, 1, 20, 255], palette=True)
    image(tmp_path, "JPEGImages/2008_000001.jpg")  # in no list: not segmented
    assert read("voc", tmp_path) == {
        "train": [("2007_000032", [0, 1, 20, 255]), ("2007_000039", [0, 1, 20, 255])],
        "val": [("2007_000033", [0, 1, 20, 255])],
    }
    spec = load_dataset_spec("voc", tmp_path)
    assert (spec.names[0], spec.names[20]) == ("background", "tvmonitor")
    assert (spec.palette[15], spec.palette[20]) == ((192, 128, 128), (0, 64, 128))


def test_camvid_as_in_segnet(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        names = [f"0016E5_0{number}.png" for number in (7959, 7961)]
        (tmp_path / f"{split}.txt").write_text(
            "".join(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n" for name in names)
        )
        image(tmp_path, *(f"{split}/{name}" for name in names))
        for name in names:
            mask(tmp_path, f"{split}annot/{name}", [0, 10, 11])
    found = read("camvid_segnet", tmp_path)
    assert found["val"] == [("0016E5_07959", [0, 10, 255, 255]), ("0016E5_07961", [0, 10, 255, 255])]
    assert [len(samples) for samples in found.values()] == [2, 2, 2]


def test_camvid_as_published(tmp_path: Path) -> None:
    spec = load_dataset_spec("camvid_color", tmp_path)
    splits = {
        "train": [
            "0001TP_006690",
            "0001TP_008010",
            "0001TP_008520",
            "0006R0_f00930",
            "0016E5_00390",
            "0016E5_07320",
            "0016E5_07920",
            "0016E5_08190",
            "0016E5_08640",
        ],
        "val": ["0016E5_07959", "0016E5_08001", "0016E5_08159"],
        "test": ["0001TP_008550", "0001TP_008610", "0001TP_009000", "0001TP_010380", "Seq05VD_f00000"],
    }
    (tmp_path / "LabeledApproved_full").mkdir()
    colours = np.array([[64, 128, 64], [128, 64, 128], [0, 0, 0], [64, 192, 0]], dtype=np.uint8)
    for name in (name for names in splits.values() for name in names):
        image(tmp_path, f"701_StillsRaw_full/{name}.png")
        Image.fromarray(np.stack([colours] * 2)).save(tmp_path / "LabeledApproved_full" / f"{name}_L.png")
    expected = [spec.names.index("Animal"), spec.names.index("Road"), 255, spec.names.index("Wall")]
    assert read("camvid_color", tmp_path) == {
        split: [(name, expected) for name in names] for split, names in splits.items()
    }


def test_camvids_globs_are_the_splits_of_segnet(camvid: Path) -> None:
    spec = load_dataset_spec("camvid_color", camvid)
    stems = {split: [path.stem for path in (camvid / "images" / split).iterdir()] for split in spec.splits}
    for split, entries in spec.splits.items():
        found = [
            stem
            for names in stems.values()
            for stem in names
            if any(fnmatch.fnmatch(f"701_StillsRaw_full/{stem}.png", entry) for entry in entries)
        ]
        assert sorted(found) == sorted(stems[split])


def test_bdd100k(tmp_path: Path) -> None:
    root = tmp_path / "images" / "bdd100k"  # the part before is not the one that is replaced
    for split in ("train", "val"):
        image(root, f"images/10k/{split}/0000f77c-6257be58.jpg")
        mask(root, f"labels/sem_seg/masks/{split}/0000f77c-6257be58.png", [0, 18, 255])
    expected = [("0000f77c-6257be58", [0, 18, 255, 255])]
    assert read("bdd100k", root) == {"train": expected, "val": expected}


def test_idd(tmp_path: Path) -> None:
    image(tmp_path, "leftImg8bit/train/0/000005_leftImg8bit.png", "leftImg8bit/train/1/000005_leftImg8bit.jpg")
    image(tmp_path, "leftImg8bit/val/2/000007_leftImg8bit.png")
    for name in ("train/0/000005", "train/1/000005", "val/2/000007"):
        mask(tmp_path, f"gtFine/{name}_gtFine_labellevel3Ids.png", [0, 8, 25, 255])
    found = read("idd", tmp_path)
    assert [name for name, _ in found["train"]] == ["0__000005", "1__000005"]
    assert found["val"] == [("000007", [0, 8, 25, 255])]
    assert load_dataset_spec("idd", tmp_path).names[8] == "autorickshaw"


@pytest.mark.parametrize("folder", ["v1.2/labels", "labels"])
def test_mapillary(tmp_path: Path, folder: str) -> None:
    for split in ("training", "validation"):
        image(tmp_path, f"{split}/images/x-_Y.jpg")
        mask(tmp_path, f"{split}/{folder}/x-_Y.png", [0, 13, 64, 65], palette=True)
    expected = [("x-_Y", [0, 13, 64, 255])]
    assert read("mapillary", tmp_path) == {"train": expected, "val": expected}
    assert load_dataset_spec("mapillary", tmp_path).names[13] == "Road"


def test_scenes_of_the_demo_are_of_seven_categories(tmp_path: Path) -> None:
    synthesize(tmp_path / "scenes", {"train": 2, "val": 1}, 64, 128)
    drawn = load_dataset_spec("street_scenes", tmp_path / "scenes")
    # Whoever reads a table or a model card is told that no camera saw them, also under Cityscapes' preset.
    assert drawn.name == load_dataset_spec("cityscapes", tmp_path / "scenes").name == "drawn street scenes"
    assert str(drawn.source) == "street_scenes"
    official = load_dataset_spec("cityscapes", tmp_path / "scenes")
    assert drawn.names == ("flat", "construction", "object", "nature", "sky", "human", "vehicle")
    (first, _), (same, _) = list_samples(drawn, "train"), list_samples(official, "train")
    merged, fine = first.read_labels(drawn).label, same.read_labels(official).label
    assert set(np.unique(merged[np.isin(fine, (2, 3, 4))])) == {1}  # building, wall, fence
    assert set(np.unique(merged[fine == 10])) == {4}
    assert (merged[fine != 255] != 255).all()


def test_every_preset_is_tried_here_or_with_its_own_data() -> None:
    assert set(preset_names()) == {
        *("ade20k", "bdd100k", "camvid", "camvid_color", "camvid_segnet", "cityscapes", "coco_stuff"),
        *("idd", "mapillary", "voc", "scenes", "shapes", "pretraining", "street_scenes"),
    }
