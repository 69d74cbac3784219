"""The comparison: its plan, one real miniature, and starting it again."""

from __future__ import annotations

import csv
import json
import math
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from effiseg.comparison import ablation, samples
from effiseg.comparison.ablation import ablate
from effiseg.comparison.given_teachers import given_teacher_rows
from effiseg.comparison.plan import PlannedRun, planned_runs
from effiseg.config.comparison import AblationConfig
from effiseg.config.parsing import make_settings, settings_dict
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.errors import ModelError, ResourceError, RunError, UsageError
from effiseg.files import read_json
from effiseg.metrics.confusion_matrix import class_iou
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.nested import flatten
from effiseg.report.page import write_report
from effiseg.report.row_titles import row_title
from effiseg.report.samples import read_samples
from effiseg.results import AblationResult, EvaluationResult, mean_or_none
from effiseg.run_folder import ComparisonFolder, RunFolder
from effiseg.training.memory_advice import shortage_error

SHARED: dict[str, Any] = {
    "image_size": "32x64",
    "batch_size": 2,
    "augment": "none",
    "epochs": 2,
    "workers": 0,
    "device": "cpu",
    "optimizer": {"lr": 2e-3},
    "validate_every": 0,
}


def settings(data: Path, out: Path, **own: Any) -> AblationConfig:
    return make_settings(AblationConfig, ("test", {"data": str(data), "out": str(out), **SHARED, **own}))


# The plan


def test_the_teacher_comes_first_and_serves_all_seeds(colour_data: Path, tmp_path: Path) -> None:
    config = settings(colour_data, tmp_path, seeds=[3, 5], teacher_epochs=9, init="scratch")
    plan = planned_runs(config, SHARED)
    students = ["baseline", "tanh", "tanh_linear", "kd", "dice_focal", "combined_paper", "combined"]
    expected = [("teacher", 3), *((name, seed) for seed in (3, 5) for name in students)]
    assert [(planned.row, planned.seed) for planned in plan] == expected
    assert [planned.config.seed for planned in plan] == [seed for _, seed in expected]
    assert [planned.config.recipe for planned in plan] == [name for name, _ in expected]
    assert len({planned.config.out for planned in plan}) == len(plan)
    assert plan[0].config.epochs == 9
    assert plan[0].config.model.variant == "b2"
    assert plan[0].config.teacher is None
    for planned in plan[1:]:
        assert planned.config.epochs == 2
        distils = planned.row in ("kd", "combined_paper", "combined")
        assert planned.config.teacher == (str(plan[0].run.path) if distils else None)
        assert planned.config.distillation.enabled == distils


def test_a_given_teacher_is_not_trained(colour_data: Path, teacher_run: Path, tmp_path: Path) -> None:
    config = settings(colour_data, tmp_path, teacher=str(teacher_run), recipes=["baseline", "kd"])
    plan = planned_runs(config, {**SHARED, "teacher": str(teacher_run)})
    assert [planned.row for planned in plan] == ["baseline", "kd"]
    assert [planned.config.teacher for planned in plan] == [None, str(teacher_run)]


def test_shared_settings_reach_every_row_and_nothing_else_differs(colour_data: Path, tmp_path: Path) -> None:
    shared = {
        **SHARED,
        "ema_decay": 0.9,
        "augment": "paper",
        "loss": {"class_weights": "none"},
        "model": {"norm_eps": 1e-6},
    }
    own = {"split": "test", "recipes": ["baseline", "combined_paper"], "seed": 8, "teacher": "x", "out": "y"}
    plan = planned_runs(settings(colour_data, tmp_path, recipes=["baseline", "combined_paper"]), shared | own)
    teacher, baseline, combined = (flatten(settings_dict(planned.config)) for planned in plan)
    for row in (teacher, baseline, combined):
        for key, value in flatten(shared).items():
            assert row[key] == value
        assert row["seed"] == 0  # the comparison's own settings do not leak into its rows
    differing = {key for key in baseline if combined[key] != baseline[key]}
    assert differing == {
        "recipe", "out", "teacher", "loss.name", "model.patch_norm", "model.block_norm",
        "distillation.feature_weight", "distillation.patch_embedding_weight",
    }  # fmt: skip
    assert {key for key in baseline if teacher[key] != baseline[key]} == {"recipe", "out", "model.variant"}


