"""Who is on the street: vehicles in their lanes and at the kerb, people on foot and on wheels."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from effiseg.scenes.street import people, vehicles
from effiseg.scenes.street.canvas import Canvas
from effiseg.scenes.street.plan import Scene, Side, Street, add_one

Ridden = Callable[[Canvas, Random, float, float, float], None]

# (drawer, how often, length with the gap it needs, half width): cars rule, as on every street.
_MOVING: tuple[tuple[Ridden, float, float, float], ...] = (
    (vehicles.draw_car, 90.0, 5.0, 0.95),
    (vehicles.draw_truck, 3.6, 9.5, 1.25),
    (vehicles.draw_bus, 4.5, 12.5, 1.3),
)
_DRAWERS = tuple(kind[0] for kind in _MOVING)
_SHARES = tuple(kind[1] for kind in _MOVING)


def add_traffic(scene: Scene, street: Street) -> None:
    """Add moving vehicles, parked ones, a tram, and what waits in the side street."""
    dice = scene.dice
    left, right = street.sides
    busy = dice.uniform(0.2, 1.0)
    for sign, section in ((1, right), (-1, left)):
        lanes = (0.28, 0.74) if section.road > 6.0 else (0.5,)
        if sign < 0 and street.tram is not None:
            continue
        for lane in lanes:
            z = dice.uniform(9.0, 40.0)
            while z < 110.0:
                if dice.random() < busy:
                    z = _add_vehicle(scene, sign * lane * section.road, z, 0.0 if sign > 0 else math.pi)
                z += dice.uniform(4.0, 45.0)
    if street.tram is not None and dice.random() < 0.62:
        z = 9.0 + 45.0 * dice.random()
        _add_train(scene, street.tram, z)
    for sign, section in ((-1, left), (1, right)):
        if section.parking - section.road > 0.1:
            _park(scene, sign, section)
    if street.ground.crossing is not None and dice.random() < 0.5:
        start, end = street.ground.crossing
        for _ in range(dice.randint(1, 2)):
            across, forward = dice.uniform(-14.0, 14.0), dice.random() < 0.5
            z = start + (0.3 if forward else 0.7) * (end - start)
            _add_vehicle(scene, across, z, math.pi / 2 if forward else -math.pi / 2)


def _add_vehicle(scene: Scene, across: float, z: float, heading: float) -> float:
    """Add one vehicle whose rear stands at `z`; returns the depth of its front."""
    dice = scene.dice
    draw, _, length, half = _MOVING[dice.choices(range(len(_MOVING)), _SHARES)[0]]
    along = abs(math.cos(heading)) > 0.5
    middle = z + 0.5 * length if along else z
    x = scene.view.lateral(across + dice.gauss(0.0, 0.15), middle)
    turned = heading + scene.view.direction(middle) + dice.gauss(0.0, 0.03)
    size = (half, 0.42 * length) if along else (0.42 * length, half)
    scene.shade(x, middle, *size, 1.8)
    scene.add(middle, lambda canvas, own: draw(canvas, own, x, middle, turned))
    return z + length


def _add_train(scene: Scene, across: float, z: float) -> None:
    """Add a tram of two to four coupled cars, the nearest one's near end at `z`."""
    dice = scene.dice
    length, look = dice.uniform(7.0, 10.0), dice.getrandbits(48)
    turn = 0.0 if dice.random() < 0.5 else math.pi
    for i in range(dice.randint(2, 4)):
        middle = z + 0.5 * length + i * (length + 0.3)
        x, heading = scene.view.lateral(across, middle), scene.view.direction(middle) + turn
        scene.shade(x, middle, 1.3, 0.5 * length, 3.4)
        # Every car is the same tram: they share the dice that choose its look.
        scene.add(middle, _train_car(look, x, middle, heading, length, i == 0))


def _train_car(
    look: int, x: float, z: float, heading: float, length: float, first: bool
) -> Callable[[Canvas, Random], None]:
    return lambda canvas, _: vehicles.draw_train_car(canvas, Random(look), x, z, heading, length, first)


