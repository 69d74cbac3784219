"""What counts as the same network."""

from __future__ import annotations

import numpy as np
import pytest

from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.engines.agreement import compare
from effiseg.export.verification import TOLERANCES, SizeCheck, Verification, made_up_images, real_images


def test_compare_measures_error_and_labels() -> None:
    reference = np.zeros((1, 2, 4, 4), np.float32)
    reference[:, 0] = 1
    assert compare(reference, reference, (16, 16)) == (0.0, 1.0)
    other = reference.copy()
    other[0, 1] = 0.5
    assert compare(other, reference, (16, 16)) == (0.5, 1.0)
    assert compare(1 - reference, reference, (16, 16)) == (1.0, 0.0)
    labels = np.zeros((1, 16, 16), np.int64)
    labels[0, :4] = 1
    assert compare(labels, reference, (16, 16)) == (None, 0.75)


def test_what_is_no_number_is_an_infinite_error() -> None:
    reference = np.linspace(0, 1, 32, dtype=np.float32).reshape(1, 2, 4, 4)
    broken = reference.copy()
    broken[0, 0, 0, 0] = np.nan
    assert compare(broken, reference, (16, 16)).error == np.inf


@pytest.mark.parametrize(
    ("error", "labels", "complaint"),
    [
        (1e-6, 1.0, ""),
        (1e-3, 1.0, "logits differ at 64x96 by 1.0e-03 of their range, allowed is 0.0001"),
        (float("inf"), 1.0, "logits differ at 64x96 by inf"),
        (None, 0.99, "99.000 % of its labels are the model's at 64x96, asked for are 99.9 %"),
    ],
)
def test_complaint(error: float | None, labels: float, complaint: str) -> None:
    result = Verification("x", "float32", TOLERANCES["float32"], [SizeCheck((64, 96), 4, error, labels)])
    assert complaint in result.complaint
    assert bool(result.complaint) == bool(complaint)
    assert result.to_dict()["sizes"][0]["image_size"] == [64, 96]


def test_images(colour_data: object) -> None:
    made_up = made_up_images((40, 70))
    assert made_up.shape == (4, 40, 70, 3)
    assert made_up.dtype == np.uint8
    assert np.array_equal(made_up, made_up_images((40, 70)))
    real = real_images(load_dataset_spec(str(colour_data)), "val", (40, 70))
    assert real.shape == (3, 40, 70, 3)