def test_several_teachers_are_rows_and_teach_every_row_that_distils(
    colour_data: Path, teacher_run: Path, tmp_path: Path
) -> None:
    save_pretrained(SegFormer("b0", 5), tmp_path / "stranger")
    given = [str(teacher_run), str(tmp_path / "stranger"), str(teacher_run / "model")]
    config = settings(
        colour_data, tmp_path / "out", teacher=given, teacher_weights=[1, 2, 3], recipes=["baseline", "kd"]
    )
    plan = planned_runs(config, {**SHARED, "teacher": given, "teacher_weights": [1, 2, 3]})
    assert [planned.config.teachers for planned in plan] == [[], given]
    assert [planned.config.teacher_weights for planned in plan] == [None, [1.0, 2.0, 3.0]]
    said: list[str] = []
    folder = ComparisonFolder(tmp_path / "out")
    arguments = config, load_dataset_spec(config.data), plan, plan[0].config, folder, said.append
    rows = given_teacher_rows(*arguments)
    assert [row.name for row in rows] == ["teacher", "teacher_3"]
    assert [row_title(row.name) for row in rows] == ["Teacher", "Teacher 3"]
    assert rows[0].miou == rows[1].miou
    assert said == [f"{given[1]}: has other classes than the data: its features teach, and it is not evaluated"]
    files = sorted(path.name for path in folder.path.iterdir())
    assert files == ["teacher-evaluation-val.json", "teacher_3-evaluation-val.json"]
    assert folder.is_comparison


def test_a_file_is_a_row_named_after_it(colour_data: Path, tmp_path: Path) -> None:
    (tmp_path / "my_dice.yaml").write_text("loss: {name: dice}\n")
    recipe = str(tmp_path / "my_dice.yaml")
    (planned,) = planned_runs(settings(colour_data, tmp_path, recipes=[recipe], teacher="x"), SHARED)
    assert (planned.row, planned.config.recipe, planned.config.loss.name) == ("my_dice", recipe, "dice")


@pytest.mark.parametrize(
    ("own", "kind", "found"),
    [
        ({"data": ""}, UsageError, "--data is missing"),
        ({"split": "tset"}, UsageError, "no split 'tset'"),
        ({"recipes": ["baselin"]}, UsageError, "did you mean 'baseline'"),
        ({"latency_size": "16x16"}, UsageError, "at least 32x32"),
    ],
)
def test_mistakes_leave_no_folder(
    own: dict[str, Any], kind: type[Exception], found: str, colour_data: Path, tmp_path: Path
) -> None:
    config = replace(settings(colour_data, tmp_path / "out"), **own)
    with pytest.raises(kind, match=found):
        ablate(config, SHARED)
    assert not (tmp_path / "out").exists()


