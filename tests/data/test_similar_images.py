from __future__ import annotations

import cv2
import numpy as np
import pytest

from effiseg.data.check_pair import Picture, describe_picture
from effiseg.data.similar_images import MAXIMUM_BITS, _near_pairs, shared_images, similar_images


def scene(seed: int, noise: float = 8) -> np.ndarray:
    """(96, 128, 3) smooth random shapes with some noise, as photographs have."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (5, 7, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (128, 96), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + generator.normal(0, noise, smooth.shape), 0, 255).astype(np.uint8)


def found(images: dict[str, tuple[str, np.ndarray]]) -> tuple[list[set[str]], list[set[str]]]:
    """Groups of equal images, and pairs of similar ones, by name."""
    pictures = [describe_picture(pixels) for _, pixels in images.values()]
    splits, files = [split for split, _ in images.values()], list(images)
    shared, similar = shared_images(pictures, splits, files), similar_images(pictures, splits, files)
    return [set(finding.files) for finding in shared], [set(finding.files) for finding in similar]


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: jpeg(image, 50),
        lambda image: cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA),
        lambda image: np.clip(image * 0.9 + 10, 0, 255).astype(np.uint8),
    ],
    ids=["compressed", "reduced", "brightened"],
)
def test_a_changed_copy_in_another_split_is_found(change) -> None:
    for seed in range(8):
        image = scene(seed)
        equal, similar = found({"a": ("train", image), "b": ("val", change(image)), "c": ("val", scene(100 + seed))})
        assert equal == []
        assert similar == [{"a", "b"}]


def test_different_and_flat_images_are_not_alike() -> None:
    images = {
        f"{split}{seed}": (split, scene(seed + 50 * (split == "val")))
        for split in ("train", "val")
        for seed in range(40)
    }
    images |= {f"{split} flat": (split, np.full((9, 9, 3), len(split), np.uint8)) for split in ("train", "val")}
    assert found(images) == ([], [])


def test_copies_within_a_split_are_not_similar_but_equal_ones_are_named() -> None:
    image = scene(0)
    equal, similar = found({"a": ("train", image), "b": ("train", jpeg(image, 50)), "c": ("train", image.copy())})
    assert equal == [{"a", "c"}]
    assert similar == []


def test_equal_pixels_are_shared_whatever_their_number() -> None:
    image = scene(0)
    images = {name: (split, image) for name, split in (("a", "train"), ("b", "val"), ("c", "val"))}
    equal, similar = found(images)
    assert equal == [{"a", "b", "c"}]
    assert similar == []
    # The shape belongs to the content: these two hold the same bytes.
    assert found({"a": ("train", image), "b": ("val", image.reshape(128, 96, 3))})[0] == []


def test_buckets_find_what_comparing_all_pairs_finds() -> None:
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, 300, dtype=np.uint64)
    for index in range(0, 300, 3):  # neighbours of others by 0 to 5 bits
        bits = generator.choice(64, index % 6, replace=False)
        hashes[index] = int(hashes[index + 1]) ^ sum(1 << int(bit) for bit in bits)
    hashes[200:260] = hashes[200] & np.uint64(0xFFFF)
    splits = [("train", "val", "test")[index % 3] for index in range(300)]
    expected = {
        (a, b)
        for b in range(300)
        for a in range(b)
        if splits[a] != splits[b] and (int(hashes[a]) ^ int(hashes[b])).bit_count() <= MAXIMUM_BITS
    }
    assert _near_pairs(hashes, splits) == expected
    assert len(expected) > 100
    assert _near_pairs(hashes[:0], []) == set()


def test_unreadable_images_are_passed_over() -> None:
    picture = describe_picture(scene(0))
    assert isinstance(picture, Picture)
    assert shared_images([None, picture, None], ["train", "val", "val"], ["a", "b", "c"]) == []
    assert similar_images([None, picture, None], ["train", "val", "val"], ["a", "b", "c"]) == []
