from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.config.data import AugmentationConfig
from effiseg.config.training import TrainConfig
from effiseg.data import cache_storage
from effiseg.data.batch_sampler import TrainingBatchSampler
from effiseg.data.cache_storage import CacheStorage
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.errors import DataError


def sampler(num_samples: int = 23, batch_size: int = 2, epochs: int = 3, **options: Any) -> TrainingBatchSampler:
    return TrainingBatchSampler(num_samples, batch_size, epochs, seed=5, **options)


def module(file: Path, **changes: Any) -> SegmentationDataModule:
    options = {"image_size": "32x32", "batch_size": 2, "epochs": 2, "workers": 0, "device": "cpu"} | changes
    return SegmentationDataModule(TrainConfig(**options), load_dataset_spec(file))


def test_an_epoch_is_a_permutation_without_its_incomplete_last_batch() -> None:
    batches = list(sampler())
    assert len(batches) == len(sampler()) == 3 * 11
    for epoch in range(3):
        keys = [key for batch in batches[11 * epoch : 11 * (epoch + 1)] for key in batch]
        assert {key[0] for key in keys} == {epoch}
        assert len({key[1] for key in keys}) == 22
        assert {key[1] for key in keys} <= set(range(23))
    orders = [tuple(sampler().order(epoch)) for epoch in range(3)]
    assert len(set(orders)) == 3
    assert batches == list(sampler())
    assert batches != list(TrainingBatchSampler(23, 2, 3, seed=6))


@pytest.mark.parametrize(("epoch", "done"), [(0, 0), (0, 4), (1, 0), (1, 10), (1, 11), (2, 11), (3, 0)])
def test_from_a_position_comes_exactly_the_rest(epoch: int, done: int) -> None:
    everything = list(sampler())
    rest = sampler()
    rest.set_position(epoch, done)
    assert len(rest) == len(everything) - 11 * epoch - done
    assert list(rest) == everything[11 * epoch + done :]
    assert list(rest) == everything[11 * epoch + done :]  # an iteration does not move it


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_step_has_the_same_samples_however_many_processes_share_it(epoch: int) -> None:
    def steps(batch_size: int, accumulate: int, processes: int) -> list[Counter[tuple[int, int]]]:
        parts = []
        for index in range(processes):
            one = sampler(
                num_samples=43,
                batch_size=batch_size,
                accumulate=accumulate,
                num_processes=processes,
                process_index=index,
            )
            one.set_position(epoch)
            parts.append(list(itertools.islice(one, one.batches_per_epoch)))
            assert one.batches_per_epoch == 43 // 8 * accumulate
        return [
            Counter(key for part in parts for batch in part[s : s + accumulate] for key in batch)
            for s in range(0, len(parts[0]), accumulate)
        ]

    alone = steps(8, 1, 1)
    assert steps(4, 2, 1) == steps(4, 1, 2) == steps(2, 2, 2) == steps(2, 1, 4) == steps(1, 4, 2) == alone


def test_the_process_is_asked_for_when_the_iteration_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = sampler(num_processes=2)
    first = list(shared)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    assert list(shared) == list(sampler(num_processes=2, process_index=1)) != first


def test_a_split_smaller_than_a_batch_is_repeated() -> None:
    small = sampler(num_samples=3, batch_size=4, epochs=1, accumulate=2)
    batches = list(small)
    assert [len(batch) for batch in batches] == [4, 4]
    assert sorted(Counter(index for batch in batches for _, index in batch).values()) == [2, 3, 3]


def collect(loader: Any) -> list[tuple[list[str], torch.Tensor, torch.Tensor]]:
    return [(batch["id"], batch["image"], batch["label"]) for batch in loader]


