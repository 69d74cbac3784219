"""Label maps as pictures."""

from __future__ import annotations

import numpy as np

from effiseg.visualization.label_colours import RIGHT, UNLABELLED, WRONG, colour_map, error_map, overlay
from effiseg.visualization.sheet import prediction_sheet, tiled

PALETTE = [(10, 20, 30), (200, 100, 0)]
LABELS = np.array([[0, 1], [1, 255]], np.uint8)


def test_every_pixel_has_its_class_colour_and_no_class_is_gray() -> None:
    assert colour_map(LABELS, PALETTE).tolist() == [[[10, 20, 30], [200, 100, 0]], [[200, 100, 0], list(UNLABELLED)]]


def test_an_overlay_mixes_and_shows_the_image_where_there_is_no_class() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    assert overlay(image, LABELS, PALETTE, 0).tolist() == image.tolist()
    half = overlay(image, LABELS, PALETTE, 0.5)
    assert half.dtype == np.uint8
    assert half[0].tolist() == [[55, 60, 65], [150, 100, 50]]
    assert half[1, 1].tolist() == [100, 100, 100]


def test_errors_are_right_wrong_or_unlabelled() -> None:
    found = error_map(np.array([[0, 0], [1, 1]], np.uint8), LABELS, 2)
    assert found.dtype == np.uint8
    assert [tuple(pixel) for pixel in found.reshape(-1, 3).tolist()] == [RIGHT, WRONG, RIGHT, UNLABELLED]


def test_a_sheet_holds_every_picture_at_its_place() -> None:
    image = np.full((2, 2, 3), 7, np.uint8)
    sheet = prediction_sheet([(image, LABELS, LABELS), (image, LABELS, 1 - np.minimum(LABELS, 1))], PALETTE)
    assert sheet.shape == (2 * 2 + 4, 3 * 2 + 2 * 4, 3)
    assert (sheet[:2, :2] == 7).all()
    assert (sheet[2:6] == 255).all()
    assert sheet[:2, 6:8].tolist() == colour_map(LABELS, PALETTE).tolist()
    assert sheet[6:, 12:14].tolist() == colour_map(1 - np.minimum(LABELS, 1), PALETTE).tolist()


def test_pictures_of_several_sizes_are_tiled() -> None:
    small, large = np.zeros((1, 2, 3), np.uint8), np.zeros((3, 5, 3), np.uint8)
    assert tiled([[small, large], [large, small]]).shape == (3 + 4 + 3, 5 + 4 + 5, 3)
