"""The legend under overlays."""

from __future__ import annotations

import numpy as np

from effiseg.visualization.legend import area_entries, legend_strip

RED, BLUE = (255, 0, 0), (0, 0, 255)


def test_every_color_is_there_and_lines_break() -> None:
    wide = legend_strip(400, (("road", RED), ("sky", BLUE)))
    narrow = legend_strip(90, (("road", RED), ("sky", BLUE)))
    for strip in (wide, narrow):
        assert strip.dtype == np.uint8
        assert len(strip) % 2 == 0
        for color in (RED, BLUE):
            assert (strip == color).all(-1).sum() > 50
    assert wide.shape[1] == 400
    assert narrow.shape == (len(wide) + 20, 90, 3)


def test_names_of_any_kind_can_be_drawn() -> None:
    for name in ("Straße", "дорога", "日本", "a\nb\x00", ""):
        assert legend_strip(60, ((name, RED),)).shape[1] == 60


def test_the_largest_areas_come_first() -> None:
    areas = {"sky": 0.3, "car": 0.005, "road": 0.6945, "bird": 0.0005}
    entries = area_entries(areas, [RED, BLUE, (0, 255, 0), (9, 9, 9)])
    assert entries == (("road 69 %", (0, 255, 0)), ("sky 30 %", RED), ("car < 1 %", BLUE))
