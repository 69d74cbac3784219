"""Masks: what is written is read, drawing keeps its rules, and damaged annotations end in one error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from effiseg.data import annotation_file
from effiseg.data.coco_file import load_annotations
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.file_sample import FileSample
from effiseg.data.label_drawing import Region, draw_regions
from effiseg.data.polygons import fill_contour, fill_polygon
from effiseg.data.run_lengths import decode_run_lengths
from effiseg.errors import DataError

SIDES = st.integers(1, 12)
MASKS = st.tuples(SIDES, SIDES).flatmap(lambda shape: arrays(np.bool_, shape))
CORNERS = st.lists(st.tuples(st.integers(-6, 18), st.integers(-6, 18)), min_size=3, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "counts", "size", "name", "height", "width"]), inner, max_size=4)
    ),
    max_leaves=9,
)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=40), SIDES, SIDES)
def test_no_packed_text_ends_otherwise(text: str, height: int, width: int) -> None:
    try:
        assert decode_run_lengths(text, (height, width)).shape == (height, width)
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize("fill", [fill_polygon, fill_contour])
@given(corners=CORNERS, right=st.integers(0, 5), down=st.integers(0, 5))
def test_a_polygon_moves_with_its_corners_and_has_no_direction(fill, corners, right: int, down: int) -> None:
    def drawn(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        canvas = np.zeros(shape, np.bool_)
        inside, place = fill(points.astype(np.float32), shape)
        canvas[place] = inside
        return canvas

    points = np.array(corners) + 6  # within 24 pixels
    here = drawn(points, (25, 25))
    assert np.array_equal(here, drawn(points[::-1], (25, 25)))
    assert np.array_equal(here, drawn(np.roll(points, 1, axis=0), (25, 25)))
    assert np.array_equal(here, drawn(points + np.array((right, down)), (30, 30))[down : down + 25, right : right + 25])


@given(st.lists(st.integers(-6, 18), min_size=8, max_size=8))
def test_polygons_side_by_side_share_no_pixel_and_leave_none(numbers: list[int]) -> None:
    """A pixel belongs to exactly one of the parts that a diagonal cuts a polygon into."""
    a, b, c, d = np.array(numbers, np.float32).reshape(4, 2)

    def times_inside(*corners: np.ndarray) -> np.ndarray:
        canvas = np.zeros((12, 12), np.int64)
        inside, place = fill_polygon(np.stack(corners), (12, 12))
        canvas[place] += inside
        return canvas

    whole = times_inside(a, b, c, d)
    assert np.array_equal((times_inside(a, b, c) + times_inside(a, c, d)) % 2, whole)


@given(st.lists(CORNERS, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_annotations_does_not_decide_what_is_on_top(polygons, generator) -> None:
    regions = {}
    for label, corners in enumerate(polygons):
        region = Region((np.array(corners, np.float32),))
        regions.setdefault(region.area(), (region, label))
    listed = list(regions.values())
    expected = draw_regions(listed, (12, 12), 255)
    generator.shuffle(listed)
    assert np.array_equal(draw_regions(listed, (12, 12), 255), expected)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of one image of 12x12 pixels, whose mask each example writes."""
    folder = tmp_path_factory.mktemp("masks")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save(folder / "images" / "a.png")
    return folder


def described(place: Path, text: str) -> DatasetSpec:
    (place / "data.yaml").write_text(f"train: images\n{text}\n")
    return load_dataset_spec(place / "data.yaml")


def sample_of(place: Path, spec: DatasetSpec, mask: str) -> FileSample:
    return FileSample("a", place / "images" / "a.png", place / "labels" / mask, spec.masks, None)


@given(arrays(np.uint8, (12, 12), elements=st.sampled_from([0, 1, 2, 255])), st.sampled_from(["L", "P", "I;16", "I"]))
def test_indices_are_read_as_they_were_written(place: Path, labels: np.ndarray, mode: str) -> None:
    spec = described(place, "names: [a, b, c]")
    image = Image.fromarray(labels.astype({"I;16": np.uint16, "I": np.int32}.get(mode, np.uint8)))
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    image.save(place / "labels" / "a.tif")
    assert np.array_equal(sample_of(place, spec, "a.tif").read_pair(spec)[1], labels)


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=4, max_size=4, unique=True), st.data())
def test_colors_mean_their_class(place: Path, palette: list[tuple[int, int, int]], data: st.DataObject) -> None:
    labels = data.draw(arrays(np.uint8, (12, 12), elements=st.sampled_from([0, 1, 2, 3])))
    colors = [list(color) for color in palette]
    spec = described(place, f"names: [a, b, c]\nmask_format: color\npalette: {colors[:3]}\nignore_colors: {colors[3:]}")
    Image.fromarray(np.array(palette, np.uint8)[labels]).save(place / "labels" / "a.png")
    assert np.array_equal(sample_of(place, spec, "a.png").read_pair(spec)[1], np.where(labels == 3, 255, labels))


@given(st.text(max_size=60) | st.lists(st.floats(width=32), max_size=9).map(lambda row: f"1 {' '.join(map(str, row))}"))
def test_any_yolo_file_is_labels_or_one_error(place: Path, text: str) -> None:
    spec = described(place, "names: [a, b, c]\nmask_format: yolo\nbackground: a")
    (place / "labels" / "a.txt").write_text(text, encoding="utf-8", newline="")
    try:
        labels = sample_of(place, spec, "a.txt").read_pair(spec)[1]
        assert set(np.unique(labels)) <= {0, 1, 2}
    except DataError as error:
        assert "a.txt" in str(error)
        assert "\n" not in str(error)


@given(st.dictionaries(st.sampled_from(["images", "annotations", "categories"]), VALUES | st.lists(VALUES)))
def test_any_json_is_annotations_or_one_error(place: Path, content: dict[str, object]) -> None:
    file = place / "a.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    try:
        annotation_file._parsed.cache_clear()
        load_annotations(file)
    except DataError as error:
        assert "a.json" in str(error)
        assert "\n" not in str(error)
