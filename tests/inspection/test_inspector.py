"""The inspection as a whole, its verdict, files and figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from effiseg.data.dataset_spec import DatasetSpec
from effiseg.errors import UsageError
from effiseg.files import read_json
from effiseg.inspection.figures import fits_figure, most_tanh_like, scatter_figure
from effiseg.inspection.inspector import inspect_norms
from effiseg.inspection.results import NormInspection, ReplacementFits
from effiseg.inspection.table import norms_table
from effiseg.inspection.verdict import PLACE_TITLES, may_become, verdict
from effiseg.inspection.writing import check_out, write_inspection
from effiseg.models.metadata import ModelMetadata
from effiseg.models.segformer import SegFormer

MakeModel = Callable[..., SegFormer]


@pytest.fixture(scope="module")
def plain(make_model: MakeModel, spec: DatasetSpec) -> NormInspection:
    return inspect_norms(make_model(), spec, images=2, pairs=600)


@pytest.fixture(scope="module")
def replaced(make_model: MakeModel, spec: DatasetSpec) -> NormInspection:
    """DyT after the patch embeddings, DyL elsewhere."""
    return inspect_norms(make_model("b0", "dyt", "dyl"), spec, images=2, pairs=600)


def fits(dyl: float, dyt: float) -> ReplacementFits:
    return ReplacementFits(dyl, 0.0, 1.0, dyt, 0.0, 1 - (1 - dyt) / (1 - dyl))


@pytest.mark.parametrize(
    ("dyl", "dyt", "expected"),
    [(0.99, 0.991, "dyl"), (0.95, 0.97, "dyt"), (0.6, 0.92, "dyt"), (0.89, 0.905, "dyt"), (0.5, 0.85, "neither"),
     (0.88, 0.89, "neither")],
)  # fmt: skip
def test_the_criteria(dyl: float, dyt: float, expected: str) -> None:
    assert may_become(fits(dyl, dyt)) == expected


def test_what_is_a_line_is_found_to_be_one_and_what_is_a_tanh_too(replaced: NormInspection) -> None:
    for norm in replaced.norms:
        assert norm.learned is not None
        if norm.kind == "dyl":
            assert norm.replacement.dyl_r2 == pytest.approx(1, abs=1e-9)
            assert norm.replacement.gain == 0
            assert norm.may_become == "dyl"
            assert norm.learned.saturated is None
        else:
            assert norm.replacement.dyt_r2 == pytest.approx(1, abs=1e-9)
            assert norm.replacement.dyt_alpha == pytest.approx(norm.learned.alpha[0], rel=1e-3)
            assert norm.shape.alpha == pytest.approx(norm.learned.alpha[0], rel=1e-3)
            assert norm.shape.gamma == pytest.approx(1, rel=1e-3)
            assert norm.learned.saturated is not None
    assert "already" in replaced.verdict[-1]


def test_saturation_counts_what_exceeds_two(make_model: MakeModel, spec: DatasetSpec) -> None:
    model = make_model("b0", "dyt")
    first, second = (model.encoder.stages[index].patch_embedding.norm for index in (0, 1))
    first.alpha.data.fill_(-1e6)
    second.alpha.data.fill_(1e-6)
    norms = [norm for norm in inspect_norms(model, spec, images=1, pairs=300).norms if norm.place == "patch_embedding"]
    assert [norms[0].learned.saturated, norms[1].learned.saturated] == [1.0, 0.0]
    assert norms[0].learned.alpha == [-1e6] * 3
    assert norms[1].may_become == "dyl"  # a tanh that never bends


def test_the_verdict_counts_the_norms(plain: NormInspection) -> None:
    def all_becoming(patch: str, others: str) -> list[str]:
        return verdict([replace(n, may_become=patch if n.place == "patch_embedding" else others) for n in plain.norms])

    assert len(plain.verdict) == 6
    assert "holds in every norm" in all_becoming("dyt", "dyl")[-1]
    assert "holds in no norm" in all_becoming("dyl", "dyt")[-1]
    assert "holds in 0 of 4 and 26 of 26 norms" in all_becoming("neither", "dyl")[-1]
    apart = verdict([replace(n, may_become="dyl" if n.stage == 3 else "dyt") for n in plain.norms])
    assert apart[4].startswith("Stage end: 3 of 4 may become DyT (stage 1, 2, 4); 1 of 4 may become DyL (stage 3).")
    mixed = verdict([replace(n, may_become="dyt" if n.stage == 1 else "neither") for n in plain.norms])
    assert mixed[2].startswith(
        "After reduction: 2 of 6 may become DyT (1.1, 1.2); 4 of 6 may become neither DyT nor DyL (2.1, 2.2, 3.1, 3.2)."
    )
    assert mixed[3].startswith("Before MLP: ")


def test_images_are_bounded_by_the_split_and_a_size_is_needed(make_model: MakeModel, spec: DatasetSpec) -> None:
    model = make_model()
    steps: list[tuple[int, int]] = []
    result = inspect_norms(
        model, spec, images=99, pairs=40, image_size=(32, 64), progress=lambda *step: steps.append(step)
    )
    assert (result.images, result.image_size, result.dataset, result.split) == (3, [32, 64], spec.name, "val")
    assert steps[-1] == (6, 6)
    assert steps == sorted(steps)
    model.metadata = ModelMetadata(names=("grey", "red", "blue"))
    with pytest.raises(UsageError, match="the model: does not say its input size"):
        inspect_norms(model, spec)


def drawn(figure: Figure) -> dict[str, np.ndarray]:
    return {
        str(line.get_gid()): np.array(line.get_xydata()).T
        for axes in figure.axes
        for line in axes.lines
        if line.get_gid()
    }


def test_the_figures_show_the_files_numbers(plain: NormInspection, tmp_path: Path) -> None:
    file = write_inspection(plain, tmp_path / "new" / "out", ["svg"])
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "fits.svg", "norms.csv", "norms.json", "norms.md", "scatter.svg",
    ]  # fmt: skip
    stored = json.loads(file.read_text())
    read = NormInspection.from_dict(read_json(file), file)
    assert read == plain

    lines = drawn(scatter_figure(plain))
    shown = {name for name in lines if "/" not in name}
    assert len(shown) == 4 * 5 - 1  # the last stage does not reduce
    for norm in stored["norms"]:
        if norm["name"] not in shown:
            continue
        points, shape = norm["points"], norm["shape"]
        assert lines[norm["name"]].tolist() == [points["input"], points["core"]]
        x, y = lines[norm["name"] + "/line"]
        assert y == pytest.approx(shape["slope"] * x + shape["intercept"])
        x, y = lines[norm["name"] + "/tanh"]
        assert y == pytest.approx(shape["gamma"] * np.tanh(shape["alpha"] * x) + shape["beta"])
        assert (x[0], x[-1]) == (points["input"][0], points["input"][-1])

    ordered = [norm for place in PLACE_TITLES for norm in stored["norms"] if norm["place"] == place]
    lines = drawn(fits_figure(plain))
    assert lines["dyl"][0].tolist() == [norm["replacement"]["dyl_r2"] for norm in ordered]
    assert lines["dyt"][0].tolist() == [norm["replacement"]["dyt_r2"] for norm in ordered]
    assert (lines["dyl"][1] == lines["dyt"][1]).all()
    assert (np.diff(lines["dyl"][1]) > 0).all()

    rows = list(csv.DictReader((file.parent / "norms.csv").read_text().splitlines()))
    assert [float(row["dyt_r2"]) for row in rows] == [norm["replacement"]["dyt_r2"] for norm in ordered]
    assert [float(row["shape_linear_r2"]) for row in rows] == [norm["shape"]["linear_r2"] for norm in ordered]


def test_the_panel_is_the_block_that_bends_most(plain: NormInspection) -> None:
    norms = [norm for norm in plain.norms if (norm.place, norm.stage) == ("before_mlp", 2)]
    assert len(norms) == 2
    for norm in norms:
        bent = replace(norm, shape=replace(norm.shape, linear_r2=0.1, tanh_r2=0.9))
        assert most_tanh_like([bent if other is norm else other for other in norms]) is bent


def test_the_table_has_what_was_learnt_only_where_something_was(
    plain: NormInspection, replaced: NormInspection
) -> None:
    assert len(norms_table(replaced).columns) == len(norms_table(plain).columns) + 3
    for inspection in (plain, replaced):
        table = norms_table(inspection)
        assert len(table.rows) == 30
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert table.items == inspection.verdict


def test_points_hold_both_extremes(plain: NormInspection) -> None:
    for norm in plain.norms:
        assert norm.points.input == sorted(norm.points.input)
        assert len(norm.points.input) == len(norm.points.core) == min(200, norm.pairs)


def test_out_must_be_new_or_an_inspection(tmp_path: Path) -> None:
    assert check_out(tmp_path / "new") == tmp_path / "new"
    (tmp_path / "old").mkdir()
    assert check_out(tmp_path / "old") == tmp_path / "old"
    (tmp_path / "old" / "norms.json").write_text("{}")
    assert check_out(tmp_path / "old") == tmp_path / "old"
    with pytest.raises(UsageError, match="found other files"):
        check_out(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        check_out(tmp_path / "old" / "norms.json")
