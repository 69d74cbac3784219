"""The raw label ids of Cityscapes that the scenes use (the official `labels.py` table, column `id`)."""

from __future__ import annotations

from typing import Final

# Ids that no training class has; the `cityscapes` preset ignores them.
EGO_VEHICLE: Final = 1
OUT_OF_ROI: Final = 3
STATIC: Final = 4
DYNAMIC: Final = 5
GROUND: Final = 6
PARKING: Final = 9
RAIL_TRACK: Final = 10

# The 19 classes, in the order of their train ids.
ROAD: Final = 7
SIDEWALK: Final = 8
BUILDING: Final = 11
WALL: Final = 12
FENCE: Final = 13
POLE: Final = 17
TRAFFIC_LIGHT: Final = 19
TRAFFIC_SIGN: Final = 20
VEGETATION: Final = 21
TERRAIN: Final = 22
SKY: Final = 23
PERSON: Final = 24
RIDER: Final = 25
CAR: Final = 26
TRUCK: Final = 27
BUS: Final = 28
TRAIN: Final = 31
MOTORCYCLE: Final = 32
BICYCLE: Final = 33

CLASSES: Final = {
    "road": ROAD, "sidewalk": SIDEWALK, "building": BUILDING, "wall": WALL, "fence": FENCE, "pole": POLE,
    "traffic light": TRAFFIC_LIGHT, "traffic sign": TRAFFIC_SIGN, "vegetation": VEGETATION, "terrain": TERRAIN,
    "sky": SKY, "person": PERSON, "rider": RIDER, "car": CAR, "truck": TRUCK, "bus": BUS, "train": TRAIN,
    "motorcycle": MOTORCYCLE, "bicycle": BICYCLE,
}  # fmt: skip
"""Name of each of the 19 classes, in the order of their train ids → raw id."""
