"""Polygons of predictions: exact where the tolerance allows it, and read back from every format they are written in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from effiseg.config.prediction import Saved
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.label_drawing import Region, draw_regions
from effiseg.data.run_lengths import decode_run_lengths, pack_run_lengths
from effiseg.data.samples import list_samples
from effiseg.inference.segmentation import Segmentation
from effiseg.prediction.annotations.image import AnnotatedImage
from effiseg.prediction.folder import POLYGONS, SHARED_FILES, PolygonOptions, PredictionFolder
from effiseg.prediction.outlines import EXACT_TOLERANCE, trace_outlines
from effiseg.prediction.sources import Source

NAMES = ("sky", 'road & "kerb"', "car", "person")
PALETTE = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
LABELS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 3))
)


def drawn(labels: np.ndarray, tolerance: float, least_area: int = 0) -> np.ndarray:
    """What its outlines, written as formats write them and painted over each other, make of a label map."""
    image = AnnotatedImage("a", labels.shape, trace_outlines(labels, tolerance, least_area))  # type: ignore[arg-type]
    outlines = AnnotatedImage.from_dict(json.loads(json.dumps(image.to_dict()))).outlines
    return draw_regions([(Region((one.outer,)), one.label) for one in outlines], labels.shape, 255, in_order=True)  # type: ignore[arg-type]


@given(LABELS)
def test_outlines_are_the_labels_to_the_pixel(labels: np.ndarray) -> None:
    np.testing.assert_array_equal(drawn(labels, EXACT_TOLERANCE), labels)
    owners = np.zeros(labels.shape, int)
    for one in trace_outlines(labels):
        for inside, place in Region((one.outer,), tuple(one.holes)).places(labels.shape, "centers"):  # type: ignore[arg-type]
            owners[place] += inside
            assert (labels[place][inside] == one.label).all()
    assert (owners == 1).all(), "with their holes they share no pixel"


def smooth(size: tuple[int, int] = (120, 160), blur: float = 9) -> np.ndarray:
    """A label map of round regions that lie in each other."""
    generator = np.random.default_rng(0)
    height = cv2.GaussianBlur(generator.normal(size=size).astype(np.float32), (0, 0), blur)
    return np.digitize(height, np.quantile(height, [0.3, 0.6, 0.85])).astype(np.uint8)


def test_a_larger_tolerance_needs_fewer_corners_and_leaves_no_gap() -> None:
    labels = smooth()
    corners = [sum(len(one.outer) for one in trace_outlines(labels, tolerance)) for tolerance in (0.35, 1, 2)]
    assert corners[0] > 1.5 * corners[1] > 2 * corners[2]
    found = drawn(labels, 2)
    assert (found != 255).all()
    assert (found == labels).mean() > 0.95


def test_small_regions_go_to_what_lies_nearest() -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[:, 15:] = 1
    labels[3:6, 3:6] = labels[3:6, 20:23] = 2
    assert {one.label for one in trace_outlines(labels, least_area=9)} == {0, 1, 2}
    found = drawn(labels, EXACT_TOLERANCE, 10)
    labels[labels == 2] = found[labels == 2]
    np.testing.assert_array_equal(found, labels)
    assert found[4, 4] == 0
    assert found[4, 21] == 1
    assert trace_outlines(np.ones((2, 2), np.uint8), least_area=100)[0].area == 4


@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_packed_runs_are_unpacked(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_run_lengths(pack_run_lengths(mask), mask.shape), mask)  # type: ignore[arg-type]


def write(folder: Path, maps: dict[str, np.ndarray], outputs: list[Saved]) -> None:
    """Predictions of these labels, as `predict` writes them, and the images beside them."""
    out = PredictionFolder(folder, np.arange(256, dtype=np.uint8), NAMES, PolygonOptions(EXACT_TOLERANCE, 0))
    sources = []
    for name, labels in maps.items():
        image = np.zeros((*labels.shape, 3), np.uint8)
        file = folder / "images" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
        source = Source(name, str(file), "image")
        sources.append(source)
        out.write(outputs, name, Segmentation(labels, image, NAMES, PALETTE), source.name)
    out.write_shared(outputs, sources, PALETTE)


def accept(file: Path) -> None:
    """Turn predictions of Label Studio into annotations, as its users do."""
    tasks = json.loads(file.read_text())
    for number, task in enumerate(tasks):
        task |= {"id": number, "annotations": [{"result": one["result"]} for one in task.pop("predictions")]}
    file.write_text(json.dumps(tasks))


@pytest.mark.parametrize("output", sorted(POLYGONS))
def test_what_is_written_is_read_back_to_the_pixel(output: Saved, tmp_path: Path) -> None:
    ring = np.ones((21, 34), np.uint8)
    ring[2:-2, 2:-2], ring[5:-5, 5:-5], ring[8:-8, 8:-8] = 2, 1, 3
    maps = {"a ü": smooth(), "deep/b": smooth((33, 47), 4), "ring": ring}
    write(tmp_path, maps, [output])
    if output == "label_studio":
        accept(tmp_path / "label_studio.json")
    values: dict[str, Any] = {"train": "images", "names": list(NAMES), "mask_format": output}
    values["background"] = "ignore_label"
    values |= {"annotations": SHARED_FILES[output]} if output in SHARED_FILES else {"masks_dir": output}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(values))
    spec = load_dataset_spec(tmp_path / "data.yaml")
    samples = {sample.image.relative_to(tmp_path / "images").with_suffix("").as_posix(): sample
               for sample in list_samples(spec, "train")}  # fmt: skip
    assert samples.keys() == maps.keys()
    for name, labels in maps.items():
        np.testing.assert_array_equal(samples[name].read_labels(spec).label, labels)


def test_coco_of_others_reads_the_same(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is installed by hand")
    labels = smooth()
    write(tmp_path, {"a": labels}, ["coco"])
    read = coco.COCO(str(tmp_path / "coco.json"))
    found = np.full(labels.shape, 255, np.uint8)
    for annotation in read.loadAnns(read.getAnnIds(imgIds=[1])):
        found[read.annToMask(annotation).astype(bool)] = annotation["category_id"] - 1
    for index in range(4):
        common = ((found == index) & (labels == index)).sum()
        assert common / ((found == index) | (labels == index)).sum() >= 0.99
