"""People on foot and on two wheels, and two-wheelers that stand alone."""

from __future__ import annotations

import math
from random import Random

from effiseg.scenes.street import labels
from effiseg.scenes.street.canvas import Canvas, Color
from effiseg.scenes.street.vehicles import Frame, paintwork

_RING = [(math.cos(math.tau * i / 12), math.sin(math.tau * i / 12)) for i in range(13)]


def clothes(dice: Random) -> Color:
    """A colour of clothes: mostly dark, sometimes any."""
    if dice.random() < 0.6:
        level = dice.uniform(18.0, 90.0)
        return level * dice.uniform(0.85, 1.1), level, level * dice.uniform(0.9, 1.3)
    return dice.uniform(30.0, 220.0), dice.uniform(30.0, 200.0), dice.uniform(30.0, 210.0)


def _skin(dice: Random) -> Color:
    """A colour of skin."""
    level = dice.uniform(0.35, 1.0)
    return 215.0 * level, 165.0 * level, 135.0 * level


def draw_person(canvas: Canvas, dice: Random, x: float, z: float) -> None:
    """Draw someone who stands or walks, grown or a child, with or without a bag."""
    size = dice.gauss(1.72, 0.09) if dice.random() < 0.88 else dice.uniform(1.0, 1.45)
    broad = size * dice.uniform(0.115, 0.155)
    turn = dice.choice((-1.0, 1.0))
    stride = dice.uniform(0.02, 0.2) * size
    top, legs, head = clothes(dice), clothes(dice), _skin(dice)
    label = labels.PERSON

    def at(across: float, up: float) -> tuple[float, float]:
        return canvas.view.project(x + turn * across, up * size, z)

    limb = 0.085 * size
    for foot, shade in ((-stride, 0.8), (stride, 1.0)):
        knee = at(0.5 * foot + 0.05, 0.26)
        tone: Color = (legs[0] * shade, legs[1] * shade, legs[2] * shade)
        canvas.stroke([at(0.0, 0.5), knee, at(foot, 0.02)], limb, tone, label, z)
    coat = dice.random() < 0.3
    hem = 0.3 if coat else 0.46
    hips = broad * (1.15 if coat else 0.85)
    trunk = [
        at(-hips, hem),
        at(-broad, 0.8),
        at(-0.5 * broad, 0.84),
        at(0.5 * broad, 0.84),
        at(broad, 0.8),
        at(hips, hem),
    ]
    canvas.fill(trunk, top, label, z)
    swing = dice.uniform(-0.06, 0.13) * size
    sleeve: Color = (top[0] * 0.82, top[1] * 0.82, top[2] * 0.82)
    canvas.stroke([at(0.6 * broad, 0.79), at(0.7 * broad + 0.4 * swing, 0.62), at(0.6 * broad + swing, 0.48)],
                  0.06 * size, sleeve, label, z)  # fmt: skip
    canvas.stroke([at(-0.95 * broad, 0.79), at(-broad - 0.3 * swing, 0.6), at(-0.8 * broad - swing, 0.48)],
                  0.055 * size, sleeve, label, z)  # fmt: skip
    canvas.disc(at(0.02, 0.92), 0.065 * size, head, label, z)
    if dice.random() < 0.8 and canvas.pixels_per_metre(z) > 8.0:
        hair = dice.uniform(15.0, 110.0)
        canvas.disc(at(-0.02, 0.955), 0.05 * size, (hair * 1.1, hair * 0.9, hair * 0.75), label, z)
    if dice.random() < 0.3:
        bag = [at(-1.6 * broad, 0.4), at(-1.6 * broad, 0.62), at(-0.6 * broad, 0.66), at(-0.6 * broad, 0.4)]
        canvas.fill(bag, clothes(dice), label, z)


def _wheel(canvas: Canvas, frame: Frame, axle: float, radius: float, tyre: float, label: int) -> None:
    ring = [frame.at(axle + radius * c, 0.0, radius + radius * s) for c, s in _RING]
    canvas.veil(ring, (70.0, 70.0, 70.0), label, frame.z, 0.35)
    canvas.stroke(ring, tyre, (25.0, 25.0, 26.0), label, frame.z)


def _broadside(heading: float) -> float:
    """Turn a direction so that a flat two-wheeler never vanishes: it has a width of its own."""
    sin = math.sin(heading)
    least = 0.3
    if abs(sin) >= least:
        return heading
    return (
        math.asin(math.copysign(least, sin))
        if math.cos(heading) > 0
        else math.pi - math.asin(math.copysign(least, sin))
    )


def draw_bicycle(canvas: Canvas, dice: Random, x: float, z: float, heading: float) -> None:
    """Draw a bicycle that leans or is ridden."""
    frame = Frame(canvas.view, x, z, _broadside(heading))
    paint = paintwork(dice)
    label, wheel = labels.BICYCLE, dice.uniform(0.3, 0.35)
    _wheel(canvas, frame, -0.52, wheel, 0.05, label)
    _wheel(canvas, frame, 0.52, wheel, 0.05, label)
    rear, crank = frame.at(-0.52, 0.0, wheel), frame.at(-0.08, 0.0, 0.28)
    seat, neck = frame.at(-0.25, 0.0, 0.85), frame.at(0.36, 0.0, 0.82)
    canvas.stroke([rear, crank, neck, seat, crank], 0.05, paint, label, z)
    canvas.stroke([rear, seat], 0.04, paint, label, z)
    canvas.stroke([frame.at(0.52, 0.0, wheel), neck, frame.at(0.3, 0.0, 1.02)], 0.05, paint, label, z)
    canvas.stroke([frame.at(0.36, -0.28, 1.03), frame.at(0.36, 0.28, 1.03)], 0.04, (30.0, 30.0, 30.0), label, z)
    canvas.stroke([frame.at(-0.36, 0.0, 0.9), frame.at(-0.14, 0.0, 0.92)], 0.07, (30.0, 30.0, 30.0), label, z)
    if dice.random() < 0.25:
        basket = [(0.45, 0.7), (0.45, 1.0), (0.8, 1.0), (0.75, 0.7)]
        canvas.fill([frame.at(a, 0.0, u) for a, u in basket], paintwork(dice), label, z)


