from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from effiseg.data.dataset_spec import load_dataset_spec, preset_names
from effiseg.errors import DataError, EffisegError, UsageError

MINIMAL: dict[str, Any] = {"train": "images/train", "names": ["a", "b", "c"]}


def write(folder: Path, text: str | None = None, **changes: Any) -> Path:
    path = folder / "my.yaml"
    values = {key: value for key, value in (MINIMAL | changes).items() if value is not ...}
    path.write_text(text if text is not None else yaml.safe_dump(values), encoding="utf-8")
    return path


def test_six_lines_are_enough(tmp_path: Path) -> None:
    spec = load_dataset_spec(write(tmp_path))
    assert spec.name == "my"
    assert spec.root.resolve() == tmp_path.resolve()
    assert spec.splits == {"train": ("images/train",)}
    assert (spec.images_dir, spec.masks_dir, spec.ignore_index) == (("images",), ("labels",), 255)
    assert spec.label_mapping is None
    assert spec.image_suffix is spec.mask_suffix is None
    assert spec.num_classes == 3


def test_a_file_written_for_ultralytics_is_read(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    text = """
    path: set  # root
    train:
      - images/a
      - images/b
    val: images/val
    test:
    masks_dir: masks
    nc: 2
    channels: 3
    names:
      0: road
      1: 7
    label_mapping:
      -1: ignore_label
      7: 0
      8: 0
      9: 1
      10: 255
    download: |
      import os
      os.abort()
    """
    spec = load_dataset_spec(write(tmp_path, text))
    assert spec.root == tmp_path / "set"
    assert spec.names == ("road", "7")
    assert spec.splits == {"train": ("images/a", "images/b"), "val": ("images/val",)}
    assert spec.label_mapping == {-1: 255, 7: 0, 8: 0, 9: 1, 10: 255}


def test_path_is_relative_to_the_file_and_data_root_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "data").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    file = write(tmp_path / "here", path="data")
    monkeypatch.chdir(tmp_path)
    assert load_dataset_spec(file).root == tmp_path / "here" / "data"
    assert load_dataset_spec(file, "elsewhere").root == Path("elsewhere")
    absent = write(tmp_path / "here", path="gone")
    assert load_dataset_spec(absent, tmp_path / "elsewhere").root == tmp_path / "elsewhere"


