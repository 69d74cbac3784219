"""Layout of runs and comparisons, and which files a MODEL argument means."""

from __future__ import annotations

import csv
import io
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from effiseg.engines import FILE_ENGINES, MODEL_SUFFIXES, engine_of, format_of
from effiseg.errors import ModelError, UsageError
from effiseg.files import read_text, write_text, writing
from effiseg.models.folder import CHECKPOINT_SUFFIXES, CONFIG_FILE

_LOCK = ".lock"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]*\w")


@dataclass(frozen=True)
class RunFolder:
    """The layout of one training run."""

    path: Path
    """The folder; it need not exist yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", Path(path))

    @property
    def config(self) -> Path:
        """Resolved settings of the run; the first file a run writes."""
        return self.path / "config.yaml"

    @property
    def lock(self) -> Path:
        """Held by the process that trains the run."""
        return self.path / _LOCK

    @property
    def environment(self) -> Path:
        """Versions and hardware, as `describe_environment` gives them."""
        return self.path / "environment.json"

    @property
    def class_statistics(self) -> Path:
        """Share and weight of every class in the training split."""
        return self.path / "class_statistics.json"

    @property
    def training_batch(self) -> Path:
        """Picture of the first training batch with its masks, as the network saw it."""
        return self.path / "training-batch.jpg"

    def teacher_evaluation(self, number: int = 1) -> Path:
        """Evaluation of a teacher before distillation, the first or another one; only in runs that distil."""
        return self.path / ("teacher.json" if number == 1 else f"teacher-{number}.json")

    @property
    def initialization(self) -> Path:
        """Weights that the run started from, and what was loaded of them; only in runs with `init`."""
        return self.path / "init.json"

    @property
    def metrics(self) -> Path:
        """Every loss term, learning rate and val mIoU per epoch."""
        return self.path / "metrics.csv"

    @property
    def validation(self) -> Path:
        """The newest evaluation on val during training, with the step it belongs to."""
        return self.path / "validation.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """State to resume from."""
        return self.checkpoints / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """State of the epoch that was best on val."""
        return self.checkpoints / "best.ckpt"

    def snapshot(self, epoch: int) -> Path:
        """Model folder of the weights after an epoch, 1-based, that the settings keep."""
        return self.path / "snapshots" / f"epoch-{epoch:04d}"

    @property
    def transfer(self) -> Path:
        """Worth of the model and its snapshots as a start on another data set."""
        return self.path / "transfer.json"

    @property
    def model(self) -> Path:
        """Model folder: the student alone; written when the run is finished."""
        return self.path / "model"

    @property
    def results(self) -> Path:
        """Evaluation of the finished model."""
        return self.path / "results.json"

    def evaluation(self, split: str) -> Path:
        """Evaluation of the finished model on a split: training itself leaves the one on val."""
        return self.results if split == "val" else self.path / f"evaluation-{split}.json"

    @property
    def report_page(self) -> Path:
        """The page with figures and pictures, where one was drawn."""
        return self.path / "report" / "index.html"

    @property
    def log(self) -> Path:
        """What was said while it trained, with times."""
        return self.path / "log.txt"

    @property
    def trackers(self) -> Path:
        """Names that trackers of experiments gave the run; only in runs that have some."""
        return self.path / "trackers.json"

    @property
    def is_finished(self) -> bool:
        """Whether it has its model and results."""
        return self.results.is_file() and self.model.is_dir()

    @property
    def is_run(self) -> bool:
        """Whether a run was started here."""
        return self.config.is_file()

    @property
    def how_to_resume(self) -> str:
        """The advice that an interrupted run gives."""
        return f"go on with `effiseg train --resume {self.path}`"

    def write_metrics(self, rows: Sequence[Mapping[str, float | int | None]]) -> None:
        """Write metrics.csv: one row per finished epoch, every loss term, learning rate, val mIoU."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.metrics, text.getvalue())

    def read_metrics(self) -> list[dict[str, float | None]]:
        """The rows of metrics.csv, column → number, None where the cell is empty; no row before the first epoch ends.

        Raises:
            UsageError: it holds something that is no number.
        """
        if not self.metrics.is_file():
            return []
        try:
            return [
                {name: float(cell) if cell else None for name, cell in row.items()}
                for row in csv.DictReader(read_text(self.metrics).splitlines())
            ]
        except (ValueError, TypeError, csv.Error) as error:
            raise UsageError(f"{self.metrics}: every cell must be a number or empty ({error})") from None


