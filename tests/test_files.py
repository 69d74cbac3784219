"""Locks: one process at a time, free at once when it dies."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from effiseg.files import LockedError, exclusive_lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is locked on Windows")

# Holds the lock and says so; with `fork`, leaves behind a child that sleeps on.
HOLDER = """
import os, sys, time
from effiseg.files import exclusive_lock
with exclusive_lock(sys.argv[1]):
    if sys.argv[2:] == ["fork"] and (child := os.fork()) == 0:
        time.sleep(60)
    print(child if sys.argv[2:] else 0, flush=True)
    sys.stdin.read()
"""


def hold(path: Path, *words: str) -> tuple[subprocess.Popen[str], int]:
    """A process that holds the lock, and its child's id."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    return holder, int(holder.stdout.readline())


def test_a_second_process_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("process 1 on an old machine with a name that is longer than the new one\n")
    holder, _ = hold(lock)
    try:
        for _ in range(2):  # a refused attempt leaves the lock where it was
            with pytest.raises(LockedError) as caught, exclusive_lock(lock):
                raise AssertionError("entered")
            assert str(caught.value) == f"process {holder.pid} on {platform.node()}"
    finally:
        holder.communicate("")
    with exclusive_lock(lock):
        assert lock.read_text() == f"process {os.getpid()} on {platform.node()}\n"


def test_a_killed_holder_frees_the_lock_though_its_forked_child_lives(tmp_path: Path) -> None:
    holder, child = hold(tmp_path / "lock", "fork")
    try:
        holder.kill()
        holder.wait()
        with exclusive_lock(tmp_path / "lock"):
            os.kill(child, 0)  # still there
    finally:
        os.kill(child, signal.SIGKILL)
        holder.communicate()


def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), exclusive_lock(tmp_path / "lock"):
        raise ValueError("inside")
    holder, _ = hold(tmp_path / "lock")
    assert holder.communicate("")[0] == ""
    assert holder.returncode == 0


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with exclusive_lock(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == ""
