"""Hostile files: nothing of theirs runs, nothing hangs, nothing grows, nothing is written elsewhere."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from reliability_data import SMALL, Place
from reliability_process import run_command

_MOST_MB = 1500.0
_LONGEST_SECONDS = 120.0


class _Case(NamedTuple):
    name: str
    words: tuple[str | Path, ...]
    codes: tuple[int, ...] = (2,)


class _Canary:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.fspath(self.path),)


def measure_hostile(place: Place) -> dict[str, Any]:
    """Every hostile file at the command that would read it."""
    scratch = place.new("hostile")
    canary = scratch / "canary"
    stand_in = scratch / "bin" / "gs"  # what Pillow would start for EPS
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!/bin/sh\ntouch {canary}\n")
    stand_in.chmod(0o755)
    os.environ["PATH"] = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
    found: dict[str, Any] = {"files": 0, "refused": 0, "ran": 0, "most_seconds": 0.0, "most_mb": 0.0, "others": []}
    for case in _cases(place, scratch, canary):
        outcome = run_command(case.words, scratch, longest=_LONGEST_SECONDS)
        found["files"] += 1
        found["refused"] += outcome.code in case.codes and not outcome.is_fault
        found["ran"] += canary.exists()
        found["most_seconds"] = max(found["most_seconds"], outcome.seconds)
        found["most_mb"] = max(found["most_mb"], outcome.growth_mb)
        if outcome.code not in case.codes or outcome.is_fault or outcome.growth_mb > _MOST_MB:
            found["others"].append({"case": case.name, "code": outcome.code, "error": outcome.error[-300:]})
    return found


def _cases(place: Place, scratch: Path, canary: Path) -> list[_Case]:
    return [*_pickles(place, scratch, canary), *_texts(place, scratch), *_pictures(place, scratch)]


def _pickles(place: Place, scratch: Path, canary: Path) -> list[_Case]:
    """Weights that run something when they are opened without care."""
    data = pickle.dumps({"state_dict": _Canary(canary)})
    train: tuple[str | Path, ...] = ("train", "--data", place.data, *SMALL[:-2], "--out", scratch / "run", "--init")
    cases: list[_Case] = []
    for name in ("a.pth", "a.bin", "a.ckpt", "a.pt", "a.pkl"):
        (scratch / name).write_bytes(data)
        cases.append(_Case(f"pickle as {name}, --init", (*train, scratch / name)))
        cases.append(_Case(f"pickle as {name}, evaluate", ("evaluate", scratch / name, "--data", place.data)))
    folder = scratch / "pickled"
    folder.mkdir()
    (folder / "config.json").write_bytes((place.model / "config.json").read_bytes())
    (folder / "pytorch_model.bin").write_bytes(data)
    cases.append(_Case("pickle in a model folder", ("evaluate", folder, "--data", place.data)))
    huge = scratch / "huge"
    huge.mkdir()
    (huge / "config.json").write_bytes((place.model / "config.json").read_bytes())
    (huge / "model.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    cases.append(_Case("safetensors with a header of 2^60 bytes", ("evaluate", huge, "--data", place.data)))
    for suffix in (".onnx", ".xml", ".pt2"):
        (scratch / f"a{suffix}").write_bytes(data)
        words = ("evaluate", scratch / f"a{suffix}", "--data", place.data)
        cases.append(_Case(f"pickle as {suffix}", words))
    return cases


def _texts(place: Place, scratch: Path) -> list[_Case]:
    """Settings, descriptions and results that grow, or that ask for objects."""
    names = "train: images/train\nnames: [grey, red, blue]\n"
    laughs = "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
    )
    yamls = {
        "objects": f"!!python/object/apply:os.mkdir [{scratch / 'canary'}]\n",
        "aliases": f"a: &a [{'x, ' * 9}x]\n{laughs}",
        "depth": "a: " + "[" * 100_000,
        "digits": f"a: {'9' * 1_000_000}\n",
        "a range of a million": f"{names}label_mapping: {{0-999999: 0-999999}}\n",
        "a million classes": "train: images/train\nnames: [" + ", ".join(f"c{n}" for n in range(100_000)) + "]\n",
    }
    cases: list[_Case] = []
    for name, text in yamls.items():
        file = scratch / f"{name}.yaml"
        file.write_text(text)
        cases.append(_Case(f"YAML: {name}", ("data", "check", file)))
    sparse = scratch / "sparse.yaml"
    with sparse.open("wb") as stream:
        stream.truncate(2**40)
    cases.append(_Case("YAML of a terabyte", ("data", "check", sparse)))
    cases.append(_Case("YAML without an end", ("data", "check", "/dev/zero")))
    results = {"depth": "[" * 1_000_000, "digits": "9" * 1_000_000, "NaN": '{"kind": NaN}'}
    for name, text in results.items():
        file = scratch / f"{name}.json"
        file.write_text(text)
        cases.append(_Case(f"results: {name}", ("report", file, "--out", scratch / "report")))
    for name, entry in {
        "size": {"height": 10**9, "width": 10**9},
        "runs": {"height": 48, "width": 64},
    }.items():
        file = scratch / f"coco {name}.yaml"
        folder = place.data.parent
        annotations = scratch / f"coco {name}.json"
        runs = {"counts": [10**18, 10**18], "size": [10**9, 10**9]}
        region = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": runs}
        listed = {"id": 1, "file_name": "000000.png", **entry}
        category = {"id": 1, "name": "red"}
        annotations.write_text(json.dumps({"images": [listed], "annotations": [region], "categories": [category]}))
        file.write_text(
            f"path: {folder}\n{names}mask_format: coco\nbackground: grey\nannotations: {{train: '{annotations}'}}\n"
        )
        cases.append(_Case(f"COCO: {name}", ("data", "stats", file)))
    return cases


def _pictures(place: Place, scratch: Path) -> list[_Case]:
    """Pictures that are large, no pictures, or no files."""
    bomb, eps, fifo, outside = (scratch / name for name in ("bomb", "eps", "fifo", "outside"))
    for folder in (bomb, eps, fifo, outside):
        folder.mkdir()
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 10_000_000)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in chunks
    )
    (bomb / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    (eps / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    os.mkfifo(fifo / "a.png")
    (outside / "...png").write_bytes((place.data.parent / "images" / "train" / "000000.png").read_bytes())
    cases = [
        _Case(
            f"picture: {folder.name}", ("predict", place.model, folder, "--out", scratch / f"of {folder.name}"), codes
        )
        for folder, codes in ((bomb, (1, 2)), (eps, (1, 2)), (fifo, (1, 2)), (outside, (0, 2)))
    ]
    for device in ("/dev/zero", "/dev/random"):
        cases.append(_Case(f"picture: {device}", ("predict", place.model, device, "--out", scratch / "of a device")))
    return cases
