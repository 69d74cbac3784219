"""The allocator's setting, tried in processes of its own because it cannot be taken back."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

GLIBC = platform.libc_ver()[0] == "glibc"
# Frees a block of 64 MiB and asks whether the kernel has to give its pages again.
FAULTS = """
import ctypes, resource, sys
from effiseg.allocator import keep_freed_memory
print(keep_freed_memory())
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def touch():
    block = libc.malloc(64 * 2**20)
    ctypes.memset(block, 1, 64 * 2**20)
    libc.free(block)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def outcome(**variables: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        capture_output=True, text=True, check=True, timeout=60, env={**os.environ, **variables},
    )  # fmt: skip
    word, faults = done.stdout.split()
    return word, int(faults)


@pytest.mark.skipif(not GLIBC, reason="mallopt is glibc's")
def test_freed_memory_is_kept_unless_switched_off() -> None:
    tuned, few = outcome(EFFISEG_ALLOCATOR="tuned")
    default, many = outcome(EFFISEG_ALLOCATOR="default")
    assert (tuned, default) == ("tuned", "default")
    # With huge pages the default costs 32 faults a block, without them 16384.
    assert few < 32 <= 4 * 32 <= many


def test_elsewhere_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    from effiseg import allocator

    monkeypatch.delenv("EFFISEG_ALLOCATOR", raising=False)
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)
    assert allocator.keep_freed_memory() == "default"
