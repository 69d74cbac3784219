"""How long one pass takes, for several contenders that take turns.

Every contender lives in a worker process of its own, with its own allocator, threads and peak memory, and keeps
its network loaded; they are told over pipes to run, one at a time. So whatever else the machine does meets all of
them alike, and their ratios can be trusted further than the single figures.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from effiseg.benchmark.complexity import complexity
from effiseg.benchmark.contender import Contender
from effiseg.benchmark.process import WorkerProcess
from effiseg.engines import engine_named
from effiseg.engines.agreement import SAME_NETWORK, Agreement, Tolerance
from effiseg.engines.engine import FileEngine
from effiseg.errors import EffisegError, ModelError
from effiseg.models.pretrained import from_pretrained
from effiseg.results import BenchmarkRow

UNTIMED_PASSES = 1
"""Passes at the beginning of a turn that are not timed: they wake the threads and fill the caches, and the
threads of the contender before, which spin for a while after their work, have gone to sleep by then."""


_EQUAL = {"cpu": SAME_NETWORK, "cuda": Tolerance(1e-2, 0.98)}
"""Tolerance that float32 contenders must keep to be timed side by side; a GPU's convolutions may run in TF32."""


@dataclass(frozen=True)
class Schedule:
    """How often everything runs."""

    rounds: int = 5
    """Turns of every contender."""
    passes: int = 4
    """Timed passes of a turn."""
    warmup: int = 3
    """Passes before the first turn."""

    @property
    def samples(self) -> int:
        """Timed passes of every contender."""
        return self.rounds * self.passes


def measure(
    contenders: Sequence[Contender],
    schedule: Schedule,
    *,
    progress: Callable[[int, int], None] | None = None,
    failed: Callable[[Contender, EffisegError], None] | None = None,
    operators: bool = False,
) -> list[BenchmarkRow]:
    """Time contenders in turns: first to last, then last to first, and so on.

    Before anything is timed, every contender's answer is compared with the logits of the network as trained, in
    float32 in torch; float32 contenders that differ are refused.

    Args:
        contenders: of different names; files that engines need are written to a temporary folder.
        schedule: how often.
        progress: told (steps done, steps in all).
        failed: told of a contender that cannot be measured, which is then left out; None: the error is raised.
        operators: also record which operators take the time.

    Returns:
        One row for each contender that was measured, in their order.

    Raises:
        EffisegError: a contender cannot be measured, and there is no `failed` to tell.
    """
    steps = _Steps(len(contenders) * (1 + schedule.rounds), progress)
    rows: list[BenchmarkRow] = []
    workers: list[WorkerProcess] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="effiseg-benchmark-")))
        references = _References(folder)
        for index, contender in enumerate(contenders):
            one = ExitStack()
            try:
                worker, row = _start(one, contender, folder / str(index), references, schedule)
            except EffisegError as error:
                one.close()
                if failed is None:
                    raise
                failed(contender, error)
                steps.skip(schedule.rounds)
            except BaseException:
                one.close()
                raise
            else:
                stack.push(one.__exit__)
                workers.append(worker)
                rows.append(row)
            steps.done()
        for number in range(schedule.rounds):
            for index in turn_order(len(workers), number):
                rows[index].samples_ms += workers[index].ask("turn", passes=schedule.passes, untimed=UNTIMED_PASSES)
                steps.done()
        for worker, row in zip(workers, rows, strict=True):
            row.peak_memory_mib = worker.ask("memory")
            if operators:
                row.operators = worker.ask("operators")
    for row in rows:
        summarize(row)
    return rows


def _check_equal(contender: Contender, agreement: Agreement) -> None:
    """Refuse to time float32 contenders that do not compute the same.

    Raises:
        ModelError: by how much they differ.
    """
    complaint = _EQUAL[contender.device].complaint(agreement) if contender.precision == "float32" else ""
    if complaint:
        raise ModelError(f"{contender.name}: only equal networks are timed side by side; {complaint}")


def turn_order(count: int, number: int) -> list[int]:
    """Who runs after whom in round `number`: a drift of the machine's speed then meets all alike."""
    order = list(range(count))
    return order[::-1] if number % 2 else order


