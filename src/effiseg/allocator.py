"""glibc's allocator, set for large activations.

By default glibc maps every large block afresh and unmaps it when freed, so each operator of a network pays page
faults for its output. Keeping freed memory in the heap removes that; the cost is that the process holds on to
its peak memory. Linux with glibc only; `EFFISEG_ALLOCATOR=default` switches it off.
"""

from __future__ import annotations

import ctypes
import os
import platform

# Parameter numbers of mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEEP_BYTES = 512 * 1024 * 1024
_PAD_BYTES = 64 * 1024 * 1024


def keep_freed_memory() -> str:
    """Make glibc keep and reuse freed memory in this process.

    Child processes made by fork inherit it.

    Returns:
        "tuned", or "default" where it is switched off or there is no glibc.
    """
    if os.environ.get("EFFISEG_ALLOCATOR", "tuned") == "default" or platform.libc_ver()[0] != "glibc":
        return "default"
    mallopt = ctypes.CDLL(None).mallopt
    accepted = (
        mallopt(_M_MMAP_MAX, 0),
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES),
        mallopt(_M_TOP_PAD, _PAD_BYTES),
    )
    return "tuned" if all(accepted) else "default"
