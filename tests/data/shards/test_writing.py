"""Shards hold the files' bytes, in the format of the library that they are named after."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from effiseg.data.check import check_dataset
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.picture_sources import spec_of_pictures
from effiseg.data.samples import list_samples
from effiseg.data.shards.writing import shard_dataset
from effiseg.data.unlabeled_samples import list_unlabeled
from effiseg.errors import DataError
from effiseg.files import read_json

webdataset = pytest.importorskip("webdataset")
SHARD_MB = 0.03


def test_webdataset_reads_the_files_bytes(shards: Path, colour_data: Path) -> None:
    urls = [str(path) for path in sorted(shards.glob("train-*.tar"))]
    found = {one["__key__"]: one for one in webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)}
    root = colour_data.parent
    files = sorted((root / "images" / "train").iterdir())
    assert sorted(found) == [path.stem for path in files]
    for path in files:
        assert found[path.stem]["png"] == path.read_bytes()
        assert found[path.stem]["mask.png"] == (root / "labels" / "train" / path.name).read_bytes()


def test_samples_are_those_of_the_files(shards: Path, colour_data: Path) -> None:
    ours, theirs = load_dataset_spec(shards / "data.yaml"), load_dataset_spec(colour_data)
    assert ours.names == theirs.names
    for split in theirs.splits:
        of_files = {sample.id: sample for sample in list_samples(theirs, split)}
        in_shards = list_samples(ours, split)
        assert sorted(sample.id for sample in in_shards) == sorted(of_files)
        for sample in in_shards:
            image, label = sample.read_pair(ours)
            other_image, other_label = of_files[sample.id].read_pair(theirs)
            assert (image == other_image).all()
            assert (label == other_label).all()


def test_the_record_counts_samples_and_pixels(shards: Path, colour_data: Path) -> None:
    record = read_json(shards / "shards.json")
    report = check_dataset(load_dataset_spec(colour_data), processes=1)
    for split, pixels in report.class_pixels.items():
        assert record["splits"][split]["samples"] == report.images[split]
        assert list(record["splits"][split]["class_pixels"].values()) == pixels.tolist()
        for shard in record["splits"][split]["shards"]:
            data = (shards / shard["name"]).read_bytes()
            assert shard["digest"] == hashlib.blake2b(data, digest_size=32).hexdigest()
            assert shard["bytes"] == len(data)


def test_what_is_missing_is_written_and_no_more(shards: Path, colour_data: Path) -> None:
    before = {path.name: path.read_bytes() for path in shards.glob("*.tar")}
    times = {path.name: path.stat().st_mtime_ns for path in shards.glob("*.tar")}
    (shards / "train-000001.tar").unlink()
    (shards / "train-000002.index.json").unlink()
    shard_dataset(load_dataset_spec(colour_data), shards, shard_mb=SHARD_MB, processes=1)
    assert {path.name: path.read_bytes() for path in shards.glob("*.tar")} == before
    written = {path.name for path in shards.glob("*.tar") if path.stat().st_mtime_ns != times[path.name]}
    assert written == {"train-000001.tar", "train-000002.tar"}
    with pytest.raises(DataError, match="other shard_mb"):
        shard_dataset(load_dataset_spec(colour_data), shards, shard_mb=0.01)


def test_a_killed_command_goes_on(colour_data: Path, tmp_path: Path) -> None:
    """SIGKILL as soon as a shard is there; the same command completes the folder."""
    out = tmp_path / "killed"
    words = [
        sys.executable,
        "-m",
        "effiseg",
        "data",
        "shard",
        str(colour_data),
        "--out",
        str(out),
        "--shard_mb",
        "0.02",
    ]
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(out.glob("*.tar")) and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(first.pid, signal.SIGKILL)  # its own processes too, or they may still be writing
    first.wait()
    second = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert second.returncode == 0, second.stderr
    assert "train 14 in" in second.stdout
    assert not list(out.glob(".*.partial"))
    assert not check_dataset(load_dataset_spec(out / "data.yaml"), processes=1).faults


def test_pictures_without_masks(colour_data: Path, tmp_path: Path) -> None:
    pictures = colour_data.parent / "images" / "train"
    splits = shard_dataset(spec_of_pictures(str(pictures)), tmp_path / "out", shard_mb=SHARD_MB, processes=1)
    assert splits["unlabeled"]["samples"] == 14
    assert not (tmp_path / "out" / "data.yaml").exists()
    samples = list_unlabeled(spec_of_pictures(str(tmp_path / "out" / "*.tar")), [])
    assert sorted(sample.id for sample in samples) == sorted(path.stem for path in pictures.iterdir())


def test_check_names_a_changed_shard(shards: Path) -> None:
    spec = load_dataset_spec(shards / "data.yaml")
    assert not check_dataset(spec, processes=1).faults
    path = shards / "val-000000.tar"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # in the padding: every picture can still be read
    path.write_bytes(data)
    assert [finding.kind for finding in check_dataset(spec, processes=1).faults] == ["shard"]


def test_a_folder_that_holds_something_else_is_refused(colour_data: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt"):
        shard_dataset(load_dataset_spec(colour_data), tmp_path)
