"""Vehicles: profiles drawn out to a width, seen in perspective from any side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from effiseg.scenes.street import labels
from effiseg.scenes.street.canvas import Canvas, Color, Glow, Point, View
from effiseg.scenes.street.roadside import plaster

_GLASS = (48.0, 55.0, 62.0)
_RED = (170.0, 25.0, 25.0)
_WHITE = (235.0, 232.0, 215.0)


class Frame:
    """A place on the ground with a direction; turns the thing's own coordinates into image positions.

    Args:
        view: the camera.
        x: right of the camera, metres.
        z: depth, metres.
        heading: radians to the right of straight ahead.
    """

    def __init__(self, view: View, x: float, z: float, heading: float) -> None:
        self.view, self.x, self.z = view, x, z
        self.sin, self.cos = math.sin(heading), math.cos(heading)
        # Where the camera is, in the thing's own coordinates.
        self.eye_along = -self.sin * x - self.cos * z
        self.eye_across = -self.cos * x + self.sin * z

    def at(self, along: float, across: float, up: float) -> Point:
        """The image position of a point `along` ahead, `across` to the right, `up` above the ground."""
        x = self.x + self.cos * across + self.sin * along
        return self.view.project(x, up, self.z + self.cos * along - self.sin * across)

    def place(self, along: float, across: float = 0.0) -> tuple[float, float]:
        """(x, z) in the world."""
        return (
            self.x + self.cos * across + self.sin * along,
            self.z + self.cos * along - self.sin * across,
        )


@dataclass(frozen=True)
class Body:
    """A vehicle's shape: a side profile, drawn out to a width.

    Args:
        profile: (along, up) from the rear's foot over the roof to the front's foot, metres.
        colors: of the surface over each edge of the profile, one fewer than points.
        side: colour of the sides.
        width: metres.
        windows: (along, up) polygons on the sides, with their colours.
        wheels: places of the axles along the vehicle.
        wheel_radius: metres.
        label: raw label id.
    """

    profile: Sequence[tuple[float, float]]
    colors: Sequence[Color]
    side: Color
    width: float
    windows: Sequence[tuple[Sequence[tuple[float, float]], Color]]
    wheels: Sequence[float]
    wheel_radius: float
    label: int


_CIRCLE = [(math.cos(math.tau * i / 10), math.sin(math.tau * i / 10)) for i in range(10)]


def _draw_body(canvas: Canvas, frame: Frame, body: Body) -> None:
    """Draw the surfaces of a body that the camera sees, far ones first."""
    z, label, half = frame.z, body.label, 0.5 * body.width
    detailed = canvas.pixels_per_metre(z) > 4.0
    profile = body.profile
    visible = []
    for i in range(len(profile) - 1):
        (a0, u0), (a1, u1) = profile[i], profile[i + 1]
        toward = (a1 - a0) * (canvas.view.eye - u0) - (u1 - u0) * (frame.eye_along - a0)
        if toward > 0.0:
            visible.append((abs(0.5 * (a0 + a1) - frame.eye_along), i))
    for _, i in sorted(visible, reverse=True):
        (a0, u0), (a1, u1) = profile[i], profile[i + 1]
        steep = abs(u1 - u0) / (abs(a1 - a0) + abs(u1 - u0))
        quad = [
            frame.at(a0, -half, u0),
            frame.at(a0, half, u0),
            frame.at(a1, half, u1),
            frame.at(a1, -half, u1),
        ]
        canvas.fill(quad, body.colors[i], label, z, 1.1 - 0.15 * steep)
    flank = math.copysign(half, frame.eye_across)
    if detailed:
        # Tyres and the dark under the floor, at the end that the camera sees.
        end = profile[0][0] if frame.eye_along < 0 else profile[-1][0]
        low = profile[0][1] + 0.05
        floor = [frame.at(end, -half * 0.95, 0.12), frame.at(end, half * 0.95, 0.12)]
        canvas.fill(
            [*floor, frame.at(end, half * 0.95, low), frame.at(end, -half * 0.95, low)],
            (22, 22, 24),
            label,
            z,
        )
    if abs(frame.eye_across) > half:
        normal = frame.cos * math.copysign(1.0, frame.eye_across)
        shade = canvas.air.facing(normal)
        canvas.fill([frame.at(a, flank, u) for a, u in profile], body.side, label, z, shade)
        if detailed:
            for window, color in body.windows:
                canvas.fill([frame.at(a, flank, u) for a, u in window], color, label, z, shade)
        radius = body.wheel_radius
        for axle in body.wheels:
            tyre = [frame.at(axle + radius * c, flank, radius + radius * s) for c, s in _CIRCLE]
            canvas.fill(tyre, (24, 24, 26), label, z)
            if detailed:
                rim = [frame.at(axle + 0.55 * radius * c, flank, radius + 0.55 * radius * s) for c, s in _CIRCLE]
                canvas.fill(rim, (125, 125, 128), label, z, shade)


def _draw_end_lamps(canvas: Canvas, frame: Frame, body: Body, height: float, braking: bool) -> None:
    """Draw the lamps and the number plate at the end that the camera sees; by night the lamps glow."""
    z, half = frame.z, 0.5 * body.width
    rear = frame.eye_along < 0
    end = body.profile[0][0] if rear else body.profile[-1][0]
    if abs(frame.cos) < 0.35:
        return
    color = (_RED if not braking else (250.0, 60.0, 40.0)) if rear else _WHITE
    for across in (-0.78 * half, 0.78 * half):
        w, h = 0.14 * half, 0.08
        corners = [(-w, -h), (w, -h), (w, h), (-w, h)]
        canvas.fill([frame.at(end, across + a, height + u) for a, u in corners], color, body.label, z)
        if canvas.air.night or braking:
            x, y = frame.at(end, across, height)
            size = (0.22 if rear else 0.5) * canvas.view.focal / max(z, 4.0)
            canvas.glows.append(Glow(x, y, size, (255.0, 60.0, 40.0) if rear else (255.0, 240.0, 200.0)))
    plate = [(-0.26, 0.42), (0.26, 0.42), (0.26, 0.53), (-0.26, 0.53)]
    canvas.fill([frame.at(end, a, u) for a, u in plate], (205, 205, 200), body.label, z)


def paintwork(dice: Random) -> Color:
    """A colour of vehicles: mostly white, grey and black, like houses and roads."""
    roll = dice.random()
    if roll < 0.62:
        grey = dice.choice((30.0, 45.0, 80.0, 120.0, 165.0, 205.0, 228.0)) * dice.uniform(0.9, 1.05)
        return grey, grey * dice.uniform(0.98, 1.02), grey * dice.uniform(0.97, 1.05)
    if roll < 0.8:
        return plaster(dice)
    strong = (
        (160.0, 30.0, 30.0),
        (30.0, 55.0, 130.0),
        (40.0, 95.0, 60.0),
        (200.0, 165.0, 40.0),
        (190.0, 95.0, 40.0),
    )
    red, green, blue = dice.choice(strong)
    level = dice.uniform(0.6, 1.1)
    return red * level, green * level, blue * level


def _car_body(dice: Random) -> Body:
    """A saloon, hatchback, off-roader or van."""
    kind = dice.choices(("saloon", "hatch", "suv", "van"), (3, 4, 2, 1.2))[0]
    paint = paintwork(dice)
    length = {"saloon": 4.6, "hatch": 3.9, "suv": 4.5, "van": 5.0}[kind] * dice.uniform(0.93, 1.06)
    top = {"saloon": 1.43, "hatch": 1.48, "suv": 1.72, "van": 2.05}[kind] * dice.uniform(0.97, 1.05)
    belt = 0.62 * top
    tail, rear_roof = {
        "saloon": (-0.36, -0.2),
        "hatch": (-0.47, -0.4),
        "suv": (-0.48, -0.42),
        "van": (-0.49, -0.47),
    }[kind]
    front_roof, cowl, nose = (0.3, 0.42, 0.5) if kind == "van" else (0.08, 0.24, 0.47)
    rear = [(-0.5, 0.3), (-0.495, belt), (tail, belt + 0.04), (rear_roof, top)]
    shape = [*rear, (front_roof, top - 0.02), (cowl, belt + 0.03), (nose, 0.56 * top), (0.5, 0.3)]
    profile = [(a * length, u) for a, u in shape]
    level = dice.uniform(0.7, 1.7)
    glass = (_GLASS[0] * level, _GLASS[1] * level, _GLASS[2] * level)
    pane = [
        (tail + 0.03, belt + 0.05),
        (rear_roof + 0.02, top - 0.1),
        (front_roof - 0.01, top - 0.11),
        (cowl - 0.03, belt + 0.05),
    ]
    windows = [([(a * length, u) for a, u in pane], glass)]
    if kind == "van" and dice.random() < 0.6:
        windows = [
            (
                [(a * length, u) for a, u in ((0.16, belt), (0.18, top - 0.2), (0.27, top - 0.2), (0.38, belt))],
                glass,
            )
        ]
    colors = [paint, paint, glass, paint, glass, paint, paint]
    return Body(profile, colors, paint, dice.uniform(1.7, 1.9), windows,
                (-0.3 * length, 0.31 * length), 0.31, labels.CAR)  # fmt: skip


def draw_car(canvas: Canvas, dice: Random, x: float, z: float, heading: float) -> None:
    """Draw a car of random make."""
    body, frame = _car_body(dice), Frame(canvas.view, x, z, heading)
    braking = dice.random() < 0.25
    _draw_body(canvas, frame, body)
    if canvas.pixels_per_metre(z) > 5.0:
        _draw_end_lamps(canvas, frame, body, 0.72, braking)


def _box(length: float, low: float, top: float, bevel: float) -> list[tuple[float, float]]:
    """The profile of a bus, tram or container, its front edge bevelled."""
    half = 0.5 * length
    return [
        (-half, low),
        (-half, top - 0.1),
        (-half + 0.15, top),
        (half - bevel, top),
        (half, top - 2.5 * bevel - 0.1),
        (half, low),
    ]


def _panes(start: float, end: float, low: float, high: float, pitch: float, color: Color
           ) -> list[tuple[list[tuple[float, float]], Color]]:  # fmt: skip
    """A row of windows along a side."""
    count = max(1, round((end - start) / pitch))
    step = (end - start) / count
    return [
        ([(a, low), (a, high), (a + 0.88 * step, high), (a + 0.88 * step, low)], color)
        for a in (start + step * i for i in range(count))
    ]


def _end_window(canvas: Canvas, frame: Frame, body: Body, low: float, high: float, color: Color) -> None:
    """Draw a wide window at the end that the camera sees."""
    half = 0.44 * body.width
    end = body.profile[0][0] if frame.eye_along < 0 else body.profile[-1][0]
    quad = [(-half, low), (half, low), (half, high), (-half, high)]
    canvas.fill([frame.at(end, a, u) for a, u in quad], color, body.label, frame.z)


def draw_bus(canvas: Canvas, dice: Random, x: float, z: float, heading: float) -> None:
    """Draw a city bus or a coach."""
    length, top = dice.uniform(9.5, 13.0), dice.uniform(2.9, 3.4)
    paint, lower = paintwork(dice), paintwork(dice)
    lower = paint if dice.random() < 0.6 else lower
    level = dice.uniform(0.6, 1.8)
    glass = (_GLASS[0] * level, _GLASS[1] * level, _GLASS[2] * level)
    half = 0.5 * length
    low, high = dice.uniform(1.0, 1.4), top - dice.uniform(0.5, 0.8)
    windows = _panes(-half + 0.3, half - 0.3, low, high, dice.uniform(1.2, 2.2), glass)
    windows.append(([(-half, 0.3), (-half, 0.85), (half, 0.85), (half, 0.3)], lower))
    for door in (0.36, -0.05):
        a = door * length
        windows.append(([(a, 0.35), (a, high), (a + 1.2, high), (a + 1.2, 0.35)], glass))
    body = Body(
        _box(length, 0.3, top, 0.12),
        [paint] * 5,
        paint,
        2.5,
        windows,
        (-0.28 * length, 0.3 * length),
        0.48,
        labels.BUS,
    )
    frame = Frame(canvas.view, x, z, heading)
    _draw_body(canvas, frame, body)
    rear = frame.eye_along < 0
    _end_window(canvas, frame, body, 1.7 if rear else 1.0, high + 0.1, glass)
    if not rear and dice.random() < 0.7:
        _end_window(canvas, frame, body, high + 0.2, high + 0.45, (220.0, 150.0, 40.0))
    _draw_end_lamps(canvas, frame, body, 0.8, dice.random() < 0.3)


def draw_truck(canvas: Canvas, dice: Random, x: float, z: float, heading: float) -> None:
    """Draw a lorry: a cab, and behind it a box, a flat bed with load, or a tank."""
    frame = Frame(canvas.view, x, z, heading)
    cab_length, cab_top = dice.uniform(1.7, 2.2), dice.uniform(2.3, 3.0)
    load_length = dice.uniform(3.5, 8.0)
    half = 0.5 * (cab_length + load_length)
    cab_paint, box_paint = paintwork(dice), paintwork(dice)
    level = dice.uniform(0.7, 1.6)
    glass = (_GLASS[0] * level, _GLASS[1] * level, _GLASS[2] * level)
    split = half - cab_length
    kind = dice.choices(("box", "flat", "tank"), (5, 2, 1))[0]
    top = {"box": dice.uniform(2.8, 3.9), "flat": dice.uniform(1.5, 2.4), "tank": dice.uniform(2.6, 3.1)}[kind]
    foot = 0.95 if kind != "flat" else 0.8
    load = [(-half, foot), (-half, top), (split - 0.15, top), (split - 0.15, foot)]
    if kind == "tank":
        load = [(-half, foot + 0.4), (-half + 0.2, top - 0.1), (-half + 0.6, top), (split - 0.6, top),
                (split - 0.2, top - 0.1), (split - 0.2, foot + 0.4)]  # fmt: skip
    chassis = [(-half, 0.45), (-half, 1.0), (split, 1.0), (split, 0.45)]
    cab = [(split, 0.4), (split, cab_top), (half - 0.35, cab_top), (half, 1.6), (half, 0.4)]
    pane = [
        (
            [
                (split + 0.5, 1.45),
                (split + 0.5, cab_top - 0.3),
                (half - 0.4, cab_top - 0.3),
                (half - 0.12, 1.45),
            ],
            glass,
        )
    ]
    stripe = []
    if dice.random() < 0.4 and kind == "box":
        stripe = [
            (
                [
                    (-half + 0.6, 0.5 * top),
                    (-half + 0.6, 0.75 * top),
                    (split - 1.0, 0.75 * top),
                    (split - 1.0, 0.5 * top),
                ],
                plaster(dice),
            )
        ]
    dark = (45.0, 45.0, 48.0)
    parts = [
        Body(chassis, [dark] * 3, dark, 2.2, (), (-0.62 * half, -0.62 * half - 1.1), 0.48, labels.TRUCK),
        Body(load, [box_paint] * (len(load) - 1), box_paint, 2.45, stripe, (), 0.0, labels.TRUCK),
        Body(
            cab,
            [cab_paint, cab_paint, glass, cab_paint],
            cab_paint,
            2.3,
            pane,
            (half - 0.9,),
            0.48,
            labels.TRUCK,
        ),
    ]
    # What is nearest comes last: the cab when seen from the front, the load from behind.
    for body in parts if frame.eye_along > 0 else (parts[2], parts[0], parts[1]):
        _draw_body(canvas, frame, body)
    _draw_end_lamps(canvas, frame, parts[2] if frame.eye_along > 0 else parts[0], 0.75, dice.random() < 0.3)


def draw_train_car(
    canvas: Canvas, dice: Random, x: float, z: float, heading: float, length: float, first: bool
) -> None:
    """Draw one car of a tram; the same state of `dice` gives the same tram.

    Args:
        canvas: drawn into.
        dice: choices.
        x: right of the camera, metres.
        z: depth of its middle, metres.
        heading: radians to the right of straight ahead.
        length: metres.
        first: whether it is the nearest car, which shows its end and carries the pantograph.
    """
    paint, lower = paintwork(dice), paintwork(dice)
    level = dice.uniform(0.6, 1.5)
    glass = (_GLASS[0] * level, _GLASS[1] * level, _GLASS[2] * level)
    top, width = dice.uniform(3.2, 3.6), dice.uniform(2.3, 2.65)
    half = 0.5 * length
    windows = _panes(-half + 0.4, half - 0.4, 1.35, top - 0.75, dice.uniform(1.0, 1.8), glass)
    windows.append(([(-half, 0.25), (-half, 1.0), (half, 1.0), (half, 0.25)], lower))
    colors = [paint, paint, (90.0, 90.0, 92.0), glass, paint]
    body = Body(_box(length, 0.25, top, 0.3), colors, paint, width, windows, (), 0.0, labels.TRAIN)
    frame = Frame(canvas.view, x, z, heading)
    _draw_body(canvas, frame, body)
    if first:
        _end_window(canvas, frame, body, 1.2, top - 0.5, glass)
        _end_window(canvas, frame, body, top - 0.42, top - 0.2, (225.0, 160.0, 50.0))
        _draw_end_lamps(canvas, frame, body, 0.7, False)
        bow = [frame.at(0.0, 0.0, top), frame.at(0.8, 0.0, top + 0.9), frame.at(0.0, 0.0, top + 1.6)]
        canvas.stroke(bow, 0.08, (50.0, 50.0, 52.0), labels.TRAIN, z)
