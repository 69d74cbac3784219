"""One picture of drawn shapes, from dice to pixels: textured regions, layered things upon them, then the photograph."""

from __future__ import annotations

import math
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from effiseg.scenes.shapes import labels
from effiseg.scenes.shapes.contours import Points, contour, curve, placed, random_form
from effiseg.scenes.shapes.textures import Textures

Color = tuple[float, float, float]

_SUBPIXEL_BITS = 4


def draw_shapes(rng: np.random.Generator, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a picture of shapes and its label.

    What is where depends on `rng` and on the aspect ratio alone; only the sensor noise is drawn per pixel. Colors,
    places, sizes and light say nothing of the class: it is the form of a contour, the course of a line, or the
    texture of a region of the background.

    Args:
        rng: source of everything random; advanced by a fixed amount whatever the size.
        height: rows, at least 32.
        width: columns, at least 32.

    Returns:
        The image, (height, width, 3) uint8 RGB, and the label, (height, width) uint8 index into `labels.NAMES`.
    """
    dice = Random(int(rng.integers(1 << 62)))
    sensor = np.random.default_rng(int(rng.integers(1 << 62)))
    picture = _Picture(Textures(height, width, rng), dice)
    picture.draw_background()
    for _ in range(dice.randint(3, 16)):
        picture.draw_thing()
    return picture.photograph(sensor), picture.label


class _Picture:
    """Image and label while they are drawn. Places are fractions of the height.

    Args:
        textures: of the picture, at its size.
        dice: choices.
    """

    def __init__(self, textures: Textures, dice: Random) -> None:
        self.textures, self.dice = textures, dice
        self.height, self.width = textures.height, textures.width
        self.aspect = self.width / self.height
        self.image: NDArray[np.uint8] = np.zeros((self.height, self.width, 3), np.uint8)
        self.label: NDArray[np.uint8] = np.zeros((self.height, self.width), np.uint8)
        self.light = (dice.uniform(-1.0, 1.0), dice.uniform(-1.0, 1.0))
        # A picture's colors are related, as they are in one light and place.
        self.tone = _random_color(dice)
        self.kinship = dice.uniform(0.0, 0.6)

    def color(self) -> Color:
        """A random color, drawn towards the picture's tone."""
        own = _random_color(self.dice)
        share = self.kinship
        red, green, blue = ((1.0 - share) * a + share * b for a, b in zip(own, self.tone, strict=True))
        return red, green, blue

    def fill(self, kind: int) -> NDArray[np.uint8]:
        """A texture in a random color, (H, W, 3)."""
        field = self.textures.draw(kind, self.dice) * np.float32(self.dice.uniform(14.0, 45.0))
        tint = self.dice.uniform(0.6, 1.0)
        red, green, blue = self.color()
        channels = [field + np.float32(red), np.float32(tint) * field + np.float32(green), field + np.float32(blue)]
        return np.asarray(cv2.merge([np.clip(channel, 0.0, 255.0).astype(np.uint8) for channel in channels]), np.uint8)

    def draw_background(self) -> None:
        """Divide the plane into up to five regions, each with a texture of its own."""
        dice = self.dice
        count = dice.choices((1, 2, 3, 4, 5), (2, 4, 4, 3, 2))[0]
        kinds = dice.sample(labels.TEXTURES, count)
        regions = self._layers(count) if dice.random() < 0.5 else self._patches(count)
        for index, kind in enumerate(kinds):
            mask = cv2.inRange(regions, index, index)
            cv2.copyTo(self.fill(kind), mask, self.image)
            self.label[mask != 0] = kind

    def _layers(self, count: int) -> NDArray[np.uint8]:
        """(H, W) numbers of regions that lie above each other, between wavy or straight borders."""
        dice = self.dice
        slope, wave = dice.uniform(-0.5, 0.5), dice.choice((0.0, 0.04, 0.1))
        column = np.arange(self.width, dtype=np.float32) / np.float32(self.height)
        row = np.arange(self.height, dtype=np.float32)[:, None] / np.float32(self.height)
        regions = np.zeros((self.height, self.width), np.uint8)
        for index in range(1, count):
            phase, pace = dice.uniform(0.0, 6.3), dice.uniform(2.0, 9.0)
            border = index / count + slope * (column - 0.5 * self.aspect) + wave * np.sin(pace * column + phase)
            regions[row > border[None, :] + dice.uniform(-0.08, 0.08)] = index
        return regions

    def _patches(self, count: int) -> NDArray[np.uint8]:
        """(H, W) numbers of the regions nearest to scattered points, with borders that noise moves."""
        dice = self.dice
        warp = np.float32(dice.choice((0.0, 0.05, 0.12)))
        row = np.arange(self.height, dtype=np.float32)[:, None] / np.float32(self.height)
        column = np.arange(self.width, dtype=np.float32)[None, :] / np.float32(self.height)
        nearest = np.full((self.height, self.width), np.inf, np.float32)
        regions = np.zeros((self.height, self.width), np.uint8)
        for index in range(count):
            x, y = dice.uniform(0.0, self.aspect), dice.random()
            distance = np.hypot(row - np.float32(y), column - np.float32(x)) + warp * self.textures.noise(dice, 6.0)
            closer = distance < nearest
            nearest[closer] = distance[closer]
            regions[closer] = index
        return regions

    def draw_thing(self) -> None:
        """Draw a contour, a line or a cluster over what is there."""
        match self.dice.choices(("contour", "bar", "curve", "cluster"), (70, 12, 10, 8))[0]:
            case "contour":
                self._draw_contour()
            case "cluster":
                self._draw_cluster()
            case kind:
                self._draw_line(straight=kind == "bar")

    def _draw_contour(self) -> None:
        dice = self.dice
        form = random_form(dice)
        radius = math.exp(dice.uniform(math.log(0.05), math.log(0.4)))
        center = (dice.uniform(-0.05, self.aspect + 0.05), dice.uniform(-0.05, 1.05))
        turn, squeeze = dice.uniform(0.0, 2.0 * math.pi), dice.uniform(0.6, 1.0)
        outlines = [placed(points, turn, squeeze, radius, center) for points in contour(form, dice)]
        if dice.random() < 0.45:
            reach = radius * dice.uniform(0.05, 0.3)
            offset = np.array([reach * self.light[0], reach * self.light[1]])
            self._paint_shadow([points + offset for points in outlines], dice.uniform(0.35, 0.75))
        mask = np.zeros((self.height, self.width), np.uint8)
        cv2.fillPoly(mask, [self._fixed(points) for points in outlines], 255, cv2.LINE_8, _SUBPIXEL_BITS)
        textured = dice.random() < 0.35
        filling = self.fill(dice.choice(labels.TEXTURES) if textured else labels.PLAIN)
        if dice.random() < 0.6:
            filling = self._shaded(filling, center, radius)
        cv2.copyTo(filling, mask, self.image)
        self.label[mask != 0] = form
        if dice.random() < 0.25:
            outline = [self._fixed(points) for points in outlines]
            cv2.polylines(self.image, outline, True, self.color(), 1, cv2.LINE_8, _SUBPIXEL_BITS)

    def _shaded(self, filling: NDArray[np.uint8], center: tuple[float, float], radius: float) -> NDArray[np.uint8]:
        """The filling, lighter towards the light."""
        strength = self.dice.uniform(0.15, 0.5) / radius
        row = np.arange(self.height, dtype=np.float32) / np.float32(self.height) - np.float32(center[1])
        column = np.arange(self.width, dtype=np.float32) / np.float32(self.height) - np.float32(center[0])
        down, right = np.float32(self.light[1] * strength), np.float32(self.light[0] * strength)
        gain = np.clip(np.float32(1.0) - down * row[:, None] - right * column[None, :], 0.4, 1.6)
        return np.asarray(cv2.multiply(filling, cv2.merge([gain, gain, gain]), dtype=cv2.CV_8U), np.uint8)

    def _paint_shadow(self, outlines: list[Points], strength: float) -> None:
        """Darken what lies under outlines, with a soft edge."""
        shade = np.full((self.height, self.width), 255, np.uint8)
        level = round(255.0 * strength)
        cv2.fillPoly(shade, [self._fixed(points) for points in outlines], level, cv2.LINE_8, _SUBPIXEL_BITS)
        soft = cv2.blur(shade, (1 + 2 * (self.height // 64), 1 + 2 * (self.height // 64)))
        self.image = np.asarray(cv2.multiply(self.image, cv2.merge([soft, soft, soft]), scale=1.0 / 255.0), np.uint8)

    def _draw_line(self, straight: bool) -> None:
        dice = self.dice
        start = (dice.uniform(0.0, self.aspect), dice.random())
        turn = dice.choice((0.5 * math.pi, dice.uniform(0.0, 2.0 * math.pi)))
        bend = 0.0 if straight else dice.uniform(0.7, 1.6)
        points = curve(dice, start, dice.uniform(0.25, 1.1), turn, bend)
        thickness = max(1, round(math.exp(dice.uniform(math.log(0.008), math.log(0.04))) * self.height))
        line = [self._fixed(points)]
        cv2.polylines(self.image, line, False, self.color(), thickness, cv2.LINE_8, _SUBPIXEL_BITS)
        label = labels.BAR if straight else labels.CURVE
        cv2.polylines(self.label, line, False, label, thickness, cv2.LINE_8, _SUBPIXEL_BITS)

    def _draw_cluster(self) -> None:
        dice = self.dice
        center = (dice.uniform(0.0, self.aspect), dice.random())
        spread = dice.uniform(0.06, 0.2)
        color = self.color()
        for _ in range(dice.randint(10, 40)):
            x, y = center[0] + dice.gauss(0.0, spread), center[1] + dice.gauss(0.0, 0.6 * spread)
            gain = dice.uniform(0.75, 1.25)
            radius = max(1, round(dice.uniform(0.008, 0.03) * self.height))
            place = (round(x * self.height), round(y * self.height))
            cv2.circle(self.image, place, radius, tuple(min(255.0, gain * part) for part in color), -1)
            cv2.circle(self.label, place, radius, labels.CLUSTER, -1)

    def _fixed(self, points: Points) -> NDArray[np.int32]:
        """Places as OpenCV's fixed-point pixel coordinates, (N, 2)."""
        half = 1 << (_SUBPIXEL_BITS - 1)  # OpenCV puts integers on pixel centres
        return (points * (self.height << _SUBPIXEL_BITS) - half).astype(np.int32)

    def photograph(self, sensor: np.random.Generator) -> NDArray[np.uint8]:
        """The image under uneven light, through a lens and a sensor; (H, W, 3)."""
        dice = self.dice
        uneven = np.float32(1.0) + np.float32(dice.uniform(0.0, 0.22)) * self.textures.noise(dice, 2.0)
        exposure, contrast, gamma = dice.uniform(0.75, 1.2), dice.uniform(0.6, 1.1), dice.uniform(0.8, 1.25)
        lit = cv2.multiply(self.image, cv2.merge([uneven, uneven, uneven]), dtype=cv2.CV_8U)
        steps = np.clip((np.arange(256) / 255.0 * exposure - 0.45) * contrast + 0.45, 0.0, 1.0)
        toned = cv2.LUT(lit, (255.0 * steps**gamma).round().astype(np.uint8))
        blurred = cv2.GaussianBlur(toned, (0, 0), max(0.3, dice.uniform(0.0, 0.008) * self.height))
        grain = sensor.standard_normal((self.height, self.width), np.float32) * np.float32(dice.uniform(0.5, 9.0))
        return np.asarray(cv2.add(blurred, cv2.merge([grain, grain, grain]), dtype=cv2.CV_8U), np.uint8)


def _random_color(dice: Random) -> Color:
    """RGB 0..255, rarely loud: a grey, moved along each channel."""
    grey = dice.uniform(25.0, 230.0)
    loudness = dice.choice((12.0, 30.0, 75.0))
    red, green, blue = (min(255.0, max(0.0, grey + dice.gauss(0.0, loudness))) for _ in range(3))
    return red, green, blue
