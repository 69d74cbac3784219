"""Colours that stay apart, also for readers who see fewer of them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
"""RGB, 0..255."""
ROW_COLOURS = ("#1e6996", "#f0690f", "#c369ff", "#875a2d", "#782dff", "#4ba569", "#d269d2", "#a51ec3")
"""Line colours with a contrast of at least 3:1 on a white and on a dark page; the first five and the baseline's grey
stay apart for all four kinds of vision. Rows differ by marker as well."""
BASELINE_COLOUR = "#808080"
"""Grey, of the row that all others are compared with."""

# Machado, Oliveira & Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
# severity 1.0, on linear RGB.
_VISIONS: dict[str, list[list[float]]] = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# CIE 1976 with the D65 white point.
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


@cache
def colour_blind_safe_palette(count: int) -> tuple[Colour, ...]:
    """Class colours chosen to stay apart for normal and for all three kinds of dichromatic vision.

    Each next colour is the one of a regular grid that lies farthest from all chosen ones under the worst of the
    four visions (CIE 1976 ΔE). Up to about eight classes are safely told apart; with more, the smallest distance
    is still as large as it gets.

    Args:
        count: number of classes, 1..255.

    Returns:
        RGB, 0..255; the same for every call, and a shorter palette is the beginning of a longer one.
    """
    steps = np.array([0, 36, 73, 109, 146, 182, 219, 255])
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    seen = np.stack([seen_as(grid, vision) for vision in _VISIONS])  # (visions, colours, Lab)
    grid, seen = grid[1:-1], seen[:, 1:-1]  # black and white stay free for what is no class
    chosen = [int(np.abs(grid - [0, 109, 182]).sum(1).argmin())]
    nearest = _distance(seen, chosen[0])
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _distance(seen, chosen[-1]))
    return tuple((int(r), int(g), int(b)) for r, g, b in grid[chosen])


def smallest_distance(palette: tuple[Colour, ...]) -> float:
    """How far apart (CIE 1976 ΔE) the two nearest colours of a palette are under the worst of the four visions."""
    seen = np.stack([seen_as(np.array(palette), vision) for vision in _VISIONS])
    apart = np.linalg.norm(seen[:, :, None] - seen[:, None], axis=-1).min(0)
    np.fill_diagonal(apart, np.inf)
    return float(apart.min())


def seen_as(colours: NDArray[np.integer], vision: str) -> NDArray[np.float64]:
    """CIELAB of colours as someone sees them.

    Args:
        colours: (N, 3) RGB, 0..255.
        vision: normal, protanopia, deuteranopia or tritanopia.

    Returns:
        (N, 3) L*, a*, b*.
    """
    linear = _linear_rgb(colours)
    xyz = np.clip(linear @ np.array(_VISIONS[vision]).T, 0, 1) @ _TO_XYZ.T / _WHITE
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _linear_rgb(colours: NDArray[np.integer]) -> NDArray[np.float64]:
    """sRGB bytes as linear light, 0..1."""
    value = np.asarray(colours, np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two #rrggbb colours, 1..21 (WCAG 2)."""
    bright, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def hexadecimal(colour: Colour) -> str:
    """#rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _luminance(colour: str) -> float:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return float((_linear_rgb(np.array([red, green, blue])) * [0.2126, 0.7152, 0.0722]).sum())


def _distance(seen: NDArray[np.float64], index: int) -> NDArray[np.float64]:
    """From every colour to one of them under the worst vision."""
    distance: NDArray[np.float64] = np.linalg.norm(seen - seen[:, index : index + 1], axis=-1).min(0)
    return distance
