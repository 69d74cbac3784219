"""Palettes: distances under four kinds of vision, contrast on both pages."""

from __future__ import annotations

import numpy as np
import pytest

from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.visualization.palettes import (
    BASELINE_COLOUR,
    ROW_COLOURS,
    colour_blind_safe_palette,
    contrast,
    seen_as,
    smallest_distance,
)


def as_bytes(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


@pytest.mark.parametrize("count", [1, 2, 8, 19, 60, 255])
def test_colours_differ_and_a_shorter_palette_begins_a_longer_one(count: int) -> None:
    palette = colour_blind_safe_palette(count)
    assert len(set(palette)) == count
    assert palette == colour_blind_safe_palette(255)[:count]
    assert not {(0, 0, 0), (255, 255, 255)} & set(palette)


def test_the_safe_palette_is_safer_than_the_data_sets(tmp_path: object) -> None:
    own = load_dataset_spec("cityscapes", str(tmp_path)).palette
    assert smallest_distance(colour_blind_safe_palette(19)) > 4 * smallest_distance(own)
    # 2.3 is a just noticeable difference.
    assert smallest_distance(colour_blind_safe_palette(8)) > 30


@pytest.mark.parametrize("colour", [*ROW_COLOURS, BASELINE_COLOUR])
def test_rows_stand_out_on_the_light_page_and_on_the_dark_one(colour: str) -> None:
    assert contrast(colour, "#fefefd") >= 2.95
    assert contrast(colour, "#14171a") >= 2.95


def test_the_papers_rows_stay_apart() -> None:
    assert smallest_distance(tuple(map(as_bytes, (*ROW_COLOURS[:5], BASELINE_COLOUR)))) > 20


def test_contrast_of_black_and_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == pytest.approx(21)


def test_lab_of_known_colours() -> None:
    # sRGB white, black and red under D65.
    lab = seen_as(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]]), "normal")
    assert lab == pytest.approx(np.array([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]]), abs=0.05)


@pytest.mark.parametrize("vision", ["protanopia", "deuteranopia", "tritanopia"])
def test_greys_look_the_same_to_everybody(vision: str) -> None:
    greys = np.repeat(np.array([[0], [90], [200], [255]]), 3, axis=1)
    assert seen_as(greys, vision) == pytest.approx(seen_as(greys, "normal"), abs=0.6)