def test_generated_colours_differ_and_stay_the_same(tmp_path: Path) -> None:
    spec = load_dataset_spec(write(tmp_path, names=[f"class {i}" for i in range(255)]))
    assert len(set(spec.palette)) == 255
    assert (0, 0, 0) not in spec.palette
    assert spec.palette[:3] == load_dataset_spec(write(tmp_path)).palette


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"names": ...}, "names must list the classes"),
        ({"names": []}, "names must list the classes"),
        ({"names": "road"}, "names must list the classes"),
        ({"names": [f"c{i}" for i in range(256)]}, "at most 255 classes; found 256"),
        ({"names": {0: "a", 2: "b"}}, "0 to 1 without gaps; found 0, 2"),
        ({"names": {1: "a", 2: "b"}}, "0 to 1 without gaps"),
        ({"names": ["a", False]}, "found False (put quotes around"),
        ({"names": ["a", ["b"]]}, "every name must be text"),
        ({"names": ["a", "b", "a"]}, "names must differ; found a"),
        ({"nc": 4}, "nc must be the number of names, 3; found 4"),
        ({"label_mapping": {1: 3}}, "a class 0 to 2 or to ignore_label; found 1: 3"),
        ({"label_mapping": {1: "ignore"}}, "found 1: ignore"),
        ({"label_mapping": {1: True}}, "found 1: True"),
        ({"label_mapping": {"road": 1}}, "integer mask values or ranges; found the key 'road'"),
        ({"label_mapping": {2**63: 1}}, "label_mapping maps values of 64 bits; found the key 9223372036854775808"),
        ({"label_mapping": {"1-3": "0-1"}}, "found 1-3: 0-1 (a range leads to one as long)"),
        ({"label_mapping": {"3-1": "0"}}, "found the key '3-1'"),
        ({"label_mapping": {"1-3": "0-2", 2: 0}}, "may list a value once; found 2 again in 2"),
        ({"label_mapping": [1, 2]}, "label_mapping must be"),
        ({"ignore_index": 2}, "from 3 (the number of classes) to 255; found 2"),
        ({"ignore_index": 256}, "found 256"),
        ({"ignore_index": "ignore"}, "found 'ignore'"),
        ({"palette": [[0, 0, 0]]}, "one colour for each of the 3 classes; found 1 entries"),
        ({"palette": [[0, 0, 0], [1, 1, 1], [2, 2, 256]]}, "from 0 to 255; found [2, 2, 256]"),
        ({"palette": [[0, 0, 0], [1, 1, 1], "red"]}, "found 'red'"),
        ({"train": ...}, "at least one of train, val and test"),
        ({"train": 3}, "train must be a folder, a glob"),
        ({"val": ["a", 1]}, "val must be a folder, a glob"),
        ({"mask_dir": "x"}, "unknown key 'mask_dir'; did you mean 'masks_dir'?"),
        ({"zzz": "x"}, "unknown key 'zzz'; known keys: path, train"),
        ({"path": "gone"}, "path 'gone' is no folder"),
        ({"masks_dir": 3}, "masks_dir must be text, a folder's name or a list of them; found 3"),
        ({"images_dir": []}, "images_dir must be text, a folder's name or a list of them; found []"),
        ({"mask_format": "rgb"}, "mask_format must be one of index, color, coco, yolo,"),
        ({"mask_orientation": "left"}, "mask_orientation must be one of auto, upright, stored; found 'left'"),
        ({"background": "a"}, "background belongs to mask_format coco or yolo or cvat"),
        ({"mask_format": "color"}, "needs palette, the RGB colour of every class; found none"),
        ({"mask_format": "color", "label_mapping": {0: 0}}, "palette and ignore_colors say what colours mean"),
        (
            {"mask_format": "color", "palette": [[0, 0, 0], [1, 1, 1], [0, 0, 0]]},
            "a colour has one meaning; found [0, 0, 0] twice",
        ),
        (
            {"mask_format": "color", "palette": [[0, 0, 0], [1, 1, 1], [2, 2, 2]], "ignore_colors": [[1, 1, 1]]},
            "found [1, 1, 1] twice in palette and ignore_colors",
        ),
        ({"mask_format": "yolo"}, "needs background, what pixels in no polygon are: one of names, or ignore_label"),
        ({"mask_format": "yolo", "background": "sky"}, "found 'sky' (add a class to names"),
        ({"mask_format": "coco", "background": "a"}, "needs annotations, as {train: annotations/train.json}"),
        (
            {"mask_format": "coco", "background": "a", "annotations": {"val": "v.json"}},
            "must name a file for each of train; found val",
        ),
        ({"image_suffix": ""}, "image_suffix must be text"),
    ],
)
def test_every_broken_rule_is_one_line_that_names_the_file(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    file = write(tmp_path, **changes)
    with pytest.raises(DataError) as caught:
        load_dataset_spec(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "train: images\nnames: [a, b]\nlabel_mapping: {7: 0, 8: 1, 7: 1}\n")
    with pytest.raises(DataError, match=r"found 7 again"):
        load_dataset_spec(file)


@pytest.mark.parametrize(
    ("data", "root", "error", "expected"),
    [
        ("camvid", None, DataError, "add --data_root"),
        ("camvid", "nowhere", DataError, "--data_root nowhere: no such folder"),
        ("citiscapes", None, DataError, "did you mean cityscapes?"),
        ("missing.yaml", None, DataError, "missing.yaml: no such YAML file"),
        (".", None, DataError, "found a folder; did you mean my.yaml?"),
        ("list.yaml", None, UsageError, "list.yaml: must hold 'key: value' lines"),
    ],
)
def test_a_wrong_data_argument(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: str,
    root: str | None,
    error: type[EffisegError],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.yaml").write_text("- a\n")
    write(tmp_path)
    (tmp_path / "list.yaml").rename("zlist.yaml") if data == "." else None
    with pytest.raises(error) as caught:
        load_dataset_spec(data, root)
    assert expected in str(caught.value)


def test_the_cityscapes_preset_is_the_official_table(tmp_path: Path) -> None:
    table = pytest.importorskip(
        "cityscapesscripts.helpers.labels", reason="cityscapesscripts has the official label table"
    ).labels
    spec = load_dataset_spec("cityscapes", tmp_path)
    official = sorted((label for label in table if 0 <= label.trainId < 255), key=lambda label: label.trainId)
    assert spec.names == tuple(label.name for label in official)
    assert spec.palette == tuple(label.color for label in official)
    assert spec.label_mapping == {label.id: label.trainId if 0 <= label.trainId < 255 else 255 for label in table}


def test_the_camvid_preset_is_the_data_sets_own_table(camvid: Path) -> None:
    own = json.loads((camvid / "classes.json").read_text())
    spec = load_dataset_spec("camvid", camvid)
    assert spec.names == tuple(own["names"])
    assert spec.palette == tuple(tuple(colour) for colour in own["colors"])
    assert spec.ignore_index == own["ignore_index"]


def test_presets_are_listed() -> None:
    assert {"camvid", "cityscapes"} <= set(preset_names())
