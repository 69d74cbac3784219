"""The parent's side of a worker process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Any

import effiseg.errors
from effiseg.errors import EffisegError, ModelError

_SECONDS_TO_END = 5


class WorkerProcess:
    """A worker, from its start to its end; a context manager.

    Args:
        name: what it measures, for errors.
        threads: of its engine.
        allocator: tuned or default.

    Attributes:
        allocator: what it got.
    """

    def __init__(self, name: str, threads: int, allocator: str = "tuned") -> None:
        self.name = name
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        # In our own process group and session: whoever stops or pauses us means it too.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "effiseg.benchmark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        try:
            self.allocator: str = self.ask("prepare", allocator=allocator, threads=threads)["allocator"]
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **arguments: Any) -> Any:
        """Have the worker do something, and wait for its answer.

        Args:
            do: a method of `worker.Worker`.
            arguments: its arguments, plain JSON.

        Raises:
            EffisegError: what the worker raised, or that it failed or ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ModelError(f"{self.name}: its process ended {self._how_it_ended()}: is there memory enough?")
        answer = json.loads(line)
        if "error" in answer:
            kind: type[EffisegError] = getattr(effiseg.errors, answer["kind"])
            raise kind(answer["error"])
        if "crash" in answer:
            raise ModelError(f"{self.name}: cannot be measured here: {answer['crash']}")
        return answer["value"]

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        self._messages.seek(0)
        lines = self._messages.read().decode("utf-8", "replace").strip().splitlines()
        return f"with code {code}{f' ({lines[-1]})' if lines else ''}"

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it may have ended already
            self._process.stdin.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._messages.close()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._process.kill()
        self.close()
