"""One street scene, from dice to pixels: plan, ground, everything on it far to near, then the photograph."""

from __future__ import annotations

from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from effiseg.scenes.street import labels, plan, traffic
from effiseg.scenes.street.canvas import Canvas
from effiseg.scenes.street.ground import draw_ground, draw_sky, draw_skyline
from effiseg.scenes.street.roadside import plaster
from effiseg.scenes.street.weather import finish, random_weather


def draw_scene(rng: np.random.Generator, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a street scene and its label.

    The scene's plan depends on `rng` and on the aspect ratio alone: the same generator state gives the same
    street, in more detail, at twice the size. Only the sensor noise is drawn per pixel.

    Args:
        rng: source of everything random; advanced by a fixed amount whatever the size.
        height: rows, at least 32.
        width: columns, at least 32.

    Returns:
        The image, (height, width, 3) uint8 RGB, and the label, (height, width) uint8 raw Cityscapes label ids
        (the 19 classes, and some ids that the `cityscapes` preset ignores).
    """
    dice = Random(int(rng.integers(1 << 62)))
    sensor = np.random.default_rng(int(rng.integers(1 << 62)))
    noise = _noise(rng)
    weather = random_weather(dice)
    view = plan.random_view(dice, width / height)
    street = plan.random_street(dice)
    hardness = weather.air.contrast if not weather.air.night else 0.0
    scene = plan.Scene(view, weather.air.sun, hardness, dice)
    plan.add_roadside(scene, street)
    plan.add_furniture(scene, street)
    traffic.add_traffic(scene, street)
    traffic.add_people(scene, street)

    canvas = Canvas(height, width, view, weather.air, noise)
    draw_sky(canvas, dice, weather.zenith, weather.low, weather.cloud, weather.cover)
    draw_skyline(canvas, dice, {"town": 0.8, "industry": 0.6, "suburb": 0.4, "green": 0.1}[street.character],
                 plaster(dice), street.leaves)  # fmt: skip
    draw_ground(canvas, street.ground, scene.shadows)
    scene.draw(canvas)
    _draw_camera_rig(canvas, dice)
    return finish(canvas, weather, dice, sensor), np.ascontiguousarray(canvas.pixels[..., 3])


def _noise(rng: np.random.Generator) -> NDArray[np.float32]:
    """The scene's texture, (128, 128) float32 about -1..1: octaves of smooth noise."""
    total = np.zeros((128, 128), np.float32)
    for cells, weight in ((6, 0.5), (20, 0.35), (64, 0.3), (128, 0.2)):
        octave = rng.standard_normal((cells, cells), np.float32)
        total += np.float32(weight) * cv2.resize(octave, (128, 128), interpolation=cv2.INTER_CUBIC)
    return total


def _draw_camera_rig(canvas: Canvas, dice: Random) -> None:
    """Draw the bonnet of the car that carries the camera; some recordings also lose a border."""
    aspect = canvas.view.aspect
    if dice.random() < 0.6:
        top, edge = 1.0 - dice.uniform(0.03, 0.09), 1.0 - dice.uniform(0.0, 0.04)
        shift = dice.uniform(-0.1, 0.1)
        level = dice.uniform(12.0, 70.0)
        bonnet = [(aspect * (0.5 + shift + 0.55 * i / 8), top + (edge - top) * (i / 8) ** 2) for i in range(-8, 9)]
        canvas.fill([(-0.1, 1.1), *bonnet, (aspect + 0.1, 1.1)], (level, level, level * 1.05), labels.EGO_VEHICLE, 0.0)
    if dice.random() < 0.3:
        border = max(1, round(0.006 * canvas.height))
        label = canvas.pixels[..., 3]
        label[:border] = label[-border:] = labels.OUT_OF_ROI
        label[:, :border] = label[:, -border:] = labels.OUT_OF_ROI