def equal(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(
        a[0] == b[0] and torch.equal(a[1], b[1]) and torch.equal(a[2], b[2]) for a, b in zip(first, second, strict=True)
    )


def test_batches_do_not_depend_on_workers_or_on_where_the_run_was_cut(make_dataset) -> None:
    file = make_dataset(sizes=((40, 60), (33, 47), (80, 50), (64, 96), (40, 40), (32, 32), (50, 70)))
    whole = collect(module(file).train_dataloader())
    assert len(whole) == 2 * module(file).batches_per_epoch == 6
    names, images, labels = whole[0]
    assert len(names) == 2
    assert images.shape == (2, 3, 32, 32)
    assert labels.shape == (2, 32, 32)
    assert images.dtype == labels.dtype == torch.uint8
    assert equal(collect(module(file, workers=2).train_dataloader()), whole)
    for epoch, done in ((0, 2), (1, 1)):
        cut = module(file, workers=1)
        cut.set_position(epoch, done)
        assert equal(collect(cut.train_dataloader()), whole[3 * epoch + done :])


def test_spawned_workers_give_the_same_batches(make_dataset) -> None:
    file = make_dataset()
    loader = module(file, workers=1).train_dataloader()
    loader.multiprocessing_context = "spawn"
    assert equal(collect(loader), collect(module(file).train_dataloader()))


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_the_random_state_alone(make_dataset, workers: int) -> None:
    data = module(make_dataset(), workers=workers)
    torch.manual_seed(3)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(data.train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()


def test_setup_checks_the_first_batch_of_train_and_val(make_dataset) -> None:
    file = make_dataset()
    first = next(iter(module(file).train_dataloader()))["id"][0]
    mask = file.parent / "labels" / "train" / f"{first}.png"
    whole = mask.read_bytes()
    Image.fromarray(np.full((40, 60), 77, np.uint8)).save(mask)
    with pytest.raises(DataError, match=f"train/{first}.png: mask values must be classes 0 to 2"):
        module(file).setup("fit")
    mask.write_bytes(whole)
    (file.parent / "labels" / "val" / "005.png").unlink()
    with pytest.raises(DataError, match=r"val/005\.png: every image needs a mask"):
        module(file).setup("fit")


def test_training_needs_no_val_split(make_dataset) -> None:
    data = module(make_dataset(splits=("train",)))
    data.setup("fit")
    assert [sample.id for sample in data.train_samples] == [f"{i:03d}" for i in range(6)]
    assert len(list(data.train_dataloader())) == 2 * 3


SIGNALLED = """
import os, signal, sys
from pathlib import Path
from effiseg.config.training import TrainConfig
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import load_dataset_spec

noted = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *arguments: noted.append(arguments[0]))
config = TrainConfig(image_size="32x32", batch_size=2, epochs=20, workers=2, device="cpu")
loader = SegmentationDataModule(config, load_dataset_spec(sys.argv[1])).train_dataloader()
seen = 0
for batch in loader:
    seen += 1
    if seen == 2:
        os.killpg(0, signal.SIGINT)
        os.killpg(0, signal.SIGTERM)
print(seen, len(loader), sorted(noted))
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are a POSIX thing")
def test_workers_survive_signals_to_the_process_group(make_dataset) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, str(make_dataset())],
        capture_output=True, text=True, timeout=120, check=False, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == ["60", "60", f"[{int(signal.SIGINT)},", f"{int(signal.SIGTERM)}]"], done.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_a_disk_cache_changes_no_sample_and_says_how_far_it_is(
    make_dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("EFFISEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(CacheStorage, "room", lambda self: 2**40)
    file = make_dataset(sizes=((40, 60),) * 6)
    plain = module(file)
    assert plain.cache_status() is None
    data = module(file, cache="disk", workers=workers, augment="paper")
    data.setup("fit")
    assert data.cache_status() == f"cache: 0 of 6 training images in {data.train_cache.folder}"
    assert data.cache_difference() is None
    expected = collect(module(file, augment="paper").train_dataloader())
    assert equal(collect(data.train_dataloader()), expected)
    assert data.cache_status() == f"cache: 6 of 6 training images in {data.train_cache.folder}"
    assert data.cache_status() is None
    assert equal(collect(data.train_dataloader()), expected)
    again = module(file, cache="disk", augment="paper")
    again.setup("fit")
    assert again.cache_status().startswith("cache: 6 of 6")
    reduced = module(file, cache="disk", **{"augmentation": AugmentationConfig(scale_max=1.2)})
    reduced.setup("fit")
    assert "40x60 are kept at 25x38" in reduced.cache_difference()


def test_a_full_cache_is_told_once(make_dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFISEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(CacheStorage, "room", lambda self: 0)
    data = module(make_dataset(), cache="disk")
    assert equal(collect(data.train_dataloader()), collect(module(data.spec.source).train_dataloader()))
    assert "0 of 6" in (status := data.cache_status())
    assert "the rest is decoded every epoch, because 2 GiB and 5 %" in status
    assert data.cache_status() is None


def test_a_cache_in_memory_is_filled_and_goes_with_the_run(
    make_dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_storage, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(CacheStorage, "room", lambda self: 2**40)
    data = module(make_dataset(), cache="ram", workers=1)
    assert equal(collect(data.train_dataloader()), collect(module(data.spec.source).train_dataloader()))
    assert data.cache_status().startswith(f"cache: 6 of 6 training images in {tmp_path}/effiseg-")
    data.close()
    assert not list(tmp_path.glob("*effiseg-*"))