def test_another_folder_is_left_alone(colour_data: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(RunError, match="exists and is not a comparison"):
        ablate(settings(colour_data, tmp_path), SHARED)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_the_mean_leaves_out_what_is_absent() -> None:
    assert mean_or_none([1.0, None, 2.0]) == 1.5
    assert mean_or_none([None, None]) is None


# One real miniature: baseline, tanh_linear and kd, two seeds, a given teacher


@pytest.fixture(scope="module")
def config(colour_data: Path, teacher_run: Path, tmp_path_factory: pytest.TempPathFactory) -> AblationConfig:
    return settings(
        colour_data,
        tmp_path_factory.mktemp("comparison") / "out",
        teacher=str(teacher_run),
        recipes=["baseline", "tanh_linear", "kd"],
        seeds=[0, 1],
        latency_size="64x64",
    )


@pytest.fixture(scope="module")
def compared(config: AblationConfig) -> AblationResult:
    messages: list[str] = []
    result = ablate(config, SHARED, command="effiseg ablate …", message=messages.append)
    assert messages[0] == "[1/6] baseline, seed 0"
    assert all("\n" not in line for line in messages)
    return result


def own_evaluations(result: AblationResult, out: str, name: str) -> list[EvaluationResult]:
    """What the row's runs wrote themselves."""
    row = next(row for row in result.rows if row.name == name)
    values = [json.loads((Path(out) / run.folder / "results.json").read_text())["val"] for run in row.runs]
    return [EvaluationResult.from_dict(value) for value in values]


def without_times(result: AblationResult) -> list[dict[str, Any]]:
    rows = result.to_dict()["rows"]
    return [
        {key: value for key, value in row.items() if key not in ("latency_ms", "latency_spread_ms", "fps")}
        for row in rows
    ]


def test_the_results_file_is_the_result(config: AblationConfig, compared: AblationResult) -> None:
    value = json.loads((Path(config.out) / "results.json").read_text())
    assert AblationResult.from_dict(value) == compared
    assert {"rows", "dataset", "class_shares", "class_weights", "protocol", "environment", "command"} <= value.keys()
    assert {
        "name", "recipe", "params_m", "gmacs", "gmacs_attention", "miou", "miou_sd", "delta", "class_iou", "confusion",
        "image_iou", "latency_ms", "fps", "train_seconds", "seeds", "runs",
    } <= value["rows"][0].keys()  # fmt: skip
    assert compared.command == "effiseg ablate …"
    assert compared.dataset["names"] == ["grey", "red", "blue"]
    assert sum(compared.class_shares.values()) == pytest.approx(1)
    for name, share in compared.class_shares.items():
        assert compared.class_weights[name] == pytest.approx(1 / math.log(1.10 + share))
    assert compared.settings["complete"] is True
    assert compared.settings["images"] == 3


def test_rows_are_their_runs(config: AblationConfig, compared: AblationResult) -> None:
    assert [row.name for row in compared.rows] == ["teacher", "baseline", "tanh_linear", "kd"]
    teacher, baseline, *others = compared.rows
    for row in (baseline, *others):
        evaluations = own_evaluations(compared, config.out, row.name)
        mious = [evaluation.miou for evaluation in evaluations]
        assert [run.miou for run in row.runs] == mious
        assert [run.seed for run in row.runs] == row.seeds == [0, 1]
        assert {run.steps for run in row.runs} == {14}
        assert mious[0] != mious[1]
        assert row.miou == pytest.approx(statistics.fmean(mious))
        assert row.miou_sd == pytest.approx(statistics.stdev(mious))
        assert row.miou_sd == pytest.approx(abs(mious[0] - mious[1]) / math.sqrt(2))
        counts = torch.tensor([evaluation.confusion for evaluation in evaluations])
        assert row.confusion == counts.sum(0).tolist()
        labelled = 3 * (48 - 2) * 64
        assert int(counts[0].sum()) == labelled
        for index, name in enumerate(compared.dataset["names"]):
            own = [100 * float(class_iou(part)[index]) for part in counts]
            assert row.class_iou[name] == pytest.approx(statistics.fmean(own))
        for image, iou in row.image_iou.items():
            assert iou == pytest.approx(statistics.fmean(e.image_iou[image] for e in evaluations))
        assert len(row.image_iou) == 3
        assert row.train_seconds == pytest.approx(statistics.fmean(run.train_seconds for run in row.runs))
        assert row.train_seconds > 0
        assert row.fps == pytest.approx(1000 / row.latency_ms)
    assert baseline.delta is None
    # They have learnt something, so that the sums above are not all of one constant prediction.
    assert min(row.miou for row in compared.rows) > compared.settings["chance_miou"] + 10
    for row in (teacher, *others):
        if row is not teacher:
            assert row.delta == pytest.approx(row.miou - baseline.miou)
    # Rows of one architecture share one measurement.
    times = {row.name: row.latency_ms for row in compared.rows}
    assert times["baseline"] == times["kd"] == times["teacher"] != times["tanh_linear"]
    assert baseline.params_m == pytest.approx(3.7, abs=0.05)
    assert (baseline.gmacs, baseline.gmacs_attention) == (others[0].gmacs, others[0].gmacs_attention)


def test_the_given_teacher_is_a_row(compared: AblationResult, teacher_run: Path) -> None:
    teacher = compared.rows[0]
    own = json.loads((teacher_run / "results.json").read_text())["val"]
    assert teacher.miou == pytest.approx(own["miou"])
    assert teacher.confusion == own["confusion"]
    assert str(teacher_run) in teacher.recipe


def test_the_table_lists_every_difference(config: AblationConfig, compared: AblationResult) -> None:
    text = (Path(config.out) / "table.md").read_text(encoding="utf-8")
    differs = "differs from the baseline in"
    assert f"- + Tanh + Linear: {differs} model.patch_norm: dyt, model.block_norm: dyl\n" in text
    weights = "distillation.feature_weight: 1.0, distillation.patch_embedding_weight: 1.0"
    assert f"- + KD: {differs} {weights}\n" in text
    assert compared.rows[1].settings == {}
    assert f"{compared.settings['chance_miou']:.2f} %" in text
    assert "seeds 0, 1 (mean, sample sd)" in text
    assert f"Trained from {'scratch' if compared.settings['init'] is None else 'the weights starter'} at 32x64" in text
    with (Path(config.out) / "table.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["teacher", "baseline", "tanh_linear", "kd"]
    assert [float(row["miou"]) for row in rows] == [row.miou for row in compared.rows]


def test_a_row_says_how_many_unlabeled_pictures_joined(
    config: AblationConfig, compared: AblationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = [
        (planned, own_evaluations(compared, config.out, planned.row)[planned.seed])
        for planned in planned_runs(config, SHARED)
    ]

    def read(path: Path) -> Any:
        return read_json(path) | ({"unlabeled_images": 56} if "kd-" in str(path) else {"unlabeled_images": 0})

    monkeypatch.setattr(ablation, "read_json", read)
    spec, reference = load_dataset_spec(config.data), done[0][0].config
    rows = ablation.summarize(config, spec, reference, done, [], complete=True, command="").rows
    shown = {row.name: row.settings.get("unlabeled_images") for row in rows}
    assert shown == {"baseline": None, "tanh_linear": None, "kd": 56}


def test_samples_of_every_row_are_saved(config: AblationConfig, compared: AblationResult) -> None:
    index = read_samples(Path(config.out))
    assert index is not None
    assert index.rows == [row.name for row in compared.rows]
    assert {saved.id for saved in index.samples} == set(compared.rows[0].image_iou)
    for saved in index.samples:
        assert saved.iou == {row.name: row.image_iou[saved.id] for row in compared.rows}
        assert index.prediction(saved, "kd").shape == index.truth(saved).shape


def test_a_report_of_it_lacks_nothing(config: AblationConfig, tmp_path: Path) -> None:
    assert write_report([config.out], tmp_path, formats=("svg",)).gaps == []


def snapshot(folder: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in Path(folder, "runs").rglob("*") if path.is_file()}


def test_started_again_it_trains_nothing(
    config: AblationConfig, compared: AblationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("was evaluated or trained again")

    monkeypatch.setattr(samples, "load_network", forbidden)
    for name in ("train", "evaluate"):
        monkeypatch.setattr(ablation, name, forbidden)
    monkeypatch.setattr(ablation, "add_latency", lambda *_: None)  # which is measured anew
    before = snapshot(config.out)
    again = ablate(config, SHARED)
    assert snapshot(config.out) == before
    assert without_times(again) == without_times(compared)


def test_a_row_more_and_another_split_keep_what_is_there(config: AblationConfig, compared: AblationResult) -> None:
    before = snapshot(config.out)
    fewer = replace(config, recipes=["baseline", "kd"], seeds=[1], split="test", latency_size=None)
    result = ablate(fewer, SHARED)
    assert {path: time for path, time in snapshot(config.out).items() if path in before} == before
    assert [(row.name, row.seeds) for row in result.rows] == [("teacher", []), ("baseline", [1]), ("kd", [1])]
    assert result.settings["split"] == "test"
    assert {row.miou_sd for row in result.rows} == {None}
    assert {row.latency_ms for row in result.rows} == {None}
    assert result.rows[1].miou != compared.rows[1].runs[1].miou
    assert "one seed, so no spread is known" in (Path(config.out) / "table.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            {"optimizer": {"lr": 1e-3}},
            r"baseline-seed0: was trained with other settings \(optimizer.lr: 0.002 there, 0.001 now",
        ),
        ({"epochs": 3}, r"\(epochs: 2 there, 3 now\); choose another --out"),
        ({"loss": {"class_weights": "none"}, "epochs": 3}, "and 1 more"),
    ],
)
def test_other_settings_are_refused(
    change: dict[str, Any], found: str, config: AblationConfig, compared: AblationResult
) -> None:
    before = snapshot(config.out)
    with pytest.raises(RunError, match=found):
        ablate(config, SHARED | change)
    assert snapshot(config.out) == before


@pytest.mark.heavy
def test_a_half_finished_comparison_is_completed(config: AblationConfig, compared: AblationResult) -> None:
    cut, gone = (RunFolder(Path(config.out) / "runs" / name) for name in ("kd-seed0", "tanh_linear-seed1"))
    weights = [(run.model / "model.safetensors").read_bytes() for run in (cut, gone)]
    cut.results.unlink()
    shutil.rmtree(cut.model)
    shutil.rmtree(gone.path)
    (Path(config.out) / "results.json").unlink()
    completed = ablate(config, SHARED)
    assert [row.miou for row in completed.rows] == [row.miou for row in compared.rows]
    assert [row.confusion for row in completed.rows] == [row.confusion for row in compared.rows]
    assert [(run.model / "model.safetensors").read_bytes() for run in (cut, gone)] == weights


def test_want_of_memory_is_mended_for_all_rows(
    colour_data: Path, teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single run may go on with other passes, but a row that did would be no fair one."""
    out = tmp_path / "comparison"
    config = settings(colour_data, out, teacher=str(teacher_run), latency_size=None)
    text = "torch.OutOfMemoryError: CUDA out of memory."

    def fail(planned: PlannedRun) -> None:
        raise shortage_error(text, planned.config, planned.run, "in step 7", "GO ON", 1)

    monkeypatch.setattr(ablation, "train_planned", fail)
    with pytest.raises(ResourceError) as caught:
        ablate(config, SHARED)
    assert str(caught.value) == (
        f"{out}/runs/baseline-seed0: out of memory in step 7 with 2 images of 32x64 a pass; 1 fit, and rows must "
        "train alike: start the comparison anew in another --out, with --accumulate 2"
    )


def test_a_teacher_with_other_classes_is_refused(colour_data: Path, teacher_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(f"path: {colour_data.parent}\ntrain: images/train\nval: images/val\nnames: [a, b, c, d]\n")
    config = settings(other, tmp_path / "out", teacher=str(teacher_run), recipes=["kd", "kd_logit"])
    with pytest.raises(ModelError, match=r"row kd_logit: .*: cannot teach on this data"):
        ablate(config, SHARED)
    assert not (tmp_path / "out" / "runs").exists()
