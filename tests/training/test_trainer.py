"""Runs from start to model folder: every option does what it says, every mistake is one line."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from effiseg.config.loss import DistillationConfig, LossConfig
from effiseg.config.model import ModelConfig
from effiseg.config.taper import TaperConfig
from effiseg.config.training import OptimizerConfig, TrainConfig
from effiseg.data.datamodule import SegmentationDataModule
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.errors import DataError, EffisegError, ModelError, RunError, UsageError
from effiseg.files import read_json, read_yaml, write_yaml
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.models.taper import gate
from effiseg.results import EvaluationResult
from effiseg.run_folder import RunFolder
from effiseg.training import run_keeper
from effiseg.training.absolute_paths import with_absolute_paths
from effiseg.training.checkpointing import read_tensors
from effiseg.training.run_checks import check_config, missing_compiler
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]


def rows_of(run: RunFolder) -> list[dict[str, str]]:
    with run.metrics.open(newline="") as file:
        return list(csv.DictReader(file))


def model_state(run: RunFolder) -> dict[str, Tensor]:
    return from_pretrained(str(run.model)).state_dict()


def part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def assert_same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def script_evaluations(monkeypatch: pytest.MonkeyPatch, mious: list[float | None]) -> list[dict[str, Tensor]]:
    """Let the evaluations on val give these results; returns the evaluated weights, as they come."""
    evaluated: list[dict[str, Tensor]] = []

    def evaluate(model: SegFormer, *_: Any, **__: Any) -> EvaluationResult:
        evaluated.append({name: value.clone() for name, value in model.state_dict().items()})
        return EvaluationResult(mious[len(evaluated) - 1], {}, 50.0, 50.0, 3, "val", "full", [], [], {})

    monkeypatch.setattr(run_keeper, "trained_network", lambda model, _: model)
    monkeypatch.setattr(run_keeper, "evaluate", evaluate)
    return evaluated


def assert_one_line(error: BaseException, *words: str) -> None:
    assert "\n" not in str(error)
    for word in words:
        assert word in str(error)


def test_a_run_leaves_what_the_documents_promise(small_config: Config) -> None:
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    run = train(small_config("run"))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    for path in (run.config, run.environment, run.class_statistics, run.metrics, run.last_checkpoint, run.results):
        assert path.is_file(), path
    assert not run.teacher_evaluation().exists()
    rows = rows_of(run)
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "3"), ("2", "6")]
    assert {"loss", "lr", "val_miou"} <= rows[0].keys()
    assert 0 < float(rows[1]["lr"]) < float(rows[0]["lr"])
    results = read_json(run.results)
    assert (results["steps"], results["epochs"], results["stopped_early"]) == (6, 2, False)
    # The last epoch's evaluation was of the weights that became the model.
    assert results["val"]["miou"] == float(rows[1]["val_miou"])
    assert_same_weights(model_state(run), part(read_tensors(run.last_checkpoint)["task"], "student."))
    shares = read_json(run.class_statistics)["shares"]
    assert sum(shares.values()) == pytest.approx(1)

    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    resume(run.path)
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_without_class_weights_no_statistics_are_written(small_config: Config) -> None:
    run = train(small_config("run", loss=LossConfig(class_weights="none"), epochs=1, validate_every=0))
    assert run.results.is_file()
    assert not run.class_statistics.exists()


def test_accumulated_passes_make_one_optimizer_step(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    original = run_keeper.RunKeeper.on_train_batch_end

    def counted(keeper: run_keeper.RunKeeper, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        passes.append(len(batch["id"]))
        original(keeper, trainer, module, outputs, batch, index)

    monkeypatch.setattr(run_keeper.RunKeeper, "on_train_batch_end", counted)
    run = train(small_config("run", accumulate=2))
    assert passes == [2] * 12
    checkpoint = read_tensors(run.last_checkpoint)
    assert checkpoint["state"]["step"] == 6
    assert {float(state["step"]) for state in checkpoint["optimizer"]["state"].values()} == {6.0}
    assert [row["step"] for row in rows_of(run)] == ["3", "6"]


def test_early_stop_ends_the_run_and_select_takes_the_best_or_the_last(
    small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    mious: list[float | None] = [10.0, 30.0, 20.0, None]
    for select in ("best", "last"):
        with monkeypatch.context() as patch:
            evaluated = script_evaluations(patch, mious)
            run = train(small_config(select, epochs=9, early_stop_epochs=2, select=select))
        results = read_json(run.results)
        assert results["stopped_early"]
        assert (results["epochs"], results["best_epoch"], results["best_val_miou"]) == (4, 2, 30.0)
        assert_same_weights(model_state(run), evaluated[1 if select == "best" else 3])
        assert results["val"]["images"] == 3
    assert not torch.equal(evaluated[1]["decode_head.classifier.weight"], evaluated[3]["decode_head.classifier.weight"])


def test_the_average_is_what_is_evaluated_and_saved(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = script_evaluations(monkeypatch, [1.0, 2.0])
    run = train(small_config("run", ema_decay=0.5))
    task = read_tensors(run.last_checkpoint)["task"]
    average = part(task, "ema.module.")
    assert_same_weights(model_state(run), average)
    assert_same_weights(evaluated[-1], average)
    weight = "decode_head.classifier.weight"
    assert not torch.equal(average[weight], part(task, "student.")[weight])


@pytest.mark.parametrize(("every", "evaluated_epochs"), [(0, ["3"]), (2, ["2", "3"]), (1, ["1", "2", "3"])])
def test_validate_every(
    every: int, evaluated_epochs: list[str], small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_evaluations(monkeypatch, [1.0] * 3)
    run = train(small_config("run", epochs=3, validate_every=every))
    assert [row["epoch"] for row in rows_of(run) if row["val_miou"]] == evaluated_epochs


def test_tensorboard_gets_the_scalars(small_config: Config) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(small_config("run", tensorboard=True))
    assert list((run.path / "tensorboard").glob("events.out.tfevents.*"))
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert {"loss", "lr", "val_miou"} <= set(events.Tags()["scalars"])
    logged = [(event.step, event.value) for event in events.Scalars("val_miou")]
    rows = rows_of(run)
    assert logged == [(int(row["step"]), pytest.approx(float(row["val_miou"]), rel=1e-6)) for row in rows]


def test_tensorboard_that_is_not_there_is_one_line(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("effiseg.training.run_checks.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install"):
        check_config(small_config("run", tensorboard=True))


def test_data_without_val_trains_and_saves_the_last_weights(
    small_config: Config, colour_data: Path, tmp_path: Path
) -> None:
    values = read_yaml(colour_data)
    path = tmp_path / "trainonly.yaml"
    write_yaml(path, {"path": str(colour_data.parent), "train": values["train"], "names": values["names"]})
    for settings in ({"select": "best"}, {"early_stop_epochs": 1}):
        with pytest.raises(UsageError) as caught:
            train(small_config("run", data=str(path), **settings))
        assert_one_line(caught.value, str(path), "no val split")
    run = train(small_config("run", data=str(path)))
    assert "val_miou" not in rows_of(run)[0]
    results = read_json(run.results)
    assert (results["val"], results["best_epoch"], results["epochs"]) == (None, None, 2)
    assert_same_weights(model_state(run), part(read_tensors(run.last_checkpoint)["task"], "student."))


def test_a_split_smaller_than_a_batch_trains(small_config: Config) -> None:
    run = train(small_config("run", batch_size=16, epochs=1))
    assert read_json(run.results)["steps"] == 1


def teacher_folder(path: Path, favourite: int, names: tuple[str, ...] = ("grey", "red", "blue")) -> str:
    """A model that predicts one class everywhere."""
    model = SegFormer("b0", len(names))
    model.metadata = ModelMetadata(
        names=names, palette=tuple((i, i, i) for i in range(len(names))), image_size=(32, 64)
    )
    with torch.no_grad():
        model.decode_head.classifier.weight.zero_()
        model.decode_head.classifier.bias.copy_(torch.eye(len(names))[favourite])
    save_pretrained(model, path)
    return str(path)


@pytest.mark.parametrize("favourite", [0, 1])
def test_a_teacher_that_does_not_beat_chance_is_refused(favourite: int, small_config: Config, tmp_path: Path) -> None:
    config = small_config(
        "run", teacher=teacher_folder(tmp_path / "teacher", favourite), distillation=DistillationConfig(kl_weight=1.0)
    )
    with pytest.raises(ModelError) as caught:
        train(config)
    assert_one_line(caught.value, str(tmp_path / "teacher"), "most frequent class")
    assert not RunFolder(config.out).path.exists()


@pytest.mark.parametrize("names", [("grey", "red"), ("grey", "red", "green")])
def test_a_teacher_with_other_classes_is_refused(names: tuple[str, ...], small_config: Config, tmp_path: Path) -> None:
    config = small_config(
        "run", teacher=teacher_folder(tmp_path / "teacher", 0, names), distillation=DistillationConfig(kl_weight=1.0)
    )
    with pytest.raises(ModelError) as caught:
        train(config)
    assert_one_line(caught.value, str(tmp_path / "teacher"), "classes")
    assert not RunFolder(config.out).path.exists()


def test_half_precision_trains_and_clips(small_config: Config) -> None:
    full, half = (
        train(small_config(precision, precision=precision, optimizer=OptimizerConfig(gradient_clip_norm=0.1)))
        for precision in ("float32", "bfloat16")
    )
    losses = [[float(row["loss"]) for row in rows_of(run)] for run in (full, half)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert all(value.dtype != torch.bfloat16 for value in model_state(half).values())


@pytest.mark.heavy
@pytest.mark.skipif(missing_compiler("cpu") is not None, reason="torch.compile writes C++ and finds no compiler")
def test_compiled_training_learns_the_same(small_config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    steady = {"model": ModelConfig(drop_path_rate=0.0, classifier_dropout=0.0), "epochs": 1}
    plain, compiled = (
        train(small_config(name, compile=name == "compiled", **steady)) for name in ("plain", "compiled")
    )
    losses = [[float(row["loss"]) for row in rows_of(run)] for run in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert model_state(compiled).keys() == model_state(plain).keys()
    assert capsys.readouterr().err.count("the first step took") == 1


def test_only_training_runs_compiled(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_calls = []

    def compile_(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            assert torch.is_grad_enabled()
            compiled_calls.append(function.__name__)
            return function(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    config = small_config("run", compile=True, epochs=1)
    run = train(config)
    assert compiled_calls == ["forward_features"] * read_json(run.results)["steps"]


def test_compiling_without_a_compiler_is_one_line(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match="no-such-compiler") as caught:
        check_config(small_config("run", compile=True))
    assert_one_line(caught.value, "train without it")


def test_two_runs_of_one_seed_are_equal_and_another_seed_is_not(small_config: Config) -> None:
    noisy = {
        "epochs": 1,
        "model": ModelConfig(drop_path_rate=0.3, classifier_dropout=0.3),
        "loss": LossConfig("dice_focal"),
    }
    one, same, other = (train(small_config(name, seed=seed, **noisy)) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert_same_weights(model_state(one), model_state(same))
    weight = "decode_head.classifier.weight"
    assert not torch.equal(model_state(one)[weight], model_state(other)[weight])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_image_met_while_training_is_one_line(workers: int, small_config: Config, uneven_data: Path) -> None:
    config = small_config("run", data=str(uneven_data), workers=workers)
    data = SegmentationDataModule(config, load_dataset_spec(config.data))
    data.setup("fit")
    _, index = list(data._sampler(data.train_samples))[2][0]
    sample = data.train_samples[index]
    content = sample.image.read_bytes()
    sample.image.write_bytes(b"no image")
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    try:
        with pytest.raises(DataError) as caught:
            train(config)
    finally:
        sample.image.write_bytes(content)
    assert_one_line(caught.value, str(sample.image))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    run = resume(config.out)  # once the file is mended
    assert read_json(run.results)["steps"] == 6


def cut_run(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that stopped after its first epoch."""

    def no_power(*_: Any) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_metrics", no_power)
        with pytest.raises(RuntimeError, match="power cut"):
            train(config)
    return RunFolder(config.out)


