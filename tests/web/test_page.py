"""The page in headless Chromium: what it shows, what it saves, and that nothing else is asked for."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from effiseg.data.transforms import UInt8Array
from effiseg.inference.predictor import Predictor
from effiseg.inference.segmentation import Segmentation
from effiseg.models.segformer import SegFormer

PICTURE_SIZE = (211, 347)
LEAST_AGREEMENT = 0.999


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """Any web server, without headers of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_pictures(folder: Path) -> None:
    """Write picture.png, a lossless picture of the models' colors that is at no network's size, and damaged.png."""
    generator = np.random.default_rng(3)
    colors = np.array([[60, 60, 60], [200, 60, 60], [60, 80, 210]], np.uint8)
    patches = cv2.resize(generator.integers(0, 3, (4, 5)).astype(np.uint8), PICTURE_SIZE[::-1], interpolation=0)
    noise = generator.integers(-30, 31, (*PICTURE_SIZE, 3))
    path = folder / "picture.png"
    Image.fromarray(np.clip(colors[patches].astype(int) + noise, 0, 255).astype(np.uint8)).save(path)
    (folder / "damaged.png").write_bytes(path.read_bytes()[:200])


@pytest.fixture(scope="module")
def shots(
    site: Path,
    trained_pair: list[SegFormer],
    once: Callable[..., Path],
    node: str,
    chromium: str,
    running: Callable[..., Any],
) -> Path:
    """Pictures, screenshots and downloads of one browser on all pages, and what it found, found.json."""

    def browse(folder: Path) -> None:
        write_pictures(folder)
        with plain_server(site) as plain, running(Predictor(trained_pair[0]), site) as isolated:
            settings = {
                "chromium": chromium, "plain": plain, "isolated": isolated.address,
                "picture": str(folder / "picture.png"), "damaged": str(folder / "damaged.png"),
                "file": str(site / "index.html"), "out": str(folder),
            }  # fmt: skip
            file = folder / "settings.json"
            file.write_text(json.dumps(settings))
            script = Path(__file__).with_name("browser.mjs")
            done = subprocess.run([node, script, file], capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
        found = {**json.loads(done.stdout), "addresses": [plain, isolated.address]}
        (folder / "found.json").write_text(json.dumps(found))

    return once("web-browser", browse)


@pytest.fixture(scope="module")
def found(shots: Path) -> dict[str, Any]:
    """What the browser found."""
    result: dict[str, Any] = json.loads((shots / "found.json").read_text())
    return result


@pytest.fixture(scope="module")
def expected(trained_pair: list[SegFormer], shots: Path) -> list[Segmentation]:
    """What both models say of the picture here."""
    return [Predictor(model)(shots / "picture.png") for model in trained_pair]


def saved(file: Path) -> UInt8Array:
    with Image.open(file) as image:
        return np.asarray(image)


@pytest.mark.parametrize("name", ["plain-baseline", "plain-student", "isolated-baseline"])
def test_labels_equal_pythons(name: str, found: dict[str, Any], expected: list[Segmentation], shots: Path) -> None:
    wanted = expected[name.endswith("student")].labels
    assert len(np.unique(wanted)) > 1
    labels = saved(shots / f"{name}.png")
    assert labels.dtype == np.uint8
    assert labels.shape == wanted.shape == PICTURE_SIZE
    assert (labels == wanted).mean() >= LEAST_AGREEMENT


def test_the_overlay_equals_pythons(found: dict[str, Any], expected: list[Segmentation], shots: Path) -> None:
    overlay, wanted = saved(shots / "plain-overlay.png"), expected[1].overlay()
    assert overlay.shape == wanted.shape
    assert (overlay == wanted).all(2).mean() >= LEAST_AGREEMENT


def test_legend_and_readings(found: dict[str, Any], expected: list[Segmentation]) -> None:
    page = found["plain"]
    head, *rows = page["legend"]
    assert head.split() == ["class", "baseline", "student"]
    for number, row in enumerate(rows):
        name, *areas = row.replace("%", "").split()
        assert name == expected[0].names[number]
        for area, segmentation in zip(areas, expected, strict=True):
            assert abs(float(area) - 100 * segmentation.areas()[name]) <= 0.15
    agreement = 100 * (expected[0].labels == expected[1].labels).mean()
    assert abs(float(page["agreement"].split()[4]) - agreement) <= 0.15
    assert page["described"].startswith("picture.png, labeled. baseline: ")
    assert page["names"] == ["picture-baseline-labels.png", "picture-student-labels.png", "picture-student-overlay.png"]


def test_pointing_says_the_class_and_how_sure_the_network_is(
    found: dict[str, Any], expected: list[Segmentation]
) -> None:
    height, width = PICTURE_SIZE
    for reading, (x, y) in (
        (found["plain"]["hover"], (width // 4, height // 4)),
        (found["plain"]["keyboard"], (width // 2 + 1, height // 2 + 20)),
    ):
        place, said = reading.split(": ", 1)
        shown = [int(part.split()[1]) for part in place.split(", ")]
        assert abs(shown[0] - x) <= 1
        assert abs(shown[1] - y) <= 1
        for model, segmentation in zip(said.split("; "), expected, strict=True):
            label = segmentation.labels[shown[1], shown[0]]
            assert segmentation.names[label] in model
            assert 100 / 3 <= float(model.split()[-3]) <= 100


def test_sliders(found: dict[str, Any]) -> None:
    assert abs(int(found["plain"]["divider"]) - 20) <= 1
    assert found["plain"]["opacity"] == "100 %"


def test_threads_where_the_page_is_isolated(found: dict[str, Any]) -> None:
    assert (found["plain"]["isolated"], found["isolated"]["isolated"]) == (False, True)
    assert "WebAssembly with SIMD, 1 thread\n" in found["plain"]["speed"]
    assert " ms a picture" in found["plain"]["speed"]


def test_the_camera_is_labeled_and_let_go(found: dict[str, Any]) -> None:
    assert (found["isolated"]["camera"], found["isolated"]["off"]) == ("true", "false")


def test_both_color_schemes_and_a_phone(found: dict[str, Any]) -> None:
    assert found["isolated"]["background"] != found["phone"]["background"]
    assert found["phone"]["width"] <= 360


def test_mistakes_are_one_line(found: dict[str, Any]) -> None:
    assert found["plain"]["damaged"] == "damaged.png: is no picture that this browser can read"
    assert "Browsers run no models out of files. Serve this folder" in found["asFile"]["notice"]


def test_nothing_is_complained_of_and_nothing_else_is_asked_for(found: dict[str, Any]) -> None:
    assert found["complaints"] == []
    known = (*found["addresses"], "blob:", "data:", "file://")
    assert [url for url in found["requests"] if not url.startswith(known)] == []
