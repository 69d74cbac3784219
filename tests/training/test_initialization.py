"""Runs that start from given weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from effiseg.comparison.ablation import ablate, pinned, planned_runs
from effiseg.config.comparison import AblationConfig
from effiseg.config.model import ModelConfig
from effiseg.config.parsing import read_settings
from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.errors import EffisegError, ModelError, RunError, UsageError
from effiseg.files import read_json
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.training import trainer
from effiseg.training.trainer import build_student, resume, train

Config = Callable[..., TrainConfig]
NAMES = ("grey", "red", "blue")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A B0 of the colour data's classes with weights no run starts with."""
    torch.manual_seed(99)
    model = SegFormer("b0", 3)
    model.metadata = ModelMetadata(names=NAMES)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.01 * torch.rand_like(tensor))
    folder = tmp_path_factory.mktemp("init") / "model"
    save_pretrained(model, folder)
    return folder


def assert_same(one: SegFormer, other: SegFormer) -> None:
    left, right = one.state_dict(), other.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_run_starts_from_the_weights_and_draws_nothing_for_them(
    small_config: Config, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[SegFormer, torch.Tensor]] = []
    built = trainer.build_task

    def build(config, student, teacher, weights):  # type: ignore[no-untyped-def]
        started.append((student, torch.get_rng_state()))
        assert_same(student, from_pretrained(model_folder))
        return built(config, student, teacher, weights)

    monkeypatch.setattr(trainer, "build_task", build)
    config = small_config("run", init=str(model_folder), epochs=1)
    run = train(config)
    torch.manual_seed(config.seed)
    build_student(config, load_dataset_spec(config.data))
    assert torch.equal(started[0][1], torch.get_rng_state())
    written = read_settings(TrainConfig, run.config)
    assert written.init == str(model_folder.resolve())
    assert written.init_digest == read_json(run.initialization)["digest"]


def test_a_run_can_be_the_source_and_repeating_it_gives_the_same(small_config: Config, model_folder: Path) -> None:
    first = train(small_config("first", init=str(model_folder), epochs=1))
    again = train(replace(read_settings(TrainConfig, first.config), out=str(first.path.parent / "again")))
    assert_same(from_pretrained(again.model), from_pretrained(first.model))
    second = train(small_config("second", init=str(first.path), epochs=1))
    source = read_json(second.initialization)
    assert source["source"] == str(first.path)


def test_a_run_that_was_cut_before_its_first_checkpoint_starts_from_the_weights_again(
    small_config: Config, model_folder: Path
) -> None:
    whole = train(small_config("whole", init=str(model_folder), epochs=1))
    cut = whole.path.parent / "cut"
    for name in ("config.yaml", "environment.json", "class_statistics.json"):
        (cut / name).parent.mkdir(exist_ok=True)
        (cut / name).write_bytes((whole.path / name).read_bytes())
    assert_same(from_pretrained(resume(cut).model), from_pretrained(whole.model))


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"init": "nowhere/at/all"}, ModelError, "no such folder"),
        ({"model": ModelConfig("b1")}, ModelError, "model.variant is b1 in the settings and b0 in the weights"),
        ({"init_digest": "0" * 32}, RunError, "the weights have changed"),
    ],
)
def test_mistakes_are_one_line_before_the_folder_is_made(
    small_config: Config, model_folder: Path, settings: dict[str, object], error: type[EffisegError], words: str
) -> None:
    config = small_config("run", **{"init": str(model_folder), **settings})
    with pytest.raises(error) as caught:
        train(config)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path(config.out).exists()


def test_a_fingerprint_needs_weights() -> None:
    with pytest.raises(UsageError, match="give --init too"):
        TrainConfig(init_digest="0" * 32)


def test_in_a_comparison_the_rows_start_from_the_weights_and_the_teacher_does_not(
    colour_data: Path, model_folder: Path, tmp_path: Path
) -> None:
    config = AblationConfig(data=str(colour_data), out=str(tmp_path / "out"), init=str(model_folder))
    plan = planned_runs(config, {"init": str(model_folder)})
    assert [planned.config.init for planned in plan] == [None] + [str(model_folder)] * 6
    plan = planned_runs(replace(config, teacher_init="runs/b2"), {"init": str(model_folder)})
    assert plan[0].config.init == "runs/b2"
    spec = load_dataset_spec(str(colour_data))
    digests = {pinned(planned, spec).config.init_digest for planned in plan if planned.row in ("baseline", "kd")}
    assert len(digests) == 1
    assert None not in digests


def test_a_row_that_cannot_start_from_the_weights_is_named_before_anything_is_written(
    colour_data: Path, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "big.yaml").write_text("model: {variant: b1}\n")
    config = AblationConfig(
        data=str(colour_data),
        out=str(tmp_path / "out"),
        init=str(model_folder),
        recipes=["baseline", str(tmp_path / "big.yaml")],
    )
    with pytest.raises(ModelError, match=r"^row big: .*model.variant is b1"):
        ablate(config)
    assert not (tmp_path / "out").exists()
