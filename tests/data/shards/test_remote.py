"""Shards on servers of localhost: copied whole, once, and read from the copy."""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from effiseg.data.picture_sources import spec_of_pictures
from effiseg.data.shards.remote import local_place, shown
from effiseg.data.unlabeled_samples import list_unlabeled
from effiseg.errors import DataError

asked: Counter[str] = Counter()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and notes what is asked for."""

    def do_GET(self) -> None:
        asked[self.path] += 1
        super().do_GET()

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def server(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("EFFISEG_CACHE", str(tmp_path / "cache"))
    asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(shards))) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_address[1]}"
        listener.shutdown()


def test_a_shard_is_copied_when_it_is_read(server: str, shards: Path) -> None:
    samples = list_unlabeled(spec_of_pictures(f"{server}/train-{{000000..000001}}.tar"), [])
    assert {path for path in asked if path.endswith(".tar")} == set(), "indices alone are needed to list"
    images = [sample.read_image() for sample in samples]
    local = list_unlabeled(spec_of_pictures(str(shards / "train-00000[01].tar")), [])
    assert [sample.id for sample in samples] == [sample.id for sample in local]
    assert all((image == sample.read_image()).all() for image, sample in zip(images, local, strict=True))
    assert asked["/train-000000.tar"] == asked["/train-000001.tar"] == 1
    place = local_place(f"{server}/train-000000.tar")
    assert place.read_bytes() == (shards / "train-000000.tar").read_bytes()


def test_without_an_index_the_copy_is_indexed(server: str, shards: Path) -> None:
    expected = [sample.id for sample in list_unlabeled(spec_of_pictures(str(shards / "val-000000.tar")), [])]
    (shards / "val-000000.index.json").unlink()
    found = list_unlabeled(spec_of_pictures(f"{server}/val-000000.tar"), [])
    assert [sample.id for sample in found] == expected
    with pytest.raises(DataError, match=r"none\.tar: cannot be read") as caught:
        list_unlabeled(spec_of_pictures(f"{server}/none.tar"), [])
    assert "\n" not in str(caught.value)


def test_a_bucket_is_listed_and_read(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server_type = pytest.importorskip("moto.server").ThreadedMotoServer
    s3fs = pytest.importorskip("s3fs")
    listener = server_type("127.0.0.1", port=0)
    listener.start()
    try:
        host, port = listener.get_host_and_port()
        monkeypatch.setenv("EFFISEG_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        bucket = s3fs.S3FileSystem(skip_instance_cache=True)
        monkeypatch.setattr("effiseg.data.shards.remote._file_system", lambda protocol: bucket)
        bucket.mkdir("pictures")
        for path in shards.glob("train-*"):
            bucket.put_file(str(path), f"pictures/{path.name}")
        samples = list_unlabeled(spec_of_pictures("s3://pictures/train-*.tar"), [])
        assert len(samples) == 14
        assert samples[13].read_image().shape == (48, 64, 3)
    finally:
        listener.stop()


def test_passwords_and_signatures_are_not_shown() -> None:
    assert shown("https://me:secret@host/a/b.tar?X-Amz-Signature=abc") == "https://host/a/b.tar"
