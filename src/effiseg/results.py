"""The schema of every results file: dataclasses ↔ plain JSON values. Torch-free.

IoU, mIoU and accuracies are percent; a measure that does not exist (a class that is absent) is null.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from effiseg.errors import UsageError
from effiseg.measures import odd_numbers
from effiseg.notebook import html_table
from effiseg.serialization import from_plain

PREDICTION_RECORD = "prediction.json"
"""The file in a folder of predictions that says what their values mean."""
PROTOCOLS: dict[str, str] = {
    "full": "labels at their original size",
    "quarter": "labels reduced to a quarter of the network's input",
}
"""At which size predictions and labels are compared."""


def _require_names(source: object, names: Any, place: str) -> list[str]:
    """Class names: texts that differ."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise UsageError(f"{source}: {place} must be a list of texts that differ; found {str(names)[:40]}")
    return names


def _require_counts(source: object, confusion: Sequence[Sequence[int]], size: int) -> None:
    if len(confusion) != size or any(len(row) != size + 1 for row in confusion):
        raise UsageError(f"{source}: confusion must have {size} rows of {size + 1} counts, one row a class")


@dataclass
class ResultsFile:
    """A dataclass that is written as JSON and read back."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Any, source: object = "results") -> Self:
        """Read back what `to_dict` gave; keys this version does not know are left out.

        Args:
            value: parsed JSON.
            source: the file it came from, for the error's text.

        Raises:
            UsageError: a key is missing or holds something else, or a number is none that it can be.
        """
        result = from_plain(cls, value, source)
        for place, number, rule in odd_numbers(value):
            raise UsageError(f"{source}: {place} must be {rule}; found {str(number)[:40]}")
        return result


@dataclass(repr=False)
class EvaluationResult(ResultsFile):
    """The results file of `effiseg evaluate` on one split."""

    miou: float | None
    """Mean of `class_iou` over the classes that have one, percent."""
    class_iou: dict[str, float | None]
    """IoU per class, percent; null where the class is neither in the labels nor predicted."""
    mean_accuracy: float | None
    """Mean recall over the classes present in the labels, percent."""
    pixel_accuracy: float | None
    """Share of labelled pixels predicted right, percent."""
    images: int
    """Number of images."""
    split: str
    """Split of the data set: train, val or test."""
    protocol: str
    """full: labels at their original size. quarter: labels reduced to a quarter of the network's input."""
    names: list[str]
    """Class names, in the order of the confusion matrix."""
    confusion: list[list[int]]
    """K rows (truth) of K + 1 pixel counts (prediction; the last: predictions that are no class)."""
    image_iou: dict[str, float | None]
    """Sample id → mean IoU over the classes present in that image, percent; null if nothing is labelled."""
    dataset: str = ""
    """Name of the data set."""
    model: str = ""
    """Subject of the evaluation: the model, or the folder of predictions."""
    image_size: list[int] | None = None
    """Network input, [height, width]; null for predictions of other software."""
    resize: str | None = None
    """keep_ratio or fixed; null for predictions of other software."""
    image_counts: dict[str, list[list[int]]] = field(default_factory=dict)
    """Sample id → three rows of K pixel counts: hits, truth, predicted. Summed over any choice of images they give
    that choice's mIoU, which is what a bootstrap over images needs. Empty in files of earlier versions."""
    miou_interval: list[float] | None = None
    """95 % interval of mIoU, [low, high] in percent, from a bootstrap over images; null for fewer than two images."""
    boundary_miou: float | None = None
    """Mean of `boundary_iou` over the classes that have one, percent; null where it was not asked for."""
    boundary_iou: dict[str, float | None] | None = None
    """Boundary IoU per class, percent, from sums over the split; null where it was not asked for."""
    inference: str = "whole"
    """How images were brought to the network: whole, or the sliding windows, and whether mirror images were added."""
    form: str | None = None
    """fused (deploy form), as trained, or an exported file's engine; null for other software and in earlier files."""
    parameters: int | None = None
    """Trained values of the model; null of exported files, other software, and in files of earlier versions."""

    def __repr__(self) -> str:
        return f"EvaluationResult({self.model}: {self.dataset} {self.split}, {self.images} images, mIoU {self.miou} %)"

    def _repr_html_(self) -> str:
        """IoU of every class, for notebooks."""
        return html_table(repr(self), ("class", "IoU %"), [*self.class_iou.items(), ("mean", self.miou)])

    @classmethod
    def from_dict(cls, value: Any, source: object = "results") -> Self:
        """See `ResultsFile`; the numbers of counts must fit the classes."""
        result = super().from_dict(value, source)
        size = len(_require_names(source, result.names, "names"))
        _require_counts(source, result.confusion, size)
        if any(len(rows) != 3 or any(len(row) != size for row in rows) for rows in result.image_counts.values()):
            raise UsageError(f"{source}: image_counts must hold three rows of {size} counts for each image")
        if result.miou_interval is not None and len(result.miou_interval) != 2:
            raise UsageError(f"{source}: miou_interval must be two numbers, low and high; found {result.miou_interval}")
        if result.protocol not in PROTOCOLS:
            raise UsageError(f"{source}: protocol must be {' or '.join(PROTOCOLS)}; found {result.protocol[:40]!r}")
        return result


