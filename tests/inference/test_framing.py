"""What a framing leaves to the network, what it refuses, and its words in a results file."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from effiseg.config.framing import Mode
from effiseg.data.transforms import UInt8Array
from effiseg.errors import UsageError
from effiseg.inference.framed_network import FramedNetwork
from effiseg.inference.framing import Framing, known_size
from effiseg.inference.network import Network
from effiseg.models.metadata import ModelMetadata

ANY_SIZE = Network(lambda images: images, ModelMetadata(names=("a", "b"), image_size=(64, 96), resize="fixed"))
NO_SIZE = Network(lambda images: images, ModelMetadata(names=("a", "b")), source="runs/x")
ONE_SIZE = Network(lambda images: images, ModelMetadata(names=("a", "b")), input_size=(64, 64), source="x.onnx")
LABELS = Network(lambda images: images[:, 0], ANY_SIZE.metadata, "labels", source="x.xml")


@pytest.mark.parametrize(
    ("network", "framing", "words"),
    [
        (ANY_SIZE, Framing(), ([64, 96], "fixed", "whole")),
        (ANY_SIZE, Framing((32, 64), "keep_ratio", flip=True), ([32, 64], "keep_ratio", "whole + mirror image")),
        (ANY_SIZE, Framing(mode="slide"), (None, "fixed", "slide 64x96, stride 40x64")),
        (ANY_SIZE, Framing((128, 192), mode="slide", stride=32), ([128, 192], "fixed", "slide 64x96, stride 32")),
        (NO_SIZE, Framing(mode="slide", window=(32, 32)), (None, "keep_ratio", "slide 32x32, stride 20")),
        (ONE_SIZE, Framing(), ([64, 64], "keep_ratio", "whole")),
        (LABELS, Framing(), ([64, 96], "fixed", "whole")),
    ],
)  # fmt: skip
def test_what_is_left_open_is_the_networks(network: Network, framing: Framing, words: tuple[object, ...]) -> None:
    completed = framing.completed(network)
    assert tuple(completed.described().values()) == words
    assert completed.completed(network) == completed


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (NO_SIZE, {}, "runs/x: does not say its input size; give --image_size HEIGHTxWIDTH"),
        (NO_SIZE, {"mode": "slide"}, "runs/x: does not say its input size; give --window HEIGHTxWIDTH"),
        (ONE_SIZE, {"image_size": (64, 96)}, "x.onnx: --image_size must be the file's own, 64x64"),
        (ONE_SIZE, {"mode": "slide", "window": (64, 96)}, "exported for, 64x64; found 64x96"),
        (LABELS, {"mode": "slide"}, "x.xml: mode slide needs logits"),
        (LABELS, {"flip": True}, "x.xml: flip needs logits"),
        (ANY_SIZE, {"mode": "slide", "stride": 68}, "at most the window's shorter side, 64"),
        (ANY_SIZE, {"stride": 32}, "--stride belongs to --mode slide"),
    ],
)
def test_refusals(network: Network, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Framing(**options).completed(network)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_first_size_that_is_known() -> None:
    assert known_size("x", None, (32, 64), (64, 64)) == (32, 64)
    with pytest.raises(UsageError, match="x: does not say its input size; walk"):
        known_size("x", None, fix="walk")


@pytest.mark.parametrize(("mode", "images"), [("whole", 4), ("slide", 1)])
def test_a_pass_is_filled_with_images_or_with_windows(mode: Mode, images: int) -> None:
    assert Framing(mode=mode).images_per_pass == images


@pytest.mark.parametrize(
    ("network", "framing", "shape"),
    [
        (ANY_SIZE, Framing(), (64, 96)),
        (ANY_SIZE, Framing((50, 96)), (64, 96)),
        (ONE_SIZE, Framing(), (64, 64)),
        (ONE_SIZE, Framing(mode="slide"), (96, 128)),
        (Network(ANY_SIZE.predict, ANY_SIZE.metadata, least_side=64), Framing((32, 32)), (64, 64)),
    ],
)  # fmt: skip
def test_frames_are_padded_to_what_the_network_takes(
    network: Network, framing: Framing, shape: tuple[int, int]
) -> None:
    image: UInt8Array = torch.zeros(80, 100, 3, dtype=torch.uint8).numpy()
    frame = FramedNetwork(network, framing).frame(image)
    assert tuple(frame.pixels.shape) == (3, *shape)
    assert frame.full_size == (80, 100)
