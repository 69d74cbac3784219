from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from effiseg.data import cache_storage
from effiseg.data.cache_storage import GIB, CacheStorage, open_disk_storage, open_ram_storage, remove_ram_storage
from effiseg.errors import UsageError

linux = pytest.mark.skipif(
    not os.access("/dev/shm", os.W_OK), reason="files in memory need a /dev/shm that can be written"
)


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /dev/shm."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(cache_storage, "SHARED_MEMORY", folder)
    return folder


def test_the_disk_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("EFFISEG_CACHE", raising=False)
    assert open_disk_storage().folder == tmp_path / "home" / ".cache" / "effiseg" / "inputs"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert open_disk_storage().folder == tmp_path / "xdg" / "effiseg" / "inputs"
    monkeypatch.setenv("EFFISEG_CACHE", str(tmp_path / "own"))
    storage = open_disk_storage()
    assert storage.folder == tmp_path / "own" / "inputs"
    storage.close()
    assert storage.folder.is_dir()  # kept for later runs


def test_a_place_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EFFISEG_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="set EFFISEG_CACHE") as caught:
        open_disk_storage()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("total", "free", "room"), [(100 * GIB, 7 * GIB, 2 * GIB), (20 * GIB, 7 * GIB, 5 * GIB), (20 * GIB, GIB, -GIB)]
)
def test_the_disk_keeps_2_gib_or_5_percent_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, total: int, free: int, room: int
) -> None:
    usage = SimpleNamespace(total=total, used=total - free, free=free)
    monkeypatch.setattr(cache_storage.shutil, "disk_usage", lambda folder: usage)
    assert CacheStorage("disk", tmp_path).room() == room


def test_memory_is_taken_up_to_the_half_of_what_is_available(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    storage = CacheStorage("ram", tmp_path)
    available = 12 * GIB
    monkeypatch.setattr(cache_storage, "available_memory", lambda: available - usage.used)
    usage = SimpleNamespace(total=64 * GIB, used=0, free=64 * GIB)
    monkeypatch.setattr(cache_storage.shutil, "disk_usage", lambda folder: usage)
    assert storage.room() == 6 * GIB
    usage.used, usage.free = 6 * GIB, 58 * GIB
    assert storage.room() == 0
    available = 14 * GIB
    assert storage.room() == 1 * GIB
    # A container's 64 MiB stay free for what loader workers hand over.
    usage.total, usage.used, usage.free = GIB // 16, 0, GIB // 16
    assert storage.room() < 0


def test_without_shared_memory_disk_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache_storage, "SHARED_MEMORY", tmp_path / "none")
    with pytest.raises(UsageError, match="take --cache disk") as caught:
        open_ram_storage()
    assert "\n" not in str(caught.value)


@linux
def test_a_folder_in_memory_goes_when_it_is_closed(memory: Path) -> None:
    first, second = open_ram_storage(), open_ram_storage()  # the second start leaves the first alone
    assert first.folder.is_dir()
    (first.folder / "key").mkdir()
    (first.folder / "key" / "entry").write_bytes(b"1")
    first.close()
    first.close()
    assert list(memory.iterdir()) == [second.folder]
    remove_ram_storage()
    assert not list(memory.iterdir())


@linux
def test_a_forked_worker_removes_nothing(memory: Path) -> None:
    storage = open_ram_storage()
    process = os.fork()
    if process == 0:
        try:
            remove_ram_storage()
            storage.close()
        finally:
            os._exit(0)
    os.waitpid(process, 0)
    assert storage.folder.is_dir()
    storage.close()


RUN = """
import signal, sys, time
from pathlib import Path
from effiseg.data import cache_storage
cache_storage.SHARED_MEMORY = Path(sys.argv[1])
(cache_storage.open_ram_storage().folder / "entry").write_bytes(b"1")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
print("open", flush=True)
time.sleep(120)
"""


def start(memory: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(memory)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


@linux
def test_ctrl_c_removes_it_and_a_killed_runs_is_removed_by_the_next_start(memory: Path) -> None:
    process = start(memory)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert not list(memory.iterdir())
    process = start(memory)
    (left,) = memory.iterdir()
    alive = open_ram_storage()
    assert left.is_dir()  # its run lives
    process.kill()
    process.wait()
    assert (left / "entry").is_file()
    next_start = open_ram_storage()
    assert sorted(memory.iterdir()) == sorted([alive.folder, next_start.folder])
    remove_ram_storage()