@dataclass
class AblationRun:
    """One training run behind a row: one seed."""

    seed: int
    """Seed of the run."""
    folder: str
    """Run folder, relative to the results file."""
    miou: float | None
    """mIoU on the split, percent."""
    train_seconds: float | None = None
    """Time spent training, all sessions of an interrupted run together."""
    class_iou: dict[str, float | None] = field(default_factory=dict)
    """IoU per class, percent."""
    steps: int | None = None
    """Optimizer steps."""


@dataclass
class AblationRow:
    """One row of the comparison: a recipe over all its seeds."""

    name: str
    """Name in the table."""
    recipe: str
    """Recipe it was trained with."""
    params_m: float | None
    """Parameters, millions; null where nobody counted them."""
    gmacs: float | None
    """Multiply-accumulates as counters give them at `gmacs_size`, G, without attention; null where not counted."""
    gmacs_attention: float | None
    """Multiply-accumulates of the attention products, which counters miss, G; null where not counted."""
    miou: float | None
    """Mean over the seeds, percent."""
    miou_sd: float | None
    """Sample standard deviation over the seeds; null for one seed."""
    delta: float | None
    """miou minus the baseline's."""
    class_iou: dict[str, float | None]
    """Mean over the seeds, percent."""
    confusion: list[list[int]]
    """K × (K + 1) counts, summed over the seeds."""
    image_iou: dict[str, float | None]
    """Sample id → mean over the seeds, percent."""
    latency_ms: float | None = None
    """Median time of one forward pass, batch 1; null if not measured."""
    latency_spread_ms: float | None = None
    """Interquartile range of the timed passes; null if not measured, and in files of earlier versions."""
    fps: float | None = None
    """1000 / latency_ms."""
    train_seconds: float | None = None
    """Time spent training, mean over the seeds."""
    step_seconds: float | None = None
    """Time of an optimizer step: at equal time the median that gave the row its steps, else the median over its epochs,
    loading included; null for a model that was not trained here, and in files of earlier versions."""
    seeds: list[int] = field(default_factory=list)
    """Seeds of the runs."""
    runs: list[AblationRun] = field(default_factory=list)
    """The single runs."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of this row that differ from the baseline's, dotted key → value."""

    @classmethod
    def over_seeds(
        cls,
        name: str,
        recipe: str,
        evaluations: Sequence[EvaluationResult],
        runs: Sequence[AblationRun],
        settings: dict[str, Any],
    ) -> Self:
        """The row of a recipe: means over its seeds' evaluations, counts summed; nothing counted, timed or compared.

        Args:
            name: the row's.
            recipe: what it was trained with.
            evaluations: one a seed, at least one; classes and images are the first one's.
            runs: the runs behind them; empty for a model that was not trained here.
            settings: what distinguishes it from the baseline.
        """
        first = evaluations[0]
        mious = [evaluation.miou for evaluation in evaluations if evaluation.miou is not None]
        return cls(
            name=name,
            recipe=recipe,
            params_m=None,
            gmacs=None,
            gmacs_attention=None,
            miou=statistics.fmean(mious) if mious else None,
            miou_sd=statistics.stdev(mious) if len(mious) > 1 else None,
            delta=None,
            class_iou={c: mean_or_none([e.class_iou.get(c) for e in evaluations]) for c in first.names},
            confusion=[
                [sum(cells) for cells in zip(*rows, strict=True)]
                for rows in zip(*(e.confusion for e in evaluations if e.names == first.names), strict=True)
            ],
            image_iou={i: mean_or_none([e.image_iou.get(i) for e in evaluations]) for i in first.image_iou},
            train_seconds=mean_or_none([run.train_seconds for run in runs]),
            seeds=[run.seed for run in runs],
            runs=list(runs),
            settings=settings,
        )

    def compare_with(self, reference: AblationRow | None) -> None:
        """Fill in the difference to the reference's mIoU, where both have one and are not one row."""
        if reference is not None and reference is not self and None not in (self.miou, reference.miou):
            assert self.miou is not None
            assert reference.miou is not None
            self.delta = self.miou - reference.miou


