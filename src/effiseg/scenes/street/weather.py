"""Time of day and weather: what they do to colours before a scene is drawn, and to pixels after."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from effiseg.scenes.street import labels
from effiseg.scenes.street.canvas import Air, Canvas, Color


@dataclass(frozen=True)
class Weather:
    """Light and weather of one scene.

    Args:
        air: haze and direct light.
        zenith: sky colour at the top of the image.
        low: sky colour at the horizon.
        cloud: colour of clouds.
        cover: share of sky under clouds, 0..1.
        gain: the camera's factor for red, green, blue.
        gamma: exponent of the tone curve.
        contrast: stretch around middle grey.
        rain: strength of rain streaks, 0 for none.
        wet: how much of the scene wet roads mirror, 0..1.
        blur: standard deviation of the lens blur, fraction of the image height.
        grain: standard deviation of the sensor noise, grey levels.
        texture: amplitude of surface texture, relative to 1.
    """

    air: Air
    zenith: Color
    low: Color
    cloud: Color
    cover: float
    gain: Color
    gamma: float
    contrast: float
    rain: float
    wet: float
    blur: float
    grain: float
    texture: float


def random_weather(dice: Random) -> Weather:
    """Day, overcast, dusk, night, fog or rain, with the camera's exposure and white balance."""
    kind = dice.choices(("sun", "overcast", "haze", "rain", "dusk", "night"), (32, 30, 10, 10, 10, 8))[0]
    grey = dice.uniform(150.0, 235.0)
    blue: Color = (dice.uniform(60, 130), dice.uniform(110, 175), dice.uniform(180, 235))
    pale: Color = (grey, grey * dice.uniform(0.99, 1.03), grey * dice.uniform(0.99, 1.07))
    density = 10.0 ** dice.uniform(-3.3, -2.4)
    zenith, low, cloud, cover = pale, pale, (grey * 0.93, grey * 0.94, grey * 0.96), dice.random()
    contrast, level, wet, rain, night = dice.uniform(0.05, 0.25), dice.uniform(0.8, 1.15), 0.0, 0.0, False
    if kind == "sun":
        zenith, low, cloud = blue, (grey, grey, min(grey * 1.05, 255.0)), (235.0, 236.0, 238.0)
        cover, contrast, level = dice.uniform(0.0, 0.7), dice.uniform(0.35, 0.7), dice.uniform(0.85, 1.2)
    elif kind == "haze":
        density = 10.0 ** dice.uniform(-2.0, -1.4)
    elif kind == "rain":
        density, wet, rain = 10.0 ** dice.uniform(-2.5, -1.8), dice.uniform(0.3, 0.8), dice.uniform(0.2, 1.0)
        level = dice.uniform(0.6, 0.95)
    elif kind == "dusk":
        zenith, low = (
            (80.0, 95.0, 140.0),
            (dice.uniform(190, 240), dice.uniform(130, 180), dice.uniform(90, 150)),
        )
        cloud, level, night = (150.0, 120.0, 125.0), dice.uniform(0.5, 0.8), dice.random() < 0.5
        contrast = dice.uniform(0.1, 0.6)
    elif kind == "night":
        zenith, low, cloud = (14.0, 18.0, 34.0), (48.0, 44.0, 52.0), (40.0, 38.0, 44.0)
        level, night, wet = dice.uniform(0.45, 0.8), True, max(0.0, dice.uniform(-0.6, 0.6))
    warm = dice.gauss(0.0, 0.06)
    sun = dice.choice((-1.0, 1.0)) * dice.uniform(0.3, 1.0)
    # By day `level` is the camera's exposure; by night it is how little light falls on what does not shine.
    dark = kind == "night"
    exposure = 0.95 if dark else level
    haze: Color = (30.0, 30.0, 36.0) if dark else low
    return Weather(
        air=Air(haze, density, sun, contrast, night, level if dark else 1.0),
        zenith=zenith, low=low, cloud=cloud, cover=cover,
        gain=(exposure * (1.0 + warm), exposure, exposure * (1.0 - warm)),
        gamma=dice.uniform(0.85, 1.2), contrast=dice.uniform(0.75, 1.15), rain=rain, wet=wet,
        blur=dice.uniform(0.0025, 0.0065), grain=dice.uniform(1.5, 7.0) * (2.0 if dark else 1.0),
        texture=dice.uniform(0.5, 1.2),
    )  # fmt: skip


_TEXTURE = np.full(256, 0.05, np.float32)
for _label, _amplitude in (
    (labels.ROAD, 0.06), (labels.SIDEWALK, 0.07), (labels.GROUND, 0.12), (labels.TERRAIN, 0.2),
    (labels.BUILDING, 0.1), (labels.WALL, 0.12), (labels.FENCE, 0.08), (labels.VEGETATION, 0.22),
    (labels.SKY, 0.0), (labels.PERSON, 0.1), (labels.RIDER, 0.1),
):  # fmt: skip
    _TEXTURE[_label] = _amplitude


