"""Names of files that are no plain text, and what is hidden."""

from __future__ import annotations

import glob
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import effiseg
from effiseg.data.cache import SampleCache, StoredSize
from effiseg.data.cache_storage import CacheStorage
from effiseg.data.check import check_dataset
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.folders import glob_files, walk_files
from effiseg.data.mask_counts import count_masks
from effiseg.data.names import clean_id
from effiseg.data.samples import list_samples
from effiseg.errors import DataError, printable
from effiseg.evaluation.predictions import PredictionFolder

NOT_UTF8 = os.fsdecode(b"caf\xe9")
NAMES = ["plain", "mit Leerzeichen ü", "道路", NOT_UTF8, "new\nline", "\x1b[31mred", "<b>&\"'$x$", "%_{}#~^", "a" * 250]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0001", "0001"),
        ("straße 道.jpg", "straße 道.jpg"),
        ("caf\udce9", "caf%E9"),
        ("a\nb\x1b", "a%0Ab%1B"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a/../../b", "a%2F..%2F..%2Fb"),
        ("a\\b", "a%5Cb"),
        ("a\u202eb", "a%E2%80%AEb"),
        ("%41", "%41"),
    ],
)
def test_an_id_is_text_and_one_part_of_a_path(name: str, expected: str) -> None:
    assert clean_id(name) == expected
    assert len(Path("x", clean_id(name)).parts) == 2


def test_a_long_id_is_cut_and_stays_its_own() -> None:
    one, other = clean_id("道" * 90), clean_id("道" * 91)
    assert one != other
    assert max(len(one.encode()), len(other.encode())) <= 250
    assert one.startswith("道" * 70)
    with pytest.raises(DataError, match="at least one character"):
        clean_id("")


def test_messages_are_one_line_whatever_they_name() -> None:
    assert str(DataError(f"a\nb\x1b[0m {NOT_UTF8} \u2028 ü 道")) == "a\\nb\\x1b[0m caf\\udce9 \\u2028 ü 道"
    assert printable("plain ü\u200d") == "plain ü\u200d"


