"""The classes of the drawn shapes: eight textures of the background, and what lies upon it."""

from __future__ import annotations

from typing import Final

# Textures, which fill the regions of the background.
PLAIN: Final = 0
GRAIN: Final = 1
CLOUDS: Final = 2
STRIPES: Final = 3
CHECKS: Final = 4
CELLS: Final = 5
WOOD: Final = 6
DOTS: Final = 7
TEXTURES: Final = range(8)

# Closed contours, by their number of corners or lobes.
POLYGONS: Final = {3: 8, 4: 9, 5: 10, 6: 11, 8: 12}
LOBES: Final = {2: 13, 3: 14, 4: 15, 5: 16, 7: 17}
STARS: Final = {4: 18, 6: 19}
RING: Final = 20

# Lines.
BAR: Final = 21
CURVE: Final = 22

CLUSTER: Final = 23
"""Many small discs close together."""

NAMES: Final = (
    "plain", "grain", "clouds", "stripes", "checks", "cells", "wood", "dots",
    "triangle", "quadrilateral", "pentagon", "hexagon", "octagon",
    "oval", "three lobes", "four lobes", "five lobes", "seven lobes",
    "star of four", "star of six", "ring", "bar", "curve", "cluster",
)  # fmt: skip
