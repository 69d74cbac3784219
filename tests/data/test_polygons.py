from __future__ import annotations

import cv2
import numpy as np
import pytest

from effiseg.data.polygons import fill_contour, fill_polygon, polygon_area, polygon_pixels


def filled(points: list[tuple[float, float]], shape: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(shape, dtype=bool)
    inside, place = fill_polygon(np.array(points, dtype=np.float32), shape)
    whole[place] = inside
    return whole


def crossing_number(points: list[tuple[float, float]], shape: tuple[int, int]) -> np.ndarray:
    """The even-odd rule by its definition: a ray to the left from every pixel's centre."""
    whole = np.zeros(shape, dtype=bool)
    for row in range(shape[0]):
        for column in range(shape[1]):
            x, y = column + 0.5, row + 0.5
            for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
                if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x:
                    whole[row, column] ^= True
    return whole


def test_a_rectangle_covers_the_pixels_between_its_borders() -> None:
    expected = np.zeros((6, 8), dtype=bool)
    expected[1:4, 2:7] = True
    np.testing.assert_array_equal(filled([(2, 1), (7, 1), (7, 4), (2, 4)], (6, 8)), expected)
    # A centre on the upper or left border is inside, on the lower or right one it is not: neighbours never overlap.
    np.testing.assert_array_equal(filled([(2.5, 1.5), (7.5, 1.5), (7.5, 4.5), (2.5, 4.5)], (6, 8)), expected)


@pytest.mark.parametrize("seed", range(20))
def test_every_pixel_agrees_with_the_definition(seed: int) -> None:
    generator = np.random.default_rng(seed)
    corners = np.round(generator.uniform(-6, 22, (generator.integers(3, 12), 2)), 2)
    points = [(float(x), float(y)) for x, y in corners.astype(np.float32)]  # crosses itself, and leaves the image
    np.testing.assert_array_equal(filled(points, (13, 17)), crossing_number(points, (13, 17)))


def test_neighbours_share_no_pixel_and_leave_none() -> None:
    whole = [(0, 0), (11, 0), (11, 9), (0, 9)]
    left, right = [(0, 0), (7.3, 0), (3.1, 9), (0, 9)], [(7.3, 0), (11, 0), (11, 9), (3.1, 9)]
    np.testing.assert_array_equal(filled(left, (9, 11)) ^ filled(right, (9, 11)), filled(whole, (9, 11)))


@pytest.mark.parametrize(
    "points",
    [[(50, 50), (60, 50), (60, 60)], [(1, 1), (1, 1), (1, 1)], [(0, 3), (9, 3)], [(-9, 0), (-1, 0), (-1, 5)], [(4, 4)]],
)
def test_what_covers_no_centre_is_empty(points: list[tuple[float, float]]) -> None:
    assert not filled(points, (10, 10)).any()


def test_area_is_that_of_the_outline() -> None:
    assert polygon_area(np.array([[0, 0], [4, 0], [4, 3], [0, 3]], dtype=np.float32)) == 12
    assert polygon_area(np.array([[0, 0], [0, 3], [4, 0]], dtype=np.float32)) == 6


@pytest.mark.parametrize("method", [cv2.CHAIN_APPROX_NONE, cv2.CHAIN_APPROX_SIMPLE])
@pytest.mark.parametrize("seed", range(4))
def test_contours_that_opencv_traced_are_filled_to_the_pixel(seed: int, method: int) -> None:
    generator = np.random.default_rng(seed)
    mask = cv2.resize(generator.integers(0, 2, (9, 12), dtype=np.uint8), (90, 70), interpolation=cv2.INTER_NEAREST)
    mask[::7] = 1  # lines of one pixel
    mask[3, 3] = mask[65, 80:83] = 1
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, method)
    found = np.zeros_like(mask, dtype=bool)
    for contour in contours:
        points = contour.reshape(-1, 2).astype(np.float32)
        inside, place = fill_contour(points, mask.shape)
        assert abs(polygon_pixels(points, "pixels") - inside.sum()) < 1e-3
        found[place] |= inside
    holes = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    expected = np.zeros_like(mask)
    cv2.drawContours(expected, holes, -1, 1, cv2.FILLED)
    np.testing.assert_array_equal(found, expected.astype(bool))
    assert (found >= mask.astype(bool)).all()


def test_ten_by_ten_pixels_have_a_hundred() -> None:
    square = np.array([[2, 3], [11, 3], [11, 12], [2, 12]], dtype=np.float32)
    assert fill_contour(square, (20, 20))[0].sum() == 100
    assert fill_polygon(square, (20, 20))[0].sum() == 81
    assert fill_contour(square + 15, (20, 20))[0].sum() == 6  # cut by the image
    assert not fill_contour(square + 30, (20, 20))[0].any()
    assert fill_contour(np.array([[1e9, 4], [-1e9, 4]], dtype=np.float32), (20, 20))[0].sum() == 20
