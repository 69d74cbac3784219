"""A data set's YAML file that breaks a rule: the same line at every door, and nothing is read of the pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

DOORS = (
    "data check {here}/data.yaml",
    "data stats {here}/data.yaml",
    "data convert {here}/data.yaml --out {out}",
    "train --data {here}/data.yaml --out {out}",
    "evaluate {model} --data {here}/data.yaml",
)
FINE = "path: PAIRS\ntrain: images/train\nval: images/val\n"
DRAWN = "coco or yolo or cvat or label_studio or labelme or supervisely or datumaro"
NAMED = FINE + "names: [road, car, sky]\n"
COLOURS = NAMED + "mask_format: color\n"
ROWS = (
    ("", "must hold 'key: value' lines, found NoneType"),
    ("- train\n", "must hold 'key: value' lines, found list"),
    ("train", "must hold 'key: value' lines, found str"),
    ("train: [images\n", "not valid YAML, line 2"),
    ("a: &a [*a]\n", "an alias stands for itself"),
    ("\ttrain: images\n", "not valid YAML, line 1"),
    ("names: [a, b]\n", "at least one of train, val and test must name images; found none"),
    (FINE, "names must list the classes, as [road, …] or {{0: road, …}}; found nothing"),
    (FINE + "names: []\n", "names must list the classes"),
    (FINE + "names: 3\n", "names must list the classes, as [road, …] or {{0: road, …}}; found 3"),
    (FINE + "names: road\n", "names must list the classes"),
    (FINE + "names: {1: road, 2: car}\n", "the indices of names must be 0 to 1 without gaps; found 1, 2"),
    (FINE + "names: {0: road, 2: car}\n", "the indices of names must be 0 to 1 without gaps; found 0, 2"),
    (FINE + "names: [road]\n", "names must list 2 classes or more"),
    (FINE + "names: {a: road}\n", "the indices of names must be 0 to 0 without gaps; found a"),
    (FINE + "names: [road, road]\n", "names must differ; found road more than once"),
    (FINE + "names: [yes, no]\n", "every name must be text; found True (put quotes around yes, no, on, off)"),
    (FINE + "names: [road, '']\n", "every name must be text; found ''"),
    (FINE + "names: [road, [car]]\n", "every name must be text; found ['car']"),
    (FINE + "names: [road, null]\n", "every name must be text; found None"),
    (FINE + f"names: {[f'c{index}' for index in range(256)]}\n", "names may list at most 255 classes; found 256"),
    (NAMED + "nc: 4\n", "nc must be the number of names, 3; found 4"),
    (NAMED + "nmaes: [a]\n", "unknown key 'nmaes'; did you mean 'names'?"),
    (NAMED + "zzz: 1\n", "unknown key 'zzz'; known keys: path, train"),
    (NAMED + "5: 1\n", "unknown key 5; known keys: "),
    (NAMED + "names: [a]\n", "a key may occur once; found names again (line 1 on)"),
    (NAMED + "label_mapping: {7: 0, 7: 1}\n", "a key may occur once; found 7 again"),
    (NAMED.replace("PAIRS", "nowhere"), "path 'nowhere' is no folder"),
    (NAMED.replace("PAIRS", "[a]"), "path must be text; found ['a']"),
    (NAMED.replace("PAIRS", "5"), "path must be text; found 5"),
    (
        NAMED.replace("images/train", "5"),
        "train must be a folder, a glob, a .txt list, shards (.tar) or a list of these; found 5",
    ),
    (
        NAMED.replace("images/train", "[]"),
        "train must be a folder, a glob, a .txt list, shards (.tar) or a list of these; found []",
    ),
    (
        NAMED.replace("images/train", "{a: b}"),
        "train must be a folder, a glob, a .txt list, shards (.tar) or a list of these",
    ),
    (NAMED.replace("images/train", "[images/train, 5]"), "train must be a folder, a glob, a .txt list, shards (.tar)"),
    (NAMED + "ignore_index: 2\n", "ignore_index must be an integer from 3 (the number of classes) to 255; found 2"),
    (NAMED + "ignore_index: -1\n", "ignore_index must be an integer from 3 (the number of classes) to 255; found -1"),
    (NAMED + "ignore_index: 256\n", "to 255; found 256"),
    (NAMED + "ignore_index: road\n", "to 255; found 'road'"),
    (NAMED + "ignore_index: true\n", "to 255; found True"),
    (NAMED + "label_mapping: []\n", "label_mapping must be {{raw value: class, …}}; found []"),
    (NAMED + "label_mapping: 5\n", "label_mapping must be {{raw value: class, …}}; found 5"),
    (NAMED + "label_mapping: {a: 0}\n", "label_mapping maps integer mask values or ranges; found the key 'a'"),
    (NAMED + "label_mapping: {7: 3}\n", "label_mapping must lead to a class 0 to 2 or to ignore_label; found 7: 3"),
    (NAMED + "label_mapping: {7: -1}\n", "label_mapping must lead to a class 0 to 2 or to ignore_label; found 7: -1"),
    (NAMED + "label_mapping: {7: sky}\n", "label_mapping must lead to a class 0 to 2 or to ignore_label; found 7: sky"),
    (NAMED + "label_mapping: {1-5: 0-1}\n", "(a range leads to one as long)"),
    (NAMED + "label_mapping: {5-1: 0}\n", "found the key '5-1'"),
    (NAMED + "label_mapping: {0-2: 0-2, 1: 0}\n", "label_mapping may list a value once; found 1 again in 1"),
    (NAMED + "label_mapping: {1.5: 0}\n", "label_mapping maps integer mask values or ranges; found the key 1.5"),
    (NAMED + "palette: [[0, 0, 0]]\n", "palette must list one colour for each of the 3 classes; found 1 entries"),
    (NAMED + "palette: red\n", "palette must list one colour for each of the 3 classes; found 'red'"),
    (NAMED + "palette: [[0, 0, 0], [0, 0, 256], [1, 1, 1]]\n", "a colour of palette is [red, green, blue]"),
    (NAMED + "palette: [[0, 0, 0], [0, 0], [1, 1, 1]]\n", "a colour of palette is [red, green, blue]"),
    (NAMED + "palette: [[0, 0, 0], blue, [1, 1, 1]]\n", "a colour of palette is [red, green, blue]"),
    (NAMED + "mask_format: colour\n", "mask_format must be"),
    (NAMED + "mask_format: [index]\n", "mask_format must be"),
    (NAMED + "mask_orientation: left\n", "mask_orientation must be"),
    (
        NAMED + "annotations: a.json\n",
        "annotations belongs to mask_format coco or cvat or label_studio or datumaro, not index",
    ),
    (NAMED + "background: road\n", f"background belongs to mask_format {DRAWN}, not index"),
    (NAMED + "polygon_border: pixels\n", f"polygon_border belongs to mask_format {DRAWN}, not index"),
    (NAMED + "ignore_colors: [[0, 0, 0]]\n", "ignore_colors belongs to mask_format color, not index"),
    (COLOURS, "mask_format color needs palette, the RGB colour of every class; found none"),
    (COLOURS + "palette: [[0, 0, 0], [0, 0, 0], [1, 1, 1]]\n", "with mask_format color a colour has one meaning"),
    (COLOURS + "palette: [[0, 0, 0], [0, 0, 2], [1, 1, 1]]\nlabel_mapping: {0: 0}\n", "label_mapping belongs to"),
    (COLOURS + "palette: [[0, 0, 0], [0, 0, 2], [1, 1, 1]]\nignore_colors: black\n", "ignore_colors must list colours"),
    (NAMED + "mask_format: yolo\n", "background"),
    (NAMED + "mask_format: yolo\nbackground: tree\n", "background"),
    (NAMED + "mask_format: yolo\nbackground: road\npolygon_border: edge\n", "polygon_border must be"),
    (NAMED + "mask_format: coco\nbackground: road\n", "annotations"),
    (NAMED + "mask_format: coco\nbackground: road\nannotations: 5\n", "annotations"),
    (NAMED + "mask_format: coco\nbackground: road\nannotations: {tset: a.json}\n", "annotations"),
    (NAMED + "image_suffix: 5\n", "image_suffix must be text; found 5"),
    (NAMED + "mask_suffix: ''\n", "mask_suffix must be text; found ''"),
    (NAMED + "masks_dir: 5\n", "masks_dir must be text, a folder's name or a list of them; found 5"),
    (NAMED + "images_dir: [/]\n", "images_dir must be text, a folder's name or a list of them; found ['/']"),
    ("drawn: circles\n", "drawn"),
    ("drawn: {kind: circles}\n", "drawn"),
    ("drawn: scenes\ntrain: images\n", "what is drawn has no files; found train beside drawn"),
)


@pytest.mark.parametrize(("text", "line"), ROWS)
def test_every_door_gives_the_same_line(text: str, line: str, refused, good: Path, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(text.replace("PAIRS", str(good / "pairs")))
    said = {refused(door, line).partition(": ")[2] for door in DOORS}
    assert len(said) == 1
