"""Pictures meet networks in the page as they do here: the same bytes, in the same shapes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import torch

from effiseg.config.data import InputResize
from effiseg.data.transforms import UInt8Array, prepare_for_evaluation
from effiseg.inference.framed_network import padded_to
from effiseg.inference.label_map import whole_size

_LEAST_SIDE = 64
CASES: list[tuple[tuple[int, int], tuple[int, int], InputResize]] = [
    ((301, 517), (128, 256), "keep_ratio"),  # areas
    ((256, 512), (128, 256), "keep_ratio"),  # blocks of 2x2
    ((384, 300), (128, 100), "keep_ratio"),  # blocks of 3x3
    ((50, 90), (128, 256), "keep_ratio"),  # growing
    ((128, 256), (128, 256), "keep_ratio"),  # as it is
    ((100, 999), (128, 256), "keep_ratio"),  # padded far
    ((90, 700), (128, 256), "fixed"),  # grows along one axis alone, and shrinks in all
    ((300, 50), (128, 256), "fixed"),  # grows along one axis alone, and grows in all
    ((333, 222), (96, 160), "fixed"),
    *(((211, 173), (150, 97), name) for name in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")),
]


def picture(height: int, width: int, seed: int) -> UInt8Array:
    """Patches of color, and noise, so that every value and every edge occurs."""
    generator = np.random.default_rng(seed)
    patches = generator.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    smooth = cv2.resize(patches, (width, height), interpolation=cv2.INTER_NEAREST).astype(int)
    noise = generator.integers(-40, 41, (height, width, 3))
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def expected(image: UInt8Array, size: tuple[int, int], resize: InputResize) -> tuple[UInt8Array, tuple[int, int]]:
    """What the network reads of a picture here, and the area that it stands for."""
    prepared, valid = prepare_for_evaluation(image, size, resize)
    padded = (max(_LEAST_SIDE, prepared.shape[0]), max(_LEAST_SIDE, prepared.shape[1]))
    pixels = padded_to(torch.from_numpy(prepared.copy()).permute(2, 0, 1), padded)
    return pixels.permute(1, 2, 0).numpy(), whole_size(padded, valid, (image.shape[0], image.shape[1]))


def test_every_rule_of_resizing_gives_the_same_bytes(node: str, tmp_path: Path) -> None:
    images = [picture(*shape, seed) for seed, (shape, _, _) in enumerate(CASES)]
    described = [
        {
            "name": str(number), "height": shape[0], "width": shape[1],
            "model": {"image_size": size, "resize": resize, "least_side": _LEAST_SIDE},
        }
        for number, (shape, size, resize) in enumerate(CASES)
    ]  # fmt: skip
    for number, image in enumerate(images):
        (tmp_path / f"{number}.rgb").write_bytes(image.tobytes())
    (tmp_path / "cases.json").write_text(json.dumps(described))
    script = Path(__file__).with_name("framing.mjs")
    done = subprocess.run([node, script, tmp_path], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    for number, (image, (_, size, resize), found) in enumerate(zip(images, CASES, answers, strict=True)):
        wanted, whole = expected(image, size, resize)
        assert (found["input"], found["whole"]) == (list(wanted.shape[:2]), list(whole)), CASES[number]
        given = np.frombuffer((tmp_path / f"{number}.framed").read_bytes(), np.uint8).reshape(wanted.shape)
        difference = np.abs(given.astype(int) - wanted)
        # Sums of areas are added in another order, so that of two bytes alike near either may come out.
        assert difference.max() <= 1, CASES[number]
        assert (difference > 0).mean() <= 1e-3, CASES[number]


def test_a_wrong_rule_is_seen() -> None:
    """What the comparison above would say of a resizing like a canvas's."""
    image = picture(301, 517, 0)
    wanted, _ = prepare_for_evaluation(image, (128, 256), "fixed")
    other = cv2.resize(image, (256, 128), interpolation=cv2.INTER_LINEAR)
    assert (wanted != other).mean() > 0.5
