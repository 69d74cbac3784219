"""Shards of other software, and what is wrong with entries of shards."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.picture_sources import spec_of_pictures
from effiseg.data.samples import list_samples
from effiseg.data.unlabeled_samples import list_unlabeled
from effiseg.errors import DataError

webdataset = pytest.importorskip("webdataset")
Describe = Callable[..., Path]


def encoded(values: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


def picture(seed: int) -> bytes:
    return encoded(np.random.default_rng(seed).integers(0, 256, (8, 10, 3), np.uint8), "JPEG")


def mask(seed: int) -> bytes:
    return encoded(np.full((8, 10), seed % 2, np.uint8), "PNG")


@pytest.fixture
def describe(tmp_path: Path) -> Describe:
    """`describe(train="a.tar", …)`: a description with two classes."""

    def write(**values: object) -> Path:
        path = tmp_path / "data.yaml"
        path.write_text(yaml.safe_dump({"names": ["a", "b"], **values}))
        return path

    return write


def write_foreign(pattern: str, count: int = 4, per_shard: int = 2, start: int = 0, second: str = "png") -> None:
    with webdataset.ShardWriter(pattern, maxcount=per_shard, verbose=0) as writer:
        for index in range(start, start + count):
            content = {"__key__": f"set/{index:04d}", "jpg": picture(index), second: mask(index), "json": b"{}"}
            writer.write({name: value for name, value in content.items() if value})


def test_foreign_shards_are_indexed_on_first_use(tmp_path: Path, describe: Describe) -> None:
    write_foreign(str(tmp_path / "web-%04d.tar"))
    spec = load_dataset_spec(describe(train="web-{0000..0001}.tar", unlabeled="web-*.tar"))
    samples = list_samples(spec, "train")
    assert [sample.id for sample in samples] == [f"set__{index:04d}" for index in range(4)]
    assert [int(sample.read_labels(spec).label[0, 0]) for sample in samples] == [0, 1, 0, 1]
    assert not list(tmp_path.glob("*.json")), "the index of a foreign shard is kept in the cache"
    assert [sample.id for sample in list_unlabeled(spec, [])] == [sample.id for sample in samples]
    assert [sample.image for sample in list_samples(spec, "train")] == [sample.image for sample in samples]


def test_a_mask_may_have_a_word_or_a_suffix_of_its_own(tmp_path: Path, describe: Describe) -> None:
    write_foreign(str(tmp_path / "seg-%d.tar"), second="seg.png")
    write_foreign(str(tmp_path / "odd-%d.tar"), second="target.png")
    assert len(list_samples(load_dataset_spec(describe(train="seg-*.tar")), "train")) == 4
    with pytest.raises(DataError, match=r"every sample needs a mask .*'set/0000' has jpg, json, target\.png"):
        list_samples(load_dataset_spec(describe(train="odd-*.tar")), "train")
    assert len(list_samples(load_dataset_spec(describe(train="odd-*.tar", mask_suffix=".target.png")), "train")) == 4


def test_equal_keys_in_several_shards_are_told_apart(tmp_path: Path) -> None:
    for name in "ab":
        write_foreign(str(tmp_path / f"{name}-%d.tar"), count=2)
    samples = list_unlabeled(spec_of_pictures(str(tmp_path / "*.tar")), [])
    assert [sample.id for sample in samples] == ["a-0__set__0000", "a-0__set__0001", "b-0__set__0000", "b-0__set__0001"]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("pipe:curl http://x/a.tar", "would run a command"),
        ("ftp://host/a.tar", "found ftp:"),
        ("none-*.tar", "must lead to shards; found none"),
        ("none.tar", "No such file"),
        ("packed.tar", "uncompressed tar"),
        ("cut.tar", r"cut\.tar: .*cut off|cannot be read as one"),
        (["web-0.tar", "pictures"], "must be shards or files"),
        ("apart.tar", "lie together; found 'a'"),
    ],
)
def test_one_line_for_what_is_wrong(entry: object, line: str, tmp_path: Path, describe: Describe) -> None:
    write_foreign(str(tmp_path / "web-%d.tar"))
    whole = (tmp_path / "web-0.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: whole.index(b"\xff\xd8") + 100])
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    with tarfile.open(tmp_path / "apart.tar", "w") as tar:
        for name in ("a.jpg", "b.jpg", "a.png"):
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(DataError, match=line) as caught:
        list_samples(load_dataset_spec(describe(train=entry)), "train")
    assert "\n" not in str(caught.value)


def test_members_that_are_no_files_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "odd.tar", "w") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        real = tarfile.TarInfo("../../real.jpg")
        data = picture(0)
        real.size = len(data)
        tar.addfile(real, io.BytesIO(data))
    samples = list_unlabeled(spec_of_pictures(str(tmp_path / "odd.tar")), [])
    assert [sample.id for sample in samples] == ["..__..__real"]
    assert samples[0].read_image().shape == (8, 10, 3)


def test_a_shard_that_no_longer_fits_its_index_is_refused(shards: Path) -> None:
    path = shards / "val-000000.tar"
    path.write_bytes(path.read_bytes()[:-1024])
    with pytest.raises(DataError, match=r"val-000000\.tar: must have the"):
        list_samples(load_dataset_spec(shards / "data.yaml"), "val")
