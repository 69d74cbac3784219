"""Which norms may become DyT, which DyL: two thresholds on the replacement fits, and the answer in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from effiseg.config.model import NORM_TITLES
from effiseg.inspection.results import InspectedNorm, ReplacementFits

Replacement = Literal["dyt", "dyl", "neither"]
_FOLLOWS = 0.9
"""R² from which a replacement follows the norm: it leaves at most a third (√0.1) of the output's standard deviation."""
_CLEARLY_BETTER = 0.2
"""Share of what the line leaves from which a tanh is worth its bend. DyT has one number more than the line, α, which
explains nothing like it by chance."""
CRITERIA = {"follows": _FOLLOWS, "clearly_better": _CLEARLY_BETTER}
PLACE_TITLES = {
    "patch_embedding": "patch embedding",
    "before_attention": "before attention",
    "after_reduction": "after reduction",
    "before_mlp": "before MLP",
    "stage_end": "stage end",
}
KIND_TITLES = dict[str, str](NORM_TITLES.items()) | {"neither": "neither"}


def may_become(fits: ReplacementFits) -> Replacement:
    """DyL where a line follows the norm and a tanh is not clearly better; else DyT where a tanh follows; else neither.

    Args:
        fits: of one norm.
    """
    if fits.dyl_r2 >= _FOLLOWS and fits.gain < _CLEARLY_BETTER:
        return "dyl"
    return "dyt" if fits.dyt_r2 >= _FOLLOWS else "neither"


def verdict(norms: Sequence[InspectedNorm]) -> list[str]:
    """The answer, a sentence for each place and one for the model as a whole."""
    sentences = [_of_place(place, [norm for norm in norms if norm.place == place]) for place in PLACE_TITLES]
    patch = [norm.may_become for norm in norms if norm.place == "patch_embedding"]
    others = [norm.may_become for norm in norms if norm.place != "patch_embedding"]
    replaced = sum(norm.kind in ("dyt", "dyl") for norm in norms)
    if replaced:
        kept = sum(norm.may_become == norm.kind for norm in norms)
        return [*sentences, f"Of the {replaced} norms that are DyT or DyL already, {kept} are what they may become."]
    tanh, linear = patch.count("dyt"), others.count("dyl")
    if tanh == len(patch) and linear == len(others):
        answer = "holds in every norm"
    elif tanh == 0 and linear == 0:
        answer = "holds in no norm"
    else:
        answer = f"holds in {tanh} of {len(patch)} and {linear} of {len(others)} norms"
    paper = "The paper's observation (norms after patch embeddings act like a tanh, all others like a line)"
    return [*sentences, f"{paper} {answer} of this model."]


def label(norm: InspectedNorm) -> str:
    """Place, stage and block of a norm: "before MLP 2.1", "stage end 3"."""
    return f"{PLACE_TITLES[norm.place]} {_where(norm)}"


def _of_place(place: str, norms: Sequence[InspectedNorm]) -> str:
    """One place: how many may become what, and the R² behind it."""
    counts = []
    for kind, title in (("dyt", "DyT"), ("dyl", "DyL"), ("neither", "neither DyT nor DyL")):
        where = [_where(norm) for norm in norms if norm.may_become == kind]
        unit = "stage " if norms[0].block is None else ""
        listed = "all" if len(where) == len(norms) else unit + ", ".join(where)
        if where:
            counts.append(f"{len(where)} of {len(norms)} may become {title} ({listed})")
    title = PLACE_TITLES[place]
    line, tanh = _span([norm.replacement.dyl_r2 for norm in norms]), _span([norm.replacement.dyt_r2 for norm in norms])
    return f"{title[0].upper()}{title[1:]}: {'; '.join(counts)}. R² of the best DyL {line}, of the best DyT {tanh}."


def _where(norm: InspectedNorm) -> str:
    return f"{norm.stage}" if norm.block is None else f"{norm.stage}.{norm.block}"


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"
