"""The family of sizes before anything is trained: networks of random weights, and the size that is fast enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from effiseg.benchmark.contender import Contender
from effiseg.benchmark.latency import Schedule, measure
from effiseg.config.model import ModelConfig, Variant
from effiseg.config.parsing import make_settings, recipe_settings
from effiseg.config.training import TrainConfig
from effiseg.engines import engine_named
from effiseg.engines.engine import FileEngine
from effiseg.environment import available_cores, describe_environment, require_memory, resolve_device
from effiseg.errors import UsageError
from effiseg.messages import notice
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.results import BenchmarkRow

Config = TypeVar("Config", bound=TrainConfig)

PUBLISHED_MIOU: Mapping[Variant, float] = {"n": 48.18, "b0": 51.04, "b1": 51.42}
"""Size → mIoU (percent) as `PUBLISHED_PROTOCOL` says; sizes that were not measured so are left out."""
PUBLISHED_PROTOCOL = "CamVid, test, recipe baseline from the starter, 192x256 (docs/results/camvid-192x256-cpu-starter)"
"""What `PUBLISHED_MIOU` was measured on."""
NORM_ROWS = ("baseline", "tanh", "tanh_linear")
"""Recipes whose norms sizes are timed with."""
_CLASSES = 19
_QUICK = Schedule(rounds=3, passes=4, warmup=2)


@dataclass(frozen=True)
class Untrained:
    """A network of random weights."""

    name: str
    """Its size and its row."""
    size: Variant
    folder: str
    """Its model folder."""


def write_untrained(sizes: Sequence[Variant], folder: Path) -> list[Untrained]:
    """Write a network of random weights for every size and row of norms.

    Args:
        sizes: of the networks.
        folder: where their model folders are made.

    Returns:
        The networks, in the order of sizes.
    """
    written: list[Untrained] = []
    for size in sizes:
        for row in NORM_ROWS:
            norms = make_settings(TrainConfig, (row, recipe_settings(row))).model
            path = _write_random(size, norms, folder / f"{size}-{row}")
            written.append(Untrained(f"{size} {row}", size, path))
    return written


def _write_random(size: Variant, norms: ModelConfig, folder: Path) -> str:
    """Write a network of random weights, with the norms of those settings; its model folder."""
    save_pretrained(SegFormer(size, _CLASSES, norms.patch_norm, norms.block_norm), folder)
    return str(folder)


def mark_front(rows: Sequence[BenchmarkRow], sizes: Mapping[str, Variant]) -> None:
    """Write the published accuracy of sizes into their rows, and which rows no other beats.

    A row is on the front if, in its engine, precision and output, none that is at least as accurate is faster.

    Args:
        rows: measured; they are changed.
        sizes: name of a row's model → its size; of others nothing is published.
    """
    for row in rows:
        size = sizes.get(row.model)
        row.published_miou = None if size is None else PUBLISHED_MIOU.get(size)
    for row in rows:
        if row.published_miou is not None:
            row.on_front = not any(_beats(other, row) for other in rows)


def _beats(other: BenchmarkRow, row: BenchmarkRow) -> bool:
    conditions = [(each.engine, each.precision, each.output, each.software) for each in (other, row)]
    if conditions[0] != conditions[1] or other.published_miou is None or row.published_miou is None:
        return False
    return other.published_miou >= row.published_miou and other.latency_ms < row.latency_ms


def fitted(
    config: Config,
    *,
    measure: Callable[[Sequence[Contender], Schedule], Sequence[BenchmarkRow]] = measure,
    message: Callable[[str], None] = notice,
) -> Config:
    """The settings with the most accurate size that is as fast on this machine as `latency` asks.

    Sizes are timed with random weights, fused, one image a pass, in turns; accuracy is `PUBLISHED_MIOU`'s. Settings
    that ask for nothing, or hold what an earlier measurement found, are returned as they are.

    Args:
        config: of a run or a comparison.
        measure: times contenders.
        message: told what is measured, and what was found.

    Raises:
        UsageError: no size is as fast; the nearest is named.
        ModelError: the engine's packages are missing.
    """
    limit = config.latency_ms
    if limit is None or config.latency_found is not None:
        return config
    device = "cpu" if isinstance(engine_named(config.engine), FileEngine) else resolve_device(config.device)
    require_memory(1, config.input_size, device)
    message(f"--latency {config.latency}: timing {', '.join(PUBLISHED_MIOU)} in {config.engine}, with random weights")
    with TemporaryDirectory(prefix="effiseg-latency-") as folder:
        contenders: list[Contender] = []
        for size in PUBLISHED_MIOU:
            source = _write_random(size, config.model, Path(folder) / size)
            contenders.append(
                Contender(
                    model=size, source=source, image_size=config.input_size, threads=available_cores(),
                    engine=config.engine, device=device,
                )
            )  # fmt: skip
        rows = measure(contenders, _QUICK)
    times = {size: row.latency_ms for size, row in zip(PUBLISHED_MIOU, rows, strict=True)}
    conditions = f"{config.engine} float32, {config.image_size}, {_machine(device)}"
    fast = [size for size, milliseconds in times.items() if milliseconds <= limit]
    if not fast:
        nearest = min(times, key=lambda size: times[size])
        raise UsageError(
            f"--latency {config.latency}: no size is as fast on this machine; the nearest is {nearest} with "
            f"{times[nearest]:.1f} ms ({conditions}); take a smaller --image_size, another --engine or more time"
        )
    chosen = max(fast, key=lambda size: PUBLISHED_MIOU[size])
    found = f"{chosen}, {times[chosen]:.1f} ms ({conditions})"
    message(f"--latency {config.latency}: takes {found}")
    return replace(config, model=replace(config.model, variant=chosen), latency_found=found)


def _machine(device: str) -> str:
    where = describe_environment()
    return str(where["gpus"][0]) if device == "cuda" else f"{available_cores()} threads of {where['cpu']}"
