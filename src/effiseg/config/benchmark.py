"""How networks are timed: every setting of `effiseg benchmark`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from effiseg.config.engine import EngineName, Output, Precision
from effiseg.config.model import Variant
from effiseg.config.ranges import COUNT, check_processes, check_ranges
from effiseg.config.training import Device
from effiseg.errors import UsageError


@dataclass(kw_only=True)
class BenchmarkConfig:
    """Settings of `effiseg benchmark`."""

    RENAMED: ClassVar[dict[str, str]] = {"runtime": "engine"}
    RENAMED_WORDS: ClassVar[dict[str, dict[str, str]]] = {
        "precision": {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
    }

    models: list[str] = field(default_factory=list)
    """Run folders, model folders, transformers folders or Hub ids, measured in the deploy form, or exported files,
    which run in their own engines."""
    variants: bool = False
    """Time every size before anything is trained: networks of random weights, with the norms of baseline, tanh and
    tanh_linear. Rows that none beats in accuracy, as published, and in time are marked."""
    sizes: list[Variant] = field(default_factory=lambda: list(get_args(Variant)))
    """The sizes that --variants times, separated by commas."""
    image_size: tuple[int, int] = (512, 1024)
    """Network input."""
    batch_size: int = 1
    """Images of one pass."""
    device: Device = "auto"
    """auto takes a GPU where there is one."""
    threads: int | None = None
    """Threads of every engine on the CPU; null: one a core."""
    engine: list[EngineName] = field(default_factory=lambda: ["torch"])
    """The engines that run the networks, separated by commas."""
    precision: list[Precision] = field(default_factory=lambda: ["float32"])
    """Precisions to compute in, separated by commas; int8 only as a file of `effiseg export --precision int8`."""
    output: Output = "logits"
    """logits at a quarter of the input's size (n and s: an eighth), or labels at its size."""
    against: Literal["transformers"] | None = None
    """Also time the same weights in transformers' SegFormer, in the same engines, and say how many times as fast ours
    are."""
    rounds: int = 5
    """Turns of every contender."""
    passes: int = 4
    """Timed passes of a turn."""
    warmup: int = 3
    """Passes before the first turn."""

    def __post_init__(self) -> None:
        if not self.models and not self.variants:
            raise UsageError("nothing to time: give MODEL, or --variants for every size before it is trained")
        if self.variants and not self.sizes:
            raise UsageError("--sizes needs at least one size")
        self.sizes = [size for size in get_args(Variant) if size in self.sizes]
        self.engine, self.precision = list(dict.fromkeys(self.engine)), list(dict.fromkeys(self.precision))
        check_ranges(self, dict.fromkeys(("batch_size", "threads", "rounds", "passes", "warmup"), COUNT))
        check_processes(self, "threads")