@dataclass
class AblationResult(ResultsFile):
    """The comparison: all that its table and figures need."""

    rows: list[AblationRow]
    """In the order of the table."""
    dataset: dict[str, Any]
    """Description of the data set: at least name and names (the classes)."""
    class_shares: dict[str, float]
    """Class → share of labelled pixels in the training split, 0..1."""
    class_weights: dict[str, float]
    """Class → weight used in the losses."""
    protocol: str
    """full or quarter, as in `EvaluationResult`."""
    environment: dict[str, Any]
    """The answer of `describe_environment`."""
    command: str
    """The command line."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings that all rows share: split, image size, epochs, steps, batch size and the like."""

    @classmethod
    def from_dict(cls, value: Any, source: object = "results") -> Self:
        """See `ResultsFile`; rows must differ in their names and fit the classes."""
        result = super().from_dict(value, source)
        _require_names(source, [row.name for row in result.rows], "names of rows")
        if "names" in result.dataset:
            names = _require_names(source, result.dataset["names"], "dataset.names")
            for row in result.rows:
                _require_counts(f"{source}: row {row.name[:40]}", row.confusion, len(names))
        palette = result.dataset.get("palette") or []
        if not isinstance(palette, list) or not all(map(is_color, palette)):
            raise UsageError(f"{source}: dataset.palette must hold colors [red, green, blue] from 0 to 255")
        for key, kinds, rule in (("chance_miou", int | float | None, "a number"), ("split", str, "a text")):
            if key in result.settings and not isinstance(result.settings[key], kinds):
                raise UsageError(f"{source}: settings.{key} must be {rule}; found {str(result.settings[key])[:40]}")
        if not isinstance(result.environment.get("gpus", []), list):
            raise UsageError(f"{source}: environment.gpus must be a list; found {str(result.environment['gpus'])[:40]}")
        return result


@dataclass
class ClassStatistics(ResultsFile):
    """The classes of a training split, as a run folder's class_statistics.json has them."""

    shares: dict[str, float] = field(default_factory=dict)
    """Class → share of labelled pixels, 0..1."""
    weights: dict[str, float] = field(default_factory=dict)
    """Class → weight used in the losses."""