def summarize(row: BenchmarkRow) -> None:
    """Fill a row's median, 95th percentile and frames per second from its samples."""
    row.latency_ms = statistics.median(row.samples_ms)
    row.p95_ms = percentile(row.samples_ms, 0.95)
    row.fps = 1000 * row.batch_size / row.latency_ms


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` of all samples do not exceed."""
    return sorted(samples)[math.ceil(share * len(samples)) - 1]


def ratio(slow: BenchmarkRow, fast: BenchmarkRow) -> float:
    """How many times as fast `fast` is as `slow`: their median times, per image."""
    return fast.fps / slow.fps


class _Steps:
    """Counts what is done for a progress bar."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def done(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)

    def skip(self, steps: int) -> None:
        self._total -= steps


class _References:
    """The logits of networks as trained, computed once each, by processes of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Contender, Path] = {}

    def of(self, contender: Contender) -> Path | None:
        """The .npy file of the contender's reference; None for a file that the user gave, and for another function."""
        if contender.form in ("file", "same_shape"):
            return None
        reference = replace(
            contender, model="reference", software="effiseg", form="trained", engine="torch", precision="float32",
            output="logits", allocator="tuned", file=None,
        )  # fmt: skip
        if reference not in self._files:
            path = self._folder / f"reference-{len(self._files)}.npy"
            with WorkerProcess(f"{contender.model} as trained", reference.threads) as worker:
                worker.ask("load", contender=reference.to_dict())
                worker.ask("write_answer", path=str(path))
            self._files[reference] = path
        return self._files[reference]


def _start(
    stack: ExitStack, contender: Contender, folder: Path, references: _References, schedule: Schedule
) -> tuple[WorkerProcess, BenchmarkRow]:
    """Write the contender's file, load it, compare its answer and warm it up."""
    if contender.needs_file:
        folder.mkdir()
        engine = engine_named(contender.engine)
        assert isinstance(engine, FileEngine), contender
        path = folder / f"network{engine.suffix}"
        # A process of its own: what writing takes is no memory of the contender's.
        with WorkerProcess(contender.name, contender.threads) as writer:
            writer.ask("write", contender=contender.to_dict(), path=str(path))
        contender = replace(contender, file=str(path))
    worker = stack.enter_context(WorkerProcess(contender.name, contender.threads, contender.allocator))
    facts: dict[str, Any] = worker.ask("load", contender=contender.to_dict())
    row = _row(contender, worker.allocator, facts)
    reference = references.of(contender)
    if reference is not None:
        agreement = Agreement(*worker.ask("compare", reference=str(reference)))
        _check_equal(contender, agreement)
        row.error, row.label_agreement = agreement
    worker.ask("turn", passes=0, untimed=schedule.warmup)
    return worker, row


def _row(contender: Contender, allocator: str, facts: dict[str, Any]) -> BenchmarkRow:
    """Facts known before the first sample."""
    row = BenchmarkRow(
        name=contender.name,
        model=contender.model,
        software=contender.software,
        form=contender.form,
        engine=contender.engine,
        precision=contender.precision,
        output=contender.output,
        image_size=list(contender.image_size),
        batch_size=contender.batch_size,
        device=contender.device,
        threads=contender.threads,
        allocator=allocator,
        params=facts["params"],
        file_mb=facts["file_mb"],
        memory_before_mib=facts["memory_before_mib"],
    )
    if contender.form != "file":
        _add_work(row, contender)
    return row


def _add_work(row: BenchmarkRow, contender: Contender) -> None:
    """The multiply-accumulates of one image, as the contender's head computes them."""
    model = from_pretrained(contender.source)
    work = complexity(model.shape, model.num_classes, contender.image_size, model.patch_norm, model.block_norm)
    row.gmacs = work.gmacs if contender.software == "transformers" else work.gmacs_composed
    row.gmacs_attention = work.gmacs_attention
    if row.params is None and contender.software == "transformers":  # ours count what the deploy form holds
        row.params = work.params


def speedups(rows: Sequence[BenchmarkRow]) -> None:
    """Fill in every row of ours how many times as fast it is as its counterpart among the rows.

    A counterpart is transformers' network of the same model, engine, precision, output and allocator.
    """

    def key(row: BenchmarkRow) -> tuple[Any, ...]:
        return (row.model, row.engine, row.precision, row.output, row.image_size, row.batch_size, row.allocator)

    theirs = {str(key(row)): row for row in rows if row.software == "transformers"}
    for row in rows:
        other = theirs.get(str(key(row)))
        if row.software == "effiseg" and other is not None:
            row.counterpart, row.speedup = other.name, ratio(other, row)
