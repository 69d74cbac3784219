"""Make the files of this folder, each with its tool's own library, in an environment of its own.

    python make.py TOOL                 datumaro (also CVAT's XML), labelme, label_studio or supervisely

Every tool draws one scene of 40x60 pixels and saves, beside its file, what its own library makes of it: PNGs of
`NAMES.index`. Made once, with datumaro 1.13.12, labelme 6.3.1, label-studio-sdk 2.1.2 and supervisely 6.74.51.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
NAMES = ("ground", "road", "car", "void")
HEIGHT, WIDTH = 40, 60
ROAD = [[0, 20], [60, 20], [60, 40], [0, 40]]
CAR = [[10, 15], [30, 15], [30, 30], [20, 30], [20, 35], [10, 35]]


def brush() -> np.ndarray:
    """A disc with a hole, (40, 60) bool."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    distance = (rows - 24) ** 2 + (columns - 45) ** 2
    return (distance <= 81) & (distance > 16)


def save_labels(tool: str, labels: np.ndarray) -> None:
    Image.fromarray(labels.astype(np.uint8)).save(HERE / f"{tool}.png")


def datumaro() -> None:
    import datumaro as dm
    from datumaro.util.mask_tools import rles_to_mask

    shapes = [
        dm.Polygon(np.ravel(CAR).tolist(), label=2, z_order=2, group=1),
        dm.Mask(brush().astype(np.uint8), label=2, z_order=1, group=1),
        dm.Polygon(np.ravel(ROAD).tolist(), label=1, z_order=0),
        dm.Bbox(50, 0, 10, 30, label=3, z_order=1),
        dm.Points([3, 3], label=2, z_order=3),
        dm.Label(0),
    ]
    picture = dm.Image.from_numpy(np.zeros((HEIGHT, WIDTH, 3), np.uint8), ext=".png")
    item = dm.DatasetItem("scene", subset="train", media=picture, annotations=shapes)
    dataset = dm.Dataset.from_iterable([item], categories=list(NAMES))
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for shape in sorted(shapes[:4], key=lambda shape: shape.z_order):
        match shape:
            case dm.Mask():
                mask = shape.image
            case dm.Bbox():
                left, top, right, bottom = map(int, shape.points)
                mask = rles_to_mask([[left, top, right, top, right, bottom, left, bottom]], WIDTH, HEIGHT)
            case _:
                mask = rles_to_mask([shape.points], WIDTH, HEIGHT)
        labels[mask.astype(bool)] = shape.label
    for tool, pattern, name in (("datumaro", "annotations/train.json", "datumaro.json"), ("cvat", "*.xml", "cvat.xml")):
        with tempfile.TemporaryDirectory() as folder:
            dataset.export(folder, tool, save_media=True)
            print(*sorted(Path(folder).rglob("*")), sep="\n")
            shutil.copy(next(Path(folder).glob(pattern)), HERE / name)
        save_labels(tool, labels)


