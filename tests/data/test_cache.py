from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from effiseg.config.data import AugmentationConfig, Resize
from effiseg.data.cache import SampleCache, StoredSize
from effiseg.data.cache_storage import CacheStorage
from effiseg.data.dataset import EvaluationDataset, SegmentationDataset, start_worker
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.file_sample import FileSample
from effiseg.data.sample import Sample
from effiseg.data.samples import list_samples
from effiseg.errors import DataError

SIZES = ((40, 60), (33, 47), (80, 50), (130, 200), (64, 96), (400, 31))
INPUT = (48, 64)


@pytest.fixture
def spec(make_dataset) -> DatasetSpec:
    return load_dataset_spec(make_dataset(sizes=SIZES))


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CacheStorage:
    """On disk, with room whatever the machine has."""
    monkeypatch.setattr(CacheStorage, "room", lambda self: 2**40)
    (tmp_path / "cache").mkdir()
    return CacheStorage("disk", tmp_path / "cache")


def training(
    spec: DatasetSpec, storage: CacheStorage | None, knobs: AugmentationConfig, resize: Resize = "keep_ratio"
) -> SegmentationDataset:
    cache = None if storage is None else SampleCache(spec, storage, StoredSize.for_training(INPUT, resize, knobs))
    return SegmentationDataset(list_samples(spec, "train"), spec, INPUT, resize, knobs, 7, cache)


def small_cache(spec: DatasetSpec, storage: CacheStorage) -> tuple[SampleCache, list[Sample]]:
    """A cache that stores pairs as they are, and the samples."""
    knobs = AugmentationConfig(scale_max=10.0).filled_from("standard")
    return SampleCache(spec, storage, StoredSize.for_training(INPUT, "keep_ratio", knobs)), list_samples(spec, "train")


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return (
        torch.equal(first["image"], second["image"])
        and torch.equal(first["label"], second["label"])
        and first["id"] == second["id"]
    )


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if len(path.name) == 32)


def is_pair(cache: SampleCache, sample: Sample) -> bool:
    """Whether the cache returns the pair of the sample's files, not reduced."""
    image, label = sample.read_pair(cache.spec)
    stored = cache.read_pair(sample)
    return bool((stored.image == image).all() and (stored.label == label).all())


@pytest.mark.parametrize("resize", ["keep_ratio", "fixed"])
@pytest.mark.parametrize(
    "knobs",
    [
        AugmentationConfig().filled_from("none"),
        AugmentationConfig().filled_from("paper"),
        AugmentationConfig(scale_min=0.3, scale_max=10.0, shift_pixels=5).filled_from("standard"),
    ],
    ids=["none", "paper", "originals kept"],
)
def test_samples_are_the_same_bit_for_bit(
    spec: DatasetSpec, storage: CacheStorage, knobs: AugmentationConfig, resize: Resize
) -> None:
    plain, cached = training(spec, None, knobs, resize), training(spec, storage, knobs, resize)
    keys = [(epoch, index) for epoch in range(3) for index in range(len(SIZES))]  # epoch 0 fills
    assert all(same(plain[key], cached[key]) for key in keys)
    assert len(entries(storage.folder)) == len(SIZES)
    kept = [(cached.cache.read_pair(s).image.shape[:2] == size) for s, size in zip(cached.samples, SIZES, strict=True)]
    assert all(kept) == (knobs.scale_max == 10.0)


