"""Runs and comparisons as Python sees them; what the commands and `effiseg.api` share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from effiseg.benchmark.family import fitted
from effiseg.comparison.ablation import ablate
from effiseg.comparison.plan import changed_settings
from effiseg.comparison.samples import save_run_samples
from effiseg.config.comparison import AblationConfig
from effiseg.config.parsing import read_settings
from effiseg.config.training import TrainConfig
from effiseg.data.python_data import PythonData
from effiseg.errors import EffisegError, RunError
from effiseg.files import read_json
from effiseg.losses.custom import Loss
from effiseg.models.pretrained import from_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.nested import merge_settings
from effiseg.report.figures.style import FORMATS
from effiseg.report.page import write_report
from effiseg.report.reading import comparison_winner
from effiseg.report.results_table import results_table
from effiseg.report.table import markdown
from effiseg.results import AblationResult, EvaluationResult
from effiseg.run_folder import ComparisonFolder, RunFolder, resolve_model
from effiseg.training import trainer
from effiseg.training.launching import find_crew
from effiseg.training.transfer import measure_transfer


class Run:
    """A training run in its folder, finished or not. It stands wherever a path to a run or model may stand.

    Args:
        path: the run folder.

    Raises:
        RunError: no run was started there.

    Example:
        >>> run = effiseg.Run("runs/students/baseline")
        >>> run.finished
        True
        >>> run.metrics[-1]["epoch"]
        12.0
        >>> sorted(run.class_iou)
        ['blue', 'grey', 'red']
        >>> run.model().num_classes
        3
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.folder = RunFolder(path)
        """Where every file of the run lies."""
        if not self.folder.is_run:
            raise RunError(f"{self.folder.path}: not a run folder (no config.yaml)")

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def config(self) -> TrainConfig:
        """The settings of the run."""
        return read_settings(TrainConfig, self.folder.config)

    @property
    def finished(self) -> bool:
        """Whether the run has its model and results."""
        return self.folder.results.is_file() and self.folder.model.is_dir()

    @property
    def results(self) -> dict[str, Any]:
        """The content of results.json: epochs, steps, train_seconds, best_epoch, val, …

        Raises:
            RunError: the run is not finished.
        """
        if not self.finished:
            raise RunError(f"{self.path}: is not finished; go on with its resume(), or `effiseg train --resume`")
        results: dict[str, Any] = read_json(self.folder.results)
        return results

    @property
    def evaluation(self) -> EvaluationResult | None:
        """The finished model on val; None where the data set has no val split.

        Raises:
            RunError: the run is not finished.
        """
        value = self.results["val"]
        return None if value is None else EvaluationResult.from_dict(value, self.folder.results)

    @property
    def miou(self) -> float | None:
        """mIoU of the finished model on val, percent; None where there is none.

        Raises:
            RunError: the run is not finished.
        """
        return None if self.evaluation is None else self.evaluation.miou

    @property
    def class_iou(self) -> dict[str, float | None]:
        """IoU of every class on val, percent, None for one that does not occur; empty without a val split.

        Raises:
            RunError: the run is not finished.
        """
        return {} if self.evaluation is None else self.evaluation.class_iou

    @property
    def metrics(self) -> list[dict[str, float | None]]:
        """One row an epoch so far: epoch, step, lr, every loss term, val_miou, …; `pandas.DataFrame(run.metrics)`."""
        return self.folder.read_metrics()

    @property
    def transfer(self) -> list[dict[str, Any]]:
        """Worth of the model as a start on another data set, one row a start; empty where nothing was measured.

        Each row has `source`, `epoch`, `val_miou` (percent) and `class_iou`.
        """
        rows: list[dict[str, Any]] = read_json(self.folder.transfer)["rows"] if self.folder.transfer.is_file() else []
        return rows

    @property
    def report(self) -> Path | None:
        """The page with figures and pictures, where one was written."""
        return _page(self.path)

    def model(self) -> SegFormer:
        """The trained network, on the CPU and in evaluation mode.

        Raises:
            ModelError: the run is not finished.
        """
        return from_pretrained(resolve_model(self.path))

    def resume(self, *, data: PythonData | None = None, loss: Loss | None = None) -> Run:
        """Go on where the run was interrupted; a finished one is left as it is.

        Args:
            data: the data set that the run was started with, where that was a Python object.
            loss: the loss that the run was started with, where that was a Python object.

        Raises:
            RunError, UsageError: it cannot go on; one line says why.
            Interrupted: a signal came; the run can be resumed again.
        """
        return resume_run(self.path, data=data, loss=loss)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        if not self.finished:
            return f"Run({str(self.path)!r}, unfinished)"
        miou = self.miou
        return f"Run({str(self.path)!r}, val mIoU {'absent' if miou is None else f'{miou:.2f} %'})"


