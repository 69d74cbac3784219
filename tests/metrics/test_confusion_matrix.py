"""The streamed confusion matrix against torchmetrics and against counting by hand."""

from __future__ import annotations

import math

import pytest
import torch

from effiseg.metrics.confusion_matrix import (
    ConfusionMatrix,
    class_iou,
    confusion_counts,
    mean_accuracy,
    mean_iou,
    mean_iou_of_present,
    pixel_accuracy,
)

K = 7


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    """(2, 37, 53) predictions and labels; class 6 is absent from both, class 5 from the labels."""
    torch.manual_seed(0)
    target = torch.randint(0, 5, (2, 37, 53), dtype=torch.uint8)
    target[torch.rand(target.shape) < 0.2] = 255
    prediction = torch.randint(0, 6, target.shape, dtype=torch.uint8)
    right = (torch.rand(target.shape) < 0.6) & (target != 255)
    return torch.where(right, target, prediction), target


def test_counts_by_hand() -> None:
    target = torch.tensor([[0, 0, 0, 1], [1, 2, 255, 255]], dtype=torch.uint8)
    prediction = torch.tensor([[0, 1, 9, 1], [255, 0, 0, 9]], dtype=torch.uint8)
    expected = [[1, 1, 0, 1], [0, 1, 0, 1], [1, 0, 0, 0]]
    counts = confusion_counts(prediction, target, 3)
    assert counts.dtype == torch.int64
    assert counts.tolist() == expected
    assert class_iou(counts).tolist() == pytest.approx([1 / 4, 1 / 3, 0])
    assert mean_iou(counts) == pytest.approx((1 / 4 + 1 / 3) / 3)
    assert mean_accuracy(counts) == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)
    assert pixel_accuracy(counts) == pytest.approx(2 / 6)


def test_no_class_on_a_labelled_pixel_is_a_miss_and_no_false_alarm() -> None:
    target = torch.tensor([0, 0, 1, 1])
    right, missed = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 255, 1, 1])
    assert class_iou(confusion_counts(right, target, 2)).tolist() == [1, 1]
    counts = confusion_counts(missed, target, 2)
    assert class_iou(counts).tolist() == [0.5, 1]
    assert pixel_accuracy(counts) == 0.75


def test_torchmetrics_counts_the_same(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    oracle = pytest.importorskip("torchmetrics", reason="torchmetrics is the oracle of the confusion matrix")
    prediction, target = (part.long() for part in maps)
    options = {"num_classes": K, "ignore_index": 255}
    counts = confusion_counts(prediction, target, K)
    classification = oracle.classification
    assert counts[:, K].sum() == 0
    matrix = classification.MulticlassConfusionMatrix(**options)(prediction, target)
    assert torch.equal(counts[:, :K], matrix)

    present = ~class_iou(counts).isnan()
    iou = classification.MulticlassJaccardIndex(**options, average="none")(prediction, target)
    assert present.tolist() == [True] * 6 + [False]
    torch.testing.assert_close(class_iou(counts)[present].float(), iou[present])
    in_labels = counts.sum(1) > 0
    recall = classification.MulticlassAccuracy(**options, average="none")(prediction, target)
    assert mean_accuracy(counts) == pytest.approx(float(recall[in_labels].mean()), abs=1e-6)
    micro = classification.MulticlassAccuracy(**options, average="micro")(prediction, target)
    assert pixel_accuracy(counts) == pytest.approx(float(micro), abs=1e-6)


def test_mean_over_present_classes_leaves_stray_predictions_out(
    maps: tuple[torch.Tensor, torch.Tensor],
) -> None:
    counts = confusion_counts(*maps, K)
    ious = class_iou(counts)
    assert ious[5] == 0
    assert mean_iou_of_present(counts) == pytest.approx(float(ious[:5].mean()))
    assert mean_iou(counts) == pytest.approx(float(ious[:6].mean()))


def test_changing_an_ignored_pixel_changes_nothing(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    prediction, target = maps
    changed = torch.where(target == 255, 3, prediction)
    assert not torch.equal(changed, prediction)
    assert torch.equal(confusion_counts(changed, target, K), confusion_counts(prediction, target, K))


def test_a_stream_counts_as_the_whole(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    prediction, target = maps
    matrix = ConfusionMatrix(K)
    parts = [matrix.update(prediction[i], target[i]) for i in range(2)]
    assert torch.equal(matrix.counts, confusion_counts(prediction, target, K))
    assert torch.equal(parts[0] + parts[1], matrix.counts)
    assert torch.equal(parts[0], confusion_counts(prediction[0], target[0], K))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16])
def test_any_integer_type_counts_as_bytes_do(maps: tuple[torch.Tensor, torch.Tensor], dtype: torch.dtype) -> None:
    prediction, target = maps
    prediction[0, 0, :5] = 200
    wide = prediction.to(dtype)
    wide[0, 0, :5] = torch.tensor([-1, -300, 256, 999, 7], dtype=dtype)
    assert torch.equal(confusion_counts(wide, target.to(dtype), K), confusion_counts(prediction, target, K))


@pytest.mark.parametrize("ignore_index", [-1, -100, 300])
def test_other_ignore_indices(maps: tuple[torch.Tensor, torch.Tensor], ignore_index: int) -> None:
    prediction, target = maps
    other = torch.where(target == 255, ignore_index, target.long())
    expected = confusion_counts(prediction, target, K)
    assert torch.equal(confusion_counts(prediction, other, K, ignore_index), expected)
    with pytest.raises(ValueError, match="ignore_index"):
        confusion_counts(prediction, target.long(), K, ignore_index)


def test_ignore_index_may_be_a_class(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    prediction, target = maps
    plain = confusion_counts(prediction, target, K)
    without = confusion_counts(prediction, torch.where(target == 255, 0, target), K, ignore_index=0)
    assert without[0].sum() == 0
    assert torch.equal(without[1:], plain[1:])


def test_all_255_classes() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    counts = confusion_counts(values, values, 255)
    assert torch.equal(counts, torch.eye(255, 256, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(0,), (3, 4)])
def test_nothing_labelled(shape: tuple[int, ...]) -> None:
    target = torch.full(shape, 255, dtype=torch.uint8)
    counts = confusion_counts(torch.zeros_like(target), target, 3)
    assert counts.shape == (3, 4)
    assert counts.sum() == 0
    assert class_iou(counts).isnan().all()
    for measure in (mean_iou, mean_accuracy, pixel_accuracy, mean_iou_of_present):
        assert math.isnan(measure(counts))


@pytest.mark.parametrize("foreign", [3, 100, 254])
def test_a_foreign_label_is_named(foreign: int) -> None:
    target = torch.tensor([0, foreign, 255], dtype=torch.uint8)
    with pytest.raises(ValueError, match=f"label {foreign} "):
        confusion_counts(torch.zeros_like(target), target, 3)


def test_wrong_arguments() -> None:
    bytes_ = torch.zeros(4, dtype=torch.uint8)
    with pytest.raises(ValueError, match="shape"):
        confusion_counts(bytes_, bytes_[:2], 3)
    with pytest.raises(ValueError, match="num_classes"):
        confusion_counts(bytes_, bytes_, 256)
