from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from effiseg.config.data import AugmentationConfig
from effiseg.data.transforms import (
    PADDING_COLOUR,
    TrainingTransform,
    pad_to_multiple,
    prepare_for_evaluation,
    resize_image,
    resize_mask,
    resized_shape,
    vary_colours,
)

NONE = AugmentationConfig().filled_from("none")
PAPER = AugmentationConfig().filled_from("paper")
STANDARD = AugmentationConfig().filled_from("standard")


class Draws:
    """A generator whose numbers are known."""

    def __init__(self, **draws: float) -> None:
        order = [
            "scale",
            "row",
            "column",
            "brightness",
            "contrast",
            "saturation",
            "hue",
            "flip",
            "down",
            "right",
        ]
        self.values = np.array([draws.get(name, 0.5) for name in order])

    def random(self, count: int) -> np.ndarray:
        assert count == len(self.values)
        return self.values


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def blocks(height: int, width: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image whose grey is 20 × its label, in blocks."""
    small = generator(seed).integers(0, 10, (-(-height // size), -(-width // size)), dtype=np.uint8)
    label = np.repeat(np.repeat(small, size, axis=0), size, axis=1)[:height, :width]
    return np.repeat(label[..., None] * 20, 3, axis=2), np.ascontiguousarray(label)


@pytest.mark.parametrize(
    ("shape", "image_size", "resize", "expected"),
    [
        ((1024, 2048), (512, 1024), "keep_ratio", (512, 1024)),
        ((360, 480), (192, 256), "keep_ratio", (192, 256)),
        ((480, 360), (192, 256), "keep_ratio", (192, 144)),
        ((100, 1000), (64, 64), "keep_ratio", (6, 64)),
        ((1, 1000), (64, 64), "keep_ratio", (1, 64)),
        ((10, 20), (64, 64), "keep_ratio", (32, 64)),
        ((10, 20), (64, 96), "fixed", (64, 96)),
    ],
)
def test_resized_shape(shape, image_size, resize, expected) -> None:
    assert resized_shape(shape, image_size, resize) == expected


@pytest.mark.parametrize("shape", [(37, 53), (64, 64), (200, 31)])
@pytest.mark.parametrize("resize", ["keep_ratio", "fixed"])
def test_evaluation_pads_to_a_multiple_of_32_at_the_right_and_the_bottom(shape, resize) -> None:
    image = np.full((*shape, 3), 7, dtype=np.uint8)
    padded, (height, width) = prepare_for_evaluation(image, (48, 80), resize)
    assert (height, width) == resized_shape(shape, (48, 80), resize)
    assert padded.shape[0] % 32 == padded.shape[1] % 32 == 0
    assert padded.shape[0] - height < 32
    assert padded.shape[1] - width < 32
    assert (padded[:height, :width] == 7).all()
    outside = np.ones(padded.shape[:2], bool)
    outside[:height, :width] = False
    assert (padded[outside] == PADDING_COLOUR).all()


def test_what_fits_is_left_alone() -> None:
    image, _ = blocks(64, 96, 5)
    assert pad_to_multiple(image) is image
    assert resize_image(image, (64, 96)) is image
    np.testing.assert_array_equal(prepare_for_evaluation(image, (64, 96), "keep_ratio")[0], image)


@pytest.mark.parametrize("target", [(30, 45), (20, 30), (120, 180), (77, 101), (180, 270)])
def test_masks_take_the_pixel_under_their_centre(target) -> None:
    """Nearest by half-pixel centres, where OpenCV's INTER_NEAREST would be shifted by up to half a pixel."""
    _, mask = blocks(60, 90, 1)
    scaled = resize_mask(mask, target)
    centres = [(np.arange(n) + 0.5) * m / n for n, m in zip(target, mask.shape, strict=True)]
    agrees = np.zeros(target, bool)
    # Where a centre lies exactly between two pixels either is right.
    for rows in (np.floor(centres[0]), np.ceil(centres[0]) - 1):
        for columns in (np.floor(centres[1]), np.ceil(centres[1]) - 1):
            agrees |= scaled == mask[np.ix_(rows.astype(int), columns.astype(int))]
    assert agrees.all()


@pytest.mark.parametrize("resize", ["keep_ratio", "fixed"])
@pytest.mark.parametrize("shape", [(120, 200), (90, 70), (33, 47), (300, 500)])
def test_image_and_mask_go_together(shape, resize) -> None:
    """The label can be read off the image after any geometry: it changes where the image is half-way.

    Half a pixel between the two would show at every border.
    """
    colourless = replace(STANDARD, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, shift_pixels=9)
    transform = TrainingTransform((96, 128), resize, colourless)
    seen = 0
    for seed in range(24):
        side = shape[seed % 2]
        stripe = (generator(seed).permutation(side // 6 + 1)[np.arange(side) // 6] % 2).astype(np.uint8)
        label = np.broadcast_to(stripe[:, None] if seed % 2 == 0 else stripe, shape).copy()
        image = np.repeat(label[..., None] * 200, 3, axis=2)
        image, label = transform(image, label, generator(seed))
        assert image.shape == (96, 128, 3)
        assert label.shape == (96, 128)
        assert image.dtype == label.dtype == np.uint8
        assert image.flags.c_contiguous
        assert label.flags.c_contiguous
        assert (image[label == 255] == PADDING_COLOUR).all()
        grey, labels = image[..., 0][label != 255].astype(int), label[label != 255]
        seen += int((labels == 1).sum())
        assert (labels[grey > 102] == 1).all()
        assert (labels[grey < 98] == 0).all()
    assert seen > 24 * 1000


def test_flips_are_joint_and_exact() -> None:
    image, label = blocks(64, 96, 7)
    transform = TrainingTransform((64, 96), "keep_ratio", replace(NONE, flip_probability=0.5))
    flipped = transform(image, label, Draws(flip=0.49))
    np.testing.assert_array_equal(flipped[0], image[:, ::-1])
    np.testing.assert_array_equal(flipped[1], label[:, ::-1])
    kept = transform(image, label, Draws(flip=0.5))
    np.testing.assert_array_equal(kept[0], image)
    np.testing.assert_array_equal(kept[1], label)


@pytest.mark.parametrize(("draw", "shift"), [(0.0, -2), (0.3, -1), (0.5, 0), (0.7, 1), (0.999, 2)])
def test_paper_shifts_by_whole_pixels_and_fills_with_padding(draw, shift) -> None:
    image, label = blocks(64, 96, 7)
    moved_image, moved_label = TrainingTransform((64, 96), "keep_ratio", PAPER)(
        image, label, Draws(flip=0.9, down=draw)
    )
    expected = np.full_like(label, 255)
    rows = slice(max(shift, 0), 64 + min(shift, 0))
    source = slice(max(-shift, 0), 64 - max(shift, 0))
    expected[rows] = label[source]
    np.testing.assert_array_equal(moved_label, expected)
    np.testing.assert_array_equal(moved_image[rows], image[source])


def test_none_pads_where_evaluation_pads() -> None:
    image, label = blocks(50, 96, 7)
    result, labels = TrainingTransform((64, 96), "keep_ratio", NONE)(image, label, generator(0))
    evaluated, (height, width) = prepare_for_evaluation(image, (64, 96), "keep_ratio")
    np.testing.assert_array_equal(result, evaluated)
    np.testing.assert_array_equal(labels[:height, :width], label)
    assert (labels[height:] == 255).all()


def test_padding_takes_the_data_sets_ignore_index() -> None:
    image, label = blocks(20, 96, 7)
    labels = TrainingTransform((64, 96), "keep_ratio", NONE, ignore_index=99)(image, label, generator(0))[1]
    assert (labels[20:] == 99).all()


def test_scale_and_place_reach_their_limits() -> None:
    image, label = blocks(64, 64, 8)
    transform = TrainingTransform((64, 64), "fixed", replace(NONE, scale_min=0.5, scale_max=2.0))
    small = transform(image, label, Draws(scale=0.0, row=0.0, column=0.999))[1]
    assert (small[:32, 32:] != 255).all()
    assert (small != 255).sum() == 32 * 32
    large = transform(image, label, Draws(scale=0.99999999, row=0.999, column=0.0))[1]
    np.testing.assert_array_equal(large, resize_mask(np.ascontiguousarray(label[32:, :32]), (64, 64)))


def test_neutral_colours_change_nothing_and_pixels_stay_in_range() -> None:
    image = generator(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    assert vary_colours(image, brightness=1, contrast=1, saturation=1, hue=0) is image
    # Through the matrix: one full turn of the hue, rounding allowed.
    turned = vary_colours(image, brightness=1, contrast=1, saturation=1, hue=1.0)
    assert np.abs(turned.astype(int) - image).max() <= 1
    assert vary_colours(image, brightness=9, contrast=1, saturation=1, hue=0).max() == 255


def test_colour_factors_do_what_they_say() -> None:
    image = generator(0).integers(60, 180, (32, 48, 3), dtype=np.uint8)
    grey = image @ np.array([0.299, 0.587, 0.114])

    def change(**factors: float) -> np.ndarray:
        neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
        return vary_colours(image, **(neutral | factors)).astype(float)

    assert np.abs(change(brightness=1.3) - 1.3 * image).max() <= 1
    assert np.abs(change(contrast=0.7) - (0.7 * image + 0.3 * grey.mean())).max() <= 1
    assert np.abs(change(saturation=0.0) - grey[..., None]).max() <= 1
    assert np.abs(change(saturation=1.2) - (1.2 * image - 0.2 * grey[..., None])).max() <= 1
    turned = change(hue=0.05)
    assert np.abs(turned @ np.array([0.299, 0.587, 0.114]) - grey).max() <= 1.5
    assert np.abs(turned - image).mean() > 3
    greys = np.repeat(image[..., :1], 3, axis=2)
    assert np.abs(vary_colours(greys, brightness=1, contrast=1, saturation=1.5, hue=0.3).astype(int) - greys).max() <= 1


def test_a_knob_changes_its_own_effect_only() -> None:
    image, label = blocks(120, 200, 20)
    first = TrainingTransform((96, 128), "keep_ratio", STANDARD)(image, label, generator(5))
    without_colours = replace(STANDARD, brightness=0.0, hue=0.0)
    second = TrainingTransform((96, 128), "keep_ratio", without_colours)(image, label, generator(5))
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], second[0])
