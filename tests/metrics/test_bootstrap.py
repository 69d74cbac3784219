"""The bootstrap against a plain loop, and what it must say of equal and of different rows."""

from __future__ import annotations

import numpy as np
import pytest

from effiseg.metrics.bootstrap import miou_interval, paired_differences, resampled_miou
from effiseg.results import EvaluationResult


def evaluation(counts: dict[str, list[list[int]]]) -> EvaluationResult:
    size = len(next(iter(counts.values()))[0])
    names = [f"c{i}" for i in range(size)]
    return EvaluationResult(
        miou=None, class_iou={}, mean_accuracy=None, pixel_accuracy=None, images=len(counts), split="val",
        protocol="full", names=names, confusion=[[0] * (size + 1)] * size, image_iou={}, image_counts=counts,
    )  # fmt: skip


def random_rows(quality: float, seed: int, images: int = 40, classes: int = 3) -> EvaluationResult:
    truths = np.random.default_rng(99).integers(0, 300, (images, classes))
    random = np.random.default_rng(seed)
    counts = {}
    for index, truth in enumerate(truths):
        hits = np.round(truth * np.clip(quality + random.normal(0, 0.1, classes), 0, 1)).astype(int)
        counts[f"i{index}"] = [hits.tolist(), truth.tolist(), (hits + random.integers(0, 50, classes)).tolist()]
    return evaluation(counts)


def plain_miou(result: EvaluationResult, chosen: list[str]) -> float:
    hits, truth, predicted = np.sum([result.image_counts[name] for name in chosen], axis=0)
    ious = [h / (t + p - h) for h, t, p in zip(hits, truth, predicted, strict=True) if t + p - h > 0]
    return 100 * sum(ious) / len(ious)


def test_each_draw_pools_its_images_counts() -> None:
    result = random_rows(0.7, 1)
    ids = sorted(result.image_counts)
    draws = np.random.default_rng(5).multinomial(len(ids), np.full(len(ids), 1 / len(ids)), size=6)
    expected = [
        plain_miou(result, [name for name, n in zip(ids, draw, strict=True) for _ in range(n)]) for draw in draws
    ]
    assert resampled_miou([result], ids, draws) == pytest.approx(np.array(expected))
    other = random_rows(0.5, 2)
    mean = (resampled_miou([result], ids, draws) + resampled_miou([other], ids, draws)) / 2
    assert resampled_miou([result, other], ids, draws) == pytest.approx(mean)


def test_a_class_that_no_drawn_image_holds_does_not_count() -> None:
    result = evaluation({"a": [[5, 0], [10, 0], [5, 0]], "b": [[0, 2], [0, 4], [0, 2]]})
    assert resampled_miou([result], ["a", "b"], np.array([[2, 0], [0, 2], [1, 1]])).tolist() == [50, 50, 50]


def test_equal_rows_differ_by_nothing() -> None:
    (pair,) = paired_differences({"a": [random_rows(0.7, 1)], "b": [random_rows(0.7, 1)]})
    assert (pair.delta, pair.low, pair.high, pair.share_above_zero) == (0, 0, 0, 0)
    assert not pair.is_more_than_noise


def test_a_better_row_is_better_and_noise_is_noise() -> None:
    rows = {"base": [random_rows(0.6, 1)], "same": [random_rows(0.6, 2)], "better": [random_rows(0.8, 3)]}
    pairs = {(pair.first, pair.second): pair for pair in paired_differences(rows)}
    assert list(pairs) == [("same", "base"), ("better", "base"), ("better", "same")]
    better = pairs["better", "base"]
    everything = sorted(rows["base"][0].image_counts)
    assert better.delta == pytest.approx(
        plain_miou(rows["better"][0], everything) - plain_miou(rows["base"][0], everything)
    )
    assert 0 < better.low < better.delta < better.high
    assert better.is_more_than_noise
    assert better.share_above_zero == 1
    assert pairs["same", "base"].low < 0 < pairs["same", "base"].high
    assert not pairs["same", "base"].is_more_than_noise


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Two networks of equal quality: of many comparisons, about 95 % of the intervals hold 0."""
    held = 0
    for trial in range(100):
        pair = paired_differences(
            {"a": [random_rows(0.6, 1000 + trial)], "b": [random_rows(0.6, 2000 + trial)]}, resamples=200
        )[0]
        held += pair.low <= 0 <= pair.high
    assert 85 <= held <= 100


def test_the_same_seed_gives_the_same_interval() -> None:
    rows = {"a": [random_rows(0.6, 1)], "b": [random_rows(0.7, 2)]}
    assert paired_differences(rows) == paired_differences(rows)
    assert paired_differences(rows) != paired_differences(rows, seed=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_counts": {}}, "b has no pixel counts per image"),
        ({"names": ["x", "y", "z"]}, "b and a have other classes"),
        ({"image_counts": {"other": [[1] * 3] * 3}}, "b and a were evaluated on other images"),
        ({"protocol": "quarter"}, "b and a were evaluated under other protocols"),
    ],
)
def test_what_cannot_be_paired(change: dict[str, object], message: str) -> None:
    other = random_rows(0.7, 2)
    for name, value in change.items():
        setattr(other, name, value)
    with pytest.raises(ValueError, match=message):
        paired_differences({"a": [random_rows(0.6, 1)], "b": [other]})


def test_the_interval_of_one_evaluation_is_that_of_its_resamples() -> None:
    result = random_rows(0.7, 4)
    ids = sorted(result.image_counts)
    random = np.random.default_rng(8)
    plain = [plain_miou(result, [ids[i] for i in random.integers(0, len(ids), len(ids))]) for _ in range(600)]
    found = miou_interval(result)
    assert found is not None
    assert found[0] < plain_miou(result, ids) < found[1]
    assert found == pytest.approx(np.percentile(plain, [2.5, 97.5]), abs=0.3)
    assert miou_interval(result) == found


def test_one_image_has_no_interval() -> None:
    assert miou_interval(random_rows(0.7, 4, images=1)) is None
