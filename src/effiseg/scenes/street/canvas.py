"""The canvas: a pinhole camera over a street, and shapes drawn into image and label at once.

Lengths of the world are metres (x right, y up, z ahead, origin on the ground below the camera). Positions in
the image are fractions of its height, so that a scene has the same shapes at every size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Color = tuple[float, float, float]
Point = tuple[float, float]

NEAREST = 1.0
"""Depth in metres at which everything is cut off."""

_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class View:
    """A pinhole camera above a street that may bend.

    Args:
        aspect: image width / height.
        horizon: its height in the image, 0 top to 1 bottom.
        focal: focal length as a fraction of the image height.
        eye: height of the camera above the ground, metres.
        vanishing: image position (fraction of height) towards which z points.
        offset: where the camera stands across the street, metres right of its middle line.
        yaw: direction of the street at the camera, radians to the right.
        curvature: bend of the street, 1/metres, positive to the right.
    """

    aspect: float
    horizon: float
    focal: float
    eye: float
    vanishing: float
    offset: float
    yaw: float
    curvature: float

    def project(self, x: float, y: float, z: float) -> Point:
        """The image position of a point of the world; depths below `NEAREST` are moved to it."""
        scale = self.focal / (z if z > NEAREST else NEAREST)
        return self.vanishing + x * scale, self.horizon + (self.eye - y) * scale

    def lateral(self, across: float, z: float) -> float:
        """The x of the place `across` metres right of the street's middle line at depth `z`."""
        return across - self.offset + z * (self.yaw + 0.5 * self.curvature * z)

    def direction(self, z: float) -> float:
        """The street's direction at depth `z`, radians to the right of straight ahead."""
        return math.atan(self.yaw + self.curvature * z)


@dataclass(frozen=True)
class Air:
    """Atmosphere between a surface and the camera.

    Args:
        color: colour of the haze, RGB 0..255.
        density: share of light lost per metre.
        sun: where the light comes from, -1 left to 1 right.
        contrast: how much darker a surface in the shade is, 0..1.
        night: whether lamps and windows shine.
        level: brightness of what is lit by the sky alone, 1 by day, less by night.
    """

    color: Color
    density: float
    sun: float
    contrast: float
    night: bool
    level: float

    def through(self, color: Color, z: float, shade: float = 1.0) -> Color:
        """`color`, made `shade` times as bright, seen from `z` metres away."""
        clear = math.exp(-self.density * z)
        haze = 1.0 - clear
        clear *= shade * self.level
        red, green, blue = self.color
        red = color[0] * clear + red * haze
        green = color[1] * clear + green * haze
        blue = color[2] * clear + blue * haze
        # Comparisons, not calls of min: this runs five hundred times a picture.
        return (
            red if red < 255.0 else 255.0,
            green if green < 255.0 else 255.0,
            blue if blue < 255.0 else 255.0,
        )

    def facing(self, normal_x: float) -> float:
        """Brightness of an upright surface whose normal points `normal_x` (-1..1) to the right."""
        return 1.0 - self.contrast * (0.5 - 0.5 * self.sun * normal_x)


class Glow(NamedTuple):
    """A lamp that shines: image position and radius (fractions of the height), and its colour."""

    x: float
    y: float
    radius: float
    color: Color


class Plane(NamedTuple):
    """The pixels of an upright rectangle: where they lie, and which place of it each one shows."""

    rows: slice
    columns: slice
    along: NDArray[np.float32]  # (w,) metres from the rectangle's first corner
    up: NDArray[np.float32]  # (h, w) metres above the ground
    inside: NDArray[np.bool_]  # (h, w)


