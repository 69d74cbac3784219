"""Things along the street: houses, walls, fences, hedges, trees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from effiseg.scenes.street import labels
from effiseg.scenes.street.canvas import NEAREST, Canvas, Color, Plane


@dataclass(frozen=True)
class Facade:
    """How a house front looks.

    Args:
        wall: its colour.
        glass: colour of the windows.
        trim: colour of ledges and of the ground floor.
        pitch: distance of windows along the front, metres.
        storey: height of a storey, metres.
        window: share of pitch and of storey that a window takes, each 0..1.
        shops: whether the ground floor has wide shop windows.
        bands: whether windows run through as bands.
    """

    wall: Color
    glass: Color
    trim: Color
    pitch: float
    storey: float
    window: tuple[float, float]
    shops: bool
    bands: bool


def plaster(dice: Random) -> Color:
    """A colour of houses, walls and cars alike: mostly greys and earths, now and then a strong one."""
    grey = dice.uniform(45.0, 225.0)
    tint = dice.gauss(0.0, 14.0)
    if dice.random() < 0.2:
        strong = dice.choice(((0.95, 0.5, 0.4), (0.9, 0.75, 0.45), (0.5, 0.65, 0.9), (0.55, 0.7, 0.55)))
        return tuple(grey * part for part in strong)  # type: ignore[return-value]
    return max(grey + tint, 15.0), max(grey + 0.2 * tint, 15.0), max(grey - tint, 15.0)


def leaf_color(dice: Random) -> Color:
    """A colour of leaves and grass: from dark conifer to autumn and to dry straw."""
    kind = dice.random()
    level = dice.uniform(45.0, 125.0)
    if kind < 0.7:
        return level * dice.uniform(0.55, 0.95), level, level * dice.uniform(0.3, 0.65)
    if kind < 0.85:
        return level * 1.35, level * dice.uniform(0.8, 1.1), level * 0.45
    return level * 0.95, level * 0.9, level * dice.uniform(0.7, 0.85)


def _random_facade(dice: Random) -> Facade:
    """A house front."""
    bands = dice.random() < 0.2
    glass = dice.uniform(25.0, 130.0)
    return Facade(
        wall=plaster(dice),
        glass=(glass * dice.uniform(0.8, 1.0), glass, glass * dice.uniform(1.0, 1.25)),
        trim=plaster(dice),
        pitch=dice.uniform(1.6, 4.2),
        storey=dice.uniform(2.7, 3.8),
        window=(dice.uniform(0.3, 0.75), dice.uniform(0.4, 0.7)),
        shops=dice.random() < 0.4,
        bands=bands,
    )


def _shade_of(canvas: Canvas, x0: float, z0: float, x1: float, z1: float) -> float:
    """Brightness of the side of an upright rectangle that the camera sees."""
    normal = (z1 - z0) / max(math.hypot(x1 - x0, z1 - z0), 1e-6)
    return canvas.air.facing(-abs(normal) if x0 > 0.0 else abs(normal))


def _through(canvas: Canvas, color: Color, label: int, z: float, shade: float) -> tuple[float, ...]:
    return (*canvas.air.through(color, z, shade), float(label))


def _draw_front(
    canvas: Canvas,
    dice: Random,
    facade: Facade,
    start: tuple[float, float],
    end: tuple[float, float],
    height: float,
) -> None:
    """Draw one front of a house over the ground line `start`-`end`, each (x, z) in metres."""
    plane = canvas.plane(*start, *end, 0.0, height)
    if plane is None:
        return
    shade = _shade_of(canvas, *start, *end)
    z = 0.5 * (max(start[1], NEAREST) + max(end[1], NEAREST))
    storeys = plane.up / np.float32(facade.storey)
    cell_v = np.floor(storeys)
    part_v = storeys - cell_v
    share_u, share_v = facade.window
    columns = plane.along / np.float32(facade.pitch)
    cell_u = np.floor(columns)
    part_u = columns - cell_u
    glazed = np.abs(part_v - 0.55) < 0.5 * share_v
    if not facade.bands:
        glazed &= (np.abs(part_u - 0.5) < 0.5 * share_u)[None, :]
    # Blinds, curtains, lamps: each window takes one of four tones by a hash of its place.
    tone = ((cell_v * 7.0)[:, :] + (cell_u * 3.0)[None, :]).astype(np.int32) & 15
    index = np.where(glazed, 2 + tone, 0)
    index[part_v < 0.06] = 1
    if facade.shops:
        ground_floor = storeys < 1.0
        wide = ground_floor & (np.abs(part_u - 0.5) < 0.43)[None, :] & (part_v > 0.1) & (part_v < 0.75)
        index[ground_floor] = 1
        index[wide] = 2
    else:
        index[storeys * facade.storey > height - 0.35] = 1
    palette = [
        _through(canvas, facade.wall, labels.BUILDING, z, shade),
        _through(canvas, facade.trim, labels.BUILDING, z, shade * 0.9),
    ]
    for _ in range(16):
        light = facade.glass
        roll = dice.random()
        if canvas.air.night and roll < 0.35:
            light = (235.0, 205.0, 140.0)
        elif roll > 0.8:
            light = (facade.glass[0] + 60.0, facade.glass[1] + 58.0, facade.glass[2] + 52.0)
        glass_shade = (1.0 / canvas.air.level if light[0] > 230.0 else shade) * dice.uniform(0.8, 1.0)
        palette.append(_through(canvas, light, labels.BUILDING, z, glass_shade))
    _paint_tones(canvas, plane, palette, index)


def _paint_tones(
    canvas: Canvas, plane: Plane, palette: Sequence[tuple[float, ...]], index: NDArray[np.integer[Any]]
) -> None:
    """Paint each pixel of the plane in the color, with its label, that `index` takes from the palette."""
    # Four bytes are taken as one number: several times as fast as rows of an array.
    tones = np.array(palette).astype(np.uint8).view(np.uint32)[:, 0].take(index)
    canvas.paint(plane, tones.view(np.uint8).reshape(*index.shape, 4))


def draw_house(
    canvas: Canvas, dice: Random, side: int, across: float, z0: float, z1: float, height: float, roof: bool
) -> None:
    """Draw a house along the street: its street front, the front that faces the camera, and a pitched roof.

    Args:
        canvas: drawn into.
        dice: choices.
        side: -1 left of the street, 1 right.
        across: distance of its street front from the street's middle line, metres.
        z0: depth where it starts.
        z1: depth where it ends.
        height: of its walls, metres.
        roof: whether a pitched roof stands on it.
    """
    view = canvas.view
    facade = _random_facade(dice)
    near, far = view.lateral(side * across, z0), view.lateral(side * across, z1)
    if roof:
        ridge = height + dice.uniform(1.5, 4.0)
        tiles = (dice.uniform(70, 170), dice.uniform(45, 90), dice.uniform(40, 80))
        tiles = tiles if dice.random() < 0.6 else plaster(dice)
        eaves = [view.project(near, height, z0), view.project(far, height, z1)]
        top = [view.project(far + side * 4.0, ridge, z1), view.project(near + side * 4.0, ridge, z0)]
        gable = [view.project(near + side * 8.0, height, z0)]
        canvas.fill([*eaves, *top], tiles, labels.BUILDING, z0)
        canvas.fill([eaves[0], top[1], *gable], facade.wall, labels.BUILDING, z0, 0.8)
    depth = dice.uniform(8.0, 14.0)
    if z0 > NEAREST:
        _draw_front(canvas, dice, facade, (near, z0), (near + side * depth, z0), height)
    _draw_front(canvas, dice, facade, (near, z0), (far, z1), height)


def draw_wall(
    canvas: Canvas, dice: Random, start: tuple[float, float], end: tuple[float, float], height: float
) -> None:
    """Draw a free-standing wall (concrete, brick, or plastered) over the ground line `start`-`end`."""
    plane = canvas.plane(*start, *end, 0.0, height)
    if plane is None:
        return
    shade = _shade_of(canvas, *start, *end)
    z = 0.5 * (max(start[1], NEAREST) + max(end[1], NEAREST))
    wall, joint = plaster(dice), dice.uniform(0.6, 0.9)
    pitch = dice.choice((0.5, 1.0, 2.5, 5.0))
    lines = np.mod(plane.along, pitch)[None, :] < 0.06 + 0.002 * z
    course = dice.choice((0.3, 0.6, 4.0))
    index = (lines | (np.mod(plane.up, course) < 0.05)).astype(np.int32)
    index[plane.up > height - 0.15] = 2
    palette = [_through(canvas, wall, labels.WALL, z, shade * tone) for tone in (1.0, joint, 1.12)]
    _paint_tones(canvas, plane, palette, index)


def draw_fence(
    canvas: Canvas, dice: Random, start: tuple[float, float], end: tuple[float, float], height: float
) -> None:
    """Draw a fence over the ground line `start`-`end`: what lies behind shines through."""
    plane = canvas.plane(*start, *end, 0.0, height)
    if plane is None:
        return
    z = 0.5 * (max(start[1], NEAREST) + max(end[1], NEAREST))
    paint = plaster(dice) if dice.random() < 0.4 else (dice.uniform(25, 120),) * 3
    style = dice.choice(("pickets", "rails", "mesh"))
    along, up = plane.along, plane.up
    post = np.mod(along, 2.5)[None, :] < 0.12 + 0.002 * z
    rail = (up > height - 0.12) | (np.abs(up - 0.25) < 0.06)
    solid = post | rail
    cover = 0.12
    if style == "pickets":
        gap = max(0.22, 3.0 / canvas.pixels_per_metre(z))
        solid |= (np.mod(along, gap) < 0.5 * gap)[None, :]
    elif style == "rails":
        solid |= np.mod(up, 0.4) < 0.14
    else:
        cover = 0.45
    color = np.array(_through(canvas, paint, labels.FENCE, z, 1.0)[:3], np.float32)
    region = canvas.pixels[plane.rows, plane.columns]
    amount = np.where(solid, np.float32(1.0), np.float32(cover))[:, :, None]
    painted = np.empty(region.shape, np.uint8)
    painted[..., :3] = region[..., :3] * (1.0 - amount) + color * amount
    painted[..., 3] = labels.FENCE
    canvas.paint(plane, painted)


def draw_hedge(
    canvas: Canvas,
    dice: Random,
    start: tuple[float, float],
    end: tuple[float, float],
    height: float,
    leaves: Color,
) -> None:
    """Draw a hedge or an edge of a wood over the ground line `start`-`end`, with a ragged top."""
    plane = canvas.plane(*start, *end, 0.0, height * 1.15)
    if plane is None:
        return
    shade = _shade_of(canvas, *start, *end)
    z = 0.5 * (max(start[1], NEAREST) + max(end[1], NEAREST))
    rough = _world_noise(canvas, plane, 5.0 if height < 3.0 else 2.0, dice.randrange(128))
    plane.inside[...] &= plane.up <= height * (1.0 + 0.15 * rough)
    tone = shade * (0.75 + 0.35 * np.clip(plane.up / height, 0.0, 1.0) + 0.4 * rough)
    _paint_leaves(canvas, plane, leaves, np.maximum(tone, 0.15), z)


def _world_noise(canvas: Canvas, plane: Plane, per_metre: float, offset: int) -> NDArray[np.float32]:
    row = (plane.up * per_metre).astype(np.int32) & 127
    column = ((plane.along * per_metre).astype(np.int32) + offset) & 127
    values: NDArray[np.float32] = canvas.noise[row, column[None, :]]
    return values


def _paint_leaves(canvas: Canvas, plane: Plane, leaves: Color, tone: NDArray[np.float32], z: float) -> None:
    clear = math.exp(-canvas.air.density * z)
    painted = np.empty((*tone.shape, 4), np.uint8)
    for channel in range(3):
        value = leaves[channel] * clear * canvas.air.level * tone + canvas.air.color[channel] * (1.0 - clear)
        painted[..., channel] = np.minimum(value, 255.0)
    painted[..., 3] = labels.VEGETATION
    canvas.paint(plane, painted)


def draw_tree(canvas: Canvas, dice: Random, x: float, z: float, height: float, radius: float, leaves: Color) -> None:
    """Draw a tree: a trunk and a crown of leaves with a ragged outline and holes.

    Args:
        canvas: drawn into.
        dice: choices.
        x: right of the camera, metres.
        z: depth, metres.
        height: of its top above the ground, metres.
        radius: of its crown across, metres.
        leaves: their colour.
    """
    view = canvas.view
    crown_low = height * dice.uniform(0.2, 0.4)
    trunk = dice.uniform(35.0, 95.0)
    bark = (trunk * 1.1, trunk, trunk * 0.85)
    foot, top = view.project(x, 0.0, z), view.project(x + dice.uniform(-0.4, 0.4), height * 0.7, z)
    canvas.stroke([foot, top], dice.uniform(0.18, 0.4), bark, labels.VEGETATION, z)
    plane = canvas.plane(x - radius * 1.2, z, x + radius * 1.2, z, crown_low, height * 1.1)
    if plane is None or plane.inside.size == 0:
        return
    rows, columns = plane.up.shape
    cells = dice.randint(10, 26)
    rough = canvas.noise_patch(dice.randrange(1 << 14), cells, rows, columns)
    middle, half = 0.5 * (crown_low + height), 0.5 * (height - crown_low)
    side = (plane.along - radius * 1.2)[None, :] / radius
    rise = (plane.up - middle) / half
    density = dice.uniform(0.3, 0.7)
    plane.inside[...] &= side * side + rise * rise + density * rough < 1.0
    fine = canvas.noise_patch(dice.randrange(1 << 14), min(3 * cells, 100), rows, columns)
    sun = canvas.air.sun * canvas.air.contrast
    tone = 0.85 + 0.2 * rise + 0.35 * sun * side + 0.25 * rough + 0.3 * fine
    _paint_leaves(canvas, plane, leaves, np.maximum(tone, 0.15), z)
