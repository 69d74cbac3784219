"""Weights of others as model folders: the same numbers, and the classes where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import effiseg
from effiseg.commands.convert import run
from effiseg.errors import DataError, ModelError, UsageError
from effiseg.inference.predictor import Predictor
from effiseg.models.classic_names import classic_name
from effiseg.models.conversion import as_segformer
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer

IMAGE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> SegFormer:
    torch.manual_seed(0)
    model = SegFormer("b0", 3).eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.05 * torch.rand_like(tensor))
    return model


@pytest.fixture
def file(model: SegFormer, tmp_path: Path) -> Path:
    """A Lightning checkpoint that names its classes."""
    state = {f"net.{classic_name(name)}": tensor for name, tensor in model.state_dict().items()}
    torch.save(
        {"state_dict": state, "epoch": 3, "hyper_parameters": {"class_names": ["blue", "grey", "red"]}},
        tmp_path / "epoch=3.ckpt",
    )
    return tmp_path / "epoch=3.ckpt"


def test_the_command_makes_a_folder_that_predicts(
    file: Path, model: SegFormer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made"
    assert run([str(file), "--out", str(out), "--image_size", "64x96"]) == 0
    said = capsys.readouterr().out
    assert "SegFormer-B0" in said
    assert "3 classes: blue, grey, red" in said
    made = from_pretrained(out)
    assert (made.metadata.names, made.metadata.image_size) == (("blue", "grey", "red"), (64, 96))
    assert all(torch.equal(made.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    expected = Predictor(model, image_size=(64, 96))(IMAGE).labels
    assert np.array_equal(Predictor(out)(IMAGE).labels, expected)


def test_classes_of_the_data_set_order_the_rows(file: Path, tmp_path: Path, colour_data: Path) -> None:
    """The data set's are grey, red, blue."""
    made = effiseg.convert_model(file, tmp_path / "made", data=colour_data, image_size=(64, 96))
    assert made.model.metadata.names == ("grey", "red", "blue")
    assert made.model.metadata.palette is not None
    assert any("another order" in note for note in made.notes)
    before = effiseg.convert_model(file, tmp_path / "plain", image_size=(64, 96)).model
    found, kept = (Predictor(network)(IMAGE).labels for network in (made.model, before))
    assert np.array_equal(np.array([2, 0, 1])[kept], found)
    assert len(np.unique(kept)) > 1


def test_other_classes_are_refused(file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.yaml"
    data.write_text("path: .\ntrain: images/train\nnames: [grey, red, green]\n")
    with pytest.raises(ModelError, match=r"must be the data set's 3 \(grey, red, green\); found 3 \(blue, grey, red\)"):
        effiseg.convert_model(file, tmp_path / "made", data=data)
    assert not (tmp_path / "made").exists()


def test_what_is_no_whole_network_is_refused(model: SegFormer, tmp_path: Path) -> None:
    encoder = {n: t for n, t in model.state_dict().items() if n.startswith("encoder.")}
    rest = {n: t for n, t in model.state_dict().items() if "linear_fuse" not in n}
    one = model.state_dict() | {f"decode_head.classifier.{n}": torch.zeros(1, *([256, 1, 1] if n == "weight" else []))
                                for n in ("weight", "bias")}  # fmt: skip
    for weights, said in ((encoder, "found no classifier"), (rest, "linear_fuse.weight is missing"), (one, "sigmoid")):
        torch.save(weights, tmp_path / "part.pth")
        with pytest.raises(ModelError, match=said):
            effiseg.convert_model(tmp_path / "part.pth", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_folder_with_something_inside_is_left_alone(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be a new or an empty folder"):
        effiseg.convert_model(file, tmp_path)
    with pytest.raises((UsageError, DataError), match="no such"):
        effiseg.convert_model(file, tmp_path / "made", data="nothing.yaml")


def test_a_model_of_transformers_is_used_as_it_is(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is the oracle")
    torch.manual_seed(0)
    config = transformers.SegformerConfig(id2label={0: "a", 1: "b", 2: "c"}, label2id={"a": 0, "b": 1, "c": 2})
    theirs = transformers.SegformerForSemanticSegmentation(config)
    for parameter in theirs.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    theirs.train()
    ours = as_segformer(theirs)
    assert theirs.training
    assert ours.metadata.names == ("a", "b", "c")
    images = torch.randn(1, 3, 65, 93)
    with torch.inference_mode():
        expected = theirs.eval()(images).logits
        assert (ours(images) - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())
    labels = Predictor(theirs, image_size=(64, 96))(IMAGE).labels
    assert np.array_equal(labels, Predictor(ours, image_size=(64, 96))(IMAGE).labels)
    other = transformers.SegformerForImageClassification(config)
    for wrong, said in ((other, "decode_head.classifier"), (torch.nn.Linear(2, 2), "found Linear")):
        with pytest.raises(ModelError, match=said):
            Predictor(wrong, image_size=(64, 96))  # type: ignore[arg-type]


def test_a_model_folder_is_copied_with_what_it_says(model: SegFormer, tmp_path: Path) -> None:
    save_pretrained(model, tmp_path / "model")
    made = effiseg.convert_model(tmp_path / "model", tmp_path / "made")
    assert made.model.metadata == from_pretrained(tmp_path / "model").metadata


def test_a_folder_under_transformers_names_in_memory_is_read(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is the oracle")
    theirs = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(num_labels=3)).eval()
    theirs.save_pretrained(tmp_path)
    expected = from_pretrained(tmp_path)
    save_file({f"model.{name}": value for name, value in theirs.state_dict().items()}, tmp_path / "model.safetensors")
    found = from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.state_dict().items())
