"""Images, masks and lists that are not what they should be: one line that names the file, at every door."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effiseg.cli import main

DOORS = ("data stats {here}/pairs/data.yaml", "data convert {here}/pairs/data.yaml --out {out}")


def png(values: object, kind: str = "uint8", save_as: str = "PNG") -> bytes:
    """An image's file, of 40x60 pixels of one value or of the values given."""
    array = np.asarray(values, kind)
    array = np.full((40, 60), array) if array.ndim == 0 else array
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, save_as)
    return stream.getvalue()


IMAGE, MASK, NAMES = "images/train/000.png", "labels/train/000.png", "names: [road, car, sky]\n"
NO_IMAGE = "000.png: not an image that Pillow can decode"
IMAGES: Sequence[tuple[bytes, str]] = (
    (b"", NO_IMAGE),
    (b"GIF89a", NO_IMAGE),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n", NO_IMAGE),
    (png(np.zeros((40, 60, 3)))[:60], "000.png: "),
    (png(np.zeros((41, 60, 3))), "000.png: "),
    (png(np.zeros((60, 40, 3))), "000.png: "),
)
FILES: Sequence[tuple[str, bytes | None, str]] = (
    (MASK, b"", NO_IMAGE),
    (MASK, b"\x89PNG\r\n\x1a\n", "000.png: "),
    (MASK, png(3), "000.png: "),
    (MASK, png(254), "000.png: "),
    (MASK, png(7, "uint16"), "000.png: "),
    (MASK, png(-1, "int32", "TIFF"), "000.png: "),
    (MASK, png(1.5, "float32", "TIFF"), "000.png: "),
    (MASK, png(np.zeros((40, 60, 3))), "000.png: "),
    (MASK, png(np.zeros((40, 60, 4))), "000.png: "),
    (MASK, None, "000.png: "),
    ("images/train/000.jpg", png(np.zeros((40, 60, 3)), save_as="JPEG"), "000.png"),
    ("data.yaml", b"train: list.txt\n" + NAMES.encode(), "list.txt"),
    ("data.yaml", b"train: images/nothing\n" + NAMES.encode(), "train must lead to images"),
    ("data.yaml", b"train: images/*.gif\n" + NAMES.encode(), "train must lead to images"),
    ("data.yaml", b"train: labels/..\nval: images/val\nimage_suffix: _x.png\n" + NAMES.encode(), "found none among"),
    ("data.yaml", b"train: [images/train, images/val/0]\n" + NAMES.encode(), "train must lead to images"),
    ("data.yaml", b"train: images/train\nmasks_dir: nothing\n" + NAMES.encode(), "000.png: "),
    ("data.yaml", b"train: images/train\nmasks_dir: images\n" + NAMES.encode(), "000.png: "),
    ("data.yaml", b"train: \xff\xfe\n", "cannot be read as text"),
)
LISTS = (
    ("train/002.png\n", "list.txt: line 1 must name an image"),
    ("train/000.png\n../../elsewhere.png\n", "list.txt: line 2 must name an image"),
    ("# nothing\n\n", "train must hold images"),
    ("train/000.png labels/val/000.png\ntrain/000.png labels/train/000.png\n", "an image has one mask"),
    ("train/000.png labels/train/000.png\ntrain/001.png labels/train/000.png\n", "a mask belongs to one image"),
    ("data.yaml\n", "masks lie where the path"),
    ("/dev/zero\n", ""),
)
YOLO = (
    ("road 0 0 1 0 1 1\n", "line 1 must be a class and at least three corners x y"),
    ("0 0 0 1 0 1\n", "line 1 must be a class and at least three corners x y"),
    ("0 0.5 0.5 0.1 0.1\n", "line 1 must hold a polygon; found a box"),
    ("0 0 0 1 0\n0 0 0 1 0 1 1\n", "line 1 must hold a polygon; found a box"),
    ("0 0 0 1 0 1 1\n3 0 0 1 0 1 1\n", "line 2 begins with a class, 0 to 2; found 3"),
    ("-1 0 0 1 0 1 1\n", "line 1 begins with a class, 0 to 2; found -1"),
    ("0.5 0 0 1 0 1 1\n", "line 1 must be a class and at least three corners x y"),
    ("0 0 0 60 0 60 40\n", "line 1 must hold shares of the image's width and height, 0 to 1; found 60"),
    ("0 0 0 nan 0 1 1\n", "line 1 must be a class and at least three corners x y"),
    ("0 0 0 inf 0 1 1\n", "line 1 must be a class and at least three corners x y"),
    ("0 a b c d e f\n", "line 1 must be a class and at least three corners x y"),
    ("0\n", "line 1 must be a class and at least three corners x y"),
    ("inf 0 0 1 0 1 1\n", "line 1 must be a class and at least three corners x y"),
    ('{"shapes": []}\n', "line 1 must be a class and at least three corners x y"),
    ("\udc80\udc81", "line 1 must be a class and at least three corners x y"),
)


@pytest.fixture
def pairs(good: Path, tmp_path: Path) -> Path:
    """A copy of the good data set, to be spoilt."""
    shutil.copytree(good / "pairs", tmp_path / "pairs")
    return tmp_path / "pairs"


@pytest.mark.parametrize(("content", "line"), IMAGES)
def test_images(content: bytes, line: str, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what decodes images finds it, and names it among its findings."""
    (pairs / IMAGE).write_bytes(content)
    assert main(["data", "check", str(pairs / "data.yaml")]) == 1
    said = capsys.readouterr()
    assert line in said.out
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize(("name", "content", "line"), FILES)
def test_files(name: str, content: bytes | None, line: str, refused, pairs: Path) -> None:
    if content is None:
        (pairs / name).unlink()
    else:
        (pairs / name).write_bytes(content)
    at_every_door(refused, line)


@pytest.mark.parametrize(("text", "line"), LISTS)
def test_lists(text: str, line: str, refused, pairs: Path) -> None:
    (pairs / "data.yaml").write_text("train: list.txt\n" + NAMES)
    (pairs / "list.txt").write_text(text)
    at_every_door(refused, line)


@pytest.mark.parametrize(("text", "line"), YOLO)
def test_yolo(text: str, line: str, refused, pairs: Path) -> None:
    (pairs / "data.yaml").write_text("train: images/train\nmask_format: yolo\nbackground: road\n" + NAMES)
    (pairs / "labels/train/000.txt").write_text(text, errors="surrogateescape")
    (pairs / "labels/train/001.txt").write_text("")
    assert "000.txt: " in at_every_door(refused, line)


def at_every_door(refused, line: str) -> str:
    """The line, which all doors give."""
    said = {refused(door, line).partition(": ")[2] for door in DOORS}
    assert len(said) == 1
    return said.pop()