def draw_motorcycle(canvas: Canvas, dice: Random, x: float, z: float, heading: float) -> None:
    """Draw a motorcycle or a scooter."""
    frame = Frame(canvas.view, x, z, _broadside(heading))
    paint, label = paintwork(dice), labels.MOTORCYCLE
    scooter = dice.random() < 0.45
    wheel = 0.24 if scooter else 0.32
    reach = 0.62 if scooter else 0.72
    _wheel(canvas, frame, -reach, wheel, 0.13, label)
    _wheel(canvas, frame, reach, wheel, 0.13, label)
    engine = [(-0.35, 0.3), (-0.3, 0.62), (0.3, 0.62), (0.38, 0.3), (0.1, 0.2), (-0.2, 0.2)]
    tank = [
        (-0.95, 0.72),
        (-0.9, 0.84),
        (-0.25, 0.78),
        (0.1, 0.98),
        (0.4, 0.95),
        (0.45, 0.75),
        (0.1, 0.55),
        (-0.5, 0.55),
    ]
    if scooter:
        tank = [
            (-0.95, 0.4),
            (-0.95, 0.78),
            (-0.2, 0.82),
            (-0.1, 0.4),
            (0.35, 0.35),
            (0.4, 1.0),
            (0.52, 1.0),
            (0.6, 0.4),
            (0.3, 0.2),
            (-0.6, 0.25),
        ]
    canvas.fill([frame.at(a, 0.0, u) for a, u in engine], (50.0, 50.0, 54.0), label, z)
    canvas.fill([frame.at(a, 0.0, u) for a, u in tank], paint, label, z)
    canvas.stroke([frame.at(reach, 0.0, wheel), frame.at(0.42, 0.0, 1.0)], 0.09, (90.0, 90.0, 95.0), label, z)
    canvas.stroke([frame.at(0.4, -0.33, 1.05), frame.at(0.4, 0.33, 1.05)], 0.06, (30.0, 30.0, 30.0), label, z)
    canvas.stroke([frame.at(-0.8, 0.0, 0.86), frame.at(-0.2, 0.0, 0.84)], 0.1, (25.0, 25.0, 27.0), label, z)
    lamp = frame.at(0.52, 0.0, 0.88) if frame.eye_along > 0 else frame.at(-0.95, 0.0, 0.72)
    canvas.disc(lamp, 0.08, (225.0, 220.0, 200.0) if frame.eye_along > 0 else (170.0, 30.0, 30.0), label, z)


def draw_rider(canvas: Canvas, dice: Random, x: float, z: float, heading: float, motor: bool) -> None:
    """Draw the one who rides: sits on what `draw_bicycle` or `draw_motorcycle` drew at the same place."""
    frame = Frame(canvas.view, x, z, _broadside(heading))
    label, top, legs = labels.RIDER, clothes(dice), clothes(dice)
    seat, lean = (0.84, dice.uniform(0.05, 0.25)) if motor else (0.92, dice.uniform(0.1, 0.35))
    hip, shoulder = -0.25, -0.25 + lean
    high = seat + 0.55
    pedal = dice.uniform(0.15, 0.45)
    for foot, side in ((pedal, -0.1), (0.55 - pedal, 0.1)):
        bent = [
            frame.at(hip, side, seat),
            frame.at(0.15, side, seat - 0.15 * foot),
            frame.at(-0.05, side, foot),
        ]
        canvas.stroke(bent, 0.14, legs, label, z)
    broad = 0.2
    trunk = [
        frame.at(hip - 0.1, -broad * 0.8, seat - 0.05),
        frame.at(shoulder - 0.12, -broad, high),
        frame.at(shoulder + 0.12, broad, high),
        frame.at(hip + 0.14, broad * 0.8, seat - 0.05),
    ]
    canvas.fill(trunk, top, label, z)
    canvas.stroke([frame.at(hip, 0.0, seat), frame.at(shoulder, 0.0, high - 0.05)], 0.3, top, label, z)
    sleeve: Color = (top[0] * 0.85, top[1] * 0.85, top[2] * 0.85)
    elbow, hand = frame.at(0.12, 0.25, seat + 0.2), frame.at(0.34, 0.25, seat + 0.15)
    canvas.stroke([frame.at(shoulder, 0.22, high - 0.05), elbow, hand], 0.1, sleeve, label, z)
    helmet = motor or dice.random() < 0.5
    head = frame.at(shoulder + 0.06, 0.0, high + 0.18)
    canvas.disc(head, 0.15 if motor else 0.12, paintwork(dice) if helmet else _skin(dice), label, z)