def _park(scene: Scene, sign: int, section: Side) -> None:
    """Fill the parking bay of one side, one place after another."""
    dice = scene.dice
    across = sign * (0.5 * (section.road + section.parking) - 0.05)
    full, z = dice.uniform(0.3, 0.95), dice.uniform(3.0, 12.0)
    while z < 90.0:
        if dice.random() < full:
            middle = z + 2.4
            x = scene.view.lateral(across, middle)
            turned = scene.view.direction(middle) + (0.0 if sign > 0 or dice.random() < 0.2 else math.pi)
            draw = vehicles.draw_truck if dice.random() < 0.02 else vehicles.draw_car
            scene.shade(x, middle, 0.95, 2.1, 1.6)
            scene.add(middle, _placed(draw, x, middle, turned))
        z += dice.uniform(5.4, 7.0)


def _placed(draw: Ridden, x: float, z: float, heading: float) -> Callable[[Canvas, Random], None]:
    return lambda canvas, own: draw(canvas, own, x, z, heading)


def add_people(scene: Scene, street: Street) -> None:
    """Add people on the sidewalks and on the road, riders, and two-wheelers at the kerb."""
    dice = scene.dice
    left, right = street.sides
    crowd = {"town": 4.2, "suburb": 1.6, "green": 1.3, "industry": 1.0}[street.character]
    for sign, section in ((-1, left), (1, right)):
        for _ in range(_count(dice, crowd)):
            z = 6.0 + 55.0 * dice.random() ** 1.4
            across = sign * dice.uniform(section.strip + 0.3, max(section.walk - 0.3, section.strip + 0.4))
            for _ in range(dice.choices((1, 2, 3), (70, 24, 6))[0]):
                add_one(scene, across, z, people.draw_person)
                across, z = across + dice.uniform(-0.9, 0.9), z + dice.uniform(-0.4, 0.4)
        for _ in range(_count(dice, 0.75)):
            z = 6.0 + 40.0 * dice.random()
            across = sign * dice.uniform(section.strip + 0.4, max(section.walk - 0.6, section.strip + 0.5))
            heading = dice.choice((0.0, math.pi, math.pi / 2, -math.pi / 2)) + dice.gauss(0.0, 0.3)
            bicycle = dice.random() < 0.82
            for _ in range(dice.choices((1, 2, 5), (60, 25, 15))[0] if bicycle else 1):
                x = scene.view.lateral(across, z)
                scene.shade(x, z, 0.4, 0.4, 0.5)
                scene.add(z, _placed(people.draw_bicycle if bicycle else people.draw_motorcycle, x, z, heading))
                z += 0.55
    if street.ground.crossing is not None and dice.random() < 0.5:
        for _ in range(dice.randint(1, 4)):
            z = street.ground.crossing[0] - dice.uniform(0.8, 3.5)
            add_one(scene, dice.uniform(-left.road, right.road), z, people.draw_person)
    elif dice.random() < 0.15:
        add_one(scene, dice.uniform(-left.road, right.road), dice.uniform(9.0, 40.0), people.draw_person)
    for _ in range(_count(dice, 0.55)):
        _add_rider(scene, street)


def _add_rider(scene: Scene, street: Street) -> None:
    dice = scene.dice
    sign = dice.choice((-1, 1))
    section = street.sides[0] if sign < 0 else street.sides[1]
    z = 7.0 + 40.0 * dice.random() ** 1.3
    motor = dice.random() < 0.27
    across = sign * (section.road * dice.uniform(0.3, 0.6) if motor else section.road - dice.uniform(0.2, 1.2))
    x = scene.view.lateral(across, z)
    turn = 0.0 if sign > 0 else math.pi
    if dice.random() < 0.25:
        turn = dice.choice((math.pi / 2, -math.pi / 2))
    heading = scene.view.direction(z) + turn + dice.gauss(0.0, 0.12)

    def draw(canvas: Canvas, own: Random) -> None:
        machine = people.draw_motorcycle if motor else people.draw_bicycle
        machine(canvas, own, x, z, heading)
        people.draw_rider(canvas, own, x, z, heading, motor)

    scene.shade(x, z, 0.4, 0.7, 1.2)
    scene.add(z, draw)


def _count(dice: Random, mean: float) -> int:
    """A Poisson number."""
    limit, count, product = math.exp(-mean), 0, dice.random()
    while product > limit:
        count, product = count + 1, product * dice.random()
    return count
