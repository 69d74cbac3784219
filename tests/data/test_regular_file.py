"""Only regular files of a closed set of formats are decoded: nothing hangs, nothing runs."""

from __future__ import annotations

import ast
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effiseg.data.check import check_dataset
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.image_file import decode_image, read_header
from effiseg.data.reading import read_colors, read_raw_mask
from effiseg.data.regular_file import read_data_text
from effiseg.data.samples import list_samples
from effiseg.errors import DataError

SOURCE = Path(__file__).parents[2] / "src" / "effiseg"
READERS = (decode_image, read_header, read_raw_mask, read_colors, lambda path: read_data_text(path, "list"))


@pytest.fixture(params=["FIFO", "socket", "device", "folder", "link to a FIFO"])
def irregular(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Something that has an image's name, and what it is."""
    path = tmp_path / "x.png"
    match request.param:
        case "FIFO":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                os.chdir(tmp_path)  # names of sockets are short
                server.bind("x.png")
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "link to a FIFO":
            os.mkfifo(tmp_path / "fifo")
            path.symlink_to(tmp_path / "fifo")
    return path, request.param.removeprefix("link to a ")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read", READERS)
def test_what_is_no_regular_file_is_one_line_at_once(read, irregular: tuple[Path, str], monkeypatch) -> None:
    monkeypatch.chdir(irregular[0].parent)
    with pytest.raises(DataError, match=f"must be a regular file; found a {irregular[1]}") as caught:
        read(irregular[0])
    assert str(caught.value).startswith(f"{irregular[0]}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("place", ["images/train/000.png", "labels/train/000.png"])
@pytest.mark.parametrize("entry", ["images/train", "images/train/*.png", "images/**/*.png", "list.txt"])
def test_a_fifo_in_a_data_set_is_found_when_it_is_listed(make_dataset, place: str, entry: str) -> None:
    file = make_dataset(splits=("train",), train=entry)
    (file.parent / "list.txt").write_text("".join(f"train/00{index}.png\n" for index in range(6)))
    fifo = file.parent / place
    fifo.unlink()
    os.mkfifo(fifo)
    spec = load_dataset_spec(file)
    with pytest.raises(DataError, match=r"000\.png.*must be a regular file; found a FIFO"):
        list_samples(spec, "train")
    assert any("found a FIFO" in finding.message for finding in check_dataset(spec, processes=1).faults)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def test_nothing_is_started_for_a_file_that_names_itself_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for Ghostscript lies on PATH, which Pillow starts for EPS."""
    canary, stand_in = tmp_path / "canary", tmp_path / "bin" / "gs"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!/bin/sh\ntouch {canary}\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # what it found before
    path = tmp_path / "x.png"
    path.write_bytes(EPS)
    for read in READERS[:4]:
        with pytest.raises(DataError, match="not an image that Pillow can decode as JPEG, PNG, BMP, TIFF, WEBP, PPM"):
            read(path)
    assert not canary.exists()
    with pytest.raises(OSError), Image.open(path) as image:  # noqa: PT011 - whatever Pillow says of no output
        image.load()
    assert canary.exists(), "the stand-in is what Pillow would start"


def test_every_place_that_opens_a_picture_says_which_formats() -> None:
    calls = [
        (path, node)
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open")
    ]
    assert calls
    for path, call in calls:
        assert any(keyword.arg == "formats" for keyword in call.keywords), f"{path}, line {call.lineno}"


def test_a_large_file_behind_a_small_header_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(path)
    with path.open("r+b") as stream:
        stream.truncate(2**40)  # sparse: a terabyte of zeros
    assert (decode_image(path)[0] == 7).all()
    path.write_bytes(b"no image")
    with path.open("r+b") as stream:
        stream.truncate(2**40)
    with pytest.raises(DataError, match="not an image"):
        decode_image(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_text("0 straße 道\n", encoding=encoding)
    assert read_data_text(tmp_path / "a.txt", "list") == "0 straße 道\n"
