"""Runs that start from given weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from effiseg.comparison.ablation import ablate
from effiseg.comparison.plan import pinned, planned_runs
from effiseg.config.comparison import AblationConfig
from effiseg.config.model import ModelConfig, Norm
from effiseg.config.parsing import read_settings
from effiseg.config.taper import TaperConfig
from effiseg.config.training import TrainConfig
from effiseg.data.dataset import EvaluationDataset
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.samples import list_samples
from effiseg.errors import EffisegError, ModelError, RunError, UsageError
from effiseg.files import read_json
from effiseg.models.initial_weights import InitialWeights, read_initial_weights
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.training import trainer
from effiseg.training.initialization import InitializationReport, load_initialization, match_weights
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

    def build(config, student, *rest):  # type: ignore[no-untyped-def]
        started.append((student, torch.get_rng_state()))
        assert_same(student, from_pretrained(model_folder))
        return built(config, student, *rest)

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
        ({"model": ModelConfig("b2")}, ModelError, "model.variant is b2 in the settings and b0 in the weights"),
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
    assert [planned.config.init for planned in plan] == [None] + [str(model_folder)] * 7
    plan = planned_runs(replace(config, teacher_init="runs/b2"), {"init": str(model_folder)})
    assert plan[0].config.init == "runs/b2"
    spec = load_dataset_spec(str(colour_data))
    digests = {pinned(planned, spec).config.init_digest for planned in plan if planned.row in ("baseline", "kd")}
    assert len(digests) == 1
    assert None not in digests


def test_a_row_that_cannot_start_from_the_weights_is_named_before_anything_is_written(
    colour_data: Path, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "big.yaml").write_text("model: {variant: b2}\n")
    config = AblationConfig(
        data=str(colour_data),
        out=str(tmp_path / "out"),
        init=str(model_folder),
        recipes=["baseline", str(tmp_path / "big.yaml")],
    )
    with pytest.raises(ModelError, match=r"^row big: .*model.variant is b2"):
        ablate(config)
    assert not (tmp_path / "out").exists()


# What is taken from a source


def source(folder: Path) -> InitialWeights:
    return read_initial_weights(str(folder))


def initialized(config: TrainConfig, weights: InitialWeights) -> tuple[SegFormer, SegFormer, InitializationReport]:
    """The network of a run, as it was drawn and as it starts, and what is said of it."""
    spec = load_dataset_spec(config.data)
    initial = match_weights(config, spec, weights)
    torch.manual_seed(0)
    drawn = build_student(config, spec)
    torch.manual_seed(0)
    student = build_student(config, spec)
    state = torch.get_rng_state()
    initial.apply(student, config, spec, list_samples(spec, "train"))
    assert torch.equal(torch.get_rng_state(), state)
    return drawn.eval(), student.eval(), initial.report


def changed(one: SegFormer, other: SegFormer) -> set[str]:
    left, right = one.state_dict(), other.state_dict()
    return {name for name in left if not torch.equal(left[name], right[name])}


def test_another_number_of_classes_gives_a_new_classifier_and_only_that(
    small_config: Config, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    save_pretrained(SegFormer("b0", 7), tmp_path / "seven")
    weights = source(tmp_path / "seven")
    drawn, student, report = initialized(small_config("run", init=str(tmp_path / "seven")), weights)
    classifier = ["decode_head.classifier.weight", "decode_head.classifier.bias"]
    assert set(report.fresh) == set(report.unused) == set(classifier)
    assert report.loaded == len(student.state_dict()) - 2
    for name, tensor in student.state_dict().items():
        expected = drawn.state_dict() if name in classifier else weights.weights
        assert torch.equal(tensor, expected[name]), name
    said = capsys.readouterr().err
    assert "2 start at random: decode_head.classifier.weight" in said
    assert "the source's 7 classes are not the data set's 3: the classifier is new" in said


def test_the_same_classes_in_another_order_move_their_rows(
    small_config: Config, model_folder: Path, tmp_path: Path
) -> None:
    model = from_pretrained(model_folder)
    model.metadata = ModelMetadata(names=("Blue", "grey", "red"))
    save_pretrained(model, tmp_path / "moved")
    _, student, report = initialized(small_config("run", init="moved"), source(tmp_path / "moved"))
    rows = model.decode_head.classifier.weight
    assert torch.equal(student.decode_head.classifier.weight, rows[[1, 2, 0]])
    assert report.fresh == []
    assert "rows were moved" in report.notes[0]


def test_an_encoder_alone_leaves_the_head_as_it_was_drawn(small_config: Config, model_folder: Path) -> None:
    whole = source(model_folder)
    encoder = {name: tensor for name, tensor in whole.weights.items() if name.startswith("encoder.")}
    drawn, student, report = initialized(
        small_config("run", init="mit_b0.pth"),
        replace(whole, weights=encoder, names=None, publisher="NVlabs", norm_eps=1e-6, unused=["head.weight"]),
    )
    assert changed(drawn, student) == set(encoder)
    assert all(name.startswith("decode_head.") for name in report.fresh)
    assert report.unused == ["head.weight"]
    assert "--model.norm_eps 1e-06 keeps it" in report.notes[0]


@pytest.mark.parametrize(("norms", "least"), [(("dyt", "layer_norm"), 1.5), (("dyt", "dyl"), 4.0)])
def test_norms_are_fitted_to_the_layer_norms(
    small_config: Config, teacher_run: Path, norms: tuple[Norm, Norm], least: float
) -> None:
    """Of a trained network: with DyL everywhere, a fit to a random one was measured worse than default values."""
    config = small_config("run", init=str(teacher_run), model=ModelConfig("b0", *norms))
    drawn, student, report = initialized(config, source(teacher_run / "model"))
    reference = from_pretrained(teacher_run / "model")
    kept = {n: t for n, t in reference.state_dict().items() if n.rsplit(".", 1)[0] not in report.fitted}
    for name, tensor in kept.items():
        assert torch.equal(student.state_dict()[name], tensor), name
    drawn.load_state_dict(kept, strict=False)
    dataset = EvaluationDataset(
        list_samples(load_dataset_spec(config.data), "val"), load_dataset_spec(config.data), (32, 64), "keep_ratio"
    )
    images = reference.metadata.normalize(torch.stack([dataset[index].image for index in range(3)]))
    with torch.inference_mode():
        wanted = reference(images)
        before, after = ((network(images) - wanted).norm() for network in (drawn, student))
    assert after < before / least
    assert len(report.fitted) == (4 if norms[1] == "layer_norm" else 30)
    assert all(value is not None and 0 < value <= 1 for value in report.fitted.values())
    assert len(report.fitted_images) == 14
    _, again, _ = initialized(config, source(teacher_run / "model"))
    assert_same(student, again)


def test_tapered_norms_start_as_the_layer_norms_bit_for_bit(small_config: Config, model_folder: Path) -> None:
    model = ModelConfig("b0", "dyt", "dyl", drop_path_rate=0.0, classifier_dropout=0.0)
    config = small_config("run", init=str(model_folder), model=model, taper=TaperConfig("all"))
    reference = from_pretrained(model_folder)
    _, student, report = initialized(config, source(model_folder))
    assert (report.fitted, report.fresh) == ({}, [])
    images = torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(student(images), reference(images))


def test_what_cannot_be_had_is_refused(small_config: Config, model_folder: Path, tmp_path: Path) -> None:
    save_pretrained(SegFormer("b0", 3, "dyt"), tmp_path / "dyt")
    spec = load_dataset_spec(small_config("run").data)
    with pytest.raises(ModelError, match=r"model\.patch_norm is layer_norm in the settings and dyt in the weights"):
        load_initialization(small_config("run", init=str(tmp_path / "dyt")), spec)
    mixed = small_config("run", init=str(tmp_path / "dyt"), model=ModelConfig("b0", "dyt", "dyl"))
    with pytest.raises(ModelError, match="LayerNorms everywhere"):
        load_initialization(mixed, spec)
    whole = source(model_folder)
    some = {name: tensor for name, tensor in whole.weights.items() if "blocks.1.mlp.fc1" not in name}
    with pytest.raises(ModelError, match=r"must be a whole b0: encoder\.stages\.0\.blocks\.1\.mlp\.fc1\.weight is mis"):
        match_weights(small_config("run", init="x.pth"), spec, replace(whole, weights=some))