def labelme() -> None:
    from labelme.utils import shapes_to_label

    mask = brush()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [[int(columns[0]), int(rows[0])], [int(columns[-1]), int(rows[-1])]]
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    stream = io.BytesIO()
    Image.fromarray(cut.astype(np.uint8)).save(stream, "PNG")
    png = base64.b64encode(stream.getvalue()).decode()
    blank = {"group_id": None, "description": "", "flags": {}, "mask": None}
    shapes = [
        {"label": "road", "points": [[0, 20], [59, 39]], "shape_type": "rectangle", **blank},
        {"label": "car", "points": box, "shape_type": "mask", **blank, "mask": png, "group_id": 1},
        {"label": "car", "points": CAR, "shape_type": "polygon", **blank, "group_id": 1},
        {"label": "__ignore__", "points": [[5, 5], [9, 5]], "shape_type": "circle", **blank},
    ]
    values = {"_background_": 0, "road": 1, "car": 2, "__ignore__": 3}
    labels, _ = shapes_to_label(
        (HEIGHT, WIDTH, 3), [{**shape, "mask": cut if shape["mask"] else None} for shape in shapes], values
    )
    save_labels("labelme", labels)
    content = {"version": "6.3.1", "flags": {}, "shapes": shapes, "imagePath": "scene.png", "imageData": None}
    content |= {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    (HERE / "labelme.json").write_text(json.dumps(content, indent=1) + "\n")


def label_studio() -> None:
    from label_studio_sdk.converter.brush import decode_rle, mask2rle

    runs = mask2rle(brush().astype(np.uint8) * 255)
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    place = {"from_name": "label", "to_name": "image", "origin": "manual", **size}

    def polygon(corners: list[list[int]], label: str) -> dict:
        points = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in corners]
        return {"value": {"points": points, "closed": True, "polygonlabels": [label]}, "type": "polygonlabels"}

    results = [
        polygon(ROAD, "road"),
        {"value": {"format": "rle", "rle": runs, "brushlabels": ["car"]}, "type": "brushlabels"},
        polygon(CAR, "car"),
        {
            "value": {"x": 100 * 50 / WIDTH, "y": 0, "width": 100 * 10 / WIDTH, "height": 75, "rotation": 0,
                      "rectanglelabels": ["void"]},
            "type": "rectanglelabels",
        },
    ]  # fmt: skip
    results = [{"id": f"r{number}", **result, **place} for number, result in enumerate(results)]
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[20:] = 1
    labels[decode_rle(runs).reshape(HEIGHT, WIDTH, 4)[..., 3] > 0] = 2
    labels[15:30, 10:30] = labels[30:35, 10:20] = 2
    labels[:30, 50:60] = 3
    save_labels("label_studio", labels)
    results.append({"type": "choices", "value": {"choices": ["day"]}, "from_name": "time", "to_name": "image"})
    task = {
        "id": 7,
        "annotations": [{"id": 1, "result": results, "was_cancelled": False, "ground_truth": False}],
        "file_upload": "0a1b2c3d-scene.png",
        "data": {"image": "/data/upload/1/0a1b2c3d-scene.png"},
        "predictions": [],
    }
    (HERE / "label_studio.json").write_text(json.dumps([task]) + "\n")


def supervisely() -> None:
    import supervisely as sly

    kinds = {
        "road": (sly.Rectangle, [0, 128, 0]),
        "car": (sly.AnyGeometry, [255, 0, 0]),
        "void": (sly.Polygon, [1, 1, 1]),
        "point": (sly.Point, [2, 2, 2]),
    }
    classes = {name: sly.ObjClass(name, *kind) for name, kind in kinds.items()}
    corners = [sly.PointLocation(y, x) for x, y in CAR]
    hole = [sly.PointLocation(y, x) for x, y in ((14, 19), (24, 19), (24, 25), (14, 25))]
    labels = [
        sly.Label(sly.Rectangle(20, 0, 39, 59), classes["road"]),
        sly.Label(sly.Bitmap(brush()), classes["car"]),
        sly.Label(sly.Polygon(corners, [hole]), classes["car"]),
        sly.Label(sly.Polygon([sly.PointLocation(y, x) for x, y in ((50, 0), (59, 0), (59, 30))]), classes["void"]),
        sly.Label(sly.Point(3, 3), classes["point"]),
    ]
    annotation = sly.Annotation((HEIGHT, WIDTH), labels)
    (HERE / "supervisely.json").write_text(json.dumps(annotation.to_json()) + "\n")
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label in labels[:4]:
        label.draw(canvas := np.zeros((HEIGHT, WIDTH, 3), np.uint8), color=[1, 1, 1])
        drawn[canvas.any(axis=2)] = NAMES.index(label.obj_class.name)
    save_labels("supervisely", drawn)


if __name__ == "__main__":
    {"datumaro": datumaro, "labelme": labelme, "label_studio": label_studio, "supervisely": supervisely}[sys.argv[1]]()
