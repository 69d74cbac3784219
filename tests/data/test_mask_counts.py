from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effiseg.data import mask_counts
from effiseg.data.dataset_spec import DatasetSpec, load_dataset_spec
from effiseg.data.mask_counts import MaskCounts, count_masks
from effiseg.data.samples import list_samples


@pytest.fixture
def spec(make_dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetSpec:
    monkeypatch.setenv("EFFISEG_CACHE", str(tmp_path / "cache"))
    return load_dataset_spec(make_dataset())


def counted(spec: DatasetSpec) -> tuple[MaskCounts, int]:
    """The counts of train, and how many masks were read for them."""
    read: list[int] = []
    counts = count_masks(spec, list_samples(spec, "train"), lambda done, total: read.append(done))
    return counts, len(read)


def same(first: MaskCounts, second: MaskCounts) -> bool:
    return (
        np.array_equal(first.classes, second.classes)
        and np.array_equal(first.ignored, second.ignored)
        and first.unlisted == second.unlisted
    )


def test_counts_are_kept_as_long_as_nothing_changes(spec: DatasetSpec, tmp_path: Path) -> None:
    first, read = counted(spec)
    assert read == 6
    again, read = counted(spec)
    assert read == 0
    assert same(again, first)
    assert counted(replace(spec, name="another", source=tmp_path / "another.yaml"))[1] == 0
    assert [path.suffix for path in (tmp_path / "cache" / "statistics").iterdir()] == [".npz"]


def test_a_changed_mask_or_mapping_is_counted_again(spec: DatasetSpec) -> None:
    counted(spec)
    mapped, read = counted(replace(spec, label_mapping={0: 1}))
    assert read == 6
    assert set(mapped.unlisted) == {1, 2}
    assert same(counted(replace(spec, label_mapping={0: 1}))[0], mapped)
    mask = list_samples(spec, "train")[3].mask
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(mask)
    changed, read = counted(spec)
    assert read == 6
    assert changed.classes[3].tolist() == [2400, 0, 0]
    assert changed.ignored[3] == 0
    before = mask.stat()
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
    assert counted(spec)[1] == 6


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nothing", None])
def test_a_damaged_table_is_counted_again(spec: DatasetSpec, tmp_path: Path, damage: bytes | None) -> None:
    first, _ = counted(spec)
    (table,) = (tmp_path / "cache" / "statistics").iterdir()
    table.write_bytes(table.read_bytes()[:-30] if damage is None else damage)
    again, read = counted(spec)
    assert read == 6
    assert same(again, first)
    assert counted(spec)[1] == 0


def test_without_a_place_to_keep_them_counts_are_made_each_time(
    spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EFFISEG_CACHE", str(tmp_path / "file"))
    assert counted(spec)[1] == counted(spec)[1] == 6


def test_the_oldest_tables_go(spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_counts, "_KEPT_TABLES", 2)
    for value in range(4):
        counted(replace(spec, label_mapping={0: 0, 1: 1, 2: 2, 10 + value: 0}))
    assert len(list((tmp_path / "cache" / "statistics").iterdir())) == 2
