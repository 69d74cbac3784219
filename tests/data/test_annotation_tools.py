"""Files of annotation tools, made by the tools' own libraries (annotations/make.py), and the order they draw in."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.file_sample import FileSample
from effiseg.data.image_file import read_header
from effiseg.data.samples import list_samples
from effiseg.errors import DataError

MADE = Path(__file__).parent / "annotations"
SHAPE = (40, 60)
PLACES = {
    "cvat": ("images/scene.png", "cvat.xml", {"annotations": "cvat.xml"}),
    "datumaro": ("images/scene.png", "datumaro.json", {"annotations": "datumaro.json"}),
    "label_studio": ("images/scene.png", "label_studio.json", {"annotations": "label_studio.json"}),
    "labelme": ("images/scene.png", "images/scene.json", {}),
    "supervisely": ("images/img/scene.png", "images/ann/scene.png.json", {}),
}
ODDITIES = {"cvat": (1, 1), "datumaro": (1, 1), "label_studio": (1, 0), "labelme": (1, 0), "supervisely": (1, 1)}
"""Boxes, and shapes without an area, in each file."""


def describe(folder: Path, tool: str, image: str = "images/scene.png", **changes: Any) -> DatasetSpec:
    """A blank image and data.yaml, read."""
    (folder / image).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(folder / image)
    values = {"train": "images", "mask_format": tool, "names": ["ground", "road", "car"], "background": "ground"}
    values = {key: value for key, value in (values | changes).items() if value is not None}
    (folder / "data.yaml").write_text(yaml.safe_dump(values))
    return load_dataset_spec(folder / "data.yaml")


def read(spec: DatasetSpec) -> np.ndarray:
    return list_samples(spec, "train")[0].read_labels(spec).label


@pytest.mark.parametrize("tool", PLACES)
def test_a_scene_is_read_as_the_tool_itself_draws_it(tool: str, tmp_path: Path) -> None:
    image, file, changes = PLACES[tool]
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(MADE / f"{tool}{Path(file).suffix}", tmp_path / file)
    spec = describe(tmp_path, tool, image, labels={"void": "ignore_label"}, **changes)
    expected = np.asarray(Image.open(MADE / f"{tool}.png")).astype(np.uint8)
    expected[expected == 3] = 255
    # A circle of labelme's is Pillow's, whose edge is its own.
    assert (read(spec) != expected).sum() <= (4 if tool == "labelme" else 0)
    sample = list_samples(spec, "train")[0]
    assert isinstance(sample, FileSample)
    told = {oddity.kind: len(oddity.ids) for oddity in sample.masks.oddities(sample, read_header(sample.image))}
    boxes, flat = ODDITIES[tool]
    assert (told.get("box_annotation", 0), told.get("flat_annotation", 0)) == (boxes, flat)


def write_cvat(folder: Path, *shapes: str, head: str = "") -> None:
    image = f'<image id="0" name="scene.png" width="60" height="40">{"".join(shapes)}</image>'
    (folder / "cvat.xml").write_text(f"{head}<annotations><version>1.1</version>{image}</annotations>")


def cvat(folder: Path, *shapes: str, head: str = "") -> DatasetSpec:
    write_cvat(folder, *shapes, head=head)
    return describe(folder, "cvat", annotations={"train": "cvat.xml"})


def box(label: str, *sides: float, **more: object) -> str:
    places = " ".join(f'{key}="{side}"' for key, side in zip(("xtl", "ytl", "xbr", "ybr"), sides, strict=True))
    return f'<box label="{label}" {places} {" ".join(f"{key}={str(value)!r}" for key, value in more.items())}/>'


def test_what_has_the_higher_z_order_lies_on_top_whatever_its_size(tmp_path: Path) -> None:
    large, small = (0, 0, 60, 40), (10, 10, 20, 20)
    found = read(cvat(tmp_path, box("road", *large, z_order=1), box("car", *small, z_order=0)))
    assert (found == 1).all()
    found = read(cvat(tmp_path, box("car", *small), box("road", *large)))
    assert (found == 1).all(), "of equal ones the later lies on top"


def test_boxes_turn_and_ellipses_are_round(tmp_path: Path) -> None:
    upright = read(cvat(tmp_path, box("car", 25, 5, 35, 35)))
    turned = read(cvat(tmp_path, box("car", 25, 5, 35, 35, rotation=90.0)))
    assert (turned[15:25, 15:45] == 2).all()
    assert (turned == 2).sum() == (upright == 2).sum() == 300
    found = read(cvat(tmp_path, '<ellipse label="car" cx="30" cy="20" rx="20" ry="10"/>')) == 2
    rows, columns = np.mgrid[:40, :60] + 0.5
    np.testing.assert_array_equal(found, ((rows - 20) / 10) ** 2 + ((columns - 30) / 20) ** 2 <= 1)


@pytest.mark.parametrize(
    ("shapes", "head", "line"),
    [
        (box("lorry", 1, 1, 9, 9), "", "the label 'lorry' of box 1 of scene.png is none of names; add it there, or"),
        ('<box label="car" xtl="1"/>', "", "a box has label, xtl, ytl, xbr and ybr; found"),
        ('<box label="car" xtl="1" ytl="1" xbr="nan" ybr="2"/>', "", "a box has label, xtl, ytl, xbr and ybr; found"),
        ('<polygon label="car" points="1,1;2,2"/>', "", "a polygon has label and points, at least three corners"),
        ('<polygon label="car" points="1,1;2,2;3"/>', "", "a polygon has label and points, at least three corners"),
        ('<polygon points="1,1;9,1;9,9"/>', "", "a polygon has label and points"),
        ('<mask label="car" rle="1,2" left="0" top="0" width="2" height="2"/>', "", "rle, runs that fill it"),
        ('<mask label="car" rle="9,-5" left="0" top="0" width="2" height="2"/>', "", "rle, runs that fill it"),
        ('<mask label="car" rle="4" left="0" top="0" width="1000000" height="1000000"/>', "", "rle, runs that fill it"),
        ("<box", "", "annotations: not valid XML"),
        ("", '<!DOCTYPE a [<!ENTITY b "cc">]>', "XML with a document type (<!DOCTYPE …>) is not read"),
        ("", '<!DOCTYPE a SYSTEM "file:///etc/passwd">', "XML with a document type (<!DOCTYPE …>) is not read"),
        (
            '</image><track id="0" label="car"/><image name="b.png" width="1" height="1">',
            "",
            "found a track of a video",
        ),
        ('</image><image name="scene.png" width="1" height="1">', "", "an image is listed once; found 'scene.png'"),
        ('</image><image name="b.png" width="0" height="1">', "", "an image has name, height and width"),
        ('</image><image name="b.png" width="9999999" height="9999999">', "", "an image has name, height and width"),
    ],
)
def test_faults_of_cvat_files_are_named(shapes: str, head: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(cvat(tmp_path, shapes, head=head))
    assert str(caught.value).startswith(str(tmp_path / "cvat.xml"))
    assert line in str(caught.value)


def test_a_file_of_other_xml_is_none_of_cvat(tmp_path: Path) -> None:
    (tmp_path / "cvat.xml").write_text("<VOC><image/></VOC>")
    with pytest.raises(DataError, match="a file of CVAT begins with <annotations>"):
        read(describe(tmp_path, "cvat", annotations="cvat.xml"))


def label_studio(folder: Path, task: Any) -> DatasetSpec:
    (folder / "tasks.json").write_text(json.dumps([task]))
    return describe(folder, "label_studio", annotations="tasks.json", labels={"void": "ignore_label"})


def task_of(*results: dict[str, Any], image: str = "scene.png", **more: Any) -> dict[str, Any]:
    size = {"original_width": 60, "original_height": 40}
    annotations = [{"result": [{**size, **result} for result in results], **more}]
    return {"id": 1, "data": {"image": image}, "annotations": annotations}


SQUARE = {"points": [[0, 0], [50, 0], [50, 50], [0, 50]]}


def test_a_label_of_label_studio_may_stand_in_a_result_of_its_own(tmp_path: Path) -> None:
    task = task_of({"id": "a", "type": "polygon", "value": SQUARE},
                   {"id": "a", "type": "labels", "value": {**SQUARE, "labels": ["car"]}})  # fmt: skip
    assert (read(label_studio(tmp_path, task)) == 2).sum() == 600
    task = task_of({"id": "a", "type": "polygon", "value": SQUARE},
                   {"id": "a", "type": "labels", "value": {"labels": ["car"]}})  # fmt: skip
    assert (read(label_studio(tmp_path, task)) == 2).sum() == 600


@pytest.mark.parametrize(
    "image",
    ["/data/upload/1/0a1b2c3d-scene.png", "/data/local-files/?d=images/scene.png", "https://host/x/scene.png?a=b"],
)
def test_images_of_label_studio_are_found_by_what_the_user_called_them(image: str, tmp_path: Path) -> None:
    task = task_of({"type": "polygonlabels", "value": {**SQUARE, "polygonlabels": ["car"]}}, image=image)
    assert (read(label_studio(tmp_path, task)) == 2).sum() == 600


def test_json_min_and_turned_rectangles(tmp_path: Path) -> None:
    region = {"x": 50, "y": 0, "width": 50, "height": 50, "rotation": 90, "rectanglelabels": ["car"]}
    region |= {"original_width": 40, "original_height": 40}
    task = {"id": 3, "image": "scene.png", "label": [region], "annotator": 1}
    spec = label_studio(tmp_path, task)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "images" / "scene.png")
    found = read(spec)
    assert (found[:20, :20] == 2).all(), "it turns about its own corner"
    assert (found == 2).sum() == 400


def test_of_several_annotations_the_ground_truth_counts(tmp_path: Path) -> None:
    task = task_of({"type": "polygonlabels", "value": {**SQUARE, "polygonlabels": ["car"]}}, ground_truth=True)
    task["annotations"] += [{"result": []}, {"result": [], "was_cancelled": True}]
    assert (read(label_studio(tmp_path, task)) == 2).any()
    del task["annotations"][0]["ground_truth"]
    with pytest.raises(DataError, match="a task has one annotation that counts; found 2 of task 1; mark one"):
        read(label_studio(tmp_path, task))


@pytest.mark.parametrize(
    ("task", "line"),
    [
        (5, "an export of Label Studio is a list of tasks"),
        ({"annotations": 5}, "annotations of a task are a list"),
        ({"annotations": [{"result": [5]}]}, "an annotation has result, a list of regions"),
        ({"annotations": [{"result": []}], "data": {"text": "x"}}, "a task has id and data"),
        (task_of({"value": SQUARE}), "a region has one label"),
        (task_of({"value": {**SQUARE, "polygonlabels": ["car", "road"]}}), "a region has one label"),
        (task_of({"value": {"points": [[0, 0]], "polygonlabels": ["car"]}}), "a polygon has points"),
        (task_of({"value": {"points": "abc", "polygonlabels": ["car"]}}), "a polygon has points"),
        (task_of({"value": {"rle": [0, 0, 0], "brushlabels": ["car"]}}), "a brush's runs end too early"),
        (task_of({"value": {"rle": [0] * 99, "brushlabels": ["car"]}}), "a brush's runs hold 9600 values of 8 bits"),
        (task_of({"value": {"rle": [999], "brushlabels": ["car"]}}), "a brush has format rle and rle"),
        (task_of({"value": {"imageDataURL": "data:image/png;base64,AAAA", "bitmasklabels": ["car"]}}), "not an image"),
        (task_of({"value": SQUARE, "original_width": 10**9}), "a region has value, original_height and original_width"),
        (task_of({"value": SQUARE, "image_rotation": 90}), "images must not be turned in Label Studio"),
        (task_of({"value": 5}), "a region has value"),
        (task_of({"value": {**SQUARE, "polygonlabels": ["car"]}}, {"original_width": 5, "value": SQUARE}), "has one"),
    ],
)
def test_faults_of_label_studio_are_named(task: Any, line: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(label_studio(tmp_path, task))
    assert str(caught.value).startswith(str(tmp_path / "tasks.json"))
    assert line in str(caught.value)


def png(values: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


SHAPE_OF = {"label": "car", "points": [[0, 0], [9, 0], [9, 9]], "shape_type": "polygon"}
OBJECT = {"classTitle": "car", "geometryType": "polygon", "points": {"exterior": [[0, 0], [9, 0], [9, 9]]}}
ITEM = {"annotations": [], "image": {"path": "scene.png", "size": [40, 60]}}
LABELS = {"label": {"labels": [{"name": "car"}]}}


def in_item(**annotation: Any) -> dict[str, Any]:
    return {"categories": LABELS, "items": [{**ITEM, "annotations": [annotation]}]}


@pytest.mark.parametrize(
    ("tool", "content", "line"),
    [
        ("labelme", [], "a file of labelme holds the list shapes"),
        ("labelme", {"shapes": [], "imageHeight": "x"}, "imageHeight and imageWidth are the image's size"),
        ("labelme", {"shapes": [5]}, "a polygon has at least three corners [x, y]"),
        ("labelme", {"shapes": [{**SHAPE_OF, "label": 5}]}, "a polygon has at least three corners [x, y]"),
        ("labelme", {"shapes": [{**SHAPE_OF, "points": [[0, 0], [9, 9]]}]}, "a polygon has at least three corners"),
        ("labelme", {"shapes": [{**SHAPE_OF, "shape_type": "star"}]}, "a shape has label, points and shape_type"),
        ("labelme", {"shapes": [{**SHAPE_OF, "shape_type": "circle"}]}, "a circle has its centre and a place on it"),
        ("labelme", {"shapes": [{**SHAPE_OF, "shape_type": "mask", "mask": "A"}]}, "a mask has two corners and a PNG"),
        ("labelme", {"shapes": [{**SHAPE_OF, "label": "tree"}]}, "the label 'tree' of polygon 1 of scene.png is none"),
        ("supervisely", {"objects": []}, "a file of Supervisely holds size (height, width) and the list objects"),
        ("supervisely", {"size": {"height": 0, "width": 1}, "objects": []}, "size is that of the image"),
        ("supervisely", {**OBJECT, "geometryType": ["a"]}, "an object has classTitle and geometryType"),
        ("supervisely", {**OBJECT, "points": {"exterior": [[0, 0]]}}, "a polygon has points: exterior"),
        (
            "supervisely",
            {**OBJECT, "points": {**OBJECT["points"], "interior": [[1]]}},
            "a polygon has points: exterior",
        ),
        ("supervisely", {**OBJECT, "geometryType": "bitmap"}, "a bitmap has data, a picture in base64, and origin"),
        ("datumaro", {"items": []}, "a file of Datumaro holds categories.label.labels and the list items"),
        ("datumaro", {"categories": {"label": {"labels": [5]}}, "items": []}, "a label has a name"),
        ("datumaro", {"categories": LABELS, "items": [5]}, "an item has annotations and image, with path and size"),
        ("datumaro", {"categories": LABELS, "items": [ITEM, ITEM]}, "an image is listed once"),
        ("datumaro", in_item(type="polygon", points=[1, 2], label_id=0), "a polygon has points, a flat list"),
        ("datumaro", in_item(type={}, label_id=0), "an annotation has type"),
        ("datumaro", in_item(type="bbox", bbox=[0, 0, 9, 9], label_id=None), "an annotation has label_id"),
        ("datumaro", in_item(type="mask", rle={"counts": "a", "size": [2, 2]}, label_id=0), "run lengths are of size"),
        ("datumaro", in_item(type="mask", rle={"counts": [0.5], "size": [2, 2]}, label_id=0), "a mask has rle"),
    ],
)
def test_faults_of_json_files_are_named(tool: str, content: Any, line: str, tmp_path: Path) -> None:
    image, file, changes = PLACES[tool]
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict) and "classTitle" in content:
        content = {"size": {"height": 40, "width": 60}, "objects": [content]}
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        read(describe(tmp_path, tool, image, **changes))
    assert str(caught.value).startswith(str(tmp_path / file))
    assert line in str(caught.value)


def test_shapes_of_labelme_fit_the_image_where_no_size_is_written(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cut = np.ones((2, 3), np.uint8)
    mask = {"label": "road", "points": [[57, 38], [59, 39]], "shape_type": "mask", "mask": png(cut)}
    (tmp_path / "images" / "scene.json").write_text(json.dumps({"shapes": [SHAPE_OF, mask]}))
    found = read(describe(tmp_path, "labelme"))
    assert (found == 2).any()
    assert (found[38:, 57:] == 1).all()
    assert (found == 1).sum() == 6


def roboflow(folder: Path, table: str, mask: np.ndarray, **changes: Any) -> DatasetSpec:
    (folder / "train").mkdir()
    (folder / "train" / "_classes.csv").write_text(table)
    Image.fromarray(mask).save(folder / "train" / "scene_mask.png")
    return describe(folder, "roboflow", "train/scene.jpg", train="train", background=None, **changes)


TABLE = "Pixel Value, Class\n0, background\n1, car\n4, road\n"


def test_masks_of_roboflow_mean_what_their_table_says(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[:10], mask[10:20] = 1, 4
    spec = roboflow(tmp_path, TABLE, mask, labels={"background": "ignore_label"})
    assert [sample.id for sample in list_samples(spec, "train")] == ["scene"]
    assert read(spec)[[0, 10, 20], 0].tolist() == [2, 1, 255]
    assert list_samples(spec, "train")[0].files[2].name == "_classes.csv"


@pytest.mark.parametrize(
    ("table", "value", "line"),
    [
        (TABLE, 7, "mask values must stand in"),
        ("Pixel Value, Class\n", 0, "must list pixel values and classes; found none"),
        (TABLE + "car\n", 0, "line 5 must be a pixel value and a class; found 'car'"),
        (TABLE + "1, lorry\n", 0, "a pixel value means one class; found 1 again in line 5"),
        (TABLE + "5, lorry\n", 0, "the class 'lorry' (value 5) is none of names"),
    ],
)
def test_faults_of_roboflow_tables_are_named(table: str, value: int, line: str, tmp_path: Path) -> None:
    spec = roboflow(tmp_path, table, np.full(SHAPE, value, np.uint8), labels={"background": "ignore_label"})
    with pytest.raises(DataError) as caught:
        read(spec)
    assert line in str(caught.value)


def test_the_data_yaml_of_roboflow_is_taken_as_it_comes(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / "set" / "train" / folder).mkdir(parents=True)
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(tmp_path / "set" / "train" / "images" / "a.jpg")
    (tmp_path / "set" / "train" / "labels" / "a.txt").write_text("0 0 0 0.5 0 0.5 0.5 0 0.5\n")
    values = {"train": "../train/images", "nc": 1, "names": ["car"], "roboflow": {"workspace": "w", "version": 1}}
    (tmp_path / "set" / "data.yaml").write_text(yaml.safe_dump(values))
    spec = load_dataset_spec(tmp_path / "set" / "data.yaml")
    assert spec.names == ("car", "background")
    assert (read(spec) == 0).sum() == 600
    assert (read(spec) == 1).sum() == 1800


def test_what_labels_leads_to_is_checked(tmp_path: Path) -> None:
    write_cvat(tmp_path)
    for labels, line in (({"a": "lorry"}, "labels must lead to one of names"), (["a"], "labels must be")):
        with pytest.raises(DataError, match=line):
            describe(tmp_path, "cvat", annotations="cvat.xml", labels=labels)


@pytest.mark.parametrize("tool", PLACES)
def test_a_folder_is_recognized_and_what_is_said_works(tool: str, tmp_path: Path) -> None:
    image, file, _ = PLACES[tool]
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(MADE / f"{tool}{Path(file).suffix}", tmp_path / file)
    if tool == "supervisely":
        classes = [{"title": name} for name in ("road", "car", "void", "point")]
        (tmp_path / "images" / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    describe(tmp_path, tool, image, **({"annotations": file} if "/" not in file else {}))
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(DataError, match="this looks like ") as caught:
        load_dataset_spec(tmp_path)
    written = str(caught.value).partition("write a YAML file of ")[2].partition(" (presets")[0]
    (tmp_path / "data.yaml").write_text(written)
    spec = load_dataset_spec(tmp_path / "data.yaml")
    assert spec.masks.name == tool
    assert (read(spec) == spec.names.index("car")).any()


def test_masks_of_cvat_are_colors_that_its_table_names(tmp_path: Path) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:128,0,0::\n")
    (tmp_path / "ImageSets" / "Segmentation" / "default.txt").write_text("scene\n")
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(tmp_path / "JPEGImages" / "scene.jpg")
    mask = np.zeros((*SHAPE, 3), np.uint8)
    mask[:20, :, 0] = 128
    Image.fromarray(mask).save(tmp_path / "SegmentationClass" / "scene.png")
    with pytest.raises(DataError, match=r"this looks like CVAT's Segmentation mask 1\.1") as caught:
        load_dataset_spec(tmp_path)
    (tmp_path / "data.yaml").write_text(str(caught.value).partition("write a YAML file of ")[2].partition(" (pre")[0])
    found = read(load_dataset_spec(tmp_path / "data.yaml"))
    assert found[[0, 20], 0].tolist() == [1, 0]