class Comparison:
    """A comparison in its folder: teacher, baseline and strategies, as far as they are trained.

    Args:
        path: the folder that `effiseg.ablate` wrote.

    Raises:
        RunError: no comparison was written there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.folder = ComparisonFolder(path)
        """Where every file of the comparison lies."""
        if not self.folder.results.is_file() or not self.folder.settings.is_file():
            raise RunError(f"{self.path}: not a comparison (no ablation.yaml and results.json)")

    @property
    def path(self) -> Path:
        """The folder: results.json, the tables, runs/, report/."""
        return self.folder.path

    @property
    def result(self) -> AblationResult:
        """Everything that was measured, row by row."""
        return AblationResult.from_dict(read_json(self.folder.results), self.folder.results)

    @property
    def miou(self) -> dict[str, float | None]:
        """Row → mIoU, percent, the mean over its seeds."""
        return {row.name: row.miou for row in self.result.rows}

    def table(self) -> str:
        """The table as Markdown."""
        return markdown(results_table(self.result, winner=comparison_winner(self.path)))

    def runs(self, row: str) -> list[Run]:
        """The runs behind a row, one a seed.

        Raises:
            RunError: there is no such row.
        """
        rows = {found.name: found.runs for found in self.result.rows}
        if row not in rows:
            raise RunError(f"{self.path}: has no row {row!r}; it has {', '.join(rows)}")
        return [Run(self.path / run.folder) for run in rows[row]]

    @property
    def report(self) -> Path | None:
        """The page with figures and pictures, where one was written."""
        return _page(self.path)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {'absent' if v is None else f'{v:.2f} %'}" for name, v in self.miou.items())
        return f"Comparison({str(self.path)!r}, mIoU: {found})"


def start_run(config: TrainConfig, *, data: PythonData | None = None, loss: Loss | None = None) -> Run:
    """`training.trainer.train`, then pictures and a report in the run folder.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line.
        Interrupted: a signal came; the run can be resumed.
    """
    return _rounded_off(trainer.train(fitted(config), python_data=data, loss=loss), data)


def resume_run(folder: str | os.PathLike[str], *, data: PythonData | None = None, loss: Loss | None = None) -> Run:
    """`training.trainer.resume`, then pictures and a report in the run folder.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line.
        Interrupted: a signal came; the run can be resumed again.
    """
    return _rounded_off(trainer.resume(os.fspath(folder), python_data=data, loss=loss), data)


def compare(
    config: AblationConfig,
    shared: dict[str, Any] | None = None,
    *,
    command: str | None = None,
    message: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> Comparison:
    """`comparison.ablation.ablate`, then a report in its folder.

    Args:
        config: the comparison's settings.
        shared: nested training settings laid over every row's recipe; None takes those in which `config` differs
            from the defaults.
        command: what to record as the command; None takes the process's own.
        message: told, in one line each, what is happening.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line.
        Interrupted: a signal came; the same call goes on from there.
    """
    config, shared = _fitted_comparison(config, shared, message)
    ablate(config, shared, command=command, message=message)
    report_at_end(config.out)
    return Comparison(config.out)


def _fitted_comparison(
    config: AblationConfig, shared: dict[str, Any] | None, message: Callable[[str], None]
) -> tuple[AblationConfig, dict[str, Any] | None]:
    """The settings with the size that `latency` asks for; of a comparison that was begun, with the size it has."""
    if config.latency is None:
        return config, shared
    folder = ComparisonFolder(config.out)
    if folder.settings.is_file():
        begun = read_settings(AblationConfig, folder.settings)
        asked = ("latency", "engine", "image_size")
        if all(getattr(begun, name) == getattr(config, name) for name in asked):
            model = replace(config.model, variant=begun.model.variant)
            config = replace(config, model=model, latency_found=begun.latency_found)
    config = fitted(config, message=message)
    found = {"model": {"variant": config.model.variant}, "latency_found": config.latency_found}
    return config, merge_settings(changed_settings(config) if shared is None else shared, found)


def report_at_end(folder: str | os.PathLike[str], *, quick: bool = False) -> Path | None:
    """Write FOLDER/report, of work that is done. Whatever goes wrong costs the report, never the work.

    Args:
        folder: the run or comparison.
        quick: no PDF and PNG beside the page, which take most of the time.

    Returns:
        The page, or None where none could be written; stderr says why.
    """
    try:
        return write_report([folder], Path(folder) / "report", formats=("svg",) if quick else FORMATS).page
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"no report was written: {text}; `effiseg report {folder} --out DIR` tries again", file=sys.stderr)
        return None


def _rounded_off(run: RunFolder, data: PythonData | None) -> Run:
    """The run with what its model is worth elsewhere, what it makes of a few images of val, and its report."""
    crew = find_crew()
    if crew is not None and not crew.leads:
        return Run(run.path)
    config = read_settings(TrainConfig, run.config)
    if config.transfer.data is not None:
        measure_transfer(run, config)
    try:
        save_run_samples(run, None if data is None else data.spec())
    except (EffisegError, OSError, RuntimeError) as error:  # a run that is done is not lost by a picture
        print(f"no pictures were saved: {error}", file=sys.stderr)
    report_at_end(run.path, quick=True)
    return Run(run.path)


def _page(folder: Path) -> Path | None:
    page = folder / "report" / "index.html"
    return page if page.is_file() else None
