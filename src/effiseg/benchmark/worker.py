"""One process per contender: `python -m effiseg.benchmark.worker`, told by lines of JSON what to do.

A process of its own gives every contender its own allocator, thread pools and peak memory; none of the three
can be changed or told apart within one process. The parent lets one worker run at a time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from effiseg.errors import EffisegError

_MIB = 2**20


def main() -> None:
    """Answer one line on stdout for each line on stdin, until stdin ends."""
    # Ctrl-C reaches every process of the terminal; the parent decides and closes our stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not stand among the answers
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": getattr(worker, request.pop("do"))(**request)}
        except EffisegError as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        except Exception as error:
            traceback.print_exc()
            first = str(error).strip().splitlines()[0] if str(error).strip() else ""
            answer = {"crash": f"{type(error).__name__}: {first}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Worker:
    """Requests that a worker answers; every answer is plain JSON."""

    def __init__(self) -> None:
        self._run: Callable[[], Any] | None = None
        self._forward: Any = None
        self._contender: Any = None
        self._cuda = False

    def prepare(self, allocator: str, threads: int) -> dict[str, Any]:
        """Set this process up, before anything is loaded; the allocator that it got."""
        if allocator == "default":
            os.environ["EFFISEG_ALLOCATOR"] = "default"
        from effiseg.allocator import keep_freed_memory

        got = keep_freed_memory()
        import torch

        torch.set_num_threads(threads)
        return {"allocator": got}

    def write(self, contender: dict[str, Any], path: str) -> None:
        """Write the file that the contender's engine opens."""
        from effiseg.benchmark.contender import Contender
        from effiseg.benchmark.forward import write_file

        write_file(Contender.from_dict(contender), Path(path))

    def load(self, contender: dict[str, Any]) -> dict[str, Any]:
        """Load a contender: its parameters, and the size of its file in MB."""
        from effiseg.benchmark.contender import Contender
        from effiseg.benchmark.forward import load

        self._contender = Contender.from_dict(contender)
        self._cuda = self._contender.device == "cuda"
        before = resident_mib()
        self._forward = load(self._contender)
        reset_peak_memory(self._cuda)
        files: list[Path] = self._forward.files
        return {
            "params": self._forward.params,
            "file_mb": sum(path.stat().st_size for path in files) / 1e6 if files else None,
            "memory_before_mib": before,
        }

    def turn(self, passes: int, untimed: int) -> list[float]:
        """Milliseconds of each of `passes` passes, after `untimed` ones."""
        for _ in range(untimed):
            self._timed_pass()
        return [self._timed_pass() for _ in range(passes)]

    def _timed_pass(self) -> float:
        self._wait()
        start = time.perf_counter()
        self._forward.run()
        self._wait()
        return 1000 * (time.perf_counter() - start)

    def _wait(self) -> None:
        if self._cuda:
            import torch

            torch.cuda.synchronize()

    def memory(self) -> float:
        """Peak memory since the network was loaded, MB: resident memory, or torch's on a GPU."""
        return peak_memory_mib(self._cuda)

    def write_answer(self, path: str) -> None:
        """One pass's answer as an .npy file."""
        import numpy as np

        from effiseg.benchmark.forward import answer_of

        np.save(path, answer_of(self._forward))

    def compare(self, reference: str) -> tuple[float | None, float]:
        """How far one pass lies from the reference's logits, see `engines.agreement`."""
        import numpy as np

        from effiseg.benchmark.forward import answer_of
        from effiseg.engines.agreement import compare

        return compare(answer_of(self._forward), np.load(reference), self._contender.image_size)

    def operators(self) -> list[dict[str, Any]]:
        """Where the time of a pass goes, see `operators.top_operators`."""
        from effiseg.benchmark.operators import top_operators

        return top_operators(self._forward)

    def environment(self) -> dict[str, Any]:
        """See `describe_environment`."""
        from effiseg.environment import describe_environment

        return describe_environment()


def resident_mib() -> float:
    """Memory of this process that lies in RAM."""
    return _status_mib("VmRSS")


def reset_peak_memory(cuda: bool) -> None:
    """Let the peak begin anew, where the system can."""
    if cuda:
        import torch

        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return  # the peak then holds the loading too


def peak_memory_mib(cuda: bool) -> float:
    """The most this process held, since `reset_peak_memory` where that worked."""
    if cuda:
        import torch

        return torch.cuda.max_memory_allocated() / _MIB
    return _status_mib("VmHWM")


def _status_mib(name: str) -> float:
    # Not getrusage: its peak begins with that of the process that started this one.
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_MIB if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