@dataclass
class BenchmarkRow:
    """One network in one engine, timed: what `effiseg benchmark` prints a line of."""

    name: str
    """Tells it from all other rows."""
    model: str
    """The model as the user gave it."""
    software: str
    """effiseg or transformers: whose code computes it, or wrote the file that the engine runs."""
    form: str
    """fused (the deploy form), trained, published (transformers' network), same_shape (transformers' network
    with LayerNorms, where the model has other norms: another function) or file (as the user gave it)."""
    engine: str
    """Its engine: a word of `--engine`."""
    precision: str
    """float32, bfloat16, float16 or int8."""
    output: str
    """logits as the network gives them, or labels at the input's size."""
    image_size: list[int]
    """Network input, [height, width]."""
    batch_size: int
    """Images of one pass."""
    device: str
    """cpu or cuda."""
    threads: int
    """Threads of the engine on the CPU."""
    allocator: str
    """tuned: glibc keeps freed memory. default: it does not."""
    samples_ms: list[float] = field(default_factory=list)
    """Every timed pass, in order."""
    latency_ms: float = 0.0
    """Median time of a pass."""
    p95_ms: float = 0.0
    """Time that 95 % of the passes did not exceed."""
    fps: float = 0.0
    """Images a second: 1000 × batch_size / latency_ms."""
    memory_before_mib: float | None = None
    """Resident memory of its process before the network was loaded."""
    peak_memory_mib: float | None = None
    """The most its process held while it ran; on a GPU the most that torch allocated there."""
    params: int | None = None
    """Numbers among its weights; null where only a file is known."""
    gmacs: float | None = None
    """Multiply-accumulates of one image without attention, 10⁹; null where only a file is known."""
    gmacs_attention: float | None = None
    """Those of the attention products."""
    file_mb: float | None = None
    """Size of the file that the engine opened, 10⁶ bytes; null where there is none."""
    error: float | None = None
    """Largest difference of logits from those of the network as trained in float32, over their range."""
    label_agreement: float | None = None
    """Share of pixels with the label of the network as trained, 0..1, on one image."""
    counterpart: str | None = None
    """The row of the same network in transformers, same engine, precision and output; null where there is none."""
    speedup: float | None = None
    """fps over the counterpart's."""
    published_miou: float | None = None
    """mIoU published for its size, percent; null unless sizes are compared before they are trained."""
    on_front: bool | None = None
    """Whether no row under the same conditions is at least as accurate, as published, and faster."""
    operators: list[dict[str, Any]] = field(default_factory=list)
    """The operators that take most time: type, ms of one pass and share (0..1); only where they were asked for."""


@dataclass
class BenchmarkResult(ResultsFile):
    """The results file of `effiseg benchmark`."""

    rows: list[BenchmarkRow]
    """In the order they were asked for."""
    skipped: dict[str, str]
    """Name → reason of what was asked for and cannot be."""
    schedule: dict[str, int]
    """rounds, passes timed in each, and passes of the warm-up."""
    environment: dict[str, Any]
    """The answer of `describe_environment`."""
    command: str
    """The command line."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Every setting it was measured with, resolved; empty in files of earlier versions."""

    @classmethod
    def from_dict(cls, value: Any, source: object = "results") -> Self:
        """See `ResultsFile`; files of earlier versions say `runtime` for the engine."""
        if isinstance(value, Mapping) and isinstance(value.get("rows"), list):
            rows = [
                {"engine": row["runtime"], **row} if isinstance(row, Mapping) and "runtime" in row else row
                for row in value["rows"]
            ]
            value = {**value, "rows": rows}
        return super().from_dict(value, source)


def is_color(value: Any) -> bool:
    """Whether it is a list of red, green and blue, 0..255."""
    channels = value if isinstance(value, list | tuple) else ()
    return len(channels) == 3 and all(type(channel) is int and 0 <= channel <= 255 for channel in channels)


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """Mean of the numbers among `values`, or None when there is none."""
    numbers = [value for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None
