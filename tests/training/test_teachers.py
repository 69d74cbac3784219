"""Runs with several teachers: resumed bit for bit, refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from effiseg.config.loss import DistillationConfig
from effiseg.config.parsing import read_settings
from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.engines.engine import LoadedModel
from effiseg.engines.record import ExportRecord
from effiseg.errors import Interrupted, ModelError, UsageError
from effiseg.files import read_json
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.run_folder import RunFolder
from effiseg.training import run_keeper
from effiseg.training import teacher as teachers
from effiseg.training.checkpointing import read_tensors
from effiseg.training.teacher import load_teachers
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]
FEATURES = DistillationConfig(feature_weight=1.0, patch_embedding_weight=1.0)


@pytest.fixture
def stranger(tmp_path: Path) -> str:
    """A model of other classes."""
    torch.manual_seed(0)
    save_pretrained(SegFormer("b1", 5), tmp_path / "stranger")
    return str(tmp_path / "stranger")


@pytest.mark.heavy
def test_a_run_with_two_teachers_goes_on_bit_for_bit(
    small_config: Config,
    teacher_run: Path,
    stranger: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The second has other classes: its features teach, its answers are never scored."""
    both = {"teacher": [str(teacher_run), stranger], "teacher_weights": [2.0, 1.0], "distillation": FEATURES}
    whole = train(small_config("whole", epochs=1, **both))
    assert f"{stranger}: has other classes than the data: its features teach" in capsys.readouterr().err
    config = small_config("cut", epochs=1, **both)
    with monkeypatch.context() as patch:
        patch.setattr(run_keeper.RunKeeper, "signal_received", property(lambda keeper: keeper.state.step == 2))
        with pytest.raises(Interrupted):
            train(config)
    cut = resume(config.out)
    ours, theirs = (read_tensors(run.last_checkpoint) for run in (cut, whole))
    assert ours["task"].keys() == theirs["task"].keys()
    assert [name for name in ours["task"] if "feature_projections_2" in name]
    assert all(torch.equal(ours["task"][name], theirs["task"][name]) for name in ours["task"])
    for name in ("feature", "patch_embedding"):
        assert cut.read_metrics()[0][name] == whole.read_metrics()[0][name]
    assert read_settings(TrainConfig, cut.config).teachers == both["teacher"]
    assert cut.teacher_evaluation(1).is_file()
    assert not cut.teacher_evaluation(2).exists()
    assert read_json(cut.results)["teacher"] == both["teacher"]
    card = (cut.model / "README.md").read_text(encoding="utf-8")
    assert "teacher 2: stranger\n" in card


def test_logits_need_the_classes_of_the_data(small_config: Config, teacher_run: Path, stranger: str) -> None:
    config = small_config(
        "run", teacher=[str(teacher_run), stranger], distillation=DistillationConfig(kl_weight=1.0, feature_weight=1.0)
    )
    with pytest.raises(ModelError, match=r"stranger: cannot teach on this data: .* it has 5, the data set .* has 3"):
        train(config)
    assert not RunFolder(config.out).path.exists()


def loaded_file(path: Path, output: str, size: tuple[int, int] | None) -> LoadedModel:
    """A file that says this of itself."""
    record = ExportRecord(ModelMetadata.unnamed(3), output, "float32", size)  # type: ignore[arg-type]
    return LoadedModel(path, record, "float32", "onnxruntime", lambda images: images)


@pytest.mark.parametrize(
    ("weights", "output", "size", "found"),
    [
        ({"feature_weight": 1.0}, "logits", (64, 64), "an exported file answers with logits alone, and feature_weight"),
        ({"pairwise_weight": 1.0}, "logits", None, "an exported file answers with logits alone, and pairwise_weight"),
        ({"kl_weight": 1.0}, "labels", None, "a teacher needs logits; this file answers with labels"),
        ({"kl_weight": 1.0}, "logits", (96, 64), "takes images of 96x64, and image_size is 64x64"),
    ],
)
def test_files_that_cannot_teach_are_refused_in_one_line(
    weights: dict[str, float],
    output: str,
    size: tuple[int, int] | None,
    found: str,
    small_config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "b2.onnx"
    file.touch()
    monkeypatch.setattr(teachers, "load_exported", lambda path: loaded_file(Path(path), output, size))
    config = small_config(
        "run",
        image_size="64x64",
        teacher=str(file),
        distillation=DistillationConfig(**weights),  # type: ignore[arg-type]
    )
    with pytest.raises(UsageError) as caught:
        load_teachers(config, load_dataset_spec(config.data))
    assert str(caught.value).startswith(f"{file}: ")
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


def test_small_images_are_below_what_files_of_any_size_take(
    small_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "b2.xml"
    file.touch()
    monkeypatch.setattr(teachers, "load_exported", lambda path: loaded_file(Path(path), "logits", None))
    config = small_config("run", teacher=str(file), distillation=DistillationConfig(kl_weight=1.0))
    with pytest.raises(UsageError, match="takes images from 64x64 on, and image_size is 32x64"):
        load_teachers(config, load_dataset_spec(config.data))