class Canvas:
    """Image and label as one (H, W, 4) uint8 array: R, G, B and the raw label id.

    One array means that a shape's colour and its label are set by the same call, pixel for pixel.

    Args:
        height: rows.
        width: columns.
        view: the camera.
        air: haze and light.
        noise: (128, 128) float32 about -1..1, the scene's texture, tiled where needed.
    """

    def __init__(self, height: int, width: int, view: View, air: Air, noise: NDArray[np.float32]) -> None:
        self.pixels: NDArray[np.uint8] = np.zeros((height, width, 4), np.uint8)
        self.height, self.width = height, width
        self.view, self.air, self.noise = view, air, noise
        self.glows: list[Glow] = []
        # Slopes of the rays through the pixels, sideways and upwards.
        columns = (np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(height)
        rows = (np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(height)
        self._sideways = (columns - np.float32(view.vanishing)) / np.float32(view.focal)
        self._upwards = (np.float32(view.horizon) - rows) / np.float32(view.focal)

    def pixels_per_metre(self, z: float) -> float:
        """How many pixels a metre at depth `z` takes."""
        return self.view.focal * self.height / max(z, NEAREST)

    def fixed_point(self, points: Sequence[Point]) -> NDArray[np.int32]:
        """Image positions as OpenCV's fixed-point pixel coordinates, (N, 2)."""
        scale = self.height * (1 << _SUBPIXEL_BITS)
        half = 1 << (_SUBPIXEL_BITS - 1)  # OpenCV puts integers on pixel centres
        return np.array([(int(x * scale - half), int(y * scale - half)) for x, y in points], np.int32)

    def fill(self, points: Sequence[Point], color: Color, label: int, z: float, shade: float = 1.0) -> None:
        """Fill a polygon of image positions, at least one pixel wide."""
        red, green, blue = self.air.through(color, z, shade)
        polygon = self.fixed_point(points)
        cv2.fillPoly(self.pixels, [polygon], (red, green, blue, label), cv2.LINE_8, _SUBPIXEL_BITS)

    def stroke(self, points: Sequence[Point], metres: float, color: Color, label: int, z: float) -> None:
        """Draw connected lines `metres` wide, at least one pixel."""
        red, green, blue = self.air.through(color, z)
        thickness = max(1, round(metres * self.pixels_per_metre(z)))
        line = self.fixed_point(points)
        paint = (red, green, blue, label)
        cv2.polylines(self.pixels, [line], False, paint, thickness, cv2.LINE_8, _SUBPIXEL_BITS)

    def disc(self, center: Point, metres: float, color: Color, label: int, z: float) -> None:
        """Draw a disc of radius `metres`, at least one pixel."""
        red, green, blue = self.air.through(color, z)
        x, y = self.fixed_point([center])[0].tolist()
        radius = round(metres * self.pixels_per_metre(z) * (1 << _SUBPIXEL_BITS))
        cv2.circle(self.pixels, (x, y), radius, (red, green, blue, label), -1, cv2.LINE_8, _SUBPIXEL_BITS)

    def veil(self, points: Sequence[Point], color: Color, label: int, z: float, cover: float) -> None:
        """Fill a convex polygon that lets 1 - `cover` of what lies behind it through."""
        polygon = self.fixed_point(points)
        x0, y0 = (polygon.min(axis=0) >> _SUBPIXEL_BITS).clip(0, (self.width, self.height)).tolist()
        x1, y1 = ((polygon.max(axis=0) >> _SUBPIXEL_BITS) + 2).clip(0, (self.width, self.height)).tolist()
        if x1 <= x0 or y1 <= y0:
            return
        region = self.pixels[y0:y1, x0:x1]
        painted = region.copy()
        red, green, blue = self.air.through(color, z)
        moved = polygon - np.array([x0, y0], np.int32) * (1 << _SUBPIXEL_BITS)
        cv2.fillPoly(painted, [moved], (red, green, blue, label), cv2.LINE_8, _SUBPIXEL_BITS)
        label_there = painted[..., 3].copy()
        region[...] = cv2.addWeighted(painted, cover, region, 1.0 - cover, 0.0)
        region[..., 3] = label_there

    def plane(self, x0: float, z0: float, x1: float, z1: float, low: float, high: float) -> Plane | None:
        """The visible pixels of the upright rectangle over the ground line (x0, z0)-(x1, z1).

        Args:
            low: lower edge, metres above the ground.
            high: upper edge.

        Returns:
            The pixels, or None where the rectangle is out of sight.
        """
        view = self.view
        dx, dz = x1 - x0, z1 - z0
        length = math.hypot(dx, dz)
        near = min(z0, z1)
        if max(z0, z1) <= NEAREST or length == 0.0:
            return None
        ends = []
        for x, z in ((x0, z0), (x1, z1)):
            hidden = z < NEAREST
            ends.append(view.project(x0 + (NEAREST - z0) * dx / dz, 0.0, NEAREST) if hidden
                        else view.project(x, 0.0, z))  # fmt: skip
        left, right = sorted(end[0] * self.height for end in ends)
        tops = [view.project(0.0, high, z)[1] for z in (near, max(z0, z1))]
        bottoms = [view.project(0.0, low, z)[1] for z in (near, max(z0, z1))]
        c0, c1 = max(0, math.floor(left)), min(self.width, math.ceil(right) + 1)
        r0 = max(0, math.floor(min(tops) * self.height))
        r1 = min(self.height, math.ceil(max(bottoms) * self.height) + 1)
        if c1 <= c0 or r1 <= r0:
            return None
        ray = self._sideways[c0:c1]
        slope = dx - ray * dz
        slope[np.abs(slope) < 1e-6] = 1e-6  # a ray along the rectangle: it meets it nowhere
        share = (ray * z0 - x0) / slope
        depth = z0 + share * dz
        up = view.eye + self._upwards[r0:r1, None] * depth[None, :]
        seen = (share >= 0.0) & (share <= 1.0) & (depth >= NEAREST)
        inside = (up >= low) & (up <= high) & seen[None, :]
        return Plane(
            slice(r0, r1),
            slice(c0, c1),
            np.asarray(share * length, np.float32),
            np.asarray(up, np.float32),
            inside,
        )

    def paint(self, plane: Plane, painted: NDArray[np.uint8]) -> None:
        """Copy `painted`, (h, w, 4) colours with labels, to where `plane` is inside."""
        region = self.pixels[plane.rows, plane.columns]
        cv2.copyTo(painted, plane.inside.view(np.uint8), region)

    def noise_patch(self, offset: int, cells: int, height: int, width: int) -> NDArray[np.float32]:
        """A (height, width) piece of the scene's noise, `cells` samples to a side, starting at `offset`."""
        row, column = offset % (128 - cells), (offset // 128) % (128 - cells)
        piece = self.noise[row : row + cells, column : column + cells]
        return _stretch(piece, height, width)


def _stretch(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    stretched = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(stretched, np.float32)
