"""Table 2 of the paper, with the protocol it leaves out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from effiseg.files import write_text
from effiseg.report.noise import may_rank, timing_tolerance
from effiseg.report.row_titles import is_teacher, row_title
from effiseg.report.table import (
    Cell,
    Column,
    Table,
    comma_separated,
    latex,
    mark_best,
    markdown,
    number_cell,
    text_cell,
)
from effiseg.results import PROTOCOLS, AblationResult, AblationRow


def write_results_table(result: AblationResult, folder: Path, winner: str | None = None) -> None:
    """Write table.md, table.csv and table.tex into `folder`; `winner` as in `results_table`."""
    table = results_table(result, winner=winner)
    write_text(folder / "table.md", markdown(table))
    write_text(folder / "table.csv", comma_separated(table))
    write_text(folder / "table.tex", latex(table))


def results_table(result: AblationResult, label: Callable[[str], str] = row_title, winner: str | None = None) -> Table:
    """Rows × mIoU, Δ, parameters, GMACs, FPS, with the protocol under it and how rows differ from the baseline.

    The best student of every column is marked, where that is more than noise; the teacher does not compete.

    Args:
        result: what to show.
        label: row → what it is called.
        winner: the row whose mIoU is better than every other student's by more than the choice of images, which is
            marked; None marks no score. See `effiseg.report.noise.clear_winner`.
    """
    students = [row for row in result.rows if not is_teacher(row.name)]
    score: Literal["higher"] | None = "higher" if winner is not None else None
    spread = timing_tolerance(students)
    columns = [
        Column("Row", "name", number=False),
        Column(f"mIoU {result.settings.get('split', '')} (%)", "miou", score),
        Column("± sd", "miou_sd"),
        Column("Δ", "delta", score),
        Column("Params (M)", "params_m", "lower"),
        Column("GMACs", "gmacs", "lower"),
        Column("+ attention", "gmacs_attention", "lower"),
        Column("FPS", "fps", "higher", spread),
        Column("Latency (ms)", "latency_ms", "lower", spread),
        Column("Steps", "steps"),
        Column("Step (s)", "step_seconds"),
        Column("Training (min)", "train_minutes"),
    ]
    own_steps = result.settings.get("budget") == "time"
    rows = [_results_cells(row, label(row.name), own_steps=own_steps) for row in result.rows]
    rows = mark_best(columns, rows, [may_rank(result) and not is_teacher(row.name) for row in result.rows])
    # A column without any value says nothing.
    kept = [i for i in range(len(columns)) if i == 0 or any(row[i].value is not None for row in rows)]
    return Table(
        "results",
        "Results",
        [columns[i] for i in kept],
        [[row[i] for i in kept] for row in rows],
        notes=[protocol_text(result)],
        items=differences(result),
    )


def _results_cells(row: AblationRow, title: str, *, own_steps: bool) -> list[Cell]:
    """One row's cells, in the order of the columns; its steps where rows have steps of their own."""
    steps = next((run.steps for run in row.runs), None) if own_steps else None
    minutes = None if row.train_seconds is None else row.train_seconds / 60
    return [
        text_cell(title, row.name),
        number_cell(row.miou),
        number_cell(row.miou_sd),
        Cell("", None) if row.delta is None else number_cell(row.delta, "+.2f"),
        number_cell(row.params_m),
        number_cell(row.gmacs),
        number_cell(row.gmacs_attention),
        number_cell(row.fps),
        number_cell(row.latency_ms, ".1f"),
        number_cell(steps, "d"),
        number_cell(row.step_seconds, ".3f"),
        number_cell(minutes, ".1f"),
    ]


def protocol_text(result: AblationResult) -> str:
    """How the numbers were obtained, in one paragraph; what the results file does not say is left out."""
    s = result.settings
    words = [*_evaluation_words(result), *_training_words(result)]
    if s.get("chance_miou") is not None:
        words.append(f"Always predicting the most frequent class scores {s['chance_miou']:.2f} %.")
    if "complexity_size" in s:
        words.append(f"GMACs at {s['complexity_size']}, attention products counted apart.")
    if s.get("latency_size") and any(row.fps for row in result.rows):
        words.append(_latency_text(result))
    words.append(
        "A score is bold only where it is better than every other student's by more than the choice of images."
        if may_rank(result)
        else "Training is too short to rank rows, so none is marked."
    )
    if not s.get("complete", True):
        words.append("Unfinished: more runs are to come.")
    return " ".join(words)


def _latency_text(result: AblationResult) -> str:
    """How latency was measured."""
    s, where = result.settings, result.environment
    gpus = where.get("gpus")
    return (
        f"FPS at {s['latency_size']}, batch 1, {s.get('latency_runtime', 'PyTorch eager, unfused')}, "
        f"{gpus[0] if s.get('device') == 'cuda' and gpus else where.get('cpu')}, "
        f"{where.get('threads')} threads; rows of one architecture share one measurement."
    )


def differences(result: AblationResult) -> list[str]:
    """Every setting in which a row differs from the baseline, one line a row."""
    lines = []
    for row in result.rows:
        listed = ", ".join(f"{key}: {value}" for key, value in row.settings.items())
        if listed:
            lines.append(f"{row_title(row.name)}: differs from the baseline in {listed}")
    return lines


def _evaluation_words(result: AblationResult) -> list[str]:
    s, data = result.settings, result.dataset
    if not result.rows or "names" not in data:
        return []
    images = f" ({s['images']} images)" if "images" in s else ""
    return [
        f"{data.get('name', 'data set')}, {len(data['names'])} classes, {s.get('split', '?')} split{images}, "
        f"{PROTOCOLS.get(result.protocol, result.protocol)}, one confusion matrix over the split."
    ]


def _budget_words(settings: dict[str, Any]) -> list[str]:
    """What is equal among the rows; nothing in files of earlier versions."""
    match settings.get("budget"):
        case "epochs":
            return ["Budget: epochs, so all rows have the same number of steps."]
        case "time" if "budget_seconds" in settings:
            return [
                f"Budget: time, {settings['budget_seconds']:.0f} s of steps a row, the baseline's over "
                f"{settings['epochs']} epochs: each row has as many steps as fit, by the median of 20 after 5, "
                "measured in turns before any row; the teacher's forward counts, its own training does not."
            ]
    return []


def _training_words(result: AblationResult) -> list[str]:
    s = result.settings
    if not {"image_size", "epochs", "batch_size"} <= set(s):
        return []
    seeds = sorted({seed for row in result.rows for seed in row.seeds})
    steps = sorted({run.steps for row in result.rows if not is_teacher(row.name) for run in row.runs if run.steps})
    teacher = s.get("teacher_epochs", s["epochs"])
    start = "scratch" if s.get("init") is None else f"the weights {s['init']}"
    length = f"{s['epochs']} epochs" if s.get("steps") is None else f"{s['steps']} steps"
    words = f"Trained from {start} at {s['image_size']} ({s.get('resize')}), {length}"
    words += f" (teacher {teacher})" if teacher != s["epochs"] else ""
    words += f" of batch {s['batch_size']}"
    words += f" ({steps[0]} steps)" if len(steps) == 1 and s.get("steps") is None else ""
    words += f", augmentation {s.get('augment')}, {s.get('precision')} on {s.get('device')};"
    words += f" last weights{'' if s.get('ema_decay') is None else ' (moving average)'};"
    words += f" seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    words += " (mean, sample sd)." if len(seeds) > 1 else ": one seed, so no spread is known."
    return [words, *_budget_words(s)]
