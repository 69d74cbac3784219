"""What `init` means: the starter where there is one, resolved once and written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from effiseg.comparison.ablation import warn_of_weak_teacher
from effiseg.comparison.plan import planned_runs
from effiseg.config.comparison import AblationConfig
from effiseg.config.model import ModelConfig
from effiseg.config.parsing import make_settings, recipe_settings
from effiseg.config.training import TrainConfig
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.errors import ModelError
from effiseg.models.initial_weights import InitialWeights
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.models.starters import read_starter
from effiseg.results import AblationResult
from effiseg.run_folder import RunFolder
from effiseg.training import trainer
from effiseg.training.initialization import load_initialization, match_weights, resolve_init
from effiseg.training.trainer import resume, train

Config = Callable[..., TrainConfig]


def first_weights(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The student's weights as training begins; nothing is trained."""
    begun: list[dict[str, torch.Tensor]] = []

    def build(settings: TrainConfig, student: SegFormer, *rest: object) -> None:
        begun.append({name: tensor.clone() for name, tensor in student.state_dict().items()})
        raise ModelError("enough seen")

    monkeypatch.setattr(trainer, "build_task", build)
    with pytest.raises(ModelError, match="enough seen"):
        train(config)
    monkeypatch.undo()
    return begun[0]


def test_auto_starts_from_the_starter_and_is_written_down_with_its_digest(
    small_config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = first_weights(small_config("auto", init="auto"), monkeypatch)
    starter = read_starter("b0")
    assert all(torch.equal(weights[name], tensor) for name, tensor in starter.weights.items())
    written = yaml.safe_load(RunFolder(small_config("auto").out).config.read_text())
    assert (written["init"], written["init_digest"]) == ("starter", starter.digest)
    assert capsys.readouterr().err.count("starts from starter") == 1


@pytest.mark.parametrize("init", ["scratch", None])
def test_scratch_draws_all_weights(small_config: Config, monkeypatch: pytest.MonkeyPatch, init: str | None) -> None:
    weights = first_weights(small_config("scratch", init=init), monkeypatch)
    name = "encoder.stages.2.blocks.0.mlp.fc1.weight"
    assert weights[name].std() == pytest.approx(0.02, rel=0.05)
    assert yaml.safe_load(RunFolder(small_config("scratch").out).config.read_text())["init"] is None


def test_a_size_without_starter_is_drawn_by_auto_and_refused_by_starter(small_config: Config) -> None:
    config = small_config("b2", init="auto", model=ModelConfig(variant="b2"))
    assert resolve_init(config).init is None
    spec = load_dataset_spec(config.data)
    with pytest.raises(ModelError, match="effiseg pretrain"):
        load_initialization(resolve_init(replace(config, init="starter")), spec)


def test_a_run_of_a_version_without_init_goes_on_from_random_weights(
    small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config("old", init="scratch")
    expected = first_weights(config, monkeypatch)
    file = RunFolder(config.out).config
    file.write_text(yaml.safe_dump({k: v for k, v in yaml.safe_load(file.read_text()).items() if "init" not in k}))
    begun: list[dict[str, torch.Tensor]] = []

    def build(settings: TrainConfig, student: SegFormer, *rest: object) -> None:
        begun.append(student.state_dict())
        raise ModelError("enough seen")

    monkeypatch.setattr(trainer, "build_task", build)
    with pytest.raises(ModelError, match="enough seen"):
        resume(config.out)
    assert all(torch.equal(begun[0][name], expected[name]) for name in expected)


def test_a_folder_of_that_name_is_not_meant(
    small_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "starter").mkdir()
    monkeypatch.chdir(tmp_path)
    assert trainer.with_absolute_paths(small_config("x", init="starter")).init == "starter"


def test_what_draws_its_own_pictures_and_the_paper_start_from_scratch() -> None:
    for layers in ([("pretrain", recipe_settings("pretrain"))], [("paper", {"init": "scratch"})]):
        assert make_settings(TrainConfig, *layers).init == "scratch"
    text = (Path(trainer.__file__).parents[1] / "recipes" / "configs" / "paper.yaml").read_text()
    assert yaml.safe_load(text)["init"] == "scratch"


def test_other_norms_are_fitted_to_the_starter(small_config: Config) -> None:
    config = resolve_init(small_config("dyl", init="auto", model=ModelConfig(patch_norm="dyt", block_norm="dyl")))
    initial = load_initialization(config, load_dataset_spec(config.data))
    assert initial is not None
    assert len(initial.report.fitted) == sum("norm" in name for name, _ in SegFormer("b0", 3).encoder.named_modules())
    assert initial.reference is not None


def test_the_head_comes_too_and_its_classifier_is_new(small_config: Config) -> None:
    config = resolve_init(small_config("head", init="auto"))
    initial = load_initialization(config, load_dataset_spec(config.data))
    assert initial is not None
    assert "decode_head.linear_fuse.weight" in initial.weights
    assert initial.report.fresh == ["decode_head.classifier.weight", "decode_head.classifier.bias"]


def test_a_smaller_model_is_widened_where_it_can_be(small_config: Config, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_pretrained(SegFormer("b0", 3), tmp_path / "model")
    config = small_config("wide", init=str(tmp_path / "model"), model=ModelConfig(variant="b1"))
    initial = load_initialization(config, load_dataset_spec(config.data))
    assert initial is not None
    assert "widened from b0" in initial.report.publisher
    assert initial.weights["encoder.stages.3.norm.weight"].shape == (512,)
    with pytest.raises(ModelError, match="its own size"):
        load_initialization(replace(config, model=ModelConfig(variant="b2")), load_dataset_spec(config.data))


@pytest.mark.parametrize(
    ("publisher", "source", "origin", "bound"),
    [
        ("NVlabs", "mit_b0.pth", "", True),
        ("mmsegmentation", "mit_b0.pth", "", True),
        ("transformers", "nvidia/mit-b0", "", True),
        ("transformers", "runs/mine", "nvidia/segformer-b0-finetuned-ade-512-512", True),
        ("effiseg", "runs/mine", "", False),
    ],
)
def test_weights_under_nvidias_licence_say_so(
    small_config: Config, publisher: str, source: str, origin: str, bound: bool
) -> None:
    found = replace(read_starter("b0"), publisher=publisher, source=source, origin=origin)
    assert isinstance(found, InitialWeights)
    config = small_config("licence", init=source)
    lines = match_weights(config, load_dataset_spec(config.data), found).report.lines()
    assert sum("no commercial use" in line for line in lines) == bound


def test_in_a_comparison_teacher_and_rows_start_alike(colour_data: Path, tmp_path: Path) -> None:
    def starts(**settings: object) -> list[tuple[str, str | None]]:
        shared = {"data": str(colour_data), "recipes": ["baseline"], **settings}
        config = make_settings(AblationConfig, ("test", {**shared, "out": str(tmp_path)}))
        return [(run.config.model.variant, run.config.init) for run in planned_runs(config, shared)]

    assert starts() == [("b1", "starter"), ("b0", "starter")]
    assert starts(init="scratch") == [("b2", None), ("b0", None)]
    assert starts(recipes=["paper"]) == [("b2", None)] + [("b0", None)] * 6
    assert starts(recipes=["paper"], init="starter") == [("b1", "starter")] + [("b0", "starter")] * 6


def test_a_teacher_that_does_not_lead_is_named() -> None:
    said: list[str] = []

    class Row:
        def __init__(self, name: str, miou: float) -> None:
            self.name, self.miou = name, miou

    for teacher in (39.0, 41.0):
        result = AblationResult.__new__(AblationResult)
        result.rows = [Row("teacher", teacher), Row("baseline", 40.0)]  # type: ignore[list-item]
        warn_of_weak_teacher(result, said.append)
    assert len(said) == 1
    assert "39.00 %" in said[0]
