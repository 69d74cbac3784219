"""Drawn pictures: families, their classes, and seed spaces that never meet."""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from effiseg.scenes.pictures import FAMILIES, NO_CLASS, SEED_SPACES, SPLITS, Family, draw_picture, seed_sequence
from effiseg.scenes.shapes import labels
from effiseg.scenes.synthetic import scene_rng


def draw(
    family: Family, number: int, height: int = 64, width: int = 128
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return draw_picture(family, seed_sequence("data", 0, "train", number), height, width)


@pytest.fixture(scope="module")
def shape_counts() -> NDArray[np.int64]:
    """(150, 24) pixels of every class in every picture."""
    drawn = (draw("shapes", number)[1] for number in range(150))
    return np.stack([np.bincount(label.ravel(), minlength=24) for label in drawn])


def test_seed_spaces_and_splits_never_meet() -> None:
    seeds = (0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**63 - 1)
    places = list(product(SEED_SPACES, seeds, SPLITS, (0, 1, 2, 2**32 - 1)))
    states = {tuple(seed_sequence(*place).generate_state(4)) for place in places}
    synthesized = {
        tuple(np.asarray(scene_rng(seed, split, index).bit_generator.seed_seq.generate_state(4)))  # type: ignore[attr-defined]
        for seed, split, index in product(seeds, SPLITS, (0, 1, 2, 999_999))
    }
    assert len(states) == len(places)
    assert not states & synthesized


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_is_a_function_of_its_numbers(family: Family) -> None:
    first, again, other = draw(family, 3), draw(family, 3), draw(family, 4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    image, label = first
    assert (image.shape, image.dtype, label.shape, label.dtype) == ((64, 128, 3), np.uint8, (64, 128), np.uint8)
    assert set(np.unique(label)) <= {*range(len(FAMILIES[family])), NO_CLASS}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(32, 32), (33, 95), (200, 64)])
def test_any_size_is_drawn(family: Family, size: tuple[int, int]) -> None:
    image, label = draw(family, 0, *size)
    assert image.shape == (*size, 3)
    assert label.shape == size


def test_shapes_are_the_same_at_twice_the_size() -> None:
    small, large = draw("shapes", 5, 64, 128)[1], draw("shapes", 5, 128, 256)[1]
    assert (small == large[::2, ::2]).mean() > 0.93


def test_every_class_of_the_shapes_is_drawn_often_enough(shape_counts: NDArray[np.int64]) -> None:
    pictures = (shape_counts > 0).mean(axis=0)
    assert len(labels.NAMES) == 24 == len(set(labels.NAMES))
    assert pictures.min() > 0.08, dict(zip(labels.NAMES, pictures.round(2), strict=True))
    assert shape_counts.sum() == 150 * 64 * 128


def test_color_says_nothing_of_the_class() -> None:
    """Mean colors of the classes differ by less than their spread within a class."""
    colors: dict[int, list[NDArray[np.float64]]] = {}
    for number in range(150):
        image, label = draw("shapes", number)
        for index in np.unique(label):
            colors.setdefault(int(index), []).append(image[label == index].mean(axis=0))
    means = np.array([np.mean(found, axis=0) for found in colors.values()])
    spread = np.mean([np.std(found, axis=0).mean() for found in colors.values()])
    assert means.std(axis=0).max() < 0.5 * spread


def test_pictures_of_version_1_stay() -> None:
    """Whoever draws other pixels raises `pictures.VERSION`, which tells old runs from new ones."""
    digest = hashlib.blake2b(digest_size=8)
    for family in FAMILIES:
        digest.update(draw(family, 1)[1].tobytes())
    assert digest.hexdigest() == "08dfd340b9fbe0e0"
