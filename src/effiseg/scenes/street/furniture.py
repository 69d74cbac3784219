"""Street furniture: lamp posts, traffic lights, signs, and things no class has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from effiseg.scenes.street import labels
from effiseg.scenes.street.canvas import Canvas, Color, Glow, Point
from effiseg.scenes.street.roadside import plaster

_METALS = (
    (60.0, 62.0, 64.0),
    (105.0, 108.0, 110.0),
    (150.0, 152.0, 150.0),
    (45.0, 60.0, 50.0),
    (80.0, 65.0, 50.0),
)
_LAMPS = ((225.0, 45.0, 35.0), (235.0, 175.0, 50.0), (60.0, 215.0, 120.0))


def metal(dice: Random) -> Color:
    """A colour of posts."""
    red, green, blue = dice.choice(_METALS)
    level = dice.uniform(0.6, 1.3)
    return red * level, green * level, blue * level


def draw_lamp_post(canvas: Canvas, dice: Random, x: float, z: float, toward: int) -> None:
    """Draw a lamp post whose arm points to the street (`toward` -1 left, 1 right)."""
    height, reach = dice.uniform(4.5, 9.0), toward * dice.uniform(0.0, 2.4)
    paint, view = metal(dice), canvas.view
    thick = dice.uniform(0.12, 0.22)
    canvas.stroke([view.project(x, 0.0, z), view.project(x, height, z)], thick, paint, labels.POLE, z)
    head = view.project(x + reach, height + 0.2, z)
    canvas.stroke([view.project(x, height, z), head], 0.1, paint, labels.POLE, z)
    tip = view.project(x + reach + toward * 0.4, height + 0.2, z)
    canvas.stroke([head, tip], 0.18, paint, labels.POLE, z)
    if canvas.air.night:
        canvas.glows.append(Glow(*head, 0.7 * view.focal / max(z, 5.0), (255.0, 205.0, 130.0)))


def draw_bollard(canvas: Canvas, dice: Random, x: float, z: float) -> None:
    """Draw a short post."""
    foot, top = canvas.view.project(x, 0.0, z), canvas.view.project(x, dice.uniform(0.8, 1.1), z)
    canvas.stroke([foot, top], 0.13, metal(dice), labels.POLE, z)


def _lamp_box(canvas: Canvas, x: float, up: float, z: float, lit: int) -> None:
    """Draw the housing of a traffic light around (x, up), with one lamp lit."""
    view = canvas.view
    box = [view.project(x + a, up + u, z) for a, u in ((-0.24, -0.58), (0.24, -0.58), (0.24, 0.58), (-0.24, 0.58))]
    canvas.fill(box, (28.0, 30.0, 30.0), labels.TRAFFIC_LIGHT, z)
    for i, color in enumerate(_LAMPS):
        tone = 1.0 / canvas.air.level if i == lit else 0.22
        center = view.project(x, up + 0.34 - 0.34 * i, z)
        canvas.disc(center, 0.13, (color[0] * tone, color[1] * tone, color[2] * tone), labels.TRAFFIC_LIGHT, z)
        if i == lit:
            canvas.glows.append(Glow(*center, 0.16 * view.focal / max(z, 5.0), color))


def draw_traffic_light(canvas: Canvas, dice: Random, x: float, z: float, toward: int, lit: int) -> None:
    """Draw a traffic light; with luck, a second one hangs from an arm over the street."""
    view, paint = canvas.view, metal(dice)
    height = dice.uniform(2.6, 3.4)
    arm = dice.random() < 0.3
    top = dice.uniform(5.2, 6.0) if arm else height + 0.5
    canvas.stroke([view.project(x, 0.0, z), view.project(x, top, z)], 0.14, paint, labels.POLE, z)
    if arm:
        end = x + toward * dice.uniform(3.0, 6.0)
        canvas.stroke([view.project(x, top, z), view.project(end, top, z)], 0.12, paint, labels.POLE, z)
        _lamp_box(canvas, end, top - 0.3, z, lit)
    _lamp_box(canvas, x, height, z, lit)


def _plate(
    canvas: Canvas,
    x: float,
    up: float,
    z: float,
    corners: Sequence[Point],
    size: float,
    color: Color,
    label: int,
    shade: float = 1.0,
) -> None:
    points = [canvas.view.project(x + size * a, up + size * u, z) for a, u in corners]
    canvas.fill(points, color, label, z, shade)


def _polygon(count: int, turn: float) -> list[Point]:
    return [(math.cos(math.tau * i / count + turn), math.sin(math.tau * i / count + turn)) for i in range(count)]


_ROUND, _DIAMOND, _OCTAGON = _polygon(12, 0.0), _polygon(4, 0.0), _polygon(8, math.pi / 8)
_WARNING, _YIELD = _polygon(3, math.pi / 2), _polygon(3, -math.pi / 2)
_SQUARE = [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
_RED, _BLUE, _YELLOW, _WHITE = (
    (185.0, 35.0, 35.0),
    (35.0, 75.0, 160.0),
    (215.0, 175.0, 45.0),
    (225.0, 225.0, 220.0),
)
_SIGNS: tuple[tuple[Sequence[Point], Color, Color], ...] = (
    (_ROUND, _RED, _WHITE), (_ROUND, _BLUE, _BLUE), (_ROUND, _RED, _BLUE), (_WARNING, _RED, _WHITE),
    (_YIELD, _RED, _WHITE), (_DIAMOND, _WHITE, _YELLOW), (_OCTAGON, _RED, _RED), (_SQUARE, _BLUE, _WHITE),
    (_SQUARE, _WHITE, _WHITE), (_SQUARE, _YELLOW, _YELLOW),
)  # fmt: skip


def draw_sign(canvas: Canvas, dice: Random, x: float, z: float) -> None:
    """Draw a post with one or two signs; one in six shows its back, which no class has."""
    view = canvas.view
    height, size = dice.uniform(2.1, 2.9), dice.uniform(0.32, 0.5)
    plates = 2 if dice.random() < 0.3 else 1
    foot, top = view.project(x, 0.0, z), view.project(x, height + size, z)
    canvas.stroke([foot, top], 0.09, metal(dice), labels.POLE, z)
    back = dice.random() < 0.16
    fade = dice.uniform(0.6, 1.15)
    for i in range(plates):
        corners, rim, inner = dice.choice(_SIGNS)
        up = height - 2.0 * size * i
        if back:
            _plate(canvas, x, up, z, corners, size, (120.0, 122.0, 122.0), labels.STATIC)
            continue
        _plate(canvas, x, up, z, corners, size, rim, labels.TRAFFIC_SIGN, fade)
        _plate(canvas, x, up, z, corners, 0.68 * size, inner, labels.TRAFFIC_SIGN, fade)
        if dice.random() < 0.6:
            bar = [(-0.7, -0.22), (0.7, -0.22), (0.7, 0.22), (-0.7, 0.22)]
            mark = (30.0, 30.0, 30.0) if sum(inner) * fade > 380.0 else (215.0, 215.0, 210.0)
            _plate(canvas, x, up, z, bar, 0.5 * size, mark, labels.TRAFFIC_SIGN)


def draw_board(canvas: Canvas, dice: Random, x: float, z: float) -> None:
    """Draw a large direction board on two posts."""
    view = canvas.view
    half, low, high = dice.uniform(0.8, 1.9), dice.uniform(1.6, 3.6), dice.uniform(1.0, 1.6)
    color = dice.choice((_BLUE, _YELLOW, _WHITE, (35.0, 105.0, 70.0)))
    for post in (-0.7 * half, 0.7 * half):
        canvas.stroke(
            [view.project(x + post, 0.0, z), view.project(x + post, low, z)],
            0.12,
            metal(dice),
            labels.POLE,
            z,
        )
    corners = [(-half, low), (half, low), (half, low + high), (-half, low + high)]
    canvas.fill([view.project(x + a, u, z) for a, u in corners], color, labels.TRAFFIC_SIGN, z)
    ink = (225.0, 225.0, 225.0) if sum(color) < 380.0 else (40.0, 40.0, 40.0)
    for row in range(2):
        up = low + high * (0.3 + 0.35 * row)
        line = [view.project(x + a, up, z) for a in (-0.7 * half, dice.uniform(0.0, 0.7) * half)]
        canvas.stroke(line, 0.16, ink, labels.TRAFFIC_SIGN, z)


def draw_thing(canvas: Canvas, dice: Random, x: float, z: float) -> None:
    """Draw something that belongs to no class: a bin, a crate, a pram, a dog."""
    wide, tall = dice.uniform(0.25, 0.7), dice.uniform(0.5, 1.2)
    label = labels.STATIC if dice.random() < 0.75 else labels.DYNAMIC
    color = plaster(dice)
    corners = [(-wide, 0.0), (-wide * 0.9, tall), (wide * 0.9, tall), (wide, 0.0)]
    canvas.fill([canvas.view.project(x + a, u, z) for a, u in corners], color, label, z)
    lid = [(-wide, tall * 0.85), (-wide, tall), (wide, tall), (wide, tall * 0.85)]
    canvas.fill([canvas.view.project(x + a, u, z) for a, u in lid], color, label, z, 0.7)
