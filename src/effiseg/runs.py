"""Runs and comparisons as Python sees them; what the commands and `effiseg.api` share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from effiseg.config.comparison import AblationConfig
from effiseg.config.evaluation import EvaluationConfig
from effiseg.config.export import ExportConfig
from effiseg.config.keywords import EvaluationKeywords, ExportKeywords, PathLike, PredictionKeywords
from effiseg.config.parsing import keyword_settings, read_settings
from effiseg.config.prediction import PredictionConfig
from effiseg.config.training import TrainConfig
from effiseg.data.python_data import PythonData
from effiseg.engines import format_named
from effiseg.errors import EffisegError, Interrupted, RunError, UsageError
from effiseg.files import read_json
from effiseg.losses.custom import Loss
from effiseg.messages import notice
from effiseg.notebook import html_table
from effiseg.operations import data_name, evaluate_as, export_as, predict_as
from effiseg.progress import waiting
from effiseg.results import AblationResult, EvaluationResult
from effiseg.run_folder import ComparisonFolder, RunFolder, output_folder, resolve_model
from effiseg.training import trainer
from effiseg.training.launching import find_crew
from effiseg.training.transfer import measure_transfer

if TYPE_CHECKING:
    from effiseg.export.exporter import ExportReport
    from effiseg.models.hub_segformer import SegFormer
    from effiseg.prediction.report import PredictionReport


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
        return self.folder.is_finished

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
        from effiseg.models.hub_segformer import from_pretrained

        return from_pretrained(resolve_model(self.path))

    def predict(
        self, source: PathLike | Sequence[PathLike], out: PathLike | None = None, **settings: Unpack[PredictionKeywords]
    ) -> PredictionReport:
        """`effiseg.predict(run, …)`: label images or videos, and write the outputs."""
        sources = [source] if isinstance(source, str | os.PathLike) else list(source)
        given = {"model": os.fspath(self), "source": sources, "out": out, **settings}
        return predict_as(keyword_settings(PredictionConfig, "Run.predict", given), self)

    def evaluate(
        self, data: PathLike | PythonData | None = None, split: str = "val", **settings: Unpack[EvaluationKeywords]
    ) -> EvaluationResult:
        """`effiseg.evaluate(run, …)`; without `data` on what it was trained on, where that is no Python object."""
        if data is None:
            data = self.config.data
            settings.setdefault("data_root", self.config.data_root)
        given = {"model": os.fspath(self), "data": data_name(data), "split": split, **settings}
        return evaluate_as(keyword_settings(EvaluationConfig, "Run.evaluate", given), self, data)

    def export(self, out: PathLike | None = None, **settings: Unpack[ExportKeywords]) -> ExportReport:
        """`effiseg.export_model(run, …)`; without `out` as model.onnx in the run folder, or as `format` says."""
        if (chosen := settings.get("format") or "onnx") == "web":
            raise UsageError("Run.export writes files; a page is written by effiseg.export_site")
        if out is None:
            out = self.path / f"model{format_named(chosen).suffix}"
        return export_as(self, keyword_settings(ExportConfig, "Run.export", {"out": out, **settings}))

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

    def _repr_html_(self) -> str:
        """IoU of every class, or the last epoch of a run that goes on, for notebooks."""
        if self.finished:
            return html_table(repr(self), ("class", "IoU %"), [*self.class_iou.items(), ("mean", self.miou)])
        return html_table(repr(self), (), [item for row in self.metrics[-1:] for item in row.items()])

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
        from effiseg.report.reading import comparison_winner
        from effiseg.report.results_table import results_table
        from effiseg.report.table import markdown

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

    def _repr_html_(self) -> str:
        """mIoU of every row, for notebooks."""
        rows = [(row.name, row.miou, row.miou_sd, row.delta) for row in self.result.rows]
        header = ("row", "mIoU %", "± over seeds", "against the baseline")
        return html_table(f"Comparison({str(self.path)!r})", header, rows)

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {'absent' if v is None else f'{v:.2f} %'}" for name, v in self.miou.items())
        return f"Comparison({str(self.path)!r}, mIoU: {found})"


def start_run(
    config: TrainConfig, *, data: PythonData | None = None, loss: Loss | None = None, kind: str = "train"
) -> Run:
    """`training.trainer.train`, then pictures and a report in the run folder.

    Args:
        config: settings; without `out` the folder is runs/KIND, with a number where there is one already.
        data: the data set, where that is a Python object.
        loss: the loss, where that is a Python object.
        kind: the command.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line.
        Interrupted: a signal came; the run can be resumed.
    """
    from effiseg.benchmark.family import fitted

    if not config.out and find_crew() is not None:
        raise UsageError("all processes of a launcher write one run: give --out")
    with output_folder(config.out, kind) as out:
        config = replace(fitted(config), out=os.fspath(out))
        return _rounded_off(trainer.train(config, python_data=data, loss=loss), data)


def resume_run(folder: str | os.PathLike[str], *, data: PythonData | None = None, loss: Loss | None = None) -> Run:
    """`training.trainer.resume`, then pictures and a report in the run folder.

    Raises:
        UsageError, DataError, ModelError, RunError: what is wrong, in one line.
        Interrupted: a signal came; the run can be resumed again.
    """
    finished = RunFolder(folder).is_finished and _page(Path(folder)) is not None
    run = trainer.resume(os.fspath(folder), python_data=data, loss=loss)
    return Run(run.path) if finished else _rounded_off(run, data)


def compare(
    config: AblationConfig,
    shared: dict[str, Any] | None = None,
    *,
    command: str | None = None,
    message: Callable[[str], None] = notice,
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
    from effiseg.comparison.ablation import ablate
    from effiseg.comparison.latency import fitted_comparison

    numbered = not config.out
    with output_folder(config.out, "ablate") as out:
        config, shared = fitted_comparison(replace(config, out=os.fspath(out)), shared, message)
        try:
            ablate(config, shared, command=command, message=message)
        except Interrupted as stop:
            if numbered:
                raise Interrupted(f"{stop}; add --out {out} to it", stop.signal_number) from None
            raise
    report_at_end(config.out)
    return Comparison(config.out)


def report_at_end(folder: str | os.PathLike[str], *, quick: bool = False) -> Path | None:
    """Write FOLDER/report, of work that is done. Whatever goes wrong costs the report, never the work.

    Args:
        folder: the run or comparison.
        quick: no PDF and PNG beside the page, which take most of the time.

    Returns:
        The page, or None where none could be written; stderr says why.
    """
    from effiseg.report.figures.style import FORMATS
    from effiseg.report.page import write_report

    try:
        with waiting("drawing the report"):
            return write_report([folder], Path(folder) / "report", formats=("svg",) if quick else FORMATS).page
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        notice(f"no report was written: {text}; `effiseg report {folder} --out DIR` tries again")
        return None


def _rounded_off(run: RunFolder, data: PythonData | None) -> Run:
    """The run with what its model is worth elsewhere, what it makes of a few images of val, and its report."""
    crew = find_crew()
    if crew is not None and not crew.leads:
        return Run(run.path)
    from effiseg.comparison.samples import save_run_samples

    config = read_settings(TrainConfig, run.config)
    if config.transfer.data is not None:
        measure_transfer(run, config)
    try:
        with waiting("labelling a few images for the report"):
            save_run_samples(run, None if data is None else data.spec())
    except (EffisegError, OSError, RuntimeError) as error:  # a run that is done is not lost by a picture
        notice(f"no pictures were saved: {error}")
    report_at_end(run.path, quick=True)
    return Run(run.path)


def _page(folder: Path) -> Path | None:
    page = folder / "report" / "index.html"
    return page if page.is_file() else None