def test_resume_refuses_changed_samples_and_settings(
    small_config: Config, uneven_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cut_run(small_config("run", data=str(uneven_data)), monkeypatch)
    image = next(iter(sorted((uneven_data.parent / "images" / "train").iterdir())))
    label = uneven_data.parent / "labels" / "train" / image.name
    extra = [path.with_name("scene999.png") for path in (image, label)]
    for source, target in zip((image, label), extra, strict=True):
        target.write_bytes(source.read_bytes())
    with pytest.raises(RunError) as caught:
        resume(run.path)
    assert_one_line(caught.value, "training samples", str(uneven_data))
    for path in extra:
        path.unlink()

    picture = next(iter(sorted((uneven_data.parent / "images" / "val").iterdir())))
    content = picture.read_bytes()
    picture.unlink()
    with pytest.raises(RunError) as caught:
        resume(run.path)
    assert_one_line(caught.value, "samples of val", str(uneven_data))
    picture.write_bytes(content)

    settings = read_yaml(run.config)
    write_yaml(run.config, settings | {"model": settings["model"] | {"variant": "b1"}})
    with pytest.raises(RunError) as caught:
        resume(run.path)
    assert_one_line(caught.value, str(run.last_checkpoint), str(run.config))
    write_yaml(run.config, settings)
    assert read_json(resume(run.path).results)["steps"] == 6


def test_resume_makes_up_for_files_that_a_kill_left_unwritten(
    small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cut_run(small_config("run"), monkeypatch)
    run.environment.unlink()
    run.class_statistics.unlink()
    resume(run.path)
    assert run.environment.is_file()
    assert run.class_statistics.is_file()


def test_mistakes_are_one_line_and_leave_no_folder(small_config: Config, tmp_path: Path) -> None:
    config = small_config("run")
    distilling = DistillationConfig(feature_weight=1.0)
    cases: list[tuple[TrainConfig, type[EffisegError], str]] = [
        (replace(config, data=""), UsageError, "--data"),
        (replace(config, data=str(tmp_path / "none.yaml")), EffisegError, "none.yaml"),
        (replace(config, distillation=distilling), UsageError, "--teacher"),
        (replace(config, teacher="somewhere"), UsageError, "no distillation term"),
        (replace(config, distillation=distilling, teacher=str(tmp_path / "none")), ModelError, "none"),
        (replace(config, precision="float16"), UsageError, "needs a GPU"),
    ]
    for case, kind, words in cases:
        with pytest.raises(kind) as caught:
            train(case)
        assert_one_line(caught.value, words)
    assert not (tmp_path / "run").exists()


def test_more_devices_than_gpus_are_refused(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_config(small_config("run", device="cuda"))
    with pytest.raises(UsageError, match="torch sees 1 GPU"):
        check_config(small_config("run", device="cuda", devices=2))


def test_folders_that_exist_are_refused_and_strangers_not_resumed(small_config: Config, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(RunError, match="not a run"):
        train(small_config("mine"))
    with pytest.raises(RunError, match="not a run folder"):
        resume(tmp_path / "mine")
    write_yaml(tmp_path / "mine" / "config.yaml", {})
    with pytest.raises(RunError, match="--resume"):
        train(small_config("mine"))


def test_local_paths_become_absolute_and_a_presets_name_stays_one(
    small_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("camvid", "teacher"):
        (tmp_path / folder).mkdir()
    config = with_absolute_paths(small_config("run", data="camvid", data_root="camvid", teacher="teacher"))
    assert (config.data, config.data_root) == ("camvid", str(tmp_path / "camvid"))
    assert config.teacher == str(tmp_path / "teacher")
    assert with_absolute_paths(small_config("run", teacher="org/name")).teacher == "org/name"


def test_a_tapered_run_ends_with_plain_norms_and_the_network_it_evaluated(
    small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelConfig(block_norm="dyl", block_centered=True, drop_path_rate=0.0, classifier_dropout=0.0)
    taper = TaperConfig("block", hold=0.2, until=0.7)
    config = small_config("run", epochs=3, init=None, model=model, taper=taper, ema_decay=0.9, select="best")
    run = train(config)
    rows = rows_of(run)
    gates = [float(row["norm_gate"]) for row in rows]  # of each epoch's last step, 2, 5 and 8 of 9
    assert gates == [gate(step, 9, 0.2, 0.7) for step in (2, 5, 8)]
    assert 1 > gates[0] > gates[1] > gates[2] == 0
    results = read_json(run.results)
    assert (results["best_epoch"], results["best_val_miou"]) == (3, float(rows[2]["val_miou"]))
    assert results["val"]["miou"] == pytest.approx(float(rows[2]["val_miou"]), abs=1e-9)
    written = from_pretrained(str(run.model))
    assert (written.block_norm, written.block_centered, written.patch_centered) == ("dyl", True, False)
    assert "inverse_deviation" not in "".join(written.state_dict())
    state = read_tensors(run.last_checkpoint)["task"]
    measured = part(state, "student.encoder.stages.3.norm.")
    assert measured["passes"] == 7  # while the gate was open: steps 0 to 6
    averaged = part(state, "ema.module.encoder.stages.3.norm.")
    assert all(torch.equal(averaged[name], measured[name]) for name in ("inverse_deviation", "mean", "passes"))
    final = written.encoder.stages[3].norm
    assert torch.equal(final.alpha, measured["inverse_deviation"].expand(256))
    assert torch.equal(final.weight, averaged["weight"])


def test_what_cannot_be_tapered_is_refused(small_config: Config) -> None:
    with pytest.raises(UsageError, match=r"taper.norms block turns LayerNorms into model.block_norm") as caught:
        small_config("run", taper=TaperConfig("block"))
    assert_one_line(caught.value, "dyt or dyl", "layer_norm")
    with pytest.raises(UsageError, match=r"keep_epochs 1 comes before epoch 1\.3") as caught:
        small_config("run", model=ModelConfig(block_norm="dyl"), taper=TaperConfig("block"), keep_epochs=[1, 2])
    assert_one_line(caught.value, "taper.until")
    with pytest.raises(UsageError, match=r"taper\.hold must be less than taper\.until"):
        TaperConfig(hold=0.7)
