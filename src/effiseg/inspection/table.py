"""The table of an inspection, grouped by place."""

from __future__ import annotations

from effiseg.inspection.results import InspectedNorm, LearnedParameters, NormInspection
from effiseg.inspection.verdict import KIND_TITLES, PLACE_TITLES
from effiseg.report.table import Cell, Column, Table, number_cell, text_cell

COLUMNS = (
    Column("Place", "place", number=False),
    Column("Stage", "stage"),
    Column("Block", "block"),
    Column("Norm", "norm", number=False),
    Column("Shape: line R²", "shape_linear_r2"),
    Column("tanh R²", "shape_tanh_r2"),
    Column("tanh α", "shape_alpha"),
    Column("Replacement: DyL R²", "dyl_r2"),
    Column("DyT R²", "dyt_r2"),
    Column("DyL residual", "dyl_residual"),
    Column("DyT residual", "dyt_residual"),
    Column("Gain (%)", "gain_percent"),
    Column("May become", "may_become", number=False),
)
_LEARNED_COLUMNS = (
    Column("α learnt", "alpha_mean"),
    Column("γ learnt", "gamma_mean"),
    Column("Saturated (%)", "saturated_percent"),
)


def norms_table(inspection: NormInspection) -> Table:
    """One row a norm, under it the verdict; columns of what was learnt only where a norm is a DyT or DyL."""
    learned = any(norm.learned is not None for norm in inspection.norms)
    rows = [
        _cells(norm) + (_learned_cells(norm.learned) if learned else [])
        for place in PLACE_TITLES
        for norm in inspection.norms
        if norm.place == place
    ]
    columns = [*COLUMNS, *(_LEARNED_COLUMNS if learned else ())]
    return Table("norms", title(inspection), columns, rows, notes=_notes(inspection, learned), items=inspection.verdict)


def title(inspection: NormInspection) -> str:
    """The model that was inspected."""
    height, width = inspection.image_size
    return (
        f"Norms of {inspection.model} on {inspection.images} images of {inspection.dataset} {inspection.split} at "
        f"{height}x{width} {inspection.resize}"
    )


def _cells(norm: InspectedNorm) -> list[Cell]:
    shape, replacement = norm.shape, norm.replacement
    return [
        text_cell(PLACE_TITLES[norm.place], norm.place),
        number_cell(norm.stage, "d"),
        number_cell(norm.block, "d"),
        text_cell(KIND_TITLES[norm.kind], norm.kind),
        number_cell(shape.linear_r2, ".3f"),
        number_cell(shape.tanh_r2, ".3f"),
        number_cell(shape.alpha, ".3g"),
        number_cell(replacement.dyl_r2, ".3f"),
        number_cell(replacement.dyt_r2, ".3f"),
        number_cell(replacement.dyl_residual, ".3g"),
        number_cell(replacement.dyt_residual, ".3g"),
        number_cell(100 * replacement.gain, ".0f"),
        text_cell(KIND_TITLES[norm.may_become], norm.may_become),
    ]


def _learned_cells(learned: LearnedParameters | None) -> list[Cell]:
    if learned is None:
        return [number_cell(None)] * len(_LEARNED_COLUMNS)
    saturated = None if learned.saturated is None else 100 * learned.saturated
    return [_range_cell(learned.alpha), _range_cell(learned.gamma), number_cell(saturated, ".2f")]


def _range_cell(values: list[float]) -> Cell:
    """The mean, with smallest and largest where they differ."""
    low, mean, high = values
    return number_cell(mean, text=f"{mean:.3g}" if low == high else f"{mean:.3g} ({low:.3g} to {high:.3g})")


def _notes(inspection: NormInspection, learned: bool) -> list[str]:
    follows, better = inspection.criteria["follows"], inspection.criteria["clearly_better"]
    pairs = sorted({norm.pairs for norm in inspection.norms})
    count = f"{pairs[0]}" if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
    notes = [
        f"{title(inspection)}; {count} random elements a norm, seed {inspection.seed}.",
        "Shape: one line and one tanh through input and core output (before γ and β), all channels together, as in "
        "the scatter. Replacement: the best DyL (a line a channel) and the best DyT (γ and β a channel, one α) from "
        "input to output; R² is the share of the variance within channels, residuals are root mean squares in the "
        "output's unit, and the gain is the share of what DyL leaves that DyT explains. The replacement decides.",
        f"May become DyL: DyL's R² is at least {follows:g} and the gain below {100 * better:.0f} %. May become DyT: "
        f"not so, and DyT's R² is at least {follows:g}. Neither: all others.",
    ]
    if learned:
        notes.append("Learnt: mean (smallest to largest). Saturated: share of activations with |αx| > 2.")
    return notes
