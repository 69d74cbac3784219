"""A benchmark from its settings to its result."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from effiseg.benchmark.contender import contenders_of
from effiseg.benchmark.family import mark_front, write_untrained
from effiseg.benchmark.latency import Schedule, measure, speedups
from effiseg.config.benchmark import BenchmarkConfig
from effiseg.config.parsing import settings_dict
from effiseg.environment import available_cores, describe_environment, require_memory, resolve_device
from effiseg.progress import Progress
from effiseg.results import BenchmarkResult


def run_benchmark(config: BenchmarkConfig, command: str, progress: Progress | None = None) -> BenchmarkResult:
    """Time networks in turns, every one in a process of its own.

    Args:
        config: what is timed, and how.
        command: what to record as the command.
        progress: called with (passes done, passes in all).

    Raises:
        UsageError, ModelError: nothing can be measured; one line says why.
    """
    require_memory(config.batch_size, config.image_size, config.device)
    common = {
        "image_size": config.image_size,
        "batch_size": config.batch_size,
        "threads": config.threads or available_cores(),
        "device": resolve_device(config.device),
        "output": config.output,
    }
    models = [(model, model) for model in config.models]
    schedule = Schedule(rounds=config.rounds, passes=config.passes, warmup=config.warmup)
    with TemporaryDirectory(prefix="effiseg-variants-") as folder:
        untrained = write_untrained(config.sizes, Path(folder)) if config.variants else []
        contenders, skipped = contenders_of(
            [*models, *((each.name, each.folder) for each in untrained)],
            config.engine,
            config.precision,
            common,
            against_transformers=config.against is not None,
        )
        rows = measure(contenders, schedule, progress=progress)
    speedups(rows)
    mark_front(rows, {each.name: each.size for each in untrained})
    return BenchmarkResult(
        rows=rows,
        skipped={entry.name: entry.reason for entry in skipped},
        schedule={"rounds": schedule.rounds, "passes": schedule.passes, "warmup": schedule.warmup},
        environment=describe_environment(),
        command=command,
        settings=settings_dict(config),
    )
