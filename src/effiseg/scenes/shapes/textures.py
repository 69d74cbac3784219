"""Textures as fields of grey, about -1..1: what the background's classes are told by, and what fills a shape."""

from __future__ import annotations

import math
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from effiseg.scenes.shapes import labels

Field = NDArray[np.float32]

_NOISE_SIDE = 160


class Textures:
    """The textures of one picture.

    Args:
        height: rows.
        width: columns.
        rng: source of the noise that several of them share; advanced by a fixed amount.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        self.height, self.width = height, width
        self._noise: Field = rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE), np.float32)
        self._rows = ((np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(height))[:, None]
        self._columns = ((np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(height))[None, :]

    def draw(self, kind: int, dice: Random) -> Field:
        """A field (H, W) of one of `labels.TEXTURES`, at a random scale and turn."""
        match kind:
            case labels.PLAIN:
                return np.float32(0.25) * self.noise(dice, 2.0)
            case labels.GRAIN:
                return np.float32(0.6) * self.noise(dice, dice.uniform(55.0, 110.0))
            case labels.CLOUDS:
                coarse = self.noise(dice, dice.uniform(4.0, 9.0))
                return np.float32(0.7) * coarse + np.float32(0.3) * self.noise(dice, 18.0)
            case labels.STRIPES:
                return self._wave(dice, dice.uniform(6.0, 20.0), sharp=dice.random() < 0.5)
            case labels.CHECKS:
                turn, frequency = dice.uniform(0.0, math.pi), dice.uniform(4.0, 12.0)
                across = self._wave(dice, frequency, turn=turn, sharp=True)
                return across * self._wave(dice, frequency, turn=turn + 0.5 * math.pi, sharp=True)
            case labels.CELLS:
                return self._cells(dice, dice.uniform(5.0, 13.0))
            case labels.WOOD:
                return self._wave(dice, dice.uniform(5.0, 12.0), bend=dice.uniform(0.5, 1.1))
            case _:
                assert kind == labels.DOTS, kind
                turn, frequency = dice.uniform(0.0, math.pi), dice.uniform(6.0, 15.0)
                across = self._wave(dice, frequency, turn=turn)
                peaks = across + self._wave(dice, frequency, turn=turn + 0.5 * math.pi)
                return np.where(peaks > np.float32(0.9), np.float32(0.8), np.float32(-0.4))

    def noise(self, dice: Random, cells: float) -> Field:
        """Smooth noise of variance about 1 with `cells` knots along the height."""
        rows = min(_NOISE_SIDE, max(2, round(cells)))
        columns = min(_NOISE_SIDE, max(2, round(cells * self.width / self.height)))
        row, column = dice.randint(0, _NOISE_SIDE - rows), dice.randint(0, _NOISE_SIDE - columns)
        piece = self._noise[row : row + rows, column : column + columns]
        stretched = cv2.resize(piece, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(stretched, np.float32)

    def _wave(
        self, dice: Random, frequency: float, *, turn: float | None = None, sharp: bool = False, bend: float = 0.0
    ) -> Field:
        """A plane wave of `frequency` periods along the height; `bend` lets its phase wander, in periods."""
        turn = dice.uniform(0.0, math.pi) if turn is None else turn
        along = self._rows * np.float32(math.sin(turn)) + self._columns * np.float32(math.cos(turn))
        phase = np.float32(frequency) * along + np.float32(dice.random())
        if bend:
            phase = phase + np.float32(bend) * self.noise(dice, 4.0)
        wave = np.sin(np.float32(2.0 * math.pi) * phase)
        return np.asarray(np.sign(wave) if sharp else wave, np.float32)

    def _cells(self, dice: Random, frequency: float) -> Field:
        """Distance to the nearest of scattered points, in steps of half the spacing."""
        free = np.full((self.height, self.width), 255, np.uint8)
        count = round(frequency * frequency * self.width / self.height)
        for _ in range(count):
            free[int(dice.random() * self.height), int(dice.random() * self.width)] = 0
        distance = cv2.distanceTransform(free, cv2.DIST_L2, 3)
        return np.asarray(distance * np.float32(2.0 * frequency / self.height) - np.float32(0.8), np.float32)
