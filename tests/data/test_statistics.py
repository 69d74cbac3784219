from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.data.statistics import class_weights, describe_unlisted, split_statistics
from effiseg.errors import DataError

# Table 1 of the paper by train id, and the shares in percent that the reading notes derive from it.
TABLE_1 = np.array(
    [
        2.5959737, 6.741505, 3.5353868, 9.866315, 9.690922, 9.369371, 10.289124, 9.953209, 4.3098087,
        9.490392, 7.674411, 9.396925, 10.347794, 6.3928986, 10.226673, 10.241072, 10.28059, 10.396977,
        10.05567,
    ]
)  # fmt: skip
ROUNDED_SHARES = np.array(
    [
        36.99, 5.99, 22.69, 0.667, 0.870, 1.263, 0.207, 0.569, 16.12, 1.112,
        3.917, 1.229, 0.146, 6.932, 0.272, 0.257, 0.216, 0.096, 0.456,
    ]
) / 100  # fmt: skip


@pytest.fixture
def spec(make_dataset) -> DatasetSpec:
    return load_dataset_spec(make_dataset())


def test_the_enet_rule_gives_table_1() -> None:
    exact = np.exp(1 / TABLE_1) - 1.10
    assert exact.sum() == pytest.approx(1, abs=1e-7)
    np.testing.assert_allclose(class_weights(exact, "enet"), TABLE_1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(class_weights(ROUNDED_SHARES, "enet"), TABLE_1, rtol=0, atol=1e-3)


def test_the_other_rules() -> None:
    shares = np.array([0.5, 0.25, 0.0, 0.2, 0.05])
    frequencies = np.array([0.5, 0.5, 0.0, 0.4, 0.1])
    np.testing.assert_array_equal(class_weights(shares, "none"), np.ones(5))
    inverse = class_weights(shares, "inverse")
    np.testing.assert_allclose(inverse * shares, np.where(shares > 0, inverse[0] * 0.5, 0))
    assert inverse[shares > 0].mean() == pytest.approx(1)
    assert inverse[2] == inverse.max() == inverse[4]
    median = class_weights(shares, "median_frequency", frequencies)
    np.testing.assert_allclose(median, [0.9, 0.9, 4.5, 1.125, 4.5])  # median frequency 0.45


@pytest.mark.parametrize("rule", ["none", "enet", "median_frequency", "inverse"])
@pytest.mark.parametrize("shares", [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1e-12, 1 - 1e-12, 0.0]])
def test_weights_are_always_finite_and_positive(rule, shares) -> None:
    weights = class_weights(shares, rule)
    assert np.isfinite(weights).all()
    assert (weights > 0).all()


def test_counts_are_those_of_the_masks(spec: DatasetSpec) -> None:
    seen: list[tuple[int, int]] = []
    statistics = split_statistics(spec, "train", lambda done, total: seen.append((done, total)))
    masks = np.stack([np.asarray(Image.open(sample.mask)) for sample in list_samples(spec, "train")])
    assert statistics.class_counts.tolist() == [int((masks == c).sum()) for c in range(3)]
    assert statistics.class_counts.dtype == np.int64
    assert statistics.ignored == int((masks == 255).sum())
    assert statistics.ignored_share == pytest.approx(2 / 40)
    assert statistics.images == 6
    assert statistics.unlisted == {}
    assert statistics.shares.sum() == pytest.approx(1)
    assert seen == [(n, 6) for n in range(1, 7)]
    np.testing.assert_array_equal(split_statistics(spec, "train", processes=1).class_counts, statistics.class_counts)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_median_frequency_looks_only_at_images_with_the_class(make_dataset, dtype) -> None:
    spec = load_dataset_spec(make_dataset(sizes=((2, 5),) * 2))
    first, second = (sample.mask for sample in list_samples(spec, "train"))
    Image.fromarray(np.array([[0] * 5, [0, 0, 0, 1, 255]], dtype)).save(first)
    Image.fromarray(np.array([[0] * 5, [0] * 5], dtype)).save(second)
    statistics = split_statistics(spec, "train")
    np.testing.assert_array_equal(statistics.class_counts, [18, 1, 0])
    np.testing.assert_array_equal(statistics.images_where_present, [2, 1, 0])
    np.testing.assert_allclose(statistics.frequencies, [18 / 19, 1 / 9, 0])
    middle = (18 / 19 + 1 / 9) / 2
    np.testing.assert_allclose(statistics.class_weights("median_frequency"), [middle * 19 / 18, middle * 9, middle * 9])


def test_unlisted_values_are_counted_and_reported(spec: DatasetSpec) -> None:
    mapped = replace(spec, label_mapping={0: 1, 1: 1})
    whole, partly = split_statistics(spec, "train"), split_statistics(mapped, "train")
    assert partly.unlisted == {2: whole.class_counts[2]}
    assert partly.class_counts.tolist() == [0, whole.class_counts[:2].sum(), 0]
    assert partly.ignored == whole.ignored + whole.class_counts[2]
    line = describe_unlisted(mapped, partly)
    assert line.startswith(f"{mapped.source}: label_mapping does not list the raw values 2 ")
    assert f"2 ({whole.class_counts[2]} pixels) of train" in line
    assert "\n" not in line


def test_a_foreign_value_is_an_error(spec: DatasetSpec) -> None:
    mask = list_samples(spec, "train")[4].mask
    Image.fromarray(np.full((40, 60), 9, np.uint8)).save(mask)
    with pytest.raises(DataError, match=r"004\.png: mask values .* found 9 on 2400 pixels"):
        split_statistics(spec, "train")


def test_real_camvid_shares(camvid: Path) -> None:
    spec = load_dataset_spec("camvid", camvid)
    statistics = split_statistics(spec, "val")
    published = [9.336, 26.412, 0.574, 29.455, 8.870, 16.619, 0.908, 3.131, 1.776, 0.662, 2.256]
    np.testing.assert_allclose(100 * statistics.shares, published, atol=6e-4)
    assert 100 * statistics.ignored_share == pytest.approx(1.703, abs=6e-4)