def finish(canvas: Canvas, weather: Weather, dice: Random, pixels: np.random.Generator) -> NDArray[np.uint8]:
    """Turn the flat drawing into a photograph: texture, reflections, glow, rain, lens, sensor.

    Args:
        canvas: with everything drawn.
        weather: of the scene.
        dice: choices that do not depend on the image size.
        pixels: source of the sensor noise, one draw per pixel.

    Returns:
        (H, W, 3) uint8 RGB; `canvas` itself is left as it was.
    """
    height, width = canvas.height, canvas.width
    image = canvas.pixels[..., :3].astype(np.float32)
    label = canvas.pixels[..., 3]
    coarse = canvas.noise_patch(dice.randrange(1 << 14), 40, height, width)
    fine = canvas.noise_patch(dice.randrange(1 << 14), 120, height, width)
    fine = 0.5 * coarse + np.roll(fine, width // 3, axis=1)
    image *= (1.0 + weather.texture * _TEXTURE[label] * fine)[:, :, None]
    if weather.wet > 0.0:
        _mirror(canvas, image, label, weather.wet)
    if canvas.glows:
        _glow(canvas, image)
    if weather.rain > 0.0:
        image += _streaks(dice, height, width, weather.rain)[:, :, None]
    # Tone: gain, contrast around the middle, gamma; then what a lens and a sensor add.
    np.clip(image, 0.0, 255.0, out=image)
    steps = np.arange(256, dtype=np.float64) / 255.0
    curves = []
    for gain in weather.gain:
        value = np.clip((steps * gain - 0.45) * weather.contrast + 0.45, 0.0, 1.0)
        curves.append(255.0 * value**weather.gamma)
    table = np.stack(curves, axis=1)[None].round().astype(np.uint8)
    toned = cv2.LUT(image.astype(np.uint8), table)
    sigma = max(weather.blur * height, 0.3)
    noisy = cv2.GaussianBlur(toned, (0, 0), sigma).astype(np.float32)
    grain = np.float32(weather.grain) * pixels.standard_normal((height, width), np.float32)
    noisy += grain[:, :, None]
    return np.clip(noisy, 0.0, 255.0, out=noisy).astype(np.uint8)


def _mirror(canvas: Canvas, image: NDArray[np.float32], label: NDArray[np.uint8], wet: float) -> None:
    """Blend what stands above into wet ground, mirrored at the horizon."""
    horizon = math.ceil(canvas.view.horizon * canvas.height)
    rows = np.arange(horizon, canvas.height)
    if rows.size == 0:
        return
    above = np.ascontiguousarray(image[np.maximum(2 * horizon - rows, 0)])
    above = cv2.GaussianBlur(above, (0, 0), 0.006 * canvas.height + 0.3, sigmaY=0.03 * canvas.height)
    ground = (label[horizon:] == labels.ROAD) | (label[horizon:] == labels.PARKING)
    share = (0.55 * wet * ground)[:, :, None].astype(np.float32)
    image[horizon:] += share * (above - image[horizon:])


def _glow(canvas: Canvas, image: NDArray[np.float32]) -> None:
    """Add the halo of each lamp, computed on a coarse raster."""
    rows, columns = 64, max(1, round(64 * canvas.view.aspect))
    layer = np.zeros((rows, columns, 3), np.float32)
    for lamp in canvas.glows:
        center = (int(lamp.x * rows * 16), int(lamp.y * rows * 16))
        if -2000 < center[0] < columns * 16 + 2000:
            radius = int(max(lamp.radius, 0.008) * rows * 16)
            cv2.circle(layer, center, radius, lamp.color, -1, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(layer, (0, 0), 1.6)
    image += 0.55 * cv2.resize(soft, (canvas.width, canvas.height), interpolation=cv2.INTER_LINEAR)


def _streaks(dice: Random, height: int, width: int, strength: float) -> NDArray[np.float32]:
    """Falling rain, (H, W) grey levels to add."""
    layer = np.zeros((height, width), np.uint8)
    slant = dice.uniform(-0.25, 0.25)
    for _ in range(int(40 + 160 * strength)):
        x, y = dice.uniform(0.0, width / height), dice.random()
        length = dice.uniform(0.02, 0.08)
        start = (int(x * height), int(y * height))
        end = (int((x + slant * length) * height), int((y + length) * height))
        cv2.line(layer, start, end, int(25 + 45 * dice.random()), max(1, height // 256))
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), 0.004 * height), np.float32)
