"""Sky, skyline and the ground: road with its marks, sidewalks, strips of terrain, and the shadows on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from effiseg.scenes.street import labels
from effiseg.scenes.street.canvas import Canvas, Color, Point

FARTHEST = 130.0
"""Depth in metres beyond which nothing but ground and skyline is drawn."""


@dataclass(frozen=True)
class Zone:
    """A strip of ground along the street.

    Args:
        start: its left edge, metres right of the street's middle line.
        label: raw label id.
        color: RGB.
        joints: distance of the lines between its slabs, metres; 0 for none.
    """

    start: float
    label: int
    color: Color
    joints: float = 0.0


@dataclass(frozen=True)
class Ground:
    """The ground plan of a street.

    Args:
        zones: strips from left to right; the first one starts at -infinity.
        road: left and right edge of the carriageway.
        lines: places across the street of the painted lines, with the length of their dashes (0: solid).
        mark_strength: how well the paint is kept, 0..1.
        crossing: first and last depth of the street that crosses, if any.
        zebra: whether the crossing has a zebra.
        wear: amplitude of stains and patches.
    """

    zones: Sequence[Zone]
    road: tuple[float, float]
    lines: Sequence[tuple[float, float]]
    mark_strength: float
    crossing: tuple[float, float] | None
    zebra: bool
    wear: float


@dataclass
class Shadows:
    """Darkness on the ground, collected before the ground is drawn."""

    polygons: list[tuple[list[Point], float]] = field(default_factory=list)

    def add(self, points: list[Point], strength: float) -> None:
        """Add a polygon of image positions; `strength` 0 is no shadow, 1 is black."""
        self.polygons.append((points, strength))

    def raster(self, canvas: Canvas, first_row: int) -> NDArray[np.float32]:
        """Light that is left on the ground, (H - first_row, W), 0..1, with soft edges."""
        layer = np.full((canvas.height, canvas.width), 255, np.uint8)
        for points, strength in self.polygons:
            cv2.fillPoly(layer, [canvas.fixed_point(points)], 255.0 * (1.0 - strength), cv2.LINE_8, 4)
        below = cv2.GaussianBlur(layer[first_row:], (0, 0), 0.008 * canvas.height)
        return below.astype(np.float32) * np.float32(1.0 / 255.0)


def draw_sky(canvas: Canvas, dice: Random, zenith: Color, low: Color, cloud: Color, cover: float) -> None:
    """Fill the part above the horizon: a gradient from `zenith` to `low`, with clouds.

    Args:
        canvas: drawn into.
        dice: choices.
        zenith: colour at the top.
        low: colour at the horizon.
        cloud: colour of the clouds.
        cover: share of the sky under clouds, 0..1.
    """
    rows = min(canvas.height, max(1, math.ceil(canvas.view.horizon * canvas.height) + 1))
    height = np.linspace(0.0, 1.0, rows, dtype=np.float32)[:, None, None]
    sky = np.array(zenith, np.float32) * (1.0 - height) + np.array(low, np.float32) * height
    cells = dice.randint(8, 40)
    patch = canvas.noise_patch(dice.randrange(1 << 14), cells, rows, canvas.width)
    opacity = np.clip((patch - (0.9 - 1.8 * cover)) * 1.6, 0.0, 1.0)[:, :, None]
    painted = sky + (np.array(cloud, np.float32) * (1.0 + 0.06 * patch[:, :, None]) - sky) * opacity
    canvas.pixels[:rows, :, :3] = np.clip(painted, 0.0, 255.0)
    canvas.pixels[:rows, :, 3] = labels.SKY


def draw_skyline(canvas: Canvas, dice: Random, town: float, building: Color, leaves: Color) -> None:
    """Draw far blocks of houses and tree tops along the horizon.

    Args:
        canvas: drawn into.
        dice: choices.
        town: share of houses among them, 0..1.
        building: their colour.
        leaves: the trees' colour.
    """
    view = canvas.view
    x, foot = 0.0, view.horizon + 0.012
    while x < view.aspect:
        width = dice.uniform(0.03, 0.3)
        top = view.horizon - dice.uniform(0.01, 0.13)
        shade = dice.uniform(0.8, 1.15)
        if dice.random() < town:
            corners = [(x, foot), (x, top), (x + width, top), (x + width, foot)]
            canvas.fill(corners, building, labels.BUILDING, FARTHEST, shade)
        elif dice.random() < 0.85:
            steps = max(3, int(width / 0.012))
            crown = [(x + width * i / steps, top + dice.uniform(-0.012, 0.012)) for i in range(steps + 1)]
            outline = [(x, foot), *crown, (x + width, foot)]
            canvas.fill(outline, leaves, labels.VEGETATION, FARTHEST, shade)
        x += width * dice.uniform(0.7, 1.1)


def draw_ground(canvas: Canvas, ground: Ground, shadows: Shadows) -> None:
    """Draw everything below the horizon: zones, joints, marks, stains, shadows, haze.

    Args:
        canvas: drawn into.
        ground: the plan.
        shadows: what darkens it.
    """
    view = canvas.view
    first = min(max(math.ceil(view.horizon * canvas.height), 0), canvas.height - 1)
    y = (np.arange(first, canvas.height, dtype=np.float32) + 0.5) / canvas.height
    fall = np.maximum(y - view.horizon, 1e-4)
    depth = np.asarray(np.minimum(view.focal * view.eye / fall, 600.0), np.float32)
    x = (np.arange(canvas.width, dtype=np.float32) + 0.5) / canvas.height - view.vanishing
    bend = depth * (view.yaw + 0.5 * view.curvature * depth) - view.offset
    across = np.asarray(x[None, :] * (depth / view.focal)[:, None] - bend[:, None], np.float32)

    zone = np.zeros(across.shape, np.uint8)
    for later in ground.zones[1:]:
        zone += across >= later.start
    if ground.crossing is not None:
        start, end = ground.crossing
        index = next(i for i, it in enumerate(ground.zones) if it.label == labels.ROAD)
        zone[(depth >= start) & (depth <= end)] = index
    colors = np.array([it.color for it in ground.zones], np.float32)
    ids = np.array([it.label for it in ground.zones], np.uint8)

    light = shadows.raster(canvas, first)
    row = (depth * 3.0).astype(np.int32)[:, None] & 127
    column = (across * 3.0).astype(np.int32) & 127
    light *= 1.0 + ground.wear * canvas.noise[row, column]
    _darken_joints(light, ground, zone, across, depth)
    light *= canvas.air.level
    painted = colors[zone] * light[:, :, None]
    paint = _marks(canvas, ground, across, depth)
    painted += ((np.float32(225.0) * light * paint)[:, :, None]) - painted * paint[:, :, None]
    clear = np.exp(-canvas.air.density * depth)[:, None, None]
    painted *= clear
    painted += (1.0 - clear) * np.array(canvas.air.color, np.float32)
    np.clip(painted, 0.0, 255.0, out=painted)
    canvas.pixels[first:, :, :3] = painted
    canvas.pixels[first:, :, 3] = ids[zone]


def _darken_joints(
    light: NDArray[np.float32],
    ground: Ground,
    zone: NDArray[np.uint8],
    across: NDArray[np.float32],
    depth: NDArray[np.float32],
) -> None:
    """Darken the lines between slabs and along the kerbs, as far as they can be seen."""
    near = depth < 18.0
    if not near.any():
        return
    part = np.nonzero(near)[0][0]
    place, deep, there = across[part:], depth[part:, None], zone[part:]
    for index, it in enumerate(ground.zones):
        if it.joints:
            here = there == index
            fine = deep * 0.004
            lines = (np.mod(place, it.joints) < 0.05 + fine) | (np.mod(deep, it.joints) < 0.08 + fine)
            light[part:][here & lines] *= 0.82
    for edge in ground.road:
        light[part:][np.abs(place - edge) < 0.09 + 0.003 * deep] *= 0.7


def _marks(
    canvas: Canvas, ground: Ground, across: NDArray[np.float32], depth: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How much white paint each pixel shows, (h, W) 0..1: lane lines, stop line, zebra."""
    paint = np.zeros(across.shape, np.float32)
    if ground.mark_strength == 0.0:
        return paint
    pixel = depth / (canvas.view.focal * canvas.height)  # metres a pixel covers across
    half = np.maximum(0.07, 0.5 * pixel)[:, None]
    strength = (ground.mark_strength * np.minimum(1.0, 0.14 / pixel))[:, None]
    outside = np.ones(depth.shape, np.bool_)
    if ground.crossing is not None:
        outside = (depth < ground.crossing[0] - 5.0) | (depth > ground.crossing[1] + 1.0)
    for place, dash in ground.lines:
        drawn = outside if dash == 0.0 else outside & (np.mod(depth, 2.2 * dash) < dash)
        paint += (np.abs(across - place) < half) & drawn[:, None]
    left, right = ground.road
    if ground.crossing is not None:
        before = ground.crossing[0] - depth
        inside = (across > left + 0.3) & (across < right - 0.3)
        stop = (before > 4.2) & (before < 4.7)
        paint += inside & stop[:, None] & (across > 0.5 * (left + right))
        if ground.zebra:
            band = ((before > 0.8) & (before < 3.6))[:, None]
            paint += inside & band & (np.mod(across, 1.0) < 0.5)
    return np.asarray(np.minimum(paint, 1.0) * strength, np.float32)
