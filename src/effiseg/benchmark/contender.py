"""A contender of a measurement: one network, in one form, in one engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from effiseg.config.engine import EngineName, Output, Precision
from effiseg.engines import engine_named, engine_of, load_exported
from effiseg.engines.engine import FileEngine
from effiseg.engines.pytorch import TorchEngine
from effiseg.engines.record import ExportRecord
from effiseg.errors import ModelError, UsageError
from effiseg.files import read_json
from effiseg.run_folder import resolve_model
from effiseg.serialization import from_plain

Software = Literal["effiseg", "transformers"]
"""Whose code computes the network, or wrote the file that the engine runs."""
Form = Literal["fused", "trained", "published", "same_shape", "file"]
"""fused: the deploy form. trained: as it is trained. published: transformers' network. same_shape: that of the same
shape with LayerNorms, where the model has other norms: another function. file: as the user gave it."""
Allocator = Literal["tuned", "default"]


@dataclass(frozen=True)
class Contender:
    """One side of a measurement; a worker process is told nothing else."""

    model: str
    """The user's name for it."""
    source: str
    """Model folder, or exported file."""
    image_size: tuple[int, int]
    """(height, width)."""
    threads: int
    """Threads of the engine on the CPU."""
    software: Software = "effiseg"
    form: Form = "fused"
    engine: EngineName = "torch"
    precision: Precision = "float32"
    output: Output = "logits"
    """logits as the network gives them, or labels at the input's size."""
    batch_size: int = 1
    device: str = "cpu"
    """cpu or cuda."""
    allocator: Allocator = "tuned"
    """The allocator that is asked for; `effiseg.allocator` says whether it can be had."""
    file: str | None = None
    """Exported file to open; None: none needed, or not yet written."""

    @property
    def name(self) -> str:
        """One line that tells it from every other contender of a measurement."""
        told = {"trained": ["trained"], "same_shape": ["(another function: LayerNorms)"]}
        words = [self.model, self.software, *told.get(self.form, []), self.engine]
        words += [self.precision, self.output]
        if self.batch_size > 1:
            words.append(f"batch {self.batch_size}")
        if self.allocator == "default":
            words.append("default allocator")
        return " ".join(words)

    @property
    def needs_file(self) -> bool:
        """Whether an engine must be given a file that does not exist yet."""
        return self.file is None and isinstance(engine_named(self.engine), FileEngine)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Contender:
        """The inverse of `to_dict`."""
        return from_plain(cls, value, "contender")


@dataclass(frozen=True)
class Skipped:
    """A contender that was asked for and cannot be."""

    name: str
    reason: str


def contenders_of(
    models: Sequence[tuple[str, str]],
    engines: Sequence[EngineName],
    precisions: Sequence[Precision],
    common: Mapping[str, Any],
    *,
    against_transformers: bool = False,
) -> tuple[list[Contender], list[Skipped]]:
    """Every model in every engine and precision, and transformers' counterpart of each where it is asked for.

    Args:
        models: names and run folders, model folders, Hub ids or exported files; a file runs in its own engine alone.
        engines: what runs the models that are folders.
        precisions: what is computed in; a file may leave no choice.
        common: image_size, batch_size, device, threads and output of all.
        against_transformers: add the same weights in transformers' network.

    Returns:
        What can be measured, and what was left out and why.

    Raises:
        UsageError: nothing is left, or a name stands twice.
        ModelError: no such model.
    """
    found: list[Contender] = []
    skipped: list[Skipped] = []
    for model, place in models:
        own = engine_of(place)
        if own is not None:
            choices = _file_contenders(place, own, precisions, common)
        else:
            source = resolve_model(place)
            choices = [
                Contender(model=model, source=source, engine=engine, precision=precision, **common)
                for engine in engines
                for precision in precisions
            ]
        for contender in choices:
            _keep(contender, found, skipped)
            if against_transformers:
                _keep(counterpart_of(contender), found, skipped)
    if against_transformers and not any(contender.software == "transformers" for contender in found):
        reasons = "; ".join(f"{entry.name}: {entry.reason}" for entry in skipped)
        raise UsageError(f"--against transformers: there is nothing to compare with: {reasons}")
    names = [contender.name for contender in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"every contender is measured once; {name!r} is asked for twice")
    if not found:
        raise UsageError("nothing to measure: " + "; ".join(f"{entry.name}: {entry.reason}" for entry in skipped))
    return found, skipped


def counterpart_of(contender: Contender) -> Contender:
    """Transformers' network in the same engine and precision: with the same weights, or else of the same shape.

    That of an exported file is the network of the model that the file was made of, where that is still there.
    """
    source = contender.source
    if engine_of(source) is not None:
        with suppress(ModelError):
            source = resolve_model(_record_of(source).source)
    form: Form = "published" if _config_of(source).get("model_type", "segformer") == "segformer" else "same_shape"
    return replace(contender, software="transformers", source=source, form=form, file=None)


def _config_of(source: str) -> Mapping[str, Any]:
    """What a model folder's config.json says; nothing of what is no folder here."""
    config = Path(source) / "config.json"
    found: Mapping[str, Any] = read_json(config) if config.is_file() else {}
    return found


def _record_of(file: str) -> ExportRecord:
    """What an exported file says of itself."""
    loaded = load_exported(file, threads=1)
    loaded.close()
    return loaded.record


def why_impossible(contender: Contender) -> str | None:
    """Why there is no such contender, or None."""
    engine, precision = engine_named(contender.engine), contender.precision
    if contender.software == "transformers":
        if engine_of(contender.source) is not None:
            return "the model that it was made of is not here any more; give the model folder too"
        from effiseg.models.pretrained import OWN_SHAPE_FIELDS

        if set(OWN_SHAPE_FIELDS) & set(_config_of(contender.source).get("effiseg", {})):
            return "no SegFormer of transformers has this shape; compare b0 to b5"
    if isinstance(engine, FileEngine) and contender.device != "cpu":
        return f"{engine.name} is measured on the CPU"
    if contender.form == "file":
        return None
    if precision == "int8":
        return "int8 needs calibration images: make the file with effiseg export --precision int8 and give it as MODEL"
    if isinstance(engine, TorchEngine) or precision == "float32":
        return None
    if precision in engine.missing:
        return engine.missing[precision]
    if contender.software == "transformers" and precision not in engine.at_load:
        return f"transformers' {engine.suffix} files are float32"
    return None


def _file_contenders(
    model: str, engine: FileEngine, precisions: Sequence[Precision], common: Mapping[str, Any]
) -> list[Contender]:
    """A file in its own engine, in every precision asked for that it leaves to choose, or in its own."""
    record = _record_of(model)
    if record.input_size is not None and record.input_size != common["image_size"]:
        height, width = record.input_size
        raise UsageError(f"{model}: takes images of {height}x{width}; give --image_size {height}x{width}")
    if record.batch_size not in (None, common["batch_size"]):
        raise UsageError(f"{model}: takes {record.batch_size} images at a time; give --batch_size {record.batch_size}")
    if record.output != common["output"]:
        raise UsageError(f"{model}: gives {record.output}; give --output {record.output}")
    own: Sequence[Precision] = [record.precision]
    if record.precision in engine.at_load:
        own = [precision for precision in precisions if precision in engine.at_load] or own
    return [
        Contender(model=model, source=model, file=model, form="file", engine=engine.name, precision=precision, **common)
        for precision in own
    ]


def _keep(contender: Contender, found: list[Contender], skipped: list[Skipped]) -> None:
    reason = why_impossible(contender)
    if reason is None:
        found.append(contender)
    else:
        skipped.append(Skipped(contender.name, reason))