@pytest.fixture
def odd_names(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for index, name in enumerate(NAMES):
            for kind, shape in (("images", (8, 8, 3)), ("labels", (8, 8))):
                path = tmp_path / kind / split / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = np.random.default_rng([index, split == "val"]).integers(0, 2, shape, dtype=np.uint8)
                Image.fromarray(noise * (100 if kind == "images" else 1)).save(path)
    (tmp_path / "data.yaml").write_text(
        yaml.safe_dump({"train": "images/train", "val": "images/val", "names": ["a", "b"]})
    )
    return tmp_path / "data.yaml"


def test_files_of_any_name_are_listed_read_cached_and_checked(odd_names: Path, tmp_path: Path) -> None:
    spec = load_dataset_spec(odd_names)
    samples = list_samples(spec, "train")
    assert sorted(sample.id for sample in samples) == sorted(map(clean_id, NAMES))
    json.dumps([sample.id for sample in samples], ensure_ascii=False).encode()
    cache = SampleCache(spec, CacheStorage("disk", tmp_path), StoredSize((32, 32), "fixed", original_labels=True))
    for _ in range(2):
        for sample in samples:
            np.testing.assert_array_equal(cache.read_pair(sample).label, sample.read_pair(spec)[1])
    assert count_masks(spec, samples).classes.sum() == 64 * len(NAMES)
    report = check_dataset(spec, processes=1)
    assert report.faults == []
    json.dumps(report.to_dict(), ensure_ascii=False).encode()


def test_a_list_names_any_file_and_another_systems_paths(odd_names: Path) -> None:
    folder = odd_names.parent
    written = [os.fsencode(f"images/train/{name}.png") for name in NAMES if "\n" not in name]
    written[0] = b"\xef\xbb\xbf" + written[0]
    written[1] = written[1].replace(b"/", b"\\")
    (folder / "list.txt").write_bytes(b"\r\n".join(written))
    odd_names.write_text(yaml.safe_dump({"train": "list.txt", "names": ["a", "b"]}))
    ids = {sample.id for sample in list_samples(load_dataset_spec(odd_names), "train")}
    assert ids == {clean_id(name) for name in NAMES if "\n" not in name}


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_hidden_folders_are_passed_over_and_noted(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", ".b.png", ".old/a.png", "__MACOSX/a.png", "x/@eaDir/a.png", "x/b.png", ".ipynb/c/d.png")
    hidden = [".b.png", ".ipynb", ".old", "__MACOSX", "x/@eaDir"]
    for found in (
        lambda noted: list(walk_files(str(tmp_path), noted)),
        lambda noted: glob_files(f"{tmp_path}/**/*.png", noted),
        lambda noted: glob_files(f"{tmp_path}/**", noted),
    ):
        noted: list[str] = []
        assert sorted(os.path.relpath(path, tmp_path) for path in found(noted)) == ["a.png", "x/b.png"]
        assert sorted(os.path.relpath(path, tmp_path) for path in noted) == hidden
    noted = []
    assert glob_files(f"{tmp_path}/*/*.png", noted) == [f"{tmp_path}/x/b.png"]
    assert sorted(noted) == [f"{tmp_path}/{name}/a.png" for name in (".old", "__MACOSX")]
    # Where it is named, it is meant.
    assert list(walk_files(str(tmp_path / ".old"), [])) == [f"{tmp_path}/.old/a.png"]
    assert glob_files(f"{tmp_path}/.old/*.png", []) == [f"{tmp_path}/.old/a.png"]


@pytest.mark.timeout(30)
def test_links_into_parents_end(tmp_path: Path) -> None:
    fill(tmp_path, "a/b/1.png", "a/2.png")
    for index in range(8):
        (tmp_path / "a" / f"up{index}").symlink_to(tmp_path)
        (tmp_path / "a" / "b" / f"up{index}").symlink_to(tmp_path / "a")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "a" / "b")
    expected = ["a/2.png", "a/b/1.png"]
    assert sorted(os.path.relpath(path, tmp_path) for path in walk_files(str(tmp_path), [])) == expected
    assert sorted(os.path.relpath(path, tmp_path) for path in glob_files(f"{tmp_path}/**/*.png", [])) == expected


def test_a_double_star_stands_for_any_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "1.png", "a/2.png", "a/b/3.png", "a/b/c.jpg", "z/b/4.png")
    monkeypatch.chdir(tmp_path)
    for pattern in ("**/*.png", "a/**/*.png", "**/b/*.png", "*/**/b/*", "a/**", "**/b/**"):
        expected = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())  # noqa: PTH207
        assert sorted(glob_files(pattern, [])) == expected, pattern


@pytest.mark.heavy
def test_a_run_ends_whole_on_files_of_any_name(
    odd_names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effiseg_command: Any
) -> None:
    monkeypatch.setattr("effiseg.runs.report_at_end", lambda *arguments, **others: None)
    small = {"image_size": (32, 32), "batch_size": 2, "workers": 1, "device": "cpu", "epochs": 1, "init": None}
    run = effiseg.train(data=odd_names, out=tmp_path / "run", **small)
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert sorted(results["val"]["image_iou"]) == sorted(map(clean_id, NAMES))
    damaged = odd_names.parent / "images" / "val" / f"no {NOT_UTF8}.jpg"
    damaged.write_bytes(b"no image")
    done = effiseg_command("predict", run.path, odd_names.parent / "images" / "val", "--out", tmp_path / "out",
                       "--save", "labels")  # fmt: skip
    damaged.unlink()
    assert done.returncode == 1, done.stderr
    assert "caf\\udce9.jpg: not an image" in done.stderr
    assert {path.stem for path in (tmp_path / "out" / "labels").iterdir()} == set(map(clean_id, NAMES))
    scored = effiseg.evaluate(run, odd_names, "val", workers=0)
    assert effiseg.evaluate(PredictionFolder(tmp_path / "out"), odd_names, "val", workers=0).miou == scored.miou
