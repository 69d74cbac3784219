"""Closed contours of a known form, as points around the origin, before they are turned, scaled and placed."""

from __future__ import annotations

import math
from random import Random

import numpy as np
from numpy.typing import NDArray

from effiseg.scenes.shapes import labels

Points = NDArray[np.float64]

_SAMPLES = 72
_FORMS = (*labels.POLYGONS.values(), *labels.LOBES.values(), *labels.STARS.values(), labels.RING)
_CORNERS = {label: corners for corners, label in labels.POLYGONS.items()}
_LOBES = {label: lobes for lobes, label in labels.LOBES.items()}
_POINTS = {label: points for points, label in labels.STARS.items()}


def random_form(dice: Random) -> int:
    """The label of a closed contour, all equally likely."""
    return dice.choice(_FORMS)


def contour(form: int, dice: Random) -> list[Points]:
    """Outlines (N, 2) of a form of radius about 1: one, or two where it has a hole.

    Corners and lobes vary in size, so that no two of a class are alike, but never in number.
    """
    if form == labels.RING:
        hole = dice.uniform(0.45, 0.7)
        outside = _lobed(2, dice.uniform(0.0, 0.12), dice)
        return [outside, hole * outside]
    if form in _CORNERS:
        return [_corners(_CORNERS[form], (1.0,), dice)]
    if form in _POINTS:
        return [_corners(2 * _POINTS[form], (1.0, dice.uniform(0.35, 0.55)), dice)]
    lobes = _LOBES[form]
    return [_lobed(lobes, dice.uniform(0.22, 0.38) if lobes == 2 else dice.uniform(0.18, 0.3), dice)]


def placed(points: Points, dice_turn: float, squeeze: float, radius: float, center: tuple[float, float]) -> Points:
    """Points squeezed along one axis, turned by `dice_turn` radians, scaled by `radius` and moved to `center`."""
    cosine, sine = math.cos(dice_turn), math.sin(dice_turn)
    x, y = points[:, 0] * radius, points[:, 1] * radius * squeeze
    return np.stack([x * cosine - y * sine + center[0], x * sine + y * cosine + center[1]], axis=1)


def curve(dice: Random, start: tuple[float, float], length: float, turn: float, bend: float) -> Points:
    """An open line (N, 2) from `start`: its direction begins at `turn` radians and wanders by `bend` on the way."""
    steps = 1 if bend == 0.0 else 14
    points = [start]
    swing = dice.choice((-1.0, 1.0)) * bend
    rhythm = dice.uniform(0.5, 1.4)
    for step in range(steps):
        angle = turn + swing * math.sin(2.0 * math.pi * rhythm * step / steps)
        x, y = points[-1]
        points.append((x + length / steps * math.cos(angle), y + length / steps * math.sin(angle)))
    return np.array(points)


def _corners(count: int, radii: tuple[float, ...], dice: Random) -> Points:
    """A polygon whose corners lie at `radii` in turn, each a little astray."""
    points = []
    for index in range(count):
        angle = 2.0 * math.pi * (index + dice.uniform(-0.16, 0.16)) / count
        radius = radii[index % len(radii)] * dice.uniform(0.88, 1.12)
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return np.array(points)


def _lobed(lobes: int, depth: float, dice: Random) -> Points:
    """A smooth outline whose radius swings `lobes` times around."""
    angle = np.linspace(0.0, 2.0 * math.pi, _SAMPLES, endpoint=False)
    radius = 1.0 + depth * np.cos(lobes * angle)
    radius += 0.12 * depth * np.cos((lobes + 1) * angle + dice.uniform(0.0, 2.0 * math.pi))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
