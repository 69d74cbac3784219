"""The plan of a street: its cross-section, and what stands and moves where. No pixel is drawn here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Literal

from effiseg.scenes.street import furniture, labels, roadside
from effiseg.scenes.street.canvas import NEAREST, Canvas, Color, View
from effiseg.scenes.street.ground import FARTHEST, Ground, Shadows, Zone

Character = Literal["town", "suburb", "green", "industry"]
Drawer = Callable[[Canvas, Random], None]


@dataclass(frozen=True)
class Side:
    """One side of the street: distances from the middle line to where each strip ends, metres."""

    road: float
    parking: float
    strip: float
    walk: float


@dataclass(frozen=True)
class Street:
    """A street: its character, both sides (left, right), the ground plan, and where it is crossed."""

    character: Character
    sides: tuple[Side, Side]
    ground: Ground
    leaves: Color
    tram: float | None


class Scene:
    """The drawing list: things with their depth, and the shadows they cast.

    Args:
        view: the camera.
        sun: -1 light from the left, 1 from the right.
        hardness: strength of cast shadows, 0..1.
        dice: choices.
    """

    def __init__(self, view: View, sun: float, hardness: float, dice: Random) -> None:
        self.view, self.sun, self.hardness, self.dice = view, sun, hardness, dice
        self.shadows = Shadows()
        self.things: list[tuple[float, int, Drawer]] = []

    def add(self, z: float, drawer: Drawer) -> None:
        """Add a thing; what is farther away is drawn first. Each thing has dice of its own, so that whether
        a pixel of it is in sight changes nothing else."""
        self.things.append((z, self.dice.getrandbits(48), drawer))

    def draw(self, canvas: Canvas) -> None:
        """Draw all things, far to near."""
        for _, seed, drawer in sorted(self.things, key=lambda thing: -thing[0]):
            drawer(canvas, Random(seed))

    def shade(self, x: float, z: float, half_x: float, half_z: float, reach: float) -> None:
        """Darken the ground under and beside a thing that stands at (x, z)."""
        if z - half_z < NEAREST:
            return
        shift = -self.sun * reach * self.hardness
        low, high = min(0.0, shift), max(0.0, shift)
        view = self.view
        corners = [(-half_x, -half_z), (half_x, -half_z), (half_x, half_z), (-half_x, half_z)]
        self.shadows.add([view.project(x + a, 0.0, z + b) for a, b in corners], 0.5)
        if self.hardness > 0.3:
            cast = [
                (low - half_x, -half_z),
                (high + half_x, -half_z),
                (high + half_x, half_z),
                (low - half_x, half_z),
            ]
            self.shadows.add([view.project(x + a, 0.0, z + b) for a, b in cast], 0.75 * self.hardness)


def random_view(dice: Random, aspect: float) -> View:
    """A camera behind a windscreen."""
    return View(
        aspect=aspect,
        horizon=dice.uniform(0.33, 0.48),
        focal=dice.uniform(1.2, 2.3),
        eye=dice.uniform(1.15, 2.0),
        vanishing=aspect * dice.uniform(0.38, 0.62),
        offset=dice.uniform(0.2, 2.8),
        yaw=dice.gauss(0.0, 0.04),
        curvature=dice.gauss(0.0, 0.0016),
    )


def random_street(dice: Random) -> Street:
    """The cross-section of a street and the colours of its ground."""
    character: Character = dice.choices(("town", "suburb", "green", "industry"), (50, 25, 15, 10))[0]
    base = dice.uniform(55.0, 150.0)
    tint = dice.gauss(0.0, 4.0)
    asphalt: Color = (base + tint, base, base - tint)
    slab = base * dice.uniform(0.8, 1.6) + dice.uniform(-10.0, 25.0)
    paving: Color = (slab * dice.uniform(0.97, 1.12), slab, slab * dice.uniform(0.85, 1.03))
    leaves, grass = roadside.leaf_color(dice), roadside.leaf_color(dice)
    if dice.random() < 0.25:
        grass = (dice.uniform(95, 150), dice.uniform(85, 125), dice.uniform(60, 100))
    sides = (_random_side(dice, character), _random_side(dice, character))
    joints = dice.choice((0.0, 0.0, 0.5, 1.0, 2.0))
    beyond = labels.TERRAIN if character != "town" or dice.random() < 0.3 else labels.GROUND
    zones = [Zone(-math.inf, beyond, grass if beyond == labels.TERRAIN else paving)]
    left, right = sides
    bay_label = labels.PARKING if dice.random() < 0.35 else labels.ROAD
    worn = dice.uniform(0.85, 1.2)
    bay: Color = (asphalt[0] * worn, asphalt[1] * worn, asphalt[2] * worn)

    def strip(start: float, end: float, label: int, color: Color, lines: float = 0.0) -> None:
        if end - start > 0.05:
            zones.append(Zone(start, label, color, lines))

    strip(-left.walk, -left.strip, labels.SIDEWALK, paving, joints)
    strip(-left.strip, -left.parking, labels.TERRAIN, grass)
    strip(-left.parking, -left.road, bay_label, bay)
    zones.append(Zone(-left.road, labels.ROAD, asphalt))
    tram = None
    if dice.random() < 0.14:
        tram = -0.5 * left.road
        strip(tram - 1.3, tram + 1.3, labels.RAIL_TRACK if dice.random() < 0.5 else labels.ROAD, bay, 1.45)
        zones.append(Zone(tram + 1.3, labels.ROAD, asphalt))
    strip(right.road, right.parking, bay_label, bay)
    strip(right.parking, right.strip, labels.TERRAIN, grass)
    strip(right.strip, right.walk, labels.SIDEWALK, paving, joints)
    zones.append(Zone(right.walk, zones[0].label, zones[0].color))
    dash = dice.choice((0.0, 3.0, 4.0, 6.0))
    lines = [(0.0, dash)]
    for edge in (-left.road, right.road):
        if abs(edge) > 6.0:
            lines.append((0.5 * edge, 4.0))
        if dice.random() < 0.4:
            lines.append((edge - math.copysign(0.35, edge), 0.0))
    crossing = None
    if dice.random() < 0.38:
        start = dice.uniform(14.0, 55.0)
        crossing = (start, start + dice.uniform(6.0, 14.0))
    marks = 0.0 if dice.random() < 0.2 else dice.uniform(0.3, 1.0)
    ground = Ground(
        zones, (-left.road, right.road), lines, marks, crossing, dice.random() < 0.5, dice.uniform(0.03, 0.16)
    )
    return Street(character, sides, ground, leaves, tram)


def _random_side(dice: Random, character: Character) -> Side:
    road = dice.choice((dice.uniform(2.8, 4.0), dice.uniform(3.2, 5.5), dice.uniform(6.2, 7.5)))
    parking = road + (dice.uniform(1.9, 2.4) if dice.random() < 0.4 else 0.0)
    green = 0.12 if character == "town" else 0.4
    strip = parking + (dice.uniform(0.8, 3.5) if dice.random() < green else 0.0)
    walk = strip + (dice.uniform(1.3, 5.0) if dice.random() < 0.92 else 0.3)
    return Side(road, parking, strip, walk)


def add_roadside(scene: Scene, street: Street) -> None:
    """Add what stands along both sides, segment after segment."""
    dice = scene.dice
    weights = {
        "town": (76, 4, 5, 6, 9),
        "suburb": (46, 6, 11, 15, 22),
        "green": (10, 4, 10, 20, 56),
        "industry": (42, 18, 24, 6, 10),
    }[street.character]
    for side, section in ((-1, street.sides[0]), (1, street.sides[1])):
        setback = dice.uniform(0.1, 1.5) if street.character in ("town", "industry") else dice.uniform(2.5, 9.0)
        storeys = dice.uniform(2.8, 7.0) if street.character == "town" else dice.uniform(1.2, 3.4)
        z = dice.uniform(-6.0, 6.0)
        while z < FARTHEST - 20.0:
            length = dice.uniform(7.0, 26.0)
            end = z + length
            crossing = street.ground.crossing
            if crossing is not None and z < crossing[1] and end > crossing[0]:
                if crossing[0] - z < 3.0:
                    z = crossing[1] + dice.uniform(0.0, 3.0)
                    continue
                end = crossing[0]
            if end > NEAREST + 0.5:
                kind = dice.choices(("house", "wall", "fence", "hedge", "trees"), weights)[0]
                _add_segment(scene, street, side, section.walk, max(z, NEAREST), end, kind, setback, storeys)
            z = end + (0.0 if dice.random() < 0.65 else dice.uniform(0.5, 6.0))


def _add_segment(
    scene: Scene,
    street: Street,
    side: int,
    edge: float,
    z0: float,
    z1: float,
    kind: str,
    setback: float,
    storeys: float,
) -> None:
    """Add one stretch of the roadside between the depths `z0` and `z1`."""
    dice, view = scene.dice, scene.view
    line = ((view.lateral(side * edge, z0), z0), (view.lateral(side * edge, z1), z1))
    if kind == "house":
        height = max(3.2, 3.2 * (storeys + dice.gauss(0.0, 0.8)))
        roof = dice.random() < (0.75 if street.character == "suburb" else 0.25)
        across = edge + setback
        if side * scene.sun > 0.0 and scene.hardness > 0.3:
            reach = edge + setback - dice.uniform(0.5, 1.0) * height * 1.2
            ground = [(across, z0), (reach, z0), (reach, z1), (across, z1)]
            outline = [view.project(view.lateral(side * a, z), 0.0, z) for a, z in ground]
            scene.shadows.add(outline, 0.75 * scene.hardness)
        scene.add(z1, lambda canvas, own: roadside.draw_house(canvas, own, side, across, z0, z1, height, roof))
        if setback > 2.0 and dice.random() < 0.55:
            front = dice.choices(("fence", "hedge", "wall"), (4, 4, 3))[0]
            _add_segment(scene, street, side, edge, z0, z1, front, 0.0, 0.0)
        return
    leaves = roadside.leaf_color(dice) if dice.random() < 0.3 else street.leaves
    match kind:
        case "wall":
            high = dice.uniform(0.7, 3.0)
            scene.add(z1 - 0.1, lambda canvas, own: roadside.draw_wall(canvas, own, *line, high))
        case "fence":
            tall = dice.uniform(0.8, 2.2)
            scene.add(z1 - 0.1, lambda canvas, own: roadside.draw_fence(canvas, own, *line, tall))
        case "hedge":
            bush = dice.uniform(0.8, 2.5)
            scene.add(z1 - 0.1, lambda canvas, own: roadside.draw_hedge(canvas, own, *line, bush, leaves))
        case _:
            if dice.random() < 0.6:  # the dark of a wood behind its first trees
                wood = dice.uniform(4.0, 9.0)
                back = (
                    (view.lateral(side * (edge + 6.0), z0), z0),
                    (view.lateral(side * (edge + 6.0), z1), z1),
                )
                scene.add(z1 + 0.1, lambda canvas, own: roadside.draw_hedge(canvas, own, *back, wood, leaves))
    if kind == "trees" or dice.random() < 0.5:
        for _ in range(dice.randint(1, 3)):
            _add_tree(
                scene,
                side * (edge + dice.uniform(1.0, 6.0)),
                dice.uniform(z0, z1),
                leaves,
                dice.uniform(1.8, 3.6),
            )


def _add_tree(scene: Scene, across: float, z: float, leaves: Color, radius: float) -> None:
    """Add a tree and the shade below it."""
    if z < 5.0:
        return
    x = scene.view.lateral(across, z)
    height = radius * scene.dice.uniform(2.0, 3.2)
    if scene.hardness > 0.3:
        scene.shade(x, z, 0.8 * radius, min(0.8 * radius, z - NEAREST - 0.1), height)
    scene.add(z, lambda canvas, own: roadside.draw_tree(canvas, own, x, z, height, radius, leaves))


def add_furniture(scene: Scene, street: Street) -> None:
    """Add posts, signs, traffic lights, street trees, bins along the kerbs."""
    dice = scene.dice
    lit = dice.choice((0, 0, 1, 2, 2))
    for side, section in ((-1, street.sides[0]), (1, street.sides[1])):
        kerb = side * (section.strip + 0.4)
        if dice.random() < 0.75:
            lamp = partial(furniture.draw_lamp_post, toward=-side)
            _along(scene, kerb, dice.uniform(4.0, 20.0), dice.uniform(15.0, 32.0), lamp)
        if dice.random() < 0.12:
            first, step = dice.uniform(3.0, 15.0), dice.uniform(1.8, 3.5)
            _along(scene, kerb, first, step, furniture.draw_bollard, last=40.0)
        for _ in range(dice.choice((0, 1, 1, 2, 3))):
            z = 6.0 + 55.0 * dice.random() ** 1.5
            add_one(scene, kerb + side * dice.uniform(0.0, 0.5), z, furniture.draw_sign)
        if dice.random() < 0.14:
            add_one(scene, kerb + side * 1.5, dice.uniform(12.0, 50.0), furniture.draw_board)
        lights = street.ground.crossing[0] - 1.0 if street.ground.crossing else dice.uniform(12.0, 50.0)
        if dice.random() < (0.8 if street.ground.crossing else 0.22):
            add_one(scene, kerb, lights, partial(furniture.draw_traffic_light, toward=-side, lit=lit))
        if dice.random() < 0.42:
            step, size = dice.uniform(6.0, 14.0), dice.uniform(1.3, 2.6)
            z = dice.uniform(6.0, 16.0)
            while z < 90.0:
                if dice.random() < 0.85:
                    _add_tree(scene, kerb + side * 0.4, z, street.leaves, size * dice.uniform(0.8, 1.2))
                z += step
        for _ in range(dice.choice((0, 0, 0, 1, 2))):
            across = side * dice.uniform(section.strip, section.walk)
            add_one(scene, across, 7.0 + 35.0 * dice.random(), furniture.draw_thing)


Placed = Callable[[Canvas, Random, float, float], None]


def add_one(scene: Scene, across: float, z: float, draw: Placed) -> None:
    """Add a small upright thing `across` metres right of the street's middle line."""
    x = scene.view.lateral(across, z)
    scene.shade(x, z, 0.15, 0.15, 2.0)
    scene.add(z, lambda canvas, own: draw(canvas, own, x, z))


def _along(scene: Scene, across: float, first: float, step: float, draw: Placed, last: float = 100.0) -> None:
    z = first
    while z < last:
        add_one(scene, across, z, draw)
        z += step