def test_reduced_samples_differ_little_and_do_not_depend_on_being_cached(
    spec: DatasetSpec, storage: CacheStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    smooth = Image.effect_noise((1600, 800), 60).resize((400, 200), Image.Resampling.BICUBIC)  # as photographs are
    samples = list_samples(spec, "train")
    Image.merge("RGB", [smooth] * 3).save(samples[0].image)
    Image.fromarray(np.repeat(np.arange(400) // 150, 200).reshape(400, 200).T.astype(np.uint8)).save(samples[0].mask)
    knobs = AugmentationConfig(scale_min=0.9, scale_max=1.5).filled_from("standard")
    plain, cached = training(spec, None, knobs), training(spec, storage, knobs)
    monkeypatch.setattr(CacheStorage, "room", lambda self: 0)
    refused = [cached[(epoch, 0)] for epoch in range(8)]
    assert not entries(storage.folder)
    monkeypatch.undo()
    monkeypatch.setattr(CacheStorage, "room", lambda self: 2**40)
    for epoch, item in enumerate(refused):
        stored = cached[(epoch, 0)]
        assert same(stored, item)
        original = plain[(epoch, 0)]
        assert (stored["image"].float() - original["image"].float()).abs().mean() < 4
        assert (stored["label"] == original["label"]).float().mean() > 0.97
    assert cached.cache.read_pair(samples[0]).image.shape == (48, 96, 3)


@pytest.mark.parametrize("resize", ["keep_ratio", "fixed"])
def test_evaluation_is_the_same_bit_for_bit(spec: DatasetSpec, storage: CacheStorage, resize: Resize) -> None:
    samples = list_samples(spec, "val")
    cache = SampleCache(spec, storage, StoredSize.for_evaluation(INPUT, resize))
    plain = EvaluationDataset(samples, spec, INPUT, resize)
    cached = EvaluationDataset(samples, spec, INPUT, resize, cache)
    for index in [*range(len(samples)), *range(len(samples))]:
        a, b = plain[index], cached[index]
        assert (a.id, a.valid_size) == (b.id, b.valid_size)
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.label, b.label)
        b.label[0, 0] = 1  # its own memory
    assert cache.count(samples) == len(samples)


def test_a_later_run_decodes_nothing(spec: DatasetSpec, storage: CacheStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    first, samples = small_cache(spec, storage)
    assert first.count(samples) == 0
    before = [first.read_pair(sample) for sample in samples]
    monkeypatch.setattr(FileSample, "read_pair", lambda *arguments: pytest.fail("decoded again"))
    second, _ = small_cache(spec, storage)
    assert second.count(samples) == len(samples)
    for sample, old in zip(samples, before, strict=True):
        new = second.read_pair(sample)
        assert (new.image == old.image).all()
        assert (new.label == old.label).all()
        assert new.original_shape == old.original_shape
        assert not new.image.flags.writeable  # the file


def test_settings_that_change_content_have_folders_of_their_own(spec: DatasetSpec, storage: CacheStorage) -> None:
    from dataclasses import replace

    sizes = [
        StoredSize((48, 64), "keep_ratio"),
        StoredSize((48, 96), "keep_ratio"),
        StoredSize((48, 64), "fixed"),
        StoredSize((48, 64), "keep_ratio", 2.0),
        StoredSize((48, 64), "keep_ratio", original_labels=True),
    ]
    specs = [replace(spec, ignore_index=254), replace(spec, label_mapping={0: 0, 1: 0, 2: 1})]
    caches = [SampleCache(spec, storage, size) for size in sizes]
    caches += [SampleCache(other, storage, sizes[0]) for other in specs]
    assert len({cache.folder for cache in caches}) == len(caches)
    assert SampleCache(spec, storage, sizes[0]).folder == caches[0].folder
    assert json.loads((caches[1].folder / "settings.json").read_text())["image_size"] == [48, 96]
    sample = list_samples(spec, "train")[0]
    assert set(np.unique(caches[-1].read_pair(sample).label)) == {0, 1, 255}


@pytest.mark.parametrize(
    "damage", ["empty", "short", "header", "long", "one byte less", "other format", "a pixel", "a label", "zeros"]
)
def test_a_damaged_entry_is_ignored_and_written_anew(spec: DatasetSpec, storage: CacheStorage, damage: str) -> None:
    cache, samples = small_cache(spec, storage)
    cache.read_pair(samples[0])
    (path,) = entries(storage.folder)
    whole = path.read_bytes()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "short":
            path.write_bytes(whole[:40])
        case "header":
            path.write_bytes(whole[:12] + b"\xff" + whole[13:])
        case "long":
            path.write_bytes(whole + b"\0")
        case "one byte less":
            path.write_bytes(whole[:-1])
        case "other format":
            path.write_bytes(b"effiseg0" + whole[8:])
        case "a pixel":
            assert is_pair(cache, samples[0])  # it has been read whole before
            path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
        case "a label":
            path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        case "zeros":
            path.write_bytes(whole[:64] + bytes(len(whole) - 64))
    assert is_pair(cache, samples[0])
    assert path.read_bytes() == whole


@pytest.mark.parametrize("changed", ["image", "mask"])
def test_a_replaced_file_is_never_served_from_the_cache(spec: DatasetSpec, storage: CacheStorage, changed: str) -> None:
    cache, samples = small_cache(spec, storage)
    sample = samples[0]
    old = cache.read_pair(sample)
    path = getattr(sample, changed)
    shape = (40, 60, 3) if changed == "image" else (40, 60)
    Image.fromarray(np.full(shape, 2, np.uint8)).save(path)
    assert is_pair(cache, sample)
    assert (getattr(cache.read_pair(sample), "label" if changed == "mask" else "image") == 2).all()
    assert old.image.any()  # the mapped old entry is still whole
    os.utime(path, ns=(1, 1))  # the same size
    Image.open(path)
    assert is_pair(cache, sample)
    assert len(entries(storage.folder)) == 1  # nothing is left behind
    path.unlink()
    with pytest.raises(DataError, match=path.name):
        cache.read_pair(sample)


def test_names_are_told_apart_by_their_folder(make_dataset, storage: CacheStorage) -> None:
    cache, train = small_cache(load_dataset_spec(make_dataset()), storage)
    val = list_samples(cache.spec, "val")
    for sample in [*train, *val, *train, *val]:
        assert is_pair(cache, sample)
    assert cache.count(train) == len(train)
    assert len(entries(storage.folder)) == len(train) + len(val)


def test_without_room_reading_goes_on(
    spec: DatasetSpec, storage: CacheStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, samples = small_cache(spec, storage)
    room = [10**6, 10**6, 100]
    monkeypatch.setattr(CacheStorage, "room", lambda self: room.pop(0) if room else 0)
    assert all(is_pair(cache, sample) for sample in samples[:2])
    assert not cache.is_full
    assert all(is_pair(cache, sample) for sample in samples[2:])
    assert cache.is_full
    assert cache.count(samples) == len(entries(storage.folder)) == 2
    assert not small_cache(spec, storage)[0].is_full  # a later run asks anew


def test_a_write_that_fails_leaves_nothing(
    spec: DatasetSpec, storage: CacheStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, samples = small_cache(spec, storage)

    def replace(self: Path, target: Path) -> Path:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(Path, "replace", replace)
    assert is_pair(cache, samples[0])
    assert cache.is_full
    assert sorted(path.name for path in cache.folder.iterdir()) == ["full", "settings.json"]


def test_temporary_files_of_dead_processes_are_removed_when_old(spec: DatasetSpec, storage: CacheStorage) -> None:
    cache, _ = small_cache(spec, storage)
    young, old = cache.folder / "a.1.partial", cache.folder / "b.2.partial"
    young.touch()
    old.touch()
    os.utime(old, (time.time() - 3600,) * 2)
    small_cache(spec, storage)
    assert young.exists()
    assert not old.exists()


def test_a_cache_that_is_emptied_meanwhile_is_no_error(spec: DatasetSpec, storage: CacheStorage) -> None:
    cache, samples = small_cache(spec, storage)
    stored = cache.read_pair(samples[0])
    shutil.rmtree(storage.folder)
    assert stored.image.any()  # what was mapped stays
    assert all(is_pair(cache, sample) for sample in samples)
    assert cache.count(samples) == 0


def test_spawned_workers_fill_and_read(spec: DatasetSpec, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    knobs = AugmentationConfig(scale_max=10.0).filled_from("standard")
    dataset = training(spec, CacheStorage("disk", tmp_path / "cache"), knobs)
    assert pickle.loads(pickle.dumps(dataset)).cache.folder == dataset.cache.folder
    keys = [(epoch, index) for epoch in range(2) for index in range(len(SIZES))]
    loader = DataLoader(
        dataset,
        sampler=keys,
        batch_size=None,
        num_workers=1,
        worker_init_fn=start_worker,
        multiprocessing_context="spawn",
    )
    plain = training(spec, None, knobs)
    assert all(same(item, plain[key]) for item, key in zip(loader, keys, strict=True))
    if dataset.cache.storage.room() > 10**6:
        assert dataset.cache.count(dataset.samples) == len(SIZES)


FILL = """
import sys
from pathlib import Path
from effiseg.data.cache import SampleCache, StoredSize
from effiseg.data.cache_storage import CacheStorage
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.samples import list_samples

CacheStorage.room = lambda self: 2**40
spec = load_dataset_spec(sys.argv[1])
cache = SampleCache(spec, CacheStorage("disk", Path(sys.argv[2])), StoredSize((480, 640), "keep_ratio", 10.0))
samples = list_samples(spec, "train")
print("started", flush=True)
for _ in range(int(sys.argv[3])):
    for sample in samples:
        cache.read_pair(sample)
        if sys.argv[4] == "anew":
            for path in cache.folder.glob("?" * 32):
                path.unlink(missing_ok=True)
"""


def fill(spec: DatasetSpec, storage: CacheStorage, rounds: int, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FILL, str(spec.source), str(storage.folder), str(rounds), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def whole_cache(spec: DatasetSpec, storage: CacheStorage) -> SampleCache:
    return SampleCache(spec, storage, StoredSize((480, 640), "keep_ratio", 10.0))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is a POSIX thing")
def test_a_kill_while_filling_leaves_whole_entries_or_none(make_dataset, storage: CacheStorage) -> None:
    spec = load_dataset_spec(make_dataset(sizes=((400, 600),) * 3, splits=("train",)))
    samples = list_samples(spec, "train")
    for seconds in (0.01, 0.05, 0.12):
        process = fill(spec, storage, 10**6, "anew")
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        process.wait()
    cache = whole_cache(spec, storage)
    for path in entries(storage.folder):
        assert path.stat().st_size == 64 + 4 * 400 * 600
    assert all(is_pair(cache, sample) for sample in [*samples, *samples])
    assert cache.count(samples) == 3


def test_two_processes_fill_at_once(make_dataset, storage: CacheStorage) -> None:
    spec = load_dataset_spec(make_dataset(sizes=((200, 300),) * 4, splits=("train",)))
    processes = [fill(spec, storage, 5, how) for how in ("anew", "keep")]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert not [*storage.folder.rglob("*.partial"), *storage.folder.rglob("full")]
    cache = whole_cache(spec, storage)
    assert all(is_pair(cache, sample) for sample in list_samples(spec, "train"))
