"""Boundary counts against the paper's definition: erosions with a 3x3 square, one class at a time."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from effiseg.metrics.boundary import boundary_counts, in_band

UInt8Array = npt.NDArray[np.uint8]


def regions(seed: int, height: int = 60, width: int = 90, classes: int = 4) -> UInt8Array:
    random = np.random.default_rng(seed)
    labels = np.zeros((height, width), np.uint8)
    for _ in range(12):
        top, left = random.integers(0, height), random.integers(0, width)
        labels[top : top + random.integers(3, 40), left : left + random.integers(3, 40)] = random.integers(0, classes)
    return labels


def paper_band(mask: npt.NDArray[np.bool_], distance: int) -> npt.NDArray[np.bool_]:
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    return mask & (eroded == 0)


@pytest.mark.parametrize("ratio", [0.02, 0.05, 0.6])
def test_the_papers_definition(ratio: float) -> None:
    truth, found = regions(0), regions(1)
    distance = max(1, round(ratio * math.hypot(60, 90)))
    counts = boundary_counts(found, truth, 4, ratio=ratio)
    for index in range(4):
        in_truth, in_found = paper_band(truth == index, distance), paper_band(found == index, distance)
        expected = [(in_truth & in_found).sum(), in_truth.sum(), in_found.sum()]
        assert counts[:, index].tolist() == expected


def test_the_band_is_two_percent_of_the_diagonal() -> None:
    truth = np.zeros((300, 400), np.uint8)  # a diagonal of 500: 10 pixels
    inside = (300 - 20) * (400 - 20)
    assert boundary_counts(truth, truth, 1)[:, 0].tolist() == [300 * 400 - inside] * 3


def test_equal_maps_agree_and_no_class_is_a_miss() -> None:
    labels = regions(2)
    both, truth, found = boundary_counts(labels, labels, 4)
    assert np.array_equal(both, truth)
    assert np.array_equal(both, found)
    both, _, found = boundary_counts(np.full_like(labels, 255), labels, 4)
    assert both.tolist() == found.tolist() == [0] * 4


def test_what_is_predicted_on_ignored_pixels_changes_nothing() -> None:
    truth, found = regions(3), regions(4)
    truth[20:35, 10:60] = 255
    other = found.copy()
    other[20:35, 10:60] = np.random.default_rng(5).integers(0, 4, (15, 50))
    assert np.array_equal(boundary_counts(found, truth, 4), boundary_counts(other, truth, 4))


def test_a_hole_in_the_labels_is_no_contour() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labelled = np.ones((40, 40), bool)
    labelled[18:22, 18:22] = False
    band = in_band(np.where(labelled, labels, 255).astype(np.uint8), labelled, 3)
    assert not band[3:-3, 3:-3].any()
