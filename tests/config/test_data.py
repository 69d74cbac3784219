"""Image sizes and augmentation presets."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from effiseg.config.data import AUGMENTATION_PRESETS, AugmentationConfig, parse_image_size
from effiseg.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [("512x1024", (512, 1024)), ("32x32", (32, 32)), (" 33 x 47 ", (33, 47)), ("360×480", (360, 480))],
)
def test_image_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_image_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "512x", "x512", "512X1024", "512*1024", "-64x64", "64.0x64", "64x64x3", "1e3x64", "9999999x64"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_image_size(text)
    assert str(caught.value) == f"image_size must be HEIGHTxWIDTH, for example 512x1024; found {text!r}"


@pytest.mark.parametrize("text", ["31x64", "64x31", "0x0", "16x16"])
def test_sizes_under_the_stride(text: str) -> None:
    with pytest.raises(UsageError, match=f"at least 32x32 .*found {text}"):
        parse_image_size(text)


def test_presets_are_whole_and_keep_their_promises() -> None:
    for preset in AUGMENTATION_PRESETS:
        filled = AugmentationConfig().filled_from(preset)
        assert all(getattr(filled, item.name) is not None for item in fields(filled))
    standard, paper, none = (AugmentationConfig().filled_from(name) for name in ("standard", "paper", "none"))
    assert (standard.scale_min, standard.scale_max, standard.flip_probability) == (0.5, 2.0, 0.5)
    assert standard.brightness
    assert standard.hue
    # The published code flips and shifts by at most two pixels, nothing else.
    assert paper == AugmentationConfig(1.0, 1.0, 0.5, 2, 0.0, 0.0, 0.0, 0.0)
    assert none == AugmentationConfig(1.0, 1.0, 0.0, 0, 0.0, 0.0, 0.0, 0.0)


def test_own_knobs_replace_the_presets() -> None:
    own = AugmentationConfig(scale_max=1.5, hue=0.0)
    filled = own.filled_from("standard")
    assert (filled.scale_max, filled.hue, filled.scale_min) == (1.5, 0.0, 0.5)
    assert own.scale_min is None
    assert filled.filled_from("none") == filled


def test_the_scales_must_be_in_order() -> None:
    with pytest.raises(UsageError, match=r"scale_min <= scale_max; found scale_min 3\.0, scale_max 2\.0"):
        AugmentationConfig(scale_min=3.0).filled_from("standard")
    assert AugmentationConfig(scale_min=2.0).filled_from("standard").scale_min == 2.0


@pytest.mark.parametrize(
    ("knob", "wrong", "right"),
    [
        ("scale_min", 0.0, 0.1),
        ("scale_max", math.nan, 4.0),
        ("flip_probability", 1.1, 1.0),
        ("shift_pixels", -1, 0),
        ("brightness", -0.1, 1.0),
        ("contrast", 1.5, 0.0),
        ("saturation", 2.0, 1.0),
        ("hue", 0.6, 0.5),
    ],
)
def test_ranges_of_the_knobs(knob: str, wrong: float, right: float) -> None:
    with pytest.raises(UsageError, match=rf"augmentation\.{knob} must be .*; found {wrong}"):
        AugmentationConfig(**{knob: wrong})
    assert getattr(AugmentationConfig(**{knob: right}), knob) == right