@dataclass(frozen=True)
class ComparisonFolder:
    """The layout of a comparison."""

    path: Path
    """The folder; it need not exist yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", Path(path))

    @property
    def settings(self) -> Path:
        """Settings of the comparison; written before the first run is trained."""
        return self.path / "ablation.yaml"

    @property
    def results(self) -> Path:
        """Every row; written anew after each run."""
        return self.path / "results.json"

    @property
    def step_times(self) -> Path:
        """Step time of every row, of a comparison at equal time; written before any row is trained."""
        return self.path / "step-times.json"

    def run(self, row: str, seed: int) -> RunFolder:
        """The run of a row and a seed."""
        return RunFolder(self.path / "runs" / f"{row}-seed{seed}")

    def row_of(self, run: RunFolder) -> str:
        """The row that a run belongs to: kd of kd-seed0."""
        return run.path.name.rsplit("-seed", 1)[0]

    def started_runs(self) -> list[RunFolder]:
        """The runs that were started, oldest first."""
        runs = [RunFolder(path) for path in (self.path / "runs").glob("*") if RunFolder(path).is_run]
        return sorted(runs, key=lambda run: (run.config.stat().st_mtime_ns, run.path.name))

    def teacher_evaluation(self, split: str, row: str = "teacher") -> Path:
        """Evaluation of a teacher that was not trained here, by its row; may be written before the settings."""
        return self.path / f"{row}-evaluation-{split}.json"

    @property
    def is_comparison(self) -> bool:
        """Whether a comparison was started here."""
        return self.settings.is_file() or self.step_times.is_file() or any(self.path.glob("teacher*-evaluation-*.json"))


def is_new(folder: Path) -> bool:
    """Whether a run or comparison may begin in a folder: there is none, or it holds nothing but what a process left
    that was killed before its first file had a name (a lock, `.partial` files)."""
    if not folder.is_dir():
        return not folder.exists()
    return all(path.name == _LOCK or path.name.endswith(".partial") for path in folder.iterdir())


@contextmanager
def output_folder(given: str | os.PathLike[str] | None, kind: str) -> Iterator[Path]:
    """The folder that a command writes: the one it was given, or else a new one with a number.

    Args:
        given: the folder; None or "" makes runs/KIND, or else runs/KIND-2, runs/KIND-3, … below the working
            directory. No two processes ever make the same one. It is taken away again where it stays empty.
        kind: the command.

    Raises:
        ResourceError: it cannot be made.
    """
    if given:
        yield Path(given)
        return
    folder = Path("runs", kind)
    alone = not folder.parent.exists()
    with writing(folder):
        folder.parent.mkdir(exist_ok=True)
        number = 1
        while True:
            try:
                folder.mkdir()
                break
            except FileExistsError:
                number += 1
                folder = Path("runs", f"{kind}-{number}")
    try:
        yield folder
    finally:
        with suppress(OSError):  # it holds something
            folder.rmdir()
            if alone:
                folder.parent.rmdir()


def resolve_model(argument: str | os.PathLike[str]) -> str:
    """The model folder, Hub id or exported file that a MODEL argument means.

    Args:
        argument: a run folder, a model folder, a transformers folder, a Hub id (`org/name`), or a file that
            `effiseg export` wrote.

    Returns:
        Path of a folder with a config.json, the Hub id as given, or the file; see `is_exported`.

    Raises:
        ModelError: no such folder or file, a run that has no model yet, a folder that is neither, or an exported file
            that is never opened.
    """
    text = os.fspath(argument)
    path = Path(text).expanduser()
    expected = f"a run folder, a model folder (config.json + model.safetensors), a Hub id (org/name), {MODEL_SUFFIXES}"
    if not text:  # which Path takes for the working directory
        raise ModelError(f"MODEL must be {expected}; found nothing")
    if path.is_dir():
        run = RunFolder(path)
        if (path / "config.json").is_file():
            return str(path)
        if (run.model / "config.json").is_file():
            return str(run.model)
        if run.is_run:
            raise ModelError(f"{text}: this run has no model yet; finish it with `effiseg train --resume {text}`")
        raise ModelError(f"{text}: holds neither config.json nor model/config.json; MODEL must be {expected}")
    if is_exported(path) and path.is_file():
        return str(path)
    written = format_of(path)
    if written is not None and written.never_opened:
        raise ModelError(
            f"{text}: a {written.suffix} file is never opened, {written.never_opened}; MODEL must be {expected}"
        )
    if path.is_file() and path.suffix.lower() in CHECKPOINT_SUFFIXES:
        raise ModelError(f"{text}: is a file{_instead_of(path)}")
    if path.exists():
        raise ModelError(f"{text}: is a file; MODEL must be {expected}")
    # `runs/b0` has the form of a Hub id; where a folder `runs` exists it is a mistyped path.
    if _HUB_ID.fullmatch(text) and not path.parent.is_dir():
        return text
    raise ModelError(f"{text}: no such folder; MODEL must be {expected}")


def _instead_of(weights: Path) -> str:
    """What to give in place of a file of weights."""
    if owner := run_of_checkpoint(weights):
        return f", a checkpoint of a run; give the run: {shlex.quote(str(owner))}"
    if (weights.parent / CONFIG_FILE).is_file():
        return f" of a model folder; give the folder: {shlex.quote(str(weights.parent))}"
    for engine in FILE_ENGINES:
        graph = weights.with_suffix(engine.suffix)
        if graph.is_file() and weights in engine.parts(graph):
            return f" of {engine.title}'s weights; give the file beside it: {shlex.quote(str(graph))}"
    command = f"effiseg convert {shlex.quote(str(weights))} --out DIR"
    return f" of weights; make a model folder of it, and give that: `{command}`"


def run_of_checkpoint(path: Path) -> Path | None:
    """The run that a file is a checkpoint of; None: of none."""
    folder = RunFolder(path.parent.parent)
    return folder.path if path.is_file() and path.parent == folder.checkpoints and folder.is_run else None


def is_exported(model: str | os.PathLike[str]) -> bool:
    """Whether a resolved MODEL is an exported file, to be run by its engine, and not a model folder."""
    return engine_of(model) is not None
