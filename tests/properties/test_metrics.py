"""Scores: the count of pixels, whatever they are split, renamed or ordered by."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from effiseg.metrics.boundary import boundary_counts
from effiseg.metrics.confusion_matrix import (
    ConfusionMatrix,
    class_iou,
    confusion_counts,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)

K = 4
LABELS = arrays(np.uint8, (6, 9), elements=st.sampled_from([0, 1, 2, 3, 255]))
CLASSES = arrays(np.uint8, (6, 9), elements=st.integers(0, K - 1))
PREDICTIONS = arrays(np.uint8, (6, 9), elements=st.integers(0, K + 1))
KINDS = st.sampled_from([torch.uint8, torch.int32, torch.int64])


def counted(prediction: np.ndarray, target: np.ndarray) -> torch.Tensor:
    return confusion_counts(torch.from_numpy(prediction), torch.from_numpy(target), K)


@given(PREDICTIONS, LABELS, KINDS, KINDS)
def test_iou_is_that_of_the_sets(prediction, target, predicted_as: torch.dtype, labelled_as: torch.dtype) -> None:
    counts = confusion_counts(
        torch.from_numpy(prediction).to(predicted_as), torch.from_numpy(target).to(labelled_as), K
    )
    labelled = target != 255
    for index, found in enumerate(class_iou(counts).tolist()):
        union = ((prediction == index) | (target == index)) & labelled
        if not union.any():
            assert math.isnan(found)
        else:
            assert found == ((prediction == index) & (target == index)).sum() / union.sum()
    assert counts.sum() == labelled.sum()


@given(PREDICTIONS, LABELS, st.integers(0, 6))
def test_counts_of_parts_add_up_to_those_of_the_whole(prediction, target, cut: int) -> None:
    matrix = ConfusionMatrix(K)
    for part in (slice(None, cut), slice(cut, None)):
        matrix.update(torch.from_numpy(prediction[part]), torch.from_numpy(target[part]))
    assert torch.equal(matrix.counts, counted(prediction, target))


@given(PREDICTIONS, LABELS, st.permutations(range(K)))
def test_other_names_of_classes_change_no_mean(prediction, target, order: list[int]) -> None:
    table = np.arange(256, dtype=np.uint8)
    table[:K] = order
    counts, renamed = counted(prediction, target), counted(table[prediction], table[target])
    for mean in (mean_iou, mean_accuracy, pixel_accuracy):
        assert math.isclose(mean(counts), mean(renamed)) or (math.isnan(mean(counts)) and math.isnan(mean(renamed)))
    assert torch.equal(class_iou(counts).nan_to_num(-1), class_iou(renamed).nan_to_num(-1)[order])


@given(CLASSES, CLASSES)
def test_iou_is_the_same_both_ways(first: np.ndarray, second: np.ndarray) -> None:
    one, other = class_iou(counted(first, second)), class_iou(counted(second, first))
    assert torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))
    assert 0 <= mean_iou(counted(first, second)) <= 1
    assert mean_iou(counted(first, first)) == 1


@given(CLASSES, LABELS, st.integers(1, 3))
def test_a_band_holds_no_more_than_the_image_and_a_wide_one_all(prediction, target, distance: int) -> None:
    assume((target != 255).any())
    whole = counted(prediction, target)
    for width, equal in ((distance, False), (9, True)):
        hits, truth, predicted = torch.as_tensor(boundary_counts(prediction, target, K, 255, width))
        assert (hits <= whole[:, :K].diagonal()).all()
        assert (truth <= whole.sum(1)).all()
        assert (hits <= torch.minimum(truth, predicted)).all()
        if equal:
            assert torch.equal(truth, whole.sum(1))
